"""The desk: settings, serving. `python app.py` and open http://127.0.0.1:7860."""

from __future__ import annotations

import gc

if __name__ == "__main__":
    gc.disable()  # until all is imported: looking for garbage among it takes a fifth of the start, and there is none

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import uvicorn
from pydantic import ValidationError
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from xray_app.api.header_timeout import TimedHeaders
from xray_app.api.starting import StartingDesk
from xray_app.errors import DeskError, StorageFailed
from xray_app.remote_user import KeepPeer
from xray_app.scratch_folder import remove_abandoned, scratch_folder
from xray_app.settings import Settings
from xray_app.store.database import only_server

if TYPE_CHECKING:  # the models, the API and the pages are imported while the sign-in page is served already
    from xray_app.services import Services

MOST_CONNECTIONS = 1000
"""Open at once; an open page holds two or three. Past it the answer is 503."""


LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
LOG_BYTES, LOG_FILES = 10 * 2**20, 5
JOBS_END_SECONDS = 2.0
"""What exports and imports at work get to end in when the server does."""


class CannotListen(DeskError):
    """The address or port is not to be had."""


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
    """Stops without alarm."""

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


def server_config(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """How the desk is served: slow headers and too many connections are refused, and a stop waits for nobody long."""
    served: Any = app  # uvicorn and Starlette have types of their own for it
    served = ProxyHeadersMiddleware(served, os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1"))
    return uvicorn.Config(
        KeepPeer(served),
        proxy_headers=False,  # done above, within what keeps the connection's own address
        host=settings.host,
        port=settings.port,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=3,
        limit_concurrency=MOST_CONNECTIONS,
        http=TimedHeaders,
    )


def serve(settings: Settings, bound: socket.socket, make: Callable[[], Services]) -> Services | None:
    """Serves until a signal comes; a run at work goes on without the server.

    Args:
        settings: where and how.
        bound: from `listen`.
        make: makes the parts of the desk, in a thread of its own, while the sign-in page is served already.

    Returns:
        the parts; None where they were not made when the signal came.

    Raises:
        whatever `make` raises; the server has stopped then.
    """
    remove_abandoned()
    with own_uploads():
        starting = StartingDesk(settings)
        server = Server(server_config(starting, settings))
        made: list[Services] = []
        failed: list[BaseException] = []

        def start() -> None:
            try:
                made.append(make())
                from xray_app.wiring import with_desk

                starting.open(with_desk(made[0]))
            except BaseException as error:  # noqa: BLE001  # raised in the main thread
                failed.append(error)
                server.should_exit = True
                return
            if not gc.isenabled():
                gc.freeze()
                gc.enable()
            host = settings.host if ":" not in settings.host else f"[{settings.host}]"
            print(f"The desk is on http://{host}:{settings.port}", flush=True)

        threading.Thread(target=start, name="start", daemon=True).start()
        # Uvicorn raises the signal again when it has stopped; this way the folder is still removed.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            server.run(sockets=[bound])
        except KeyboardInterrupt:
            failed.clear()  # what was stopped in the middle is no fault
            print("Stopped.", flush=True)
        if failed:
            raise failed[0]
        for services in made:
            services.jobs.stop_all(JOBS_END_SECONDS)
        return made[0] if made else None


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

            def make() -> Services:
                from xray_app import wiring

                services = wiring.wire(settings)
                wiring.begin(services)
                return services

            services = serve(settings, bound, make)
            if services is not None:
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
    return f"{name if name.isupper() else 'XRAY_' + name.upper()}: {first['msg'].removeprefix('Value error, ')}"


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
    leave(main())
