"""The Annotate tab: the next scan worth a person's time, claimed, corrected, confirmed, skipped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from xray_app.auth import Identity
from xray_app.correction.draft import base_of, merge_onto, read_draft, unlisted
from xray_app.correction.equality import is_sent_twice
from xray_app.errors import BadInput, Conflict, DeskError
from xray_app.html import annotate as bars
from xray_app.html import panels
from xray_app.store import analyses, corrections, drafts, outcomes, queue
from xray_app.taxonomy import Taxonomy
from xray_app.types import Analysis, Correction, CorrectionBox, CorrectionIn, ItemCount, Role
from xray_app.ui import browser_code, presses
from xray_app.ui.clash import settled
from xray_app.ui.guard import Guard
from xray_app.ui.viewer.component import analysis_id_of, correction_from, edits_of, items_table, viewer, work_of
from xray_app.ui.viewer.work import read_work

SHOWN = 30
"""Entries of the queue on the left."""

MAX_COMMENT = 2000
SKIPS = ("I cannot tell what it is", "the picture is unreadable", "somebody with more experience should look", "later")
PICKLIST = '<div class="picklist"><ol></ol><p class="picklist-empty" hidden></p><div class="at-work"></div></div>'
# What only the browser knows: whether there are unsaved edits.
WITH_EDITS = "(work, ...rest) => [work && {...work, dirty: xrayDesk.dirty()}, ...rest]"


class AnnotateTab:
    """Builds the tab inside the current Blocks and attaches its handlers."""

    def __init__(self, guard: Guard, tab: gr.Tab) -> None:
        self.services = guard.services
        self.said = gr.HTML("", elem_id="annotate-said", elem_classes="said-line", apply_default_css=False)
        with gr.Row(elem_id="annotate-top", equal_height=True):
            self.why = gr.HTML("", elem_id="annotate-why", apply_default_css=False)
        with gr.Row(elem_id="annotate", elem_classes="desk-columns", equal_height=False):
            with gr.Column(elem_id="annotate-left", scale=0, min_width=196):
                self.next = gr.Button(
                    "Take the next scan · T", elem_id="annotate-next", elem_classes=[presses.ONCE], size="sm"
                )
                self.list = picklist("annotate-list")
            with gr.Column(elem_id="annotate-picture", min_width=400):
                self.viewer = viewer("annotate-viewer")
            with gr.Column(elem_id="annotate-side", elem_classes="desk-side", scale=0, min_width=372):
                self._build_side()
        self._attach(guard, tab)

    def _build_side(self) -> None:
        self.claim = gr.HTML("", elem_id="annotate-claim", apply_default_css=False)
        self.conflict = gr.HTML("", elem_id="annotate-conflict", apply_default_css=False)
        self.agreed: gr.State = gr.State(None)  # the clash of list and boxes that is shown: saving again settles it
        with gr.Row(visible=False, elem_id="annotate-conflict-buttons") as self.conflict_buttons:
            self.merge = gr.Button(
                "Merge both",
                size="sm",
                variant="primary",
                elem_id="annotate-merge",
                elem_classes=[presses.ONCE, presses.HANDS_OVER],
            )
            self.theirs = gr.Button(
                "Drop mine, show theirs", size="sm", elem_id="annotate-theirs", elem_classes=[presses.HANDS_OVER]
            )
        with gr.Row(elem_id="annotate-actions"):
            self.right = gr.Button(
                "VLM’s list, detector’s boxes: right · Y",
                elem_id="annotate-right",
                elem_classes=[
                    presses.ONCE,
                    presses.UNHURRIED,
                    presses.NEEDS_PICTURE_TO_SAVE,
                    presses.SAVES_BOXES,
                    presses.HANDS_OVER,
                ],
                min_width=120,
            )
            self.save = gr.Button(
                "Save · S",
                variant="primary",
                elem_id="annotate-save",
                elem_classes=[
                    presses.ONCE,
                    presses.UNHURRIED,
                    presses.NEEDS_PICTURE_TO_SAVE,
                    presses.SAVES_BOXES,
                    presses.HANDS_OVER,
                ],
                min_width=90,
            )
            self.skip = gr.Button("Skip · Q", elem_id="annotate-skip", min_width=80)
        with gr.Column(elem_id="annotate-skips"):
            gr.HTML("Why? The next person sees it.", apply_default_css=False)
            self.skips = [
                gr.Button(
                    f"{number} · {words}", size="sm", elem_id=f"annotate-skip-{number}", elem_classes=[presses.ONCE]
                )
                for number, words in enumerate(SKIPS, start=1)
            ]
            self.skip_words = gr.Textbox(
                placeholder="or in your own words, then Enter", show_label=False, container=False,
                max_length=queue.MAX_REASON, elem_id="annotate-skip-words",
            )  # fmt: skip
        items_table("annotate-items")
        self.labelled = gr.Dropdown(
            choices=list(self.services.taxonomy.names), multiselect=True, elem_id="annotate-scope",
            label="I only looked for … (empty: everything)",
        )  # fmt: skip
        self.comment = gr.Textbox(
            placeholder="comment (optional)", show_label=False, container=False, max_length=MAX_COMMENT,
            elem_id="annotate-comment",
        )  # fmt: skip
        self.opinions = gr.HTML("", elem_id="annotate-opinions", apply_default_css=False)
        with gr.Accordion("History", open=False, elem_id="annotate-history"):
            self.history = gr.HTML("", apply_default_css=False)
        self.keep = gr.Button("keep the draft", elem_id="annotate-keep")  # pressed by the page itself

    def _attach(self, guard: Guard, tab: gr.Tab) -> None:
        self.everything = [
            self.said, self.why, self.list, self.viewer, self.claim, self.conflict, self.conflict_buttons,
            self.labelled, self.comment, self.opinions, self.history, self.skip_words, self.agreed, self.right,
        ]  # fmt: skip
        work = [self.viewer, self.comment, self.labelled]

        def on(trigger: Any, handler: Callable[..., Any], inputs: Any, outputs: Any = None) -> None:
            guard.on(
                trigger, Role.ANNOTATOR, handler, inputs, outputs or self.everything, js=WITH_EDITS if inputs else None
            )

        on(tab.select, self.enter, [self.viewer])
        on(self.next.click, self.take_next, None)
        guard.on(self.list.select, Role.ANNOTATOR, self.choose, self.list, self.everything)
        on(self.right.click, self.confirm, work)
        on(self.save.click, self.save_correction, [*work, self.agreed])
        on(self.keep.click, self.keep_draft, work, [self.claim])
        on(self.merge.click, self.merge_both, [self.viewer])
        on(self.theirs.click, self.show_theirs, [self.viewer])
        for button, words in zip(self.skips, SKIPS, strict=True):
            on(button.click, self.skipping(words), [self.viewer])
        on(self.skip_words.submit, self.skip_scan, [self.viewer, self.skip_words])

    # --- showing ------------------------------------------------------------------------------------------

    def enter(self, who: Identity, work: Any) -> dict[Any, Any]:
        """The queue, and what this person holds: where they were before a reload."""
        held = queue.claim_of(self.services.db, who.username)
        shown = work.get("analysis_id") if isinstance(work, Mapping) else None
        if held is not None and held.analysis_id != shown:
            return self.show(who, held)
        if not isinstance(shown, str):
            return self._nothing(who)
        try:
            claim = queue.renew(self.services.db, shown, who.username)
            shown_claim = bars.claim(claim) if claim else gr.skip()
        except DeskError as error:
            shown_claim = bars.lost(error.message)
        return {self.list: self._list(who, shown), self.claim: shown_claim}

    def show(self, who: Identity, claim: queue.Claim, *, discard_edits: bool = False) -> dict[Any, Any]:
        """Everything about a scan this person holds, with their draft where they left one.

        Args:
            who: asks.
            claim: on the scan.
            discard_edits: whether what the browser kept of unsaved edits goes; a stored draft stays.
        """
        db, taxonomy = self.services.db, self.services.taxonomy
        analysis, entry = analyses.get(db, claim.analysis_id), queue.get(db, claim.analysis_id)
        revisions = corrections.history(db, analysis.id)
        newest = revisions[-1] if revisions else None
        work = work_of(analysis, revisions, taxonomy, who.username, discard_draft=discard_edits)
        draft = drafts.get(db, analysis.id, who.username)
        conflict = ""
        if draft is not None and draft.base_revision == work.base_revision:
            try:
                edits = read_draft(draft, analysis, revisions, taxonomy)
                kept = edits_of(edits, analysis, base_of(draft, revisions))
                work = work.model_copy(update={"draft": kept})
            except DeskError:  # a class left the taxonomy meanwhile
                draft = None
        elif draft is not None and newest is not None:
            conflict = bars.conflict(newest, from_draft=True)
        return {
            self.said: "",
            self.why: bars.why(entry, analysis, queue.standing(db)),
            self.list: self._list(who, analysis.id),
            self.viewer: work.sent(),
            self.claim: bars.claim(claim, drafts.others(db, analysis.id, who.username)),
            self.conflict: conflict,
            self.conflict_buttons: gr.update(visible=bool(conflict)),
            self.labelled: gr.update(
                choices=list(taxonomy.names), value=list((draft.labelled_classes if draft else None) or ())
            ),
            self.comment: (draft.comment if draft else None) or "",
            self.opinions: panels.opinions(analysis, self.services.rules, entry.standing),
            self.history: panels.history(analysis, revisions, outcomes.history(db, analysis.id)),
            self.skip_words: "",
            self.agreed: None,
            self.right: gr.update(visible=agrees(analysis, taxonomy)),
        }

    def _nothing(self, who: Identity, *, done: bool = False) -> dict[Any, Any]:
        return {
            self.said: "",
            self.why: bars.nothing_open(queue.standing(self.services.db), done=done),
            self.list: self._list(who, None),
            self.viewer: None,
            self.claim: "",
            self.conflict: "",
            self.conflict_buttons: gr.update(visible=False),
            self.labelled: [],
            self.comment: "",
            self.opinions: panels.NO_OPINIONS,
            self.history: "",
            self.skip_words: "",
            self.agreed: None,
            self.right: gr.update(visible=False),
        }

    def _list(self, who: Identity, current: str | None) -> dict[str, Any]:
        db = self.services.db
        return bars.queue_list(queue.page(db, SHOWN)[0], queue.standing(db), current, who.username)

    # --- taking and passing on ----------------------------------------------------------------------------

    def take_next(self, who: Identity) -> dict[Any, Any]:
        """The scan on top of the queue that nobody holds, or the one this person holds already."""
        claim = queue.take_next(self.services.db, who.username)
        return self.show(who, claim) if claim else self._nothing(who, done=True)

    def choose(self, who: Identity, chosen: Any) -> dict[Any, Any]:
        """The scan chosen in the list, unless somebody else is at work on it."""
        analysis_id = chosen.get("chosen") if isinstance(chosen, Mapping) else None
        if not isinstance(analysis_id, str):
            raise BadInput("Choose a scan on the left.")
        return self.open(who, analysis_id)

    def open(self, who: Identity, analysis_id: str) -> dict[Any, Any]:
        """Claims one scan and shows it.

        Raises:
            NotFound: no analysis has this id.
            Conflict: somebody else is at work on it.
        """
        return self.show(who, queue.take(self.services.db, analysis_id, who.username))

    def skipping(self, words: str) -> Callable[..., dict[Any, Any]]:
        """The handler of one ready reason."""

        def skip_for(who: Identity, work: Any) -> dict[Any, Any]:
            return self.skip_scan(who, work, words)

        return skip_for

    def skip_scan(self, who: Identity, work: Any, words: Any) -> dict[Any, Any]:
        """Passes the scan on with a reason, and takes the next."""
        db, analysis_id = self.services.db, analysis_id_of(work)
        queue.skip(db, analysis_id, who.username, str(words or ""))
        return self.take_next(who) | {self.said: panels.said("Skipped. It is offered to others")}

    # --- drafts and claims --------------------------------------------------------------------------------

    def keep_draft(self, who: Identity, work: Any, comment: str | None, labelled: Any) -> dict[Any, Any]:
        """Keeps unsaved edits and prolongs the claim; says when the scan is somebody else's by now."""
        edited = read_work(work)
        db, analysis_id = self.services.db, edited.analysis_id
        revisions = corrections.history(db, analysis_id)
        newest = revisions[-1] if revisions else None
        sent = correction_from(edited, comment, labelled)
        if newest is not None and newest.revision > sent.base_revision and newest.author == who.username:
            return {self.claim: gr.skip()}  # sent before their own save was answered: there is nothing left to keep
        if edited.dirty:
            read_draft(sent, analyses.get(db, analysis_id), revisions, self.services.taxonomy)
            drafts.keep(db, analysis_id, who.username, sent)
        elif (kept := drafts.get(db, analysis_id, who.username)) and kept.base_revision == sent.base_revision:
            drafts.drop(db, analysis_id, who.username)
        if newest is not None and newest.revision > sent.base_revision:
            return {self.claim: bars.lost(f"{newest.author} has saved revision {newest.revision} of this scan.")}
        try:
            claim = queue.renew(db, analysis_id, who.username)
        except Conflict as error:
            return {self.claim: bars.lost(error.message)}
        if claim is None:  # saved or skipped while this was on its way
            return {self.claim: gr.skip()}
        return {self.claim: bars.claim(claim, drafts.others(db, analysis_id, who.username))}

    # --- saving -------------------------------------------------------------------------------------------

    def confirm(self, who: Identity, work: Any, comment: str | None, labelled: Any) -> dict[Any, Any]:
        """The VLM's list and the detector's boxes become a revision: somebody looked, and they are right."""
        edited = read_work(work)
        if edited.dirty:
            raise BadInput("You have changed something, so the prediction is not right as it was. Save (S), or undo.")
        sent = correction_from(edited, comment, labelled)
        analysis = analyses.get(self.services.db, edited.analysis_id)
        predicted = as_predicted(analysis, sent.base_revision)
        right = sent.model_copy(update={"items": predicted.items, "boxes": predicted.boxes})
        if lacking := unlisted(right, self.services.taxonomy):
            raise BadInput(f"The detector has a box of {', '.join(lacking)} and the VLM does not: say what is right.")
        return self._save(who, analysis.id, right, None)

    def save_correction(
        self, who: Identity, work: Any, comment: str | None, labelled: Any, agreed: Any = None
    ) -> dict[Any, Any]:
        """What the person sees becomes the next revision, and the next scan comes up.

        A box that the list lacks is shown; saved again, the list takes its counts from the boxes.
        """
        edited = read_work(work)
        return self._save(who, edited.analysis_id, correction_from(edited, comment, labelled), agreed)

    def _save(self, who: Identity, analysis_id: str, sent: CorrectionIn, agreed: Any) -> dict[Any, Any]:
        services = self.services
        sent, clash = settled(analysis_id, sent, agreed, services.taxonomy)
        if clash is not None:
            shown = {self.conflict: panels.clash(clash["boxes"]), self.agreed: clash}
            return shown | {self.conflict_buttons: gr.update(visible=False)}
        try:
            saved = corrections.add(
                services.db, analysis_id, sent, who.username, services.taxonomy, services.settings.review_required
            )
        except Conflict as error:
            newest = (error.details or {}).get("newest")
            if newest is None:
                raise
            saved = Correction.model_validate(newest)
            if is_sent_twice(sent, saved, who.username, services.taxonomy):
                return self.take_next(who)  # a second click on Save: the first one has done it
            drafts.put(services.db, analysis_id, who.username, sent)  # what Merge goes on with
            return {
                self.conflict: bars.conflict(saved),
                self.conflict_buttons: gr.update(visible=True),
            }
        words = f"Revision {saved.revision} of {analyses.get(services.db, analysis_id).scan.filename} saved: "
        return self.take_next(who) | {self.said: panels.said(words + panels.fate(saved))}

    def merge_both(self, who: Identity, work: Any) -> dict[Any, Any]:
        """After a conflict: this person's changes put on top of the newest revision, to be looked at and saved."""
        db, taxonomy = self.services.db, self.services.taxonomy
        analysis = analyses.get(db, analysis_id_of(work))
        revisions = corrections.history(db, analysis.id)
        draft = drafts.get(db, analysis.id, who.username)
        if draft is None or not revisions:
            raise BadInput("There is nothing to merge; save again.")
        newest = revisions[-1]
        proposal = merge_onto(draft, analysis, revisions, taxonomy)
        drafts.put(db, analysis.id, who.username, proposal.draft)
        return self._reopen(who, analysis.id) | {
            self.conflict: bars.merged(newest, proposal.clashes),
            self.conflict_buttons: gr.update(visible=False),
        }

    def show_theirs(self, who: Identity, work: Any) -> dict[Any, Any]:
        """After a conflict: the other person's revision, and the own edits dropped."""
        analysis_id = analysis_id_of(work)
        drafts.drop(self.services.db, analysis_id, who.username)
        return self._reopen(who, analysis_id)

    def _reopen(self, who: Identity, analysis_id: str) -> dict[Any, Any]:
        return self.show(who, queue.take(self.services.db, analysis_id, who.username), discard_edits=True)


def agrees(analysis: Analysis, taxonomy: Taxonomy) -> bool:
    """Whether the VLM's list and the detector's boxes can both be right, so that one may say so."""
    try:
        return not unlisted(as_predicted(analysis, 0), taxonomy)
    except DeskError:  # a class left the taxonomy meanwhile
        return False


def as_predicted(analysis: Analysis, base_revision: int) -> CorrectionIn:
    """The VLM's list and the detector's boxes, as a correction that changes nothing."""
    return CorrectionIn(
        items=tuple(ItemCount(label=one.label, count=one.count) for one in analysis.report.items),
        boxes=tuple(CorrectionBox(id=one.id, label=one.label, xyxy=one.xyxy) for one in analysis.boxes),
        base_revision=base_revision,
    )


def picklist(elem_id: str) -> gr.HTML:
    """A list to choose a scan from: `items` of id, title, level, line and note; `current`; `chosen` after a click."""
    return gr.HTML(
        value=None,
        html_template=PICKLIST,
        js_on_load=browser_code.mounting("picklist.js"),
        apply_default_css=False,
        elem_id=elem_id,
        elem_classes="picklist-frame",
    )
