"""The Review tab: somebody else's correction beside the prediction; accept, reject, amend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import gradio as gr

from xray_app.auth import Identity
from xray_app.correction.agreement import agreement
from xray_app.correction.revision import standing
from xray_app.errors import BadInput, Conflict
from xray_app.html import panels
from xray_app.html import review as parts
from xray_app.store import analyses, corrections, double_readings, outcomes, reviews
from xray_app.types import Role
from xray_app.ui import presses
from xray_app.ui.annotate import AnnotateTab, picklist
from xray_app.ui.guard import Guard, beside

MAX_COMMENT = 2000


class ReviewTab:
    """Builds the tab inside the current Blocks and attaches its handlers.

    Args:
        guard: attaches them.
        tab: this tab.
        tabs: the desk's tabs, to go to Annotate for an amendment.
        annotate: where an amendment is made.
    """

    def __init__(self, guard: Guard, tab: gr.Tab, tabs: gr.Tabs, annotate: AnnotateTab) -> None:
        self.services, self.tabs, self.annotate = guard.services, tabs, annotate
        self.said = gr.HTML("", elem_id="review-said", elem_classes="said-line", apply_default_css=False)
        self.seen = gr.State(None)  # the correction on the screen: what accept and reject are about
        self.judged = gr.State(None)  # the one judged last: what undo is about
        with gr.Row(elem_id="review-tab", elem_classes="desk-columns", equal_height=False):
            with gr.Column(elem_id="review-left", scale=0, min_width=196):
                self.refresh = gr.Button("Look again", elem_id="review-refresh", size="sm")
                self.undo = gr.Button("Undo · Z", elem_id="review-undo", size="sm", visible=False)
                self.list = picklist("review-list")
            with gr.Column(elem_id="review-middle", min_width=400):
                self.versions = gr.HTML("", elem_id="review-versions", apply_default_css=False)
            with gr.Column(elem_id="review-side", elem_classes="desk-side", scale=0, min_width=372):
                self.facts = gr.HTML("", elem_id="review-facts", apply_default_css=False)
                with gr.Column(visible=False, elem_id="review-decide") as self.decide:
                    with gr.Row(elem_id="review-actions"):
                        self.accept = gr.Button(
                            "Accept · A", variant="primary", elem_id="review-accept", elem_classes=[presses.JUDGES]
                        )
                        self.amend = gr.Button("Amend · E", elem_id="review-amend")
                        self.reject = gr.Button("Reject · R", elem_id="review-reject", elem_classes=[presses.JUDGES])
                    self.comment = gr.Textbox(
                        placeholder="comment (needed to reject)", show_label=False, container=False,
                        max_length=MAX_COMMENT, elem_id="review-comment",
                    )  # fmt: skip
                with gr.Accordion("History", open=True):
                    self.history = gr.HTML("", elem_id="review-history", apply_default_css=False)
                with gr.Accordion("Agreement between people", open=False):
                    self.count = gr.Button("Compute", size="sm", elem_id="review-agreement")
                    self.agreement = gr.HTML("", apply_default_css=False)
        shown = [
            self.said, self.seen, self.list, self.versions, self.facts, self.decide, self.comment, self.history,
        ]  # fmt: skip

        def on(trigger: Any, handler: Callable[..., Any], inputs: Any, outputs: Any = shown) -> None:
            guard.on(trigger, Role.ANNOTATOR, handler, inputs, outputs)

        on(tab.select, self.look_again, self.seen)
        on(self.refresh.click, self.look_again, self.seen)
        on(self.list.select, self.choose, self.list)
        judging = [*shown, self.judged, self.undo]
        on(self.accept.click, self.judging("accepted"), [self.seen, self.comment, self.list], judging)
        on(self.reject.click, self.judging("rejected"), [self.seen, self.comment, self.list], judging)
        on(self.undo.click, self.take_back, self.judged, judging)
        on(self.amend.click, self.amend_it, self.seen, [tabs, *annotate.everything])
        on(self.count.click, self.compute_agreement, None, [self.agreement])

    def look_again(self, who: Identity, seen: Any) -> dict[Any, Any]:
        """What waits now; the correction on the screen stays where it still waits, and so does what was typed."""
        if not isinstance(seen, Mapping):
            return self._show(who, None)
        page = self._show(who, seen.get("analysis_id"))
        if page[self.seen] == seen:
            del page[self.comment]
        return page

    def choose(self, who: Identity, chosen: Any) -> dict[Any, Any]:
        """Shows the correction chosen in the list."""
        analysis_id = chosen.get("chosen") if isinstance(chosen, Mapping) else None
        if not isinstance(analysis_id, str):
            raise BadInput("Choose a correction on the left.")
        return self._show(who, analysis_id)

    def judging(self, status: Literal["accepted", "rejected"]) -> Callable[..., dict[Any, Any]]:
        """The handler of Accept or Reject; the next one comes up."""

        def judge(who: Identity, seen: Any, comment: str | None, listed: Any = None) -> dict[Any, Any]:
            correction_id, analysis_id = _seen(seen)
            if isinstance(listed, Mapping) and listed.get("current") != analysis_id:
                # What the page shows comes a moment after what the server knows it to show.
                raise Conflict("Another correction has come up meanwhile. Look at it, then judge it.")
            words = (comment or "").strip()
            with beside(self.comment):
                if len(words) > MAX_COMMENT:
                    raise BadInput(f"A comment has at most {MAX_COMMENT} characters.")
                if status == "rejected" and not words:
                    raise BadInput("Say in the comment why: its author reads it.")
            newest = standing(corrections.history(self.services.db, analysis_id))
            if newest is not None and newest.id != correction_id:
                raise Conflict(
                    f"{newest.author} has saved revision {newest.revision} of this scan meanwhile. "
                    "Press Look again and judge that one."
                )
            judged = corrections.review(self.services.db, correction_id, status, words or None, who.username)
            return self._show(who, None) | {
                self.said: panels.said(f"Revision {judged.revision} {status}"),
                self.judged: {"analysis_id": analysis_id, "correction_id": correction_id},
                self.undo: gr.update(visible=True),
            }

        judge.__name__ = judge.__qualname__ = f"judge_{status}"
        return judge

    def take_back(self, who: Identity, judged: Any) -> dict[Any, Any]:
        """The correction judged last waits again, and is shown."""
        correction_id, analysis_id = _seen(judged)
        waiting = corrections.take_back_review(
            self.services.db, correction_id, who.username, who.role.includes(Role.ADMIN)
        )
        return self._show(who, analysis_id) | {
            self.said: panels.said(f"Revision {waiting.revision} waits for review again"),
            self.judged: None,
            self.undo: gr.update(visible=False),
        }

    def amend_it(self, who: Identity, seen: Any) -> dict[Any, Any]:
        """Opens the scan on Annotate with the revision in hand; what is saved there is a new revision."""
        _, analysis_id = _seen(seen)
        return self.annotate.open(who, analysis_id) | {self.tabs: gr.Tabs(selected="annotate")}

    def compute_agreement(self, who: Identity) -> dict[Any, Any]:
        """Kappa and box overlap of every two people who corrected the same scans."""
        found = [
            agreement(first, second, pairs)
            for (first, second), pairs in double_readings.pairs(self.services.db).items()
        ]
        found.sort(key=lambda pair: -pair.scans)
        return {self.agreement: parts.agreement_table(found)}

    def _show(self, who: Identity, analysis_id: str | None) -> dict[Any, Any]:
        """The list, and the correction of one analysis; the first that waits where that one waits no longer."""
        db = self.services.db
        waiting = reviews.waiting(db, who.username)
        chosen = next((one for one in waiting if one.correction.analysis_id == analysis_id), None)
        chosen = chosen or (waiting[0] if waiting else None)
        if chosen is None:
            required = self.services.settings.review_required
            return {
                self.said: "",
                self.seen: None,
                self.list: parts.waiting_list([], None),
                self.versions: parts.nothing_waits(required, reviews.count_own(db, who.username)),
                self.facts: "",
                self.decide: gr.update(visible=False),
                self.comment: "",
                self.history: "",
            }
        analysis, proposed = chosen.analysis, chosen.correction
        revisions = corrections.history(db, analysis.id)
        earlier = standing([one for one in revisions if one.revision < proposed.revision])
        return {
            self.said: "",
            self.seen: {"analysis_id": analysis.id, "correction_id": proposed.id},
            self.list: parts.waiting_list(waiting, analysis.id),
            self.versions: parts.versions(analyses.get(db, analysis.id), proposed, earlier),
            self.facts: parts.facts(chosen, revisions),
            self.decide: gr.update(visible=True),
            self.comment: "",
            self.history: parts.reviews(reviews.of_analysis(db, analysis.id))
            + panels.history(analysis, revisions, outcomes.history(db, analysis.id)),
        }


def _seen(seen: Any) -> tuple[str, str]:
    """The correction and the analysis on the screen.

    Raises:
        BadInput: none is.
    """
    if not isinstance(seen, Mapping):
        raise BadInput("Choose a correction on the left first.")
    return str(seen["correction_id"]), str(seen["analysis_id"])
