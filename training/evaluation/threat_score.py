"""The threat score: one calibrated probability of a threat for each bag, fitted on bags of a split of its own.

The evidence is what each model says most surely of anything prohibited: the detector's surest prohibited box, down to
a confidence of 0.01, and the probability the VLM puts on naming a prohibited item first
(`xray_app.vlm.scoring`). Platt's logistic fit turns it into a probability and, with both models, combines it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.data.groups import bag_groups
from training.data.samples import Sample, file_sha256, split_by_bag
from training.evaluation.bag_table import Bools
from training.evaluation.bootstrap import BINS, Floats, Rate, calibration_error, rates, ratio, reliability
from training.evaluation.evaluate import Evaluated
from training.evaluation.logistic import logistic_weights, sigmoid
from training.evaluation.stratified import stratified_auroc
from training.evaluation.tolerance import threats_needed, threshold_at
from xray_app.detector.base import Detection
from xray_app.errors import BadCalibration, BadInput
from xray_app.html.charts import MODEL_NAMES
from xray_app.taxonomy import Taxonomy, prohibited_labels
from xray_app.threat_score import EDGE, NO_SIGN, Calibration, detector_evidence
from xray_app.vlm.base import Vlm
from xray_app.vlm.local import LocalVlm
from xray_app.vlm.scoring import threat_masses

CALIBRATION_SHARE = 0.5
CALIBRATION_SEED = 0
Evidence = Mapping[str, Sequence[float]]
"""By model, `vlm` or `detector`: 0 to 1 for each scan."""


@dataclass(frozen=True, eq=False)
class BagEvidence:
    """Evidence of B bags: of each model, the strongest over the bag's views.

    Attributes:
        threat: (B,) the bag holds a prohibited item.
        by_model: `vlm`, `detector` or both, (B,) each, 0 to 1.
        groups: (B,) what tells bags apart before anything in them is seen; empty where nothing is known of it.
    """

    threat: Bools
    by_model: Mapping[str, Floats]
    groups: tuple[str, ...] = ()

    @classmethod
    def of(cls, samples: Sequence[Sample], evidence: Evidence, taxonomy: Taxonomy) -> BagEvidence:
        """Gathers scans into bags, in order of bag id; bags in which nobody looked for threats are left out."""
        views: dict[str, list[int]] = {}
        for place, sample in enumerate(samples):
            if prohibited_labels(taxonomy, sample.labelled_classes):
                views.setdefault(sample.bag_id, []).append(place)
        prohibited, groups = set(prohibited_labels(taxonomy)), bag_groups(samples)
        bags = sorted(views)
        return cls(
            np.array(
                [any(prohibited & samples[i].counts(taxonomy).keys() for i in views[bag]) for bag in bags], np.bool_
            ),
            {name: np.array([max(found[i] for i in views[bag]) for bag in bags]) for name, found in evidence.items()},
            tuple(groups[bag] for bag in bags),
        )

    def rows(self, chosen: Bools) -> BagEvidence:
        """Of these bags alone, (B,) which."""
        groups = tuple(group for group, own in zip(self.groups, chosen, strict=False) if own)
        return BagEvidence(self.threat[chosen], {name: one[chosen] for name, one in self.by_model.items()}, groups)

    def log_odds(self, models: Sequence[str]) -> Floats:
        """(B, models)."""
        shares = np.clip(np.stack([self.by_model[name] for name in models], axis=1), EDGE, 1 - EDGE)
        return np.asarray(np.log(shares / (1 - shares)))


def fit_calibration(evidence: BagEvidence, models: Sequence[str]) -> Calibration:
    """Platt scaling (J. Platt, "Probabilistic outputs for support vector machines", 1999), one weight a model.

    With Platt's smoothed targets, so that bags the evidence separates perfectly still give finite weights.

    Raises:
        BadCalibration: a weight came out negative: more evidence would mean less threat.
    """
    threats = int(evidence.threat.sum())
    clear = len(evidence.threat) - threats
    target = np.where(evidence.threat, (threats + 1) / (threats + 2), 1 / (clear + 2))
    bias, *weights = (float(one) for one in logistic_weights(evidence.log_odds(models), target))
    if against := [name for name, weight in zip(models, weights, strict=True) if weight < 0]:
        raise BadCalibration(
            f"On these bags more evidence of the {' and the '.join(MODEL_NAMES[one] for one in against)} means less "
            "threat: no score can be made of it."
        )
    return Calibration(tuple(models), bias, tuple(weights))


def probabilities(calibration: Calibration, evidence: BagEvidence) -> Floats:
    """Probability of a threat in each bag, (B,)."""
    return sigmoid(calibration.bias + evidence.log_odds(calibration.models) @ np.array(calibration.weights))


def evidence_of_answers(
    vlm: Vlm, samples: Sequence[Sample], answered: Sequence[Evaluated], taxonomy: Taxonomy
) -> list[float]:
    """Probability of naming a prohibited item first, of each scan.

    Answers give it by the way. An answer that does not begin as a report does is asked for it; a model on another
    server, which gives no probability of other answers, is taken at the confidence of the threats it named.

    Args:
        vlm: which answered.
        samples: N scans.
        answered: their evaluations, in parts.
        taxonomy: names what is prohibited.
    """
    answers = [(one, threats) for part in answered for one, threats in zip(part.outcomes, part.threats, strict=True)]
    found = []
    for sample, (outcome, threats) in zip(samples, answers, strict=True):
        labels = prohibited_labels(taxonomy, sample.labelled_classes)
        if threats is None and isinstance(vlm, LocalVlm):
            threats = threat_masses(vlm, sample.open(), sample.instruction, labels, taxonomy)
        if threats is None:
            found.append(max((outcome.confidence.get(label, NO_SIGN) for label in labels), default=NO_SIGN))
        else:
            found.append(min(sum(threats.get(label, 0.0) for label in labels), 1.0))
    return found


def evidence_of_boxes(
    detections: Sequence[Sequence[Detection]], samples: Sequence[Sample], taxonomy: Taxonomy
) -> list[float]:
    """The surest prohibited box of each scan, of the classes somebody looked for."""
    return [
        detector_evidence(boxes, prohibited_labels(taxonomy, sample.labelled_classes))
        for sample, boxes in zip(samples, detections, strict=True)
    ]


def with_calibration(samples: Sequence[Sample], given: Sequence[Sample] | None) -> tuple[list[Sample], frozenset[str]]:
    """All scans the models must see, `samples` first, and the bags among them to calibrate on.

    Args:
        samples: what is being evaluated.
        given: scans for the calibration; None takes half of the bags of `samples`, picked by a hash.

    Raises:
        BadInput: `given` shares a bag or a picture with `samples`.
    """
    if given is None:
        kept_back = split_by_bag(samples, CALIBRATION_SHARE, CALIBRATION_SEED)[1]
        return list(samples), frozenset(sample.bag_id for sample in kept_back)
    refuse_shared(samples, given, "calibration")
    return [*samples, *given], frozenset(sample.bag_id for sample in given)


def refuse_shared(samples: Sequence[Sample], others: Sequence[Sample], what: str) -> None:
    """Raises: BadInput: `others`, the `what` scans, share a bag or a picture with the scans to report on."""
    pictures = {file_sha256(sample.image) for sample in samples}
    bags = {sample.bag_id for sample in samples}
    for sample in others:
        if sample.bag_id in bags or file_sha256(sample.image) in pictures:
            raise BadInput(
                f"{sample.image} (bag {sample.bag_id}) is both in the {what} scans and among those to report on. "
                "What was chosen on the bags it is judged by looks better than it is: take other bags."
            )


def by_bags(
    samples: Sequence[Sample], evidence: Evidence, kept_bags: frozenset[str], taxonomy: Taxonomy
) -> tuple[BagEvidence, BagEvidence]:
    """Evidence of scans as (bags to calibrate on, bags to report on)."""

    def part(kept: bool) -> BagEvidence:
        places = [place for place, sample in enumerate(samples) if (sample.bag_id in kept_bags) == kept]
        chosen = {name: [found[place] for place in places] for name, found in evidence.items()}
        return BagEvidence.of([samples[place] for place in places], chosen, taxonomy)

    return part(True), part(False)


def threat_scores(calibration: BagEvidence, reported: BagEvidence, recall: float) -> dict[str, Any]:
    """`threat_score` of `report.json`: each model alone and both together.

    Args:
        calibration: bags to fit on and to choose the threshold on.
        reported: other bags, of which every figure is; the same models.
        recall: share of threat bags to find, above 0 and below 1.
    """
    sets = {"calibration": calibration, "reported": reported}
    out: dict[str, Any] = {
        "recall_wanted": recall,
        **{name: {"bags": len(part.threat), "threat_bags": int(part.threat.sum())} for name, part in sets.items()},
    }
    for name, part in sets.items():
        if not part.threat.any() or part.threat.all():
            kind = "clear" if part.threat.any() else "threat"
            return {**out, "reason": f"The {name} bags hold no {kind} bag, so that no score can be told from chance."}
    names = list(calibration.by_model)
    for title, models in {
        **{name: [name] for name in names},
        **({"together": names} if len(names) > 1 else {}),
    }.items():
        try:
            fitted = fit_calibration(calibration, models)
        except BadCalibration as error:
            out[title] = {"reason": error.message}
        else:
            out[title] = _figures(fitted, calibration, reported, recall)
    return out


def brier_skill(scores: Floats, threat: Bools, reference: Floats) -> Rate:
    """How much smaller the squared error of the scores is than that of a reference's: 1 is perfect, 0 no better.

    G. Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78 (1950).

    Args:
        scores, threat, reference: (B,).
    """
    left = ratio((scores - threat) ** 2, (reference - threat) ** 2)
    if left.value is None or left.ci is None:
        return left
    return Rate(1 - left.value, (1 - left.ci[1], 1 - left.ci[0]))


def group_rates(learned: BagEvidence, asked: BagEvidence) -> Floats:
    """(B,) share of threats in each bag's group among the bags learned from; of an unknown group, among all of them."""
    own, overall = np.array(learned.groups, object), float(learned.threat.mean())
    known = {group: float(learned.threat[own == group].mean()) for group in set(learned.groups)}
    return np.array([known.get(group, overall) for group in asked.groups or [""] * len(asked.threat)])


def _figures(fitted: Calibration, calibration: BagEvidence, reported: BagEvidence, recall: float) -> dict[str, Any]:
    scores, threat = probabilities(fitted, reported), reported.threat
    own = probabilities(fitted, calibration)
    threshold = threshold_at(own, calibration.threat, recall)
    figures: dict[str, Any] = {
        "bias": fitted.bias,
        "weights": dict(zip(fitted.models, fitted.weights, strict=True)),
        **rates(auroc=stratified_auroc(scores, threat, [np.ones(len(scores), bool)])[0]),
        **rates(ece=calibration_error(binned(scores, threat))),
        **rates(brier_skill=brier_skill(scores, threat, group_rates(calibration, reported))),
        "reliability": reliability(binned(scores, threat)),
        "curve": curve(scores, threat),
        "threshold": threshold,
    }
    if threshold is None:
        needed = threats_needed(recall)
        figures["reason"] = f"A recall of {recall:g} cannot be promised from fewer than {needed} threat bags."
        return figures
    figures["on_calibration"] = {
        "threat_bag_recall": float((own >= threshold)[calibration.threat].mean()),
        "false_alarm_rate": float((own >= threshold)[~calibration.threat].mean()),
    }
    flagged = (scores >= threshold).astype(np.int64)
    is_threat, is_clear = threat.astype(np.int64), (~threat).astype(np.int64)
    return {
        **figures,
        **rates(
            threat_bag_recall=ratio(flagged * is_threat, is_threat),
            false_alarm_rate=ratio(flagged * is_clear, is_clear),
        ),
    }


def binned(scores: Floats, right: Bools) -> Floats:
    """(B, BINS, 3) as `calibration_error` takes it: one, the score and whether it came true, in the score's bin."""
    table = np.zeros((len(scores), BINS, 3))
    places = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    table[np.arange(len(scores)), places] = np.column_stack([np.ones(len(scores)), scores, right])
    return table


def curve(scores: Floats, threat: Bools) -> list[list[float]]:
    """[false-alarm rate, threat-bag recall] at every threshold, from none flagged to all flagged."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # bags of one score are flagged together
    found = threat[order].cumsum()[last] / threat.sum()
    alarms = (~threat[order]).cumsum()[last] / (~threat).sum()
    return [[0.0, 0.0], *np.column_stack([alarms, found]).tolist()]
