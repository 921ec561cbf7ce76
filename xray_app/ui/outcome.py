"""What the hand search found: asked for at the scan where a search was ordered, until somebody has recorded it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from xray_app.auth import Identity
from xray_app.errors import BadInput
from xray_app.html import panels
from xray_app.services import Services
from xray_app.store import analyses, outcomes
from xray_app.taxonomy import Taxonomy
from xray_app.types import MAX_COUNT, Analysis, Decision, ItemCount, Outcome, Role, Status
from xray_app.ui import presses
from xray_app.ui.decision import line, text_of
from xray_app.ui.guard import Guard
from xray_app.ui.viewer.component import analysis_id_of, correction_from
from xray_app.ui.viewer.work import read_work

_FOUND = re.compile(r"(?:(\d{1,3})\s*[x×]?\s+)?(.+)")

# Recorded, and so emptied: the keys are the desk's again.
LEAVE = """(found) => { const field = document.activeElement;
if (!found && field && field.closest('#outcome')) field.blur(); return []; }"""


class OutcomeForm:
    """The question, its three ways to answer, and their handlers.

    Args:
        services: the running desk.
        show: gives the outputs that show an analysis.
        said: where the desk says what was done.
    """

    def __init__(self, services: Services, show: Callable[..., dict[Any, Any]], said: gr.HTML) -> None:
        self.services, self._show, self.said = services, show, said
        with gr.Group(visible=False, elem_id="outcome") as self.group:
            self.question = gr.HTML("", apply_default_css=False)
            with gr.Row(elem_id="outcome-quick"):
                self.nothing = gr.Button("Nothing", size="sm", elem_id="found-nothing", elem_classes=[presses.ONCE])
                self.listed = gr.Button(
                    "The threats listed", size="sm", elem_id="found-listed", elem_classes=[presses.ONCE]
                )
                self.record = gr.Button(
                    "What I write", size="sm", elem_id="record-outcome", elem_classes=[presses.ONCE]
                )
            with gr.Row():
                self.found = line("F: 1 knife, 2 lighters", "outcome-found")
                self.note = line("note (optional)", "outcome-note")

    @property
    def outputs(self) -> list[Any]:
        """The components a freshly shown analysis resets."""
        return [self.group, self.question, self.found, self.note]

    def fresh(self, analysis: Analysis, decided: Sequence[Decision]) -> dict[Any, Any]:
        """Asks where the newest decision orders a search; says what was recorded already, for any view of the bag."""
        ordered = bool(decided) and decided[-1].decision == "SEARCH"
        recorded = self._recorded(analysis) if ordered else []
        return {
            self.group: gr.update(visible=ordered),
            self.question: panels.search_ordered(decided[-1], recorded) if ordered else "",
            self.found: "",
            self.note: "",
        }

    def _recorded(self, analysis: Analysis) -> list[Outcome]:
        db = self.services.db
        views = analyses.of_bag(db, analysis.scan.bag_id, with_hidden=True)
        return sorted((one for view in views for one in outcomes.history(db, view.id)), key=lambda one: one.created_at)

    def attach(self, guard: Guard, viewer: gr.HTML, everything: list[Any]) -> None:
        """Gives the answers their handlers."""
        written = [viewer, self.found, self.note]
        at = self.found  # where what was found is written
        guard.on(self.record.click, Role.ANALYST, self.record_found, written, everything, refused_at=at)
        answered = guard.on(self.found.submit, Role.ANALYST, self.record_found, written, everything)
        answered.then(None, self.found, None, js=LEAVE)
        guard.on(self.nothing.click, Role.ANALYST, self.record_nothing, [viewer, self.note], everything)
        guard.on(self.listed.click, Role.ANALYST, self.record_listed, [viewer, self.note], everything, refused_at=at)

    def record_found(self, who: Identity, work: Any, found: str | None, note: str | None) -> dict[Any, Any]:
        """Records what the hand search found, in the person's words."""
        return self._record(who, work, found_items(found or "", self.services.taxonomy), note)

    def record_nothing(self, who: Identity, work: Any, note: str | None) -> dict[Any, Any]:
        """Records that the hand search found nothing."""
        return self._record(who, work, [], note)

    def record_listed(self, who: Identity, work: Any, note: str | None) -> dict[Any, Any]:
        """Records that the hand search found the prohibited and restricted items of the list, and no others."""
        taxonomy = self.services.taxonomy
        listed = [
            item
            for item in correction_from(read_work(work), None, None).items
            if taxonomy.resolve(item.label).status is not Status.ALLOWED
        ]
        if not listed:
            raise BadInput("No prohibited or restricted item is listed. Write what was found, or “nothing”.")
        return self._record(who, work, listed, note)

    def _record(self, who: Identity, work: Any, found: Sequence[ItemCount], note: str | None) -> dict[Any, Any]:
        analysis_id = analysis_id_of(work)
        outcomes.add(self.services.db, analysis_id, found, text_of(note), who.username, self.services.taxonomy)
        return self._show(who, analysis_id) | {self.said: panels.said("Recorded what the search found")}


def found_items(text: str, taxonomy: Taxonomy) -> list[ItemCount]:
    """“1 knife, 2 lighters” as items; “nothing” and “none” as an empty list.

    Raises:
        BadInput: no words at all, or a count outside 1 to 99.
        UnknownLabel: a name that is no class of the taxonomy.
    """
    words = text.strip().rstrip(".")
    parts = [part.strip() for part in re.split(r"[,;]", words) if part.strip()]
    if not parts:
        raise BadInput("Write what was found, such as “1 knife, 2 lighters”, or “nothing”.")
    if words.lower() in ("nothing", "none"):
        return []
    items = []
    for part in parts:
        match = _FOUND.fullmatch(part)
        count = int(match[1]) if match and match[1] else 1
        if match is None or not 1 <= count <= MAX_COUNT:
            raise BadInput(f"A count is 1 to {MAX_COUNT}: “{part[:60]}”.")
        items.append(ItemCount(label=taxonomy.resolve(match[2]).name, count=count))
    return items
