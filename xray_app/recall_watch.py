"""A watch over the recall of validated models: a sequential test that tells when it has fallen, with a stated error.

Page's cumulative sum of log-likelihood ratios (E. Page, "Continuous inspection schemes", Biometrika 41, 1954): each bag
of known truth that holds a threat was found or missed, and what was missed weighs for the worse recall. Started anew
at every bag the ratio is a supermartingale, so that by Ville's inequality and a union over the starts the chance of a
false word within `n` bags is at most n·exp(-limit).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class RecallWatch:
    """What the watch knows.

    Attributes:
        held: recall that was validated, 0 to 1.
        fallen: recall at which validation has to go, below `held`.
        limit: sum from which on it is told.
        sum: as it stands; 0 is the best it can be.
        seen: bags of known truth so far.
        missed: of them.
    """

    held: float
    fallen: float
    limit: float
    sum: float = 0.0
    seen: int = 0
    missed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.fallen < self.held < 1:
            raise ValueError("a watch needs 0 < fallen < held < 1")

    @classmethod
    def over(cls, bags: int, error: float, held: float, fallen: float) -> RecallWatch:
        """A watch whose chance of a false word within `bags` is at most `error`, while recall is `held` or better.

        Args:
            bags: of known truth with a threat, such as a year's test images.
            error: 0 to 1.
            held: recall that was validated.
            fallen: recall that is to be told soon.
        """
        return cls(held, fallen, math.log(bags / error))

    def resumed(self, total: float) -> RecallWatch:
        """The watch as it was left, at this sum."""
        return replace(self, sum=total)

    def after(self, found: Iterable[bool]) -> RecallWatch:
        """After further threat bags, in their order: found or missed."""
        total, seen, missed = self.sum, self.seen, self.missed
        hit = math.log(self.fallen / self.held)
        miss = math.log((1 - self.fallen) / (1 - self.held))
        for one in found:
            seen, missed = seen + 1, missed + (not one)
            if total < self.limit:  # once told it stays told
                total = max(total + (hit if one else miss), 0.0)
        return RecallWatch(self.held, self.fallen, self.limit, total, seen, missed)

    @property
    def told(self) -> bool:
        """Recall has fallen."""
        return self.sum >= self.limit
