"""The ring with the bundled models through the API, and a run as a process that may die or outlive its server.

As it ships, with a run that goes to its end in a process, it turns in `browser/test_ring.py`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest

from tests.benchmarks import ring
from tests.conftest import png, save_analysis, scan_facts
from training.run import supervisor
from training.run.pipeline import run_pipeline
from training.run.supervisor import keep_watch
from xray_app.services import Services
from xray_app.settings import BUNDLED_DETECTOR, BUNDLED_VLM, Settings
from xray_app.store import adapters, corrections, runs, standing
from xray_app.store.database import Database
from xray_app.types import Analysis, CorrectionIn, ItemCount, Run
from xray_app.wiring import wire

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (BUNDLED_VLM.is_dir() and BUNDLED_DETECTOR.is_file()), reason="the bundled models are not here"
    ),
]


HELD_OUT = 24


def in_this_process(db: Database, settings: Settings, run: Run) -> None:
    """Launches a run without a process of its own, which would import all of the libraries once more."""
    Thread(target=run_pipeline, args=(db, settings, run.id), daemon=True).start()


def test_simulate_analyse_correct_train_promote_analyse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "launch", in_this_process)
    monkeypatch.setenv("XRAY_SIMULATED_BAGS", str(HELD_OUT))
    # It raises where an answer does not come from the adapter that was promoted.
    figures = ring.turn(tmp_path, None, tiny=True)
    assert figures["samples"]["train"] + figures["samples"]["holdout"] == 8
    for model in ("active", "candidate"):
        assert figures["metrics"][model]["simulated"]["n"] == HELD_OUT
        assert figures["metrics"][model]["site"]["n"] == figures["samples"]["holdout"]
    assert all(0 <= figures[name] <= 1 for name in figures if name.endswith(("_before", "_after")) and "f1" in name)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Services]:
    services = wire(Settings(data_dir=tmp_path / "data", admin_password="a test's own"))
    yield services
    for unfinished in runs.unfinished(services.db):
        if unfinished.pid is not None:
            os.kill(unfinished.pid, signal.SIGKILL)
    services.db.close()


def wait_for(what: Callable[[], bool], seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.2)


def corrected(desk: Services, make_analysis: Callable[..., Analysis], count: int = 6) -> None:
    for shade in range(count):
        facts = scan_facts(png(shade), bag_id=f"bag {shade}")
        analysis = make_analysis(scan=facts)
        save_analysis(desk.db, analysis, png(shade), "admin")
        sent = CorrectionIn(items=(ItemCount(label="knife", count=1),), boxes=())
        corrections.add(desk.db, analysis.id, sent, "admin", desk.taxonomy, False)


def start(desk: Services) -> Run:
    """A run that has begun to train."""
    run = runs.create(desk.db, "vlm-adapter", "bundled", "lora", None, "admin")
    desk.launch(run)
    wait_for(lambda: runs.get(desk.db, run.id).progress > 0.02)
    return run


def process_of(desk: Services, run: Run) -> int:
    (pid,) = (one.pid for one in runs.unfinished(desk.db) if one.run.id == run.id)
    assert pid is not None
    return pid


def test_a_run_killed_with_sigkill_is_shown_as_failed_and_the_next_one_works(
    desk: Services, make_analysis: Callable[..., Analysis]
) -> None:
    corrected(desk, make_analysis)
    run = start(desk)
    os.kill(process_of(desk, run), signal.SIGKILL)
    wait_for(lambda: runs.get(desk.db, run.id).status == "failed", 30)
    assert "No adapter was changed" in str(runs.get(desk.db, run.id).error)
    assert adapters.page(desk.db)[0] == []
    assert len(standing.accepted(desk.db)) == 6
    following = start(desk)
    runs.request_cancel(desk.db, following.id)
    wait_for(lambda: runs.get(desk.db, following.id).status == "cancelled")
    assert adapters.page(desk.db)[0] == []


def test_a_run_outlives_its_server_and_the_next_one_looks_after_it(
    desk: Services, make_analysis: Callable[..., Analysis], monkeypatch: pytest.MonkeyPatch
) -> None:
    corrected(desk, make_analysis)
    # The server that launches this run forgets it at once, as one that was killed does.
    monkeypatch.setattr("training.run.supervisor._await_end", lambda *_: None)
    run = start(desk)
    keep_watch(desk.db, desk.settings, every=0.2)
    assert runs.get(desk.db, run.id).status == "running"
    pid = process_of(desk, run)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    wait_for(lambda: runs.get(desk.db, run.id).status == "failed", 30)
    assert "killed or crashed" in str(runs.get(desk.db, run.id).error)
