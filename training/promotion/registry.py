"""The registry: adapters on disk, each a plain PEFT folder with its `manifest.json`, and which of them is active."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import Field, ValidationError

from training.data.samples import file_sha256
from xray_app.adapter import Adapter, Gate
from xray_app.atomic_write import atomic_write
from xray_app.errors import BadInput, BadModel, Conflict
from xray_app.store import adapters
from xray_app.store.database import Database
from xray_app.types import AdapterKind, Method, RunMetrics, Value
from xray_app.vlm.kept_answers import MANIFEST, PICTURES, KeptAnswer

PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".ckpt"})
WEIGHTS: Mapping[str, str] = {"vlm-adapter": "adapter_model.safetensors", "detector": "detector.onnx"}
LIBRARIES = ("torch", "transformers", "peft", "accelerate")


class Manifest(Value):
    """Where an adapter comes from and what it reached: enough to repeat its training.

    Attributes:
        id: the adapter's.
        kind: what it is.
        base: the base model's name.
        base_sha256: hash of the base model's weights.
        taxonomy_sha256: of the taxonomy it was trained and measured with.
        recipe: every setting of the recipe, as used.
        method: how it was trained; None for one trained elsewhere.
        epochs: as used.
        seed: of the training.
        snapshot_sha256: of the frozen training samples; None for one trained elsewhere.
        image_size: the processor's picture size limits, the same in training and serving.
        holdouts: hash of each hold-out it was measured on.
        metrics: its own and the active model's figures.
        gate: every check.
        versions: of the libraries it was trained with.
        probe: its answers to a few hold-out scans, which a server is to repeat before it serves it.
        files: SHA-256 of each file of the folder.
        run_id: the run that made it.
        created_at: when it was registered.
    """

    id: str
    kind: AdapterKind
    base: str
    base_sha256: str
    taxonomy_sha256: str
    recipe: dict[str, Any] | None = None
    method: Method | None = None
    epochs: float | None = None
    seed: int | None = None
    snapshot_sha256: str | None = None
    image_size: dict[str, Any] | None = None
    holdouts: dict[str, str] = Field(default_factory=dict)
    metrics: RunMetrics
    gate: Gate
    versions: dict[str, str] = Field(default_factory=dict)
    probe: tuple[KeptAnswer, ...] = ()
    files: dict[str, str] = Field(default_factory=dict)
    run_id: str | None = None
    created_at: datetime


def new_manifest(**facts: Any) -> Manifest:
    """A manifest with the time and the libraries' versions filled in; `facts` are the rest."""
    installed = {}
    for library in LIBRARIES:
        try:
            installed[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return Manifest(created_at=datetime.now(UTC), versions=installed, **facts)


def register(
    db: Database, folder: Path, manifest: Manifest, pictures: Mapping[str, bytes] = MappingProxyType({})
) -> Adapter:
    """Copies a trained adapter into the data folder and records it; all of it or nothing.

    Args:
        db: the desk's database; the adapter goes to its data folder.
        folder: the PEFT folder (or the detector's), which stays as it is.
        manifest: from `new_manifest`; the hashes of the files are filled in here.
        pictures: the scans of its kept answers, PNG files by their SHA-256; they stay with the adapter.

    Raises:
        BadModel: no weights in safetensors (or ONNX) there, or a pickle among the files.
    """
    check_files(folder, manifest.kind)
    target = db.data_dir / "adapters" / manifest.id
    part = target.with_name(f"{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copytree(folder, part, ignore=shutil.ignore_patterns("checkpoint*", MANIFEST, PICTURES))
        if pictures:
            (part / PICTURES).mkdir()
        for name, content in pictures.items():
            (part / PICTURES / f"{name}.png").write_bytes(content)
        files = {
            path.relative_to(part).as_posix(): file_sha256(path) for path in sorted(part.rglob("*")) if path.is_file()
        }
        complete = manifest.model_copy(update={"files": files})
        (part / MANIFEST).write_text(complete.model_dump_json(indent=1) + "\n", encoding="utf-8")
        part.rename(target)
        adapter = Adapter(
            id=manifest.id,
            kind=manifest.kind,
            base=manifest.base,
            base_sha256=manifest.base_sha256,
            run_id=manifest.run_id,
            active=False,
            created_at=manifest.created_at,
            metrics=manifest.metrics,
            gate=manifest.gate,
        )
        adapters.add(db, adapter, target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(target, ignore_errors=True)
        raise
    return adapters.get(db, manifest.id)


def check_files(folder: Path, kind: AdapterKind) -> None:
    """Refuses a folder without weights in a format that holds data alone.

    Raises:
        BadModel: no such file, or a pickle, which could run anything when loaded.
    """
    if not (folder / WEIGHTS[kind]).is_file():
        raise BadModel(f"{folder} holds no {WEIGHTS[kind]}; it is not a trained {kind}.")
    pickles = [path.name for path in folder.rglob("*") if path.suffix in PICKLES]
    if pickles:
        raise BadModel(
            f"{folder} holds {', '.join(sorted(pickles))}: pickles are not taken. Save the adapter as safetensors."
        )


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a registered adapter.

    Raises:
        BadModel: it is missing or was changed into something else.
    """
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError) as error:
        raise BadModel(f"{folder / MANIFEST} cannot be read: {error}") from error


HandOver = Callable[[Adapter, Path], None]
"""Gives an adapter and its folder to the server that is to answer with it; raises where it does not take it."""


def promote(
    db: Database,
    adapter_id: str,
    by: str,
    force: bool = False,
    reason: str | None = None,
    hand_over: HandOver | None = None,
    trial: bool = False,
) -> Adapter:
    """Lets an adapter answer from the next scan on.

    Args:
        db: the desk's database.
        adapter_id: a registered adapter.
        by: who decides.
        force: promote although the gate refused; needs a reason and is written to the audit log.
        reason: why.
        hand_over: called before the pointer moves, so that what no server takes is not promoted; None where
            this desk's own process answers.
        trial: promote although the gate cannot tell yet; needs a reason. It is shown as a trial until an examination
            passes.

    Raises:
        NotFound: there is no such adapter.
        Conflict: the gate refused and `force` is not set, or cannot tell yet and `trial` is not; `details.checks` says
            why.
        BadInput: `force` or `trial` without a reason.
        BadModel: its files are not those the gate saw.
    """
    adapter = adapters.get(db, adapter_id)
    answer = adapter.gate.answer
    forced, on_trial = force and answer == "refused", trial and answer == "not shown yet"
    if answer != "passed" and not (forced or on_trial):
        names = ", ".join(check.name for check in adapter.gate.open_checks) or "it has no checks"
        raise Conflict(
            f"The gate refuses this adapter: {names}."
            if answer == "refused"
            else f"Not enough is shown of this adapter yet: {names}. It can be promoted as a trial, with a reason.",
            details={"checks": [check.model_dump(mode="json") for check in adapter.gate.checks]},
        )
    if answer != "passed" and not (reason and reason.strip()):
        what = "against the gate" if forced else "as a trial"
        raise BadInput(f"Promoting {what} needs a reason, which is kept.")
    if adapter.active:
        return adapter  # a second promotion would make "back to the one before" lead to itself
    folder = adapters.folder(db, adapter_id)
    for name, sha256 in read_manifest(folder).files.items():
        if not (folder / name).is_file() or file_sha256(folder / name) != sha256:
            raise BadModel(f"{name} of adapter {adapter_id} is not the file that passed the gate.")
    if hand_over is not None:
        hand_over(adapter, folder)
    adapters.activate(
        db, adapter_id, adapter.kind, adapter.base_sha256, by=by, reason=reason, forced=forced, trial=on_trial
    )
    return adapters.get(db, adapter_id)


def reexamined(db: Database, adapter_id: str, manifest: Manifest, by: str) -> Adapter:
    """Keeps what a later examination measured of a registered adapter, in its manifest and in the database.

    Its files, its kept answers and where it comes from stay as they are.

    Raises:
        NotFound: there is no such adapter.
        BadModel: its manifest cannot be read.
    """
    folder = adapters.folder(db, adapter_id)
    found = manifest.model_dump(include={"taxonomy_sha256", "holdouts"})
    update = {**found, "metrics": manifest.metrics, "gate": manifest.gate}
    kept = read_manifest(folder).model_copy(update=update)
    with atomic_write(folder / MANIFEST) as part:
        part.write_text(kept.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return adapters.examined(db, adapter_id, manifest.metrics, manifest.gate, by)


def rollback(db: Database, kind: AdapterKind, base_sha256: str, by: str) -> Adapter | None:
    """Back to what was in use before the last promotion; None is the base model.

    With nothing promoted nothing changes, and the answer is None.
    """
    return adapters.rollback(db, kind, base_sha256, by=by)
