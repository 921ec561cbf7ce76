"""The desk: settings, wiring, serving. `python app.py` and open http://127.0.0.1:7860."""

# ruff: noqa: E402 - four things must be said before the libraries they concern are imported

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import NoReturn

if __name__ == "__main__":
    gc.disable()  # until all is imported: looking for garbage among it takes a fifth of the start, and there is none
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
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse
from pydantic import ValidationError
from starlette.routing import Mount

from training.run import supervisor
from xray_app import auth
from xray_app.analysis import WAITING_BATCH, ActiveAdapter, Analyser, never_validated
from xray_app.api.app import create_app
from xray_app.api.door import FILES_PER_UPLOAD
from xray_app.api.header_timeout import TimedHeaders
from xray_app.detector.load import load_detector
from xray_app.errors import DeskError, StorageFailed
from xray_app.scratch_folder import remove_abandoned, scratch_folder
from xray_app.services import Services
from xray_app.settings import Settings
from xray_app.store import adapters, facts, idempotency, operating_points, validations
from xray_app.store.database import Database, only_server
from xray_app.store.site_taxonomy import rules_in_force
from xray_app.taxonomy import load_taxonomy
from xray_app.threat_score import Thresholds, thresholds_of
from xray_app.types import AdapterKind
from xray_app.ui import browser_code, desk
from xray_app.ui.first_paint import FirstPaint
from xray_app.ui.root_path import UnderRootPath
from xray_app.vlm.load import load_vlm
from xray_app.vlm.remote import RemoteVlm

MOST_CONNECTIONS = 1000
"""Open at once; an open page holds two or three. Past it the answer is 503."""


LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
LOG_BYTES, LOG_FILES = 10 * 2**20, 5
JOBS_END_SECONDS = 2.0
"""What exports and imports at work get to end in when the server does."""


class CannotListen(DeskError):
    """The address or port is not to be had."""


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


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; taken before the models are loaded, so that a port in use is known at once.

    Raises:
        CannotListen: the port is in use or the address is not one of this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        raise CannotListen(
            f"Cannot listen on {host}:{port}: {error.strerror or error}. "
            "Stop what is listening there, or set XRAY_PORT to another port."
        ) from error
    return bound


class Server(uvicorn.Server):
    """Says where the desk is once it answers there, and stops without alarm."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            host = self.config.host if ":" not in self.config.host else f"[{self.config.host}]"
            print(f"The desk is on http://{host}:{self.config.port}", flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Every open page holds a connection, which is cut here: no error, though uvicorn logs it as one.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await super().shutdown(sockets)


@contextmanager
def own_uploads() -> Iterator[None]:
    """What browsers upload passes through a folder of this process alone, which goes with it.

    Gradio names an upload by its content: of two desks in one folder, one would discard what the other reads.
    """
    with scratch_folder() as uploads:
        before = os.environ.get("GRADIO_TEMP_DIR", "")  # an empty one counts as none
        os.environ["GRADIO_TEMP_DIR"] = str(uploads)
        try:
            yield
        finally:
            os.environ["GRADIO_TEMP_DIR"] = before


def server_config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """How the desk is served: slow headers and too many connections are refused, and a stop waits for nobody long."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=3,
        limit_concurrency=MOST_CONNECTIONS,
        http=TimedHeaders,
    )


def serve(services: Services, bound: socket.socket) -> None:
    """Serves until a signal comes; a run at work goes on without the server."""
    remove_abandoned()
    with own_uploads():
        config = server_config(with_desk(services), services.settings)
        # Uvicorn raises the signal again when it has stopped; this way the folder is still removed.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            Server(config).run(sockets=[bound])
        except KeyboardInterrupt:
            print("Stopped.", flush=True)
        services.jobs.stop_all(JOBS_END_SECONDS)


def main() -> int:
    """Serves until stopped. Returns the exit code: 1, after one clear line, where it cannot start."""
    logging.basicConfig(level=logging.WARNING, format=LOG_FORMAT)
    for room in ("xray_app", "training"):
        logging.getLogger(room).setLevel(logging.INFO)
    try:
        settings = Settings()
        bound = listen(settings.host, settings.port)
        with only_server(settings.sqlalchemy_url, settings.data_dir):
            log = keep_log(settings.data_dir, settings.port)
            services = wire(settings)
            if services.db.engine.dialect.name == "sqlite":  # nobody else serves it
                idempotency.free_open(services.db)
            supervisor.keep_watch(services.db, settings)
            serve(services, bound)
            services.db.close()
            logging.getLogger().removeHandler(log)
    except ValidationError as error:
        print(f"A setting is wrong: {_settings_problem(error)}", file=sys.stderr)
        return 1
    except DeskError as error:
        print(error.message, file=sys.stderr)
        return 1
    return 0


def _settings_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else "?"
    return f"{name if name.isupper() else 'XRAY_' + name.upper()}: {first['msg']}"


def keep_log(data_dir: Path, port: int) -> RotatingFileHandler:
    """Keeps what is said to the terminal in files of the data folder too; the oldest goes when the next begins.

    Raises:
        StorageFailed: the folder cannot be written.
    """
    try:
        (data_dir / "logs").mkdir(exist_ok=True)
        file = RotatingFileHandler(
            data_dir / "logs" / f"desk-{port}.log", maxBytes=LOG_BYTES, backupCount=LOG_FILES - 1, encoding="utf-8"
        )
    except OSError as error:
        raise StorageFailed(f"The log cannot be written in {data_dir}: {error.strerror or error}.") from error
    file.setFormatter(logging.Formatter(LOG_FORMAT))
    logging.getLogger().addHandler(file)
    return file


def leave(status: int) -> NoReturn:
    """Ends the process at once: all is stored, and taking the models apart would outlast the time a stop is given."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    gc.freeze()
    gc.enable()
    leave(main())
