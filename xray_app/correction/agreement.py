"""How far two people agree about the same scans: Cohen's kappa per class, and the overlap of their boxes.

Kappa is (observed - expected) / (1 - expected): agreement beyond what two people would reach by chance who
name the class as often as these two do (Cohen 1960). 1 is perfect, 0 is chance; it is not defined where chance
alone explains everything, as when neither ever names the class.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from xray_app.overlap import iou
from xray_app.types import Box, Correction

SAME_OBJECT = 0.5
"""Two boxes of one label are of one object from this overlap on, as in mAP50."""


@dataclass(frozen=True)
class ClassAgreement:
    """One class over all scans in which both people looked for it."""

    label: str
    both: int
    only_first: int
    only_second: int
    neither: int
    kappa: float | None

    @property
    def n(self) -> int:
        return self.both + self.only_first + self.only_second + self.neither


@dataclass(frozen=True)
class PairAgreement:
    """Two people over the scans both corrected.

    Attributes:
        scans: how many scans both corrected.
        classes: those either named at least once, the most often named first.
        kappa: over all classes pooled, None where it is not defined.
        boxes_matched: share of all boxes that have a partner of the same label and enough overlap.
        mean_iou: mean overlap of the matched boxes.
    """

    first: str
    second: str
    scans: int
    classes: tuple[ClassAgreement, ...]
    kappa: float | None
    boxes_matched: float | None
    mean_iou: float | None


def cohens_kappa(both: int, only_first: int, only_second: int, neither: int) -> float | None:
    """Cohen's kappa of a two by two table; None where it is not defined."""
    n = both + only_first + only_second + neither
    if n == 0:
        return None
    observed = (both + neither) / n
    first, second = (both + only_first) / n, (both + only_second) / n
    expected = first * second + (1 - first) * (1 - second)
    return None if expected == 1 else (observed - expected) / (1 - expected)


def matched(first: Iterable[Box], second: Iterable[Box]) -> list[float]:
    """The overlaps of boxes paired one to one within their label, the greatest overlap first, from 0.5 on."""
    ours, theirs = list(first), list(second)
    shared = iou([box.xyxy for box in ours], [box.xyxy for box in theirs]).tolist()
    candidates = sorted(
        ((shared[i][j], i, j) for i, a in enumerate(ours) for j, b in enumerate(theirs) if a.label == b.label),
        key=lambda one: (-one[0], one[1], one[2]),
    )
    taken_first: set[int] = set()
    taken_second: set[int] = set()
    overlaps = []
    for overlap, i, j in candidates:
        if overlap < SAME_OBJECT:
            break
        if i not in taken_first and j not in taken_second:
            taken_first.add(i)
            taken_second.add(j)
            overlaps.append(overlap)
    return overlaps


def agreement(first: str, second: str, pairs: Sequence[tuple[Correction, Correction]]) -> PairAgreement:
    """What two people's corrections of the same scans have in common.

    Args:
        first, second: their names.
        pairs: of each scan, the first person's correction and the second's.
    """
    named = {item.label for pair in pairs for correction in pair for item in correction.items}
    classes = [_of_class(label, pairs) for label in sorted(named)]
    classes.sort(key=lambda one: -(one.both + one.only_first + one.only_second))
    overlaps: list[float] = []
    boxes = 0
    for one, other in pairs:
        in_both = [
            [box for box in correction.boxes if _looked_for(box.label, one, other)] for correction in (one, other)
        ]
        overlaps += matched(*in_both)
        boxes += len(in_both[0]) + len(in_both[1])
    return PairAgreement(
        first,
        second,
        len(pairs),
        tuple(classes),
        cohens_kappa(
            sum(one.both for one in classes),
            sum(one.only_first for one in classes),
            sum(one.only_second for one in classes),
            sum(one.neither for one in classes),
        ),
        2 * len(overlaps) / boxes if boxes else None,
        sum(overlaps) / len(overlaps) if overlaps else None,
    )


def _of_class(label: str, pairs: Sequence[tuple[Correction, Correction]]) -> ClassAgreement:
    table = {(True, True): 0, (True, False): 0, (False, True): 0, (False, False): 0}
    for one, other in pairs:
        if _looked_for(label, one, other):
            table[_names(one, label), _names(other, label)] += 1
    counts = (table[True, True], table[True, False], table[False, True], table[False, False])
    return ClassAgreement(label, *counts, cohens_kappa(*counts))


def _names(correction: Correction, label: str) -> bool:
    return any(item.label == label for item in correction.items)


def _looked_for(label: str, *by: Correction) -> bool:
    return all(one.labelled_classes is None or label in one.labelled_classes for one in by)
