"""Labels brought in for themselves: nothing is analysed, nothing is called missed, and scans that are here get them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeAnalysis, png
from tests.exchange.conftest import LIMITS
from tests.exchange.test_import import yolo
from xray_app.exchange.import_dataset import Imported, import_dataset
from xray_app.exchange.label_map import LabelMap
from xray_app.exchange.readers import read_dataset
from xray_app.intake import keep_unanalysed
from xray_app.store import analyses, corrections, search, standing
from xray_app.store.database import Database
from xray_app.store.insights import daily_sums
from xray_app.taxonomy import Taxonomy

BringIn = Callable[..., Imported]
HALF = "0 0.5 0.5 0.5 0.5\n"


@pytest.fixture
def labels_only(db: Database, taxonomy: Taxonomy) -> BringIn:
    def bring_in(root: Path, **said: Any) -> Imported:
        found = read_dataset(root, LabelMap(taxonomy, **said))
        rules = taxonomy.rules()
        return import_dataset(
            found, root, db, taxonomy, lambda scan: keep_unanalysed(db, scan, rules, "root"), LIMITS, "root"
        )

    return bring_in


def test_no_model_is_named_and_none_has_missed_anything(db: Database, labels_only: BringIn, tmp_path: Path) -> None:
    root = yolo(tmp_path / "set", {f"b{n}": (png(n, 32, 32), HALF) for n in range(3)})
    done = labels_only(root)
    assert (done.added, done.already, done.whole) == (3, 0, True)
    assert done.boxes.lines() == ["knife: 3 boxes taken, 0 left out"]
    for analysis, correction in standing.accepted(db):
        assert not analysis.analysed
        assert (analysis.risk.action, analysis.report.complete) == ("REVIEW", False)  # never CLEAR
        assert [box.label for box in correction.boxes] == ["knife"]
    today = datetime.now(UTC).date()
    assert daily_sums.read(db, today, today) == []
    assert search.count(db, search.Filter(missed=True)) == 0
    assert search.count(db, search.Filter(missed=True, label="knife")) == 0
    assert search.count(db, search.Filter(label="knife")) == 3
    again = labels_only(root)
    assert (again.added, again.already) == (0, 3)
    assert again.boxes.lines() == ["knife: 0 boxes taken, 3 here already, 0 left out"]


def test_a_scan_that_is_here_gets_its_labels_under_its_own_bag(
    db: Database, labels_only: BringIn, stored: MakeAnalysis, tmp_path: Path
) -> None:
    analysis = stored(5, bag_id="lane 3, 12:04")
    assert labels_only(yolo(tmp_path / "set", {"five": (png(5), HALF)})).added == 1
    assert [one.boxes[0].label for one in corrections.history(db, analysis.id)] == ["knife"]
    assert analyses.of_bag(db, "five") == []


def test_a_clear_picture_of_a_set_without_any_box_is_taken_on_somebodys_word_alone(
    db: Database, labels_only: BringIn, tmp_path: Path
) -> None:
    root = tmp_path / "set"
    root.mkdir()
    (root / "a.png").write_bytes(png(1))
    (root / "x.json").write_text('{"images": [{"id": 1, "file_name": "a.png"}], "annotations": [], "categories": []}')
    refused = labels_only(root)
    assert (refused.added, refused.whole) == (0, False)
    assert "nobody said what was looked for" in refused.problems[0]
    assert labels_only(root, looked_for=("gun",)).added == 1
    ((_, correction),) = standing.accepted(db)
    assert (correction.items, correction.labelled_classes) == ((), ("gun",))


def test_boxes_that_come_to_nothing_are_counted_by_class_and_reason(
    db: Database, labels_only: BringIn, tmp_path: Path
) -> None:
    files = {
        "good": (png(1, 32, 32), HALF),
        "gone": (b"no picture", "2 0.5 0.5 0.5 0.5\n0 0.2 0.2 0.1 0.1\n"),
        "row": (png(2, 32, 32), "0 0.5 0.5 0.5 0.5\n0 0.5 0.5 0 0.5\n"),
        "odd": (png(3, 32, 32), "3 0.5 0.5 0.5 0.5\n"),
    }
    done = labels_only(yolo(tmp_path / "set", files, "[knife, Phone, gun, unicorn]"), skip_unknown=True)
    assert (done.added, done.whole, done.boxes.lost) == (2, False, 5)
    assert done.boxes.lines() == [
        "knife: 1 boxes taken, 3 left out (box without area 2, unreadable file 1)",
        "gun: 0 boxes taken, 1 left out (unreadable file 1)",
        "unicorn: 0 boxes taken, 1 left out (unknown label 1)",
    ]
