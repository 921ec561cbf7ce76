"""Rates over bags with bootstrap intervals, by resampling whole bags (Efron & Tibshirani 1993)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xray_app.wilson import wilson_interval

RESAMPLES = 1000
BOOTSTRAP_SEED = 0
BINS = 10
"""Equal-width confidence bins of the expected calibration error."""

Floats = NDArray[np.float64]
Parts = tuple[NDArray[Any], NDArray[Any]]
"""Numerator and denominator of a rate, each (B,)."""


@dataclass(frozen=True)
class Rate:
    """A rate with its 95 % interval; both None where its denominator is zero."""

    value: float | None
    ci: tuple[float, float] | None


def rates(**named: Rate) -> dict[str, Any]:
    """Each rate under its name, and its interval under the name with `_ci`."""
    out: dict[str, Any] = {}
    for name, rate in named.items():
        out[name] = rate.value
        out[f"{name}_ci"] = None if rate.ci is None else list(rate.ci)
    return out


def ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> Rate:
    """Sum over bags by sum over bags, both (B,), with a bootstrap interval over bags; see `ratio_over_seeds`."""
    return ratio_over_seeds([(numerator, denominator)])


def ratio_over_seeds(seeds: Sequence[Parts]) -> Rate:
    """Sum over bags and seeds by sum over both, with its interval over both.

    The interval is the percentile bootstrap (Efron & Tibshirani 1993, ch. 13), 1000 resamples of whole bags and, where
    there are several, of seeds, seeded; resamples whose denominator is zero say nothing and are left out. At 0 and 1,
    where every resample agrees, it is Wilson's over the bags that count.

    Args:
        seeds: of each seed, numerator and denominator of the same B bags, (B,) each.
    """
    below = float(sum(parts[1].sum() for parts in seeds))
    if below == 0:
        return Rate(None, None)
    value = float(sum(parts[0].sum() for parts in seeds)) / below
    above, under = _over_seeds(seeds, stream=0)
    usable = under > 0
    low, high = np.percentile(above[usable] / under[usable], [2.5, 97.5])
    if value in (0.0, 1.0):
        counted = int(np.any([parts[1] > 0 for parts in seeds], axis=0).sum())
        exact = wilson_interval(counted if value else 0, counted)
        low, high = min(low, exact[0]), max(high, exact[1])
    return Rate(value, (float(low), float(high)))


def _over_seeds(seeds: Sequence[Parts], stream: int) -> tuple[Floats, Floats]:
    """(RESAMPLES,) sums of numerators and of denominators, over resampled bags and resampled seeds.

    Args:
        seeds: of each seed, numerator and denominator, (B,) each.
        stream: resamples with another one take other seeds of the same bags.
    """
    above, under = (np.stack([_resampled(parts[side]) for parts in seeds], axis=1) for side in (0, 1))
    drawn = seed_draws_of(len(seeds), stream)
    return (drawn * above).sum(1), (drawn * under).sum(1)


@cache
def seed_draws_of(count: int, stream: int = 0) -> Floats:
    """How often each of `count` seeds of a model is drawn in each resample: (RESAMPLES, count), the same every time.

    Two models have trained with seeds of their own: each takes a `stream` of its own.
    """
    random = np.random.default_rng((BOOTSTRAP_SEED, count, stream))
    return random.multinomial(count, np.full(count, 1 / count), RESAMPLES).astype(np.float64)


def calibration_error(calibration: Floats) -> Rate:
    """Expected calibration error (Naeini et al. 2015) with its interval over bags.

    Args:
        calibration: (B, BINS, 3) of each bag: how many fell into the bin, their summed confidence, how many
            were right.
    """
    said = float(calibration[:, :, 0].sum())
    if said == 0:
        return Rate(None, None)
    gap = np.abs(calibration[:, :, 1].sum(0) - calibration[:, :, 2].sum(0)).sum() / said
    counts, sums, right = (_resampled(calibration[:, :, part]) for part in range(3))
    total = counts.sum(1)
    usable = total > 0
    gaps = np.abs(sums - right).sum(1)[usable] / total[usable]
    low, high = np.percentile(gaps, [2.5, 97.5])
    return Rate(float(gap), (float(low), float(high)))


def reliability(calibration: Floats) -> list[dict[str, Any]]:
    """What was promised and what came true in each bin that holds anything; (B, BINS, 3) in.

    `rate_ci` is Wilson's 95 % interval, which does not collapse where all or none came true.
    """
    return [
        {
            "count": int(count),
            "promised": promised / count,
            "rate": right / count,
            "rate_ci": list(wilson_interval(int(right), int(count))),
        }
        for count, promised, right in calibration.sum(0).tolist()
        if count
    ]


@cache
def draws_of(count: int) -> Floats:
    """How often each of `count` rows is drawn in each resample: (RESAMPLES, count), the same every time.

    Numerator and denominator, and both models of a pair, so see the same bags.
    """
    draws = np.random.default_rng(BOOTSTRAP_SEED).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    return draws.astype(np.float64)  # a product of floats is many times as fast as one of integers


def _resampled(values: NDArray[Any]) -> Floats:
    """Sums of (B,) or (B, K) over RESAMPLES bootstrap samples of the rows: (RESAMPLES,) or (RESAMPLES, K)."""
    return np.asarray(draws_of(len(values)) @ values.astype(np.float64))


def bootstrap_difference(first: Parts, second: Parts, level: float = 0.95) -> float:
    """One-sided lower bound of (second rate − first rate) over the same bags, by paired bootstrap.

    Args:
        first: numerator and denominator, each (B,), of the model to compare with.
        second: the same of the other model, rows in the same order.
        level: confidence of the bound.
    """
    differences = _differences([first], [second])
    return float(np.percentile(differences, 100 * (1 - level))) if differences.size else float("-inf")


def paired_difference(first: Parts, second: Parts) -> Rate:
    """(second rate − first rate) over the same bags, with its two-sided 95 % interval by paired bootstrap."""
    return difference_over_seeds([first], [second])


def difference_over_seeds(first: Sequence[Parts], second: Sequence[Parts]) -> Rate:
    """(second rate − first rate), both pooled over their own seeds: resamples take the same bags and other seeds."""
    above, under = ([float(sum(parts[side].sum() for parts in seeds)) for seeds in (first, second)] for side in (0, 1))
    if not all(under):
        return Rate(None, None)
    differences = _differences(first, second)
    low, high = np.percentile(differences, [2.5, 97.5])
    return Rate(above[1] / under[1] - above[0] / under[0], (float(low), float(high)))


def _differences(first: Sequence[Parts], second: Sequence[Parts]) -> Floats:
    """(second rate − first rate) in every resample in which both are defined."""
    (above_a, under_a), (above_b, under_b) = _over_seeds(first, stream=0), _over_seeds(second, stream=1)
    usable = (under_a > 0) & (under_b > 0)
    return np.asarray(above_b[usable] / under_b[usable] - above_a[usable] / under_a[usable])
