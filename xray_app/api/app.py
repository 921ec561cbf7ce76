"""The web application without the desk: `app.py` mounts that afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import FastAPI

from xray_app.api import (
    envelope,
    exchange,
    feedback,
    insights,
    learning,
    metrics,
    openapi,
    operating,
    queue,
    reports,
    scans,
    sessions,
    sign_in_page,
    thumbnails,
    validation,
)
from xray_app.api.desk_gate import DeskGate
from xray_app.api.door import Door
from xray_app.api.idempotency import IdempotencyMiddleware
from xray_app.services import Services


def create_app(services: Services) -> FastAPI:
    """All of the contract's HTTP table behind the door, described in `/openapi.json`; there are no pages about it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # A waiting analysis, of the API or the desk, holds a thread: a full queue must not hold them all.
        anyio.to_thread.current_default_thread_limiter().total_tokens += services.settings.max_queue
        yield

    app = FastAPI(
        title="X-ray screening desk",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,  # `openapi.router` serves it, to signed-in users
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.services = services
    for module in (
        sessions,
        sign_in_page,
        scans,
        thumbnails,
        feedback,
        queue,
        insights,
        learning,
        operating,
        validation,
        exchange,
        metrics,
        openapi,
    ):
        app.include_router(module.router)
    app.include_router(reports.router)
    described = openapi.describe(app, services.settings.address("") or "/")
    app.openapi = lambda: described  # type: ignore[method-assign]
    envelope.install(app)
    app.add_middleware(IdempotencyMiddleware, services=services)
    app.add_middleware(DeskGate, services=services)
    app.add_middleware(Door, services=services)  # added last: it stands before everything else
    return app
