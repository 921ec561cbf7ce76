"""The desk's parts put together: database, models, API and pages. Importing it takes seconds."""

# ruff: noqa: E402 - some things must be said before the libraries they concern are imported

from __future__ import annotations

import logging
import os

# Before Gradio is imported: nothing that happens at this desk is reported to anybody.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
# Else it sums up all events after each one, for a page that the door keeps shut: 15 ms of every key pressed.
os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = str(10**12)
# Before PyTorch is: its threads, once done, would turn on the spot for milliseconds, waiting for more, on the cores
# that the detector and a training run need. This many turns last for what follows at once, as within an answer.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")
# It warns, when imported, of a kernel that only 4-bit models on CPUs would miss.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

import gradio as gr
from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse
from starlette.routing import Mount

from training.run import supervisor
from xray_app import auth, webhook
from xray_app.analysis import WAITING_BATCH, ActiveAdapter, Analyser, never_validated
from xray_app.api.app import create_app
from xray_app.api.door import FILES_PER_UPLOAD
from xray_app.detector.load import load_detector
from xray_app.services import Services
from xray_app.settings import Settings
from xray_app.store import adapters, facts, idempotency, operating_points, validations
from xray_app.store.database import Database
from xray_app.store.site_taxonomy import rules_in_force
from xray_app.taxonomy import load_taxonomy
from xray_app.threat_score import Thresholds, thresholds_of
from xray_app.types import AdapterKind
from xray_app.ui import browser_code, desk
from xray_app.ui.first_paint import FirstPaint
from xray_app.ui.root_path import UnderRootPath
from xray_app.vlm.load import load_vlm
from xray_app.vlm.remote import RemoteVlm


def wire(settings: Settings) -> Services:
    """Opens the database, looks whether it is whole, and loads both models."""
    of_file = load_taxonomy(settings.taxonomy).rules(settings.policy)  # a wrong file is said before all else
    db = Database.open(settings.sqlalchemy_url, settings.data_dir)
    db.check_whole()
    rules = rules_in_force(db, of_file)
    facts.complete(db, rules.taxonomy)
    vlm = load_vlm(settings, rules.taxonomy)
    detector = load_detector(settings, rules.taxonomy)
    password = auth.ensure_admin(db, settings.admin_password)
    if password:
        print(f"First start: user 'admin', password '{password}'. It is not shown again.", flush=True)

    def active(kind: AdapterKind, base_sha256: str) -> ActiveAdapter | None:
        adapter = adapters.active(db, kind, base_sha256)
        return ActiveAdapter(adapter.id, adapters.folder(db, adapter.id), adapter.trial) if adapter else None

    def thresholds(scanner_id: str | None, pair: str) -> Thresholds | None:
        point = operating_points.of_scanner(db, scanner_id, pair, rules_in_force(db, of_file).measured_sha256)
        return thresholds_of(point) if point else None

    def validated(scanner_id: str | None, rests_on: str) -> bool:
        return validations.validated(db, scanner_id, rests_on)

    analyser = Analyser(
        vlm,
        detector,
        rules,
        lambda: active("vlm-adapter", vlm.weights_sha256),
        settings.max_queue,
        validated=never_validated if settings.demonstration else validated,
        active_detector=lambda: active("detector", detector.sha256),
        operating_point=thresholds,
        current_rules=lambda: rules_in_force(db, of_file),
        together=settings.vlm_at_once if isinstance(vlm, RemoteVlm) else WAITING_BATCH,
    )
    return Services(
        settings=settings,
        db=db,
        file_rules=of_file,
        analyser=analyser,
        launch=lambda run: supervisor.launch(db, settings, run),
    )


def begin(services: Services) -> None:
    """What a server does before it serves: frees what a dead one left open; watches over runs and webhook."""
    if services.db.engine.dialect.name == "sqlite":  # nobody else serves it
        idempotency.free_open(services.db)
    supervisor.keep_watch(services.db, services.settings)
    webhook.keep_telling(services.db, services.settings)


def with_desk(services: Services) -> FastAPI:
    """The API, and the desk mounted after it: mounted first, it would swallow the API's routes."""
    app = create_app(services)
    app.include_router(browser_code.router)

    @app.get("/desk", include_in_schema=False)
    def to_desk() -> RedirectResponse:
        return RedirectResponse(services.settings.address("/desk/"))

    def username(request: Request) -> str:
        # The door let the request in, so somebody is signed in; every handler asks again who.
        return str(request.state.identity.username)

    page = desk.build_desk(services)
    # Gradio asks whether a file that an event names was uploaded only of a page it launched itself. Mounted, it would
    # copy any file of this machine to where a browser can fetch it.
    page.has_launched = True
    served = gr.mount_gradio_app(
        app,
        page,
        path="/desk",
        root_path=services.settings.address("/desk") if services.settings.root_path else None,
        auth_dependency=username,
        allowed_paths=[],
        blocked_paths=[str(services.db.data_dir)],
        max_file_size=services.settings.max_upload_bytes * FILES_PER_UPLOAD,  # of a data set; scans are checked
        run_history=False,
        footer_links=[],
        ssr_mode=False,
        show_error=True,
        theme=desk.THEME,
        css=desk.CSS,
    )
    for route in served.routes:
        if isinstance(route, Mount) and route.path == "/desk":
            route.app = FirstPaint(route.app, desk.HEAD)
            if services.settings.root_path:
                route.app = UnderRootPath(route.app, services.settings.address(""))
    return served
