"""Operating points: a promise that is kept, and false alarms that are not flattered."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.operating_point import (
    HeldOut,
    cross_fitted,
    operating_point,
)
from training.evaluation.threat_score import BagEvidence, fit_calibration, probabilities
from training.evaluation.tolerance import misses_allowed, threats_needed, threshold_at
from xray_app.errors import BadCalibration, BadInput
from xray_app.threat_score import Calibration


def site(bags: int, seed: int, skill: float = 3.0, threat_rate: float = 0.4) -> HeldOut:
    """Two models' evidence of bags drawn with known truth."""
    draws = np.random.default_rng(seed)
    threat = draws.random(bags) < threat_rate
    odds = draws.normal(0, 1.2, (bags, 2)) + np.where(threat, skill / 2, -skill / 2)[:, None]
    shares = 1 / (1 + np.exp(-odds))
    labels = tuple(frozenset({"gun" if n % 3 else "knife"}) if own else frozenset() for n, own in enumerate(threat))
    evidence = BagEvidence(threat, {"vlm": shares[:, 0], "detector": shares[:, 1]})
    return HeldOut(tuple(f"bag{seed}:{n}" for n in range(bags)), evidence, labels)


@pytest.mark.parametrize(("recall", "needed"), [(0.90, 29), (0.92, 36), (0.95, 59), (0.80, 14)])
def test_without_a_miss_it_takes_the_binomials_bags(recall: float, needed: int) -> None:
    assert threats_needed(recall) == needed
    assert misses_allowed(needed, recall) == 0
    assert misses_allowed(needed - 1, recall) is None
    assert recall**needed <= 0.05 < recall ** (needed - 1)


def test_each_further_miss_takes_more_bags() -> None:
    """Wilks' numbers for 0.95: 93 bags may hold one miss, 124 two."""
    assert [misses_allowed(n, 0.95) for n in (58, 59, 92, 93, 123, 124)] == [None, 0, 0, 1, 1, 2]


def test_the_promised_detection_is_kept_nineteen_times_in_twenty() -> None:
    kept, draws = 0, np.random.default_rng(11)
    for _ in range(400):
        old = draws.normal(size=80)
        threshold = threshold_at(old, np.ones(80, bool), 0.9)
        assert threshold is not None
        kept += (draws.normal(size=20_000) >= threshold).mean() >= 0.9
    assert 0.94 <= kept / 400 <= 1.0


def test_the_promise_holds_with_the_calibration_fitted_on_the_same_bags() -> None:
    kept = 0
    for seed in range(40):
        point = operating_point(site(150, seed), 0.9, 0.95)
        fresh = site(2000, 1000 + seed).evidence
        scores = probabilities(Calibration(**point["calibration"]), fresh)
        kept += (scores[fresh.threat] >= point["threshold"]).mean() >= 0.9
    assert kept >= 36


def test_false_alarms_are_told_as_new_bags_will_show_them() -> None:
    told, shown = [], []
    for seed in range(20):
        point = operating_point(site(120, seed, skill=1.5), 0.9, 0.95)
        fresh = site(3000, 2000 + seed, skill=1.5).evidence
        scores = probabilities(Calibration(**point["calibration"]), fresh)
        shown.append((scores[~fresh.threat] >= point["threshold"]).mean())
        told.append(point["false_alarms"])
        low, high = point["false_alarms_ci"]
        assert low <= point["false_alarms"] <= high
    assert np.mean(told) == pytest.approx(np.mean(shown), abs=0.05)
    assert np.mean(told) >= np.mean(shown) - 0.02, "it does not flatter"


def test_no_bag_is_scored_by_a_calibration_it_has_taught() -> None:
    """With a handful of bags the fit on all of them is plainly better on itself."""
    one = site(25, 9, skill=0.8)
    fair = cross_fitted(one, ("vlm", "detector"))
    own = probabilities(fit_calibration(one.evidence, ("vlm", "detector")), one.evidence)
    assert np.abs(fair - own).max() > 0.01


def test_the_threshold_lies_among_scores_of_calibrations_that_have_not_seen_the_bag() -> None:
    one = site(120, 9, skill=1.0)
    fair = cross_fitted(one, ("vlm", "detector"))
    point = operating_point(one, 0.9, 0.95)
    assert point["threshold"] == threshold_at(fair, one.evidence.threat, 0.9)
    own = probabilities(Calibration(**point["calibration"]), one.evidence)
    assert point["threshold"] != threshold_at(own, one.evidence.threat, 0.9)


def test_with_too_few_threats_nothing_is_promised_and_it_says_how_many_more() -> None:
    point = operating_point(site(60, 3, threat_rate=0.3), 0.9, 0.95)
    threats = point["threats"]
    assert threats < 29
    assert (point["threshold"], point["missing"]) == (None, 29 - threats)
    assert point["review_missing"] == 59 - threats
    assert point["false_alarms"] is None
    assert all(one["recall"] < 0.9 for one in point["curve"])


def test_the_curve_rises_and_the_worst_class_is_named() -> None:
    held_out = site(600, 4)
    hard = np.array(["knife" in labels for labels in held_out.labels])
    by_model = {name: np.where(hard, shares * 0.3, shares) for name, shares in held_out.evidence.by_model.items()}
    point = operating_point(
        HeldOut(held_out.bags, BagEvidence(held_out.evidence.threat, by_model), held_out.labels), 0.8, 0.9
    )
    assert point["limiting"] == "knife"
    thresholds = [one["threshold"] for one in point["curve"]]
    assert thresholds == sorted(thresholds, reverse=True)
    alarms = [one["false_alarms"] for one in point["curve"]]
    assert alarms == sorted(alarms)
    assert point["review_threshold"] <= point["threshold"]


def test_a_model_that_adds_nothing_is_left_out_of_the_calibration() -> None:
    one = site(400, 8)
    backwards = {**one.evidence.by_model, "detector": 1 - one.evidence.by_model["detector"]}
    held_out = HeldOut(one.bags, BagEvidence(one.evidence.threat, backwards), one.labels)
    point = operating_point(held_out, 0.9, 0.95)
    assert point["calibration"]["models"] == ("vlm",)
    assert point["calibration"]["weights"][0] > 0
    assert point["threshold"] is not None


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(BadInput, match="between 0 and 1"):
        operating_point(site(100, 5), 0.95, 0.9)
    with pytest.raises(BadInput, match="both kinds are needed"):
        operating_point(site(50, 6, threat_rate=0.0), 0.9, 0.95)
    with pytest.raises(BadCalibration):
        operating_point(site(300, 7, skill=-3.0), 0.9, 0.95)
