"""The bootstrap interval of a mean average precision over bags, all resamples at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.evaluation.bootstrap import Rate, draws_of
from training.evaluation.mean_average_precision import IOU_STEPS, MOST_BOXES, Labelled, Predicted, _match, map50
from xray_app.overlap import iou

CHUNK = 100
"""Resamples at a time: keeps the tables below some hundred megabytes."""

Floats = NDArray[np.float64]


def map_rates(
    predictions: Sequence[Sequence[Predicted]], truths: Sequence[Sequence[Labelled]], bags: Sequence[str]
) -> tuple[Rate, Rate]:
    """mAP50 and mAP50-95, each with a 95 % percentile bootstrap interval over bags.

    The interval comes from the exact area under the precision envelope, which needs no loop over resamples,
    and is moved by the (small) difference between that area and COCO's 101 points on the whole set.

    Args:
        predictions: boxes of each scan, down to a confidence of about 0.01.
        truths: true boxes of each scan.
        bags: the bag each scan belongs to.

    Returns:
        Two rates; both None where there is no true box.
    """
    means = _means(predictions, truths, bags)
    if means is None:
        return Rate(None, None), Rate(None, None)
    rates = []
    for value, of_all in zip(map50(predictions, truths), (means[:, 0], means.mean(1)), strict=True):
        low, high = np.percentile(of_all[1:], [2.5, 97.5]) + (value - of_all[0])
        rates.append(Rate(value, (float(max(low, 0.0)), float(min(high, 1.0)))))
    return rates[0], rates[1]


@dataclass(frozen=True, eq=False)
class MapDraws:
    """mAP50 of one model on labelled scans, and of every resample of their bags.

    Two models on the same scans have the same resamples, so their draws may be subtracted.

    Attributes:
        boxes: true boxes it rests on.
        map50: by COCO's definition; None without a true box.
        draws: (1 + resamples,) exact areas: of the whole set, then of each resample that holds a box.
    """

    boxes: int
    map50: float | None
    draws: Floats

    @classmethod
    def of(
        cls,
        predictions: Sequence[Sequence[Predicted]],
        truths: Sequence[Sequence[Labelled]],
        bags: Sequence[str],
    ) -> MapDraws:
        """Arguments as of `map_rates`."""
        means = _means(predictions, truths, bags)
        if means is None:
            return cls(0, None, np.zeros(0))
        return cls(sum(map(len, truths)), map50(predictions, truths)[0], means[:, 0])

    def gain_of(self, other: MapDraws) -> float:
        """Lower bound (one-sided 95 %) of the other's mAP50 minus this one's, on the same scans."""
        return float(np.percentile(other.draws[1:] - self.draws[1:], 5))


def _means(
    predictions: Sequence[Sequence[Predicted]], truths: Sequence[Sequence[Labelled]], bags: Sequence[str]
) -> Floats | None:
    """Mean over the classes of the areas at each overlap, (1 + resamples, 10); None without a true box."""
    labels = sorted({box.label for scan in truths for box in scan})
    if not labels:
        return None
    names = sorted(set(bags))
    row = {bag: place for place, bag in enumerate(names)}
    bag_of = np.array([row[bag] for bag in bags], dtype=np.int64)
    weights = np.vstack([np.ones((1, len(names))), draws_of(len(names))])
    areas = np.stack([_areas(label, predictions, truths, bag_of, weights) for label in labels])
    # A class that a resample lost says nothing there, and a resample without any box nothing at all.
    areas = areas[:, ~np.isnan(areas[:, :, 0]).all(0)]
    means: Floats = np.nanmean(areas, axis=0)
    return means


def _areas(
    label: str,
    predictions: Sequence[Sequence[Predicted]],
    truths: Sequence[Sequence[Labelled]],
    bag_of: NDArray[np.int64],
    weights: Floats,
) -> Floats:
    """Average precision of one class for every row of `weights`: (rows, 10), NaN without positives."""
    hits, confidences, owners = [], [], []
    positives = np.zeros(weights.shape[1])
    for predicted, true, bag in zip(predictions, truths, bag_of, strict=True):
        wanted = np.array([box.xyxy for box in true if box.label == label], np.float32).reshape(-1, 4)
        positives[bag] += len(wanted)
        mine = sorted((box for box in predicted if box.label == label), key=lambda box: -box.confidence)
        if mine := mine[:MOST_BOXES]:
            found = np.array([box.xyxy for box in mine], np.float32).reshape(-1, 4)
            hits.append(_match(iou(found, wanted)))
            confidences += [box.confidence for box in mine]
            owners += [bag] * len(mine)
    total = weights @ positives
    areas = np.zeros((len(weights), len(IOU_STEPS)))
    if confidences:
        order = np.argsort(-np.array(confidences), kind="stable")
        right = np.concatenate(hits, axis=1)[:, order]
        owner = np.array(owners)[order]
        for start in range(0, len(weights), CHUNK):
            rows = slice(start, start + CHUNK)
            counted = weights[rows][:, owner]  # how often each box was drawn
            seen = np.maximum(counted.cumsum(1), 1e-12)
            for step in range(len(IOU_STEPS)):
                gained = counted * right[step]
                precision = gained.cumsum(1) / seen
                envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
                with np.errstate(invalid="ignore", divide="ignore"):
                    areas[rows, step] = (gained * envelope).sum(1) / total[rows]
    areas[total == 0] = np.nan
    return areas
