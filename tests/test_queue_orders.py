"""The orders that `tests.benchmarks.queue` compares, and what it says an order saves."""

from __future__ import annotations

import random

import numpy as np
import pytest

from tests.benchmarks.queue import Left, by_diversity, by_doubt, by_queue, saved
from tests.benchmarks.simulator import told_apart


def left(points: list[float], angles: list[float], labelled: list[float]) -> Left:
    def at(all_angles: list[float]) -> np.ndarray:
        return np.array([(np.cos(a), np.sin(a)) for a in all_angles], np.float32).reshape(-1, 2)

    return Left(np.array(points), np.array(points[::-1]), at(angles), at(labelled))


def test_the_queue_takes_most_points_and_doubt_the_most_doubtful() -> None:
    scans = left([0.5, 3, 1, 2], [0, 0, 0, 0], [])
    assert by_queue(scans, 2, random.Random(0)) == [1, 3]
    assert by_doubt(scans, 2, random.Random(0)) == [2, 0]


def test_ties_are_broken_by_lot() -> None:
    scans = left([1.0] * 20, [0.0] * 20, [])
    drawn = {place for seed in range(40) for place in by_queue(scans, 1, random.Random(seed))}
    assert len(drawn) > 10


def test_a_diverse_batch_leaves_out_what_is_like_the_labelled_or_the_chosen() -> None:
    # Of the six best two are twins, one is like what is labelled; the seventh has too few points to be looked at.
    scans = left([9, 8, 7, 6, 5, 4, 1], [0.0, 0.01, 1.5, 3.0, 4.5, 4.51, 2.2], [3.0])
    chosen = by_diversity(scans, 2, random.Random(0))
    assert len(set(chosen)) == 2
    assert 3 not in chosen
    assert 6 not in chosen
    assert len({0, 1} & set(chosen)) <= 1


def test_a_diverse_batch_from_nothing_labelled_holds_no_scan_twice() -> None:
    scans = left([1.0] * 9, [0.7 * i for i in range(9)], [])
    assert len(set(by_diversity(scans, 3, random.Random(1)))) == 3


@pytest.mark.parametrize(
    ("other", "share"),
    [
        ([(0, 0.5), (50, 0.6), (100, 0.7)], 0.5),  # the lot's 0.6 at 50 instead of 100
        ([(0, 0.5), (50, 0.55), (100, 0.6)], 0.0),
        ([(0, 0.5), (50, 0.51), (100, 0.52)], None),  # never there
        ([(0, 0.5), (50, 0.7), (100, 0.8)], 0.75),
    ],
)
def test_what_an_order_saves(other: list[tuple[float, float]], share: float | None) -> None:
    lot = [(0, 0.5), (50, 0.57), (100, 0.6)]
    assert saved(lot, other) == (share if share is None else pytest.approx(share))


def test_two_kinds_are_told_apart_and_one_is_not() -> None:
    rng = np.random.default_rng(0)
    one, same, other = (rng.normal(shift, 1, (120, 5)) for shift in (0, 0, 1.5))
    assert told_apart(one, other) > 0.95
    assert 0.35 < told_apart(one, same) < 0.65
