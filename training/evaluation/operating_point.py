"""Operating points: the threshold that finds a wanted share of the threats, with a bound, and what it costs.

The threshold is a tolerance bound (`tolerance.threshold_at`) on cross-fitted scores: each bag's by a calibration that
has not seen it. By its own bags' calibration it promises a little too much, and its false alarms are flattered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.evaluation.bag_table import Bools
from training.evaluation.bootstrap import Floats
from training.evaluation.stratified import stratified_auroc
from training.evaluation.threat_score import BagEvidence, fit_calibration, probabilities
from training.evaluation.tolerance import threats_needed, threshold_at
from xray_app.errors import BadCalibration, BadInput
from xray_app.threat_score import Calibration
from xray_app.wilson import wilson_interval

FOLDS = 5
CURVE = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.92, 0.95, 0.97, 0.98, 0.99)
"""Wanted detections of the curve."""
CLASS_BAGS = 10
"""Threat bags of a class below which it is not called the one that limits."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Held-out labelled bags and what the models in use say of them.

    Attributes:
        bags: (B,) ids, in the order of `evidence`.
        evidence: of the same.
        labels: of each bag its prohibited classes.
    """

    bags: tuple[str, ...]
    evidence: BagEvidence
    labels: tuple[frozenset[str], ...]


def cross_fitted(held_out: HeldOut, models: Sequence[str]) -> Floats:
    """(B,) probability of a threat in each bag by a calibration fitted without its fold (folds by a hash of the bag).

    Raises:
        BadCalibration: from the others' bags no calibration can be made.
    """
    folds = _folds(held_out.bags)
    scores = np.zeros(len(held_out.bags))
    for fold in range(FOLDS):
        own = folds == fold
        if own.any():
            fitted = fit_calibration(held_out.evidence.rows(~own), models)
            scores[own] = probabilities(fitted, held_out.evidence.rows(own))
    return scores


def _folds(bags: Sequence[str]) -> np.ndarray:
    """(B,) in turns over the order of a hash, so that no fold is empty."""
    order = sorted(range(len(bags)), key=lambda place: hashlib.sha256(f"operating\0{bags[place]}".encode()).digest())
    folds = np.zeros(len(bags), int)
    folds[order] = np.arange(len(bags)) % FOLDS
    return folds


def operating_point(held_out: HeldOut, recall: float, review_recall: float) -> dict[str, Any]:
    """The thresholds that find the wanted shares, and everything an admin has to know before taking them.

    Args:
        held_out: bags that neither trained the models nor will judge the threshold.
        recall: share of new threats to search at or above the threshold for HIGH.
        review_recall: share to look at at or above the one for MEDIUM; at least `recall`.

    Returns:
        `calibration` (models, bias, weights), `bags`, `threats`, `recall`, `review_recall`, `threshold` and
        `review_threshold` (None where not possible yet, then `missing` says how many more threat bags it takes),
        `false_alarms` and `reviewed` with their `…_ci` by cross-fitting, `by_class` (threat bags of each class and how
        many of them are found), `limiting` (the class that is found worst), and `curve` (`recall`, `threshold`,
        `false_alarms`, `false_alarms_ci` of each wanted share that can be promised).

    Raises:
        BadInput: the shares cannot be, or the bags hold no threat bag or no clear one.
        BadCalibration: no calibration can be made of the bags.
    """
    if not 0 < recall <= review_recall < 1:
        raise BadInput(
            "The wanted detections lie between 0 and 1, the one for a review not below the one for a search."
        )
    threat = held_out.evidence.threat
    if threat.all() or not threat.any():
        raise BadInput(
            f"{len(threat)} held-out bags, {int(threat.sum())} with a threat: both kinds are needed to set a threshold."
        )
    calibration, fair = _calibrated(held_out)
    threats = int(threat.sum())
    out: dict[str, Any] = {
        "calibration": {"models": calibration.models, "bias": calibration.bias, "weights": calibration.weights},
        "bags": len(threat),
        "threats": threats,
        "recall": recall,
        "review_recall": review_recall,
        "threshold": threshold_at(fair, threat, recall),
        "review_threshold": threshold_at(fair, threat, review_recall),
        "missing": max(threats_needed(recall) - threats, 0),
        "review_missing": max(threats_needed(review_recall) - threats, 0),
        **_alarms("false_alarms", fair, threat, recall),
        **_alarms("reviewed", fair, threat, review_recall),
        "curve": [],
    }
    for wanted in CURVE:
        if (threshold := threshold_at(fair, threat, wanted)) is not None:
            out["curve"].append(
                {"recall": wanted, "threshold": threshold, **_alarms("false_alarms", fair, threat, wanted)}
            )
    return {**out, **_classes(fair, held_out, out["threshold"])}


def _calibrated(held_out: HeldOut) -> tuple[Calibration, Floats]:
    """The calibration, and cross-fitted scores. A model whose evidence would speak against itself is left out of it.

    Raises:
        BadCalibration: neither model's evidence speaks for a threat.
    """
    names = list(held_out.evidence.by_model)
    everywhere = [np.ones(len(held_out.bags), bool)]

    def alone(name: str) -> float:
        area = stratified_auroc(held_out.evidence.by_model[name], held_out.evidence.threat, everywhere)[0]
        return area.value or 0.0

    for models in (names, *([name] for name in sorted(names, key=alone, reverse=True))):
        try:
            return fit_calibration(held_out.evidence, models), cross_fitted(held_out, models)
        except BadCalibration as error:
            refused = error
    raise refused


def _alarms(name: str, fair: Floats, threat: Bools, recall: float) -> dict[str, Any]:
    """Share of clear bags at or above the threshold, with Wilson's interval, of cross-fitted scores.

    The threshold follows from the threat bags alone: the clear ones flatter it through the calibration only.
    """
    threshold = threshold_at(fair, threat, recall)
    if threshold is None:
        return {name: None, f"{name}_ci": None}
    stopped, clear = int((fair[~threat] >= threshold).sum()), int((~threat).sum())
    return {name: stopped / clear, f"{name}_ci": list(wilson_interval(stopped, clear))}


def _classes(scores: Floats, held_out: HeldOut, threshold: float | None) -> dict[str, Any]:
    found: dict[str, list[int]] = {}
    for score, labels in zip(scores, held_out.labels, strict=True):
        for label in labels:
            hits = found.setdefault(label, [0, 0])
            hits[0] += threshold is not None and score >= threshold
            hits[1] += 1
    enough = {label: hits / bags for label, (hits, bags) in found.items() if bags >= CLASS_BAGS}
    worst = min(enough, key=lambda label: enough[label], default=None)
    return {
        "by_class": {label: {"bags": bags, "found": hits} for label, (hits, bags) in sorted(found.items())},
        "limiting": worst if threshold is not None else None,
    }
