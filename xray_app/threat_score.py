"""The threat score of a bag: how much both models say for a prohibited item in it, as one number from 0 to 1.

The evidence is what each model says most surely of anything prohibited: the detector's surest prohibited box, down to a
confidence of 0.01, and the probability the VLM puts on naming a prohibited item first (`xray_app.vlm.scoring`; of a
model on another server, the surest prohibited item it named). A calibration makes a probability of it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ConfigDict

from xray_app.detector.base import Detection
from xray_app.taxonomy import Taxonomy
from xray_app.types import Fraction, Report, ScoreEvidence, Status, Value
from xray_app.vlm.base import Answer

DETECTOR_FLOOR = 0.01
"""Confidence down to which the detector is asked for prohibited boxes."""
NO_SIGN = DETECTOR_FLOOR / 2
"""Evidence of a model that sees nothing prohibited."""
EDGE = 1e-4
"""Evidence is kept this far from 0 and 1, so that its log-odds stay finite."""


class ThreatScore(Value):
    """How much both models say for a prohibited item; a probability where it is calibrated, else an order alone."""

    value: Fraction
    calibrated: bool
    evidence: ScoreEvidence


class OperatingPointFigures(Value):
    """What an operating point promises and costs, by `training.evaluation.operating_point`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    calibration: dict[str, Any]
    bags: int
    threats: int
    recall: Fraction
    review_recall: Fraction
    threshold: Fraction | None
    review_threshold: Fraction | None
    missing: int
    review_missing: int
    false_alarms: Fraction | None
    false_alarms_ci: tuple[Fraction, Fraction] | None
    reviewed: Fraction | None
    reviewed_ci: tuple[Fraction, Fraction] | None
    by_class: dict[str, dict[str, int]]
    limiting: str | None
    curve: tuple[dict[str, Any], ...]


class OperatingPoint(Value):
    """Thresholds of the threat score on one scanner (None: all), for one pair of models, taxonomy and policy."""

    id: str
    scanner_id: str | None
    pair: str
    policy_sha256: str
    created_at: datetime
    by: str
    reason: str
    figures: OperatingPointFigures


@dataclass(frozen=True)
class Calibration:
    """Probability of a threat = sigmoid(bias + Σ weight · log-odds of the model's evidence).

    Attributes:
        models: `vlm`, `detector` or both.
        bias: of the sum.
        weights: of each model, none below 0: more evidence never means less threat.
    """

    models: tuple[str, ...]
    bias: float
    weights: tuple[float, ...]

    def probability(self, evidence: Mapping[str, float]) -> float:
        """Of one bag, 0 to 1; `evidence` has every model of `models`."""
        score = self.bias + sum(
            weight * log_odds(evidence[name]) for name, weight in zip(self.models, self.weights, strict=True)
        )
        return 0.5 * (1 + math.tanh(score / 2))


@dataclass(frozen=True)
class Thresholds:
    """An operating point at work: what the score means here, and from where on it acts.

    Attributes:
        id: of the operating point.
        calibration: makes a probability of the evidence.
        search_from: at or above it a bag is HIGH.
        review_from: at or above it a bag is MEDIUM; None where that is not possible yet.
    """

    id: str
    calibration: Calibration
    search_from: float
    review_from: float | None


def thresholds_of(point: OperatingPoint) -> Thresholds | None:
    """Of a kept operating point; None of one that promises nothing yet."""
    figures, kept = point.figures, point.figures.calibration
    if figures.threshold is None:
        return None
    calibration = Calibration(tuple(kept["models"]), float(kept["bias"]), tuple(map(float, kept["weights"])))
    return Thresholds(point.id, calibration, figures.threshold, figures.review_threshold)


def pair_key(vlm_sha256: str, adapter: str | None, detector_sha256: str, classes_sha256: str) -> str:
    """Hash of what evidence rests on: both models, the adapter (None: the base model) and what is prohibited."""
    facts = json.dumps([vlm_sha256, adapter, detector_sha256, classes_sha256])
    return hashlib.sha256(facts.encode()).hexdigest()


def rests_on(pair: str, policy_sha256: str, operating_point: str | None) -> str:
    """Hash of what advice rests on: the models and classes (`pair_key`), the policy and the threshold (None: none)."""
    return hashlib.sha256(json.dumps([pair, policy_sha256, operating_point]).encode()).hexdigest()


def log_odds(share: float) -> float:
    """Finite, whatever the share."""
    kept = min(max(share, EDGE), 1 - EDGE)
    return math.log(kept / (1 - kept))


def detector_evidence(detections: Iterable[Detection], labels: Iterable[str]) -> float:
    """The surest box of any of these prohibited labels."""
    wanted = set(labels)
    return max((box.confidence for box in detections if box.label in wanted), default=NO_SIGN)


def vlm_evidence(answer: Answer, report: Report, taxonomy: Taxonomy) -> float:
    """Probability of naming a prohibited item first; where the answer does not give it, of those it named the surest.

    An item without a confidence counts as certain. So does the rating HIGH or a threat mentioned in passing.
    """
    if answer.threats is not None:
        return min(sum(answer.threats.values()), 1.0)
    if report.claimed == "HIGH" or any(taxonomy.resolve(one).status is Status.PROHIBITED for one in report.mentioned):
        return 1.0
    named = [item.confidence for item in report.items if item.status is Status.PROHIBITED]
    return max((1.0 if one is None else one for one in named), default=NO_SIGN)


def threat_score(
    vlm: float, detector: float, pair: str, policy_sha256: str, thresholds: Thresholds | None
) -> ThreatScore:
    """The score of one scan. Uncalibrated it is the evidence of the surer model: an order, no probability."""
    used = thresholds.id if thresholds else None
    rests = rests_on(pair, policy_sha256, used)
    evidence = ScoreEvidence(vlm=vlm, detector=detector, pair=pair, operating_point=used, rests_on=rests)
    if thresholds is None:
        return ThreatScore(value=max(vlm, detector), calibrated=False, evidence=evidence)
    value = thresholds.calibration.probability({"vlm": vlm, "detector": detector})
    return ThreatScore(value=value, calibrated=True, evidence=evidence)
