"""Two models on the same bags: how far one may be behind the other, at an operating point and at equal false alarms."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from training.evaluation.bag_table import BagTable, Bools
from training.evaluation.bootstrap import Floats, draws_of

Z95 = 1.6448536269514722
"""One-sided 95 % quantile of the normal distribution."""
Z80 = 0.8416212335729143
"""Its 80 % quantile."""
PLAIN = 0.025
"""A loss is plain where two equally good models would show one as large less often than this: the gate has several
checks, and together they are to refuse an equal candidate seldom."""
TINY = 1e-9
"""Less than any bag counts."""
MOST_BAGS = 100_000
"""No hold-out will ever be as large; more than this is not asked for."""


@dataclass(frozen=True)
class Difference:
    """A rate of the second model minus that of the first, on the same bags.

    Attributes:
        low, estimate, high: -1 to 1; the outer two are one-sided 95 % bounds.
        lost, gained: bags that only the first, and only the second, gets right.
        count: all bags, agreeing ones included.
    """

    low: float
    estimate: float
    high: float
    lost: int
    gained: int
    count: int

    @classmethod
    def of(cls, first: Bools, second: Bools) -> Difference:
        """Of what each gets right, (B,) of the same bags; at least one bag."""
        lost, gained, count = int((first & ~second).sum()), int((~first & second).sum()), len(first)
        low, high = paired_lower_bound(gained, lost, count), -paired_lower_bound(lost, gained, count)
        return cls(low, (gained - lost) / count, high, lost, gained, count)

    @property
    def plain_loss(self) -> bool:
        """Worse by an exact test, whose error holds at any number of bags."""
        return sign_test(self.lost, self.gained) < PLAIN

    @property
    def plain_gain(self) -> bool:
        return sign_test(self.gained, self.lost) < PLAIN


def sign_test(lost: int, gained: int) -> float:
    """Exact one-sided chance of `lost` or more losses among the disagreements, were both equally likely.

    McNemar's exact test on discordant pairs.
    """
    discordant = lost + gained
    return math.fsum(math.comb(discordant, k) for k in range(lost, discordant + 1)) / 2**discordant


def paired_lower_bound(gained: float, lost: float, count: float, z: float = Z95) -> float:
    """Lower bound of the difference of two proportions on the same `count` bags (score interval).

    T. Tango, "Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design", Statistics in Medicine 17 (1998) 891-908. Unlike the bootstrap it does not
    collapse to zero width where the models agree on every bag.

    Args:
        gained: bags only the second model gets right.
        lost: bags only the first gets right.
        count: all bags, agreeing ones included; at least 1.
        z: normal quantile of the one-sided level.
    """

    def statistic(difference: float) -> float:
        # The nuisance proportion's maximum-likelihood estimate under this difference (Tango's eq. 8).
        b = -gained - lost + (2 * count - gained + lost) * difference
        c = -lost * difference * (1 - difference)
        lost_share = (math.sqrt(max(b * b - 8 * count * c, 0.0)) - b) / (4 * count)
        variance = count * (2 * lost_share + difference * (1 - difference))
        excess = gained - lost - count * difference
        return excess / math.sqrt(variance) if variance > 1e-15 else math.copysign(math.inf, excess)

    low, high = -1.0, (gained - lost) / count
    for _ in range(60):
        middle = (low + high) / 2
        if statistic(middle) > z:
            low = middle
        else:
            high = middle
    return high


def bags_to_decide(gained: int, lost: int, count: int, margin: float) -> int | None:
    """How many bags would show the second model to be within `margin`, with a chance of four in five.

    If the bags to come are disagreed on as often as those seen, and as often either way: what was lost and gained so
    far is kept, and the lower bound has to clear the margin. None where that takes more than `MOST_BAGS`.
    """
    rate = (gained + lost) / count

    def decides(total: int) -> bool:
        more = rate * (total - count)
        unlucky = min(Z80 * math.sqrt(more), more)  # of the bags to come, lost minus gained
        return paired_lower_bound(gained + (more - unlucky) / 2, lost + (more + unlucky) / 2, total) > -margin

    if decides(count):
        return count
    low, high = count, 2 * count
    while not decides(high):
        if high > MOST_BAGS:
            return None
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return high if high <= MOST_BAGS else None


def at_equal_alarms(active: BagTable, candidate: BagTable) -> Difference:
    """Threat bags found, with the threshold of the model that flags fewer clear bags lowered until both flag as many.

    Lowered, not raised: a model that gives no probabilities has nothing above its threshold to tell bags apart by.
    Where scores tie it is by lot, so that a bag can be found in part. The threshold comes from the bags, so the bounds
    are the outer ones of Tango's at that threshold and of a bootstrap in which every resample sets it anew.

    Args:
        active, candidate: of the same bags, at least one of them a threat and one clear.
    """
    threat, clear = active.threat, active.clear
    once, draws = np.ones((1, int(clear.sum()))), draws_of(len(active.bags))
    first, second = (_in_part(table, *_level(table, (active, candidate), once)) for table in (active, candidate))
    lost, gained, count = float((first * (1 - second)).sum()), float((second * (1 - first)).sum()), len(first)
    of_threats, of_clear = draws[:, threat], draws[:, clear]
    found = [_found(table, *_level(table, (active, candidate), of_clear), of_threats) for table in (active, candidate)]
    total = of_threats.sum(1)
    low, high = np.percentile((found[1] - found[0])[total > 0] / total[total > 0], [5, 95])
    return Difference(
        min(paired_lower_bound(gained, lost, count), float(low)),
        (gained - lost) / count,
        max(-paired_lower_bound(lost, gained, count), float(high)),
        round(lost),
        round(gained),
        count,
    )


def _level(table: BagTable, pair: tuple[BagTable, BagTable], weights: Floats) -> tuple[Floats, Floats]:
    """(draws,) the threshold at which a model flags as many clear bags as that of the pair that flags more, and the
    share of the bags just at it that are flagged; NaN where it is the model's own threshold.

    Args:
        table: one of the pair.
        pair: both, of the same bags.
        weights: (draws, C) how often each clear bag is drawn.
    """
    alarms = np.maximum(*(weights @ one.flagged[one.clear] for one in pair))
    ranked, summed = _ranked(table.threat_score[table.clear], weights)
    level = -ranked[(summed[:, 1:] >= alarms[:, None] - TINY).argmax(1)]
    above, tied = _at(level, ranked, summed)
    own = weights @ table.flagged[table.clear] > alarms - TINY
    return np.where(own, np.nan, level), np.where(own, np.nan, (alarms - above) / np.maximum(tied, TINY))


def _ranked(scores: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """(N,) scores from the highest, negated, and (draws, 1 + N) weight of the first none, one, two … of those bags."""
    order = np.argsort(-scores)
    return -scores[order], np.hstack([np.zeros((len(weights), 1)), weights[:, order].cumsum(1)])


def _at(level: Floats, ranked: Floats, summed: Floats) -> tuple[Floats, Floats]:
    """(draws,) weight of the bags that score above each level, and of those just at it."""
    row = np.arange(len(level))
    above, upto = (summed[row, np.searchsorted(ranked, -level, side)] for side in ("left", "right"))
    return above, upto - above


def _found(table: BagTable, level: Floats, share: Floats, weights: Floats) -> Floats:
    """(draws,) threat bags found at these thresholds; `weights` (draws, T) says how often each is drawn."""
    above, tied = _at(np.nan_to_num(level), *_ranked(table.threat_score[table.threat], weights))
    return np.where(np.isnan(level), weights @ table.flagged[table.threat], above + share * tied)


def _in_part(table: BagTable, level: Floats, share: Floats) -> Floats:
    """(T,) how much of each threat bag is found at the one threshold given."""
    scores = table.threat_score[table.threat]
    lowered = (scores > level[0]) + (scores == level[0]) * share[0]
    return np.where(np.isnan(level[0]), table.flagged[table.threat], lowered)
