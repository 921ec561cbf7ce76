"""No event of the page waits for ever for its answer, however the stream of answers ends."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from gradio import queueing

from tests.browser.conftest import Desk, Open
from tests.browser.test_desk import GUN, KNIFE
from xray_app.html import panels
from xray_app.store import analyses

FIELD = "#upload input[type=file]"
LATE_STREAM = Path(__file__).parent / "late_stream.js"
NEVER = 10**9
THERE = """count => document.querySelector('#intake .progress').hidden && xrayDesk.work !== null
    && document.querySelectorAll('#strip .tile').length === count"""


def batch(page: Any, *files: Path) -> None:
    """Drops a batch and waits until all of it is there and the first scan is open."""
    before = page.locator("#strip .tile").count()
    page.set_input_files(FIELD, [str(file) for file in files])
    page.wait_for_function(THERE, arg=before + len(files), timeout=60_000)


def hold_back_streams(page: Any, answer: Any) -> list[Any]:
    """Lets `answer` deal with the next stream of answers; the ones after it are left alone."""
    streams: list[Any] = []

    def first(route: Any) -> None:
        streams.append(route)
        if len(streams) > 1:
            route.continue_()
        elif answer is not None:
            answer(route)

    page.route("**/gradio_api/queue/data*", first)
    return streams


@pytest.fixture
def page(scripted: Desk, open_desk: Open) -> Any:
    return open_desk(scripted.url, "ana")


def test_an_event_sent_before_the_page_knows_that_the_stream_has_ended_is_answered(page: Any) -> None:
    page.add_init_script("window.closesLate = 3000;")
    page.add_init_script(path=LATE_STREAM)
    page.reload()
    page.wait_for_selector(".desk-user")
    page.evaluate("silence => { xrayEvents.silence = silence; }", NEVER)  # it is not asked for: nothing is amiss
    batch(page, KNIFE, GUN)


def test_twenty_batches_in_a_row_are_all_there(page: Any) -> None:
    page.add_init_script("window.closesLate = 60;")
    page.add_init_script(path=LATE_STREAM)
    page.reload()
    page.wait_for_selector(".desk-user")
    page.evaluate("silence => { xrayEvents.silence = silence; }", NEVER)
    page.evaluate(
        "setInterval(() => { const tile = document.querySelector('#strip .tile'); if (tile) tile.click(); }, 90)"
    )
    for _ in range(20):
        batch(page, KNIFE, GUN)


def test_answers_come_after_a_stream_was_cut(page: Any) -> None:
    page.evaluate("xrayEvents.silence = 500")
    streams = hold_back_streams(page, lambda route: route.fulfill(content_type="text/event-stream", body=""))
    batch(page, KNIFE, GUN)
    assert len(streams) > 1


def test_answers_come_although_a_stream_stays_silent(page: Any) -> None:
    page.evaluate("Object.assign(xrayEvents, { silence: 500, deafness: 1000 })")
    streams = hold_back_streams(page, None)
    batch(page, KNIFE, GUN)
    assert len(streams) > 1


def test_of_a_lost_answer_the_page_says_so_shows_what_is_stored_and_goes_on(
    scripted: Desk, page: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, lost = queueing.Queue.send_message, []

    def losing(self: Any, event: Any, message: Any) -> None:
        if event.fn.fn.__name__ == "add_scans" and (not lost or event in lost):
            lost.append(event)
        else:
            send(self, event, message)

    monkeypatch.setattr(queueing.Queue, "send_message", losing)
    page.evaluate("xrayEvents.silence = 500")
    page.set_input_files(FIELD, [str(KNIFE), str(GUN)])
    page.wait_for_selector(".toast-body")
    assert "lost on its way" in page.locator(".toast-body").inner_text()
    page.wait_for_selector("#strip .tile")
    assert "No answer at 1 of 2" in page.locator("#intake .progress-words").inner_text()
    page.click("#intake .go-on")
    page.wait_for_function(THERE, arg=2, timeout=60_000)
    assert len(analyses.page(scripted.services.db, 5)[0]) == 2, "what was stored is not analysed again"


def test_an_event_at_work_is_left_at_work(scripted: Desk, page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    vlm = scripted.services.analyser.vlm
    answer = vlm.answer

    def slowly(*asked: Any) -> Any:
        time.sleep(2)
        return answer(*asked)

    monkeypatch.setattr(vlm, "answer", slowly)
    page.evaluate("xrayEvents.silence = 300")
    batch(page, KNIFE, GUN)
    assert page.locator(".toast-body").count() == 0
    assert len(analyses.page(scripted.services.db, 5)[0]) == 2


def test_a_queue_read_before_another_is_not_shown_after_it(page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    opinions = panels.opinions

    def later(*values: Any) -> str:
        time.sleep(4)  # the second scan comes in while the first is opened, after its queue was read
        return opinions(*values)

    monkeypatch.setattr(panels, "opinions", later)
    page.set_input_files(FIELD, [str(KNIFE), str(GUN)])
    page.wait_for_function("document.querySelectorAll('#strip .tile').length === 2")
    page.wait_for_function("xrayDesk.work !== null")
    page.wait_for_timeout(300)
    assert page.locator("#strip .tile").count() == 2


def test_a_session_that_ended_is_told_and_the_stream_is_not_asked_for_without_pause(page: Any) -> None:
    refused: list[Any] = []

    def refuse(route: Any) -> None:
        refused.append(route)
        route.fulfill(status=401, content_type="application/json", body="{}")

    page.route("**/gradio_api/queue/data*", refuse)
    page.set_input_files(FIELD, [str(KNIFE), str(GUN)])
    page.wait_for_selector("#desk-alarm")
    assert "signed out" in page.locator("#desk-alarm").inner_text()
    page.wait_for_timeout(4000)
    assert len(refused) <= 6, "at once, and after 0.5, 1 and 2 seconds; once more for an event of the page's own"
    page.unroute("**/gradio_api/queue/data*")  # signed in again in another tab
    page.wait_for_function(
        THERE, arg=2, timeout=60_000
    )  # without a press: the answers are there, and the batch goes on


def test_a_page_that_the_server_forgot_goes_on_without_being_loaded_again(scripted: Desk, page: Any) -> None:
    page.evaluate("window.sameSight = true")
    forgotten = 'data: {"msg":"unexpected_error","message":"","success":false,"session_not_found":true}\n\n'
    streams = hold_back_streams(page, lambda route: route.fulfill(content_type="text/event-stream", body=forgotten))
    batch(page, KNIFE, GUN)
    assert len(streams) > 1
    assert page.evaluate("window.sameSight") is True
