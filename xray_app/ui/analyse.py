"""The Analyse tab: scans in, risk, two opinions, a person's decision and correction."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from xray_app.auth import Identity
from xray_app.errors import BadInput, BadScan, Conflict, DeskError, NotFound, ScanTooLarge
from xray_app.scan import Limits, read_scan
from xray_app.store import analyses, corrections, decisions, recent
from xray_app.types import Action, Analysis, Role
from xray_app.ui import panels
from xray_app.ui.guard import Guard
from xray_app.ui.viewer import HERE, analysis_id_of, correction_from, items_table, viewer, work_of

SHIFT = timedelta(hours=12)
MAX_NOTE = 2000
# Adds what only the browser knows to the viewer's value: how long the scan was looked at, and what is unsaved.
WITH_CLOCK = "(work, ...rest) => [work && {...work, seconds: xrayDesk.seconds(), dirty: xrayDesk.dirty()}, ...rest]"


class AnalyseTab:
    """Builds the tab inside the current Blocks and attaches its handlers."""

    def __init__(self, guard: Guard) -> None:
        self.services = guard.services
        self._build()
        self._attach(guard)

    # --- layout -------------------------------------------------------------------------------------------

    def _build(self) -> None:
        with gr.Row(elem_id="top", equal_height=True):
            self.banner = gr.HTML(panels.banner(None), elem_id="banner", apply_default_css=False)
            with gr.Column(elem_id="decision", scale=0, min_width=430):
                with gr.Row(elem_id="decision-buttons"):
                    self.clear = gr.Button("1 · Clear", elem_id="decide-clear")
                    self.review = gr.Button("2 · Review", elem_id="decide-review")
                    self.search = gr.Button("3 · Search", elem_id="decide-search")
                self.note = gr.Textbox(
                    placeholder="note to the decision (optional)", show_label=False, container=False,
                    max_length=MAX_NOTE, elem_id="decision-note",
                )  # fmt: skip
        with gr.Group(visible=False, elem_id="confirm") as self.confirm:
            gr.HTML(
                "<strong>This bag is rated HIGH.</strong> Clearing it lets it go without a search. "
                "Write in the note why that is right, then confirm.",
                apply_default_css=False,
            )
            with gr.Row():
                self.clear_anyway = gr.Button("Clear this HIGH bag", variant="stop", elem_id="clear-anyway")
                self.keep = gr.Button("Do not clear", elem_id="keep-bag")
        with gr.Row(elem_id="desk", equal_height=False):
            with gr.Column(elem_id="queue", scale=0, min_width=148):
                self.upload = gr.File(
                    file_count="multiple", show_label=False, elem_id="upload", height=84, container=False
                )
                self.refused = gr.HTML("", elem_id="refused", apply_default_css=False)
                self.strip = gr.HTML(
                    value=None,
                    html_template='<div class="strip"><ol></ol><p class="strip-empty">Scans you add appear here.</p></div>',
                    js_on_load=(HERE / "strip.js").read_text(encoding="utf-8"),
                    apply_default_css=False,
                    elem_id="strip",
                )
            with gr.Column(elem_id="picture", min_width=400):
                self.viewer = viewer()
            with gr.Column(elem_id="side", scale=0, min_width=372):
                self.opinions = gr.HTML("", elem_id="opinions", apply_default_css=False)
                items_table()
                self.conflict = gr.HTML("", elem_id="conflict", apply_default_css=False)
                with gr.Row(visible=False, elem_id="conflict-buttons") as self.conflict_buttons:
                    self.keep_mine = gr.Button("Keep mine on top", size="sm", elem_id="keep-mine")
                    self.take_theirs = gr.Button("Drop mine, show theirs", size="sm", elem_id="take-theirs")
                with gr.Row(elem_id="save-row"):
                    self.comment = gr.Textbox(
                        placeholder="comment (optional)", show_label=False, container=False,
                        max_length=MAX_NOTE, elem_id="comment", scale=2,
                    )  # fmt: skip
                    self.save = gr.Button("Save correction · S", variant="primary", elem_id="save-correction", min_width=158)
                with gr.Accordion("Looked for certain classes only?", open=False, elem_id="scope"):
                    self.labelled = gr.Dropdown(
                        choices=list(self.services.taxonomy.names), multiselect=True, show_label=False, container=False,
                        info="Empty: you looked for everything. Else: what you did not look for is neither taught nor scored.",
                    )  # fmt: skip
                with gr.Accordion("History", open=False, elem_id="history"):
                    self.history = gr.HTML("", apply_default_css=False)

    def _attach(self, guard: Guard) -> None:
        everything = [
            self.strip, self.viewer, self.banner, self.opinions, self.history, self.confirm, self.conflict,
            self.conflict_buttons, self.note, self.comment, self.labelled,
        ]  # fmt: skip
        guard.on(self.upload.upload, Role.ANALYST, self.add_scans, self.upload, [self.upload, self.refused, *everything], show_progress="minimal")  # fmt: skip
        guard.on(self.strip.select, Role.ANALYST, self.open, self.strip, everything)
        for button, word in ((self.clear, "CLEAR"), (self.review, "REVIEW"), (self.search, "SEARCH")):
            guard.on(button.click, Role.ANALYST, self._deciding(word), [self.viewer, self.note], everything, js=WITH_CLOCK)
        guard.on(self.clear_anyway.click, Role.ANALYST, self.clear_high, [self.viewer, self.note], everything, js=WITH_CLOCK)
        guard.on(self.keep.click, Role.ANALYST, self.do_not_clear, None, [self.confirm])
        guard.on(self.save.click, Role.ANALYST, self.save_correction, [self.viewer, self.comment, self.labelled], everything)
        guard.on(self.take_theirs.click, Role.ANALYST, self.show_newest, self.viewer, everything)
        guard.on(self.keep_mine.click, Role.ANALYST, self.save_on_top, [self.viewer, self.comment, self.labelled], everything)

    # --- showing ------------------------------------------------------------------------------------------

    def start(self, who: Identity) -> dict[Any, Any]:
        """The queue of this shift when the page opens; nothing opened yet."""
        return {self.strip: self._strip(who, None)}

    def _show(self, who: Identity, analysis_id: str | None, *, discard_draft: bool = False) -> dict[Any, Any]:
        """Everything about one analysis, or the empty page."""
        shown: dict[Any, Any] = {
            self.strip: self._strip(who, analysis_id),
            self.confirm: gr.update(visible=False),
            self.conflict: "",
            self.conflict_buttons: gr.update(visible=False),
            self.note: "",
            self.comment: "",
            self.labelled: [],
        }
        if analysis_id is None:
            nothing = {self.viewer: None, self.banner: panels.banner(None), self.opinions: "", self.history: ""}
            return shown | nothing
        db, taxonomy = self.services.db, self.services.taxonomy
        analysis = analyses.get(db, analysis_id)
        revisions = corrections.list(db, analysis_id)
        return shown | {
            self.viewer: work_of(analysis, revisions, taxonomy, who.username, discard_draft=discard_draft),
            self.banner: panels.banner(analysis, decisions.list(db, analysis_id)),
            self.opinions: panels.opinions(analysis, taxonomy, self.services.policy),
            self.history: panels.history(analysis, revisions),
        }

    def _strip(self, who: Identity, current: str | None) -> dict[str, Any]:
        """The queue: what waits for a decision in the order it came, then what is done, newest first."""
        found = recent.of_user(self.services.db, who.username, datetime.now(UTC) - SHIFT)
        waiting = [one for one in found if one.decision is None]
        done = [one for one in reversed(found) if one.decision is not None]
        return {
            "current": current,
            "items": [
                {
                    "id": one.analysis.id,
                    "scan_id": one.analysis.scan.id,
                    "filename": one.analysis.scan.filename,
                    "level": one.analysis.risk.level,
                    "decision": one.decision,
                }
                for one in [*waiting, *done]
            ],
        }

    def open(self, who: Identity, strip: Any) -> dict[Any, Any]:
        """Shows the analysis chosen in the queue."""
        chosen = strip.get("current") if isinstance(strip, Mapping) else None
        if not isinstance(chosen, str):
            raise BadInput("Choose a scan on the left.")
        return self._show(who, chosen)

    # --- scans in -----------------------------------------------------------------------------------------

    def add_scans(self, who: Identity, paths: Sequence[str] | None) -> Iterator[dict[Any, Any]]:
        """Analyses uploaded files one by one; shows the first, reports what could not be read."""
        problems: list[str] = []
        opened = False
        files = [_uploaded(path) for path in paths or []]
        try:
            for number, file in enumerate(files, start=1):
                yield {self.refused: _progress(number, len(files), problems)}
                try:
                    analysis = self._analyse(who, file)
                except DeskError as error:
                    problems.append(f"{file.name}: {error.message}")
                    continue
                if opened:
                    yield {self.strip: self._strip_keeping_current(who)}
                else:
                    opened = True
                    yield self._show(who, analysis.id)
        finally:
            for file in files:
                _discard(file)
        yield {self.upload: None, self.refused: _problems(problems)}

    def _strip_keeping_current(self, who: Identity) -> dict[str, Any]:
        # The browser knows which scan is open by now; the script keeps its own choice.
        return self._strip(who, None) | {"keep_current": True}

    def _analyse(self, who: Identity, file: Path) -> Analysis:
        settings = self.services.settings
        limits = Limits(settings.max_upload_bytes, settings.max_pixels)
        try:
            if file.stat().st_size > limits.max_bytes:
                raise ScanTooLarge(f"larger than {settings.max_upload_mb} MB.")
            content = file.read_bytes()
        except OSError as error:
            raise BadScan("the upload is gone; add it again.") from error
        scan = read_scan(content, file.name, limits)
        analysis = self.services.analyser.analyse(scan)
        return analyses.save_with_scan(
            self.services.db, analysis.scan, scan.content, scan.media_type, analysis, who.username
        )

    # --- decisions ----------------------------------------------------------------------------------------

    def _deciding(self, word: Action) -> Any:
        def decide(who: Identity, work: Any, note: str | None) -> dict[Any, Any]:
            analysis = analyses.get(self.services.db, analysis_id_of(work))
            if word == "CLEAR" and analysis.risk.level == "HIGH":
                return {self.confirm: gr.update(visible=True)}
            return self._decide(who, analysis, word, work, note)

        decide.__name__ = decide.__qualname__ = f"decide_{word.lower()}"
        return decide

    def clear_high(self, who: Identity, work: Any, note: str | None) -> dict[Any, Any]:
        """Clears a HIGH bag, with the reason in the note."""
        if not (note or "").strip():
            raise BadInput("Clearing a HIGH bag needs a note that says why.")
        return self._decide(who, analyses.get(self.services.db, analysis_id_of(work)), "CLEAR", work, note)

    def do_not_clear(self, who: Identity) -> dict[Any, Any]:
        """Closes the question."""
        return {self.confirm: gr.update(visible=False)}

    def _decide(self, who: Identity, analysis: Analysis, word: Action, work: Any, note: str | None) -> dict[Any, Any]:
        seconds = work.get("seconds")
        if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or not 0 <= seconds < 86_400:
            seconds = None
        text = (note or "").strip()
        if len(text) > MAX_NOTE:
            raise BadInput(f"A note has at most {MAX_NOTE} characters.")
        decisions.add(self.services.db, analysis.id, word, seconds, text or None, who.username)
        if work.get("dirty"):
            gr.Info("Decision recorded. Your edits of this scan are not saved yet.", duration=6)
            db = self.services.db
            return {
                self.strip: self._strip(who, analysis.id),
                self.banner: panels.banner(analysis, decisions.list(db, analysis.id)),
                self.confirm: gr.update(visible=False),
                self.note: "",
            }
        waiting = [item["id"] for item in self._strip(who, None)["items"] if item["decision"] is None]
        gr.Info(f"{word} recorded for {escape(analysis.scan.filename)}.", duration=4)
        return self._show(who, waiting[0] if waiting else analysis.id)

    # --- corrections --------------------------------------------------------------------------------------

    def save_correction(self, who: Identity, work: Any, comment: str | None, labelled: Any) -> dict[Any, Any]:
        """Appends what the person sees as the next revision; a stale one is shown as a conflict."""
        analysis_id = analysis_id_of(work)
        try:
            saved = corrections.add(
                self.services.db,
                analysis_id,
                correction_from(work, comment, labelled),
                who.username,
                self.services.taxonomy,
                self.services.settings.review == "required",
            )
        except Conflict as error:
            return {
                self.conflict: panels.conflict((error.details or {}).get("newest")),
                self.conflict_buttons: gr.update(visible=True),
            }
        fate = "waits for review" if saved.status == "pending" else "kept for testing" if saved.split == "holdout" else "will train"
        gr.Info(f"Revision {saved.revision} saved: {fate}.", duration=5)
        return self._show(who, analysis_id, discard_draft=True)

    def save_on_top(self, who: Identity, work: Any, comment: str | None, labelled: Any) -> dict[Any, Any]:
        """After a conflict: the person's edits as a revision on top of the newest one."""
        revisions = corrections.list(self.services.db, analysis_id_of(work))
        if not revisions:
            raise NotFound("There is no other revision; save again.")
        known = {box.id for box in revisions[-1].boxes}
        # A box the other person removed is drawn anew; it cannot keep an id the newest revision lacks.
        boxes = [box if box.get("id") in known else {**box, "id": None} for box in work.get("boxes", [])]
        return self.save_correction(
            who, {**work, "base_revision": revisions[-1].revision, "boxes": boxes}, comment, labelled
        )

    def show_newest(self, who: Identity, work: Any) -> dict[Any, Any]:
        """After a conflict: the other person's revision, and the own edits dropped."""
        return self._show(who, analysis_id_of(work), discard_draft=True)


def _uploaded(path: str) -> Path:
    """A path Gradio handed over, which must lie in its upload folder.

    Raises:
        BadInput: it lies elsewhere.
    """
    file = Path(path).resolve()
    if not file.is_relative_to(Path(get_upload_folder()).resolve()):
        raise BadInput("This file was not uploaded here.")
    return file


def _discard(file: Path) -> None:
    # Gradio puts every upload into a folder of its own; the scan lives on in the store alone.
    folder = file.parent
    if folder != Path(get_upload_folder()).resolve():
        shutil.rmtree(folder, ignore_errors=True)


def _progress(number: int, total: int, problems: Sequence[str]) -> str:
    return f'<p class="working" role="status">Analysing {number} of {total} …</p>' + _problems(problems)


def _problems(problems: Sequence[str]) -> str:
    if not problems:
        return ""
    rows = "".join(f"<li>{escape(problem)}</li>" for problem in problems)
    return f'<div class="refused" role="alert"><strong>Not read:</strong><ul>{rows}</ul></div>'
