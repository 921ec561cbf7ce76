"""The risk policy: every line of the contract's table, and both sides of every boundary."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from tests.conftest import MakeAnalysis
from xray_app.risk import (
    Finding,
    agree,
    assess,
    by_people,
    by_policy,
    clears_high,
    severity,
    standing,
    worst,
    worst_view,
)
from xray_app.taxonomy import Policy, load_taxonomy
from xray_app.types import Action, Analysis, Box, Level, Report, Risk, StandingRisk

TAXONOMY = load_taxonomy()
POLICY = Policy(
    name="test",
    prohibited_threshold=0.5,
    lower_threshold=0.25,
    opaque_soft=0.1,
    opaque_hard=0.3,
    low_confidence=0.4,
    recall=0.9,
)


def said(complete: bool = True, **items: float | None) -> Report:
    """An answer naming each label once, with this confidence. Spaces are underscores."""
    return Report(
        items=tuple(TAXONOMY.item(label, 1, confidence) for label, confidence in items.items()),
        text="",
        complete=complete,
    )


def boxed(label: str, confidence: float | None) -> Box:
    return TAXONOMY.box("b", "model", label, (0, 0, 9, 9), confidence)


def judge(report: Report, *boxes: Box, opaque: float = 0.0, validated: bool = True, policy: Policy = POLICY) -> Risk:
    return assess(report, boxes, opaque, validated, policy)


def outcome(risk: Risk) -> tuple[str, str]:
    return risk.level, risk.action


HIGH, MEDIUM, LOW_REVIEW, CLEAR = (
    ("HIGH", "SEARCH"),
    ("MEDIUM", "REVIEW"),
    ("LOW", "REVIEW"),
    ("LOW", "CLEAR"),
)


@pytest.mark.parametrize(
    ("confidence", "expected"),
    [(1.0, HIGH), (0.5, HIGH), (0.499, MEDIUM), (0.25, MEDIUM), (None, HIGH)],
)
def test_a_prohibited_item_by_the_vlm(confidence: float | None, expected: tuple[str, str]) -> None:
    risk = judge(said(knife=confidence))
    assert outcome(risk) == expected
    assert "knife" in risk.reason


@pytest.mark.parametrize("confidence", [0.2499, 0.1, 0.0])
def test_a_prohibited_item_the_vlm_hardly_believes_in_is_not_dropped(confidence: float) -> None:
    lenient = Policy(**{**POLICY.__dict__, "low_confidence": 0.0})
    for policy in (POLICY, lenient):
        risk = judge(said(knife=confidence), policy=policy)
        assert outcome(risk) == MEDIUM
        assert risk.reason == f"low confidence: knife (VLM {confidence:.2f})"


@pytest.mark.parametrize(
    ("confidence", "expected"),
    [(1.0, HIGH), (0.5, HIGH), (0.499, MEDIUM), (0.25, MEDIUM), (0.249, CLEAR), (None, HIGH)],
)
def test_a_prohibited_box_by_the_detector(confidence: float | None, expected: tuple[str, str]) -> None:
    assert outcome(judge(said(), boxed("gun", confidence))) == expected


def test_one_sure_model_or_box_is_enough() -> None:
    assert outcome(judge(said(knife=0.1), boxed("knife", 0.6))) == HIGH
    assert outcome(judge(said(knife=0.6), boxed("knife", 0.1))) == HIGH
    assert outcome(judge(said(), boxed("knife", 0.3), boxed("knife", 0.6), boxed("knife", 0.3))) == HIGH
    # Two models that half believe do not add up to one that is sure.
    assert outcome(judge(said(knife=0.4), boxed("knife", 0.4))) == MEDIUM


@pytest.mark.parametrize(
    ("opaque", "expected"), [(1.0, HIGH), (0.301, HIGH), (0.3, MEDIUM), (0.101, MEDIUM), (0.1, CLEAR)]
)
def test_opaque_areas(opaque: float, expected: tuple[str, str]) -> None:
    assert outcome(judge(said(), opaque=opaque)) == expected


@pytest.mark.parametrize("confidence", [None, 1.0, 0.5, 0.01])
def test_a_restricted_item_by_the_vlm(confidence: float | None) -> None:
    assert outcome(judge(said(lighter=confidence))) == MEDIUM


@pytest.mark.parametrize(("confidence", "expected"), [(0.9, MEDIUM), (0.25, MEDIUM), (0.249, CLEAR)])
def test_a_restricted_box_by_the_detector(confidence: float, expected: tuple[str, str]) -> None:
    assert outcome(judge(said(), boxed("lighter", confidence))) == expected


def test_an_incomplete_answer() -> None:
    risk = judge(said(complete=False))
    assert outcome(risk) == MEDIUM
    assert risk.reason == "VLM answer incomplete"


@pytest.mark.parametrize(("confidence", "expected"), [(0.399, MEDIUM), (0.4, CLEAR), (None, CLEAR)])
def test_low_confidence_in_an_allowed_item(confidence: float | None, expected: tuple[str, str]) -> None:
    assert outcome(judge(said(laptop=confidence))) == expected


def test_allowed_boxes_never_matter() -> None:
    assert outcome(judge(said(), boxed("laptop", 0.01), boxed("can", 0.99))) == CLEAR


def test_models_not_validated_never_clear() -> None:
    for report in (said(laptop=0.9), said()):
        risk = judge(report, validated=False)
        assert outcome(risk) == LOW_REVIEW
        assert risk.reason == "model not validated on this scanner"


def test_nothing_found_by_validated_models_is_clear() -> None:
    risk = judge(said(laptop=0.9))
    assert outcome(risk) == CLEAR
    assert risk.policy == "test"
    assert risk.reason == "no threats detected"


@pytest.mark.parametrize("validated", [True, False])
def test_the_first_line_that_fits(validated: bool) -> None:
    everything = said(complete=False, knife=0.9, lighter=0.9, laptop=0.1)
    assert judge(everything, opaque=1, validated=validated).reason == "knife detected (VLM 0.90)"
    possible = said(complete=False, knife=0.3, lighter=0.9)
    assert "opaque" in judge(possible, opaque=0.5, validated=validated).reason
    assert judge(possible, opaque=0.2, validated=validated).reason == "knife possible (VLM 0.30)"


def test_reasons_name_both_models_and_all_doubts() -> None:
    risk = judge(said(knife=0.91), boxed("knife", 0.84), boxed("knife", 0.3))
    assert risk.reason == "knife detected (VLM 0.91, detector 0.84)"
    risk = judge(said(knife=None, gun=0.8))
    assert risk.reason == "knife (VLM), gun (VLM 0.80) detected"
    risk = judge(said(complete=False, lighter=0.9, laptop=0.2), opaque=0.2)
    assert risk.reason == (
        "lighter detected (VLM 0.90); opaque area of 20% of the picture; VLM answer incomplete; "
        "low confidence: laptop (VLM 0.20)"
    )


def test_a_reason_stays_short() -> None:
    risk = judge(Report(items=tuple(TAXONOMY.item(n, 1, 0.9) for n in TAXONOMY.names), text="", complete=True))
    assert risk.reason.endswith("and 21 more detected")
    assert len(risk.reason) < 200


@pytest.mark.parametrize("name", sorted(TAXONOMY.policies))
def test_every_profile_of_the_site_searches_for_a_gun(name: str) -> None:
    assert outcome(judge(said(gun=0.9), policy=TAXONOMY.policy(name))) == HIGH


def test_stricter_profiles_search_sooner() -> None:
    report = said(knife=0.35)
    assert outcome(judge(report, policy=TAXONOMY.policy("airport"))) == MEDIUM
    assert outcome(judge(report, policy=TAXONOMY.policy("prison"))) == HIGH


def risk_of(level: str, action: str) -> Risk:
    return Risk.model_validate({"level": level, "reason": "", "action": action, "policy": "test"})


def test_risks_are_ordered_by_level_then_by_action() -> None:
    ascending = [CLEAR, LOW_REVIEW, ("LOW", "SEARCH"), ("MEDIUM", "CLEAR"), MEDIUM, ("HIGH", "CLEAR"), HIGH]
    severities = [severity(risk_of(*one)) for one in ascending]
    assert severities == sorted(severities)
    assert len(set(severities)) == len(severities)


def test_a_bag_is_as_bad_as_its_worst_view_by_the_newest_analysis_of_each(make_analysis: MakeAnalysis) -> None:
    now = datetime.now(UTC)

    def view(scan: str, minute: int, risk: tuple[str, str]) -> Analysis:
        analysis = make_analysis(created_at=now + timedelta(minutes=minute), risk=risk_of(*risk))
        return analysis.model_copy(update={"scan": analysis.scan.model_copy(update={"id": scan})})

    top, side, better_side = view("top", 0, MEDIUM), view("side", 1, HIGH), view("side", 2, CLEAR)
    for order in ([top, side], [side, top]):
        assert outcome(worst_view(order)) == HIGH
    for order in ([top, side, better_side], [better_side, side, top]):
        assert outcome(worst_view(order)) == MEDIUM


def test_where_the_models_agree() -> None:
    agreement = agree(
        said(knife=0.9, laptop=0.8),
        [
            boxed("gun", 0.25),
            boxed("knife", 0.3),
            boxed("knife", 0.2),
            boxed("laptop", 0.24),
            boxed("gun", 0.9),
        ],
        POLICY,
    )
    assert agreement.both == ("knife",)
    assert agreement.vlm_only == ("laptop",)
    assert agreement.detector_only == ("gun",)


def risk(level: Level, action: Action) -> Risk:
    return Risk(level=level, action=action, reason=f"{level} {action}", policy="test")


WORSE_AND_WORSE = (risk("LOW", "CLEAR"), risk("LOW", "REVIEW"), risk("MEDIUM", "REVIEW"), risk("HIGH", "SEARCH"))


@pytest.mark.parametrize(("milder", "worse"), list(itertools.pairwise(WORSE_AND_WORSE)))
def test_the_worst_of_two(milder: Risk, worse: Risk) -> None:
    assert severity(milder) < severity(worse)
    for found in ([milder, worse], [worse, milder]):
        assert worst(found, lambda one: one) == worse


def test_of_equally_bad_ones_the_first() -> None:
    assert worst([("a", WORSE_AND_WORSE[1]), ("b", WORSE_AND_WORSE[1])], lambda one: one[1])[0] == "a"


def test_an_older_answer_about_the_same_view_no_longer_counts(make_analysis: MakeAnalysis) -> None:
    def analysed(scan: str, of: Risk, minute: int) -> Analysis:
        one = make_analysis()
        return one.model_copy(
            update={
                "scan": one.scan.model_copy(update={"id": scan}),
                "risk": of,
                "created_at": datetime(2026, 1, 1, 12, minute, tzinfo=UTC),
            }
        )

    clear, review, medium, high = WORSE_AND_WORSE
    views = [analysed("top", medium, 5), analysed("top", high, 1), analysed("side", clear, 2)]
    assert worst_view(views) == medium  # the older answer about the same view no longer counts
    assert worst_view([*views, analysed("side", high, 9)]) == high
    assert worst_view([analysed("top", clear, 1), analysed("side", review, 0)]) == review


@pytest.mark.parametrize(
    ("decision", "levels", "clears"),
    [
        ("CLEAR", ("LOW", "HIGH"), True),
        ("CLEAR", ("LOW", "MEDIUM"), False),
        ("REVIEW", ("HIGH",), False),
        ("SEARCH", ("HIGH",), False),
    ],
)
def test_clearing_what_any_view_rates_high(decision: Action, levels: tuple[str, ...], clears: bool) -> None:
    assert clears_high(decision, levels) is clears


def found(label: str, by: str) -> Finding:
    return Finding(label, TAXONOMY.item(label, 1).status, f"marked by {by}", by)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [(("knife",), HIGH), (("lighter",), MEDIUM), (("laptop", "lighter", "gun"), HIGH), (("laptop",), None), ((), None)],
)
def test_a_person_is_as_certain_as_a_model_can_be(
    labels: tuple[str, ...], expected: tuple[Level, Action] | None
) -> None:
    risk = by_people([found(label, "nora") for label in labels])
    assert (None if risk is None else (risk.level, risk.action)) == expected


def test_a_reason_names_who_found_what_first_and_no_more_than_four() -> None:
    risk = by_people([found("knife", "nora"), found("lighter", "ana"), found("knife", "ben"), found("gun", "ben")])
    assert risk is not None
    assert (risk.reason, risk.by) == ("knife, marked by nora; gun, marked by ben", "nora")
    many = by_people([found(label, "nora") for label in ("knife", "gun", "scissors", "saw", "axe")])
    assert many is not None
    assert many.reason == "knife, gun, scissors, saw and 1 more, marked by nora"


@pytest.mark.parametrize(
    ("models", "people", "stands"),
    [
        (CLEAR, HIGH, "nora"), (HIGH, HIGH, "policy"), (HIGH, MEDIUM, "policy"), (MEDIUM, MEDIUM, "policy"),
        (LOW_REVIEW, MEDIUM, "nora"), (LOW_REVIEW, None, "policy"),
    ],
)  # fmt: skip
def test_the_worst_of_models_and_people_stands(
    models: tuple[Level, Action], people: tuple[Level, Action] | None, stands: str
) -> None:
    risk = Risk(level=models[0], action=models[1], reason="why", policy="airport")
    theirs = people and StandingRisk(level=people[0], action=people[1], reason="knife, marked by nora", by="nora")
    found = standing(risk, theirs or None)
    assert found == (theirs if stands == "nora" else by_policy(risk))
    assert by_policy(risk).model_dump() == {"level": models[0], "action": models[1], "reason": "why", "by": "policy"}
