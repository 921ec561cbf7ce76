"""Adapters: the pointer of each base model moves forward and back, and every move is kept."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from xray_app.adapter import Adapter, Gate, GateCheck
from xray_app.errors import Conflict, NotFound
from xray_app.store import adapters, audit, holdout_figures
from xray_app.store.database import Database
from xray_app.types import MetricSet, RunMetrics

Register = Callable[..., Adapter]
BASE, OTHER_BASE = "a" * 64, "b" * 64


@pytest.fixture
def register(db: Database) -> Register:
    def add(base_sha256: str = BASE) -> Adapter:
        adapter = Adapter(
            id=uuid4().hex,
            kind="vlm-adapter",
            base="bundled",
            base_sha256=base_sha256,
            run_id=None,
            active=False,
            created_at=datetime.now(UTC),
            metrics=RunMetrics(),
            gate=Gate(answer="passed", checks=(GateCheck(name="loads", answer="passed", detail="no key missing"),)),
        )
        return adapters.add(db, adapter, db.data_dir / "adapters" / adapter.id)

    return add


def _promote(db: Database, adapter: Adapter | None, base: str = BASE) -> None:
    adapters.activate(db, adapter and adapter.id, "vlm-adapter", base, "root", reason="better")


def _active(db: Database) -> str | None:
    adapter = adapters.active(db, "vlm-adapter", BASE)
    return adapter and adapter.id


def test_registering_activates_nothing(db: Database, register: Register) -> None:
    first, second = register(), register()
    assert adapters.get(db, first.id) == first
    assert adapters.page(db, 10) == ([second, first], None)
    assert _active(db) is None
    assert adapters.rollback(db, "vlm-adapter", BASE, "root") is None
    with pytest.raises(Conflict):
        adapters.add(db, first, db.data_dir)
    with pytest.raises(NotFound):
        adapters.get(db, "nothing")
    with pytest.raises(NotFound):
        adapters.folder(db, "nothing")


def test_promoting_and_rolling_back_step_by_step(db: Database, register: Register) -> None:
    first, second = register(), register()
    _promote(db, first)
    _promote(db, second)
    _promote(db, second)  # again: no further step
    assert adapters.get(db, second.id).active
    assert not adapters.get(db, first.id).active
    back = adapters.rollback(db, "vlm-adapter", BASE, "root")
    assert back is not None
    assert (back.id, back.active) == (first.id, True)
    # A second time goes further back, and does not bring back what was just taken away.
    assert adapters.rollback(db, "vlm-adapter", BASE, "root") is None
    assert adapters.rollback(db, "vlm-adapter", BASE, "root") is None
    _promote(db, first)
    _promote(db, second)
    _promote(db, first)
    _promote(db, None)
    assert _active(db) is None
    assert adapters.rollback(db, "vlm-adapter", BASE, "root") is not None
    assert _active(db) == first.id


def test_each_base_model_has_its_own_pointer(db: Database, register: Register) -> None:
    ours, foreign = register(), register(OTHER_BASE)
    _promote(db, ours)
    assert adapters.active(db, "vlm-adapter", OTHER_BASE) is None
    assert adapters.active(db, "detector", BASE) is None
    with pytest.raises(Conflict):
        _promote(db, foreign)
    with pytest.raises(Conflict):
        adapters.activate(db, ours.id, "detector", BASE, "root")
    with pytest.raises(NotFound):
        adapters.activate(db, "nothing", "vlm-adapter", BASE, "root")
    _promote(db, foreign, OTHER_BASE)
    assert _active(db) == ours.id
    assert adapters.rollback(db, "vlm-adapter", OTHER_BASE, "root") is None
    assert _active(db) == ours.id


def test_every_move_is_kept(db: Database, register: Register) -> None:
    adapter = register()
    adapters.activate(db, adapter.id, "vlm-adapter", BASE, "root", reason="needed today", forced=True)
    adapters.rollback(db, "vlm-adapter", BASE, "ben")
    back, there = audit.newest(db)
    assert (back.who, back.what) == ("ben", "rolled back")
    assert (there.who, there.what, there.details["forced"]) == ("root", "promoted", True)
    assert there.details["reason"] == "needed today"
    for change in ("DELETE FROM promotions", "UPDATE promotions SET adapter_id = NULL"):
        with pytest.raises(DBAPIError, match="append-only"), db.write() as session:
            session.execute(text(change))


def test_the_data_folder_may_move(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    db = Database.open(f"sqlite:///{old}/xray.db", old)
    adapter = Adapter(
        id="one",
        kind="detector",
        base="bundled",
        base_sha256=BASE,
        run_id="a run of another machine",
        active=True,
        created_at=datetime.now(UTC),
        metrics=RunMetrics(),
        gate=Gate(answer="refused", checks=()),
    )
    assert not adapters.add(db, adapter, old / "adapters" / "one").active
    adapters.add(db, adapter.model_copy(update={"id": "two"}), tmp_path / "elsewhere")
    db.close()
    shutil.move(old, new)
    db = Database.open(f"sqlite:///{new}/xray.db", new)
    assert adapters.folder(db, "one") == new / "adapters" / "one"
    assert adapters.folder(db, "two") == tmp_path / "elsewhere"
    db.close()


def test_figures_are_kept_per_holdout_and_model(db: Database) -> None:
    figures = MetricSet(n=300, item_f1=0.7).model_dump_json()
    assert holdout_figures.get(db, "h1", "base") is None
    holdout_figures.put(db, "h1", "base", figures)
    assert MetricSet.model_validate_json(holdout_figures.get(db, "h1", "base") or "").item_f1 == 0.7
    assert holdout_figures.get(db, "h2", "base") is None
    holdout_figures.put(db, "h1", "base", MetricSet(n=301).model_dump_json())
    assert MetricSet.model_validate_json(holdout_figures.get(db, "h1", "base") or "").n == 301
