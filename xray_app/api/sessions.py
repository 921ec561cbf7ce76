"""Signing in and out by token; the browser's way is in `sign_in_page`."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import anyio
import anyio.to_thread
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from xray_app import auth
from xray_app.api.deps import Analyst, Desk
from xray_app.api.one_at_a_time import OneAtATime
from xray_app.api.openapi import NOTHING, refuses
from xray_app.services import Services
from xray_app.session import bearer_token
from xray_app.types import Role

router = APIRouter()


# Checking a password is slow on purpose. Those who wait for it hold no thread, so that a flood of
# sign-ins keeps nobody from working who is signed in.
CHECKS_AT_ONCE = anyio.CapacityLimiter(4)
_turns = OneAtATime()


async def check_password(desk: Services, request: Request, username: str, password: str) -> auth.SignedIn:
    """`auth.sign_in`, in its turn: one at a time from an address, so that nobody waits behind another's flood.

    Raises:
        NotSignedIn, Throttled: as there.
    """
    address = request.client.host if request.client else None
    async with _turns.turn(address):
        return await anyio.to_thread.run_sync(
            auth.sign_in, desk.db, username, password, address, limiter=CHECKS_AT_ONCE
        )


class Credentials(BaseModel):
    model_config = ConfigDict(extra="forbid")

    username: str = Field(max_length=200)
    password: str = Field(max_length=1000)


class Session(BaseModel):
    """A new session; the token is told once, here."""

    token: str
    expires_at: datetime
    role: Role


class Health(BaseModel):
    """Answered while the server lives."""

    status: Literal["starting", "ok"] = "ok"


@router.get("/health")
async def health() -> Health:
    """Alive; async, so that it answers while every worker thread is busy."""
    return Health()


@router.get("/ready", responses=refuses(503))
def ready(desk: Desk) -> Health:
    """The models are loaded and the database answers; until then 503."""
    desk.db.check_answers()
    return Health()


@router.post("/v1/login", responses=refuses(401, 413, 422, 429, 503))
async def login(credentials: Credentials, request: Request, desk: Desk) -> Session:
    """A token for a name and password."""
    signed_in = await check_password(desk, request, credentials.username, credentials.password)
    return Session(token=signed_in.token, expires_at=signed_in.expires_at, role=signed_in.role)


@router.post("/v1/logout", responses=NOTHING)
def logout(request: Request, who: Analyst, desk: Desk) -> None:
    """Ends the session whose token was sent."""
    token = bearer_token(request.headers)
    if token is not None:
        auth.sign_out(desk.db, token)
