"""Figures within groups: knowing the scanner gains nothing, and false alarms are equal in each."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.bag_table import Bools
from training.evaluation.bootstrap import Floats
from training.evaluation.stratified import BagScores, recall_at, stratified_auroc, within_groups


def bags(groups: list[str], threat: Bools, scores: Floats) -> BagScores:
    """Of one class, which is the threat."""
    everywhere = np.ones(len(threat), bool)
    return BagScores(
        np.array(groups, object), ("knife",), threat, everywhere, scores,
        threat[:, None], everywhere[:, None], scores[:, None],
    )  # fmt: skip


def test_only_pairs_of_one_group_are_compared() -> None:
    random = np.random.default_rng(5)
    groups = np.array([f"s{n % 3}" for n in range(90)])
    threat, scores = random.random(90) < 0.4, np.round(random.random(90), 1)  # with ties
    strata = [groups == name for name in ("s0", "s1", "s2")]
    won = [
        (scores[i] > scores[j]) + (scores[i] == scores[j]) / 2
        for i in np.flatnonzero(threat)
        for j in np.flatnonzero(~threat)
        if groups[i] == groups[j]
    ]
    rate, pairs = stratified_auroc(scores, threat, strata)
    assert pairs == len(won)
    assert rate.value == pytest.approx(np.mean(won))
    assert rate.ci is not None
    assert rate.ci[0] < np.mean(won) < rate.ci[1]


def test_a_score_that_only_knows_the_scanner_is_blind() -> None:
    """One scanner holds nearly all threats: over all bags the score looks excellent."""
    groups = ["knives"] * 50 + ["bottles"] * 50
    threat = np.array([True] * 45 + [False] * 5 + [True] * 5 + [False] * 45)
    knows = np.array([0.9] * 50 + [0.1] * 50)
    scored = bags(groups, threat, knows)
    assert within_groups(scored)["threat"] == 0.5
    assert stratified_auroc(knows, threat, [np.ones(100, bool)])[0].value == pytest.approx(0.9)
    assert recall_at(scored)["0.10"] == pytest.approx(0.10)


def test_recall_is_told_at_equal_false_alarms_in_each_group() -> None:
    """One scanner's scores lie higher: a threshold for all would spend every false alarm there."""
    threat = np.array(([True] * 10 + [False] * 20) * 2)
    low = np.concatenate([np.linspace(0.21, 0.30, 10), np.linspace(0.0, 0.19, 20)])
    low[10] = 0.255  # one clear bag in twenty lies above half of the threats
    scored = bags(["a"] * 30 + ["b"] * 30, threat, np.concatenate([low, low + 0.6]))
    found = recall_at(scored)
    assert found["0.05"] == pytest.approx(1.0)
    assert found["0.01"] == pytest.approx(0.5)
    one = recall_at(bags(["a"] * 30, threat[:30], low))
    assert one["0.05"] == found["0.05"]


def test_groups_without_both_kinds_of_bags_compare_nothing() -> None:
    scored = bags(["a"] * 4 + ["b"] * 4, np.array([True] * 4 + [False] * 4), np.arange(8.0))
    found = within_groups(scored)
    assert (found["threat"], found["threat_ci"], found["pairs"], found["per_class"]) == (None, None, 0, {})
    assert recall_at(scored)["0.10"] is None


def test_the_interval_of_several_seeds_holds_each_of_them() -> None:
    random = np.random.default_rng(2)
    threat = np.array([True, False] * 60)
    skill = [0.0, 0.6, 3.0]
    seeds = [bags(["a"] * 120, threat, threat * much + random.normal(size=120)) for much in skill]
    alone = [within_groups(one)["threat"] for one in seeds]
    pooled = within_groups(*seeds)
    assert pooled["threat"] == pytest.approx(np.mean(alone))
    low, high = pooled["threat_ci"]
    assert low < min(alone) + 0.02
    assert high > max(alone) - 0.02
    widths = [np.diff(within_groups(one)["threat_ci"])[0] for one in seeds]
    assert high - low > max(widths)
