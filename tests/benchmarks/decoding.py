"""Eight large pictures at once: what the server's memory comes to, and whether anybody is turned away for good.

`python -m tests.benchmarks.decoding [--tiny]` starts `python app.py` on an empty data folder, sends eight PNGs of
fifty megapixels and 162 kB each at the same time, then asks for the image, the report and the thumbnail of each, all
at once, and lastly sends eight WebPs and TIFFs. Whoever is told to come again does. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
from PIL import Image, ImageDraw

from xray_app.session import COOKIE

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "correct horse battery"
AT_ONCE = 8
PATIENCE = 600.0
AFRESH = httpx.Limits(max_keepalive_connections=0)
"""The server closes a connection that waited for seconds; asking on it again would be a failure of ours."""


def picture(side: int, number: int, picture_format: str) -> bytes:
    """A picture that packs well, each with another number of squares."""
    image = Image.new("RGB", (side, side), "white")
    for square in range(number + 1):
        ImageDraw.Draw(image).rectangle((50 * square, 50, 50 * square + 30, 80), fill=(20, 60, 200))
    out = io.BytesIO()
    options = {"compression": "tiff_adobe_deflate"} if picture_format == "TIFF" else {}
    image.save(out, picture_format, **(options | ({"lossless": True, "method": 0} if picture_format == "WEBP" else {})))
    return out.getvalue()


class Memory:
    """The largest resident memory of a process, looked at twenty times a second."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.most = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    @property
    def now(self) -> float:
        """In MB."""
        return float(self._process.memory_info().rss) / 2**20

    def _follow(self) -> None:
        while not self._over.wait(0.05):
            self.most = max(self.most, self.now)

    def end(self) -> None:
        self._over.set()
        self._thread.join()


def answered(ask: Callable[[], httpx.Response], counts: Counter[str]) -> httpx.Response:
    """The answer in the end; each time it was too busy is counted."""
    until = time.monotonic() + PATIENCE
    while True:
        answer = ask()
        if answer.status_code != 503 or time.monotonic() > until:
            counts["failed"] += answer.status_code != 200
            return answer
        counts["told_to_come_again"] += 1
        time.sleep(float(answer.headers["Retry-After"]))


def at_once(asks: Sequence[Callable[[], httpx.Response]], counts: Counter[str]) -> list[httpx.Response]:
    """All of them in parallel."""
    with ThreadPoolExecutor(len(asks)) as pool:
        return list(pool.map(lambda ask: answered(ask, counts), asks))


def attack(client: httpx.Client, data: Path, side: int, memory: Memory) -> dict[str, float]:
    """The largest memory of each step, in MB, and the requests that failed or were told to come again."""
    counts = Counter[str]()
    said: dict[str, float] = {"idle_mb": memory.now}

    def sent(picture_format: str) -> list[str]:
        files = [picture(side, number, picture_format) for number in range(AT_ONCE)]
        said[f"{picture_format.lower()}_kb"] = max(map(len, files)) / 1000
        memory.most = 0
        asks = [lambda content=content: client.post("/v1/analyze", files={"file": ("a", content)}) for content in files]
        answers = at_once(asks, counts)
        said[f"{picture_format.lower()}_mb"] = memory.most
        print(said, dict(counts), file=sys.stderr)
        return [answer.json()["id"] for answer in answers if answer.status_code == 200]

    ids = sent("PNG")
    cookie = {"Cookie": f"{COOKIE}={client.headers['Authorization'].removeprefix('Bearer ')}"}
    browser = httpx.Client(base_url=client.base_url, headers=cookie, timeout=PATIENCE, limits=AFRESH)
    scans = [client.get(f"/v1/analyses/{one}").json()["scan"]["id"] for one in ids]
    for file in (data / "thumbnails").rglob("*.webp"):
        file.unlink()
    memory.most = 0
    addresses = [f"/v1/scans/{scan}/image" for scan in scans] + [f"/v1/analyses/{one}/report" for one in ids]
    addresses += [f"/v1/scans/{scan}/thumbnail" for scan in scans]
    at_once([lambda address=address: browser.get(address) for address in addresses], counts)
    said["routes_mb"] = memory.most
    print(said, dict(counts), file=sys.stderr)
    for picture_format in ("WEBP", "TIFF"):
        sent(picture_format)
    return said | {"failed": counts["failed"], "told_to_come_again": counts["told_to_come_again"]}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="pictures of four megapixels")
    tiny = parser.parse_args().tiny
    with tempfile.TemporaryDirectory() as folder:
        data, port = Path(folder), free_port()
        own = {"XRAY_DATA_DIR": folder, "XRAY_PORT": str(port), "XRAY_ADMIN_PASSWORD": PASSWORD}
        server = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=os.environ | own, stdout=subprocess.DEVNULL)
        try:
            client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, limits=AFRESH)
            until = time.monotonic() + PATIENCE
            while True:
                try:
                    client.get("/health").raise_for_status()
                    break
                except httpx.HTTPError as error:
                    if server.poll() is not None or time.monotonic() > until:
                        raise SystemExit("app.py did not start") from error
                    time.sleep(0.5)
            token = client.post("/v1/login", json={"username": "admin", "password": PASSWORD}).json()["token"]
            client.headers["Authorization"] = f"Bearer {token}"
            memory = Memory(server.pid)
            started = time.monotonic()
            said = attack(client, data, 2000 if tiny else 7071, memory)
            memory.end()
            print(
                json.dumps(
                    {name: round(value) for name, value in said.items()}
                    | {"seconds": round(time.monotonic() - started)}
                )
            )
        finally:
            server.terminate()
            server.wait(60)


if __name__ == "__main__":
    main()
