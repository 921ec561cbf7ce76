"""Trains one cell of the experiment, where it is to be trained, and measures it on scans it has never seen."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from training.data.samples import Sample, write_jsonl
from training.data.training_record import TrainingRecord, read_training_record
from training.detector.finetune import DetectorRecipe, train_detector
from training.evaluation.bag_table import BagTable, ScanOutcome
from training.evaluation.bootstrap import Rate
from training.evaluation.evaluate import as_items, evaluate_detector, evaluate_vlm
from training.evaluation.map_interval import map_rates
from training.evaluation.mean_average_precision import in_labelled_classes
from training.evaluation.threat_score import evidence_of_answers
from training.experiment.cells import Cell, nested_subset
from training.experiment.held_out import Scans
from training.recipes.recipe import Recipe
from training.vlm.finetune import finetune, split_for_stopping
from xray_app.atomic_write import atomic_write
from xray_app.detector.base import Detection
from xray_app.detector.load import detector_file, load_detector
from xray_app.errors import is_out_of_memory
from xray_app.settings import Settings
from xray_app.taxonomy import Taxonomy
from xray_app.types import Method
from xray_app.vlm.load import load_vlm
from xray_app.vlm.local import LocalVlm

logger = logging.getLogger(__name__)

RESULT = "result.json"
CONFIDENCES = tuple(round(0.05 * step, 2) for step in range(1, 19))
"""A detector's box counts as an item from one of these on; which, is chosen on the scans kept for stopping."""
DEFAULT_CONFIDENCE = 0.25

OnProgress = Callable[[float, dict[str, float]], bool]


@dataclass(frozen=True)
class Result:
    """What was measured of a cell, or why nothing was.

    Attributes:
        cell: which.
        val, clear: outcomes in the order of the samples.
        threat: of a VLM, its probability of a prohibited item in each scan of `val`; empty where it was not asked.
        seconds_per_scan: wall time on `val`.
        training: record of its training; None without one.
        map50: of a detector on `val`.
        item_confidence: of a detector, see `CONFIDENCES`.
        failed: why there is nothing of all that.
    """

    cell: Cell
    val: tuple[ScanOutcome, ...] = ()
    clear: tuple[ScanOutcome, ...] = ()
    threat: tuple[float, ...] = ()
    seconds_per_scan: float = 0.0
    training: TrainingRecord | None = None
    map50: Rate = field(default_factory=lambda: Rate(None, None))
    item_confidence: float | None = None
    failed: str | None = None

    def write(self, folder: Path) -> None:
        """Whole or not at all: a result that is there is never measured again.

        Bags are numbered in the order of the scans: figures may be passed on where nothing else of the scans may.
        """
        numbers: dict[str, str] = {}
        for scan in (*self.val, *self.clear):
            numbers.setdefault(scan.bag_id, str(len(numbers)))
        values = {
            "cell": self.cell.model_dump(),
            "val": [_as_json(one, numbers) for one in self.val],
            "clear": [_as_json(one, numbers) for one in self.clear],
            "threat": [round(one, 5) for one in self.threat],
            "seconds_per_scan": self.seconds_per_scan,
            "facts": self.training and self.training.model_dump(),
            "map50": asdict(self.map50),
            "item_confidence": self.item_confidence,
            "failed": self.failed,
        }
        with atomic_write(folder / RESULT) as part:
            part.write_text(json.dumps(values) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Result | None:
        """What `write` left in a cell's folder, or None."""
        if not (folder / RESULT).is_file():
            return None
        values: dict[str, Any] = json.loads((folder / RESULT).read_text())
        values["cell"] = Cell.model_validate(values["cell"])
        record = values.pop("facts")
        values["training"] = record and TrainingRecord.model_validate(record)
        value, ci = values["map50"]["value"], values["map50"]["ci"]
        values["map50"] = Rate(value, ci and (ci[0], ci[1]))
        for part in ("val", "clear"):
            values[part] = tuple(_outcome(**one) for one in values[part])
        values["threat"] = tuple(values.get("threat", ()))  # results of before have none
        return cls(**values)


def _as_json(scan: ScanOutcome, numbers: Mapping[str, str]) -> dict[str, Any]:
    confidence = {label: round(value, 4) for label, value in scan.confidence.items()}
    counts = {"true": dict(scan.true), "said": dict(scan.said), "confidence": confidence}
    scope = {} if scan.labelled_classes is None else {"labelled_classes": scan.labelled_classes}
    return {"bag_id": numbers[scan.bag_id], **counts, **scope}


def _outcome(labelled_classes: Sequence[str] | None = None, **values: Any) -> ScanOutcome:
    return ScanOutcome(**values, labelled_classes=None if labelled_classes is None else tuple(labelled_classes))


def run_cell(
    cell: Cell,
    scans: Scans,
    recipe: Recipe,
    detector: DetectorRecipe,
    settings: Settings,
    taxonomy: Taxonomy,
    folder: Path,
    on_progress: OnProgress = lambda done, figures: False,
) -> Result:
    """Trains, measures and keeps the result. It resumes from the newest checkpoint and repeats nothing.

    Args:
        cell: what to do.
        scans: the experiment's; the cell takes its part.
        recipe: of the VLM; nothing is replayed.
        detector: of the detector.
        settings: name the served pair that everything starts from.
        taxonomy: names the classes.
        folder: the cell's own. Weights in it are removed once they are measured.
        on_progress: called after every step.
    """
    if (done := Result.read(folder)) is not None:
        return done
    folder.mkdir(parents=True, exist_ok=True)
    scans = scans.of(cell)
    try:
        if cell.kind == "vlm":
            result = _vlm(cell, scans, recipe, settings, taxonomy, folder, on_progress)
        else:
            result = _detector(cell, scans, detector, settings, taxonomy, folder, on_progress)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        result = Result(cell, failed=f"not enough memory: {error}")
    result.write(folder)
    for made in ("work", "data"):
        shutil.rmtree(folder / made, ignore_errors=True)
    return result


def stopping_score(taxonomy: Taxonomy, settings: Settings) -> Callable[[LocalVlm, Sequence[Sample]], float]:
    """Item F1 on the scans kept for stopping: what counts in the end, not the loss of single tokens."""
    rules = taxonomy.rules(settings.policy)

    def score(vlm: LocalVlm, samples: Sequence[Sample]) -> float:
        table = BagTable.of(evaluate_vlm(vlm, samples, taxonomy).outcomes, rules)
        return table.item_f1().value or 0.0

    return score


def _learned_from(cell: Cell, scans: Scans) -> list[Sample]:
    return nested_subset(scans.train, cell.images) if cell.in_main_table else scans.train


def _vlm(
    cell: Cell,
    scans: Scans,
    recipe: Recipe,
    settings: Settings,
    taxonomy: Taxonomy,
    folder: Path,
    on_progress: OnProgress,
) -> Result:
    record, made = None, None
    if cell.method != "untuned":
        write_jsonl(_learned_from(cell, scans), folder / "data" / "train.jsonl")
        changed = {"seed": cell.seed, **({"lora_scope": cell.scope} if cell.scope else {})}
        made = finetune(
            folder / "data",
            recipe.model_copy(update=changed),
            cast(Method, cell.method),
            folder / "work",
            taxonomy=taxonomy,
            epochs=cell.epochs,
            resume=True,
            score=stopping_score(taxonomy, settings),
            on_progress=on_progress,
        )
        record = read_training_record(made)
    own = {"vlm": str(made)} if cell.method == "full" else {"vlm_dtype": "nf4"} if cell.method == "qlora" else {}
    vlm = load_vlm(settings.model_copy(update=own), taxonomy)
    if cell.method in ("lora", "qlora"):
        vlm.use_adapter(made)
    val = evaluate_vlm(vlm, scans.val, taxonomy)
    clear = evaluate_vlm(vlm, scans.clear, taxonomy)
    threat = evidence_of_answers(vlm, scans.val, (val,), taxonomy)
    return Result(cell, val.outcomes, clear.outcomes, tuple(threat), val.seconds_per_scan, record)


def _detector(
    cell: Cell,
    scans: Scans,
    recipe: DetectorRecipe,
    settings: Settings,
    taxonomy: Taxonomy,
    folder: Path,
    on_progress: OnProgress,
) -> Result:
    stopping = split_for_stopping(scans.train)[1]
    record, served = None, settings
    if cell.method != "untuned":
        # The very scans that choose the VLM's checkpoint.
        training, stopping = split_for_stopping(_learned_from(cell, scans))
        made = train_detector(
            training,
            stopping,
            folder / "work",
            taxonomy,
            weights=detector_file(settings),
            recipe=recipe.model_copy(update={"epochs": cell.epochs, "seed": cell.seed}),
            resume=True,
            on_progress=on_progress,
        )
        record, served = read_training_record(made), settings.model_copy(update={"detector": str(made)})
    model = load_detector(served, taxonomy)
    confidence = DEFAULT_CONFIDENCE
    if stopping:
        confidence = _best_confidence(stopping, evaluate_detector(model, stopping, taxonomy).detections, taxonomy)
    val = evaluate_detector(model, scans.val, taxonomy)
    clear = evaluate_detector(model, scans.clear, taxonomy)
    predictions, truths = in_labelled_classes(scans.val, val.detections)
    return Result(
        cell,
        as_items(scans.val, val.detections, taxonomy, confidence),
        as_items(scans.clear, clear.detections, taxonomy, confidence),
        (),
        val.seconds_per_scan,
        record,
        map_rates(predictions, truths, [sample.bag_id for sample in scans.val])[0],
        confidence,
    )


def _best_confidence(samples: Sequence[Sample], found: Sequence[Sequence[Detection]], taxonomy: Taxonomy) -> float:
    def f1(confidence: float) -> float:
        outcomes = as_items(samples, found, taxonomy, confidence)
        return BagTable.of(outcomes, taxonomy.rules()).item_f1().value or 0.0

    return max(CONFIDENCES, key=f1)
