"""What a correction of an analysis would teach the models, in points and in words.

The points order the annotators' queue. They are a rule of thumb, not a probability: what a hand search found
against the models comes first, then what people decided against them, then where the models contradict each
other or are unsure. A fixed share of analyses is the control sample: its place is drawn by lot, so that what
is corrected is never only what the models found hard.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from xray_app.risk import severity
from xray_app.types import POLICY, Action, Analysis, Box, Item, Risk, StandingRisk, Status

OUTCOME_MISSED = 6.0
OUTCOME_FALSE = 4.0
DECIDED_AGAINST = 3.0
ASKED_FOR_REVIEW = 2.0
REJECTED = 5.0
PERSON_FOUND = 3.5
RARE = 1.0
INCOMPLETE = 0.5
DISAGREEMENT = {Status.PROHIBITED: 3.0, Status.RESTRICTED: 2.0, Status.ALLOWED: 1.0}
UNSURE = {Status.PROHIBITED: 2.0, Status.RESTRICTED: 1.2, Status.ALLOWED: 0.6}

RARE_BELOW = 20
"""A label that fewer corrected scans than this hold is rare."""

CONTROL_ONE_IN = 20
LOT_TOP = 6.0
"""A control's place is drawn evenly from 0 to this: the range the models' own doubts span."""

MOST_NAMED = 3

Reasons = dict[str, tuple[float, str]]
"""By kind: points, and words for whoever takes the scan."""


@dataclass(frozen=True)
class Sighting:
    """The highest confidence any model gave a label; 1 where it gave none."""

    status: Status
    confidence: float


def reasons_of(analysis: Analysis) -> Reasons:
    """Why an analysis that nobody has looked at yet is worth correcting; empty: nothing stands out."""
    lot = lot_of(analysis.id)
    if lot is not None:
        return {"control": (lot * LOT_TOP, "control sample: drawn by lot")}
    seen = sightings(analysis)
    found: Reasons = {}
    split = [label for label in (*analysis.agreement.vlm_only, *analysis.agreement.detector_only) if label in seen]
    if split:
        split.sort(key=lambda label: -DISAGREEMENT[seen[label].status])
        found["disagreement"] = (
            DISAGREEMENT[seen[split[0]].status] + 0.1 * min(len(split) - 1, 5),
            f"the models disagree on {_named(split)}",
        )
    doubt, label = max(
        ((UNSURE[one.status] * 4 * one.confidence * (1 - one.confidence), label) for label, one in seen.items()),
        default=(0.0, ""),
    )
    if doubt >= 0.3:
        found["unsure"] = (doubt, f"unsure of {label} ({seen[label].confidence:.0%})")
    if not analysis.report.complete:
        found["incomplete"] = (INCOMPLETE, "the answer was cut off or not understood in full")
    return found


def sightings(analysis: Analysis) -> Mapping[str, Sighting]:
    """Every label either model named."""
    seen: dict[str, Sighting] = {}
    both: tuple[Item | Box, ...] = (*analysis.report.items, *analysis.boxes)
    for one in both:
        confidence = 1.0 if one.confidence is None else one.confidence
        if one.label not in seen or seen[one.label].confidence < confidence:
            seen[one.label] = Sighting(one.status, confidence)
    return seen


def lot_of(analysis_id: str) -> float | None:
    """The lot of a control, evenly from 0 to 1 by a hash of its id; None for the other nineteen in twenty."""
    digest = hashlib.sha256(f"control {analysis_id}".encode()).digest()
    if int.from_bytes(digest[:8], "big") % CONTROL_ONE_IN:
        return None
    return int.from_bytes(digest[8:16], "big") / 2**64


def rarest(labels: Iterable[str], corrected_scans: Mapping[str, int]) -> str | None:
    """The label fewest corrected scans hold, where they are fewer than `RARE_BELOW`."""
    rare = [label for label in labels if corrected_scans.get(label, 0) < RARE_BELOW]
    return min(rare, key=lambda label: (corrected_scans.get(label, 0), label), default=None)


def of_standing(models: Risk, stands: StandingRisk) -> tuple[float, str] | None:
    """What it adds that people found more in a bag than the models did in this view; None where they did not.

    Args:
        models: the models' own risk of this view.
        stands: what stands over it.
    """
    if stands.by == POLICY or severity(stands) <= severity(models):
        return None
    return PERSON_FOUND, f"{stands.reason}; the models said {models.level}"


def of_decision(
    analysis: Analysis, decision: Action, author: str, stands: StandingRisk | None = None
) -> tuple[float, str] | None:
    """What a person's decision adds; None where they did as advised.

    Args:
        analysis: what the models said.
        decision: CLEAR, REVIEW or SEARCH.
        author: who decided.
        stands: what stood over the analysis; None: what the models said.
    """
    level = analysis.risk.level
    if decision == "CLEAR" and stands is not None and stands.by != POLICY and stands.level == "HIGH":
        return DECIDED_AGAINST, f"{author} decided CLEAR; {stands.reason}"
    if (decision == "CLEAR" and level == "HIGH") or (decision == "SEARCH" and level == "LOW"):
        return DECIDED_AGAINST, f"{author} decided {decision}; the models said {level}"
    if decision == "REVIEW" and analysis.risk.action != "REVIEW":
        return ASKED_FOR_REVIEW, f"{author} sent it to review"
    return None


def of_outcome(analysis: Analysis, found: Iterable[Item]) -> tuple[float, str] | None:
    """What a hand search adds; None where it found what the models named, and nothing else.

    Args:
        analysis: what the models said.
        found: what the search found, with statuses.
    """
    seen = sightings(analysis)
    items = list(found)
    labels = {item.label for item in items}
    missed = [item.label for item in items if item.status is not Status.ALLOWED and item.label not in seen]
    if missed:
        return OUTCOME_MISSED, f"the hand search found {_named(missed)}, which no model named"
    named = [item.label for item in analysis.report.items if item.threat]
    named += [box.label for box in analysis.boxes if box.threat]
    absent = [label for label in dict.fromkeys(named) if label not in labels]
    if absent and analysis.risk.level == "HIGH":
        return OUTCOME_FALSE, f"the hand search found no {_named(absent)}"
    return None


def _named(labels: list[str]) -> str:
    rest = len(labels) - MOST_NAMED
    return ", ".join(labels[:MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")
