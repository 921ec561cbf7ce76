"""The pipeline of a run, in its own process: snapshot, fine-tune, examine, register.

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
from contextlib import suppress
from pathlib import Path
from types import FrameType

import torch

from training.data.samples import from_corrections, training_samples
from training.data.snapshot import replay, snapshot
from training.promotion.examination import OnShare, examine_adapter
from training.recipes.recipe import FULL_AT_THE_DESK, Recipe, desk_recipe
from training.run.candidate import register_candidate
from training.run.detector_pipeline import run_detector
from training.run.supervisor import NICENESS, THREADS, WAITS, Heartbeat, claim, launch_next, run_folder, run_lock, tidy
from training.vlm.finetune import finetune
from xray_app.errors import BadInput, BadRecipe, Conflict, DeskError, Stopped, is_out_of_memory
from xray_app.settings import Settings
from xray_app.store import runs
from xray_app.store.database import Database
from xray_app.store.site_taxonomy import site_taxonomy
from xray_app.taxonomy import Taxonomy
from xray_app.types import Run, SampleCounts
from xray_app.vlm.load import load_local

logger = logging.getLogger(__name__)

TRAINING_DONE = 0.65
"""Share of a run's progress that is reached when the training ends; the rest is measuring."""
SNAPSHOT_DONE = 0.03


def run_pipeline(db: Database, settings: Settings, run_id: str) -> int:
    """Works on a queued run to its end, whatever that is; returns the process's exit status.

    Another run at work in this data folder leaves this one queued (status `WAITS`): that other process looks
    for queued runs when it is done.
    """
    with run_lock(settings) as free:
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

            def on_share(done: float) -> None:
                heart.progress = done
                if heart.stop_requested:
                    raise Stopped

            _train(db, settings, run, on_share)
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


def _train(db: Database, settings: Settings, run: Run, on_share: OnShare) -> None:
    def examining(done: float) -> None:
        on_share(TRAINING_DONE + (0.99 - TRAINING_DONE) * done)

    folder = run_folder(settings, run.id)
    on_progress = _writing_progress(folder, on_share)
    if run.kind == "detector":
        run_detector(db, settings, run, folder, on_progress, examining)
        return
    recipe = desk_recipe(run.recipe, settings.report_to)
    if run.method == "full":
        raise BadRecipe(FULL_AT_THE_DESK)
    taxonomy = site_taxonomy(db, settings.taxonomy)  # as the server knows it; the same for the whole run
    corrected = from_corrections(db, taxonomy)
    site = corrected["holdout"]
    counts = SampleCounts(train=len(corrected["train"]), holdout=len(site))
    snapshot_sha256 = _freeze(db, run, folder, counts, recipe, taxonomy)
    on_share(SNAPSHOT_DONE)
    trained = finetune(
        folder / "snapshot",
        recipe,
        run.method,
        folder,
        taxonomy=taxonomy,
        epochs=run.epochs,
        on_progress=on_progress,
    )
    vlm = load_local(
        recipe.base,
        settings.vlm_dtype,
        taxonomy=taxonomy,
        max_tokens=settings.vlm_max_tokens,
        drafted=settings.vlm_drafts,
    )
    rules = taxonomy.rules(settings.policy)
    examined = examine_adapter(db, settings, vlm, trained, uuid.uuid4().hex, site, rules, examining)
    register_candidate(
        db,
        run,
        trained,
        *examined,
        recipe=recipe.model_dump(mode="json"),
        epochs=run.epochs or recipe.epochs,
        seed=recipe.seed,
        snapshot_sha256=snapshot_sha256,
    )


def _freeze(db: Database, run: Run, folder: Path, counts: SampleCounts, recipe: Recipe, taxonomy: Taxonomy) -> str:
    """Snapshot of corrections and replay; the counts in the run's row are scans, each counted once."""
    if not counts.train:
        raise BadInput("There is no accepted correction to train on yet. Correct a few scans first.")
    replayed = replay(recipe.replayed(counts.train), folder / "replay", taxonomy)
    sha256 = snapshot([*training_samples(db, taxonomy), *replayed], folder / "snapshot")
    runs.update(db, run.id, samples=counts.model_copy(update={"replay": len(replayed)}))
    return sha256


def _writing_progress(folder: Path, on_share: OnShare) -> Callable[[float, dict[str, float]], bool]:
    """Keeps the loss curve in progress.jsonl; returns True when the run is to stop."""
    path = folder / "progress.jsonl"
    path.unlink(missing_ok=True)

    def on_progress(done: float, figures: dict[str, float]) -> bool:
        if {"loss", "stopping_loss"} & figures.keys():
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(figures) + "\n")
        try:
            on_share(SNAPSHOT_DONE + (TRAINING_DONE - SNAPSHOT_DONE) * done)
        except Stopped:
            return True
        return False

    return on_progress


def lower_priority() -> None:
    """Low priority and half the cores, so that analysts do not feel the training."""
    os.nice(NICENESS)
    # Where Linux groups processes by session, a process is nice within its group, and the groups share alike.
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICENESS))
    torch.set_num_threads(THREADS)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise SystemExit(1)

    signal.signal(signal.SIGTERM, stop)
