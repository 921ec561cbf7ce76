"""The desk as a process: one a data folder, nothing left of dead ones, and a quick end with pages open."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.benchmarks.served import PASSWORD, desk_process
from tests.test_webhook import Receiver
from xray_app.scratch_folder import PREFIX
from xray_app.settings import ROOT
from xray_app.store import runs
from xray_app.store.database import Database

pytestmark = pytest.mark.slow

GRACE = 10
"""Seconds that `docker stop` waits by default; Kubernetes waits three times as long."""


def test_a_server_alone_with_its_folder_that_ends_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    monkeypatch.setenv("TMPDIR", str(scratch))
    left = scratch / f"{PREFIX}of-a-dead-one"
    left.mkdir(parents=True)
    (left / "upload.png").write_bytes(b"a bag")
    with desk_process(tmp_path / "data") as desk:
        assert not left.exists()
        assert len(list(scratch.glob(f"{PREFIX}*"))) == 1, "its own"

        second = subprocess.run(
            [sys.executable, "app.py"],
            cwd=ROOT,
            env=os.environ | {"XRAY_DATA_DIR": str(tmp_path / "data"), "XRAY_PORT": "59999"},
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert second.returncode == 1
        assert second.stderr.startswith("Another server works with the data folder"), second.stderr
        listed = subprocess.run(
            [sys.executable, "-m", "xray_app", "users", "list"],
            cwd=ROOT,
            env=os.environ | {"XRAY_DATA_DIR": str(tmp_path / "data")},
            capture_output=True,
            text=True,
        )
        assert listed.stdout == "admin\tadmin\n", "other commands go on"

        with httpx.Client(base_url=desk.address, timeout=60) as client:
            assert client.post("/signin", data={"username": "admin", "password": PASSWORD}).status_code == 303
            opened = [threading.Thread(target=keep_open, args=(client, session)) for session in ("one", "two")]
            for page in opened:
                page.start()
            time.sleep(1)
            began = time.monotonic()
            desk.process.send_signal(signal.SIGTERM)
            assert desk.process.wait(60) == 0
            assert time.monotonic() - began < GRACE
            for page in opened:
                page.join()
        assert "Traceback" not in desk.log.read_text()
    assert not list(scratch.glob(f"{PREFIX}*"))


def test_seen_from_outside_its_log_is_json_and_its_webhook_tells_what_the_last_server_left(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with closing(Database.open(f"sqlite:///{data_dir / 'xray.db'}", data_dir)) as db:
        run = runs.create(db, "vlm-adapter", "bundled", "lora", None, "ann")
        runs.request_cancel(db, run.id)
    with Receiver() as receiver:
        served = threading.Thread(target=receiver.serve_forever, args=(0.05,))
        served.start()
        url = receiver.url.get_secret_value()
        with desk_process(data_dir, log_format="json", webhook_url=url, webhook_secret="of both sides, long") as desk:
            own = {"X-Request-ID": "from-outside"}
            login = {"username": "admin", "password": PASSWORD}
            answer = httpx.post(f"{desk.address}/v1/login", json=login, headers=own, timeout=60)
            assert answer.headers["x-request-id"] == "from-outside"
            with socket.create_connection(("127.0.0.1", int(desk.address.rpartition(":")[2]))) as raw:
                raw.sendall(b"nonsense\r\n\r\n")
                raw.recv(100)
            until = time.monotonic() + 60
            while not receiver.events and time.monotonic() < until:
                time.sleep(0.1)
            desk.process.send_signal(signal.SIGTERM)
            assert desk.process.wait(60) == 0
        receiver.shutdown()
        served.join()
    assert [(one["type"], one["data"]["run"]) for one in receiver.events] == [("run.ended", run.id)]
    assert receiver.taken[0][0]["x-hub-signature-256"].startswith("sha256=")
    printed = ("The desk is on", "Stopped.")  # on stdout
    said = [json.loads(one) for one in desk.log.read_text().splitlines() if not one.startswith(printed)]
    assert "uvicorn.error" in {one["logger"] for one in said}
    (kept,) = (data_dir / "logs").iterdir()
    assert [json.loads(one) for one in kept.read_text().splitlines()] == said


def keep_open(client: httpx.Client, session: str) -> None:
    """The stream by which a page learns that the server lives."""
    try:
        with client.stream("GET", f"/desk/gradio_api/heartbeat/{session}") as stream:
            for _ in stream.iter_raw():
                pass
    except httpx.TransportError:
        pass
