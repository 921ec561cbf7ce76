"""The only way a desk handler is attached to an event: with the role it needs, checked at every call.

A hidden tab protects nothing: any signed-in user can call any handler through Gradio's queue. So the
guard asks who is calling before a handler sees its first value, and a test walks every handler of the
desk to prove that none was attached without it.
"""

from __future__ import annotations

import html
import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import gradio as gr

from xray_app import auth
from xray_app.errors import BadInput, DeskError, Forbidden, NotSignedIn
from xray_app.logs import REQUEST_ID
from xray_app.services import Services
from xray_app.session import identity_of
from xray_app.types import Role

log = logging.getLogger(__name__)

Handler = Callable[..., Any]
Components = Sequence[Any] | Any

SESSION_ENDED = "You are signed out. Sign in again in another tab, then repeat this: what you typed is still here."


class Guard:
    """Attaches handlers to events; each handler's first argument is the caller's `Identity`."""

    def __init__(self, services: Services) -> None:
        self.services = services

    def on(
        self,
        trigger: Callable[..., Any],
        role: Role,
        handler: Handler,
        inputs: Components = None,
        outputs: Components = None,
        *,
        js: str | None = None,
        show_progress_on: Components = None,
        session: bool = False,
        trigger_mode: Literal["once", "multiple", "always_last"] | None = None,
        refused_at: Any = None,
    ) -> Any:
        """Run `handler(identity, *inputs)` on an event, for users whose role includes `role`.

        A `DeskError` becomes a warning with its message, which the page shows beside the component that it is
        about, and leaves every output as it was, so that nothing a person typed is lost. A refused caller gets an
        error and the handler is not run.

        Args:
            trigger: a Gradio event, such as `button.click` or `blocks.load`.
            role: the least role that may run it.
            handler: takes the identity and the inputs; may be a generator.
            inputs: components whose values are passed on.
            outputs: components it returns values for, in order, or a dict by component.
            js: JavaScript that may change the inputs in the browser first.
            show_progress_on: where Gradio shows how long it takes; nowhere if None: it would stand over every output.
            session: whether the handler takes the page's Gradio session after the identity.
            trigger_mode: "multiple" lets it run again before its last run is answered; Gradio's own way if None.
            refused_at: the component beside which a refusal is shown; what was pressed if None.

        Returns:
            Gradio's dependency, for `.then` chains (attached with `on` again).
        """
        return trigger(
            self.wrap(role, handler, session=session, refused_at=refused_at or getattr(trigger, "__self__", None)),
            inputs,
            outputs,
            js=js,
            show_progress="hidden" if show_progress_on is None else "minimal",
            show_progress_on=show_progress_on,
            trigger_mode=trigger_mode,
            api_visibility="private",
            concurrency_limit=None,
        )

    def wrap(self, role: Role, handler: Handler, *, session: bool = False, refused_at: Any = None) -> Handler:
        """`handler` behind the check, in the form Gradio calls."""
        at = None if refused_at is None else page_id(refused_at)

        def run(request: gr.Request, *values: Any) -> Any:
            identity = self._admit(request, role)
            try:
                _refuse_half_characters(values)
                first = (identity, request.session_hash) if session else (identity,)
                return handler(*first, *values)
            except DeskError as error:
                return refuse(error.message, error.beside or at)
            except gr.Error:
                raise
            except Exception as error:
                raise _failed(handler, error) from error

        def run_in_steps(request: gr.Request, *values: Any) -> Iterator[Any]:
            identity = self._admit(request, role)
            try:
                _refuse_half_characters(values)
                yield from handler(identity, *values)
            except DeskError as error:
                yield refuse(error.message, error.beside or at)
            except gr.Error:
                raise
            except Exception as error:
                _name_lines(request)  # each step is run in a context of its own
                raise _failed(handler, error) from error

        wrapped: Any = run_in_steps if inspect.isgeneratorfunction(handler) else run
        wrapped.__name__ = handler.__name__
        wrapped.__qualname__ = handler.__qualname__
        wrapped.required_role = role
        wrapped.refused_at = at
        return wrapped

    def _admit(self, request: gr.Request, role: Role) -> auth.Identity:
        _name_lines(request)
        try:
            identity = identity_of(request, self.services)
            auth.require(identity, role)
        except NotSignedIn as error:
            raise gr.Error(SESSION_ENDED, duration=None, title="Signed out", print_exception=False) from error
        except Forbidden as error:
            raise gr.Error(html.escape(error.message), title="Not allowed", print_exception=False) from error
        return identity


def _name_lines(request: gr.Request) -> None:
    """Lets what is logged from here on say which request it is about: Gradio's queue runs handlers outside of it."""
    # What is set here ends with the handler: Gradio runs it in a copy of its own context.
    asked = getattr(request, "request", None) or request
    REQUEST_ID.set(getattr(asked.state, "request_id", None))


def _refuse_half_characters(value: Any) -> None:
    """JSON may hold half of a surrogate pair, which can neither be stored nor be sent back.

    Raises:
        BadInput: there is one in a text somewhere below.
    """
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise BadInput("A text holds half a character. Type it again.") from error
    elif isinstance(value, Mapping):
        for key, part in value.items():
            _refuse_half_characters(key)
            _refuse_half_characters(part)
    elif isinstance(value, list | tuple):
        for part in value:
            _refuse_half_characters(part)


def page_id(component: Any) -> str:
    """The id of a component in the page."""
    return component.elem_id or f"component-{component._id}"


@contextmanager
def beside(component: Any) -> Iterator[None]:
    """A refusal from in here is about this component, whatever was pressed."""
    try:
        yield
    except DeskError as error:
        error.beside = error.beside or page_id(component)
        raise


def refuse(words: str, beside: str | None) -> dict[str, Any]:
    """Says that something was not done, and changes nothing.

    Args:
        words: why.
        beside: id of what it is about. The page shows the words there (`refusals.js`), or where that is not on the
            screen, at its foot.
    """
    # Gradio renders the message as HTML, and it may quote a file name or a label. It shows no title.
    gr.Warning(html.escape(words), duration=15, title=f"#{beside}" if beside else "Not done")
    return gr.skip()


def _failed(handler: Handler, error: Exception) -> gr.Error:
    log.exception("the desk's handler %s failed", handler.__qualname__, exc_info=error)
    return gr.Error(
        "This did not work because of a fault in the desk. It has been logged; nothing was saved.",
        title="Fault",
        print_exception=False,
    )


def reason_of(value: Any) -> str:
    """Why somebody does what is kept with its reason.

    Raises:
        BadInput: nothing but blanks.
    """
    if not (text := str(value or "").strip()):
        raise BadInput("Say why: the reason is kept in the audit log.")
    return text[:2000]
