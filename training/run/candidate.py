"""Ends a run of either kind: the candidate is registered with everything needed to repeat its training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from training.promotion.registry import Manifest, register
from xray_app.store import runs
from xray_app.store.database import Database
from xray_app.types import Run


def register_candidate(
    db: Database,
    run: Run,
    folder: Path,
    manifest: Manifest,
    pictures: Mapping[str, bytes] = MappingProxyType({}),
    **training: Any,
) -> None:
    """Registers what a run has trained, and writes figures and id into the run's row.

    Args:
        db: the desk's database.
        run: the run that trained it.
        folder: what it trained.
        manifest: of its examination.
        pictures: the scans of its kept answers, by their SHA-256.
        training: what the manifest says of the training besides: recipe, epochs, seed, snapshot_sha256 and, for a
            detector, image_size.

    Raises:
        BadModel: see `register`.
    """
    runs.update(db, run.id, metrics=manifest.metrics)
    register(db, folder, manifest.model_copy(update={**training, "method": run.method, "run_id": run.id}), pictures)
    runs.update(db, run.id, adapter_id=manifest.id)
