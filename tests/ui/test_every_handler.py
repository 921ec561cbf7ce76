"""Every event of the desk through its real door, by everybody, and with whatever a browser may make up.

The handlers are those the built page has, so one that is added later is tried without a word here.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from fastapi.testclient import TestClient
from gradio.utils import get_upload_folder
from starlette.routing import Mount

from tests.conftest import MakeAnalysis
from tests.ui.conftest import PASSWORD
from xray_app import auth
from xray_app.api.door import OPEN
from xray_app.services import Services
from xray_app.session import COOKIE
from xray_app.store import audit
from xray_app.types import Role
from xray_app.wiring import with_desk

REFUSED = "needs the role"
FAULT = "fault in the desk"
EVENTS = "/desk/gradio_api/queue"


@dataclass
class Served:
    """The whole application, its page, and the cookie of a user of each role."""

    client: TestClient
    page: gr.Blocks
    cookies: dict[Role, dict[str, str]]

    @property
    def handlers(self) -> dict[int, Any]:
        """What the page's events run, by the number a browser calls it by."""
        return {number: one for number, one in self.page.fns.items() if one.fn is not None}

    def ask(self, role: Role, calls: Sequence[tuple[int, list[Any]]]) -> list[str]:
        """Runs events one after the other as a browser would; what each said that it did not do, "" where done."""
        ids = []
        for number, data in calls:
            body = json.dumps({"fn_index": number, "data": data, "session_hash": role.value, "trigger_id": None})
            joined = self.client.post(f"{EVENTS}/join", content=body, headers=JSON | self.cookies[role])
            assert joined.status_code == 200, joined.text
            ids.append(joined.json()["event_id"])
        stream = self.client.get(f"{EVENTS}/data?session_hash={role.value}", headers=self.cookies[role])
        told = [json.loads(line[len("data:") :]) for line in stream.text.splitlines() if line.startswith("data:")]
        ends = {one["event_id"]: one for one in told if one["msg"] == "process_completed"}
        return ["" if ends[id]["success"] else str(ends[id]["output"].get("error")) for id in ids]


JSON = {"content-type": "application/json"}


@pytest.fixture
def served(services: Services) -> Iterator[Served]:
    whole = with_desk(services)
    page = next(route.app for route in whole.routes if isinstance(route, Mount)).app.get_blocks()
    cookies = {}
    for role in Role:
        auth.add_user(services.db, role.value, PASSWORD, role)
        cookies[role] = {"cookie": f"{COOKIE}={auth.sign_in(services.db, role.value, PASSWORD).token}"}
    with TestClient(whole, follow_redirects=False) as client:
        yield Served(client, page, cookies)


def test_every_event_runs_for_its_role_and_no_lower_one(served: Served, services: Services) -> None:
    # Gradio itself refuses a table that is none, and a slider without a number, before any handler of ours.
    table = {"headers": [], "data": [], "metadata": None}

    def right(of: Any) -> Any:
        return table if isinstance(of, gr.Dataframe) else of.value if isinstance(of, gr.Slider) else None

    calls = [(number, [right(of) for of in one.inputs]) for number, one in served.handlers.items()]
    assert len(calls) >= 40
    for number, data in calls:
        body = json.dumps({"fn_index": number, "data": data, "session_hash": "stranger"})
        assert served.client.post(f"{EVENTS}/join", content=body, headers=JSON).status_code == 401
    before = audit.newest(services.db)
    for role in Role:
        for (number, _), said in zip(calls, served.ask(role, calls), strict=True):
            handler = served.handlers[number].fn
            allowed = role.includes(handler.required_role)
            assert (REFUSED in said) != allowed, f"{handler.__name__} for {role}: {said or 'done'}"
            assert FAULT not in said, handler.__name__
        if role is not Role.ADMIN:
            assert audit.newest(services.db) == before, f"{role} has changed something"


def test_no_id_stands_for_two_parts_of_the_page(served: Served) -> None:
    ids = Counter(id for block in served.page.blocks.values() if (id := getattr(block, "elem_id", None)))
    assert [id for id, n in ids.items() if n > 1] == []


def test_no_component_offers_a_function_of_its_own(served: Served) -> None:
    """Gradio runs such functions at /component_server, where no guard stands."""
    assert [block for block in served.page.blocks.values() if getattr(block, "server_fns", None)] == []


WORDS = ["x", "=1+1", "\ud800", "a\0b", "x" * 10_000, "<img src=x onerror=alert(1)>", -1, 10**30, True, [], {}, [[3]]]


def odd_works(analysis_id: str) -> list[Any]:
    """Made-up values of a viewer or a list."""
    drawn = {"id": "new-1", "label": "knife", "xyxy": [0, 0, 9, 9]}

    def work(**changes: Any) -> dict[str, Any]:
        right = {"analysis_id": analysis_id, "base_revision": 0, "items": [], "boxes": [drawn], "dirty": True}
        return right | {"current": "unknown", "chosen": "unknown", "open_view": "unknown", "shown": "x"} | changes

    odd_ids = ("unknown", "../../xray.db", "a\0b", "\ud800", "x" * 10_000, "' OR 1=1 --", 3, None, {}, [])
    return [
        *(dict.fromkeys(("analysis_id", "correction_id", "current", "chosen", "open_view"), id) for id in odd_ids),
        work(boxes=[drawn | {"xyxy": [0, 0, 10**400, 9]}]), work(boxes=[drawn | {"xyxy": ["NaN", 0, 9, 9]}]),
        work(boxes=[drawn | {"id": {}}]), work(boxes=[drawn] * 5000), work(items=[{"label": "\ud800", "count": 1}]),
        work(items=[{"label": "knife", "count": 1e300}]), work(items=3, boxes=3), work(base_revision=10**30),
        work(correction_id="unknown", role="admin", user="root", author="root"),
    ]  # fmt: skip


@pytest.mark.timeout(1800)  # some thousand events, on a machine that may be busy
def test_no_made_up_value_is_a_fault_of_the_desk(
    served: Served, stored: MakeAnalysis, caplog: pytest.LogCaptureFixture
) -> None:
    works = odd_works(stored(by="admin").id)
    faults = []
    for number, one in served.handlers.items():
        if not one.inputs:
            continue
        caplog.clear()
        # What is on no list of choices Gradio itself refuses, and breaks its stream by quoting half a character.
        chosen = any(isinstance(block, gr.Dropdown | gr.Radio | gr.CheckboxGroup) for block in one.inputs)
        takes_work = any(isinstance(block, gr.HTML) for block in one.inputs)
        values = [*works, *WORDS[:4]] if takes_work else WORDS
        calls = [(number, [value] * len(one.inputs)) for value in values if not (chosen and value == "\ud800")]
        said = served.ask(Role.ADMIN, calls)
        if odd := [str(call[1][0])[:100] for call, words in zip(calls, said, strict=True) if FAULT in words]:
            reasons = {repr(record.exc_info[1])[:200] for record in caplog.records if record.exc_info}
            faults.append((one.fn.__name__, odd, reasons))
    assert faults == []


def test_no_event_reaches_a_file_of_the_machine(served: Served, services: Services) -> None:
    """Gradio takes any value that looks like a file for one, whatever the component, before a handler is asked."""
    uploads = Path(get_upload_folder())
    secret = services.db.data_dir / "secret.txt"
    secret.write_text("of nobody's business")
    asked = {"path": str(secret), "meta": {"_type": "gradio.FileData"}}
    calls = [(number, [asked] * len(one.inputs)) for number, one in served.handlers.items() if one.inputs]
    assert len(calls) > 40
    refused = [words for words in served.ask(Role.ANALYST, calls) if "Cannot move" in words]
    assert len(refused) > 40
    assert [path for path in uploads.rglob("*") if path.is_file() and path.read_bytes() == secret.read_bytes()] == []


def addresses(routes: Sequence[Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Method and path of every route, Gradio's own and those that are on no list among them."""
    for route in routes:
        if hasattr(route, "effective_route_contexts"):  # a router that FastAPI keeps as it was included
            yield from addresses(list(route.effective_route_contexts()), before)
            continue
        route = getattr(route, "starlette_route", None) or route
        path = before + getattr(route, "path", "")
        if getattr(route, "routes", None):
            yield from addresses(route.routes, path)
        else:
            for method in sorted(getattr(route, "methods", None) or ["GET"]):
                yield method, re.sub(r"\{[^}]*\}", "x", path)


def test_a_stranger_gets_into_no_route(served: Served) -> None:
    known = set(addresses(served.client.app.routes))  # type: ignore[attr-defined]
    assert {("POST", f"{EVENTS}/join"), ("GET", "/v1/queue"), ("POST", "/desk/gradio_api/upload")} <= known
    for method, path in sorted(known):
        if path in OPEN:
            continue
        answer = served.client.request(method, path)
        refused = answer.status_code == 401 or answer.headers.get("location") == "/signin"
        assert refused, f"{method} {path}: {answer.status_code}"
