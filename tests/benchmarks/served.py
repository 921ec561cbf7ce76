"""A desk that is really served, on a free port of this machine, and how to ask it."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn

from app import listen, with_desk
from xray_app.services import Services
from xray_app.simulate.scene import simulate_scan
from xray_app.taxonomy import load_taxonomy

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


def jpeg(seed: int) -> bytes:
    """A simulated scan as it would be uploaded."""
    scan = simulate_scan(seed, load_taxonomy(), items=(3, 8))
    data = io.BytesIO()
    scan.image.save(data, "JPEG", quality=scan.quality)
    return data.getvalue()
