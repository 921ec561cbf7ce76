"""The Export tab: labelled scans out for annotators, labelled data sets in for admins."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from datetime import date
from html import escape
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlencode

import gradio as gr

from xray_app.auth import Identity
from xray_app.errors import BadInput, Conflict, DeskError, Stopped, UnknownLabel
from xray_app.exchange.bag_names import MAX_NAME, MAX_PATTERN, BagNaming
from xray_app.exchange.export import Filter, select_scans
from xray_app.exchange.formats import FORMATS
from xray_app.exchange.import_dataset import store
from xray_app.exchange.jobs import Job
from xray_app.exchange.label_map import MAX_SHOWN, LabelMap
from xray_app.exchange.meanings import Meanings
from xray_app.exchange.reader_process import read_in_own_process
from xray_app.intake import keep_unanalysed
from xray_app.scan.read import Scan
from xray_app.site_classes import ALL, MEASURED_ANEW
from xray_app.types import Analysis, Level, Role
from xray_app.ui import presses
from xray_app.ui.guard import Guard, beside
from xray_app.ui.label_table import LabelTable, label_table, pairs
from xray_app.ui.uploads import discard, uploaded

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
SHOWN = 200
LEVELS = get_args(Level)
ANY = "any"
DOWNLOAD = """(url) => { if (url) { const link = document.createElement('a'); link.href = url; link.download = '';
document.body.append(link); link.click(); link.remove(); } return []; }"""


class ExchangeTab:
    """Builds the tab inside the current Blocks and attaches its handlers."""

    def __init__(self, guard: Guard, tab: gr.Tab) -> None:
        self.services = guard.services
        self.timer = gr.Timer(POLL_SECONDS, active=False)
        self.exported, self.imported = gr.State(None), gr.State(None)  # the job of each kind this page shows
        with gr.Row(elem_id="exchange"):
            with gr.Column(scale=5, min_width=440):
                self._build_export()
            with gr.Column(scale=5, min_width=440, visible=False, elem_id="imports") as self.imports:
                self._build_import()
        chosen = [self.format, self.since, self.until, self.label, self.risk, self.analyst, self.predictions]
        shown = [self.timer, self.export_status, self.export_stop, self.import_status, self.import_stop]
        jobs = [self.exported, self.imported]
        lists = [self.label, self.looked_for]
        guard.on(tab.select, Role.ANNOTATOR, self.open, [*jobs, *chosen], [*jobs, *shown, *lists, self.found])
        for part in chosen:
            guard.on(part.change, Role.ANNOTATOR, self.count, chosen, self.found)
        started = guard.on(
            self.export.click,
            Role.ANNOTATOR,
            self.start_export,
            [self.imported, *chosen],
            [self.exported, self.address, *shown],
        )
        started.then(None, self.address, None, js=DOWNLOAD)
        guard.on(self.timer.tick, Role.ANNOTATOR, self.tick, [*jobs, *chosen], [*shown, self.found, self.meanings])
        guard.on(self.export_stop.click, Role.ANNOTATOR, self.stop_export, jobs, shown)
        guard.on(
            self.bring_in.click, Role.ADMIN, self.start_import,
            [self.exported, self.upload, self.skip_unknown, self.looked_for, self.labels_only, self.meanings,
             self.imported, self.dataset, self.bag],
            [self.imported, self.upload, self.meanings, *lists, *shown],
        )  # fmt: skip
        guard.on(self.import_stop.click, Role.ADMIN, self.stop_import, jobs, shown)

    def _build_export(self) -> None:
        gr.HTML("<h2>Export labelled scans</h2>", apply_default_css=False)
        with gr.Row():
            self.format = gr.Dropdown(
                [(made.title, name) for name, made in FORMATS.items()],
                value="coco",
                label="Format",
                elem_id="export-format",
            )
            self.label = gr.Dropdown(
                [ANY, *self.services.taxonomy.names], value=ANY, label="Label", elem_id="export-label"
            )
            self.risk = gr.Dropdown([ANY, *LEVELS], value=ANY, label="Risk", elem_id="export-risk", min_width=100)
        with gr.Row():
            plain: dict[str, Any] = {"include_time": False, "type": "string"}
            self.since = gr.DateTime(label="Analysed from", elem_id="export-since", **plain)
            self.until = gr.DateTime(label="until, included", elem_id="export-until", **plain)
            self.analyst = gr.Textbox(label="Corrected by", max_length=64, elem_id="export-analyst", min_width=100)
        self.predictions = gr.Checkbox(
            label="Also scans nobody has corrected, with the models’ prediction (kept apart, marked)",
            elem_id="export-predictions",
        )
        self.found = gr.HTML("", elem_id="export-found", apply_default_css=False)
        with gr.Row():
            self.export = gr.Button(
                "Download ZIP", variant="primary", elem_id="export", elem_classes=[presses.ONCE], scale=0, min_width=160
            )
            self.export_stop = gr.Button(
                "Stop", elem_id="export-stop", elem_classes=[presses.ASKS], visible=False, scale=0, min_width=90
            )
        # Read by the script alone; an invisible component would not be in the page at all.
        self.address = gr.Textbox(visible="hidden", elem_id="export-address")
        self.export_status = gr.HTML("", elem_id="export-status", apply_default_css=False)

    def _build_import(self) -> None:
        gr.HTML("<h2>Import a labelled data set</h2>", apply_default_css=False)
        most = self.services.settings.max_upload_mb
        gr.HTML(
            '<p class="quiet">A ZIP of YOLO, COCO, Pascal VOC, CVAT, labelme, OPIXray and the like. Its labels become '
            "accepted corrections in your name; what is here already is left as it is. A picture has at most "
            f"{most} MB; for a ZIP too large for the browser there is <code>python -m xray_app import</code>.</p>",
            apply_default_css=False,
        )
        self.upload = gr.File(file_types=[".zip"], label="ZIP", height=130, elem_id="import-file")
        self.meanings = label_table()
        with gr.Row():
            self.looked_for = gr.Dropdown(
                _looked_for(self.services.taxonomy.names), multiselect=True, value=[],
                label="Looked for, besides what has a box", elem_id="import-looked-for",
            )  # fmt: skip
            self.dataset = gr.Textbox(
                label="Name of the data set", placeholder="the ZIP's", max_length=MAX_NAME, elem_id="import-dataset",
                min_width=120,
            )  # fmt: skip
            self.bag = gr.Textbox(
                label="Bag: a pattern over the path", placeholder=r"([^/]+)_(?P<view>top|side)\.",
                max_length=MAX_PATTERN, elem_id="import-bag", min_width=120,
                info="Else folder and file name. _OL and _SD, _top and _side are views of one bag.",
            )  # fmt: skip
        self.labels_only = gr.Checkbox(
            label="Labels alone: analyse no picture that is not here yet", elem_id="import-labels-only"
        )
        self.skip_unknown = gr.Checkbox(label="Leave out boxes of labels the taxonomy does not know")
        with gr.Row():
            self.bring_in = gr.Button(
                "Import", variant="primary", elem_id="import", elem_classes=[presses.ONCE], scale=0, min_width=160
            )
            self.import_stop = gr.Button(
                "Stop", elem_id="import-stop", elem_classes=[presses.ASKS], visible=False, scale=0, min_width=90
            )
        self.import_status = gr.HTML("", elem_id="import-status", apply_default_css=False)

    # --- export -------------------------------------------------------------------------------------------

    def count(self, who: Identity, *chosen: Any) -> str:
        """How many scans the filter takes, before anything is downloaded."""
        _, wanted = self._filter(*chosen)
        found = select_scans(self.services.db, wanted)
        corrected = sum(one.correction_id is not None for one in found)
        words = f"<b>{corrected}</b> corrected"
        if not wanted.corrected:
            words += f", <b>{len(found) - corrected}</b> predictions"
        if wanted.label:
            words += f", of which those with {escape(wanted.label)}"
        if not found:
            words = "No scan fits this choice. Corrections that still wait for a review are not exported."
        return f'<p class="quiet" role="status">{words}</p>'

    def _filter(
        self, format_name: Any, since: Any, until: Any, label: Any, risk: Any, analyst: Any, predictions: Any
    ) -> tuple[str, Filter]:
        """What the page chose, checked: it may send anything."""
        if format_name not in FORMATS:
            raise BadInput("Choose a format.")
        if risk not in (None, ANY, *LEVELS):
            raise BadInput("Choose a risk from the list.")
        if not all(isinstance(value, str | None) for value in (since, until, label, analyst)):
            raise BadInput("This choice is not one the page offers.")
        with beside(self.since):
            first = _day(since)
        with beside(self.until):
            last = _day(until)
        return format_name, Filter(
            since=first,
            until=last,
            label=None if label in (None, "", ANY) else label[:200],
            risk=None if risk in (None, ANY) else risk,
            analyst=(analyst or "").strip()[:64] or None,
            corrected=not predictions,
        )

    def start_export(self, who: Identity, imported: Any, *chosen: Any) -> dict[Any, Any]:
        """Gives the browser the address to download; the ZIP is made while it is sent."""
        format_name, wanted = self._filter(*chosen)
        if not select_scans(self.services.db, wanted):
            raise BadInput("No scan fits this choice, so there is nothing to export.")
        job = self.services.jobs.start("export", who.username)
        asked = {
            "format": format_name, "since": wanted.since, "until": wanted.until, "label": wanted.label,
            "risk": wanted.risk, "analyst": wanted.analyst, "corrected": str(wanted.corrected).lower(), "job": job.id,
        }  # fmt: skip
        address = "../v1/export?" + urlencode({name: value for name, value in asked.items() if value is not None})
        shown = self.show(who, job.id, imported) | {self.timer: gr.update(active=True)}  # as of an import
        return {self.exported: job.id, self.address: address, **shown}

    # --- import -------------------------------------------------------------------------------------------

    def start_import(
        self, who: Identity, exported: Any, path: Any, skip_unknown: Any, looked_for: Any = None,
        labels_only: Any = False, meanings: Any = None, imported: Any = None, dataset: Any = None, bag: Any = None,
    ) -> dict[Any, Any]:  # fmt: skip
        """Starts taking a data set in; it goes on when the page is closed.

        The ZIP may be the one whose labels were not known before this person said what they are.
        """
        services = self.services
        before = services.jobs.find(imported, who.username)
        waiting = before.kept if before is not None else []
        if (path is None and not waiting) or not isinstance(path, str | None) or path == "":
            with beside(self.upload):
                raise BadInput("Choose a ZIP first.")
        if (other := services.jobs.at_work("import")) is not None:
            raise Conflict(f"{other.who} is importing a data set already. Wait for its end, or stop it.")
        with beside(self.meanings):
            said = Meanings.read(pairs(meanings) if waiting else [], services.taxonomy)
        labels = said.label_map(services.db, bool(skip_unknown), _list(looked_for))
        with beside(self.bag):
            naming = BagNaming(_text(dataset), _text(bag) or None)
        file = uploaded(path) if path is not None else waiting[0]
        with beside(self.meanings):
            said.keep(services.db, who.username)
        for one in waiting:
            if one != file:
                discard(one)
        waiting.clear()
        job = services.jobs.start("import", who.username)
        if said.new:
            made = " and ".join(f"{one.name} ({one.status.value})" for one in said.new)
            job.news.append(f"New at this site from now on: {made}. {MEASURED_ANEW}")
        threading.Thread(target=self._import, args=(job, file, labels, naming, bool(labels_only)), daemon=True).start()
        none = gr.update(visible=False, value=None)
        return {
            self.imported: job.id, self.upload: None, self.meanings: none, **self._lists(),
            **self.show(who, exported, job.id),
            self.timer: gr.update(active=True),  # though it has ended by now: a tick shows what comes of it
        }  # fmt: skip

    def _import(self, job: Job, file: Path, labels: LabelMap, naming: BagNaming, labels_only: bool) -> None:
        services, progress = self.services, job.progress

        def take_in(scan: Scan) -> Analysis:
            if labels_only:
                return keep_unanalysed(services.db, scan, services.rules, job.who)
            return services.intake.take_in([scan], job.who)[0]

        try:
            with read_in_own_process(file, labels, naming, services.limits, progress.stop) as coming:
                done = store(coming, services.db, labels.taxonomy, take_in, job.who, progress)
            job.result.append(f"{done.added} corrections added, {done.already} were here already.")
            job.result.extend(done.boxes.lines())
            job.result.extend(f"Passed over: {note}" for note in done.notes)
            if done.boxes.lost:
                job.lost.append(f"{done.boxes.lost:,} boxes were left out.")
        except UnknownLabel as error:
            progress.failed = "some labels are unknown here. Say what they are in the table, then press Import again"
            offered = (error.details or {}).get("offered", {})
            job.unknown.update({label: offered.get(label, "") for label in (error.details or {}).get("labels", [])})
            job.kept.append(file)
        except Stopped:
            progress.failed = f"stopped after {progress.done} of {progress.total or '…'}; what was added stays"
        except DeskError as error:
            progress.failed = error.message
        except Exception:
            log.exception("an import failed")
            progress.failed = "a fault in the desk, which has been logged; what was added stays"
        finally:
            if file not in job.kept:
                discard(file)
            progress.ended = True

    # --- both ---------------------------------------------------------------------------------------------

    def open(self, who: Identity, exported: Any, imported: Any, *chosen: Any) -> dict[Any, Any]:
        """What the filter takes, and this person's export and import at work: after a reload the page knows of none."""
        jobs = self.services.jobs
        export, bring_in = jobs.at_work("export", who.username), jobs.at_work("import", who.username)
        exported, imported = export.id if export else exported, bring_in.id if bring_in else imported
        shown = {
            self.exported: exported,
            self.imported: imported,
            **self._lists(),
            **self.show(who, exported, imported),
        }
        with suppress(DeskError):  # said when the choice was made
            shown[self.found] = self.count(who, *chosen)
        return shown

    def _lists(self) -> dict[Any, Any]:
        """The lists of classes as they are now."""
        names = self.services.taxonomy.names
        return {self.label: gr.update(choices=[ANY, *names]), self.looked_for: gr.update(choices=_looked_for(names))}

    def show(self, who: Identity, exported: Any, imported: Any) -> dict[Any, Any]:
        """How far this page's export and import are."""
        found = [self.services.jobs.find(id, who.username) for id in (exported, imported)]
        at_work = [job is not None and not job.progress.ended for job in found]
        export, bring_in = ("" if job is None else _status(job) for job in found)
        return {
            self.timer: gr.update(active=any(at_work)),
            self.export_status: export,
            self.export_stop: gr.update(visible=at_work[0]),
            self.import_status: bring_in,
            self.import_stop: gr.update(visible=at_work[1]),
        }

    def tick(self, who: Identity, exported: Any, imported: Any, *chosen: Any) -> dict[Any, Any]:
        """As `show`; once all has ended, what the filter takes is counted anew."""
        shown = self.show(who, exported, imported)
        if not shown[self.timer]["active"]:
            with suppress(DeskError):  # said when the choice was made
                shown[self.found] = self.count(who, *chosen)
            job = self.services.jobs.find(imported, who.username)
            if job is not None and job.kept:
                table = LabelTable.of(job.id, job.unknown, self.services.taxonomy)
                shown[self.meanings] = gr.update(visible=True, value=table.model_dump(mode="json"))
        return shown

    def stop_export(self, who: Identity, exported: Any, imported: Any) -> dict[Any, Any]:
        """Stops this page's export after the scan it is at."""
        self._stop(who, exported)
        return self.show(who, exported, imported)

    def stop_import(self, who: Identity, exported: Any, imported: Any) -> dict[Any, Any]:
        """Stops this page's import, whatever it is reading; what was added stays."""
        self._stop(who, imported)
        return self.show(who, exported, imported)

    def _stop(self, who: Identity, job_id: Any) -> None:
        job = self.services.jobs.find(job_id, who.username)
        if job is None:
            raise BadInput("There is nothing to stop.")
        job.progress.stop.set()


def _looked_for(names: tuple[str, ...]) -> list[str | tuple[str, str]]:
    return [("every class", ALL), *names]


def _list(looked_for: Any) -> str | None:
    """What was looked for, as a list of labels in text; None where nothing was said."""
    labels = looked_for if isinstance(looked_for, list) else []
    if not all(isinstance(one, str) for one in labels):
        raise BadInput("Choose what was looked for from the list.")
    return ALL if ALL in labels else ",".join(labels[:MAX_SHOWN]) or None


def _text(value: Any) -> str:
    """One line of the page, checked: it may send anything."""
    if value is not None and not isinstance(value, str):
        raise BadInput("This choice is not one the page offers.")
    return (value or "").strip()


def _day(text: str | None) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text[:10])
    except ValueError as error:
        raise BadInput(f"{text[:20]!r} is no day; write it as 2026-01-31.") from error


def _status(job: Job) -> str:
    progress = job.progress
    share = progress.done / progress.total if progress.total else 0
    verb = "Exporting" if job.kind == "export" else "Importing"
    if progress.failed:
        line = f'<p class="exchange-failed" role="alert"><b>Not finished:</b> {escape(progress.failed)}</p>'
    elif progress.ended:
        said, *lines = job.result or [f"{progress.written} scans exported; your browser has the ZIP."]
        line = f'<p class="exchange-done" role="status"><b>Done.</b> {escape(said)}</p>'
        line += "".join(f'<p class="exchange-failed" role="alert"><b>{escape(lost)}</b></p>' for lost in job.lost)
        if lines:
            line += f"<ul>{''.join(f'<li>{escape(one)}</li>' for one in lines[:SHOWN])}</ul>"
    else:
        line = (
            f'<p role="status">{verb} {progress.done} of {progress.total or "…"}</p>'
            f'<progress max="1" value="{share:.3f}"></progress>'
        )
    line = "".join(f'<p role="status">{escape(words)}</p>' for words in job.news) + line
    if not progress.problems:
        return line
    rows = "".join(f"<li>{escape(problem[:500])}</li>" for problem in progress.problems[:SHOWN])
    more = len(progress.problems) - SHOWN
    rest = f"<li>… and {more} more</li>" if more > 0 else ""
    return (
        f'{line}<div class="refused"><strong>Left out ({len(progress.problems)}):</strong><ul>{rows}{rest}</ul></div>'
    )
