"""The pipeline of a run of kind `detector`: snapshot, train, examine, register."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from training.data.samples import Sample, from_corrections
from training.data.snapshot import REPLAY_ITEMS, REPLAY_SEED, snapshot
from training.data.yolo import read_yolo
from training.detector.finetune import FROM_CORRECTIONS, DetectorRecipe, finetune_detector
from training.promotion.examination import OnShare, examine_detector
from training.promotion.registry import WEIGHTS
from training.run.candidate import register_candidate
from xray_app.detector.load import detector_file
from xray_app.errors import BadInput, Stopped
from xray_app.settings import Settings
from xray_app.simulate.dataset import write_dataset
from xray_app.simulate.scene import Kind
from xray_app.store import runs
from xray_app.store.database import Database
from xray_app.store.site_taxonomy import site_taxonomy
from xray_app.taxonomy import Taxonomy
from xray_app.types import Run, SampleCounts

REPLAYED_AT_LEAST = 96
"""Simulated scans beside the corrected ones; as many as those where they are more."""
THREAT_RATE = 0.5


def run_detector(
    db: Database,
    settings: Settings,
    run: Run,
    folder: Path,
    on_progress: Callable[[float, dict[str, Any]], bool],
    examining: OnShare,
    recipe: DetectorRecipe = FROM_CORRECTIONS,
) -> None:
    """Trains a candidate from the served base detector, measures it and registers it.

    Args:
        db: the desk's database.
        settings: name the base detector and the taxonomy.
        run: claimed by this process.
        folder: the run's own.
        on_progress: called after every training step (share done, figures); returns True to stop.
        examining: called with the share done of the examination; raises to stop.
        recipe: how it is trained; the run's `epochs` go before its own.

    Raises:
        BadInput: no accepted correction has a box to train on.
        BadModel: the served detector cannot be trained on, or what training needs is not installed.
        Stopped: somebody cancelled the run.
    """
    taxonomy = site_taxonomy(db, settings.taxonomy)  # as the server knows it; the same for the whole run
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
    rules = taxonomy.rules(settings.policy)
    manifest = examine_detector(db, settings, candidate, adapter_id, corrected["holdout"], rules, examining)
    register_candidate(
        db,
        run,
        candidate,
        manifest,
        recipe=recipe.model_dump(mode="json"),
        epochs=recipe.epochs,
        seed=recipe.seed,
        image_size={"height": recipe.sizes[-1], "width": recipe.sizes[-1]},
        snapshot_sha256=snapshot_sha256,
    )


def _replay(count: int, folder: Path, taxonomy: Taxonomy) -> list[Sample]:
    """Simulated scans with every box, of seeds that neither hold-out nor bundled training data have.

    Half are full bags and half tidy ones: the bundled detector knows both, and is to forget neither.
    """
    found: list[Sample] = []
    kinds: tuple[tuple[Kind, int], ...] = (("full", count - count // 2), ("tidy", count // 2))
    for kind, part in kinds:
        if part:
            write_dataset(folder / kind, part, REPLAY_SEED, taxonomy, THREAT_RATE, REPLAY_ITEMS, workers=1, kind=kind)
            found += read_yolo(folder / kind, taxonomy).splits["train"]
    return found
