"""Supervises runs: each is started as a process of its own, watched, and given up when it is dead.

A run is a detached process, so neither closing the browser nor ending the server ends it. It claims its row
with host, boot, process id and start time, and renews a lease while it works. Whoever looks (a server that
starts, the server that launched it) declares a run dead only on proof: the process is gone, or the lease of a
run on another machine has expired. A lock file, which the kernel frees however a process ends, keeps it to
one run at a time per data folder.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from xray_app.folder_lock import folder_lock
from xray_app.settings import ROOT, Settings
from xray_app.store import runs
from xray_app.store.database import Database
from xray_app.types import Run

logger = logging.getLogger(__name__)

LEASE_SECONDS = 60
HEARTBEAT_SECONDS = 5
NICENESS = 19
THREADS = max(1, (os.cpu_count() or 2) // 2)
"""Half of the cores: measured, analysts then wait less than twice their usual time."""
WAITS = 75
"""Exit status of a process that found another run at work (EX_TEMPFAIL): its run stays queued."""
WATCH_SECONDS = 10
LOG_TAIL = 3

_launched: dict[str, subprocess.Popen[bytes]] = {}
"""Runs of this server whose process lives: not to be launched a second time while it is still starting."""


def run_folder(settings: Settings, run_id: str) -> Path:
    return settings.data_dir.resolve() / "runs" / run_id


def tidy(settings: Settings, run_id: str) -> None:
    """Keeps log, loss curve and snapshot of a run that has ended, however it did; nothing ever goes on from the
    rest, and the candidate is registered by now."""
    for name in ("replay", "checkpoints", "adapter", "detector", "candidate"):
        shutil.rmtree(run_folder(settings, run_id) / name, ignore_errors=True)


def boot_id() -> str:
    """Changes with every start of this machine; empty where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def process_started(pid: int) -> float | None:
    """When a live process started, in clock ticks after boot; None if there is none (a zombie is none)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold spaces and brackets
    return None if fields[0] in "ZX" else float(fields[19])


@contextmanager
def run_lock(settings: Settings) -> Iterator[bool]:
    """Holds this data folder's lock for runs; False where another process has it."""
    with folder_lock(settings.data_dir / "runs") as free:
        yield free


def claim(db: Database, run_id: str) -> Run:
    """Marks a queued run as worked on by this process.

    Raises:
        Conflict: it is not queued any more.
    """
    return runs.claim(
        db,
        run_id,
        host=socket.gethostname(),
        boot_id=boot_id(),
        pid=os.getpid(),
        pid_started=process_started(os.getpid()) or 0.0,
        lease_seconds=LEASE_SECONDS,
    )


def launch(db: Database, settings: Settings, run: Run) -> None:
    """Starts a queued run as a detached process; it stays queued while another run is at work."""
    folder = run_folder(settings, run.id)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "training", "run-pipeline", run.id],
            cwd=ROOT,
            env=_environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _launched[run.id] = process
    threading.Thread(target=_await_end, args=(process, db, settings, run.id), name=f"run {run.id}", daemon=True).start()


def _environment(settings: Settings) -> dict[str, str]:
    threads = str(THREADS)
    return settings.as_environment() | {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",  # a log is no terminal
    }


def _await_end(process: subprocess.Popen[bytes], db: Database, settings: Settings, run_id: str) -> None:
    """Waits for a run this server launched, so that its sudden end shows at once."""
    status = process.wait()
    _launched.pop(run_id, None)
    if status == WAITS:
        return
    try:
        mine = [
            claimed
            for claimed in runs.unfinished(db)
            if claimed.run.id == run_id and claimed.pid in (None, process.pid)
        ]
        if mine:
            _give_up(db, settings, run_id, f"its process ended with status {status}")
        launch_next(db, settings)
    except Exception:
        logger.exception("run %s has ended; the watch looks after it", run_id)


def launch_next(db: Database, settings: Settings) -> Run | None:
    """Starts the oldest queued run, if there is one that is not starting already."""
    run = runs.next_queued(db)
    if run is None or run.id in _launched:
        return None
    launch(db, settings, run)
    return run


def keep_watch(
    db: Database, settings: Settings, every: float = WATCH_SECONDS, stop: threading.Event | None = None
) -> threading.Thread:
    """Reconciles now, and from then on in a thread, for as long as the server lives.

    So a run that outlived the server which launched it, or was started by another run's end, or works on
    another machine, is not shown as running after its death.
    """
    reconcile(db, settings)
    ended = stop or threading.Event()

    def watch() -> None:
        while not ended.wait(every):
            try:
                reconcile(db, settings)
            except Exception:  # this thread is the only one that notices a dead run
                logger.exception("looking after runs")

    thread = threading.Thread(target=watch, name="runs", daemon=True)
    thread.start()
    return thread


def reconcile(db: Database, settings: Settings) -> list[str]:
    """Gives up runs that are dead, then starts what is queued where none is at work.

    Returns:
        Ids of the runs given up.
    """
    given_up = []
    for claimed in runs.unfinished(db):
        if claimed.run.status == "running" and (why := _death(claimed)):
            _give_up(db, settings, claimed.run.id, why)
            given_up.append(claimed.run.id)
    with run_lock(settings) as free:
        pass
    if free:
        launch_next(db, settings)
    return given_up


def _death(claimed: runs.UnfinishedRun) -> str | None:
    """Why a running run cannot be alive any more; None while it may be."""
    here = claimed.host == socket.gethostname() and bool(boot_id())
    if here and claimed.boot_id != boot_id():
        return "the machine was restarted"
    if here and (claimed.pid is None or process_started(claimed.pid) != claimed.pid_started):
        return "its process was killed or crashed"
    if not here and (claimed.lease_until is None or claimed.lease_until < datetime.now(UTC)):
        return f"{claimed.host or 'its machine'} has not been heard of since its lease ran out"
    return None


def _give_up(db: Database, settings: Settings, run_id: str, why: str) -> None:
    error = f"The run did not finish: {why}. No adapter was changed. Start it again."
    if tail := log_tail(settings, run_id):
        error += f" Last lines of its log: {tail}"
    runs.finish(db, run_id, "failed", error=error)
    tidy(settings, run_id)
    logger.warning("run %s given up: %s", run_id, why)


def log_tail(settings: Settings, run_id: str, lines: int = LOG_TAIL) -> str:
    """The last lines of a run's log, on one line; empty where there is none."""
    try:
        with (run_folder(settings, run_id) / "log.txt").open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 4000))
            text = log.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return " | ".join(line.strip() for line in text.splitlines()[-lines:] if line.strip())[-600:]


def progress(settings: Settings, run_id: str) -> list[dict[str, Any]]:
    """The loss curve so far: rows {"step", "loss", "seconds", …}; a row being written is left out."""
    try:
        lines = (run_folder(settings, run_id) / "progress.jsonl").read_text().splitlines()
    except OSError:
        return []
    rows = []
    for line in lines:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


class Heartbeat:
    """Renews a run's lease from a thread of its own, reports progress, and learns of a wish to stop."""

    def __init__(self, db: Database, run_id: str, every: float = HEARTBEAT_SECONDS) -> None:
        self.progress = 0.0
        self.stop_requested = False
        self._db, self._run_id, self._every = db, run_id, every
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(timeout=30)

    def _beat(self) -> None:
        while not self._ended.wait(self._every):
            try:
                if runs.heartbeat(self._db, self._run_id, self.progress, LEASE_SECONDS):
                    self.stop_requested = True
            except Exception:  # a busy or full disk may recover before the lease runs out
                logger.exception("heartbeat")
