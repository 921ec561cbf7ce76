"""The desk as a process: one a data folder, nothing left of dead ones, and a quick end with pages open."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.benchmarks.served import PASSWORD, desk_process
from xray_app.scratch_folder import PREFIX
from xray_app.settings import ROOT

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


def keep_open(client: httpx.Client, session: str) -> None:
    """The stream by which a page learns that the server lives."""
    try:
        with client.stream("GET", f"/desk/gradio_api/heartbeat/{session}") as stream:
            for _ in stream.iter_raw():
                pass
    except httpx.TransportError:
        pass
