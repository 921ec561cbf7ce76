"""The Insights tab, for annotators: how much comes in, how good models and people are, and what changes.

Analysts see how well they answered test images, and nothing of others.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import gradio as gr
from pydantic import ValidationError

from xray_app.auth import Identity
from xray_app.errors import BadInput
from xray_app.html import insights as panels
from xray_app.html import tip
from xray_app.store import search
from xray_app.store.insights import drift, reports, screeners
from xray_app.store.insights.reports import ALL_CLASSES, Asked
from xray_app.types import Role
from xray_app.ui.guard import Guard

PERIODS = [("7 days", 7), ("30 days", 30), ("90 days", 90), ("a year", 365)]
MOST_CONFUSED = 10
MOST_ROWS = 200
ALL = ""


class InsightsTab:
    """Builds the tab inside the current Blocks and attaches its handlers."""

    def __init__(self, guard: Guard, tab: gr.Tab) -> None:
        self.services = guard.services
        with gr.Row(elem_id="insights-asked"):
            self.period = gr.Radio(choices=PERIODS, value=30, label="The last", elem_id="insights-period")
            self.scanner = gr.Dropdown([("all", ALL)], value=ALL, label="Scanner", elem_id="insights-scanner")
            self.adapter = gr.Dropdown([("all", ALL)], value=ALL, label="Adapter", elem_id="insights-adapter")
            self.of_class = gr.Dropdown(
                [ALL_CLASSES, *self.services.taxonomy.names], value=ALL_CLASSES, label="Correction rate of",
                elem_id="insights-class",
            )  # fmt: skip
        self.shown = gr.HTML(
            '<p class="hint">The figures are being read …</p>', elem_id="insights", apply_default_css=False
        )
        asked = [self.period, self.scanner, self.adapter, self.of_class]
        guard.on(
            tab.select, Role.ANALYST, self.open, asked, [self.scanner, self.adapter, self.of_class, self.shown],
            show_progress_on=self.shown,
        )  # fmt: skip
        for field in asked:
            guard.on(field.input, Role.ANALYST, self.show, asked, [self.shown], show_progress_on=self.shown)

    def open(self, who: Identity, *values: Any) -> dict[Any, Any]:
        """The tab as it is now."""
        if not who.role.includes(Role.ANNOTATOR):
            return self.show(who, *values)
        known = search.choices(self.services.db)
        adapters = [("base model" if one == search.BASE else one[:8], one) for one in known.adapters]
        return {
            self.scanner: gr.update(choices=[("all", ALL), *((one, one) for one in known.scanners)]),
            self.adapter: gr.update(choices=[("all", ALL), *adapters]),
            self.of_class: gr.update(choices=[ALL_CLASSES, *self.services.taxonomy.names]),
            **self.show(who, *values),
        }

    def show(self, who: Identity, period: Any, scanner: Any, adapter: Any, of_class: Any) -> dict[Any, Any]:
        """All charts for a period, a scanner and an adapter; of an analyst their own test images alone."""
        today = datetime.now(UTC).date()
        asked = _asked(today, period, scanner, adapter)
        all_of_it = who.role.includes(Role.ANNOTATOR)
        answers = screeners.read(self.services.db, asked, None if all_of_it else who.username)
        tested = tip.page(answers, asked, self.services.settings)
        if not all_of_it:
            return {self.shown: tested}
        found = reports.read(self.services.db, asked)
        moved = drift.read(self.services.db, today, asked.scanner)
        return {self.shown: panels.page(found, self.services.taxonomy, moved, str(of_class)) + tested}


def _asked(today: date, period: Any, scanner: Any, adapter: Any) -> Asked:
    """What came from the page, checked.

    Raises:
        BadInput: a value of no list.
    """
    if period not in [days for _, days in PERIODS] or isinstance(period, bool):
        raise BadInput("Choose a period from the list.")
    try:
        return Asked(
            first=today - timedelta(days=period - 1), last=today, scanner=scanner or None, adapter=adapter or None
        )
    except ValidationError as error:
        raise BadInput("Choose scanner and adapter from the lists.") from error
