"""A backup taken while four clients write, and restored: is every write there that the desk had acknowledged?

    python -m tests.benchmarks.backup [--writes 500] [--tiny]

Four clients analyse, decide, correct and say what a hand search found, over the HTTP API of a desk in a process of its
own. Once so many writes are acknowledged, `python -m xray_app backup` takes a backup while they go on, a second one
into the same folder follows, and `restore` brings it back into an empty folder. `missing` counts the writes that were
acknowledged before the last backup began and are not there word for word; `torn` those of during it that are there in
part, or otherwise than acknowledged; `unasked` what is there and nobody wrote. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import func, select

from tests.benchmarks.served import desk_process, jpeg, signed_in
from xray_app.errors import NotFound
from xray_app.settings import ROOT
from xray_app.store import analyses, corrections, decisions, outcomes, scans
from xray_app.store.database import Database
from xray_app.store.tables import AnalysisRow, CorrectionRow, DecisionRow, OutcomeRow

CLIENTS = 4
ACTS_AN_ANALYSIS = 9
SEED = 20_261_129


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--writes", type=int, default=500)
    asked.add_argument("--tiny", action="store_true", help="a quick look: 60 writes")
    arguments = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="backup-") as folder:
        print(json.dumps(backed_up(Path(folder), 60 if arguments.tiny else arguments.writes)))


@dataclass(frozen=True)
class Write:
    """Something the desk said it has kept."""

    kind: str
    analysis_id: str
    answer: dict[str, Any]
    picture: bytes | None
    at: float


@dataclass
class Writers:
    """Clients that write until they are stopped.

    Attributes:
        acknowledged: what the desk said it has kept, as it said it.
        failed: answers that were no acknowledgement, in words.
    """

    address: str
    acknowledged: list[Write] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> list[threading.Thread]:
        threads = [threading.Thread(target=self._write, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        return threads

    def _write(self, number: int) -> None:
        draws = random.Random(SEED + number)
        try:
            with signed_in(self.address) as client:
                while not self.stop.is_set():
                    picture = jpeg(draws.randrange(10**9))
                    analysis = self._post(client, "analysis", "/v1/analyze", picture)
                    for act in range(ACTS_AN_ANALYSIS):
                        if analysis is None or self.stop.is_set():
                            break
                        self._act(client, analysis["id"], act)
        except httpx.HTTPError as error:
            self.failed.append(repr(error))

    def _act(self, client: httpx.Client, analysis_id: str, act: int) -> None:
        path, found = f"/v1/analyses/{analysis_id}", [{"label": "knife", "count": 1 + act}]
        if act % 3 == 0:
            sent: dict[str, Any] = {"items": found, "boxes": [], "base_revision": act // 3}
            self._post(client, "correction", f"{path}/corrections", sent)
        elif act % 3 == 1:
            self._post(client, "decision", f"{path}/decision", {"decision": "SEARCH", "note": f"note {act}"})
        else:
            self._post(client, "outcome", f"{path}/outcome", {"found": found, "note": f"note {act}"})

    def _post(self, client: httpx.Client, kind: str, path: str, sent: dict[str, Any] | bytes) -> Any:
        picture = sent if isinstance(sent, bytes) else None
        if picture is not None:
            answer = client.post(path, files={"file": ("bag.jpg", picture)})
        else:
            answer = client.post(path, json=sent)
        if not answer.is_success:
            self.failed.append(f"{path}: {answer.status_code} {answer.text[:200]}")
            return None
        told = answer.json()
        analysis_id = told["id"] if kind == "analysis" else path.split("/")[3]
        self.acknowledged.append(Write(kind, analysis_id, told, picture, time.monotonic()))
        return told


def backed_up(folder: Path, least: int) -> dict[str, Any]:
    """Takes backups under load and restores the last one; returns the figures."""
    data, target, restored = folder / "data", folder / "backup", folder / "restored"
    with desk_process(data) as desk:
        writers = Writers(desk.address)
        threads = writers.start()
        try:
            _until(writers, least // 2)
            first_seconds, _ = command(data, "backup", target)
            _until(writers, least)
            began = time.monotonic()
            seconds, said = command(data, "backup", target)
            ended = time.monotonic()
            _until(writers, len(writers.acknowledged) + 2 * CLIENTS)  # they were not stopped by it
        finally:
            writers.stop.set()
            for thread in threads:
                thread.join()
    restore_seconds, _ = command(restored, "restore", target)
    before = [write for write in writers.acknowledged if write.at < began]
    later = [write for write in writers.acknowledged if write.at >= began]
    db = Database.open(f"sqlite:///{restored / 'xray.db'}", restored)
    try:
        missing = [write for write in before if _kept(db, write) is not True]
        torn = [write for write in later if _kept(db, write) is False]
        kept = sum(_kept(db, write) is True for write in writers.acknowledged)
        with db.read() as session:
            rows = (AnalysisRow, CorrectionRow, DecisionRow, OutcomeRow)
            stored = sum(session.scalar(select(func.count()).select_from(row)) or 0 for row in rows)
    finally:
        db.close()
    return {
        "writes_before": len(before),
        "writes_during": sum(began <= write.at < ended for write in later),
        "missing": len(missing),
        "torn": len(torn),
        # What was at work when the backup began may be kept though its answer came later; nothing else may.
        "unasked": stored - kept,
        "failed": writers.failed[:5],
        "copied_again": int(said.rpartition("bytes; ")[2].split(" ")[0].replace(",", "")),
        "first_backup_seconds": round(first_seconds, 2),
        "backup_seconds": round(seconds, 2),
        "restore_seconds": round(restore_seconds, 2),
    }


def command(data: Path, *words: str | Path) -> tuple[float, str]:
    """Runs a command of `python -m xray_app`; the seconds it took and what it said.

    Raises:
        RuntimeError: it failed.
    """
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "xray_app", *map(str, words)],
        cwd=ROOT,
        env=os.environ | {"XRAY_DATA_DIR": str(data)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{words[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
    return time.monotonic() - began, done.stdout


def _until(writers: Writers, writes: int, patience: float = 900) -> None:
    until = time.monotonic() + patience
    while len(writers.acknowledged) < writes:
        if writers.failed or time.monotonic() > until:
            raise RuntimeError(f"the clients came to {len(writers.acknowledged)} writes: {writers.failed[:5]}")
        time.sleep(0.02)


def _kept(db: Database, write: Write) -> bool | None:
    """True: kept word for word, False: otherwise or in part, None: not there."""
    try:
        if write.kind == "analysis":
            picture = scans.scan_path(db, analyses.get(db, write.analysis_id).scan.id)[0].read_bytes()
            found = analyses.get(db, write.analysis_id).model_dump(mode="json")
            return _says(found, write.answer) and picture == write.picture
        history = {"correction": corrections, "decision": decisions, "outcome": outcomes}[write.kind].history
        same = [one.model_dump(mode="json") for one in history(db, write.analysis_id) if one.id == write.answer["id"]]
    except NotFound:
        with db.read() as session:  # an analysis without its picture is torn
            return None if session.get(AnalysisRow, write.analysis_id) is None else False
    return _says(same[0], write.answer) if same else None


def _says(found: dict[str, Any], told: dict[str, Any]) -> bool:
    return all(found[name] == told[name] for name in found.keys() & told.keys())


if __name__ == "__main__":
    main()
