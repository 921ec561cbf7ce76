"""A desk that is really served, on a free port of this machine, and how to ask it."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import uvicorn

from app import listen, own_uploads
from xray_app.services import Services
from xray_app.settings import ROOT
from xray_app.simulate.scene import simulate_scan
from xray_app.taxonomy import load_taxonomy
from xray_app.wiring import with_desk

PASSWORD = "a benchmark's own"


@contextmanager
def signed_in(address: str) -> Iterator[httpx.Client]:
    """A client that asks as the admin."""
    with httpx.Client(base_url=address, timeout=120) as client:
        answer = client.post("/v1/login", json={"username": "admin", "password": PASSWORD})
        answer.raise_for_status()
        client.headers["Authorization"] = f"Bearer {answer.json()['token']}"
        yield client


@contextmanager
def served(services: Services) -> Iterator[str]:
    """The desk on a free port, in a thread of its own."""
    bound = listen("127.0.0.1", 0)
    with own_uploads():
        server = uvicorn.Server(uvicorn.Config(with_desk(services), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.05)
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@dataclass(frozen=True)
class DeskProcess:
    """A desk in a process of its own: where it answers, the process, and the file of what it says."""

    address: str
    process: subprocess.Popen[bytes]
    log: Path


@contextmanager
def desk_process(data_dir: Path, patience: float = 300, **settings: str) -> Iterator[DeskProcess]:
    """`python app.py` on this data folder and a free port, killed at the end; `settings` are named as in `XRAY_…`.

    Raises:
        RuntimeError: it ended, or does not answer within `patience` seconds.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    own = {"XRAY_DATA_DIR": str(data_dir), "XRAY_PORT": str(port), "XRAY_ADMIN_PASSWORD": PASSWORD}
    named = {f"XRAY_{name.upper()}": value for name, value in settings.items()}
    environment = os.environ | {"HF_HUB_OFFLINE": "1"} | own | named
    log = data_dir.with_name(f"{data_dir.name}.log")
    with log.open("ab") as said:
        process = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=said, stderr=said)
    desk = DeskProcess(f"http://127.0.0.1:{port}", process, log)
    try:
        until = time.monotonic() + patience
        while not _answers(desk.address):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the desk does not answer: {log.read_text()[-2000:]}")
            time.sleep(0.2)
        yield desk
    finally:
        process.kill()
        process.wait()


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/ready", timeout=5).is_success
    except httpx.TransportError:
        return False


def jpeg(seed: int) -> bytes:
    """A simulated scan as it would be uploaded."""
    scan = simulate_scan(seed, load_taxonomy(), items=(3, 8))
    data = io.BytesIO()
    scan.image.save(data, "JPEG", quality=scan.quality)
    return data.getvalue()
