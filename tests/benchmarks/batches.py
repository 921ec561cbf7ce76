"""Whether a dropped batch of scans ever stops: many small batches in a browser, on a machine that is busy besides.

    python -m tests.benchmarks.batches [--count 300] [--load 2] [--late 40]

Serves the desk with models that answer at once, so that what takes its time is the way of the events alone, and keeps
`--load` more processes computing. While a batch of two scans comes in, somebody clicks on one tile after the other:
events that meet those of the batch. The browser hears so many milliseconds `--late` that a stream of answers has
ended, as one that is busy does now and then. A batch hangs whose scans are not all in the queue, or after which no
scan can be opened, within `--patience` seconds; its page is then given up.

The last line is one JSON object: `batches`, `hung`, `asked` (how often the page had to ask for an event), `opened`
(scans opened meanwhile), and the median and the longest time of a batch in seconds.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from playwright.sync_api import Browser, Page, TimeoutError, sync_playwright

from tests.benchmarks.served import PASSWORD, served
from tests.ui.scripted import ScriptedDetector, ScriptedVlm
from xray_app import auth
from xray_app.analysis import Analyser
from xray_app.services import Services
from xray_app.settings import ASSETS, Settings
from xray_app.store.database import Database
from xray_app.taxonomy import load_taxonomy
from xray_app.types import Role

SCANS = [ASSETS / "samples" / name for name in ("knife.jpg", "gun.jpg")]
LATE_STREAM = Path(__file__).parents[1] / "browser" / "late_stream.js"
A_USER = 25
"""Batches dropped by one user: with the queue the time to draw it grows."""

COMPUTES = "import os\nos.nice(5)\nwhile True: sum(range(10**5))"
IN = """tiles => document.querySelector('#intake .progress').hidden
    && document.querySelectorAll('#strip .tile').length === tiles"""
CLICKING = """window.clicking = setInterval(() => {
    const tiles = document.querySelectorAll('#strip .tile');
    if (tiles.length) tiles[Math.floor(Math.random() * tiles.length)].click();
}, 60)"""
# The last click before was perhaps not answered yet, and Gradio drops what is clicked meanwhile.
OPENS = """() => {
    const tile = [...document.querySelectorAll('#strip .tile')].at(-1);
    if (xrayDesk.work && xrayDesk.work.analysis_id === tile.dataset.analysis) return true;
    tile.click();
    return false;
}"""


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keeps so many cores computing."""
    at_work = [subprocess.Popen([sys.executable, "-c", COMPUTES]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in at_work:
            process.kill()


def sign_in(browser: Browser, address: str, user: str, late: int) -> Page:
    """The desk of a user in a browser of their own, which hears late that a stream has ended."""
    page = browser.new_context(viewport={"width": 1366, "height": 768}).new_page()
    page.set_default_timeout(240_000)
    page.add_init_script(f"window.closesLate = {late};")
    page.add_init_script(path=LATE_STREAM)
    page.goto(f"{address}/desk/")
    page.fill("input[name=username]", user)
    page.fill("input[name=password]", PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_selector("#viewer svg.scan", state="attached")
    page.wait_for_selector(".desk-user")
    return page


def drop(page: Page, tiles: int, patience: float) -> float | None:
    """Drops one batch while somebody clicks about: seconds until all of it is there, None if it hangs."""
    start = time.monotonic()
    page.evaluate(CLICKING)
    page.set_input_files("#upload input[type=file]", [str(scan) for scan in SCANS])
    try:
        page.wait_for_function(IN, arg=tiles + len(SCANS), timeout=patience * 1000)
        page.evaluate("clearInterval(window.clicking)")
        took = time.monotonic() - start
        page.wait_for_function(OPENS, polling=100, timeout=patience * 1000)
    except TimeoutError:
        return None
    return took


def measure(services: Services, count: int, late: int, patience: float) -> dict[str, Any]:
    """Drops the batches and says how they went."""
    took: list[float] = []
    asked = opened = hung = 0

    def note(request: Any) -> None:
        nonlocal asked, opened
        if "/queue/join" in request.url:
            asked += '"events":[' in (request.post_data or "")
            opened += '"current":' in (request.post_data or "")

    with served(services) as address, sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page: Page | None = None
        for number in range(count):
            if page is None or number % A_USER == 0:
                if page is not None:
                    page.context.close()
                auth.add_user(services.db, f"ana{number}", PASSWORD, Role.ANALYST)
                page, tiles = sign_in(browser, address, f"ana{number}", late), 0
                page.on("request", note)
            seconds = drop(page, tiles, patience)
            tiles += len(SCANS)
            if seconds is None:
                hung += 1
                print(f"batch {number}: {page.inner_text('#intake .progress-words')}", flush=True)
                page.context.close()
                page = None
            else:
                took.append(seconds)
            if number % 25 == 24:
                print(f"{number + 1} batches, {hung} hung, {asked} asked for, {opened} opened", flush=True)
        browser.close()
    return {
        "batches": count, "hung": hung, "asked": asked, "opened": opened,
        "median_s": round(median(took), 2), "longest_s": round(max(took), 2),
    }  # fmt: skip


def main() -> None:
    """Parses the arguments, measures, prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--load", type=int, default=2)
    parser.add_argument("--late", type=int, default=40)
    parser.add_argument("--patience", type=float, default=50)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, busy(args.load):
        settings = Settings(data_dir=Path(folder), vlm="bundled", detector="bundled", max_upload_mb=50)
        rules = load_taxonomy().rules()
        db = Database.open(settings.sqlalchemy_url, settings.data_dir)
        analyser = Analyser(ScriptedVlm(), ScriptedDetector(), rules)
        services = Services(settings, db, rules, analyser, lambda run: None)
        figures = measure(services, args.count, args.late, args.patience)
        db.close()
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
