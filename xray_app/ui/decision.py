"""What a person says about an analysis: the decision and its undoing, the correction, and its review."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import gradio as gr

from xray_app.auth import Identity
from xray_app.correction.equality import is_sent_twice
from xray_app.correction.revision import may_review
from xray_app.errors import BadInput, Conflict, NeedsNote, NotFound
from xray_app.html import panels
from xray_app.risk import clears_high
from xray_app.services import Services
from xray_app.store import analyses, corrections, decisions, recent, standing, tip
from xray_app.types import Action, Analysis, Correction, CorrectionIn, Decision, Role, StandingRisk
from xray_app.ui import presses
from xray_app.ui.clash import settled
from xray_app.ui.guard import Guard, page_id, refuse
from xray_app.ui.viewer.component import analysis_id_of, correction_from
from xray_app.ui.viewer.work import Work, read_work

MAX_NOTE = 2000
# Adds what only the browser knows to the viewer's value: how long the scan was looked at, and what is unsaved.
WITH_CLOCK = "(work, ...rest) => [work && {...work, seconds: xrayDesk.seconds(), dirty: xrayDesk.dirty()}, ...rest]"
# The reason's field takes the keys where a HIGH bag was to be cleared; else the decision may be undone for a while.
AFTER_DECISION = (
    "() => { xrayDesk.focusShown('#confirm', '#decision-note textarea, #decision-note input'); xrayDesk.offerUndo(); }"
)
DOUBLE_CLICK = timedelta(seconds=2)


class DecisionForm:
    """Buttons and fields around the picture, and their handlers.

    Args:
        services: the running desk.
        show: gives the outputs that show an analysis.
        queue: gives the queue's value with a current analysis.
        answered: gives the outputs that say how a test image or a blind scan was just answered.
    """

    def __init__(
        self,
        services: Services,
        show: Callable[..., dict[Any, Any]],
        queue: Callable[..., dict[str, Any]],
        answered: Callable[..., dict[Any, Any]],
    ) -> None:
        self.services, self._show, self._queue, self._answered = services, show, queue, answered
        with gr.Column(elem_id="decision", scale=0, min_width=430):
            with gr.Row(elem_id="decision-buttons"):
                self.clear = gr.Button(
                    "1 · Clear", elem_id="decide-clear", elem_classes=[presses.DECIDES, presses.NEEDS_PICTURE_TO_CLEAR]
                )
                self.review = gr.Button("2 · Review", elem_id="decide-review", elem_classes=[presses.DECIDES])
                self.search = gr.Button("3 · Search", elem_id="decide-search", elem_classes=[presses.DECIDES])
            with gr.Row(elem_id="decision-words"):
                self.note = line("note to the decision (optional)", "decision-note")
                self.undo = gr.Button("Undo · Z", elem_id="undo-decision", size="sm")
        self.buttons: dict[Action, gr.Button] = {"CLEAR": self.clear, "REVIEW": self.review, "SEARCH": self.search}

    def build_confirm(self) -> None:
        """The question before a HIGH bag is cleared, hidden until then; and the line that says what was done."""
        self.said = gr.HTML("", elem_id="said", apply_default_css=False)
        self.made = gr.State([])  # ids of the decisions the next undo takes back
        with gr.Group(visible=False, elem_id="flagged") as self.flagged:
            self.flag = gr.HTML("", apply_default_css=False)
            self.seen = gr.Button("I have seen it", size="sm", elem_id="flag-seen")
        with gr.Group(visible=False, elem_id="confirm") as self.confirm:
            self.question = gr.HTML("", apply_default_css=False)
            with gr.Row():
                self.clear_anyway = gr.Button(
                    "Clear this HIGH bag",
                    variant="stop",
                    elem_id="clear-anyway",
                    elem_classes=[presses.ONCE, presses.NEEDS_PICTURE_TO_CLEAR],
                )
                self.keep = gr.Button("Do not clear", elem_id="keep-bag", elem_classes=[presses.ANSWERS])

    def build_correction(self) -> None:
        """Save, conflict, review and scope: the lower part of the side."""
        self.agreed: gr.State = gr.State(None)  # the clash of list and boxes that is shown: saving again settles it
        self.seen_revision = gr.State(0)  # the one the conflict named: what the person has agreed to put theirs on
        saving = [presses.ONCE, presses.SAVES_BOXES, presses.HANDS_OVER]
        with gr.Column(elem_id="saving", scale=0):  # stays in sight, and what is said of a save with it
            self.conflict = gr.HTML("", elem_id="conflict", apply_default_css=False)
            with gr.Row(visible=False, elem_id="conflict-buttons") as self.conflict_buttons:
                self.keep_mine = gr.Button("Keep mine on top", size="sm", elem_id="keep-mine", elem_classes=saving)
                self.take_theirs = gr.Button(
                    "Drop mine, show theirs", size="sm", elem_id="take-theirs", elem_classes=[presses.HANDS_OVER]
                )
            with gr.Row(elem_id="save-row"):
                self.comment = line("comment (optional)", "comment", scale=2)
                self.save = gr.Button(
                    "Save correction · S", variant="primary", elem_id="save-correction", elem_classes=saving,
                    min_width=158,
                )  # fmt: skip
        with gr.Group(visible=False, elem_id="review") as self.review_group:
            self.pending = gr.HTML("", apply_default_css=False)
            with gr.Row():
                self.accept = gr.Button("Accept", size="sm", elem_id="accept-correction", elem_classes=[presses.ONCE])
                self.reject = gr.Button("Reject", size="sm", elem_id="reject-correction", elem_classes=[presses.ONCE])
        with gr.Accordion("Looked for certain classes only?", open=False, elem_id="scope"):
            self.labelled = gr.Dropdown(
                choices=list(self.services.taxonomy.names), multiselect=True, show_label=False, container=False,
                info="Empty: you looked for everything. What you did not look for is neither taught nor scored.",
            )  # fmt: skip

    @property
    def outputs(self) -> list[Any]:
        """The components a freshly shown analysis resets."""
        return [
            self.confirm, self.question, self.conflict, self.seen_revision, self.conflict_buttons, self.note,
            self.comment, self.labelled, self.agreed, self.review_group, self.pending, self.said, self.made,
            self.flagged, self.flag,
        ]  # fmt: skip

    def fresh(self, who: Identity, revisions: Sequence[Correction], decided: Sequence[Decision]) -> dict[Any, Any]:
        """Empty fields, and for whoever may do it, the review of the newest correction and of a cleared HIGH bag."""
        newest = revisions[-1] if revisions else None
        reviewing = newest is not None and may_review(newest, who.username) and who.role.includes(Role.ANNOTATOR)
        flags = [one for one in decided if one.flagged and one.author != who.username]
        may_see = bool(flags) and who.role.includes(Role.ANNOTATOR) and self._waits_for_a_look(who, flags[-1])
        return {
            self.flagged: gr.update(visible=may_see),
            self.flag: panels.flag(flags[-1]) if may_see else "",
            self.said: "",  # what was said of another bag goes with it
            self.confirm: gr.update(visible=False),
            self.question: "",
            self.conflict: "",
            self.seen_revision: 0,
            self.agreed: None,
            self.conflict_buttons: gr.update(visible=False),
            self.note: "",
            self.comment: "",
            self.labelled: [],
            self.review_group: gr.update(visible=reviewing),
            self.pending: panels.to_review(newest) if newest and reviewing else "",
        }

    def attach(self, guard: Guard, viewer: gr.HTML, strip: gr.HTML, banner: gr.HTML, everything: list[Any]) -> None:
        """Gives every button its handler."""
        self.viewer, self.strip, self.banner = viewer, strip, banner
        decided, corrected = [viewer, self.note, self.made], [viewer, self.comment, self.labelled, self.agreed]
        for word, button in self.buttons.items():
            asked = guard.on(button.click, Role.ANALYST, self.deciding(word), decided, everything, js=WITH_CLOCK)
            asked.then(None, js=AFTER_DECISION)
        cleared = guard.on(
            self.clear_anyway.click, Role.ANALYST, self.clear_high, decided, everything, js=WITH_CLOCK,
            refused_at=self.note,
        )  # fmt: skip
        cleared.then(None, js=AFTER_DECISION)
        guard.on(self.undo.click, Role.ANALYST, self.undo_decision, self.made, everything)
        guard.on(self.seen.click, Role.ANNOTATOR, self.see_flagged, viewer, everything)
        guard.on(self.keep.click, Role.ANALYST, self.do_not_clear, None, [self.confirm])
        guard.on(self.save.click, Role.ANALYST, self.save_correction, corrected, everything)
        guard.on(self.keep_mine.click, Role.ANALYST, self.save_on_top, [*corrected, self.seen_revision], everything)
        guard.on(self.take_theirs.click, Role.ANALYST, self.show_newest, viewer, everything)
        guard.on(self.accept.click, Role.ANNOTATOR, self.reviewing("accepted"), [viewer, self.comment], everything)
        guard.on(self.reject.click, Role.ANNOTATOR, self.reviewing("rejected"), [viewer, self.comment], everything)

    # --- decisions ----------------------------------------------------------------------------------------

    def deciding(self, word: Action) -> Callable[..., dict[Any, Any]]:
        """The handler of one decision button."""

        def decide(who: Identity, work: Any, note: str | None, made: Any = None) -> dict[Any, Any]:
            db, seen = self.services.db, read_work(work)
            analysis = analyses.get_hidden(db, seen.analysis_id)
            sight, bag = tip.sight(db, analysis.id), standing.of_bag(db, analysis.scan.bag_id)
            # What the models rate a blind scan the question would tell; what people marked is no secret.
            stands = bag.by_people if sight.hidden else bag.over(analysis)
            if stands is not None and sight.test is None and clears_high(word, (stands.level,)):
                return self._ask(analysis, stands)
            return self._decide(who, analysis, word, seen, note, made)

        decide.__name__ = decide.__qualname__ = f"decide_{word.lower()}"
        return decide

    def _ask(self, analysis: Analysis, stands: StandingRisk) -> dict[Any, Any]:
        """The question before a bag that stands at HIGH is cleared; somebody may have marked it since it was shown."""
        asked = {self.confirm: gr.update(visible=True), self.question: panels.clear_high(stands)}
        hidden = tip.sight(self.services.db, analysis.id).hidden
        return asked if hidden else asked | {self.banner: self._banner_of(analysis)}

    def _banner_of(self, analysis: Analysis) -> str:
        """What the bag of a scan stands at, and what was decided."""
        db = self.services.db
        return panels.banner(analysis, decisions.standing(db, analysis.id), standing.of_bag(db, analysis.scan.bag_id))

    def clear_high(self, who: Identity, work: Any, note: str | None, made: Any = None) -> dict[Any, Any]:
        """Clears a HIGH bag, with the reason in the note."""
        seen = read_work(work)
        analysis = analyses.get_hidden(self.services.db, seen.analysis_id)
        if not (note or "").strip():
            raise BadInput("Clearing a HIGH bag needs a note that says why.")
        return self._decide(who, analysis, "CLEAR", seen, note, made)

    def do_not_clear(self, who: Identity) -> dict[Any, Any]:
        """Closes the question."""
        return {self.confirm: gr.update(visible=False)}

    def _decide(
        self, who: Identity, analysis: Analysis, word: Action, work: Work, note: str | None, before: Any
    ) -> dict[Any, Any]:
        db = self.services.db
        if self._just_made(who, analysis, word):
            return {self.said: panels.said(f"{word} is recorded already")}
        # What was decided just now may still be on the screen: with unsaved edits the scan stays.
        seen = [*_ids(before), *([work.decided] if work.decided else [])]
        try:
            made = decisions.add_for_bag(db, analysis.id, word, work.seconds, text_of(note), who.username, seen=seen)
        except Conflict as error:
            return self._decided_meanwhile(who, analysis, word, (error.details or {}).get("decision"), error)
        except NeedsNote as error:  # somebody has marked it this moment
            return self._ask(analysis, StandingRisk.model_validate((error.details or {})["standing"]))
        sight = tip.sight(db, analysis.id)
        if made[0].blind or sight.test is not None:  # stays on the screen, to be compared
            shown = self._show(who, analysis.id, discard_draft=sight.test is not None)
            return shown | self._answered(sight, analysis, made[0]) | {self.said: "", self.made: []}
        views = ", for all views of the bag" if len(made) > 1 else ""
        undoable = {self.made: [one.id for one in made]}
        if work.dirty:
            words = f"{word} recorded{views}. Your edits of this scan are not saved yet."
            return undoable | {
                self.said: panels.decided(words),
                self.strip: self._queue(who, analysis.id),
                self.banner: self._banner_of(analysis),
                self.confirm: gr.update(visible=False),
                self.note: "",
            }
        waiting = [item["id"] for item in self._queue(who, None)["items"] if item["section"] == "waiting"]
        shown = self._show(who, waiting[0] if waiting else analysis.id)
        return shown | undoable | {self.said: panels.decided(f"{word} recorded for {analysis.scan.filename}{views}")}

    def _decided_meanwhile(
        self, who: Identity, analysis: Analysis, word: Action, newer: Any, error: Conflict
    ) -> dict[Any, Any]:
        """Nothing is recorded: what was decided elsewhere is shown first; what was typed stays."""
        found = next((one for one in decisions.history(self.services.db, analysis.id) if one.id == newer), None)
        if found is None:
            raise error
        at = found.created_at.astimezone().strftime("%H:%M")
        by, where = ("You", " in another window") if found.author == who.username else (found.author, "")
        words = f"{by} decided {found.decision}{where} at {at}. Decide again to overrule it."
        refuse(words, page_id(self.buttons[word]))
        shown = self._show(who, analysis.id)
        return {part: shown[part] for part in (self.viewer, self.strip, self.banner, self.confirm)}

    def _just_made(self, who: Identity, analysis: Analysis, word: Action) -> bool:
        """Whether this is the second click of a double click."""
        last = next(reversed(decisions.standing(self.services.db, analysis.id)), None)
        return (
            last is not None
            and (last.author, last.decision) == (who.username, word)
            and datetime.now(UTC) - last.created_at < DOUBLE_CLICK
        )

    def undo_decision(self, who: Identity, made: Any) -> dict[Any, Any]:
        """Takes back the decision of a moment ago and shows its scan again."""
        ids = _ids(made)
        if not ids:
            raise BadInput("There is no decision to take back.")
        analysis_id = decisions.analysis_of(self.services.db, ids[0])
        decisions.withdraw(self.services.db, ids, who.username)
        return self._show(who, analysis_id) | {self.said: panels.said("Taken back: decide again"), self.made: []}

    def _waits_for_a_look(self, who: Identity, decision: Decision) -> bool:
        return bool(recent.flagged(self.services.db, who.username, decision.analysis_id))

    def see_flagged(self, who: Identity, work: Any) -> dict[Any, Any]:
        """A supervisor has looked at a HIGH bag that was cleared."""
        analysis_id = analysis_id_of(work)
        decisions.see(self.services.db, analysis_id, who.username)
        return self._show(who, analysis_id) | {self.said: panels.said("Recorded that you have seen it")}

    # --- corrections --------------------------------------------------------------------------------------

    def save_correction(
        self, who: Identity, work: Any, comment: str | None, labelled: Any, agreed: Any = None
    ) -> dict[Any, Any]:
        """Appends what the person sees as the next revision; a stale one is shown as a conflict.

        So is a box that the list lacks; saved again, the list takes its counts from the boxes.
        """
        edited = read_work(work)
        return self._save(who, edited.analysis_id, correction_from(edited, comment, labelled), agreed)

    def _save(self, who: Identity, analysis_id: str, sent: CorrectionIn, agreed: Any) -> dict[Any, Any]:
        services = self.services
        sent, clash = settled(analysis_id, sent, agreed, services.taxonomy)
        if clash is not None:
            shown = {self.conflict: panels.clash(clash["boxes"]), self.agreed: clash}
            return shown | {self.conflict_buttons: gr.update(visible=False)}
        if self._just_saved(who, analysis_id, sent):
            return self._show(who, analysis_id)
        try:
            saved = corrections.add(
                services.db, analysis_id, sent, who.username, services.taxonomy, services.settings.review_required
            )
        except Conflict as error:
            newest = (error.details or {}).get("newest")
            if newest is None:
                raise
            # A double click:
            if is_sent_twice(sent, Correction.model_validate(newest), who.username, services.taxonomy):
                return self._show(who, analysis_id, discard_draft=True)
            return {
                self.conflict: panels.conflict(newest),
                self.seen_revision: newest["revision"],
                self.conflict_buttons: gr.update(visible=True),
            }
        words = panels.said(f"Revision {saved.revision} saved: {panels.fate(saved)}")
        return self._show(who, analysis_id, discard_draft=True) | {self.said: words}

    def _just_saved(self, who: Identity, analysis_id: str, sent: CorrectionIn) -> bool:
        """Whether this is the second click of a double click that came after the answer to the first."""
        newest = next(reversed(corrections.history(self.services.db, analysis_id)), None)
        if newest is None or newest.revision != sent.base_revision:
            return False
        if datetime.now(UTC) - newest.created_at >= DOUBLE_CLICK or sent.comment not in (None, newest.comment):
            return False
        if sent.labelled_classes is None:  # the answer to the first click has emptied this field, as the comment's
            sent = sent.model_copy(update={"labelled_classes": newest.labelled_classes})
        return is_sent_twice(sent, newest, who.username, self.services.taxonomy)

    def save_on_top(
        self, who: Identity, work: Any, comment: str | None, labelled: Any, agreed: Any = None, seen: Any = None
    ) -> dict[Any, Any]:
        """After a conflict: the person's edits as a revision on top of the one the conflict named."""
        edited = read_work(work)
        analysis = analyses.get_hidden(self.services.db, edited.analysis_id)
        base = next((one for one in corrections.history(self.services.db, analysis.id) if one.revision == seen), None)
        if base is None:
            raise NotFound("There is no conflict to settle; save again.")
        sent = correction_from(edited, comment, labelled)
        # A box of the older revision that this one lacks cannot keep its id: it is drawn anew.
        known = {box.id for box in (*analysis.boxes, *base.boxes)}
        boxes = tuple(box if box.id in known else box.model_copy(update={"id": None}) for box in sent.boxes)
        on_top = sent.model_copy(update={"base_revision": base.revision, "boxes": boxes})
        return self._save(who, analysis.id, on_top, agreed)

    def show_newest(self, who: Identity, work: Any) -> dict[Any, Any]:
        """After a conflict: the other person's revision, and the own edits dropped."""
        return self._show(who, analysis_id_of(work), discard_draft=True)

    def reviewing(self, status: Any) -> Callable[..., dict[Any, Any]]:
        """The handler that accepts or rejects the newest correction of the scan shown."""

        def judge(who: Identity, work: Any, comment: str | None) -> dict[Any, Any]:
            seen = read_work(work)
            revisions = corrections.history(self.services.db, seen.analysis_id)
            if not revisions:
                raise NotFound("There is no correction to review.")
            newest = revisions[-1]
            if seen.base_revision != newest.revision:
                raise Conflict("A newer revision was saved meanwhile. Choose the scan again and look at it first.")
            corrections.review(self.services.db, newest.id, status, text_of(comment), who.username)
            words = panels.said(f"Revision {newest.revision} {status}")
            return self._show(who, newest.analysis_id) | {self.said: words}

        judge.__name__ = judge.__qualname__ = f"review_{status}"
        return judge


def line(placeholder: str, elem_id: str, **more: Any) -> gr.Textbox:
    """A field of one line for free words."""
    return gr.Textbox(
        placeholder=placeholder, show_label=False, container=False, max_length=MAX_NOTE, elem_id=elem_id, **more
    )


def _ids(made: Any) -> list[str]:
    """The decisions this page made last, checked: it may send anything."""
    return [one for one in made if isinstance(one, str)] if isinstance(made, list) else []


def text_of(note: str | None) -> str | None:
    """A note as it is kept.

    Raises:
        BadInput: it is too long.
    """
    text = (note or "").strip()
    if len(text) > MAX_NOTE:
        raise BadInput(f"A note has at most {MAX_NOTE} characters.")
    return text or None
