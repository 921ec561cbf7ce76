"""The Analyse tab: scans in, risk, two opinions. What a person says about them is in `decision` and `outcome`."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import gradio as gr

from xray_app.auth import Identity
from xray_app.errors import BadInput, BadScan, DeskError, ScanTooLarge
from xray_app.html import panels
from xray_app.html import tip as tip_html
from xray_app.html.queue_tiles import tiles
from xray_app.scan.read import Scan
from xray_app.store import analyses, corrections, decisions, known_truths, outcomes, recent, standing, tip
from xray_app.types import Analysis, Role
from xray_app.ui import browser_code
from xray_app.ui.decision import DecisionForm
from xray_app.ui.guard import Guard
from xray_app.ui.outcome import OutcomeForm
from xray_app.ui.tip import Answered, hidden_work, true_work
from xray_app.ui.uploads import discard, paths_of, uploaded
from xray_app.ui.viewer.component import items_table, viewer, work_of
from xray_app.ui.viewer.work import read_work

FOLDER = Path(__file__).resolve().parent

log = logging.getLogger(__name__)

SHIFT = timedelta(hours=12)
"""How far back the queue goes, but for what is left to decide or to look at: a working shift."""

MAX_NAME = 200
FAULT = "a fault in the desk, which has been logged"
SCAN_FACTS = {"scanner_id": "scanner", "bag_id": "bag", "view": "view"}
"""What the page says of dropped files, by the name of the scan's fact."""

STRIP = '<div class="strip"><ol></ol><p class="strip-empty">Scans you add appear here.</p></div>'
# The page hands over a few files at a time and waits for this before the next few.
NEXT_FILES = "() => xrayDesk.tell('intake-done')"
NO_ANSWER = "() => xrayDesk.tell('intake-failed')"
# What the page knows of the files on their way: the bag they were dropped under, and whether they are sent once more.
AS_DROPPED = "(files) => [files, xrayDesk.sending]"


class AnalyseTab:
    """Builds the tab inside the current Blocks and attaches its handlers."""

    def __init__(self, guard: Guard) -> None:
        self.services = guard.services
        with gr.Row(elem_id="top", equal_height=True):
            self.banner = gr.HTML(panels.banner(None), elem_id="banner", apply_default_css=False)
            self.decision = DecisionForm(guard.services, self.show, self.queue, lambda *of: self.answered.just(*of))
        self.decision.build_confirm()
        self.answered = Answered(guard.services, self.show, self.queue)
        with gr.Row(elem_id="desk", equal_height=False):
            self._build_queue()
            with gr.Column(elem_id="picture", min_width=400):
                self.viewer = viewer()
            with gr.Column(elem_id="side", scale=0, min_width=372):
                self.outcome = OutcomeForm(guard.services, self.show, self.decision.said)
                self.opinions = gr.HTML(panels.NO_OPINIONS, elem_id="opinions", apply_default_css=False)
                items_table()
                self.decision.build_correction()
                with gr.Accordion("History", open=False, elem_id="history"):
                    self.history = gr.HTML("", apply_default_css=False)
        everything = self.everything = [
            self.strip, self.viewer, self.banner, self.opinions, self.history,
            *self.decision.outputs, *self.outcome.outputs, *self.answered.outputs,
        ]  # fmt: skip
        added = guard.on(
            self.upload.upload, Role.ANALYST, self.add_scans,
            [self.upload, self.intake], [self.upload, self.intake, self.strip], js=AS_DROPPED, refused_at=self.intake,
        )  # fmt: skip
        added.then(None, js=NEXT_FILES)
        added.failure(None, js=NO_ANSWER)
        guard.on(self.strip.select, Role.ANALYST, self.open, self.strip, everything)
        guard.on(self.viewer.select, Role.ANALYST, self.open_view, self.viewer, everything)
        self.outcome.attach(guard, self.viewer, everything)
        self.answered.attach(guard, everything)
        self.decision.attach(guard, self.viewer, self.strip, self.banner, everything)

    def _build_queue(self) -> None:
        with gr.Column(elem_id="queue", scale=0, min_width=148):
            self.intake = gr.HTML(
                value=None,
                html_template=(FOLDER / "intake.html").read_text(encoding="utf-8"),
                js_on_load=browser_code.mounting("intake.js"),
                apply_default_css=False,
                elem_id="intake",
                max_mb=self.services.settings.max_upload_mb,
            )
            self.upload = gr.File(file_count="multiple", show_label=False, elem_id="upload", container=False)
            # Read by the page when scans are dropped: what is typed later is about the next ones.
            with gr.Accordion("Scan details", open=False, elem_id="scan-facts"):
                plain: dict[str, Any] = {"show_label": False, "container": False, "max_length": MAX_NAME}
                gr.Textbox(placeholder="scanner", elem_id="scanner-id", **plain)
                gr.Textbox(placeholder="bag (same for all views)", elem_id="bag-id", **plain)
                gr.Textbox(placeholder="view, e.g. top", elem_id="view-name", **plain)
            self.strip = gr.HTML(
                value=None,
                html_template=STRIP,
                js_on_load=browser_code.mounting("strip.js"),
                apply_default_css=False,
                elem_id="strip",
            )
        self.upload.preprocess = paths_of

    # --- showing ------------------------------------------------------------------------------------------

    def start(self, who: Identity) -> dict[Any, Any]:
        """The queue of this shift when the page opens, and the classes of now; nothing opened yet."""
        classes = gr.update(choices=list(self.services.taxonomy.names))
        return {self.strip: self.queue(who, None), self.decision.labelled: classes}

    def stored(self, who: Identity) -> dict[str, Any]:
        """The queue as it is stored now; what is open stays open."""
        return self.queue(who, None) | {"keep_current": True}

    def show(self, who: Identity, analysis_id: str, *, discard_draft: bool = False) -> dict[Any, Any]:
        """Everything about one analysis that may be seen now: of a blind scan not what the models say.

        Raises:
            NotFound: no analysis has this id.
        """
        db, taxonomy = self.services.db, self.services.taxonomy
        analysis = analyses.get_hidden(db, analysis_id)
        sight = tip.sight(db, analysis_id)
        revisions = corrections.history(db, analysis_id)
        every = decisions.history(db, analysis_id)
        decided = [one for one in every if one.withdrawn_at is None]
        views, bag = self._views(analysis), standing.of_bag(db, analysis.scan.bag_id)
        work = work_of(analysis, revisions, taxonomy, who.username, views, bag=bag, discard_draft=discard_draft)
        page = {
            self.strip: self.queue(who, analysis_id),
            self.banner: panels.banner(analysis, decided, bag, known_truths.is_drawn(db, analysis.scan.bag_id)),
            self.opinions: panels.opinions(analysis, self.services.rules, bag.over(analysis)),
            self.history: panels.history(analysis, revisions, outcomes.history(db, analysis_id), every),
            **self.decision.fresh(who, revisions, decided),
            **self.outcome.fresh(analysis, decided if sight.test is None else ()),
            **self.answered.fresh(sight, analysis, decided),
        }
        if sight.hidden:
            work = hidden_work(analysis, revisions, taxonomy, who.username, views)
            page |= {
                self.banner: tip_html.hidden_banner(),
                self.opinions: tip_html.HIDDEN_OPINIONS,
                self.history: "",
            }
        elif sight.test is not None:
            work = true_work(analysis, sight.test.truth, taxonomy, who.username)
            page |= {
                self.banner: tip_html.result_banner(sight.test, decided),
            }
        page[self.viewer] = work.model_copy(update={"decided": decided[-1].id if decided else None}).sent()
        return page

    def _views(self, analysis: Analysis) -> list[Analysis]:
        """The other views of a bag, each by its newest analysis."""
        of_bag = analyses.of_bag(self.services.db, analysis.scan.bag_id, with_hidden=True)
        newest = {one.scan.id: one for one in of_bag}
        return [one for scan_id, one in newest.items() if scan_id != analysis.scan.id]

    def queue(self, who: Identity, current: str | None) -> dict[str, Any]:
        """The queue: what waits for a decision in the order it came, searches to tell of, and what is done.

        After what waits of this shift comes what was left over from earlier ones. `read_at` is the time before which
        all that was stored is in it: two events may be answered in another order than they read the store.
        """
        read_at = time.time()
        since = datetime.now(UTC) - SHIFT
        shift = recent.of_user(self.services.db, who.username, since)
        left, left_in_all = recent.left_over(self.services.db, who.username, since)
        flagged = recent.flagged(self.services.db, who.username) if who.role.includes(Role.ANNOTATOR) else []
        sections = (
            ("flagged", flagged), ("waiting", [*shift.waiting, *left]),
            ("searching", shift.searching), ("done", shift.done),
        )  # fmt: skip
        return {
            "current": current,
            "read_at": read_at,
            "waiting": shift.waiting_in_all + left_in_all,
            "items": [tile for name, found in sections for tile in tiles(name, found)],
        }

    def open(self, who: Identity, strip: Any) -> dict[Any, Any]:
        """Shows the analysis chosen in the queue."""
        chosen = strip.get("current") if isinstance(strip, Mapping) else None
        if not isinstance(chosen, str):
            raise BadInput("Choose a scan on the left.")
        return self.show(who, chosen)

    def open_view(self, who: Identity, work: Any) -> dict[Any, Any]:
        """Shows the view of the bag that was chosen beside the picture."""
        at_hand = read_work(work)
        if at_hand.open_view is None:
            raise BadInput("Choose a view of this bag.")
        page = self.show(who, at_hand.open_view)
        both = (at_hand.analysis_id, at_hand.open_view)
        of_bags = {analyses.get_hidden(self.services.db, id).scan.bag_id for id in both}
        if len(of_bags) == 1:  # the note, and the question whether to clear it, are about the bag
            for part in (self.decision.note, self.decision.confirm, self.decision.question):
                del page[part]
        return page

    # --- scans in -----------------------------------------------------------------------------------------

    def add_scans(self, who: Identity, paths: Sequence[str] | None, sending: Any) -> Iterator[dict[Any, Any]]:
        """Analyses uploaded files one by one and reports what could not be read.

        The first is offered to the page, which opens it where nothing is open: only the page knows by then what
        the person has opened. Of files that are sent again, those that came in the first time are not analysed anew.
        The last word says the queue once more: where it reaches the page together with the one before, Gradio may take
        "unchanged" for all there is, and the queue before it is never drawn.
        """
        dropped = sending if isinstance(sending, Mapping) else {}
        resent = dropped.get("resent") is True
        refused: list[dict[str, Any]] = []
        first: str | None = None
        queue: dict[Any, Any] = {}
        files = [uploaded(path) for path in paths or []]
        try:
            facts = {field: _name(dropped.get(name)) for field, name in SCAN_FACTS.items()}
            for index, file in enumerate(files):
                try:
                    analysis, scan = self._analyse(who, file, facts, resent)
                except DeskError as error:
                    # Gradio has taken signs out of the name; the page knows the file by its place.
                    refused.append({"index": index, "name": file.name, "reason": error.message})
                    continue
                except Exception:
                    log.exception("a scan could not be analysed")
                    refused.append({"index": index, "name": file.name, "reason": FAULT})
                    continue
                first = first or analysis.id  # with every value: the page may miss one that another follows at once
                offer = {"keep_current": True, "offer": first}
                queue = {self.strip: self.queue(who, None) | offer}
                yield queue
                if self.services.test_images.maybe(scan, who.username):
                    queue = {self.strip: self.queue(who, None) | offer}
                    yield queue
                del scan  # its picture takes room that the next one may need
        finally:
            for file in files:
                discard(file)
        # How many came: Gradio may have taken them out of its field before it sent them.
        said = {"token": uuid4().hex, "taken": len(files), "refused": refused}
        yield queue | {self.upload: None, self.intake: said}

    def _analyse(
        self, who: Identity, file: Path, facts: Mapping[str, str | None], resent: bool
    ) -> tuple[Analysis, Scan]:
        limits = self.services.limits
        try:
            if file.stat().st_size > limits.max_bytes:
                raise ScanTooLarge(f"larger than {self.services.settings.max_upload_mb} MB.")
            content = file.read_bytes()
        except OSError as error:
            raise BadScan("the upload is gone; add it again.") from error
        scans = self.services.intake.read(content, file.name, **facts)
        found = self.services.intake.take_in(
            scans,
            who.username,
            blind=self.services.test_images.draw_blind,
            drawn=self.services.test_images.draw_control,
            resent=resent,
        )
        return found[0], scans[0]


def _name(text: Any) -> str | None:
    """A name as it is kept.

    Raises:
        BadInput: it is no text.
    """
    if not isinstance(text, str | None):
        raise BadInput("A scanner, a bag and a view are named by words.")
    return (text or "").strip()[:MAX_NAME] or None
