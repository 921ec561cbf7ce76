"""The Thresholds tab, for admins: from which threat score on bags are searched, what that promises and costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from xray_app import operating
from xray_app.auth import Identity
from xray_app.errors import BadCalibration, BadInput
from xray_app.html import operating as panels
from xray_app.operating import OperatingPointIn
from xray_app.store import operating_points, search
from xray_app.types import Role
from xray_app.ui import presses
from xray_app.ui.guard import Guard, beside, reason_of

ALL = ""
AT_ONCE = 8
"""Scans measured between two words about it: about a second on a CPU."""
BAGS_AN_HOUR = 150
MOST_BAGS = 100_000


class ThresholdsTab:
    """Builds the tab inside the current Blocks and attaches its handlers."""

    def __init__(self, guard: Guard, tab: gr.Tab) -> None:
        self.services = guard.services
        recall = self.services.rules.policy.recall
        with gr.Row(elem_id="thresholds"):
            with gr.Column(scale=3, min_width=300):
                self.scanner = gr.Dropdown(
                    [("all scanners", ALL)], value=ALL, label="Scanner", elem_id="threshold-scanner"
                )
                self.recall = gr.Slider(
                    0.5, 0.99, value=recall, step=0.01, label="Threats to search, at least", elem_id="wanted-recall"
                )
                self.review = gr.Slider(
                    0.5, 0.995, value=1 - (1 - recall) * operating.REVIEWED, step=0.005,
                    label="Threats to search or review, at least", elem_id="wanted-review",
                )  # fmt: skip
                self.bags = gr.Number(
                    BAGS_AN_HOUR,
                    label="Bags an hour",
                    precision=0,
                    minimum=1,
                    maximum=MOST_BAGS,
                    elem_id="bags-an-hour",
                )
                self.measure = gr.Button("Measure held-out scans", elem_id="measure-held-out")
                self.reason = gr.Textbox(
                    label="Why (kept in the audit log)", max_length=2000, elem_id="threshold-reason"
                )
                with gr.Row():
                    self.put = gr.Button(
                        "Set threshold", variant="primary", elem_id="set-threshold", elem_classes=[presses.ASKS]
                    )
                    self.withdraw = gr.Button(
                        "Withdraw", variant="stop", elem_id="withdraw-threshold", elem_classes=[presses.ASKS]
                    )
            with gr.Column(scale=7):
                self.said = gr.HTML("", elem_id="thresholds-said", apply_default_css=False)
        asked = [self.scanner, self.recall, self.review, self.bags]
        guard.on(tab.select, Role.ADMIN, self.open, asked, [self.scanner, self.said], show_progress_on=self.said)
        for field in asked:  # while a slider is dragged, where it is last counts
            guard.on(
                field.input, Role.ADMIN, self.show, asked, [self.said], show_progress_on=self.said,
                trigger_mode="always_last",
            )  # fmt: skip
        guard.on(self.measure.click, Role.ADMIN, self.measure_all, asked, [self.said])
        guard.on(self.put.click, Role.ADMIN, self.set_point, [*asked, self.reason], [self.said, self.reason])
        guard.on(self.withdraw.click, Role.ADMIN, self.withdraw_point, [*asked, self.reason], [self.said, self.reason])

    def open(self, who: Identity, *values: Any) -> dict[Any, Any]:
        """The tab as it is now."""
        known = search.choices(self.services.db).scanners
        choices = [("all scanners", ALL), *((one, one) for one in known if one != ALL)]
        return {self.scanner: gr.update(choices=choices), **self.show(who, *values)}

    def show(self, who: Identity, scanner: Any, recall: Any, review: Any, bags: Any) -> dict[Any, Any]:
        """What the chosen detection promises and costs; nothing is changed."""
        asked, an_hour = _asked(scanner, recall, review), _bags(bags)
        found = operating.held_out(self.services, asked.scanner_id)
        threat = found.scored.evidence.threat
        parts = [panels.in_force(operating.in_force(self.services))]
        try:
            figures = operating.proposed(self.services, asked)
        except (BadInput, BadCalibration) as error:
            parts.append(panels.impossible(error.message))
        else:
            budget = self.services.rules.policy.search_budget
            parts += [
                panels.words(figures, budget),
                panels.searches(figures, an_hour),
                panels.curve(figures),
            ]
            parts.append(panels.classes(figures))
        parts.append(panels.rests_on(len(threat), int(threat.sum()), len(found.unscored), found.unknown))
        return {self.said: panels.page(parts)}

    def measure_all(self, who: Identity, *values: Any) -> Iterator[dict[Any, Any]]:
        """Has the models in use look at the held-out scans they have not seen, a few at a time."""
        asked = _asked(*values[:3])
        left = len(operating.held_out(self.services, asked.scanner_id).unscored)
        total = left
        while left:
            yield {self.said: panels.measuring(total - left, total)}
            _, left = operating.measure_held_out(self.services, asked.scanner_id, AT_ONCE)
        yield self.show(who, *values)

    def set_point(
        self, who: Identity, scanner: Any, recall: Any, review: Any, bags: Any, reason: Any
    ) -> dict[Any, Any]:
        """Puts the shown threshold in force."""
        asked = _asked(scanner, recall, review)
        with beside(self.reason):
            why = reason_of(reason)
        point = operating.set_operating_point(self.services, asked, who.username, why)
        gr.Info(f"In force from the next scan on: alarms at {point.figures.threshold:.2f}.", duration=5)
        return self.show(who, scanner, recall, review, bags) | {self.reason: ""}

    def withdraw_point(
        self, who: Identity, scanner: Any, recall: Any, review: Any, bags: Any, reason: Any
    ) -> dict[Any, Any]:
        """Takes this scanner's own threshold out of force."""
        asked = _asked(scanner, recall, review)
        with beside(self.reason):
            why = reason_of(reason)
        own = next((one for one in operating.in_force(self.services) if one.scanner_id == asked.scanner_id), None)
        if own is None:
            raise BadInput("No threshold of its own is in force for this choice of scanner.")
        operating_points.withdraw(self.services.db, own.id, who.username, why)
        gr.Info("Withdrawn. The score decides nothing there from the next scan on.", duration=5)
        return self.show(who, scanner, recall, review, bags) | {self.reason: ""}


def _asked(scanner: Any, recall: Any, review: Any) -> OperatingPointIn:
    """What came from the page, checked.

    Raises:
        BadInput: a value of no list or out of range.
    """
    shares = [one for one in (recall, review) if isinstance(one, int | float) and not isinstance(one, bool)]
    if len(shares) != 2 or not all(0 < one < 1 for one in shares) or not isinstance(scanner, str) or len(scanner) > 200:
        raise BadInput("Choose a scanner from the list, and shares between 0.5 and 0.99.")
    return OperatingPointIn(scanner_id=scanner or None, recall=shares[0], review_recall=max(shares))


def _bags(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= MOST_BAGS:
        raise BadInput(f"Bags an hour: a number from 1 to {MOST_BAGS:,}.")
    return float(value)
