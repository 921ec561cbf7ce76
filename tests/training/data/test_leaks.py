"""What an older database trains on and holds out both: it is listed, and moved to the training side."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import MakeAnalysis
from tests.store.test_bags import HELD_OUT, TRAIN, Correct, corrector, drawn, sides
from training.data.leaks import find_leaks, fix_leaks
from training.data.samples import usable
from xray_app.correction.revision import split_of
from xray_app.store import audit
from xray_app.store.database import Database
from xray_app.taxonomy import Taxonomy


@pytest.fixture
def correct(db: Database, make_analysis: MakeAnalysis, taxonomy: Taxonomy) -> Correct:
    return corrector(db, make_analysis, taxonomy)


def test_leaks_of_an_existing_database_are_listed_and_moved_to_training(db: Database, correct: Correct) -> None:
    """Stored before sides were inherited: a near-equal picture, and copies and views named by their files."""
    correct(drawn(1), HELD_OUT[0], hashed=False)
    correct(drawn(1), TRAIN[0], quality=75, hashed=False)
    copies = _pair(lambda n: (f"z{n}_jpg.rf.{'a' * 32}", f"z{n}_jpg.rf.{'b' * 32}"))
    views = _pair(lambda n: (f"w{n}_OL", f"w{n}_SD"))
    for place, bag in enumerate((*copies, *views, HELD_OUT[3], TRAIN[3])):
        correct(drawn(10 + place), bag, hashed=False)
    assert {(leak.kind, leak.trained.bag_id, leak.held_out.bag_id) for leak in find_leaks(db)} == {
        ("near-equal picture", TRAIN[0], HELD_OUT[0]),
        ("copy or view by its name", *copies),
        ("copy or view by its name", *views),
    }
    assert set(fix_leaks(db, "root")) == {HELD_OUT[0], copies[1], views[1]}
    assert find_leaks(db) == []
    assert fix_leaks(db, "root") == {}
    assert [bag for bag, side in sides(db).items() if side == "holdout"] == [HELD_OUT[3]]
    assert len(usable(db)) == 8  # none is left out of training any more
    (entry,) = [one for one in audit.newest(db) if one.what == "leaks fixed"]
    assert "not comparable" in str(entry.details)


def test_a_picture_whose_file_is_gone_is_compared_by_name(
    db: Database, correct: Correct, caplog: pytest.LogCaptureFixture
) -> None:
    correct(drawn(1), HELD_OUT[0], hashed=False)
    for file in (db.data_dir / "scans").rglob("*.jpg"):
        file.unlink()
    assert find_leaks(db) == []
    assert "by its name alone" in caplog.text


def _pair(names: Callable[[int], tuple[str, str]]) -> tuple[str, str]:
    """Two names, of which the first trains and the second is held out."""
    pairs = map(names, range(999))
    return next(pair for pair in pairs if [split_of(one) for one in pair] == ["train", "holdout"])
