"""Mean average precision of boxes, in numpy: COCO's definition, without its library."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from training.data.samples import Sample, SampleBox
from xray_app.overlap import iou
from xray_app.taxonomy import Taxonomy

IOU_STEPS = np.linspace(0.5, 0.95, 10)
RECALL_POINTS = np.linspace(0, 1, 101)
MOST_BOXES = 100
"""Per scan and class, the most confident: COCO's own limit."""


class Predicted(Protocol):
    """A box with a confidence, such as `Detection` or a model's `Box`."""

    @property
    def label(self) -> str: ...
    @property
    def confidence(self) -> float: ...
    @property
    def xyxy(self) -> tuple[float, float, float, float]: ...


class Labelled(Protocol):
    """A true box, such as `SampleBox`."""

    @property
    def label(self) -> str: ...
    @property
    def xyxy(self) -> tuple[float, float, float, float]: ...


Found = TypeVar("Found", bound=Predicted)


def in_labelled_classes(
    samples: Sequence[Sample], predictions: Sequence[Sequence[Found]]
) -> tuple[list[list[Found]], list[list[SampleBox]]]:
    """Predictions and true boxes of each scan without the classes nobody looked for in it."""
    kept: list[list[Found]] = []
    truths: list[list[SampleBox]] = []
    for sample, found in zip(samples, predictions, strict=True):
        scope = None if sample.labelled_classes is None else set(sample.labelled_classes)
        kept.append([box for box in found if scope is None or box.label in scope])
        truths.append([box for box in sample.boxes if scope is None or box.label in scope])
    return kept, truths


def map50(predictions: Sequence[Sequence[Predicted]], truths: Sequence[Sequence[Labelled]]) -> tuple[float, float]:
    """mAP at IoU 0.5, and its mean over 0.5, 0.55 … 0.95.

    The mean is over the classes that occur in `truths`; a scan's prediction of a class that occurs nowhere
    costs nothing, as with COCO. Predictions should go down to a confidence of about 0.01.

    Args:
        predictions: boxes of each scan.
        truths: true boxes of each scan, in the same order.

    Returns:
        (mAP50, mAP50-95), both 0 to 1; zeros where there is no true box at all.
    """
    per_class = average_precision(predictions, truths)
    if not per_class:
        return 0.0, 0.0
    table = np.stack(list(per_class.values()))
    return float(table[:, 0].mean()), float(table.mean())


def average_precision(
    predictions: Sequence[Sequence[Predicted]], truths: Sequence[Sequence[Labelled]]
) -> dict[str, NDArray[np.float64]]:
    """Average precision of each class at the ten overlaps of `IOU_STEPS`: arrays of shape (10,)."""
    labels = sorted({box.label for scan in truths for box in scan})
    return {label: _of_class(label, predictions, truths) for label in labels}


def _of_class(
    label: str, predictions: Sequence[Sequence[Predicted]], truths: Sequence[Sequence[Labelled]]
) -> NDArray[np.float64]:
    confidences: list[NDArray[np.float32]] = []
    hits: list[NDArray[np.bool_]] = []  # (10, boxes) of each scan
    positives = 0
    for predicted, true in zip(predictions, truths, strict=True):
        wanted = np.array([box.xyxy for box in true if box.label == label], np.float32).reshape(-1, 4)
        positives += len(wanted)
        mine = sorted((box for box in predicted if box.label == label), key=lambda box: -box.confidence)
        mine = mine[:MOST_BOXES]
        if mine:
            found = np.array([box.xyxy for box in mine], np.float32).reshape(-1, 4)
            hits.append(_match(iou(found, wanted)))
            confidences.append(np.array([box.confidence for box in mine], np.float32))
    if not confidences:
        return np.zeros(len(IOU_STEPS))
    order = np.argsort(-np.concatenate(confidences), kind="stable")
    right = np.concatenate(hits, axis=1)[:, order]
    true_positives = right.cumsum(axis=1)
    recall = true_positives / positives
    precision = true_positives / np.arange(1, right.shape[1] + 1)
    # Precision at a recall is the best reached at that recall or above.
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    result = np.zeros(len(IOU_STEPS))
    for step in range(len(IOU_STEPS)):
        places = np.searchsorted(recall[step], RECALL_POINTS, side="left")
        reached = places < recall.shape[1]
        result[step] = precision[step, places[reached]].sum() / len(RECALL_POINTS)
    return result


def _match(shared: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which predictions (rows, strongest first) take a true box (columns), at each of the ten overlaps."""
    right = np.zeros((len(IOU_STEPS), shared.shape[0]), np.bool_)
    for step, least in enumerate(IOU_STEPS):
        free = np.ones(shared.shape[1], np.bool_)
        for row in range(shared.shape[0]):
            fits = np.where(free, shared[row], -1.0)
            if fits.size and fits.max() >= min(least, 1 - 1e-10):
                free[fits.argmax()] = False
                right[step, row] = True
    return right


def ignore_unboxed_classes(samples: Sequence[Sample], taxonomy: Taxonomy) -> list[Sample]:
    """The same scans, where an item that is listed without its box makes its class one nobody looked for.

    A knife somebody saw but did not draw must not teach, or be scored, as no knife. What boxes there are stay.
    """
    result = []
    for sample in samples:
        drawn = Counter(box.label for box in sample.boxes)
        unplaced = {label for label, count in sample.counts(taxonomy).items() if count > drawn[label]}
        if unplaced:
            scope = sample.labelled_classes
            if scope is None:
                scope = tuple(dict.fromkeys([*(item.name for item in taxonomy.drawn), *drawn]))
            kept = tuple(label for label in scope if label not in unplaced)
            sample = sample.model_copy(update={"labelled_classes": kept})
        result.append(sample)
    return result
