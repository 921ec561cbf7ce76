"""The threshold that finds a wanted share of threats, 95 % sure: the one promise that is made of a threshold.

It is an order statistic of held-out threat bags' scores: with `k` of `n` of them below it, the share of new threats at
or above it is at least the wanted one, 95 % sure, if that few misses are that improbable otherwise (an exact binomial
tolerance bound: S. Wilks, "Determination of sample sizes for setting tolerance limits", 1941).
"""

from __future__ import annotations

import numpy as np
from scipy.stats import binom

from training.evaluation.bag_table import Bools
from training.evaluation.bootstrap import Floats

LEVEL = 0.95


def misses_allowed(threats: int, recall: float) -> int | None:
    """How many of the threat bags may lie below the threshold; None where there are too few to promise it at all.

    Args:
        threats: held-out threat bags.
        recall: share of new threats to find, 0 to 1, both ends excluded.
    """
    misses = int(binom.ppf(1 - LEVEL, threats, 1 - recall))
    while misses >= 0 and binom.cdf(misses, threats, 1 - recall) > 1 - LEVEL:
        misses -= 1
    return misses if misses >= 0 else None


def threats_needed(recall: float) -> int:
    """Threat bags with which a recall can be promised where none of them is missed: 29 for 0.90, 59 for 0.95."""
    return int(np.ceil(np.log(1 - LEVEL) / np.log(recall) - 1e-9))


def threshold_at(scores: Floats, threat: Bools, recall: float) -> float | None:
    """The highest threshold at or above which at least `recall` of new threats lie, 95 % sure.

    Args:
        scores, threat: (B,) of held-out bags.
        recall: as in `misses_allowed`.
    """
    found = np.sort(scores[threat])
    misses = misses_allowed(len(found), recall)
    return None if misses is None else float(found[misses])
