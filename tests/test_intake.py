"""Taking a scan in: stored with its analysis or not at all, and once where the same file is sent again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.api.conftest import FixedDetector, FixedVlm
from tests.conftest import png
from xray_app import intake as intake_module
from xray_app.analysis import Analyser
from xray_app.errors import Busy, ScanTooLarge
from xray_app.intake import Intake
from xray_app.scan.read import Limits, Scan
from xray_app.store import analyses, decisions, thumbnails
from xray_app.store.database import Database
from xray_app.taxonomy import Taxonomy
from xray_app.types import Analysis

LIMITS = Limits(max_bytes=10_000, max_pixels=100_000)


@pytest.fixture
def intake(db: Database, taxonomy: Taxonomy) -> Intake:
    return Intake(db, Analyser(FixedVlm(), FixedDetector(), taxonomy.rules()), LIMITS)


@pytest.fixture
def scan(intake: Intake) -> Scan:
    (read,) = intake.read(png(7), "bag.png", bag_id="bag 7", view="top", scanner_id="lane 1")
    return read


def stored(db: Database) -> list[Analysis]:
    return analyses.page(db)[0]


def test_a_scan_is_stored_with_its_analysis_and_its_appearance(db: Database, intake: Intake, scan: Scan) -> None:
    (analysis,) = intake.take_in([scan], "ana")
    assert stored(db) == [analysis]
    assert analysis.scan.bag_id == "bag 7"
    assert analyses.analyst_of(db, analysis.id) == "ana"
    assert thumbnails.find(db, analysis.scan.id) is not None


def test_the_sites_limits_hold(intake: Intake) -> None:
    assert intake.read(png(7, 400, 250), "bag.png")[0].width == 400
    with pytest.raises(ScanTooLarge):
        intake.read(bytes(10_001), "bag.png")


def test_of_several_views_all_are_stored_or_none(
    db: Database, intake: Intake, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    (side,) = intake.read(png(8), "bag.png", bag_id="bag 7", view="side")
    analyse = intake.analyser.analyse

    def busy(one: Scan) -> Analysis:
        if one.view == "side":
            raise Busy("64 scans wait already.")
        return analyse(one)

    with monkeypatch.context() as patched:
        patched.setattr(intake.analyser, "analyse", busy)
        with pytest.raises(Busy):
            intake.take_in([scan, side], "ana")
    assert stored(db) == []
    found = intake.take_in([scan, side], "ana")
    assert [one.scan.view for one in found] == ["top", "side"]
    assert {one.id for one in stored(db)} == {one.id for one in found}


def test_a_scan_that_is_not_sent_again_is_analysed_anew(db: Database, intake: Intake, scan: Scan) -> None:
    first, second = intake.take_in([scan], "ana"), intake.take_in([scan], "ana")
    assert first != second
    assert len(stored(db)) == 2


def test_a_file_sent_again_gives_the_analysis_it_had(db: Database, intake: Intake, scan: Scan) -> None:
    first = intake.take_in([scan], "ana")
    assert intake.take_in([scan], "ana", resent=True) == first
    assert stored(db) == first


def test_a_file_sent_again_is_known_by_bytes_bag_view_scanner_and_person(
    db: Database, intake: Intake, scan: Scan
) -> None:
    intake.take_in([scan], "ana")
    others = [replace(scan, bag_id="bag 8"), replace(scan, view="side"), replace(scan, scanner_id="lane 2")]
    others += intake.read(png(8), "bag.png", bag_id="bag 7", view="top", scanner_id="lane 1")
    for other in others:
        intake.take_in([other], "ana", resent=True)
    intake.take_in([scan], "ben", resent=True)
    assert len(stored(db)) == 1 + len(others) + 1


def test_what_was_decided_is_not_what_is_sent_again(db: Database, intake: Intake, scan: Scan) -> None:
    (first,) = intake.take_in([scan], "ana")
    decisions.add(db, first.id, "SEARCH", None, None, "ana")
    assert intake.take_in([scan], "ana", resent=True) != [first]


@pytest.mark.parametrize(("later", "known"), [(timedelta(minutes=29), True), (timedelta(minutes=31), False)])
def test_a_file_is_known_again_for_half_an_hour(
    intake: Intake, scan: Scan, monkeypatch: pytest.MonkeyPatch, later: timedelta, known: bool
) -> None:
    first = intake.take_in([scan], "ana")

    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + later

    monkeypatch.setattr(intake_module, "datetime", Later)
    assert (intake.take_in([scan], "ana", resent=True) == first) == known


def test_a_first_sending_that_ends_while_the_second_is_read_counts(
    db: Database, intake: Intake, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    analyse = intake.analyser.analyse
    first: list[Analysis] = []

    def slowly(one: Scan) -> Analysis:
        if not first:
            first.append(analyse(one))
            monkeypatch.setattr(intake.analyser, "analyse", analyse)
            first[:] = intake.take_in([one], "ana")
        return analyse(one)

    monkeypatch.setattr(intake.analyser, "analyse", slowly)
    assert intake.take_in([scan], "ana", resent=True) == first
    assert stored(db) == first


def test_a_blind_scan_hides_its_prediction(db: Database, intake: Intake, scan: Scan) -> None:
    (hidden,) = intake.take_in([scan], "ana", blind=lambda: True)
    assert analyses.of_bag(db, "bag 7") == []
    assert analyses.of_bag(db, "bag 7", with_hidden=True) == [hidden]
