"""The evidence of a campaign: what it shows, with which bound, and when it may be signed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from scipy.stats import binomtest

from xray_app.types import Level
from xray_app.validation import (
    Campaign,
    CampaignBag,
    CampaignEnd,
    ValidationEvidence,
    evidence_of,
    lower_bound,
    most_missed,
    objections,
)

NOW = datetime(2026, 12, 1, tzinfo=UTC)


def bags(n: int, level: Level, *threats: str, test: bool = False, labelled: bool = True) -> list[CampaignBag]:
    return [CampaignBag(f"{level}{threats}{i}", test, labelled, frozenset(threats), level) for i in range(n)]


@pytest.mark.parametrize(("found", "threats"), [(60, 60), (57, 60), (29, 29), (1, 3), (0, 5)])
def test_the_bound_is_the_exact_one(found: int, threats: int) -> None:
    exact = binomtest(found, threats, alternative="greater").proportion_ci(confidence_level=0.95, method="exact")
    assert lower_bound(found, threats) == pytest.approx(exact.low)


@pytest.mark.parametrize(
    ("threats", "wanted", "missed"),
    [(28, 0.90, -1), (29, 0.90, 0), (45, 0.90, 0), (46, 0.90, 1), (58, 0.95, -1), (59, 0.95, 0), (92, 0.95, 0)],
)
def test_how_many_may_be_missed(threats: int, wanted: float, missed: int) -> None:
    assert most_missed(threats, wanted) == missed


def test_what_a_campaign_shows() -> None:
    some = [
        *bags(40, "HIGH", "knife", test=True), *bags(3, "MEDIUM", "knife", "gun"), *bags(2, "LOW", "gun", test=True),
        *bags(10, "HIGH"), *bags(20, "MEDIUM"), *bags(50, "LOW"), *bags(7, "LOW", "gun", labelled=False),
    ]  # fmt: skip
    found = evidence_of(some, 0.9)
    assert (found.bags, found.threats, found.found, found.let_through, found.waiting) == (125, 45, 40, 2, 7)
    assert (found.test_threats, found.test_found) == (42, 40)
    assert found.recall == pytest.approx(40 / 45)
    assert found.recall_low == lower_bound(40, 45)
    assert (found.stopped, found.passed) == (10 / 80, 50 / 80)
    assert {label: (one.bags, one.found) for label, one in found.by_class.items()} == {"gun": (5, 0), "knife": (43, 40)}
    empty = evidence_of([], 0.9)
    assert (empty.recall, empty.recall_low, empty.stopped, empty.passed) == (None, None, None, None)


def campaign(end: CampaignEnd | None = None) -> Campaign:
    return Campaign(
        id="c", scanner_id="A", rests_on="r", bags=200, test_share=0.3, opened_at=NOW - timedelta(days=20),
        ends_at=NOW + timedelta(days=10), by="boss", reason="ready", end=end,
    )  # fmt: skip


def why_not(evidence: ValidationEvidence, enrolled: int = 200, days: int = 0) -> str:
    return " ".join(objections(campaign(), evidence, enrolled, NOW + timedelta(days=days)))


def shown(found: int, missed: int, clear: int, waiting: int = 0) -> ValidationEvidence:
    some = [*bags(found, "HIGH", "knife"), *bags(missed, "LOW", "knife"), *bags(clear, "LOW")]
    return evidence_of([*some, *bags(waiting, "LOW", labelled=False)], 0.9)


def test_when_a_campaign_may_be_signed() -> None:
    assert why_not(shown(29, 0, 171)) == ""
    assert "28 bags with a threat are too few to show 90%" in why_not(shown(28, 0, 172))
    assert "Of 29 bags with a threat 28 were advised" in why_not(shown(28, 1, 171))
    assert why_not(shown(45, 1, 154)) == ""
    assert "0 bags with a threat are too few" in why_not(shown(0, 0, 200))


def test_its_number_of_bags_was_fixed_before() -> None:
    assert "199 of 200 bags have come in" in why_not(shown(29, 0, 170), enrolled=199)
    assert "1 bags are not labelled by two people" in why_not(shown(29, 0, 170, waiting=1))
    assert "199 labelled bags came in by the end: it takes 200" in why_not(shown(29, 0, 170), enrolled=199, days=11)
    assert "1 bags are not labelled" in why_not(shown(29, 0, 170, waiting=1), days=11)


def test_one_that_has_ended_is_not_signed() -> None:
    end = CampaignEnd(kind="void", at=NOW, by="policy", reason="another model")
    assert objections(campaign(end), shown(60, 0, 140), 200, NOW) == ["The campaign has ended: void, another model"]
