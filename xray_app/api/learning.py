"""The learning half of the ring for admins: runs, adapters, promotion."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict, Field

from training import registry
from training.recipe import FULL_AT_THE_DESK, load_recipe, recipe_of_base
from xray_app.api.asking import Admin, After, Desk, Limit, page
from xray_app.api.services import Services
from xray_app.errors import BadInput, BadRecipe, Conflict, StorageFailed
from xray_app.store import adapters, corrections, runs
from xray_app.types import Adapter, AdapterKind, Method, Run

router = APIRouter(prefix="/v1")

RECIPE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class RunIn(BaseModel):
    """What to train; everything may be left out."""

    model_config = ConfigDict(extra="forbid")

    kind: AdapterKind = "vlm-adapter"
    recipe: str | None = None
    method: Method = "lora"
    epochs: float | None = Field(default=None, gt=0, le=1000, allow_inf_nan=False)


class PromoteIn(BaseModel):
    """`force` overrules the gate, which needs a reason."""

    model_config = ConfigDict(extra="forbid")

    force: bool = False
    reason: str | None = Field(default=None, max_length=2000)


class RollbackIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: AdapterKind = "vlm-adapter"


def trainable(desk: Services) -> int:
    """How many accepted corrections a run may train on: the hold-out's are never trained on."""
    return sum(correction.split == "train" for _, correction in corrections.accepted(desk.db))


def start_run(desk: Services, asked: RunIn, username: str) -> Run:
    """Queues a run and launches it.

    Raises:
        BadInput: a detector's run, which there is none of yet.
        BadRecipe: no such recipe, or none for the served base model; or a method that makes no adapter.
        Conflict: there is nothing to train on yet.
    """
    if asked.kind == "detector":
        raise BadInput("Runs train the language model so far. For the detector: python -m training finetune-detector.")
    if asked.method == "full":
        raise BadRecipe(FULL_AT_THE_DESK)
    recipe = asked.recipe if asked.recipe is not None else recipe_of_base(desk.settings.vlm)
    if recipe is None:
        raise BadRecipe(f"No recipe has the served model {desk.settings.vlm!r} as its base. Name one.")
    if not RECIPE_NAME.fullmatch(recipe):
        raise BadRecipe(f"There is no recipe {recipe[:64]!r}.")
    load_recipe(recipe)
    if trainable(desk) == 0:
        raise Conflict("No accepted correction can be trained on yet. Correct some scans first.")
    run = runs.create(desk.db, asked.kind, recipe, asked.method, asked.epochs, username)
    try:
        desk.launch(run)
    except OSError as error:
        problem = f"The run could not be started: {error.strerror or error}."
        runs.finish(desk.db, run.id, "failed", error=problem)
        raise StorageFailed(problem) from error
    return runs.get(desk.db, run.id)


def base_sha256(desk: Services, kind: AdapterKind) -> str:
    """The weights' hash of the served base model that adapters of this kind belong to."""
    return desk.analyser.vlm.weights_sha256 if kind == "vlm-adapter" else desk.analyser.detector.sha256


@router.post("/training/runs", status_code=202)
def post_run(who: Admin, desk: Desk, asked: Annotated[RunIn | None, Body()] = None) -> Run:
    """Starts a run, or queues it behind the one at work."""
    return start_run(desk, asked or RunIn(), who.username)


@router.get("/training/runs")
def list_runs(who: Admin, desk: Desk, limit: Limit = 50, after: After = None) -> dict[str, Any]:
    """All runs, newest first."""
    return page(*runs.page(desk.db, limit, after))


@router.get("/training/runs/{run_id}")
def get_run(run_id: str, who: Admin, desk: Desk) -> Run:
    """One run."""
    return runs.get(desk.db, run_id)


@router.post("/training/runs/{run_id}/cancel", status_code=202)
def cancel_run(run_id: str, who: Admin, desk: Desk) -> Run:
    """Asks a run to stop; it does so after its current step."""
    runs.request_cancel(desk.db, run_id)
    return runs.get(desk.db, run_id)


@router.get("/adapters")
def list_adapters(who: Admin, desk: Desk, limit: Limit = 50, after: After = None) -> dict[str, Any]:
    """All adapters, newest first."""
    return page(*adapters.page(desk.db, limit, after))


@router.post("/adapters/rollback")
def rollback(who: Admin, desk: Desk, asked: Annotated[RollbackIn | None, Body()] = None) -> Adapter | None:
    """Back to the adapter active before; null where that is the base model."""
    kind = (asked or RollbackIn()).kind
    return registry.rollback(desk.db, kind, base_sha256(desk, kind), who.username)


@router.post("/adapters/{adapter_id}/promote")
def promote(adapter_id: str, who: Admin, desk: Desk, asked: Annotated[PromoteIn | None, Body()] = None) -> Adapter:
    """Makes an adapter the active one of its base model, if the gate lets it."""
    asked = asked or PromoteIn()
    reason = (asked.reason or "").strip() or None
    if asked.force and reason is None:
        raise BadInput("To overrule the gate, say why: 'reason' is missing.")
    return registry.promote(desk.db, adapter_id, who.username, force=asked.force, reason=reason)
