"""What a cell of the experiment learns from and is judged on: the set's own split, a fold, or a left-out group."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

from training.data.groups import leave_out
from training.data.near_equal_bags import like_bags
from training.data.samples import Sample
from training.experiment.cells import FOLDS, Cell


@dataclass(frozen=True)
class Scans:
    """What the experiment is about.

    Attributes:
        train: the training part; stopping and every choice use a share of it.
        val: reported on, nothing else.
        clear: said to hold no prohibited item, asked about the same classes; for false alarms alone.
    """

    train: list[Sample]
    val: list[Sample]
    clear: list[Sample]

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups, of which each can be left out; none where there is one alone."""
        names = sorted({sample.group for sample in (*self.train, *self.val) if sample.group is not None})
        return tuple(names) if len(names) > 1 else ()

    @cached_property
    def fold_of(self) -> dict[str, int]:
        """The fold of each training bag, 1 to FOLDS - 1, by a hash; near-equal bags are in one. `val` is fold 0."""
        like = like_bags(self.train)

        def position(bag: str) -> bytes:
            return hashlib.sha256(f"fold\0{bag}".encode()).digest()

        leaders = sorted({like.get(sample.bag_id, sample.bag_id) for sample in self.train}, key=position)
        fold = {bag: 1 + place % (FOLDS - 1) for place, bag in enumerate(leaders)}
        return {sample.bag_id: fold[like.get(sample.bag_id, sample.bag_id)] for sample in self.train}

    def of(self, cell: Cell) -> Scans:
        """The part that a cell learns from, and the part it is judged on."""
        if cell.left_out is not None:
            train, val = leave_out([*self.train, *self.val], cell.left_out)
            return Scans(train, val, self.clear)
        if cell.fold:
            own = [sample for sample in self.train if self.fold_of[sample.bag_id] == cell.fold]
            others = [sample for sample in self.train if self.fold_of[sample.bag_id] != cell.fold]
            return Scans([*others, *self.val], own, self.clear)
        return self
