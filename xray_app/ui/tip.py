"""What the desk shows of test images and blind scans: as little as may be known before, all of it after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from xray_app.auth import Identity
from xray_app.errors import NotFound
from xray_app.html import tip
from xray_app.html.queue_tiles import BLIND
from xray_app.services import Services
from xray_app.store.tip import Sight, Truth
from xray_app.taxonomy import Taxonomy
from xray_app.types import Agreement, Analysis, Correction, Decision, Report, Role
from xray_app.ui.guard import Guard
from xray_app.ui.viewer.component import boxes_of, items_of, work_of
from xray_app.ui.viewer.work import Work


class Answered:
    """The word after an answer, and the way on to the next scan.

    Args:
        services: the running desk.
        show: gives the outputs that show an analysis.
        queue: gives the queue's value with a current analysis.
    """

    def __init__(
        self, services: Services, show: Callable[..., dict[Any, Any]], queue: Callable[..., dict[str, Any]]
    ) -> None:
        self.services, self._show, self._queue = services, show, queue
        with gr.Group(visible=False, elem_id="answered") as self.group:
            self.words = gr.HTML("", apply_default_css=False)
            self.next = gr.Button("Next scan · G", size="sm", elem_id="next-scan")

    @property
    def outputs(self) -> list[Any]:
        """The components a freshly shown analysis resets."""
        return [self.group, self.words]

    def fresh(self, sight: Sight, analysis: Analysis, standing: Sequence[Decision]) -> dict[Any, Any]:
        """Explains an answered test image whenever it is opened; nothing of any other scan."""
        words = ""
        if sight.test is not None:
            words = tip.explained(sight.test, sight.blind, analysis.risk.action, standing)
        return {self.group: gr.update(visible=bool(words)), self.words: words}

    def just(self, sight: Sight, analysis: Analysis, decision: Decision) -> dict[Any, Any]:
        """What is said of a decision of this moment: hit or miss, or what the models say of a scan decided blind."""
        words = (
            tip.explained(sight.test, sight.blind, analysis.risk.action, [decision])
            if sight.test is not None
            else tip.compared(analysis, decision)
        )
        return {self.group: gr.update(visible=True), self.words: words}

    def attach(self, guard: Guard, everything: list[Any]) -> None:
        """Gives the button its handler."""
        guard.on(self.next.click, Role.ANALYST, self.next_scan, None, everything)

    def next_scan(self, who: Identity) -> dict[Any, Any]:
        """Shows the scan that waits longest.

        Raises:
            NotFound: none waits.
        """
        waiting = [item["id"] for item in self._queue(who, None)["items"] if item["section"] == "waiting"]
        if not waiting:
            raise NotFound("No scan waits for a decision. Add scans on the left.")
        return self._show(who, waiting[0])


def hidden_work(
    analysis: Analysis, revisions: Sequence[Correction], taxonomy: Taxonomy, user: str, views: Sequence[Analysis]
) -> Work:
    """As `work_of`, without anything a model said of any view; what people drew stays."""
    work = work_of(_unread(analysis), revisions, taxonomy, user, [_unread(one) for one in views])
    return work.model_copy(update={"views": tuple(one.model_copy(update={"level": BLIND}) for one in work.views)})


def true_work(analysis: Analysis, truth: Truth, taxonomy: Taxonomy, user: str) -> Work:
    """As `work_of`, with the threat that was laid into a test image, and nothing else; it cannot be edited."""
    boxes, items = [], []
    if truth.label and truth.xyxy:
        boxes = [taxonomy.box("truth", "human", truth.label, truth.xyxy, None)]
        items = [taxonomy.item(truth.label, 1)]
    work = work_of(_unread(analysis), [], taxonomy, user, discard_draft=True)
    shown = {"boxes": boxes_of(boxes), "items": items_of(items), "readonly": True, "answered": True}
    return work.model_copy(update=shown)


def _unread(analysis: Analysis) -> Analysis:
    return analysis.model_copy(
        update={
            "report": Report(items=(), text="", complete=True),
            "boxes": (),
            "agreement": Agreement(both=(), vlm_only=(), detector_only=()),
        }
    )
