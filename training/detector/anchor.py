"""Anchoring a detector's confidence: what it is surest of has one scale, whichever way it was trained.

Policies act on a box from a confidence of 0.25 or 0.50 on. A detector trained on crowded bags is as right as one that
was trained on tidy ones, but less sure of itself. So its objectness is shifted until its boxes have their best F1 from
`ANCHOR` on, on scans it was not trained on. The order of its boxes stays nearly what it was.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from training.data.samples import Sample
from training.detector.network import DetectorNetwork
from training.evaluation.mean_average_precision import Labelled, Predicted, in_labelled_classes
from xray_app.detector.onnx import OnnxDetector
from xray_app.overlap import iou
from xray_app.taxonomy import Taxonomy

ANCHOR = 0.40
"""Confidence from which on boxes have their best F1: that of the first bundled detector, which the policies were made
with."""
_NEAR = 0.01
_ROUNDS = 5
_OVERLAP = 0.5
_FLOOR = 0.02


def anchor_confidence(network: DetectorNetwork, samples: Sequence[Sample], size: int, taxonomy: Taxonomy) -> float:
    """Shifts the network's objectness in place, and returns by how many log-odds altogether.

    Args:
        network: to be shifted.
        samples: scans it was not trained on; without a box nothing is shifted.
        size: side of the square it is served with.
        taxonomy: names its classes.
    """
    moved = 0.0
    if not any(sample.boxes for sample in samples):
        return moved
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(_ROUNDS):
            network.export(Path(folder) / "anchored.onnx", size, "anchored")
            detector = OnnxDetector.load(Path(folder) / "anchored.onnx", taxonomy)
            found = [detector.detect(sample.open(), _FLOOR) for sample in samples]
            best = best_f1_confidence(*in_labelled_classes(samples, found))
            if best is None or abs(best - ANCHOR) <= _NEAR:
                break
            shift = _log_odds(ANCHOR) - _log_odds(best)
            with torch.no_grad():
                for predictor in network.model.head.obj_preds:
                    predictor.bias += shift
            moved += shift
    return moved


def best_f1_confidence(
    predictions: Sequence[Sequence[Predicted]], truths: Sequence[Sequence[Labelled]]
) -> float | None:
    """The confidence from which on boxes have the best F1 at an overlap of 0.5; None where none is right.

    Args:
        predictions: boxes of each scan.
        truths: true boxes of each scan, in the same order.
    """
    sure: list[float] = []
    right: list[bool] = []
    for predicted, true in zip(predictions, truths, strict=True):
        taken: set[int] = set()
        wanted = np.array([box.xyxy for box in true], np.float32).reshape(-1, 4)
        for box in sorted(predicted, key=lambda one: -one.confidence):
            shared = iou(np.array([box.xyxy], np.float32), wanted)[0]
            fits = [
                place
                for place in np.argsort(-shared)
                if shared[place] >= _OVERLAP and true[place].label == box.label and int(place) not in taken
            ]
            taken.update(map(int, fits[:1]))
            sure.append(box.confidence)
            right.append(bool(fits))
    if not any(right):
        return None
    order = np.argsort(-np.array(sure), kind="stable")
    hits = np.array(right)[order].cumsum()
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + sum(len(true) for true in truths))
    return float(np.array(sure)[order][int(f1.argmax())])


def _log_odds(share: float) -> float:
    kept = min(max(share, 1e-3), 1 - 1e-3)
    return math.log(kept / (1 - kept))
