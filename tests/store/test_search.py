"""Finding analyses: every filter, pages in order, what is kept follows what is stored."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from pathlib import Path

import pytest
from sqlalchemy import delete, select, text

from tests.conftest import MakeAnalysis, png, save_analysis
from xray_app import auth
from xray_app.errors import BadInput, Conflict, NotFound
from xray_app.scan.appearance import SIDE, Appearance, appearance_of
from xray_app.store import corrections, decisions, facts, outcomes, search, thumbnails
from xray_app.store.database import Database
from xray_app.store.fact_tables import AppearanceRow, FactsRow, LabelFactRow, StaleDayRow
from xray_app.store.search import Filter
from xray_app.taxonomy import Taxonomy
from xray_app.types import (
    Agreement,
    Analysis,
    CorrectionIn,
    DetectorFacts,
    ItemCount,
    ModelFacts,
    Role,
    VlmFacts,
)

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
AGREED = Agreement(both=("knife",), vlm_only=(), detector_only=())


def ids(db: Database, **wanted: object) -> set[str]:
    return {one.analysis.id for one in search.page(db, Filter(**wanted))[0]}


@pytest.fixture
def three(db: Database, stored: MakeAnalysis, taxonomy: Taxonomy) -> tuple[Analysis, Analysis, Analysis]:
    """Searched and corrected by ben; cleared on another scanner by an adapter; nobody's yet."""
    first = stored(shade=1, created_at=START)
    decisions.add(db, first.id, "REVIEW", None, None, "anna")
    decisions.add(db, first.id, "SEARCH", 4.0, None, "ben")
    outcomes.add(db, first.id, [ItemCount(label="dagger", count=1)], None, "ben", taxonomy)
    corrections.add(
        db, first.id, CorrectionIn(items=(ItemCount(label="axe", count=1),), boxes=()), "ben", taxonomy, True
    )
    models = ModelFacts(vlm=VlmFacts(name="b", adapter="a" * 32), detector=DetectorFacts(name="b", sha256="d" * 64))
    second = stored(shade=2, created_at=START + timedelta(days=1), agreement=AGREED, models=models)
    decisions.add(db, second.id, "CLEAR", 2.0, "a toy", "anna")
    outcomes.add(db, second.id, [], None, "anna", taxonomy)
    risk = second.risk.model_copy(update={"level": "LOW"})
    third = stored(shade=3, created_at=START + timedelta(days=2), agreement=AGREED, risk=risk, by="chi")
    return first, second, third


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        ({}, (0, 1, 2)),
        ({"label": "knife"}, (0, 1, 2)),
        ({"label": "dagger"}, (0,)),
        ({"label": "dagger", "named_by": "search"}, (0,)),
        ({"label": "dagger", "named_by": "vlm"}, ()),
        ({"label": "axe", "named_by": "person"}, (0,)),
        ({"label": "knife", "named_by": "detector"}, (0, 1, 2)),
        ({"label": "plastic bottle", "named_by": "detector"}, ()),
        ({"label": "dagger", "missed": True}, (0,)),
        ({"label": "knife", "missed": True}, ()),
        ({"missed": True}, (0,)),
        ({"missed": True, "named_by": "search"}, (0,)),
        ({"risk": "HIGH"}, (0, 1)),
        ({"risk": "LOW"}, (2,)),
        ({"decision": "SEARCH"}, (0,)),
        ({"decision": "REVIEW"}, ()),  # it was, and then it was not
        ({"decision": "none"}, (2,)),
        ({"outcome": "found"}, (0,)),
        ({"outcome": "nothing"}, (1,)),
        ({"outcome": "none"}, (2,)),
        ({"disagree": True}, (0,)),
        ({"disagree": False}, (1, 2)),
        ({"corrected": "yes"}, (0,)),
        ({"corrected": "pending"}, (0,)),
        ({"corrected": "no"}, (1, 2)),
        ({"analyst": "ben"}, (0,)),
        ({"analyst": "anna"}, (1,)),
        ({"analyst": "chi"}, (2,)),
        ({"adapter": "a" * 32}, (1,)),
        ({"adapter": "base"}, (0, 2)),
        ({"first": date(2026, 11, 21)}, (1, 2)),
        ({"last": date(2026, 11, 21)}, (0, 1)),
        ({"first": date(2026, 11, 21), "last": date(2026, 11, 21)}, (1,)),
        ({"first": date.min, "last": date.max}, (0, 1, 2)),
        ({"label": "knife", "risk": "HIGH", "decision": "CLEAR", "analyst": "anna"}, (1,)),
        ({"label": "no such label"}, ()),
    ],
)
def test_every_filter(
    db: Database, three: tuple[Analysis, ...], wanted: dict[str, object], fits: tuple[int, ...]
) -> None:
    assert ids(db, **wanted) == {three[place].id for place in fits}
    assert search.count(db, Filter(**wanted)) == len(fits)


def test_a_scanner_is_found_by_its_name(db: Database, stored: MakeAnalysis, make_analysis: MakeAnalysis) -> None:
    from tests.conftest import scan_facts

    facts = scan_facts(png(9), scanner_id="north 1")
    told = save_analysis(db, make_analysis(scan=facts), png(9), "anna")
    stored(shade=10)
    assert ids(db, scanner="north 1") == {told.id}
    known = search.choices(db)
    assert (known.scanners, known.adapters, known.analysts) == (("north 1",), ("base",), ("anna",))


def test_what_became_of_it_is_told_with_it(db: Database, three: tuple[Analysis, ...]) -> None:
    found = {one.analysis.id: one for one in search.page(db, Filter())[0]}
    first = found[three[0].id]
    assert (first.decision, first.outcome, first.correction, first.analyst) == ("SEARCH", "found", "pending", "ben")
    assert dict(first.labels) == {
        "axe": "person",
        "dagger": "search",
        "knife": "vlm detector",
        "plastic bottle": "vlm",
    }
    assert first.analysis == three[0]


def test_a_review_and_a_later_correction_change_what_is_found(
    db: Database, three: tuple[Analysis, ...], taxonomy: Taxonomy
) -> None:
    (newest,) = corrections.history(db, three[0].id)
    corrections.review(db, newest.id, "accepted", None, "annie")
    assert ids(db, corrected="pending") == set()
    assert ids(db, corrected="yes") == {three[0].id}
    again = CorrectionIn(items=(ItemCount(label="can", count=1),), boxes=(), base_revision=1)
    corrections.add(db, three[0].id, again, "annie", taxonomy, False)
    assert ids(db, label="axe", named_by="person") == set()
    assert ids(db, label="can", named_by="person") == {three[0].id}


@pytest.mark.parametrize("wanted", [{}, {"label": "knife"}, {"risk": "HIGH"}, {"label": "knife", "risk": "HIGH"}])
def test_pages_hold_everything_once_newest_first_while_more_comes_in(
    db: Database, stored: MakeAnalysis, wanted: dict[str, object]
) -> None:
    # Several at one moment: the id settles their order.
    made = [stored(shade=n, created_at=START + timedelta(seconds=n // 3)) for n in range(11)]
    expected = [one.id for one in sorted(made, key=lambda one: (one.created_at, one.id), reverse=True)]
    seen: list[str] = []
    after: str | None = None
    while True:
        found, after = search.page(db, Filter(**wanted), 4, after)
        seen += [one.analysis.id for one in found]
        stored(created_at=START + timedelta(hours=1))
        if after is None:
            break
    assert seen == expected


@pytest.mark.parametrize(
    "sent",
    [
        {"risk": "high"}, {"risk": ["HIGH"]}, {"label": "x" * 201}, {"label": "a\0b"}, {"label": {"$ne": 1}},
        {"decision": "' OR 1=1 --"}, {"disagree": "perhaps"}, {"first": "yesterday"}, {"unknown": 1},
    ],
)  # fmt: skip
def test_what_no_filter_has_is_refused(sent: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        search.read_filter(sent)


def test_hostile_words_are_only_words(db: Database, three: tuple[Analysis, ...]) -> None:
    for words in ("' OR 1=1 --", "%", "_", "<b>", "\u202eknife", "😀"):
        assert ids(db, label=words) == ids(db, scanner=words) == ids(db, analyst=words) == set()


def test_a_page_goes_along_an_index(db: Database, three: tuple[Analysis, ...]) -> None:
    if db.engine.dialect.name != "sqlite":
        pytest.skip("plans are SQLite's here")
    for wanted in (Filter(), Filter(label="knife"), Filter(risk="LOW"), Filter(adapter="base"), Filter(corrected="no")):
        order = (FactsRow.created_at, FactsRow.id)
        if wanted.label is not None:
            order = (LabelFactRow.created_at, LabelFactRow.analysis_id)
        query = search._query(wanted).order_by(*(column.desc() for column in order)).limit(48)
        sql = str(query.compile(db.engine, compile_kwargs={"literal_binds": True}))
        with db.read() as session:
            plan = " ".join(row[3] for row in session.execute(text(f"EXPLAIN QUERY PLAN {sql}")))
        assert "USING INDEX" in plan or "USING COVERING INDEX" in plan
        assert "TEMP B-TREE" not in plan, plan  # nothing is sorted


# --- what is kept follows what is stored ------------------------------------------------------------------


def test_the_migrations_fill_what_writing_keeps(db: Database, three: tuple[Analysis, ...], taxonomy: Taxonomy) -> None:
    def kept() -> list[object]:
        with db.read() as session:
            return [
                sorted(
                    tuple(getattr(row, c.name) for c in row.__table__.columns) for row in session.scalars(select(table))
                )
                for table in (FactsRow, LabelFactRow, StaleDayRow)
            ]

    before = kept()
    assert len(before[0]) == 3
    assert len(before[2]) == 3
    with db.write() as session:
        for table in (FactsRow, LabelFactRow, StaleDayRow):
            session.execute(delete(table))
        for name in ("0003_gallery", "0008_standing"):
            import_module(f"xray_app.store.migrations.versions.{name}").fill(session.connection())
    facts.complete(db, taxonomy)
    assert kept() == before


def test_an_analysis_that_fails_to_store_leaves_no_facts(db: Database, stored: MakeAnalysis) -> None:
    with pytest.raises(BadInput):
        stored(bag_id="x" * 201)
    assert search.page(db, Filter())[0] == []
    assert search.count(db, Filter()) == 0


# --- looks and thumbnails ---------------------------------------------------------------------------------


def test_a_look_is_kept_with_the_scan(db: Database, make_analysis: MakeAnalysis) -> None:
    from PIL import Image

    from tests.conftest import scan_facts

    picture = Image.new("RGB", (640, 480), "white")
    picture.paste((230, 140, 40), (0, 0, 320, 480))  # orange
    picture.paste((40, 80, 220), (320, 0, 480, 480))  # blue
    look = appearance_of(picture)
    assert (look.organic, look.metal, look.mixed) == pytest.approx((2 / 3, 1 / 3, 0), abs=0.02)
    facts = scan_facts(png(4))
    save_analysis(db, make_analysis(scan=facts), png(4), "anna", look=look)
    path = thumbnails.find(db, facts.id)
    assert path is not None
    with Image.open(path) as thumbnail:
        assert max(thumbnail.size) == SIDE
    with db.read() as session:
        row = session.get_one(AppearanceRow, facts.id)
        assert row.organic == look.organic


def test_an_empty_tunnel_has_a_look_too() -> None:
    from PIL import Image

    assert appearance_of(Image.new("RGB", (16, 800), "white")).brightness == 1
    black = appearance_of(Image.new("RGB", (16, 16), "black"))
    assert (black.brightness, black.organic, black.metal) == (0, 0, 0)


@pytest.mark.parametrize("scan_id", ["../../etc/passwd", "x", "A" * 64, "0" * 64, "a\0"])
def test_a_thumbnail_of_no_scan_is_not_found(db: Database, scan_id: str) -> None:
    with pytest.raises(NotFound):
        thumbnails.find(db, scan_id)


def test_a_full_disk_costs_the_thumbnail_alone(
    db: Database, make_analysis: MakeAnalysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.conftest import scan_facts

    facts = scan_facts(png(6))
    look = Appearance(b"webp", 0.1, 0.1, 0.1, 0.5, "0" * 64)
    (db.data_dir / "thumbnails").write_text("in the way")
    made = save_analysis(db, make_analysis(scan=facts), png(6), "anna", look=look)
    assert ids(db) == {made.id}
    (db.data_dir / "thumbnails").unlink()
    assert thumbnails.find(db, facts.id) is None
    assert thumbnails.keep(db, facts.id, look).read_bytes() == b"webp"
    assert list(Path(db.data_dir / "scans" / "incoming").iterdir()) == []


# --- filters people keep ----------------------------------------------------------------------------------


def test_filters_are_kept_for_each_user(db: Database) -> None:
    for name in ("ana", "ben"):
        auth.add_user(db, name, "a good password", Role.ANALYST)
    wanted = Filter(label="knife", first=date(2026, 11, 1), disagree=True)
    search.save(db, "ana", " missed knives ", Filter())
    search.save(db, "ana", "missed knives", wanted)  # once more: replaced
    assert search.saved(db, "ana") == {"missed knives": wanted}
    assert search.saved(db, "ben") == {}
    with pytest.raises(NotFound):
        search.forget(db, "ben", "missed knives")
    search.forget(db, "ana", "missed knives")
    assert search.saved(db, "ana") == {}
    for name in ("", "  ", "x" * 61, "a\nb", "a\0b"):
        with pytest.raises(BadInput):
            search.save(db, "ana", name, wanted)
    for number in range(search.MOST_SAVED):
        search.save(db, "ana", str(number), wanted)
    with pytest.raises(Conflict):
        search.save(db, "ana", "one more", wanted)


def test_a_box_of_the_vlm_is_not_the_detectors_word(db: Database, stored: MakeAnalysis, taxonomy: Taxonomy) -> None:
    places = {"model": "lighter", "vlm": "gun"}
    boxes = [taxonomy.box(f"{who}1", who, label, (0, 0, 9, 9), 0.9) for who, label in places.items()]  # type: ignore[arg-type]
    analysis = stored(boxes=tuple(boxes))
    assert ids(db, label="lighter", named_by="detector") == {analysis.id}
    assert ids(db, label="gun", named_by="detector") == set()
