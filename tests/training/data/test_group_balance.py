"""Weights under which no class tells of a group, nor a group of a class."""

from __future__ import annotations

import numpy as np
import pytest

from training.data.group_balance import group_balance


def shares(classes: list[set[str]], groups: list[str], weights: np.ndarray, label: str) -> dict[str, float]:
    held = np.array([label in one for one in classes], float)
    of = {group: np.array([one == group for one in groups]) for group in set(groups)}
    return {group: float((weights[m] * held[m]).sum() / weights[m].sum()) for group, m in of.items()}


def drawn(seed: int, rates: dict[str, dict[str, float]], count: int) -> tuple[list[set[str]], list[str]]:
    rng = np.random.default_rng(seed)
    classes, groups = [], []
    for group, of in rates.items():
        for _ in range(count):
            classes.append({label for label, rate in of.items() if rng.random() < rate})
            groups.append(group)
    return classes, groups


@pytest.mark.parametrize("seed", range(4))
def test_each_class_is_as_frequent_in_every_group(seed: int) -> None:
    rates = {
        "a": {"knife": 0.7, "can": 0.3, "gun": 0.2},
        "b": {"knife": 0.3, "can": 0.5},
        "c": {"knife": 0.5, "gun": 0.4},
    }
    classes, groups = drawn(seed, rates, 200)
    weights = group_balance(classes, groups)
    assert weights.min() > 0
    assert weights.max() <= 5
    for group in "abc":
        assert weights[[one == group for one in groups]].mean() == pytest.approx(1, abs=0.1)
    knives = shares(classes, groups, weights, "knife")
    assert max(knives.values()) - min(knives.values()) < 0.03
    cans = shares(classes, groups, weights, "can")
    assert cans["a"] == pytest.approx(cans["b"], abs=0.03)
    assert cans["c"] == 0  # none there to be shown more often


def test_a_group_that_nearly_decides_is_loosened_within_bounds() -> None:
    classes, groups = drawn(1, {"a": {"knife": 0.97}, "b": {"knife": 0.03}}, 300)
    weights = group_balance(classes, groups, most=5.0)
    after = shares(classes, groups, weights, "knife")
    assert after["a"] < 0.9
    assert after["b"] > 0.1
    assert weights.max() <= 5.0


def test_what_is_everywhere_alike_stays_as_it_is() -> None:
    classes = [{"knife"}, set(), {"knife"}, set()]
    assert group_balance(classes, ["a", "a", "b", "b"]).tolist() == pytest.approx([1, 1, 1, 1])
    assert group_balance([{"knife"}, set()], ["a", "b"]).tolist() == [1, 1]
    assert group_balance([], []).tolist() == []
