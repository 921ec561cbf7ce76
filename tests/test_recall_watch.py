"""The watch over recall: a fall is told soon, and hardly ever without one."""

from __future__ import annotations

import numpy as np
import pytest

from xray_app.recall_watch import RecallWatch

YEAR = 18_250
"""Known-truth bags a year: one in twenty of 1,000 bags a day."""


def until_told(watch: RecallWatch, recall: float, seed: int, most: int) -> int | None:
    """Bags until it is told; None where it is not within `most`."""
    found = np.random.default_rng(seed).random(most) < recall
    for count, one in enumerate(found, 1):
        watch = watch.after([bool(one)])
        if watch.told:
            return count
    return None


def test_a_fall_from_095_to_080_is_told_within_a_hundred_bags_in_the_mean() -> None:
    watch = RecallWatch.over(YEAR, 0.05, held=0.95, fallen=0.80)
    after = [until_told(watch, 0.80, seed, 2000) for seed in range(200)]
    assert all(after)
    assert np.mean([one for one in after if one]) <= 110
    assert np.quantile([one for one in after if one], 0.9) <= 200


def test_a_fall_is_told_as_soon_after_a_good_year_as_before() -> None:
    begun = RecallWatch.over(YEAR, 0.05, held=0.95, fallen=0.80)
    assert 0 < begun.after([False, True, True]).sum < begun.after([False]).sum, "what was found speaks for it"
    watch = begun.after([True] * 5000)
    assert watch.sum == 0
    assert until_told(watch, 0.80, 1, 2000) == until_told(RecallWatch.over(YEAR, 0.05, 0.95, 0.80), 0.80, 1, 2000)


def test_without_a_fall_hardly_a_year_in_twenty_says_so() -> None:
    watch = RecallWatch.over(YEAR, 0.05, held=0.95, fallen=0.80)
    steps = np.where(np.random.default_rng(3).random((300, YEAR)) < 0.95, np.log(0.80 / 0.95), np.log(0.20 / 0.05))
    sums, worst = np.zeros(300), np.zeros(300)
    for step in steps.T:
        sums = np.maximum(sums + step, 0)
        worst = np.maximum(worst, sums)
    assert (worst >= watch.limit).mean() <= 0.05


def test_once_told_it_stays_told_and_counts_on() -> None:
    watch = RecallWatch.over(100, 0.05, held=0.9, fallen=0.6).after([False] * 30)
    assert watch.told
    later = watch.after([True] * 1000)
    assert later.told
    assert (later.seen, later.missed) == (1030, 30)
    with pytest.raises(ValueError, match="fallen < held"):
        RecallWatch.over(100, 0.05, held=0.8, fallen=0.9)
