"""What the process of a run does: snapshot, fine-tune, measure, gate, register. There it ends.

Promoting is a person's decision, made elsewhere.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch

from training.data.samples import Sample, from_corrections, training_samples, unscoped
from training.data.snapshot import replay, snapshot
from training.promotion.gate import run_gate
from training.promotion.holdout import Holdout, answers_differ, measure, simulated_holdout
from training.promotion.registry import Manifest, new_manifest, register
from training.recipes.recipe import FULL_AT_THE_DESK, Recipe, load_recipe
from training.run.detector_pipeline import run_on_detector
from training.run.supervisor import NICENESS, THREADS, WAITS, Heartbeat, claim, launch_next, only_run, run_folder, tidy
from training.vlm.finetune import Stopped, finetune
from xray_app.errors import BadInput, BadModel, BadRecipe, Conflict, DeskError, is_out_of_memory
from xray_app.settings import Settings
from xray_app.store import adapters, runs
from xray_app.store.database import Database
from xray_app.taxonomy import SiteRules, Taxonomy, load_taxonomy
from xray_app.types import Gate, Run, RunMetrics, SampleCounts
from xray_app.vlm.load import load_local
from xray_app.vlm.local import LocalVlm
from xray_app.vlm.pictures import picture_limits

logger = logging.getLogger(__name__)

TRAINED = 0.65
"""Share of a run's progress that is reached when the training ends; the rest is measuring."""
SNAPPED = 0.03

Told = Callable[[float], None]
"""Told the fraction done (0..1) of a stage; raises Stopped when the run is to stop."""


def run_pipeline(db: Database, settings: Settings, run_id: str) -> int:
    """Works on a queued run to its end, whatever that is; returns the process's exit status.

    Another run at work in this data folder leaves this one queued (status `WAITS`): that other process looks
    for queued runs when it is done.
    """
    with only_run(settings) as free:
        if not free:
            logger.info("run %s waits: another run is at work", run_id)
            return WAITS
        try:
            run = claim(db, run_id)
        except Conflict as error:
            logger.info("run %s: %s", run_id, error)
            return 0
        status = _work(db, settings, run)
    launch_next(db, settings)
    return status


def _work(db: Database, settings: Settings, run: Run) -> int:
    error = None
    try:
        with Heartbeat(db, run.id) as heart:

            def told(fraction: float) -> None:
                heart.progress = fraction
                if heart.stop_requested:
                    raise Stopped

            _train(db, settings, run, told)
    except Stopped:
        runs.finish(db, run.id, "cancelled")
        return 0
    except DeskError as problem:
        error = problem.message
    except (KeyboardInterrupt, SystemExit):
        error = "The run was stopped from outside. No adapter was changed. Start it again."
    except OSError as problem:
        logger.exception("run %s", run.id)
        error = f"{problem.strerror or problem}."
        if problem.errno == errno.ENOSPC:
            error = f"The disk that holds {settings.data_dir.resolve()} is full. Make room and start the run again."
    except Exception as problem:
        logger.exception("run %s", run.id)
        if is_out_of_memory(problem):
            error = "The machine ran out of memory. Use a smaller base model, batch or picture size."
        else:
            error = f"{type(problem).__name__}: {problem}. The run's log.txt has the details."
    finally:
        tidy(settings, run.id)
    if error is not None:
        logger.error("run %s failed: %s", run.id, error)
        runs.finish(db, run.id, "failed", error=error)
        return 1
    runs.finish(db, run.id, "succeeded")
    return 0


def _train(db: Database, settings: Settings, run: Run, told: Told) -> None:
    def measuring(done: float) -> None:
        told(TRAINED + (0.99 - TRAINED) * done)

    if run.kind == "detector":
        folder = run_folder(settings, run.id)
        adapter_id = run_on_detector(db, settings, run, folder, _writing_progress(folder, told), measuring)
        runs.update(db, run.id, adapter_id=adapter_id)
        return
    recipe = load_recipe(run.recipe)
    if run.method == "full":
        raise BadRecipe(FULL_AT_THE_DESK)
    taxonomy = load_taxonomy(settings.taxonomy)
    rules = taxonomy.rules(settings.policy)
    folder = run_folder(settings, run.id)
    corrected = from_corrections(db, taxonomy)
    site = corrected["holdout"]
    counts = SampleCounts(train=len(corrected["train"]), holdout=len(site))
    snapshot_sha256 = _freeze(db, run, folder, counts, recipe, taxonomy)
    told(SNAPPED)
    trained = finetune(
        folder / "snapshot",
        recipe,
        run.method,
        folder,
        taxonomy=taxonomy,
        epochs=run.epochs,
        on_progress=_writing_progress(folder, told),
    )
    vlm = load_local(recipe.base, settings.vlm_dtype)
    adapter_id = uuid.uuid4().hex
    verdict = examine(
        db,
        settings,
        vlm,
        trained,
        adapter_id,
        site,
        rules,
        measuring,
    )
    runs.update(db, run.id, metrics=verdict.metrics)
    register(
        db,
        trained,
        verdict.manifest.model_copy(
            update={
                "recipe": recipe.model_dump(mode="json"),
                "method": run.method,
                "epochs": run.epochs or recipe.epochs,
                "seed": recipe.seed,
                "snapshot_sha256": snapshot_sha256,
                "run_id": run.id,
            }
        ),
    )
    runs.update(db, run.id, adapter_id=adapter_id)


def _freeze(db: Database, run: Run, folder: Path, counts: SampleCounts, recipe: Recipe, taxonomy: Taxonomy) -> str:
    """Snapshot of corrections and replay; the counts in the run's row are scans, each counted once."""
    if not counts.train:
        raise BadInput("There is no accepted correction to train on yet. Correct a few scans first.")
    replayed = replay(recipe.replayed(counts.train), folder / "replay", taxonomy)
    sha256 = snapshot([*training_samples(db, taxonomy), *replayed], folder / "snapshot")
    runs.update(db, run.id, samples=counts.model_copy(update={"replay": len(replayed)}))
    return sha256


def _writing_progress(folder: Path, told: Told) -> Callable[[float, dict[str, float]], bool]:
    """Keeps the loss curve in progress.jsonl; answers True when the run is to stop."""
    path = folder / "progress.jsonl"
    path.unlink(missing_ok=True)

    def on_progress(done: float, figures: dict[str, float]) -> bool:
        if {"loss", "stopping_loss"} & figures.keys():
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(figures) + "\n")
        try:
            told(SNAPPED + (TRAINED - SNAPPED) * done)
        except Stopped:
            return True
        return False

    return on_progress


@dataclass(frozen=True)
class Verdict:
    """A candidate's figures beside the active model's, the gate's answer, and a manifest that says so."""

    metrics: RunMetrics
    gate: Gate
    manifest: Manifest


def examine(
    db: Database,
    settings: Settings,
    vlm: LocalVlm,
    candidate: Path,
    adapter_id: str,
    site: list[Sample],
    rules: SiteRules,
    told: Told,
) -> Verdict:
    """Measures a candidate against the active model on both hold-outs and asks the gate.

    Args:
        db: keeps figures, so that the active model's are not measured again.
        settings: say where the simulated hold-out lies.
        vlm: the base model the candidate belongs to.
        candidate: its PEFT folder.
        adapter_id: the id it will be registered under; its figures are kept under it.
        site: the site's held-out samples; they are asked for everything, as the desk asks, and scored on
            what was looked for.
        rules: read the answers; the policy sets threshold, margin and budget.
        told: told of progress; raises to stop.
    """
    active = adapters.active(db, "vlm-adapter", vlm.weights_sha256)
    holdout = Holdout.of(simulated_holdout(settings.data_dir.resolve(), rules.taxonomy), unscoped(site), rules)

    def key(adapter: str) -> str:
        return f"{vlm.weights_sha256}:{settings.vlm_dtype}:{adapter}"

    def stage(start: float, end: float) -> Callable[[int, int], None]:
        return lambda done, total: told(start + (end - start) * done / max(total, 1))

    vlm.use_adapter(adapters.folder(db, active.id) if active else None)
    was = measure(vlm, holdout, key(active.id if active else "base"), db, rules, stage(0.0, 0.45))
    problem, differ, now = None, False, None
    try:
        differ = answers_differ(vlm, candidate, [*holdout.site[:16], *holdout.simulated])
        told(0.5)
        now = measure(vlm, holdout, key(adapter_id), db, rules, stage(0.5, 1.0))
    except BadModel as error:
        problem = error.message
    gate = run_gate(was, now, rules.policy, differ, problem)
    metrics = RunMetrics(active=was.metrics(), candidate=now.metrics() if now else None)
    manifest = new_manifest(
        id=adapter_id,
        kind="vlm-adapter",
        base=vlm.name,
        base_sha256=vlm.weights_sha256,
        taxonomy_sha256=rules.taxonomy.sha256,
        image_size=picture_limits(vlm.processor),
        holdouts={"simulated": holdout.simulated_sha256, "site": holdout.site_sha256},
        metrics=metrics,
        gate=gate,
    )
    return Verdict(metrics, gate, manifest)


def be_modest() -> None:
    """Low priority and half the cores, so that analysts do not feel the training."""
    os.nice(NICENESS)
    torch.set_num_threads(THREADS)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise SystemExit(1)

    signal.signal(signal.SIGTERM, stop)
