"""The risk policy as a table: both models' findings to a level, a reason and an action. Deterministic, no state.

First line that fits:

1. a prohibited item, by either model, at or above `prohibited_threshold`          HIGH    SEARCH
2. an opaque area past `opaque_hard`; a threat score at or above the operating
   point's threshold                                                               HIGH    SEARCH
3. a prohibited item by either model at or above `lower_threshold`                 MEDIUM  REVIEW
4. a restricted item; an opaque area past `opaque_soft`; an incomplete answer;
   low confidence; a prohibited item that the VLM's answer mentions without listing
   it; an answer that rates the bag HIGH by itself; a threat score at or above the
   operating point's lower threshold                                               MEDIUM  REVIEW
5. none of these, but a model not validated on this scanner                        LOW     REVIEW
6. none of these                                                                   LOW     CLEAR

Where a model gave an item no confidence, it counts as certain: the safe side. So does what a person found: by lines
1 and 4 a prohibited item is HIGH, a restricted one MEDIUM. What a bag *stands* at is the worst of both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, get_args

from xray_app.taxonomy import Policy
from xray_app.types import POLICY, Action, Agreement, Analysis, Box, Level, Report, Risk, StandingRisk, Status

T = TypeVar("T")

# What a certain item makes of a bag, the worst first.
_CERTAIN: tuple[tuple[Status, Level, Action], ...] = (
    (Status.PROHIBITED, "HIGH", "SEARCH"),
    (Status.RESTRICTED, "MEDIUM", "REVIEW"),
)
# A reason is read at a glance; a looping model may name thirty items.
_MOST_NAMED = 4


class Rated(Protocol):
    """What has a level and an action: a `Risk`, a `StandingRisk`."""

    @property
    def level(self) -> Level: ...

    @property
    def action(self) -> Action: ...


class ScoreThresholds(Protocol):
    """From where on a threat score acts; `review_from` is None where that is not known."""

    @property
    def search_from(self) -> float: ...

    @property
    def review_from(self) -> float | None: ...


@dataclass(frozen=True)
class Finding:
    """A label that a person found.

    Attributes:
        label: canonical.
        status: by the taxonomy.
        how: how they found it, such as "marked by nora".
        by: who.
    """

    label: str
    status: Status
    how: str
    by: str


@dataclass(frozen=True)
class _Sighting:
    """What each model said of one label: its highest confidence, None where it did not name it."""

    label: str
    status: Status
    vlm: float | None
    detector: float | None
    said: str

    @property
    def confidence(self) -> float:
        return max(self.vlm or 0.0, self.detector or 0.0)


def agree(report: Report, boxes: Sequence[Box], policy: Policy) -> Agreement:
    """Which labels both models named, and which only one did.

    Boxes below the policy's lower threshold are left out; labels come in the order of report, then boxes.
    """
    vlm = list(dict.fromkeys(item.label for item in report.items))
    detector = list(dict.fromkeys(box.label for box in boxes if _certain(box.confidence) >= policy.lower_threshold))
    return Agreement(
        both=tuple(label for label in vlm if label in detector),
        vlm_only=tuple(label for label in vlm if label not in detector),
        detector_only=tuple(label for label in detector if label not in vlm),
    )


def assess(
    report: Report,
    boxes: Sequence[Box],
    opaque_fraction: float,
    validated: bool,
    policy: Policy,
    score: float = 0.0,
    thresholds: ScoreThresholds | None = None,
) -> Risk:
    """The desk's risk for one scan, by the table above.

    Args:
        report: the VLM's answer.
        boxes: the detector's boxes, of any confidence.
        opaque_fraction: share of the picture too dark to see through, 0 to 1.
        validated: whether this pair of models is validated on this scanner.
        policy: the profile whose thresholds and limits apply.
        score: the calibrated threat score, 0 to 1.
        thresholds: of the score, where an operating point is in force.
    """
    seen = _sightings(report, boxes)
    prohibited = [one for one in seen if one.status is Status.PROHIBITED]

    certain = [one for one in prohibited if one.confidence >= policy.prohibited_threshold]
    if certain:
        return Risk(level="HIGH", reason=_named(certain, "detected"), action="SEARCH", policy=policy.name)
    if opaque_fraction > policy.opaque_hard:
        reason = f"opaque area of {opaque_fraction:.0%} of the picture"
        return Risk(level="HIGH", reason=reason, action="SEARCH", policy=policy.name)

    if thresholds is not None and score >= thresholds.search_from:
        reason = f"threat score {score:.0%}, searched from {thresholds.search_from:.0%} on"
        return Risk(level="HIGH", reason=reason, action="SEARCH", policy=policy.name)

    possible = [one for one in prohibited if one.confidence >= policy.lower_threshold]
    if possible:
        return Risk(level="MEDIUM", reason=_named(possible, "possible"), action="REVIEW", policy=policy.name)
    doubts = _doubts(report, seen, opaque_fraction, policy)
    if thresholds is not None and thresholds.review_from is not None and score >= thresholds.review_from:
        doubts.append(f"threat score {score:.0%}, reviewed from {thresholds.review_from:.0%} on")
    if doubts:
        return Risk(level="MEDIUM", reason="; ".join(doubts), action="REVIEW", policy=policy.name)

    if not validated:
        reason = "model not validated on this scanner"
        return Risk(level="LOW", reason=reason, action="REVIEW", policy=policy.name)
    return Risk(level="LOW", reason="no threats detected", action="CLEAR", policy=policy.name)


def _doubts(report: Report, seen: Sequence[_Sighting], opaque_fraction: float, policy: Policy) -> list[str]:
    """The reasons of the table's fourth line."""
    doubts = []
    if report.mentioned:
        doubts.append(f"{_names(report.mentioned)} mentioned (VLM)")
    if report.claimed == "HIGH" and not any(one.status is Status.PROHIBITED and one.vlm is not None for one in seen):
        doubts.append("VLM rates the bag HIGH")
    # A box of a restricted class counts from the lower threshold on, as a prohibited one would:
    # the detector gives dozens of boxes at a few per cent. The VLM's items count whatever their confidence.
    restricted = [
        one
        for one in seen
        if one.status is Status.RESTRICTED and (one.vlm is not None or one.confidence >= policy.lower_threshold)
    ]
    if restricted:
        doubts.append(_named(restricted, "detected"))
    if opaque_fraction > policy.opaque_soft:
        doubts.append(f"opaque area of {opaque_fraction:.0%} of the picture")
    if not report.complete:
        doubts.append("VLM answer incomplete" + (f": {report.problem}" if report.problem else ""))
    # Allowed items too: an unsure "laptop" may be something else. A prohibited item that the VLM named
    # below the lower threshold ends up here, so that nothing it said is dropped without a look.
    unsure = [
        one
        for one in seen
        if one.vlm is not None
        and one.status is not Status.RESTRICTED
        and (one.vlm < policy.low_confidence or one.status is Status.PROHIBITED)
    ]
    if unsure:
        doubts.append(f"low confidence: {_list(unsure)}")
    return doubts


def _sightings(report: Report, boxes: Sequence[Box]) -> list[_Sighting]:
    """One sighting a label, in the order of report, then boxes."""
    vlm: dict[str, list[float | None]] = {}
    detector: dict[str, list[float | None]] = {}
    status: dict[str, Status] = {}
    for item in report.items:
        vlm.setdefault(item.label, []).append(item.confidence)
        status.setdefault(item.label, item.status)
    for box in boxes:
        detector.setdefault(box.label, []).append(box.confidence)
        status.setdefault(box.label, box.status)
    sightings = []
    for label, its_status in status.items():
        by_vlm, by_detector = _surest(vlm.get(label)), _surest(detector.get(label))
        said = [_said("VLM", vlm.get(label)), _said("detector", detector.get(label))]
        sightings.append(_Sighting(label, its_status, by_vlm, by_detector, ", ".join(part for part in said if part)))
    return sightings


def _certain(confidence: float | None) -> float:
    return 1.0 if confidence is None else confidence


def _surest(confidences: Sequence[float | None] | None) -> float | None:
    return None if confidences is None else max(map(_certain, confidences))


def _said(who: str, confidences: Sequence[float | None] | None) -> str:
    if confidences is None:
        return ""
    stated = [value for value in confidences if value is not None]
    return f"{who} {max(stated):.2f}" if len(stated) == len(confidences) else who


def _named(sightings: Sequence[_Sighting], verb: str) -> str:
    if len(sightings) == 1:
        return f"{sightings[0].label} {verb} ({sightings[0].said})"
    return f"{_list(sightings)} {verb}"


def _list(sightings: Sequence[_Sighting]) -> str:
    return _names([f"{one.label} ({one.said})" for one in sightings])


def _names(all_names: Sequence[str]) -> str:
    names, more = all_names[:_MOST_NAMED], len(all_names) - _MOST_NAMED
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")


def severity(risk: Rated) -> tuple[int, int]:
    """The one order of risks, by level, then by action: the greater, the worse."""
    return get_args(Level).index(risk.level), get_args(Action).index(risk.action)


def worst(found: Iterable[T], risk: Callable[[T], Rated]) -> T:
    """The one with the worst risk; of several equally bad the first.

    Args:
        found: at least one.
        risk: gives the risk of one.
    """
    return max(found, key=lambda one: severity(risk(one)))


def worst_view(of_one_bag: Sequence[Analysis]) -> Risk:
    """The models' worst risk among a bag's scans, each judged by its newest analysis.

    Args:
        of_one_bag: at least one analysis, in any order.
    """
    newest: dict[str, Analysis] = {}
    for analysis in sorted(of_one_bag, key=lambda one: one.created_at):
        newest[analysis.scan.id] = analysis
    return worst(newest.values(), lambda one: one.risk).risk


def by_policy(risk: Risk) -> StandingRisk:
    """The models' own risk, as what stands where nobody found more."""
    return StandingRisk(level=risk.level, action=risk.action, reason=risk.reason, by=POLICY)


def by_people(found: Sequence[Finding]) -> StandingRisk | None:
    """The risk of what people found, by the table's lines on certain items; None where nothing of it is forbidden.

    The reason names each label with whoever found it first; `by` is who found the first one.

    Args:
        found: in the order in which it was said.
    """
    for status, level, action in _CERTAIN:
        first: dict[str, Finding] = {}
        for one in found:
            if one.status is status:
                first.setdefault(one.label, one)
        if first:
            named: dict[str, list[str]] = {}
            for one in first.values():
                named.setdefault(one.how, []).append(one.label)
            reason = "; ".join(f"{_names(labels)}, {how}" for how, labels in named.items())
            return StandingRisk(level=level, action=action, reason=reason, by=next(iter(first.values())).by)
    return None


def standing(policy: Risk, people: StandingRisk | None) -> StandingRisk:
    """The worst of the models' policy risk and what people found: people alone never lower it."""
    rated = by_policy(policy)
    return rated if people is None else worst((rated, people), lambda one: one)


def clears_high(decision: Action, levels: Iterable[str]) -> bool:
    """Whether a decision lets a bag go that any of these levels rates HIGH: it needs a reason, and is flagged."""
    return decision == "CLEAR" and "HIGH" in levels
