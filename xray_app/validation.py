"""Validation of a pair of models on one scanner: what it rests on, what a campaign gathers, what a signature takes.

A campaign holds the next bags of a scanner apart, test images among them, and has each labelled by two people. How many
is said before the first one is seen, so that nobody stops when the figure pleases. Of the threat bags the share advised
to be searched needs a lower bound (one-sided 95 %; C. Clopper and E. Pearson, "The use of confidence or fiducial
limits", Biometrika 26, 1934) that reaches the policy's recall.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from xray_app.types import Fraction, Level, Value
from xray_app.wilson import wilson_interval

LEAST_BAGS = 200
"""Labelled bags that a validation needs."""
MOST_BAGS = 100_000
LEVEL = 0.95

CampaignEnding = Literal["signed", "cancelled", "void"]


class CampaignEnd(Value):
    """How a campaign ended: signed, cancelled by somebody, or void because what it rests on changed."""

    kind: CampaignEnding
    at: datetime
    by: str
    reason: str


class Campaign(Value):
    """A campaign for one scanner.

    Attributes:
        rests_on: see `xray_app.threat_score.rests_on`; another pair of models, policy or threshold ends it.
        bags: how many of the next bags it takes.
        test_share: the share of an analyst's scans that are test images while it is open, 0 to 0.5.
        ends_at: no bag joins it later.
        end: None while it is open.
    """

    id: str
    scanner_id: str
    rests_on: str
    bags: int
    test_share: Fraction
    opened_at: datetime
    ends_at: datetime
    by: str
    reason: str
    end: CampaignEnd | None = None


@dataclass(frozen=True)
class CampaignBag:
    """A bag of a campaign.

    Attributes:
        bag_id: which.
        test: a test image, whose truth was known before.
        labelled: by two people or by a hand search; a test image always is.
        threats: prohibited labels that are in it, as far as is known.
        level: the models' own, of the worst view.
    """

    bag_id: str
    test: bool
    labelled: bool
    threats: frozenset[str]
    level: Level


class ClassEvidence(Value):
    """Threat bags of a class, and how many of them were found."""

    bags: int
    found: int


class ValidationEvidence(Value):
    """What a campaign has shown so far, of its labelled bags.

    Attributes:
        bags, threats, found: labelled bags, those with a threat, and of these the ones advised to be searched.
        let_through: threat bags in which the models saw nothing at all.
        recall, recall_low: the share found, and its one-sided 95 % lower bound; None without a threat bag.
        wanted: what the lower bound has to reach.
        test_threats, test_found: of the test images alone.
        stopped, stopped_ci: share of clear bags advised to be searched; None without one.
        passed: share of clear bags in which the models saw nothing.
        by_class: by label.
        waiting: bags that two people have not labelled yet.
    """

    bags: int
    threats: int
    found: int
    let_through: int
    recall: Fraction | None
    recall_low: Fraction | None
    wanted: Fraction
    test_threats: int
    test_found: int
    stopped: Fraction | None
    stopped_ci: tuple[Fraction, Fraction] | None
    passed: Fraction | None
    by_class: dict[str, ClassEvidence]
    waiting: int


class Validation(Value):
    """That an admin signed that a pair of models is validated on a scanner.

    Attributes:
        rests_on: as of its campaign; the models, classes, policy and thresholds that it is true of.
        evidence: as it stood when it was signed.
    """

    id: str
    scanner_id: str
    rests_on: str
    campaign_id: str
    signed_at: datetime
    by: str
    reason: str
    evidence: ValidationEvidence


class WithdrawnValidation(Value):
    """A validation that is not true any more, when and why; `by` is "policy" where the desk withdrew it by itself."""

    validation: Validation
    at: datetime
    by: str
    reason: str


class CampaignStatus(Value):
    """How a campaign stands: `objections` say why it cannot be signed yet; none: it can."""

    campaign: Campaign
    enrolled: int
    evidence: ValidationEvidence
    objections: tuple[str, ...]


class WatchStatus(Value):
    """Bags of known truth since a validation was signed; at `sum` = `limit` it is withdrawn."""

    threats: int
    found: int
    by_kind: dict[str, tuple[int, int]]
    sum: float
    limit: float


class ValidationStatus(Value):
    """A validation that nobody withdrew.

    Attributes:
        in_force: it holds for what the next answer on its scanner rests on; else the models, classes, policy or
            threshold have changed since, and it has lapsed.
    """

    validation: Validation
    in_force: bool
    watch: WatchStatus


class Validations(Value):
    """All that was signed: what nobody withdrew, and what was withdrawn."""

    signed: tuple[ValidationStatus, ...]
    withdrawn: tuple[WithdrawnValidation, ...]


def evidence_of(bags: Iterable[CampaignBag], wanted: float) -> ValidationEvidence:
    """Sums up the bags of a campaign.

    Args:
        bags: labelled or not.
        wanted: recall that the policy asks for, 0 to 1.
    """
    all_bags = list(bags)
    labelled = [one for one in all_bags if one.labelled]
    threats = [one for one in labelled if one.threats]
    clear = [one for one in labelled if not one.threats]
    found, tests = _found(threats), [one for one in threats if one.test]
    stopped = _found(clear)
    labels = sorted({label for one in threats for label in one.threats})
    of_class = {label: [one for one in threats if label in one.threats] for label in labels}
    return ValidationEvidence(
        bags=len(labelled),
        threats=len(threats),
        found=found,
        let_through=sum(one.level == "LOW" for one in threats),
        recall=found / len(threats) if threats else None,
        recall_low=lower_bound(found, len(threats)) if threats else None,
        wanted=wanted,
        test_threats=len(tests),
        test_found=_found(tests),
        stopped=stopped / len(clear) if clear else None,
        stopped_ci=wilson_interval(stopped, len(clear)) if clear else None,
        passed=sum(one.level == "LOW" for one in clear) / len(clear) if clear else None,
        by_class={label: ClassEvidence(bags=len(own), found=_found(own)) for label, own in of_class.items()},
        waiting=len(all_bags) - len(labelled),
    )


def _found(bags: Sequence[CampaignBag]) -> int:
    return sum(one.level == "HIGH" for one in bags)


def lower_bound(found: int, threats: int) -> float:
    """The one-sided 95 % Clopper-Pearson lower bound of a share, 0 to 1.

    Args:
        found: 0 to `threats`.
        threats: at least 1.
    """
    from scipy.stats import beta  # takes a second to import: not at the desk's start

    return float(beta.ppf(1 - LEVEL, found, threats - found + 1)) if found else 0.0


def most_missed(threats: int, wanted: float) -> int:
    """How many threat bags may be missed for the lower bound to reach `wanted`; -1 where there are too few of them."""
    missed = -1
    while missed + 1 < threats and lower_bound(threats - missed - 1, threats) >= wanted:
        missed += 1
    return missed


def objections(campaign: Campaign, evidence: ValidationEvidence, enrolled: int, now: datetime) -> list[str]:
    """Why a campaign cannot be signed now, in sentences; empty: it can.

    Args:
        campaign: which.
        evidence: of its bags.
        enrolled: bags that joined it.
        now: bags join until `ends_at`.
    """
    found: list[str] = []
    if campaign.end is not None:
        return [f"The campaign has ended: {campaign.end.kind}, {campaign.end.reason}"]
    if enrolled < campaign.bags and now < campaign.ends_at:
        found.append(f"{enrolled} of {campaign.bags} bags have come in: the number was fixed before the first one.")
    if evidence.waiting:
        found.append(f"{evidence.waiting} bags are not labelled by two people yet.")
    if evidence.bags < LEAST_BAGS and not evidence.waiting and now >= campaign.ends_at:
        found.append(f"{evidence.bags} labelled bags came in by the end: it takes {LEAST_BAGS}. Open another campaign.")
    if found:
        return found
    if evidence.recall_low is None or most_missed(evidence.threats, evidence.wanted) < 0:
        found.append(
            f"{evidence.threats} bags with a threat are too few to show {evidence.wanted:.0%}. Open another campaign "
            "with more test images."
        )
    elif evidence.recall_low < evidence.wanted:
        found.append(
            f"Of {evidence.threats} bags with a threat {evidence.found} were advised to be searched: at least "
            f"{evidence.recall_low:.1%} (95 % sure), and the policy asks for {evidence.wanted:.0%}. Set a lower "
            "threshold, or use better models, and open another campaign."
        )
    return found
