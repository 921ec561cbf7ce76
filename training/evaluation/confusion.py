"""A confusion matrix of item lists: which class is taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.evaluation.bag_table import ScanOutcome
from training.evaluation.bootstrap import Floats
from xray_app.taxonomy import Taxonomy

NOTHING = "nothing"
"""The last row, for what was said and is not there, and the last column, for what is there and was not said."""


@dataclass(frozen=True, eq=False)
class Confusion:
    """Items there (rows) by what they were called (columns); `labels` names both, the last is `NOTHING`.

    A list does not say which of its entries stands for which item. Of each scan, what agrees is counted on the
    diagonal; the items missed and the items wrongly said are then paired off, each missed one spread evenly over
    the wrong ones, and what is left over goes to `NOTHING`. (As in M. Heydarian et al., "MLCM: Multi-label
    confusion matrix", IEEE Access 2022.) A row adds up to the items there, a column to the items said.
    """

    labels: tuple[str, ...]
    table: Floats

    @classmethod
    def of(cls, outcomes: Sequence[ScanOutcome], taxonomy: Taxonomy) -> Confusion:
        """Over the labels that were there or were said, in rank order."""
        occurring = {label for outcome in outcomes for label in (*outcome.true, *outcome.said)}
        labels = (*sorted(occurring, key=taxonomy.rank), NOTHING)
        place = {label: index for index, label in enumerate(labels)}
        table = np.zeros((len(labels), len(labels)))
        for outcome in outcomes:
            missed, wrong = np.zeros(len(labels)), np.zeros(len(labels))
            for label in {*outcome.true, *outcome.said}:
                there, said, at = outcome.true.get(label, 0), outcome.said.get(label, 0), place[label]
                table[at, at] += min(there, said)
                missed[at], wrong[at] = max(there - said, 0), max(said - there, 0)
            lost, extra = missed.sum(), wrong.sum()
            if lost and extra:
                table += np.outer(missed, wrong) / max(lost, extra)
            if lost > extra:
                table[:, -1] += missed * (1 - extra / lost)
            elif extra > lost:
                table[-1] += wrong * (1 - lost / extra)
        return cls(labels, table)

    def to_json(self) -> dict[str, Any]:
        return {"labels": list(self.labels), "rows": np.round(self.table, 3).tolist()}
