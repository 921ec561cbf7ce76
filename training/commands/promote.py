"""Commands that decide what the desk serves: register, examine, promote, rollback."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from training.commands.common import open_database
from xray_app.errors import BadInput
from xray_app.settings import Settings
from xray_app.types import AdapterKind

if TYPE_CHECKING:
    from training.promotion.examination import Examined
    from xray_app.store.database import Database

# Heavy modules (torch, transformers) are imported inside the commands: --help answers at once.

app = typer.Typer()


Kind = Annotated[str, typer.Option(help="vlm-adapter or detector")]
Base = Annotated[str | None, typer.Option("--vlm", help="The base model, as XRAY_VLM takes it; else the served one.")]


@app.command()
def register(
    adapter: Annotated[Path, typer.Argument(help="A PEFT folder trained elsewhere, or one with detector.onnx.")],
    vlm: Base = None,
    kind: Kind = "vlm-adapter",
) -> None:
    """Send an adapter or a detector trained elsewhere through the gate and record it."""
    import uuid

    from training.promotion import registry

    settings, chosen = Settings(), _kind(kind)
    base = _base(settings, chosen, vlm)
    registry.check_files(adapter, chosen)
    db = open_database(settings)
    examined = _examine(db, settings, base, chosen, adapter, uuid.uuid4().hex)
    print(registry.register(db, adapter, *examined).model_dump_json())


@app.command()
def examine(
    adapter_id: str,
    vlm: Base = None,
    by: Annotated[str, typer.Option(help="Who asks; goes into the audit log.")] = "command line",
) -> None:
    """Send a registered adapter through the gate again, by all the bags held out since: so a trial ends.

    One in use is measured against what was in use before it.
    """
    from training.promotion import registry
    from xray_app.store import adapters

    settings = Settings()
    db = open_database(settings)
    adapter = adapters.get(db, adapter_id)
    base = _base(settings, adapter.kind, vlm)
    folder = adapters.folder(db, adapter_id)
    manifest, _ = _examine(db, settings, base, adapter.kind, folder, adapter_id)
    if manifest.base_sha256 != adapter.base_sha256:
        raise BadInput(f"The adapter belongs to another base model ({adapter.base}); name it as --vlm.")
    print(registry.reexamined(db, adapter_id, manifest, by).model_dump_json())


def _examine(db: Database, settings: Settings, base: str, kind: AdapterKind, folder: Path, adapter_id: str) -> Examined:
    from training.data.samples import from_corrections
    from training.promotion.examination import Examined, examine_adapter, examine_detector
    from xray_app.store.site_taxonomy import site_taxonomy
    from xray_app.vlm.load import load_local

    taxonomy = site_taxonomy(db, settings.taxonomy)
    rules = taxonomy.rules(settings.policy)
    site = from_corrections(db, taxonomy)["holdout"]

    def ignore(done: float) -> None:
        pass

    if kind == "detector":
        return Examined(examine_detector(db, settings, folder, adapter_id, site, rules, ignore), {})
    model = load_local(
        base, settings.vlm_dtype, taxonomy=taxonomy, max_tokens=settings.vlm_max_tokens, drafted=settings.vlm_drafts
    )
    return examine_adapter(db, settings, model, folder, adapter_id, site, rules, ignore)


def _kind(name: str) -> AdapterKind:
    if name not in get_args(AdapterKind):
        raise BadInput(f"--kind is vlm-adapter or detector, not {name!r}.")
    return cast(AdapterKind, name)


def _base(settings: Settings, kind: AdapterKind, vlm: str | None) -> str:
    """The base model, named on stderr: each has its own adapters, and its own active one."""
    base = settings.detector if kind == "detector" else vlm or settings.served_base
    print(f"base model: {base}", file=sys.stderr)
    return base


@app.command()
def promote(
    adapter_id: str,
    by: Annotated[str, typer.Option(help="Who decides; goes into the audit log.")] = "command line",
    force: Annotated[bool, typer.Option("--force", help="Against the gate; needs --reason.")] = False,
    trial: Annotated[bool, typer.Option("--trial", help="What is not shown yet, on trial; needs --reason.")] = False,
    reason: Annotated[str | None, typer.Option()] = None,
) -> None:
    """Let a registered adapter answer from the next scan on."""
    from training.promotion import registry
    from xray_app.store.site_taxonomy import site_taxonomy
    from xray_app.vlm.load import load_if_remote

    settings = Settings()
    db = open_database(settings)
    remote = load_if_remote(settings, site_taxonomy(db, settings.taxonomy))
    hand_over = remote.receive if remote else None
    adapter = registry.promote(db, adapter_id, by, force, reason, hand_over, trial)
    print(adapter.model_dump_json())


@app.command()
def rollback(
    vlm: Base = None,
    by: Annotated[str, typer.Option(help="Who decides; goes into the audit log.")] = "command line",
    kind: Kind = "vlm-adapter",
) -> None:
    """Back to the adapter or detector in use before; null is the base model."""
    from training.data.samples import file_sha256
    from training.promotion import registry
    from xray_app.detector.load import detector_file
    from xray_app.vlm.load import base_sha256

    settings, chosen = Settings(), _kind(kind)
    base = _base(settings, chosen, vlm)
    sha256 = file_sha256(detector_file(settings)) if chosen == "detector" else base_sha256(base)
    adapter = registry.rollback(open_database(settings), chosen, sha256, by)
    print("null" if adapter is None else adapter.model_dump_json())
