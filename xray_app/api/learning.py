"""Routes of learning, for admins: runs, adapters, promotion."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from training.promotion import registry
from xray_app.adapter import Adapter
from xray_app.api.deps import Admin, After, Desk, Limit, Page, page
from xray_app.errors import BadInput
from xray_app.learning import RunIn, base_sha256, promote_adapter, start_run
from xray_app.store import adapters, runs
from xray_app.types import AdapterKind, Run

router = APIRouter(prefix="/v1")


class PromoteIn(BaseModel):
    """`force` overrules a gate that refuses, `trial` promotes what is not shown yet; either needs a reason."""

    model_config = ConfigDict(extra="forbid")

    force: StrictBool = False
    trial: StrictBool = False
    reason: str | None = Field(default=None, max_length=2000)


class RollbackIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: AdapterKind = "vlm-adapter"


@router.post("/training/runs", status_code=202)
def post_run(who: Admin, desk: Desk, asked: Annotated[RunIn | None, Body()] = None) -> Run:
    """Starts a run, or queues it behind the one at work."""
    return start_run(desk, asked or RunIn(), who.username)


@router.get("/training/runs")
def list_runs(who: Admin, desk: Desk, limit: Limit = 50, after: After = None) -> Page[Run]:
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
def list_adapters(who: Admin, desk: Desk, limit: Limit = 50, after: After = None) -> Page[Adapter]:
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
    if asked.trial and reason is None:
        raise BadInput("To promote on trial, say why: 'reason' is missing.")
    return promote_adapter(desk, adapter_id, who.username, asked.force, reason, asked.trial)
