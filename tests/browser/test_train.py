"""Train in a browser: it asks for news while it is looked at, and only then."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.browser.conftest import Desk, Open
from tests.ui.test_train import MEASURED, begun
from training.promotion import registry
from xray_app.adapter import CheckAnswer, Gate, GateCheck
from xray_app.types import RunMetrics
from xray_app.ui.train import KIND


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


@pytest.mark.parametrize(
    ("answer", "shown", "hidden", "promote"),
    [
        ("passed", None, ("#trial", "#force"), True),
        ("not shown yet", "#trial", ("#force",), False),
        ("refused", "#force", ("#trial",), False),
    ],
)
def test_each_answer_of_the_gate_has_its_own_way_to_promote(
    scripted: Desk,
    open_desk: Open,
    tmp_path: Path,
    answer: CheckAnswer,
    shown: str | None,
    hidden: tuple[str, ...],
    promote: bool,
) -> None:
    services = scripted.services
    assert services is not None
    folder = tmp_path / "trained"
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    vlm = services.analyser.vlm
    checks = [GateCheck(name="simulated: threat recall", answer=answer, detail="figures", needs=247)]
    checks.append(GateCheck(name="site evidence", answer="reported", detail="Not enough site evidence yet"))
    manifest = registry.new_manifest(
        id=uuid4().hex, kind=KIND, base=vlm.name, base_sha256=vlm.weights_sha256,
        taxonomy_sha256=services.taxonomy.sha256, metrics=RunMetrics(active=MEASURED, candidate=MEASURED),
        gate=Gate.of(checks),
    )  # fmt: skip
    adapter = registry.register(services.db, folder, manifest)
    page = open_desk(scripted.url)
    page.get_by_role("tab", name="Train").click()
    page.wait_for_selector(f".gate.{answer.replace(' ', '-')}")
    assert page.locator(".gate li").nth(1).inner_text().startswith("· reported")
    assert page.locator("#promote").is_enabled() == promote
    for part in hidden:
        assert not page.locator(part).is_visible()
    if shown:
        page.wait_for_selector(shown)
    if answer == "refused":
        page.click("#force button")
        page.click("#force-promote")
        page.wait_for_selector("#force-reason ~ .refusal, #force-reason .refusal, .refusal")
        assert "say why" in page.locator(".refusal").inner_text()
    if answer == "not shown yet":
        assert "✓" not in page.locator(".gate").inner_text()
        assert "can be promoted as a trial" in page.locator("#unpromoted").inner_text()
        page.fill("#trial-reason textarea", "a week on lane 2")
        page.click("#trial-promote")
        page.wait_for_selector(".serving .trial")
        assert adapter.id[:8] in page.locator(".serving").inner_text()
        page.reload()
        page.wait_for_function("document.querySelector('.demo')?.innerText.includes('model on trial')")
        badge, tab = page.locator(".demo").bounding_box(), page.get_by_role("tab", name="Help").bounding_box()
        assert tab["x"] + tab["width"] <= badge["x"], "the badge leaves the tabs free"
