"""The web application without the desk: `app.py` mounts that afterwards."""

from __future__ import annotations

import anyio
from fastapi import FastAPI

from xray_app.api import envelope, feedback, learning, scans, sessions, sign_in_page
from xray_app.api.door import Door
from xray_app.api.once import Once
from xray_app.api.services import Services

# Above the queue's length, so that it is the queue that says "busy", and says it at once.
SPARE_THREADS = 8


def create_app(services: Services) -> FastAPI:
    """All of the contract's HTTP table behind the door. The API's own documentation pages stay closed."""
    app = FastAPI(
        title="X-ray screening desk",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.services = services
    app.state.analysis_threads = anyio.CapacityLimiter(services.settings.max_queue + SPARE_THREADS)
    for module in (sessions, sign_in_page, scans, feedback, learning):
        app.include_router(module.router)
    envelope.install(app)
    app.add_middleware(Once, services=services)
    app.add_middleware(Door, services=services)  # added last: it stands before everything else
    return app
