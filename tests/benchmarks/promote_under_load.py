"""Adapters promoted and rolled back while scans are analysed: does every answer come from the models it names?

    python -m tests.benchmarks.promote_under_load [--tiny]

A served desk, clients that send scans one after the other, and an admin who promotes, or rolls back, adapters and
detectors all the while. They are the bundled models with noise on their weights, so that each answers differently,
registered with a gate that was passed. `failed` are requests without an answer. `misattributed` are answers that
differ from what the models they name say of the scan when asked alone, that name a model which was not in use at any
moment of the request, or that the database kept differently. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.noisy_models import register_noisy
from tests.benchmarks.served import PASSWORD, jpeg, served, signed_in
from xray_app.analysis import ActiveAdapter, Analyser
from xray_app.detector.load import load_detector
from xray_app.scan.read import read_scan
from xray_app.services import Services
from xray_app.settings import Settings
from xray_app.store import adapters
from xray_app.types import AdapterKind
from xray_app.vlm.load import load_local
from xray_app.wiring import wire

SEED = 20_261_127
KINDS: tuple[AdapterKind, ...] = ("vlm-adapter", "detector")
CLIENTS = 4
NOISE: Mapping[AdapterKind, Sequence[float]] = {"vlm-adapter": (0.002, 0.01, 0.03), "detector": (0.01, 0.03)}


@dataclass
class Pointer:
    """Which model of a kind may have been in use when: a change counts from its request to its answer."""

    changes: list[tuple[float, float, str | None]] = field(default_factory=lambda: [(0.0, 0.0, None)])

    def may_be(self, adapter: str | None, sent: float, received: float) -> bool:
        """Whether it may have been in use at some moment between the two."""
        ends = [answered for _, answered, _ in self.changes[1:]] + [float("inf")]
        return any(
            now == adapter and asked <= received and end >= sent
            for (asked, _, now), end in zip(self.changes, ends, strict=True)
        )


Alone = dict[str | None, list[tuple[Any, Any]]]
"""By model, None being the base: for each scan the model an analysis names, and what it said."""


@dataclass(frozen=True)
class Answer:
    """What a client got, and when (seconds of the monotonic clock)."""

    scan: int
    sent: float
    received: float
    status: int
    analysis: dict[str, Any]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--tiny", action="store_true", help="a quick look: ten seconds")
    seconds = 10 if asked.parse_args().tiny else 90
    with tempfile.TemporaryDirectory(prefix="load-") as folder:
        print(json.dumps(under_load(Path(folder), seconds)))


def under_load(folder: Path, seconds: float, scans: int = 6) -> dict[str, int]:
    """Serves, promotes and counts for so many seconds, and compares every answer afterwards."""
    services = wire(Settings(data_dir=folder / "data", admin_password=PASSWORD))
    pictures = [jpeg(SEED + number) for number in range(scans)]
    models = {kind: [register_noisy(services, folder, kind, spread) for spread in NOISE[kind]] for kind in KINDS}
    pointers = {kind: Pointer() for kind in KINDS}
    with served(services) as address, ThreadPoolExecutor(CLIENTS + 1) as people:
        until = time.monotonic() + seconds
        admin = people.submit(_promote, address, models, pointers, until)
        clients = [people.submit(_ask, address, pictures, number, until) for number in range(CLIENTS)]
        answers = [answer for each in clients for answer in each.result()]
        promotions = admin.result()
        given = [answer for answer in answers if answer.status == 200]
        with signed_in(address) as asking:
            kept = [asking.get(f"/v1/analyses/{answer.analysis['id']}").json() for answer in given]
    alone = {kind: _alone(services, kind, models[kind], pictures) for kind in KINDS}
    wrong = sum(
        stored != answer.analysis or not _attributed(answer, pointers, alone)
        for answer, stored in zip(given, kept, strict=True)
    )
    services.db.close()
    return {
        "requests": len(answers),
        "failed": len(answers) - len(given),
        "misattributed": wrong,
        "promotions": promotions,
    }


def _attributed(answer: Answer, pointers: Mapping[AdapterKind, Pointer], alone: Mapping[AdapterKind, Alone]) -> bool:
    """Whether words and boxes are those of the models named, and these were in use."""
    told = {kind: _part(answer.analysis, kind) for kind in KINDS}
    return all(
        any(
            alone[kind][name][answer.scan] == told[kind] and pointers[kind].may_be(name, answer.sent, answer.received)
            for name in alone[kind]
        )
        for kind in KINDS
    )


def _part(analysis: dict[str, Any], kind: AdapterKind) -> tuple[Any, Any]:
    """The model an analysis names, and what that model said."""
    if kind == "detector":
        return analysis["models"]["detector"]["sha256"], analysis["boxes"]
    return analysis["models"]["vlm"]["adapter"], analysis["report"]


def _alone(services: Services, kind: AdapterKind, names: Sequence[str], pictures: Sequence[bytes]) -> Alone:
    """What each model of a kind, the base included, says of each scan when nobody else asks.

    Raises:
        RuntimeError: two of them say the same of all scans: nothing could be told from their answers.
    """
    found: Alone = {name: _says(services, kind, name, pictures) for name in (None, *names)}
    told = [[words for _, words in answers] for answers in found.values()]
    if any(one == other for number, one in enumerate(told) for other in told[:number]):
        raise RuntimeError(f"Two models of kind {kind} answer alike.")
    return found


def _says(services: Services, kind: AdapterKind, name: str | None, pictures: Sequence[bytes]) -> list[tuple[Any, Any]]:
    """What one model says of each scan, loaded anew."""
    active = None if name is None else ActiveAdapter(name, adapters.folder(services.db, name))
    analyser = Analyser(
        load_local("bundled"),
        load_detector(services.settings, services.taxonomy),
        services.rules,
        lambda: active if kind == "vlm-adapter" else None,
        active_detector=lambda: active if kind == "detector" else None,
    )
    scans = [read_scan(picture, "scan.jpg", services.limits) for picture in pictures]
    return [_part(analyser.analyse(scan).model_dump(mode="json"), kind) for scan in scans]


def _promote(
    address: str,
    models: Mapping[AdapterKind, Sequence[str]],
    pointers: Mapping[AdapterKind, Pointer],
    until: float,
) -> int:
    """The admin: promotes one at random, or rolls back, about twice a second; returns how often."""
    draws, count = random.Random(SEED), 0
    with signed_in(address) as admin:
        while time.monotonic() < until:
            kind = draws.choice(KINDS)
            asked = time.monotonic()
            if draws.random() < 0.7:
                answer = admin.post(f"/v1/adapters/{draws.choice(models[kind])}/promote", json={})
            else:
                answer = admin.post("/v1/adapters/rollback", json={"kind": kind})
            answer.raise_for_status()
            now = answer.json()
            pointers[kind].changes.append((asked, time.monotonic(), now and now["id"]))
            count += 1
            time.sleep(draws.uniform(0.2, 0.8))
    return count


def _ask(address: str, pictures: Sequence[bytes], client: int, until: float) -> list[Answer]:
    """A client: one scan after the other."""
    answers = []
    with signed_in(address) as asking:
        number = client
        while time.monotonic() < until:
            scan = number % len(pictures)
            sent = time.monotonic()
            answer = asking.post("/v1/analyze", files={"file": (f"{client}-{number}.jpg", pictures[scan])})
            answers.append(Answer(scan, sent, time.monotonic(), answer.status_code, answer.json()))
            number += 1
    return answers


if __name__ == "__main__":
    main()
