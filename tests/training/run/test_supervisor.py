"""A run's life from outside: launched apart, watched, given up only on proof, one at a time."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from training.run import supervisor as life
from xray_app.errors import StorageFailed
from xray_app.settings import Settings
from xray_app.store import runs
from xray_app.store.database import Database
from xray_app.types import Run


@pytest.fixture
def settings(db: Database) -> Settings:
    return Settings(data_dir=db.data_dir, database_url=str(db.engine.url), _env_file=None)  # type: ignore[call-arg]


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the runs that would have been launched."""
    ids: list[str] = []
    monkeypatch.setattr(life, "launch", lambda _db, _settings, run: ids.append(run.id))
    return ids


def queue(db: Database) -> Run:
    return runs.create(db, "vlm-adapter", "bundled", "lora", None, "root")


def claim_as(
    db: Database,
    run: Run,
    pid: int,
    started: float,
    host: str | None = None,
    boot: str | None = None,
    lease: float = 60,
) -> None:
    runs.claim(
        db,
        run.id,
        host or socket.gethostname(),
        life.boot_id() if boot is None else boot,
        pid,
        started,
        lease,
    )


def started(pid: int) -> float:
    ticks = life.process_started(pid)
    assert ticks is not None
    return ticks


def wait_for(what: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def test_a_process_is_known_by_its_start_and_a_zombie_is_dead() -> None:
    assert started(os.getpid()) > 0
    child = subprocess.Popen([sys.executable, "-c", ""])
    wait_for(lambda: life.process_started(child.pid) is None)
    child.wait()
    assert life.process_started(2**22 + 1) is None


def test_a_killed_run_is_given_up_with_the_end_of_its_log(
    db: Database, settings: Settings, launched: list[str]
) -> None:
    run = queue(db)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    claim_as(db, run, child.pid, started(child.pid))
    assert life.reconcile(db, settings) == []
    assert runs.get(db, run.id).status == "running"
    child.kill()
    child.wait()
    folder = life.run_folder(settings, run.id)
    (folder / "checkpoints" / "checkpoint-3").mkdir(parents=True)
    (folder / "log.txt").write_text("step 1\nstep 2 of 40\n")
    assert life.reconcile(db, settings) == [run.id]
    ended = runs.get(db, run.id)
    assert ended.status == "failed"
    assert ended.error is not None
    assert "killed or crashed" in ended.error
    assert "No adapter was changed" in ended.error
    assert "step 2 of 40" in ended.error
    assert [path.name for path in folder.iterdir()] == ["log.txt"], "it gives its disk back"
    assert life.reconcile(db, settings) == []


def test_a_reused_pid_and_another_boot_are_not_mistaken_for_the_run(
    db: Database, settings: Settings, launched: list[str]
) -> None:
    reused, rebooted, alive = queue(db), queue(db), queue(db)
    claim_as(db, reused, os.getpid(), started(os.getpid()) - 5)
    claim_as(db, rebooted, os.getpid(), started(os.getpid()), boot="before")
    claim_as(db, alive, os.getpid(), started(os.getpid()))
    assert set(life.reconcile(db, settings)) == {reused.id, rebooted.id}
    assert "restarted" in str(runs.get(db, rebooted.id).error)
    assert runs.get(db, alive.id).status == "running"


def test_another_machines_run_is_given_up_by_its_lease_alone(
    db: Database, settings: Settings, launched: list[str]
) -> None:
    fresh, silent = queue(db), queue(db)
    claim_as(db, fresh, 1, 1.0, host="elsewhere", boot="x")
    claim_as(db, silent, 1, 1.0, host="elsewhere", boot="x", lease=-1)
    assert life.reconcile(db, settings) == [silent.id]
    assert runs.get(db, fresh.id).status == "running"


def test_a_starting_server_launches_what_is_queued_unless_a_run_is_at_work(
    db: Database, settings: Settings, launched: list[str]
) -> None:
    first, _second = queue(db), queue(db)
    with life.run_lock(settings) as free:
        assert free
        with life.run_lock(settings) as also:
            assert not also
        life.reconcile(db, settings)
        assert launched == []
    life.reconcile(db, settings)
    assert launched == [first.id]


def test_the_lock_is_free_again_after_sigkill(db: Database, settings: Settings) -> None:
    code = (
        "import sys, time; from training.run.supervisor import run_lock; from xray_app.settings import Settings\n"
        f"with run_lock(Settings(data_dir={str(settings.data_dir)!r})) as free:\n"
        "    print(free, flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "True\n"
    with life.run_lock(settings) as free:
        assert not free
    holder.kill()
    holder.wait()
    with life.run_lock(settings) as free:
        assert free


def fake_command(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Has `launch` run this Python code instead of the pipeline."""
    popen = subprocess.Popen

    def run_code(command: list[str], **options: object) -> subprocess.Popen[bytes]:
        assert command[1:4] == ["-m", "training", "run-pipeline"]
        return popen([sys.executable, "-c", code], **options)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(subprocess, "Popen", run_code)


def test_a_launched_process_is_detached_capped_and_logged(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import os; print(os.getsid(0) == os.getpid(), os.environ['OMP_NUM_THREADS'], os.environ['XRAY_DATA_DIR'])"
    fake_command(monkeypatch, code)
    run = queue(db)
    life.launch(db, settings, run)
    log = life.run_folder(settings, run.id) / "log.txt"
    wait_for(lambda: runs.get(db, run.id).status == "failed")  # it never claimed its run
    assert log.read_text() == f"True {life.THREADS} {settings.data_dir}\n"


def test_a_process_that_dies_is_noticed_at_once_and_the_next_run_started(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_command(monkeypatch, "import sys; print('no module named torch'); sys.exit(1)")
    run, following = queue(db), queue(db)
    life.launch(db, settings, run)
    wait_for(lambda: runs.get(db, following.id).status == "failed")
    error = runs.get(db, run.id).error
    assert error is not None
    assert "status 1" in error
    assert "no module named torch" in error


def test_a_run_that_waits_for_another_stays_queued(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_command(monkeypatch, f"import sys; sys.exit({life.WAITS})")
    run = queue(db)
    life.launch(db, settings, run)
    time.sleep(0.5)
    assert runs.get(db, run.id).status == "queued"


def test_the_watch_notices_a_run_that_outlived_its_server_and_dies_later(
    db: Database, settings: Settings, launched: list[str]
) -> None:
    run, following = queue(db), queue(db)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    claim_as(db, run, child.pid, started(child.pid))
    stop = threading.Event()
    with life.run_lock(settings):
        thread = life.keep_watch(db, settings, every=0.05, stop=stop)
        time.sleep(0.2)
        assert runs.get(db, run.id).status == "running"
        child.kill()
        child.wait()
        wait_for(lambda: runs.get(db, run.id).status == "failed")
        assert launched == []
    wait_for(lambda: following.id in launched)
    stop.set()
    thread.join()


def test_the_watch_outlives_whatever_goes_wrong(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looked: list[int] = []

    def unlucky(*_: object) -> list[str]:
        looked.append(1)
        if len(looked) == 2:
            raise OSError(24, "Too many open files")
        return []

    monkeypatch.setattr(life, "reconcile", unlucky)
    stop = threading.Event()
    thread = life.keep_watch(db, settings, every=0.02, stop=stop)
    wait_for(lambda: len(looked) > 3)
    stop.set()
    thread.join()
    assert "Too many open files" in caplog.text


def test_the_end_of_a_run_that_cannot_be_told_is_logged(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unlucky(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(life, "launch_next", unlucky)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    life._await_end(ended, db, settings, queue(db).id)
    assert "Too many open files" in caplog.text


def test_a_run_that_is_still_starting_is_not_launched_again(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_command(monkeypatch, "import time; time.sleep(60)")
    run = queue(db)
    life.launch(db, settings, run)
    process = life._launched[run.id]
    assert life.launch_next(db, settings) is None
    life.reconcile(db, settings)
    assert life._launched[run.id] is process
    process.kill()
    wait_for(lambda: runs.get(db, run.id).status == "failed")


def test_the_heart_beats_and_hears_of_a_wish_to_stop(db: Database) -> None:
    run = queue(db)
    life.claim(db, run.id)
    with life.Heartbeat(db, run.id, every=0.02) as heart:
        heart.progress = 0.4
        wait_for(lambda: runs.get(db, run.id).progress == 0.4)
        (claimed,) = runs.unfinished(db)
        assert claimed.lease_until is not None
        assert claimed.lease_until > datetime.now(UTC)
        runs.request_cancel(db, run.id)
        wait_for(lambda: heart.stop_requested)


@pytest.mark.parametrize("problem", [StorageFailed("The disk is full."), ValueError("a bug")])
def test_trouble_does_not_stop_the_heart(db: Database, monkeypatch: pytest.MonkeyPatch, problem: Exception) -> None:
    run = queue(db)
    life.claim(db, run.id)
    beat, failures = runs.heartbeat, iter([True, True, False])

    def unlucky(*arguments: object) -> bool:
        if next(failures, False):
            raise problem
        return beat(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(runs, "heartbeat", unlucky)
    with life.Heartbeat(db, run.id, every=0.02) as heart:
        heart.progress = 0.7
        wait_for(lambda: runs.get(db, run.id).progress == 0.7)


def test_the_loss_curve_is_read_while_it_is_written(settings: Settings) -> None:
    assert life.progress(settings, "none") == []
    folder: Path = life.run_folder(settings, "r")
    folder.mkdir(parents=True)
    (folder / "progress.jsonl").write_text('{"step": 1, "loss": 2.5}\n{"step": 2, "lo')
    assert life.progress(settings, "r") == [{"step": 1, "loss": 2.5}]
