"""Runs: one process gets one, it ends once, and asking it to stop reaches it."""

from __future__ import annotations

import math
import threading
from datetime import UTC, datetime

import pytest

from xray_app.errors import BadInput, Conflict, NotFound
from xray_app.store import runs
from xray_app.store.database import Database
from xray_app.types import Metrics, MetricSet, Run, RunMetrics, SampleCounts


def _queue(db: Database) -> Run:
    return runs.create(db, "vlm-adapter", "bundled", "lora", 2.0, "root")


def _claim(db: Database, run: Run, pid: int = 42) -> Run:
    return runs.claim(db, run.id, host="desk", boot_id="boot", pid=pid, pid_started=123.5, lease_seconds=60)


def test_the_life_of_a_run(db: Database) -> None:
    run = _queue(db)
    assert (run.status, run.progress, run.started_at, run.samples) == ("queued", 0, None, SampleCounts())
    assert runs.get(db, run.id) == run == runs.next_queued(db)
    running = _claim(db, run)
    assert running.status == "running"
    assert running.started_at is not None
    assert runs.next_queued(db) is None
    (unfinished,) = runs.unfinished(db)
    assert (unfinished.run, unfinished.host, unfinished.boot_id) == (running, "desk", "boot")
    assert (unfinished.pid, unfinished.pid_started) == (42, 123.5)
    assert unfinished.lease_until is not None
    assert 50 < (unfinished.lease_until - datetime.now(UTC)).total_seconds() <= 60
    assert runs.heartbeat(db, run.id, 0.4, lease_seconds=60) is False
    metrics = RunMetrics(candidate=Metrics(simulated=MetricSet(n=300, item_f1=0.8), site=MetricSet(n=0)))
    runs.update(db, run.id, samples=SampleCounts(train=24, holdout=6, replay=100))
    runs.update(db, run.id, metrics=metrics, adapter_id="new")
    ended = runs.finish(db, run.id, "succeeded")
    assert (ended.status, ended.progress, ended.adapter_id) == ("succeeded", 1, "new")
    assert (ended.samples.train, ended.metrics) == (24, metrics)
    assert ended.ended_at is not None
    assert runs.get(db, run.id) == ended
    assert runs.unfinished(db) == []


def test_of_many_claims_one_succeeds(db: Database) -> None:
    run = _queue(db)
    got: list[int] = []
    refused: list[int] = []

    def claim(pid: int) -> None:
        try:
            _claim(db, run, pid)
            got.append(pid)
        except Conflict:
            refused.append(pid)

    threads = [threading.Thread(target=claim, args=(pid,)) for pid in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    assert len(refused) == 7
    assert runs.unfinished(db)[0].pid == got[0]


def test_a_running_run_is_asked_to_stop_at_its_next_heartbeat(db: Database) -> None:
    run = _queue(db)
    _claim(db, run)
    assert runs.request_cancel(db, run.id).status == "running"
    assert runs.unfinished(db)[0].stop_requested
    assert runs.heartbeat(db, run.id, 0.5, 60) is True
    assert runs.finish(db, run.id, "cancelled").progress == 0.5


def test_a_queued_run_is_cancelled_at_once(db: Database) -> None:
    run = _queue(db)
    assert runs.request_cancel(db, run.id).status == "cancelled"
    with pytest.raises(Conflict):
        runs.request_cancel(db, run.id)
    with pytest.raises(Conflict):
        _claim(db, run)


def test_what_has_ended_stays_as_it_is(db: Database) -> None:
    run = _queue(db)
    _claim(db, run)
    runs.finish(db, run.id, "failed", "the process is gone")
    assert runs.heartbeat(db, run.id, 0.9, 60) is True
    with pytest.raises(Conflict):
        runs.finish(db, run.id, "succeeded")
    with pytest.raises(Conflict):
        runs.update(db, run.id, adapter_id="late")
    assert (runs.get(db, run.id).status, runs.get(db, run.id).error) == ("failed", "the process is gone")


def test_progress_stays_a_fraction(db: Database) -> None:
    run = _queue(db)
    _claim(db, run)
    for told, kept in ((1.7, 1.0), (-3, 0.0), (0.25, 0.25), (math.nan, 0.25)):
        runs.heartbeat(db, run.id, told, 60)
        assert runs.get(db, run.id).progress == kept


def test_the_queue_goes_by_age_and_the_list_by_youth(db: Database) -> None:
    first, second, third = (_queue(db) for _ in range(3))
    assert runs.next_queued(db) == first
    found, following = runs.page(db, 2)
    assert found == [third, second]
    assert runs.page(db, 2, following) == ([first], None)


def test_unknown_ids_and_odd_ends(db: Database) -> None:
    for call in (
        lambda: runs.get(db, "nothing"),
        lambda: runs.heartbeat(db, "nothing", 0, 1),
        lambda: runs.finish(db, "nothing", "failed"),
        lambda: runs.request_cancel(db, "nothing"),
        lambda: runs.claim(db, "nothing", "h", "b", 1, 0.0, 1),
    ):
        with pytest.raises(NotFound):
            call()
    with pytest.raises(BadInput):
        runs.finish(db, _queue(db).id, "running")
