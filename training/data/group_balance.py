"""Group balance: samples are weighted so that every class is as frequent in each group, and the group tells nothing.

Iterative proportional fitting ("raking", Deming and Stephan 1940) on the margins class x group.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from collections.abc import Set as AbstractSet

import numpy as np
from numpy.typing import NDArray

MOST = 5.0
"""No sample weighs more than this, or less than one over it: the few that go against their group would otherwise be
learned by heart."""
_ROUNDS = 50


def group_balance(
    classes: Sequence[AbstractSet[Hashable]], groups: Sequence[Hashable], most: float = MOST
) -> NDArray[np.float64]:
    """Weights of N samples, their mean in each group about 1.

    A class that all samples of a group hold, or none, cannot be balanced there and stays as it is.

    Args:
        classes: of each sample, those it holds.
        groups: of each sample, its group.
        most: bounds of a weight, from one over it.
    """
    labels = sorted({label for held in classes for label in held}, key=repr)
    holds = np.array([[label in held for label in labels] for held in classes], bool).reshape(len(classes), len(labels))
    members = [np.array([group == one for one in groups]) for group in sorted(set(groups), key=repr)]
    weights = np.ones(len(classes))
    # What each class's share is to be everywhere: the mean over groups that have both kinds of samples.
    mixed = np.array([[0 < holds[of, c].mean() < 1 for c in range(len(labels))] for of in members], bool)
    for _ in range(_ROUNDS):
        share = np.array([(weights[of, None] * holds[of]).sum(0) / weights[of].sum() for of in members])
        for place, of in enumerate(members):
            for c in np.flatnonzero(mixed[place]):
                wanted = share[mixed[:, c], c].mean()
                now = (weights[of] * holds[of, c]).sum() / weights[of].sum()
                odds = wanted / (1 - wanted) * (1 - now) / now
                weights[of & holds[:, c]] *= np.sqrt(odds)
                weights[of & ~holds[:, c]] /= np.sqrt(odds)
                weights[of] /= weights[of].mean()
        weights = np.clip(weights, 1 / most, most)
    return weights
