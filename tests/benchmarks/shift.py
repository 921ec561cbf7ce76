"""Three people at the desk at once, by script, and afterwards whether the database says what they were shown.

    python -m tests.benchmarks.shift [--minutes 10] [--seed 1] [--patience 60] [--tiny]

An analyst, an annotator and a reviewer, each in a browser of their own, work on the same scans: uploads, decisions
and their undoing, corrections, claims, skips, reviews; with reloads, lost connections and the back button in the
middle of an edit, double clicks, two tabs, and the server killed and started again half-way. The models are
scripted, so that the desk itself is what is tried. The last line is one JSON object; any loss, double, unseen
conflict or silence exits with 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from playwright.async_api import async_playwright

from tests.benchmarks.shift_ledger import Ledger, compare
from tests.benchmarks.shift_people import Person, Site
from tests.benchmarks.shift_roles import Analyst, Annotator, Reviewer
from tests.browser.conftest import FLAGS, HEIGHT, NAMES, WIDTH
from xray_app.settings import ROOT
from xray_app.store.database import Database

PEOPLE = {"ana": (Analyst, "analyst"), "nora": (Annotator, "annotator"), "ben": (Reviewer, "annotator")}


class Process:
    """The desk's process, which can be killed and comes back on the same port with the same folder."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = folder

    def start(self) -> None:
        users = [f"{name}:{role}" for name, (_, role) in PEOPLE.items()]
        command = [
            sys.executable,
            "-m",
            "tests.browser.scripted_desk",
            str(self.folder / "data"),
            str(self.port),
            *users,
        ]
        with (self.folder / "desk.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=os.environ | {"HF_HUB_OFFLINE": "1"}, stdout=log, stderr=log
            )

    async def serves(self, patience: float) -> None:
        """Waits until it answers."""
        until = time.monotonic() + patience
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise RuntimeError(f"the desk ended: {(self.folder / 'desk.log').read_text()[-2000:]}")
            try:
                await asyncio.to_thread(urllib.request.urlopen, f"{self.url}/health", timeout=5)
                return
            except OSError:
                await asyncio.sleep(0.3)
        raise RuntimeError(f"no desk after {patience:.0f} s")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


async def work(folder: Path, seconds: float, seed: int, patience: float) -> tuple[Ledger, int]:
    """The shift itself: what was told, and how often the desk was killed."""
    desk, ledger = Process(folder), Ledger()
    desk.start()
    site = Site(desk.url, folder, patience)
    chromium = next(filter(None, map(shutil.which, NAMES)), None)
    try:
        await desk.serves(max(300, site.patience))
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            people: list[Person] = []
            for place, (name, (kind, _)) in enumerate(PEOPLE.items()):
                context = await browser.new_context(viewport={"width": WIDTH, "height": HEIGHT})
                people.append(kind(name, context, site, ledger, random.Random(seed * 100 + place)))
            await asyncio.gather(*(person.sign_in() for person in people))
            end = time.monotonic() + seconds
            await asyncio.gather(*(person.work_until(end) for person in people), fall(desk, site, seconds / 2))
            await browser.close()
    finally:
        desk.kill()
    return ledger, site.falls


async def fall(desk: Process, site: Site, after: float) -> None:
    """Kills the desk in the middle of everything, and starts it again."""
    await asyncio.sleep(after)
    site.up, site.falls = False, site.falls + 1
    await asyncio.to_thread(desk.kill)
    await asyncio.sleep(1)
    desk.start()
    await desk.serves(max(300, site.patience))
    site.up, site.away_until = True, time.monotonic()


def figures(ledger: Ledger, wrong: dict[str, list[str]], minutes: float, kills: int) -> dict[str, Any]:
    """What was done, how it ended, and what is wrong (all zero where nothing is)."""
    stored = Counter(act.kind for act in ledger.acts if act.fate == "stored")
    return {
        "minutes": round(minutes, 1),
        **{f"{kind}s": stored[kind] for kind in ("upload", "decision", "undo", "correction", "skip", "review")},
        "conflicts_shown": ledger.seen["conflict"],
        **{name: ledger.seen[name] for name in ("reload", "cut_off", "back", "double_click", "two_tabs")},
        "kills": kills,
        "unknown": sum(act.fate == "unknown" for act in ledger.acts),
        **{name: len(found) for name, found in wrong.items()},
        "faults": len(ledger.faults),
    }


def run(minutes: float, seed: int = 1, patience: float = 60) -> tuple[dict[str, Any], list[str]]:
    """A shift on a scratch folder: its figures, and each thing that is wrong in words."""
    with tempfile.TemporaryDirectory(prefix="xray-shift-") as folder:
        ledger, kills = asyncio.run(work(Path(folder), minutes * 60, seed, patience))
        db = Database.open(f"sqlite:///{folder}/data/xray.db", Path(folder) / "data")
        wrong = compare(ledger, db)
        db.close()
    words = [f"{name}: {one}" for name, found in wrong.items() for one in found] + ledger.faults
    return figures(ledger, wrong, minutes, kills), words


def main() -> int:
    told = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    told.add_argument("--minutes", type=float, default=10)
    told.add_argument("--seed", type=int, default=1)
    told.add_argument(
        "--patience",
        type=float,
        default=60,
        help="seconds after which no answer is a fault; the desk starts within as many",
    )
    told.add_argument("--tiny", action="store_true", help="under half a minute")
    chosen = told.parse_args()
    found, words = run(0.4 if chosen.tiny else chosen.minutes, chosen.seed, chosen.patience)
    for line in words:
        print(line)
    print(json.dumps(found))
    return 1 if words else 0


if __name__ == "__main__":
    sys.exit(main())
