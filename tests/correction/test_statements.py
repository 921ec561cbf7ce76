"""What people said of a view, what of it counts, and whose word a new revision would lower."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from tests.conftest import MakeAnalysis, scan_facts
from xray_app.correction.statements import (
    BagStanding,
    Kind,
    Statement,
    counting,
    lowers,
    of_correction,
    of_search,
    risk_of,
)
from xray_app.risk import by_policy
from xray_app.taxonomy import Taxonomy
from xray_app.types import Correction, Diff, Risk, StandingRisk, Status

KNIFE, LIGHTER, BOTTLE = {"knife": Status.PROHIBITED}, {"lighter": Status.RESTRICTED}, {"bottle": Status.ALLOWED}
NOTHING: dict[str, Status] = {}
_minutes = count()


def said(by: str, kind: Kind, labels: dict[str, Status], looked_for: set[str] | None = None) -> Statement:
    """The next thing anybody says."""
    at = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(minutes=next(_minutes))
    return Statement(by, at, kind, labels, None if looked_for is None else frozenset(looked_for))


def level(*statements: Statement) -> tuple[str, str] | None:
    risk = risk_of(statements)
    return None if risk is None else (risk.level, risk.by)


@pytest.mark.parametrize("kind", ["pending", "saved", "accepted"])
def test_what_one_person_marked_counts_until_it_is_rejected(kind: Kind) -> None:
    knife = said("nora", kind, KNIFE)
    risk = risk_of([knife])
    assert risk == StandingRisk(level="HIGH", action="SEARCH", reason="knife, marked by nora", by="nora")
    assert level(said("nora", "rejected", KNIFE)) is None


def test_a_label_weighs_what_the_taxonomy_says_of_it() -> None:
    assert level(said("ben", "saved", LIGHTER | BOTTLE)) == ("MEDIUM", "ben")
    assert level(said("ben", "saved", BOTTLE)) is None
    assert level(said("ben", "saved", LIGHTER), said("nora", "pending", KNIFE)) == ("HIGH", "nora")


@pytest.mark.parametrize(
    ("first", "second", "stays"),
    [
        ("pending", "pending", False),  # one's own word is replaced by one's own newer one
        ("saved", "saved", False),
        ("pending", "saved", False),
        ("accepted", "pending", True),  # somebody else has said it too by accepting it
        ("accepted", "saved", True),
        ("saved", "pending", True),  # as long as the newer one waits for somebody
        ("accepted", "accepted", False),
        ("pending", "rejected", True),
    ],
)
def test_an_author_takes_back_what_nobody_else_has_accepted(first: Kind, second: Kind, stays: bool) -> None:
    assert (level(said("nora", first, KNIFE), said("nora", second, NOTHING)) is not None) is stays


@pytest.mark.parametrize("first", ["pending", "saved", "accepted"])
@pytest.mark.parametrize(("second", "stays"), [("pending", True), ("saved", True), ("accepted", False)])
def test_another_persons_word_is_lowered_by_a_second_person_alone(first: Kind, second: Kind, stays: bool) -> None:
    assert (level(said("nora", first, KNIFE), said("ben", second, NOTHING)) is not None) is stays


def test_what_was_rejected_in_between_leaves_what_was_said_before() -> None:
    knife, gone, back = (
        said("nora", "pending", KNIFE),
        said("nora", "rejected", NOTHING),
        said("ben", "pending", BOTTLE),
    )
    assert level(knife, gone, back) == ("HIGH", "nora")


def test_a_search_that_found_something_is_a_fact_and_one_that_found_nothing_says_nothing() -> None:
    found = said("ana", "search", KNIFE)
    assert level(found, said("ben", "accepted", NOTHING), said("ana", "search", NOTHING)) == ("HIGH", "ana")
    assert risk_of([found]).reason == "knife, found in a hand search by ana"  # type: ignore[union-attr]
    assert level(said("ben", "saved", KNIFE), said("ana", "search", NOTHING)) == ("HIGH", "ben")


def test_who_looked_for_some_classes_only_says_nothing_of_the_others() -> None:
    knife = said("nora", "saved", KNIFE | LIGHTER)
    assert level(knife, said("ben", "accepted", NOTHING, {"lighter"})) == ("HIGH", "nora")
    assert level(knife, said("ben", "accepted", NOTHING, {"knife"})) == ("MEDIUM", "nora")
    (left, _) = counting([knife, said("ben", "accepted", NOTHING, {"knife"})])
    assert left.labels == LIGHTER


def test_each_label_is_told_with_whoever_found_it_first() -> None:
    gun = {"gun": Status.PROHIBITED}
    risk = risk_of([said("nora", "saved", KNIFE), said("ben", "saved", KNIFE | gun | LIGHTER)])
    assert risk is not None
    assert (risk.reason, risk.by) == ("knife, marked by nora; gun, marked by ben", "nora")


def test_a_revision_that_lowers_another_persons_word_is_told_from_one_that_does_not() -> None:
    knife, more = said("nora", "saved", KNIFE), KNIFE | {"gun": Status.PROHIBITED}
    assert lowers([knife], said("ben", "saved", NOTHING)) == "nora"
    assert lowers([knife], said("ben", "saved", LIGHTER)) == "nora"
    assert lowers([knife], said("nora", "saved", NOTHING)) is None
    assert lowers([knife], said("ben", "saved", more)) is None
    assert lowers([said("nora", "saved", more)], said("ben", "saved", KNIFE)) is None  # HIGH all the same
    assert lowers([knife], said("ben", "saved", NOTHING, {"lighter"})) is None
    assert lowers([said("nora", "rejected", KNIFE)], said("ben", "saved", NOTHING)) is None
    assert lowers([said("ana", "search", KNIFE)], said("ben", "saved", NOTHING)) is None  # a fact cannot be lowered
    assert lowers([said("nora", "saved", LIGHTER)], said("ben", "saved", BOTTLE)) == "nora"
    assert lowers([], said("ben", "saved", NOTHING)) is None


def test_a_box_counts_without_its_item_and_an_old_user_called_policy_is_no_policy(taxonomy: Taxonomy) -> None:
    box = taxonomy.box("b", "human", "knife", (1, 1, 9, 9))
    correction = Correction(
        id="c", analysis_id="a", revision=1, status="accepted", author="Policy", created_at=datetime.now(UTC),
        items=(taxonomy.item("lighter", 1),), boxes=(box,), labelled_classes=("lighter",), comment=None,
        diff=Diff(), split="train",
    )  # fmt: skip
    one = of_correction(correction, second=False)
    assert (one.kind, one.by, one.labels) == ("saved", "Policy (user)", KNIFE | LIGHTER)
    assert one.looked_for == {"lighter"}
    assert of_correction(correction, second=True).kind == "accepted"
    pending = correction.model_copy(update={"status": "pending", "labelled_classes": None})
    assert of_correction(pending, second=False).kind == "pending"
    assert of_correction(pending, second=False).looked_for is None
    assert of_search("policy", one.at, KNIFE).by == "policy (user)"


def test_people_never_lower_what_the_models_say(make_analysis: MakeAnalysis) -> None:
    top = make_analysis(scan=scan_facts(b"top"))  # HIGH by the models
    low = Risk(level="LOW", reason="no threats detected", action="REVIEW", policy="airport")
    side = make_analysis(scan=scan_facts(b"side"), risk=low)
    lighter = StandingRisk(level="MEDIUM", action="REVIEW", reason="lighter, marked by ben", by="ben")
    knife = StandingRisk(level="HIGH", action="SEARCH", reason="knife, marked by nora", by="nora")
    bag = BagStanding(by_policy(top.risk), top.scan.id, {top.scan.id: lighter, side.scan.id: lighter})
    assert bag.of_view(top) == by_policy(top.risk)
    assert bag.of_view(side) == lighter
    assert bag.over(side) == by_policy(top.risk)  # the bag's other view is the worse
    assert bag.by_people == lighter
    worse = BagStanding(knife, side.scan.id, {side.scan.id: knife})
    assert (worse.of_view(side), worse.over(side)) == (knife, knife)
    assert worse.over(top).by == "policy"  # as bad by its own models, whose reason it is
    assert BagStanding(by_policy(low), side.scan.id, {}).by_people is None
