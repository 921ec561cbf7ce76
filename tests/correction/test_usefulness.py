"""What a correction is worth, in points: both sides of every threshold, and the share of the control sample."""

from __future__ import annotations

import pytest

from tests.conftest import MakeAnalysis
from xray_app.correction.usefulness import lot_of, of_decision, of_outcome, rarest, reasons_of
from xray_app.taxonomy import Taxonomy
from xray_app.types import Action, Agreement, Analysis, Level, Report, Risk

AGREED = Agreement(both=(), vlm_only=(), detector_only=())
ORDINARY = "analysis 1"
"""The id of an analysis that is no control."""


@pytest.fixture
def seen(make_analysis: MakeAnalysis, taxonomy: Taxonomy) -> MakeAnalysis:
    """An analysis with these confidences by label: `seen(knife=0.5)`; nothing else stands out of it."""

    def make(complete: bool = True, agreement: Agreement = AGREED, **confidence: float) -> Analysis:
        items = tuple(taxonomy.item(label.replace("_", " "), 1, value) for label, value in confidence.items())
        report = Report(items=items, text="", complete=complete)
        return make_analysis(id=ORDINARY, report=report, boxes=(), agreement=agreement)

    return make


def test_the_control_sample_is_one_in_twenty_and_the_same_ones_every_time() -> None:
    lots = {number: lot_of(f"analysis {number}") for number in range(60)}
    drawn = {number: round(lot, 6) for number, lot in lots.items() if lot is not None}
    assert drawn == {0: 0.482761, 5: 0.763046, 24: 0.438195, 45: 0.832677, 47: 0.092623}
    assert sum(lot_of(f"{number}") is not None for number in range(20_000)) == 991


def test_a_control_has_its_lot_of_six_points_and_no_other_reason(make_analysis: MakeAnalysis) -> None:
    doubtful = make_analysis(id="analysis 0")
    assert doubtful.agreement.vlm_only
    assert reasons_of(doubtful) == {"control": (pytest.approx(2.896563), "control sample: drawn by lot")}


@pytest.mark.parametrize(("label", "points"), [("knife", 3.0), ("lighter", 2.0), ("laptop", 1.0)])
def test_a_disagreement_weighs_by_what_it_is_about(seen: MakeAnalysis, label: str, points: float) -> None:
    reasons = reasons_of(seen(agreement=Agreement(both=(), vlm_only=(label,), detector_only=()), **{label: 1.0}))
    assert reasons == {"disagreement": (points, f"the models disagree on {label}")}


def test_more_disagreements_add_a_tenth_each_up_to_five_and_three_are_named(seen: MakeAnalysis) -> None:
    labels = ("laptop", "phone", "can", "knife", "tin", "tablet", "carton_drink")

    def reason(count: int) -> tuple[float, str]:
        named = tuple(label.replace("_", " ") for label in labels[:count])
        agreement = Agreement(both=(), vlm_only=named, detector_only=())
        return reasons_of(seen(agreement=agreement, **dict.fromkeys(labels, 1.0)))["disagreement"]

    assert reason(3) == (pytest.approx(1.2), "the models disagree on laptop, phone, can")
    assert reason(4) == (pytest.approx(3.3), "the models disagree on knife, laptop, phone and 1 more")
    assert reason(6)[0] == reason(7)[0] == pytest.approx(3.5)


# Doubt is 4 p (1 - p) of what the label weighs; from 0.3 on it is a reason.
@pytest.mark.parametrize(
    ("label", "unsure", "sure"), [("knife", 0.9605, 0.961), ("lighter", 0.932, 0.934), ("laptop", 0.853, 0.854)]
)
def test_an_unsure_label_is_a_reason_down_to_three_tenths_of_a_point(
    seen: MakeAnalysis, label: str, unsure: float, sure: float
) -> None:
    doubt, words = reasons_of(seen(**{label: unsure}))["unsure"]
    assert doubt == pytest.approx(0.3, abs=0.005)
    assert words == f"unsure of {label} ({unsure:.0%})"
    assert reasons_of(seen(**{label: sure})) == {}


@pytest.mark.parametrize(("label", "most"), [("knife", 2.0), ("lighter", 1.2), ("laptop", 0.6)])
def test_a_label_at_one_half_is_the_most_unsure(seen: MakeAnalysis, label: str, most: float) -> None:
    assert reasons_of(seen(**{label: 0.5}))["unsure"][0] == pytest.approx(most)


def test_an_incomplete_answer_is_worth_half_a_point(seen: MakeAnalysis) -> None:
    assert reasons_of(seen(complete=False))["incomplete"][0] == 0.5
    assert reasons_of(seen(complete=True)) == {}


def test_a_label_of_19_corrected_scans_is_rare_and_one_of_20_is_not() -> None:
    assert rarest(["knife", "gun"], {"knife": 19, "gun": 20}) == "knife"
    assert rarest(["knife", "gun"], {"knife": 20, "gun": 20}) is None
    assert rarest(["knife", "gun"], {"knife": 3}) == "gun"
    assert rarest(["knife", "gun"], {}) == "gun", "of equally rare ones the first by name"


def judged(make_analysis: MakeAnalysis, level: Level, action: Action) -> Analysis:
    return make_analysis(risk=Risk(level=level, reason="", action=action, policy="airport"))


@pytest.mark.parametrize(
    ("level", "advised", "decision", "points"),
    [
        ("HIGH", "SEARCH", "CLEAR", 3.0),
        ("LOW", "REVIEW", "SEARCH", 3.0),
        ("MEDIUM", "REVIEW", "CLEAR", None),
        ("MEDIUM", "REVIEW", "SEARCH", None),
        ("HIGH", "SEARCH", "SEARCH", None),
        ("HIGH", "SEARCH", "REVIEW", 2.0),
        ("LOW", "CLEAR", "REVIEW", 2.0),
        ("MEDIUM", "REVIEW", "REVIEW", None),
    ],
)
def test_a_decision_against_the_models_adds_points(
    make_analysis: MakeAnalysis, level: Level, advised: Action, decision: Action, points: float | None
) -> None:
    reason = of_decision(judged(make_analysis, level, advised), decision, "ana")
    assert (reason and reason[0]) == points


def test_what_a_hand_search_found_against_the_models_adds_the_most(
    make_analysis: MakeAnalysis, taxonomy: Taxonomy
) -> None:
    named = make_analysis()  # a knife and two plastic bottles, HIGH
    knife, gun, tin = (taxonomy.item(label, 1) for label in ("knife", "gun", "tin"))
    assert of_outcome(named, [knife, gun]) == (6.0, "the hand search found gun, which no model named")
    assert of_outcome(named, [tin]) == (4.0, "the hand search found no knife")
    assert of_outcome(named, [knife, tin]) is None, "an allowed item nobody named is no miss"
    low = make_analysis(risk=Risk(level="LOW", reason="", action="REVIEW", policy="airport"))
    assert of_outcome(low, []) is None
