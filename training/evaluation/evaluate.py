"""Evaluates models on labelled scans: how right they are, with intervals, and how long they take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from training.data.samples import Sample
from training.evaluation.bag_table import BagTable, ScanOutcome
from training.evaluation.beside_rules import Judged, beside_rules, list_rates
from training.evaluation.bootstrap import Rate, rates, reliability
from training.evaluation.confusion import Confusion
from xray_app.detector.base import Detection, Detector
from xray_app.taxonomy import SiteRules, Taxonomy
from xray_app.types import Report
from xray_app.vlm.base import Vlm
from xray_app.vlm.reading import read_answer

BATCH = 32
DETECTOR_FLOOR = 0.01
"""Average precision needs the whole ranking, not only what the desk shows."""
DETECTOR_ITEM_CONFIDENCE = 0.25
"""From here on a box counts as an item said; what the desk shows of boxes without a threat."""

Number = TypeVar("Number", int, float)
Progress = Callable[[int, int], None]
"""Called with (scans done, scans in all) after every batch; raises to stop."""


def _quiet(done: int, total: int) -> None:
    pass


@dataclass(frozen=True)
class Evaluated:
    """A model's outcomes, in the order of the samples, its wall time, and of a VLM's answers their `threats`."""

    outcomes: tuple[ScanOutcome, ...]
    seconds_per_scan: float
    threats: tuple[Mapping[str, float] | None, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True)
class DetectorEvaluated(Evaluated):
    """With what the detector found, down to `DETECTOR_FLOOR`, per sample."""

    detections: tuple[tuple[Detection, ...], ...]


def evaluate_vlm(
    vlm: Vlm, samples: Sequence[Sample], taxonomy: Taxonomy, batch: int = BATCH, progress: Progress = _quiet
) -> Evaluated:
    """Asks each sample's own instruction and compares the answer with what is there.

    Args:
        vlm: with whatever adapter it answers with now.
        samples: N labelled scans.
        taxonomy: reads the answers.
        batch: scans answered at a time.
        progress: called after every batch.

    Raises:
        BadDataset: a picture cannot be read.
    """
    outcomes: list[ScanOutcome] = []
    threats: list[Mapping[str, float] | None] = []
    seconds = 0.0
    for group in _batches(samples, batch):
        images = [sample.open() for sample in group]
        started = time.perf_counter()
        answers = vlm.answer(images, [sample.instruction for sample in group])
        seconds += time.perf_counter() - started
        for sample, answer in zip(group, answers, strict=True):
            outcomes.append(outcome_of_report(sample, read_answer(answer, taxonomy), taxonomy))
            threats.append(answer.threats)
        progress(len(outcomes), len(samples))
    return Evaluated(tuple(outcomes), seconds / max(len(samples), 1), threats=tuple(threats))


def outcome_of_report(sample: Sample, report: Report, taxonomy: Taxonomy) -> ScanOutcome:
    """A VLM's report against the truth; an item without confidence is taken as certain."""
    return ScanOutcome.scoped(
        sample.bag_id,
        sample.labelled_classes,
        sample.counts(taxonomy),
        {item.label: item.count for item in report.items},
        {item.label: 1.0 if item.confidence is None else item.confidence for item in report.items},
    )


def evaluate_detector(
    detector: Detector, samples: Sequence[Sample], taxonomy: Taxonomy, progress: Progress = _quiet
) -> DetectorEvaluated:
    """Boxes of each scan, and as items: those at or above `DETECTOR_ITEM_CONFIDENCE`, counted."""
    found: list[tuple[Detection, ...]] = []
    seconds = 0.0
    for sample in samples:
        image = sample.open()
        started = time.perf_counter()
        found.append(tuple(detector.detect(image, DETECTOR_FLOOR)))
        seconds += time.perf_counter() - started
        progress(len(found), len(samples))
    return DetectorEvaluated(as_items(samples, found, taxonomy), seconds / max(len(samples), 1), tuple(found))


def as_items(
    samples: Sequence[Sample],
    found: Sequence[Sequence[Detection]],
    taxonomy: Taxonomy,
    item_confidence: float = DETECTOR_ITEM_CONFIDENCE,
) -> tuple[ScanOutcome, ...]:
    """What a detector said of N samples, from its boxes of each: those at or above a confidence, counted."""
    outcomes = []
    for sample, detections in zip(samples, found, strict=True):
        said: dict[str, int] = {}
        confidence: dict[str, float] = {}
        for box in detections:
            confidence[box.label] = max(confidence.get(box.label, 0.0), box.confidence)
            if box.confidence >= item_confidence:
                said[box.label] = said.get(box.label, 0) + 1
        outcomes.append(
            ScanOutcome.scoped(sample.bag_id, sample.labelled_classes, sample.counts(taxonomy), said, confidence)
        )
    return tuple(outcomes)


def fuse(vlm: Sequence[ScanOutcome], detector: Sequence[ScanOutcome]) -> tuple[ScanOutcome, ...]:
    """Fuses two models' answers: the larger count and the larger confidence of each label.

    What a detector is too unsure of to call an item may still be sure enough to flag the bag.
    """

    def larger(one: Mapping[str, Number], other: Mapping[str, Number]) -> dict[str, Number]:
        return {label: max(seen[label] for seen in (one, other) if label in seen) for label in {*one, *other}}

    return tuple(
        ScanOutcome(
            one.bag_id,
            one.true,
            larger(one.said, other.said),
            larger(one.confidence, other.confidence),
            one.labelled_classes,
        )
        for one, other in zip(vlm, detector, strict=True)
    )


def report(
    samples: Sequence[Sample],
    rules: SiteRules,
    vlm: Evaluated | None = None,
    detector: DetectorEvaluated | None = None,
    detector_map: Callable[[], tuple[Rate, Rate]] | None = None,
    *,
    threat: Mapping[str, Sequence[float]] | None = None,
    train: Sequence[Sample] | None = None,
    vlm_as_desk: Evaluated | None = None,
) -> dict[str, Any]:
    """`report.json` as the contract has it; a model that was not asked for is left out.

    Args:
        samples: what both models were evaluated on.
        rules: name the classes; the policy's prohibited threshold flags a bag.
        vlm: from `evaluate_vlm`.
        detector: from `evaluate_detector`.
        detector_map: gives mAP50 and mAP50-95; only called when there is a detector.
        threat: of `vlm` or `detector`, its probability of a threat in each scan; else its surest prohibited item's.
        train: scans to choose the baselines on; None: parts of `samples` in turn (`baselines.rules_of`).
        vlm_as_desk: the VLM asked for everything, as the desk asks, where `samples` ask for less.
    """
    flagging = {"profile": rules.policy.name, "prohibited_threshold": rules.policy.prohibited_threshold}
    out: dict[str, Any] = {"n": len(samples), "policy": flagging}
    if detector is not None:
        shown = BagTable.of(detector.outcomes, rules)
        out["detector"] = {**item_rates(shown), "seconds_per_scan": detector.seconds_per_scan}
        if detector_map is not None:
            map50, map50_95 = detector_map()
            out["detector"] |= rates(map50=map50, map50_95=map50_95)
        out["detector"] |= _details(shown, detector.outcomes, rules.taxonomy)
    if vlm is not None:
        shown = BagTable.of(vlm.outcomes, rules)
        out["vlm"] = {**item_rates(shown), "seconds_per_scan": vlm.seconds_per_scan}
        out["vlm"] |= _details(shown, vlm.outcomes, rules.taxonomy)
    for name in ("vlm", "detector"):
        if name in out:
            out["per_class"] = out[name]["per_class"]
            break
    models: dict[str, Judged] = {}
    known = threat or {}
    if vlm is not None:
        models["vlm"] = Judged(vlm.outcomes, known.get("vlm"))
    if detector is not None:
        models["detector"] = Judged(detector.outcomes, known.get("detector"))
    if vlm is not None and detector is not None:
        fused = fuse(vlm.outcomes, detector.outcomes)
        out["by_fusion"] = flag_rates(BagTable.of(fused, rules))
        models["by_fusion"] = Judged(fused)
    if vlm_as_desk is not None:
        out["as_desk"] = _as_desk(vlm_as_desk, detector, rules)
    return {**out, **beside_rules(samples, rules, models, train)}


def _as_desk(vlm: Evaluated, detector: DetectorEvaluated | None, rules: SiteRules) -> dict[str, Any]:
    """Figures under the desk's own question: lists scored on what was looked for, bags flagged by any prohibited class.

    Nobody may have looked for that class: then a right alarm counts as a false one.
    """
    answers = {"vlm": vlm.outcomes}
    if detector is not None:
        answers |= {"detector": detector.outcomes, "by_fusion": fuse(vlm.outcomes, detector.outcomes)}
    return {
        name: {**list_rates(BagTable.of(one, rules)), **flag_rates(BagTable.of(one, rules, by_any_class=True))}
        for name, one in answers.items()
    }


def flag_rates(table: BagTable) -> dict[str, Any]:
    return rates(threat_bag_recall=table.threat_bag_recall(), false_alarm_rate=table.false_alarm_rate())


def _details(table: BagTable, outcomes: Sequence[ScanOutcome], taxonomy: Taxonomy) -> dict[str, Any]:
    return {
        "per_class": {
            label: {"support": support, **rates(recall=recall, precision=precision)}
            for label, (support, recall, precision) in table.per_class().items()
        },
        "confusion": Confusion.of(outcomes, taxonomy).to_json(),
        "reliability": reliability(table.calibration),
    }


def item_rates(table: BagTable) -> dict[str, Any]:
    """The contract's rates of an item list, each with its `…_ci`."""
    return {
        **rates(item_precision=table.item_precision(), item_recall=table.item_recall()),
        **list_rates(table),
        **rates(ece=table.ece(), says_none=table.says_none()),
    }


def _batches(samples: Sequence[Sample], size: int) -> Iterator[Sequence[Sample]]:
    for start in range(0, len(samples), size):
        yield samples[start : start + size]
