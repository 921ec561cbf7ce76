"""Repeat factor sampling: samples of rare classes are shown more often (Gupta et al. 2019, "LVIS", section 4.2)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from collections.abc import Set as AbstractSet


def repeat_factors(classes: Sequence[AbstractSet[Hashable]], rare: float) -> list[float]:
    """How often each of N samples is to be shown in an epoch: 1, or more where it holds a rare class.

    It is the largest of sqrt(`rare` / share of the class) over the sample's classes. The square root is a compromise:
    in full proportion, the few samples of the rarest class would be learned by heart.

    Args:
        classes: of each sample, those it holds.
        rare: the share of samples below which a class is rare; 0 repeats none.
    """
    holding = Counter(label for labels in classes for label in labels)
    factor = {label: math.sqrt(rare * len(classes) / count) for label, count in holding.items()}
    return [max([1.0, *(factor[label] for label in labels)]) for labels in classes]
