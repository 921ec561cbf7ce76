"""No handler of the desk runs for somebody who may not run it, whatever the page shows."""

from __future__ import annotations

import inspect
from typing import Any

import gradio as gr
import pytest

from tests.ui.conftest import Ask
from xray_app import auth
from xray_app.auth import Identity
from xray_app.errors import BadInput
from xray_app.services import Services
from xray_app.types import Role
from xray_app.ui.desk import build_desk
from xray_app.ui.guard import Guard, beside

LOWER = {Role.ANALYST: (), Role.ANNOTATOR: (Role.ANALYST,), Role.ADMIN: (Role.ANALYST, Role.ANNOTATOR)}


def handlers(desk: gr.Blocks) -> list[Any]:
    """Every Python function an event of the desk runs."""
    return [block_function for block_function in desk.fns.values() if block_function.fn is not None]


def call(fn: Any, request: gr.Request, count: int) -> None:
    """Runs a handler to its end, as Gradio would, with nonsense for its inputs."""
    answer = fn(request, *([None] * count))
    if inspect.isgenerator(answer):
        list(answer)


def test_every_handler_names_its_role_and_is_private(services: Services) -> None:
    found = handlers(build_desk(services))
    assert len(found) >= 15
    for one in found:
        assert isinstance(getattr(one.fn, "required_role", None), Role), f"{one.fn} was attached without the guard"
        assert one.api_visibility == "private", f"{one.fn} is offered as an API"


def test_every_handler_refuses_strangers_and_lower_roles(services: Services, ask: Ask) -> None:
    refused = 0
    for one in handlers(build_desk(services)):
        for role in (None, *LOWER[one.fn.required_role]):
            with pytest.raises(gr.Error, match=r"signed out|needs the role"):
                call(one.fn, ask(role), len(one.inputs))
            refused += 1
    assert refused >= 30


def test_what_trains_promotes_or_manages_users_needs_an_admin(services: Services) -> None:
    roles = {one.fn.__name__: one.fn.required_role for one in handlers(build_desk(services))}
    for name in (
        "start_run", "cancel_run", "promote_adapter", "force_adapter", "try_adapter", "roll_back", "refresh", "choose",
        "add_user", "set_password", "disable_user",
    ):  # fmt: skip
        assert roles[name] is Role.ADMIN, name


def test_a_disabled_user_is_out_at_the_next_event(services: Services, ask: Ask) -> None:
    request = ask(Role.ANALYST)
    run = Guard(services).wrap(Role.ANALYST, lambda who: who.username)
    assert run(request) == "analyst"
    auth.disable_user(services.db, "analyst")
    with pytest.raises(gr.Error, match="signed out"):
        run(request)


def test_every_control_says_where_its_refusal_stands(services: Services) -> None:
    desk = build_desk(services)
    known = {block.elem_id for block in desk.blocks.values() if getattr(block, "elem_id", None)}
    of_no_control = {"load", "tick", "select"}  # what begins by itself, and the tabs
    found = 0
    for one in handlers(desk):
        events = {event for _, event in one.targets}
        if one.fn.refused_at in known:
            found += 1
        else:
            assert events <= of_no_control, f"{one.fn.__name__}, at {events}, names no part of the page with an id"
    assert found >= 45


def test_a_refusal_names_what_it_is_about(services: Services, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(gr, "Warning", lambda words, title, **_: told.append(f"{title}: {words}"))
    with gr.Blocks():
        button, field, plain = gr.Button(elem_id="go"), gr.Textbox(elem_id="name"), gr.Textbox()

    def handler(who: Identity, at: Any) -> None:
        if at is None:
            raise BadInput("no")
        with beside(at):
            raise BadInput("no")

    guard = Guard(services)
    for refused_at, at in ((button, None), (button, field), (None, field), (None, None), (None, plain)):
        guard.wrap(Role.ANALYST, handler, refused_at=refused_at)(ask(Role.ANALYST), at)
    assert told == ["#go: no", "#name: no", "#name: no", "Not done: no", f"#component-{plain._id}: no"]


def test_a_desk_error_becomes_a_message_and_leaves_the_page_alone(
    services: Services, ask: Ask, said: list[str]
) -> None:
    def handler(who: Identity) -> str:
        raise BadInput("<script>alert(1)</script> is not a count.")

    assert Guard(services).wrap(Role.ANALYST, handler)(ask(Role.ANALYST)) == gr.skip()
    assert said == ["&lt;script&gt;alert(1)&lt;/script&gt; is not a count."]


def test_a_fault_is_logged_and_told_without_its_insides(services: Services, ask: Ask) -> None:
    def handler(who: Identity) -> str:
        raise RuntimeError("/secret/path")

    with pytest.raises(gr.Error) as caught:
        Guard(services).wrap(Role.ANALYST, handler)(ask(Role.ANALYST))
    assert "secret" not in caught.value.message
