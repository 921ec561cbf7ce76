"""Several models over the same labelled scans: the report of one pair, and one table for many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.detection_intervals import map_rates
from training.detection_metrics import scored
from training.evaluate import DetectorEvaluated, evaluate_detector, evaluate_vlm, report
from training.outcomes import BagTable, Rate
from training.samples import Sample
from xray_app.detector.load import load_detector
from xray_app.errors import BadInput
from xray_app.settings import Settings
from xray_app.taxonomy import Taxonomy
from xray_app.vlm.load import load_vlm


def evaluate_models(
    samples: Sequence[Sample], settings: Settings, taxonomy: Taxonomy, adapter: Path | None = None
) -> dict[str, Any]:
    """`report.json` of the VLM (with an adapter, if given) and the detector that `settings` name.

    Either may be "none" and is then left out.
    """
    vlm = found = None
    names: dict[str, Any] = {}
    if settings.vlm != "none":
        model = load_vlm(settings)
        model.use_adapter(adapter)
        vlm = evaluate_vlm(model, samples, taxonomy)
        names["vlm"] = {
            "name": model.name,
            "sha256": model.weights_sha256,
            "adapter": None if adapter is None else str(adapter),
        }
    if settings.detector != "none":
        detector = load_detector(settings, taxonomy)
        found = evaluate_detector(detector, samples, taxonomy)
        names["detector"] = {"name": detector.name, "sha256": detector.sha256}
    if not names:
        raise BadInput("There is nothing to measure: neither a VLM nor a detector was named.")
    result = report(
        samples, taxonomy, taxonomy.policy(settings.policy), vlm, found, lambda: detector_map(samples, found)
    )
    return {**result, "models": names, "taxonomy_sha256": taxonomy.sha256}


def detector_map(samples: Sequence[Sample], found: DetectorEvaluated | None) -> tuple[Rate, Rate]:
    """mAP50 and mAP50-95 over the labelled classes of each scan."""
    if found is None:
        return Rate(None, None), Rate(None, None)
    predictions, truths = scored(samples, found.detections)
    return map_rates(predictions, truths, [sample.bag_id for sample in samples])


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
