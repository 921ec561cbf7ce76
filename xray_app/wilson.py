"""Wilson's score interval of a binomial rate."""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=4096)
def wilson_interval(hits: int, n: int) -> tuple[float, float]:
    """The two-sided 95 % interval (low, high), 0 to 1, of `hits` in `n` trials.

    It does not collapse where all or none hit (E. B. Wilson, "Probable inference, the law of succession, and
    statistical inference", JASA 22, 1927).

    Raises:
        ValueError: `n` is below 1, or `hits` is not between 0 and `n`.
    """
    from scipy.stats import binomtest  # takes a second to import: not at the desk's start

    interval = binomtest(hits, n).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)
