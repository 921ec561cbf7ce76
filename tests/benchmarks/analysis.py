"""What the desk adds to the bare models, and what analysts feel of a training run.

    python -m tests.benchmarks.analysis [--tiny] [--data YOLO_DIR]

`over_generate_simulated` is an analysis (both models, threat score, risk) of a decoded scan over transformers' greedy
`generate` of the VLM alone on it; `passes_simulated` the VLM's forward passes an answer, `identical_text` whether every
answer is letter by letter that of `generate`. With `--data`, the same of the scans in its `images/val` as `…_real`.
`overhead_ratio` is an analysis from bytes to `Analysis` (decoding, both models, parsing, risk) over the two bare model
calls on the decoded picture (the detector, then the VLM with its draft), in the same process, taken in turns.
`score_ratio` is an analysis with its threat score over the same where the VLM is not asked for its part of it.
`p50_ms_while_training` is the same analysis while a run of its own process trains. `rss_mb` and `start_seconds` are
those of a fresh `python app.py`. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from tests.benchmarks.batch_speed import one_by_one
from tests.conftest import save_analysis
from xray_app.report import instruction
from xray_app.report_draft import draft_of
from xray_app.scan.read import Limits, read_scan
from xray_app.services import Services
from xray_app.settings import ROOT, Settings
from xray_app.simulate.scene import simulate_scan
from xray_app.store import corrections, runs
from xray_app.taxonomy import load_taxonomy
from xray_app.threat_score import DETECTOR_FLOOR
from xray_app.types import CorrectionBox, CorrectionIn, ItemCount
from xray_app.vlm.base import Answer
from xray_app.vlm.local import LocalVlm
from xray_app.wiring import wire

SEED = 20_260_101
CORRECTED = 30


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--tiny", action="store_true", help="a quick look: fewer scans")
    asked.add_argument("--data", type=Path, help="a data set in YOLO's form, of real scans")
    given = asked.parse_args()
    scans, compared = (5, 5) if given.tiny else (30, 200)
    with tempfile.TemporaryDirectory(prefix="analysis-") as folder:
        start_seconds, rss_mb = fresh_server(Path(folder) / "server")
        services = wire(Settings(data_dir=Path(folder) / "data", admin_password="benchmark"))
        pictures = [picture(SEED + number) for number in range(scans)]
        alone, bare = against_bare_calls(services, pictures)
        scored, unscored = with_and_without_score(services, pictures)
        simulated = (picture(SEED + number) for number in range(compared))
        beside = {"simulated": over_generate(services, simulated)}
        if given.data is not None:
            files = sorted((given.data / "images" / "val").iterdir())[:compared]
            beside["real"] = over_generate(services, (file.read_bytes() for file in files))
        training = while_training(services, pictures)
    result = {
        "overhead_ratio": round(statistics.median(a / b for a, b in zip(alone, bare, strict=True)), 3),
        "score_ratio": round(statistics.median(a / b for a, b in zip(scored, unscored, strict=True)), 3),
        "p50_ms": round(statistics.median(alone) * 1000, 1),
        "p50_ms_while_training": round(statistics.median(training) * 1000, 1) if training else None,
        "rss_mb": round(rss_mb),
        "start_seconds": round(start_seconds, 1),
        "analyses_while_training": len(training),
    }
    for kind, measured in beside.items():
        result[f"over_generate_{kind}"] = round(statistics.median(measured.ratios), 3)
        result[f"passes_{kind}"] = round(statistics.mean(measured.passes), 2)
        result[f"compared_{kind}"] = len(measured.ratios)
    result["identical_text"] = all(measured.identical for measured in beside.values())
    print(json.dumps(result))


def picture(seed: int) -> bytes:
    file = io.BytesIO()
    simulate_scan(seed, load_taxonomy(), items=(1, 4)).image.save(file, "PNG")
    return file.getvalue()


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def limits_of(services: Services) -> Limits:
    return Limits(services.settings.max_upload_bytes, services.settings.max_pixels)


def against_bare_calls(services: Services, pictures: list[bytes]) -> tuple[list[float], list[float]]:
    """Seconds of each analysis, and of the bare model calls on the same picture."""
    limits, analyser = limits_of(services), services.analyser
    alone, bare = [], []
    for place, content in enumerate([pictures[0], *pictures]):
        image = read_scan(content, "scan.png", limits).image

        def models(image=image) -> None:  # type: ignore[no-untyped-def]
            found = analyser.detector.detect(image, DETECTOR_FLOOR)
            analyser.vlm.answer([image], [instruction()], [draft_of(found, services.taxonomy)])

        def whole(content: bytes = content) -> None:
            analyser.analyse(read_scan(content, "scan.png", limits))

        # Whichever goes second finds a warmer cache, so they take turns in that too.
        order = (models, whole) if place % 2 else (whole, models)
        taken = {call: seconds(call) for call in order}
        if place:  # the first warms both up
            alone.append(taken[whole])
            bare.append(taken[models])
    return alone, bare


def with_and_without_score(services: Services, pictures: list[bytes]) -> tuple[list[float], list[float]]:
    """Seconds of each analysis with the VLM's probabilities of threats, and without them; by turns."""
    vlm = services.analyser.vlm
    assert isinstance(vlm, LocalVlm)
    entries = vlm.threats
    took: tuple[list[float], list[float]] = ([], [])
    for number, content in enumerate(pictures):
        for place in (0, 1) if number % 2 else (1, 0):
            vlm.threats = None if place else entries
            scan = read_scan(content, "scan.png", limits_of(services))
            took[place].append(seconds(partial(services.analyser.analyse, scan)))
    vlm.threats = entries
    return took


@dataclass
class BesideGenerate:
    """Analyses beside `generate`: seconds over seconds and passes of each scan, and whether all said the same."""

    ratios: list[float] = field(default_factory=list)
    passes: list[int] = field(default_factory=list)
    identical: bool = True


def over_generate(services: Services, pictures: Iterable[bytes]) -> BesideGenerate:
    """By turns; the first picture warms both up."""
    analyser, measured = services.analyser, BesideGenerate()
    vlm = analyser.vlm
    assert isinstance(vlm, LocalVlm)
    answers: list[Answer] = []
    answer = vlm.answer

    def listening(*asked: Any) -> list[Answer]:
        answers[:] = answer(*asked)
        return answers

    with mock.patch.object(vlm, "answer", listening):
        for number, content in enumerate(pictures):
            scan = read_scan(content, "scan.png", limits_of(services))
            texts: list[str] = []
            both = partial(analyser.analyse, scan)
            alone = partial(lambda image, texts: texts.extend(one_by_one(vlm, [image])), scan.image, texts)
            taken = {call: seconds(call) for call in ((both, alone) if number % 2 else (alone, both))}
            measured.identical &= [one.text for one in answers] == texts
            if number:
                measured.ratios.append(taken[both] / taken[alone])
                measured.passes += [one.passes or 0 for one in answers]
    return measured


def while_training(services: Services, pictures: list[bytes]) -> list[float]:
    """Seconds of each analysis while a run is at work; empty where it ended too soon."""
    taxonomy, db, limits = services.taxonomy, services.db, limits_of(services)
    for number in range(CORRECTED):
        simulated = simulate_scan(SEED + 1000 + number, taxonomy, items=(1, 4))
        file = io.BytesIO()
        simulated.image.save(file, "PNG")
        scan = read_scan(file.getvalue(), "scan.png", limits)
        analysis = services.analyser.analyse(scan)
        save_analysis(db, analysis, scan.content, "admin", media_type=scan.media_type)
        labels = [label for label, _ in simulated.boxes]
        sent = CorrectionIn(
            items=tuple(ItemCount(label=label, count=labels.count(label)) for label in dict.fromkeys(labels)),
            boxes=tuple(CorrectionBox(label=label, xyxy=xyxy) for label, xyxy in simulated.boxes),
        )
        corrections.add(db, analysis.id, sent, "admin", taxonomy, False)
    run = runs.create(db, "vlm-adapter", "bundled", "lora", None, "admin")
    services.launch(run)
    taken: list[float] = []
    place = 0
    while (now := runs.get(db, run.id)).status in ("queued", "running"):
        if now.status == "queued" or now.progress < 0.05:  # still importing and taking its snapshot
            time.sleep(0.2)
            continue
        content = pictures[place % len(pictures)]
        place += 1
        taken.append(seconds(lambda content=content: services.analyser.analyse(read_scan(content, "s.png", limits))))
        time.sleep(0.3)  # an analyst looks at each answer
    if now.status != "succeeded":
        print(f"the run {now.status}: {now.error}", file=sys.stderr)
    return taken


def fresh_server(data_dir: Path) -> tuple[float, float]:
    """Seconds from `python app.py` until it is ready to analyse, and its resident memory then, in MB."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ, "XRAY_DATA_DIR": str(data_dir), "XRAY_PORT": str(port), "XRAY_ADMIN_PASSWORD": "benchmark",
    }  # fmt: skip
    started = time.perf_counter()
    server = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    try:
        while True:
            if server.poll() is not None:
                raise SystemExit(f"app.py ended with status {server.returncode}")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=1):
                    break
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        taken = time.perf_counter() - started
        return taken, resident_mb(server.pid)
    finally:
        server.kill()  # it has nothing to lose
        server.wait()


def resident_mb(pid: int) -> float:
    """Resident memory from /proc."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    main()
