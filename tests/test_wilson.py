"""Wilson's interval against values from the literature, and at both ends."""

from __future__ import annotations

import pytest

from xray_app.wilson import wilson_interval


# 81 of 263, 15 of 148, 0 of 20 and 1 of 29: Newcombe, "Two-sided confidence intervals for the single proportion",
# Statistics in Medicine 17 (1998), table I, score method without continuity correction. The rest: R's binom.wilson.
@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (0, 1, 0.0, 0.7935),
        (1, 1, 0.2065, 1.0),
    ],
)
def test_textbook_values(hits: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(hits, n) == pytest.approx((low, high), abs=5e-5)


def test_the_ends_are_exactly_0_and_1() -> None:
    assert wilson_interval(0, 7)[0] == 0.0
    assert wilson_interval(7, 7)[1] == 1.0


@pytest.mark.parametrize(("hits", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_counts_that_cannot_be(hits: int, n: int) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - SciPy's own words
        wilson_interval(hits, n)
