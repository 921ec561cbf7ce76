"""Scans and analyses: stored together or not at all, found again, listed newest first."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.conftest import MakeAnalysis, png, save_analysis, scan_facts
from xray_app.errors import BadInput, Conflict, NotFound, StorageFailed
from xray_app.store import analyses, scans
from xray_app.store.database import Database


def _files(db: Database) -> list[Path]:
    return [path for path in (db.data_dir / "scans").rglob("*") if path.is_file()]


def test_what_was_saved_comes_back_the_same(db: Database, stored: MakeAnalysis) -> None:
    analysis = stored()
    assert analyses.get(db, analysis.id) == analysis
    path, media_type = scans.scan_path(db, analysis.scan.id)
    assert path.read_bytes() == png()
    assert media_type == "image/png"
    assert path.relative_to(db.data_dir).parts == (
        "scans",
        analysis.scan.id[:2],
        f"{analysis.scan.id}.png",
    )


def test_the_same_bytes_under_another_bag_are_another_analysis_of_one_file(db: Database, stored: MakeAnalysis) -> None:
    first = stored(bag_id="red suitcase")
    second = stored(bag_id="blue suitcase")
    assert len(_files(db)) == 1
    assert analyses.get(db, first.id).scan.bag_id == "red suitcase"
    assert [found.id for found in analyses.of_bag(db, "blue suitcase")] == [second.id]
    assert analyses.of_bag(db, "no such bag") == []


def test_a_disk_that_fills_up_leaves_neither_file_nor_row(
    db: Database, make_analysis: MakeAnalysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    analysis = make_analysis()

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StorageFailed, match="No space left"):
            save_analysis(db, analysis, png(), "anna")
    assert _files(db) == []
    assert analyses.page(db) == ([], None)
    with pytest.raises(NotFound):
        scans.scan_path(db, analysis.scan.id)


def test_a_row_that_fails_takes_a_new_file_with_it(db: Database, stored: MakeAnalysis) -> None:
    first = stored(shade=1)
    with pytest.raises(Conflict):
        stored(shade=2, id=first.id)
    assert len(_files(db)) == 1
    with pytest.raises(Conflict):
        stored(shade=1, id=first.id)
    assert len(_files(db)) == 1


def test_of_several_views_all_are_kept_or_none(db: Database, stored: MakeAnalysis, make_analysis: MakeAnalysis) -> None:
    first = stored(shade=1)
    views = [
        analyses.NewView(make_analysis(scan=scan_facts(png(2))), png(2), "image/png"),
        analyses.NewView(make_analysis(scan=scan_facts(png(3)), id=first.id), png(3), "image/png"),
    ]
    with pytest.raises(Conflict):
        analyses.save_views(db, views, "anna")
    assert len(_files(db)) == 1
    assert [one.id for one in analyses.page(db)[0]] == [first.id]


def test_a_file_cut_short_outside_is_written_anew(db: Database, stored: MakeAnalysis) -> None:
    analysis = stored()
    path, _ = scans.scan_path(db, analysis.scan.id)
    path.write_bytes(b"cut")
    with pytest.raises(NotFound, match=r"3 of .* bytes are left\. Upload the same picture again"):
        scans.scan_path(db, analysis.scan.id)
    stored()
    assert path.read_bytes() == png()


def test_unknown_ids(db: Database, stored: MakeAnalysis) -> None:
    with pytest.raises(NotFound):
        analyses.get(db, "nothing")
    with pytest.raises(NotFound):
        scans.scan_path(db, "../../etc/passwd")
    analysis = stored()
    scans.scan_path(db, analysis.scan.id)[0].unlink()
    with pytest.raises(NotFound, match="missing"):
        scans.scan_path(db, analysis.scan.id)


def test_a_scan_id_is_a_hash(db: Database, make_analysis: MakeAnalysis) -> None:
    facts = scan_facts(png()).model_copy(update={"id": "../up", "sha256": "../up"})
    with pytest.raises(BadInput):
        save_analysis(db, make_analysis(scan=facts), png())
    assert _files(db) == []


def test_pages_newest_first_even_within_one_moment(db: Database, stored: MakeAnalysis) -> None:
    start = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
    made = [stored(id=f"a{number}", created_at=start + timedelta(seconds=number // 3)) for number in range(8)]
    expected = [a.id for a in sorted(made, key=lambda a: (a.created_at, a.id), reverse=True)]
    seen: list[str] = []
    after: str | None = None
    while True:
        found, after = analyses.page(db, 3, after)
        seen += [analysis.id for analysis in found]
        stored(created_at=start + timedelta(hours=1))  # a new one does not shift the pages
        if after is None:
            break
    assert seen == expected


@pytest.mark.parametrize("cursor", ["", "x", "!!!!", "bm8=", "fHx8", "MjAyNi0xMS0yNHx4", "é", "A" * 10_000])
def test_a_cursor_of_nobodys_is_bad_input(db: Database, cursor: str) -> None:
    with pytest.raises(BadInput):
        analyses.page(db, 10, cursor)


@pytest.mark.parametrize("limit", [0, -1, 10**9])
def test_a_limit_out_of_range_is_bad_input(db: Database, limit: int) -> None:
    with pytest.raises(BadInput):
        analyses.page(db, limit)


def test_overlong_bag_ids_are_refused_and_leave_no_file(db: Database, stored: MakeAnalysis) -> None:
    with pytest.raises(BadInput, match="bag_id"):
        stored(bag_id="x" * 201)
    assert _files(db) == []
