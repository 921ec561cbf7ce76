"""Validation in the Thresholds tab, for admins: a campaign for a scanner, its progress, signing and withdrawing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import gradio as gr

from xray_app import validating
from xray_app.auth import Identity
from xray_app.errors import BadInput, NotFound
from xray_app.html import validation as panels
from xray_app.html.operating import page
from xray_app.store import campaigns, validations
from xray_app.types import Role
from xray_app.ui import presses
from xray_app.ui.guard import Guard, beside, reason_of
from xray_app.validating import CampaignIn
from xray_app.validation import LEAST_BAGS, MOST_BAGS, Campaign

DAYS = 30
MOST_DAYS = 365


class ValidationPart:
    """Builds the part below the thresholds inside the current tab and attaches its handlers.

    Args:
        guard: as everywhere.
        tab: in which it stands.
        scanner: the tab's choice of scanner.
    """

    def __init__(self, guard: Guard, tab: gr.Tab, scanner: gr.Dropdown) -> None:
        self.services = guard.services
        with gr.Row(elem_id="validation"):
            with gr.Column(scale=3, min_width=300):
                gr.HTML("<h2>Validation of the scanner chosen above</h2>", apply_default_css=False)
                self.bags = gr.Number(
                    300, label=f"Its next bags, at least {LEAST_BAGS}", precision=0, minimum=LEAST_BAGS,
                    maximum=MOST_BAGS, elem_id="campaign-bags",
                )  # fmt: skip
                self.days = gr.Number(
                    DAYS, label="Days it is open", precision=0, minimum=1, maximum=MOST_DAYS, elem_id="campaign-days"
                )
                self.share = gr.Slider(
                    0, 0.5, value=0.3, step=0.05, label="Share of test images meanwhile", elem_id="campaign-tests"
                )
                self.reason = gr.Textbox(
                    label="Why (kept in the audit log)", max_length=2000, elem_id="validation-reason"
                )
                with gr.Row():
                    self.open = gr.Button("Open campaign", elem_id="open-campaign", elem_classes=[presses.ASKS])
                    self.cancel = gr.Button("Cancel it", elem_id="cancel-campaign", elem_classes=[presses.ASKS])
                with gr.Row():
                    self.sign = gr.Button(
                        "Sign validation", variant="primary", elem_id="sign-validation", elem_classes=[presses.ASKS]
                    )
                    self.withdraw = gr.Button(
                        "Withdraw", variant="stop", elem_id="withdraw-validation",
                        elem_classes=[presses.ASKS],
                    )  # fmt: skip
            with gr.Column(scale=7):
                self.said = gr.HTML("", elem_id="validation-said", apply_default_css=False)
        asked, told = [scanner, self.reason], [self.said, self.reason]
        guard.on(tab.select, Role.ADMIN, self.show, [scanner], [self.said], show_progress_on=self.said)
        guard.on(scanner.input, Role.ADMIN, self.show, [scanner], [self.said], show_progress_on=self.said)
        guard.on(self.open.click, Role.ADMIN, self.begin, [*asked, self.bags, self.days, self.share], told)
        guard.on(self.cancel.click, Role.ADMIN, self.end, asked, told)
        guard.on(self.sign.click, Role.ADMIN, self.put, asked, told)
        guard.on(self.withdraw.click, Role.ADMIN, self.take_back, asked, told)

    def show(self, who: Identity, scanner: Any) -> dict[Any, Any]:
        """How the chosen scanner's campaign stands, and all that was signed."""
        chosen = _scanner(scanner)
        parts = [panels.DEMONSTRATION] if self.services.settings.demonstration else []
        parts.append(panels.signed(validating.all_validations(self.services)))
        if chosen and (newest := self._newest(chosen)) is not None:
            parts.append(panels.campaign(validating.status(self.services, newest.id)))
        return {self.said: page(parts)}

    def begin(self, who: Identity, scanner: Any, reason: Any, bags: Any, days: Any, share: Any) -> dict[Any, Any]:
        """Opens a campaign."""
        with beside(self.reason):
            chosen, why = _one(scanner), reason_of(reason)
        with beside(self.bags):
            wanted = int(_number(bags, "Bags", LEAST_BAGS, MOST_BAGS))
        with beside(self.days):
            until = datetime.now(UTC) + timedelta(days=_number(days, "Days", 1, MOST_DAYS))
        asked = CampaignIn(scanner_id=chosen, bags=wanted, test_share=_number(share, "Share", 0, 0.5), ends_at=until)
        with beside(self.reason):
            validating.open_campaign(self.services, asked, who.username, why)
        gr.Info(f"Open: the next {wanted} bags of {chosen} are held apart.", duration=5)
        return self.show(who, scanner) | {self.reason: ""}

    def end(self, who: Identity, scanner: Any, reason: Any) -> dict[Any, Any]:
        """Ends the open campaign unsigned."""
        with beside(self.reason):
            campaigns.cancel(self.services.db, self._campaign(_one(scanner)).id, who.username, reason_of(reason))
        gr.Info("Cancelled. Its bags stay held out.", duration=5)
        return self.show(who, scanner) | {self.reason: ""}

    def put(self, who: Identity, scanner: Any, reason: Any) -> dict[Any, Any]:
        """Signs the campaign of the chosen scanner."""
        with beside(self.reason):
            campaign = self._campaign(_one(scanner))
            validating.sign(self.services, campaign.id, who.username, reason_of(reason))
        gr.Info("Signed. From the next scan on the desk may advise to clear there.", duration=5)
        return self.show(who, scanner) | {self.reason: ""}

    def take_back(self, who: Identity, scanner: Any, reason: Any) -> dict[Any, Any]:
        """Withdraws what was signed for the chosen scanner."""
        with beside(self.reason):
            chosen, why = _one(scanner), reason_of(reason)
            own = [one for one in validations.signed(self.services.db)[0] if one.scanner_id == chosen]
            if not own:
                raise BadInput(f"No validation of {chosen} is signed.")
            validations.withdraw(self.services.db, own[0].id, who.username, why)
        gr.Info("Withdrawn. Nothing is advised to be cleared there from the next scan on.", duration=5)
        return self.show(who, scanner) | {self.reason: ""}

    def _newest(self, scanner: str) -> Campaign | None:
        return next((one for one in campaigns.newest(self.services.db, 1000) if one.scanner_id == scanner), None)

    def _campaign(self, scanner: str) -> Campaign:
        if (found := self._newest(scanner)) is None:
            raise NotFound(f"No campaign was opened for {scanner}.")
        return found


def _scanner(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 200:
        raise BadInput("Choose a scanner from the list.")
    return value


def _one(value: Any) -> str:
    if not (chosen := _scanner(value)):
        raise BadInput("A validation is for one scanner: choose it above.")
    return chosen


def _number(value: Any, name: str, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise BadInput(f"{name}: a number from {least:g} to {most:,g}.")
    return float(value)
