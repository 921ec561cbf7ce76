"""How soon a desk is there after `python app.py`: its sign-in page, and its first analysis.

    python -m tests.benchmarks.start [--tiny]

Starts the desk again and again on one data folder. `page_seconds` is from the start of the process until the sign-in
page is answered, `first_analysis_seconds` until a scan that was sent as soon as the page was there has been analysed:
signing in and the scan wait for the models. Medians. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from tests.benchmarks.served import PASSWORD, jpeg
from xray_app.settings import ROOT

SEED = 20_261_130


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--tiny", action="store_true", help="a quick look: once")
    times = 1 if asked.parse_args().tiny else 7
    with tempfile.TemporaryDirectory(prefix="start-") as folder:
        started(Path(folder) / "data", jpeg(SEED))  # makes the database, and reads the programs from the disk
        found = [started(Path(folder) / "data", jpeg(SEED + 1 + number)) for number in range(times)]
    pages, analyses = zip(*found, strict=True)
    result = {
        "page_seconds": round(statistics.median(pages), 2),
        "first_analysis_seconds": round(statistics.median(analyses), 2),
        "starts": times,
    }
    print(json.dumps(result))


def started(data_dir: Path, picture: bytes) -> tuple[float, float]:
    """Seconds until the page and until the analysis."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    own = {"XRAY_DATA_DIR": str(data_dir), "XRAY_PORT": str(port), "XRAY_ADMIN_PASSWORD": PASSWORD}
    began = time.perf_counter()
    desk = subprocess.Popen(
        [sys.executable, "app.py"], cwd=ROOT, env=os.environ | own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
            while True:
                try:
                    page = client.get("/signin")
                    break
                except httpx.TransportError:
                    time.sleep(0.02)
            page.raise_for_status()
            paged = time.perf_counter() - began
            answer = client.post("/v1/login", json={"username": "admin", "password": PASSWORD}).raise_for_status()
            token = {"Authorization": f"Bearer {answer.json()['token']}"}
            client.post("/v1/analyze", files={"file": ("bag.jpg", picture)}, headers=token).raise_for_status()
            return paged, time.perf_counter() - began
    finally:
        desk.kill()
        desk.wait()


if __name__ == "__main__":
    main()
