"""Train in a browser: it asks for news while it is looked at, and only then."""

from __future__ import annotations

from typing import Any

from tests.browser.conftest import Desk, Open
from tests.ui.test_train import begun


def test_a_run_is_followed_while_its_tab_is_on_the_screen(scripted: Desk, open_desk: Open) -> None:
    begun(scripted.services)
    page = open_desk(scripted.url)
    asked: list[Any] = []
    page.on("request", lambda request: asked.append(request) if "/queue/join" in request.url else None)
    with page.expect_request("**/queue/join*"):
        page.get_by_role("tab", name="Train").click()
    page.wait_for_selector("#run-status .run")
    with page.expect_request("**/queue/join*"):
        pass  # the next tick
    page.get_by_role("tab", name="Help").click()
    page.wait_for_timeout(1500)  # what was on its way
    asked.clear()
    page.wait_for_timeout(4500)
    assert asked == []
    with page.expect_request("**/queue/join*"):
        page.get_by_role("tab", name="Train").click()
    asked.clear()
    page.wait_for_timeout(4500)
    assert asked != [], "and it goes on"
