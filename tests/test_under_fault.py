"""The desk while things go wrong: in short, what `faults`, `promote_under_load` and `backup` do at length."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.backup import backed_up
from tests.benchmarks.fault_kinds import KINDS
from tests.benchmarks.faults import suffer
from tests.benchmarks.promote_under_load import under_load

pytestmark = pytest.mark.slow


def test_every_fault_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    figures = suffer(tmp_path, len(KINDS))
    assert figures["complaints"] == []
    assert (figures["faults"], figures["honest"], figures["lost"]) == (len(KINDS), len(KINDS), 0)


def test_every_answer_comes_from_the_models_it_names(tmp_path: Path) -> None:
    figures = under_load(tmp_path, seconds=6, scans=3)
    assert (figures["failed"], figures["misattributed"]) == (0, 0)
    assert figures["requests"] > 0
    assert figures["promotions"] > 0


def test_a_backup_under_load_has_every_write_that_was_acknowledged(tmp_path: Path) -> None:
    figures = backed_up(tmp_path, 40)
    assert (figures["missing"], figures["torn"], figures["unasked"], figures["failed"]) == (0, 0, 0, [])
    assert figures["writes_before"] >= 40
