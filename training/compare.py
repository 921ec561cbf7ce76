"""Several models over the same labelled scans: the report of one pair, and one table for many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.detection_intervals import map_rates
from training.evaluate import DetectorEvaluated, evaluate_detector, evaluate_vlm, report
from training.outcomes import BagTable, Rate
from training.samples import Sample
from training.threat_score import (
    by_bags,
    detector_evidence,
    threat_scores,
    vlm_evidence,
    with_calibration,
)
from xray_app.detector.onnx import load_detector
from xray_app.errors import BadInput
from xray_app.settings import Settings
from xray_app.taxonomy import Taxonomy
from xray_app.vlm.load import load_vlm
from xray_app.vlm.local import LocalVlm


def evaluate_models(
    samples: Sequence[Sample],
    settings: Settings,
    taxonomy: Taxonomy,
    adapter: Path | None = None,
    calibration: Sequence[Sample] | None = None,
    recall: float | None = None,
) -> dict[str, Any]:
    """`report.json` of the VLM (with an adapter, if given) and the detector that `settings` name.

    Either may be "none" and is then left out.

    Args:
        samples: labelled scans.
        settings: name models and policy.
        taxonomy: names the classes.
        adapter: a PEFT folder.
        calibration: scans to calibrate the threat score on; None takes half of the bags of `samples`, and
            reports the score on the other half. Every other figure is of all `samples`.
        recall: share of threat bags its threshold is to find; None is the policy's.

    Raises:
        BadInput: neither model, a recall that cannot be, or calibration scans that are among `samples`.
    """
    policy = taxonomy.policy(settings.policy)
    wanted = policy.recall if recall is None else recall
    if not 0 < wanted < 1:
        raise BadInput(f"The recall to aim at lies between 0 and 1, not at {wanted:g}.")
    everything, kept_bags = with_calibration(samples, calibration)
    vlm = found = None
    names: dict[str, Any] = {}
    evidence: dict[str, list[float]] = {}
    seconds: dict[str, float] = {}
    if settings.vlm != "none":
        model = load_vlm(settings)
        model.use_adapter(adapter)
        vlm = evaluate_vlm(model, samples, taxonomy)
        names["vlm"] = {
            "name": model.name,
            "sha256": model.weights_sha256,
            "adapter": None if adapter is None else str(adapter),
        }
        if isinstance(model, LocalVlm):  # a model on another server does not tell what else it might have said
            evidence["vlm"], seconds["vlm"] = vlm_evidence(model, everything, taxonomy)
    if settings.detector != "none":
        detector = load_detector(settings, taxonomy)
        found = evaluate_detector(detector, samples, taxonomy)
        names["detector"] = {"name": detector.name, "sha256": detector.sha256}
        more = evaluate_detector(detector, everything[len(samples) :], taxonomy)
        evidence["detector"] = detector_evidence((*found.detections, *more.detections), everything, taxonomy)
        seconds["detector"] = found.seconds_per_scan
    if not names:
        raise BadInput("There is nothing to measure: neither a VLM nor a detector was named.")
    result = report(samples, taxonomy, policy, vlm, found, lambda: detector_map(samples, found))
    if evidence:
        kept_back, reported = by_bags(everything, evidence, kept_bags, taxonomy)
        result["threat_score"] = {**threat_scores(kept_back, reported, wanted), "seconds_per_scan": seconds}
    return {**result, "models": names, "taxonomy_sha256": taxonomy.sha256}


def detector_map(samples: Sequence[Sample], found: DetectorEvaluated | None) -> tuple[Rate, Rate]:
    """mAP50 and mAP50-95 over the labelled classes of each scan."""
    if found is None:
        return Rate(None, None), Rate(None, None)
    predictions = []
    for sample, boxes in zip(samples, found.detections, strict=True):
        scope = None if sample.labelled_classes is None else set(sample.labelled_classes)
        predictions.append([box for box in boxes if scope is None or box.label in scope])
    return map_rates(predictions, [sample.boxes for sample in samples], [sample.bag_id for sample in samples])


@dataclass(frozen=True)
class Row:
    """One model of the comparison."""

    model: str
    outcomes: BagTable
    seconds_per_scan: float


def comparison(
    samples: Sequence[Sample],
    taxonomy: Taxonomy,
    vlms: Sequence[str],
    adapters: Sequence[Path],
    detectors: Sequence[str],
) -> list[Row]:
    """Each VLM, each adapter on the first of them, and each detector, on the same scans.

    "none" leaves a kind out.
    """
    settings = Settings()
    policy = taxonomy.policy(settings.policy)
    rows = []
    for place, name in enumerate(name for name in vlms if name != "none"):
        model = load_vlm(settings.model_copy(update={"vlm": name}))
        for adapter in (None, *adapters) if place == 0 else (None,):
            model.use_adapter(adapter)
            result = evaluate_vlm(model, samples, taxonomy)
            label = model.name if adapter is None else f"{model.name} + {adapter}"
            rows.append(Row(label, BagTable.of(result.outcomes, taxonomy, policy), result.seconds_per_scan))
    for name in detectors:
        if name != "none":
            detector = load_detector(settings.model_copy(update={"detector": name}), taxonomy)
            found = evaluate_detector(detector, samples, taxonomy)
            rows.append(
                Row(
                    f"{detector.name} (detector)",
                    BagTable.of(found.outcomes, taxonomy, policy),
                    found.seconds_per_scan,
                )
            )
    return rows


def table(rows: Sequence[Row]) -> str:
    """Markdown, each rate with its 95 % interval."""
    lines = [
        "| model | top-1 | item F1 | exact list | threat-bag recall | false alarms | s per scan |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        found = row.outcomes
        rates = (
            found.top_one(),
            found.item_f1(),
            found.exact_list(),
            found.threat_bag_recall(),
            found.false_alarm_rate(),
        )
        cells = " | ".join(_cell(rate) for rate in rates)
        lines.append(f"| {row.model} | {cells} | {row.seconds_per_scan:.3f} |")
    return "\n".join(lines)


def _cell(rate: Rate) -> str:
    if rate.value is None or rate.ci is None:
        return "–"
    return f"{rate.value:.3f} ({rate.ci[0]:.2f}–{rate.ci[1]:.2f})"
