"""What a run of kind `detector` does between its claim and its end: snapshot, training, measuring, gate, register."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from training.data.samples import Sample, from_corrections, unscoped
from training.data.snapshot import REPLAY_ITEMS, REPLAY_SEED, snapshot
from training.data.yolo import read_yolo
from training.detector.finetune import FROM_CORRECTIONS, DetectorRecipe, finetune_detector
from training.promotion.gate import run_gate
from training.promotion.holdout import Holdout, detections_differ, measure_detector, simulated_holdout
from training.promotion.registry import WEIGHTS, Manifest, new_manifest, register
from training.vlm.finetune import Stopped
from xray_app.detector.load import detector_file, load_detector
from xray_app.detector.onnx import OnnxDetector
from xray_app.errors import BadInput, BadModel
from xray_app.settings import Settings
from xray_app.simulate.dataset import write_dataset
from xray_app.store import adapters, runs
from xray_app.store.database import Database
from xray_app.taxonomy import Taxonomy, load_taxonomy
from xray_app.types import Run, RunMetrics, SampleCounts

REPLAYED_AT_LEAST = 96
"""Simulated scans beside the corrected ones; as many as those where they are more."""
THREAT_RATE = 0.5


def run_on_detector(
    db: Database,
    settings: Settings,
    run: Run,
    folder: Path,
    on_progress: Callable[[float, dict[str, Any]], bool],
    told: Callable[[float], None],
    recipe: DetectorRecipe = FROM_CORRECTIONS,
) -> str:
    """Trains a candidate from the served base detector, measures it and registers it.

    Args:
        db: the desk's database.
        settings: name the base detector and the taxonomy.
        run: claimed by this process.
        folder: the run's own.
        on_progress: told of every training step (share done, figures); returns True to stop.
        told: told the share done of the measuring; raises to stop.
        recipe: how it is trained; the run's `epochs` go before its own.

    Returns:
        The id of the registered candidate.

    Raises:
        BadInput: no accepted correction has a box to train on.
        BadModel: the served detector cannot be trained on, or what training needs is not installed.
        Stopped: somebody asked.
    """
    taxonomy = load_taxonomy(settings.taxonomy)
    recipe = recipe if run.epochs is None else recipe.model_copy(update={"epochs": run.epochs})
    corrected = from_corrections(db, taxonomy)
    if not any(sample.boxes for sample in corrected["train"]):
        raise BadInput("No accepted correction that may be trained on has a box. Draw boxes on a few scans first.")
    replayed = _replay(max(len(corrected["train"]), REPLAYED_AT_LEAST), folder / "replay", taxonomy)
    snapshot_sha256 = snapshot([*corrected["train"], *replayed], folder / "snapshot")
    counts = SampleCounts(train=len(corrected["train"]), holdout=len(corrected["holdout"]), replay=len(replayed))
    runs.update(db, run.id, samples=counts)
    adapter_id = uuid.uuid4().hex
    stopped = False

    def keep_on(done: float, figures: dict[str, Any]) -> bool:
        nonlocal stopped
        stopped = on_progress(done, figures)
        return stopped

    trained = finetune_detector(
        folder / "snapshot",
        folder / "detector",
        taxonomy,
        weights=detector_file(settings),
        recipe=recipe,
        name=f"detector {adapter_id[:8]}",
        on_progress=keep_on,
    )
    if stopped:
        raise Stopped
    candidate = folder / "candidate"
    candidate.mkdir(exist_ok=True)
    trained.replace(candidate / WEIGHTS["detector"])
    manifest = examine_detector(db, settings, candidate, adapter_id, corrected["holdout"], taxonomy, told)
    runs.update(db, run.id, metrics=manifest.metrics)
    register(
        db,
        candidate,
        manifest.model_copy(
            update={
                "recipe": recipe.model_dump(mode="json"),
                "method": run.method,
                "epochs": recipe.epochs,
                "seed": recipe.seed,
                "image_size": {"height": recipe.sizes[-1], "width": recipe.sizes[-1]},
                "snapshot_sha256": snapshot_sha256,
                "run_id": run.id,
            }
        ),
    )
    return adapter_id


def examine_detector(
    db: Database,
    settings: Settings,
    candidate: Path,
    adapter_id: str,
    site: Sequence[Sample],
    taxonomy: Taxonomy,
    told: Callable[[float], None],
) -> Manifest:
    """Measures a candidate against the detector in use on both hold-outs and asks the gate.

    Args:
        db: keeps figures, so that those of the detector in use are not measured again.
        settings: name the base detector and say where the simulated hold-out lies.
        candidate: a folder with `detector.onnx`.
        adapter_id: the id it will be registered under.
        site: the site's held-out samples.
        taxonomy: names the classes.
        told: told the share done; raises to stop.

    Returns:
        Its manifest: figures, every check, and the base it belongs to.
    """
    rules = taxonomy.rules(settings.policy)
    base = load_detector(settings, taxonomy)
    active = adapters.active(db, "detector", base.sha256)
    in_use = base if active is None else OnnxDetector.load(_weights(adapters.folder(db, active.id)), taxonomy)
    holdout = Holdout.of(simulated_holdout(settings.data_dir.resolve(), taxonomy), unscoped(site), rules)

    def stage(start: float, end: float) -> Callable[[int, int], None]:
        return lambda done, total: told(start + (end - start) * done / max(total, 1))

    was = measure_detector(in_use, holdout, db, rules, stage(0.0, 0.45))
    problem, differ, now = None, False, None
    try:
        drawing = OnnxDetector.load(_weights(candidate), taxonomy)
        differ = detections_differ(base, drawing, [*holdout.site[:16], *holdout.simulated])
        now = measure_detector(drawing, holdout, db, rules, stage(0.5, 1.0))
    except BadModel as error:
        problem = error.message
    return new_manifest(
        id=adapter_id,
        kind="detector",
        base=base.name,
        base_sha256=base.sha256,
        taxonomy_sha256=taxonomy.sha256,
        holdouts={"simulated": holdout.simulated_sha256, "site": holdout.site_sha256},
        metrics=RunMetrics(active=was.metrics(), candidate=now.metrics() if now else None),
        gate=run_gate(was, now, rules.policy, differ, problem),
    )


def _weights(folder: Path) -> Path:
    return folder / WEIGHTS["detector"]


def _replay(count: int, folder: Path, taxonomy: Taxonomy) -> list[Sample]:
    """Simulated scans with every box, of seeds that neither hold-out nor bundled training data have."""
    write_dataset(folder, count, REPLAY_SEED, taxonomy, THREAT_RATE, REPLAY_ITEMS, workers=1)
    return list(read_yolo(folder, taxonomy).splits["train"])
