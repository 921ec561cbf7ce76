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
from typing import Any, Literal

import gradio as gr

from xray_app import auth
from xray_app.errors import BadInput, DeskError, Forbidden, NotSignedIn
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
        show_progress: str = "hidden",
        session: bool = False,
        trigger_mode: Literal["once", "multiple"] | None = None,
    ) -> Any:
        """Run `handler(identity, *inputs)` on an event, for users whose role includes `role`.

        A `DeskError` becomes a warning with its message and leaves every output as it was, so that
        nothing a person typed is lost. A refused caller gets an error and the handler is not run.

        Args:
            trigger: a Gradio event, such as `button.click` or `blocks.load`.
            role: the least role that may run it.
            handler: takes the identity and the inputs; may be a generator.
            inputs: components whose values are passed on.
            outputs: components it returns values for, in order, or a dict by component.
            js: JavaScript that may change the inputs in the browser first.
            show_progress: Gradio's progress display; hidden unless it takes a second.
            session: whether the handler takes the page's Gradio session after the identity.
            trigger_mode: "multiple" lets it run again before its last run is answered; Gradio's own way if None.

        Returns:
            Gradio's dependency, for `.then` chains (attached with `on` again).
        """
        return trigger(
            self.wrap(role, handler, session=session),
            inputs,
            outputs,
            js=js,
            show_progress=show_progress,
            trigger_mode=trigger_mode,
            api_visibility="private",
            concurrency_limit=None,
        )

    def wrap(self, role: Role, handler: Handler, *, session: bool = False) -> Handler:
        """`handler` behind the check, in the form Gradio calls."""

        def run(request: gr.Request, *values: Any) -> Any:
            identity = self._admit(request, role)
            try:
                _refuse_half_characters(values)
                first = (identity, request.session_hash) if session else (identity,)
                return handler(*first, *values)
            except DeskError as error:
                return _refused(error)
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
                yield _refused(error)
            except gr.Error:
                raise
            except Exception as error:
                raise _failed(handler, error) from error

        wrapped: Any = run_in_steps if inspect.isgeneratorfunction(handler) else run
        wrapped.__name__ = handler.__name__
        wrapped.__qualname__ = handler.__qualname__
        wrapped.required_role = role
        return wrapped

    def _admit(self, request: gr.Request, role: Role) -> auth.Identity:
        try:
            identity = identity_of(request, self.services)
            auth.require(identity, role)
        except NotSignedIn as error:
            raise gr.Error(SESSION_ENDED, duration=None, title="Signed out", print_exception=False) from error
        except Forbidden as error:
            raise gr.Error(html.escape(error.message), title="Not allowed", print_exception=False) from error
        return identity


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


def _refused(error: DeskError) -> dict[str, Any]:
    # Gradio renders the message as HTML, and it may quote a file name or a label.
    gr.Warning(html.escape(error.message), duration=15, title="Not done")
    return gr.skip()


def _failed(handler: Handler, error: Exception) -> gr.Error:
    log.exception("the desk's handler %s failed", handler.__qualname__, exc_info=error)
    return gr.Error(
        "This did not work because of a fault in the desk. It has been logged; nothing was saved.",
        title="Fault",
        print_exception=False,
    )
