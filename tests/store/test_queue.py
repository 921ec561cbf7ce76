"""The annotators' queue: its order and reasons, claims that run out, skips, drafts, and how it stays true."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, text, update

from tests.conftest import MakeAnalysis, png, save_analysis, scan_facts
from xray_app.correction.usefulness import CONTROL_ONE_IN, LOT_TOP, RARE_BELOW, lot_of
from xray_app.errors import BadInput, Conflict, NotFound
from xray_app.store import corrections, decisions, drafts, outcomes, queue
from xray_app.store.database import Database
from xray_app.store.tables import AnalysisRow, QueueClaimRow, QueueRow
from xray_app.taxonomy import Taxonomy
from xray_app.types import Agreement, Analysis, CorrectionBox, CorrectionIn, ItemCount, Report, Risk

AGREED = Agreement(both=("knife",), vlm_only=(), detector_only=())
SURE = Report(items=(), text="", complete=True)


def ordinary(number: int) -> str:
    """An analysis id that is no control."""
    return next(id for n in range(1000) if lot_of(id := f"a{number}-{n}") is None)


def control(number: int = 0) -> str:
    return next(id for n in range(10_000) if lot_of(id := f"c{number}-{n}") is not None)


@pytest.fixture
def dull(stored: MakeAnalysis) -> MakeAnalysis:
    """Stores an analysis that nothing stands out of: both models agree on nothing, and are sure."""

    def make(number: int, **changes: object) -> Analysis:
        plain: dict[str, object] = {
            "id": ordinary(number),
            "agreement": Agreement(both=(), vlm_only=(), detector_only=()),
            "report": SURE,
            "boxes": (),
            "risk": Risk(level="LOW", reason="nothing", action="REVIEW", policy="airport"),
        }
        return stored(shade=number, **(plain | changes))

    return make


def order(db: Database) -> list[str]:
    return [entry.analysis_id for entry in queue.page(db)[0]]


def correct(
    db: Database,
    taxonomy: Taxonomy,
    analysis: Analysis,
    *labels: str,
    by: str = "anna",
    base: int = 0,
    review: bool = False,
) -> str:
    sent = CorrectionIn(items=tuple(ItemCount(label=one, count=1) for one in labels), boxes=(), base_revision=base)
    return corrections.add(db, analysis.id, sent, by, taxonomy, review).id


def test_what_the_models_contradict_each_other_on_comes_before_what_they_agree_on(
    db: Database, dull: MakeAnalysis, taxonomy: Taxonomy
) -> None:
    plain = dull(1)
    bottle = dull(
        2,
        report=Report(items=(taxonomy.item("plastic bottle", 1, 0.99),), text="", complete=True),
        agreement=Agreement(both=(), vlm_only=("plastic bottle",), detector_only=()),
    )
    knife = dull(
        3,
        boxes=(taxonomy.box("b1", "model", "knife", (1, 1, 9, 9), 0.99),),
        agreement=Agreement(both=(), vlm_only=(), detector_only=("knife",)),
    )
    assert order(db) == [knife.id, bottle.id, plain.id]
    assert queue.get(db, knife.id).reasons[0] == "the models disagree on knife"
    assert queue.get(db, plain.id).reasons == ()


def test_the_unsure_the_incomplete_and_the_rare_say_so(db: Database, dull: MakeAnalysis, taxonomy: Taxonomy) -> None:
    unsure = dull(1, report=Report(items=(taxonomy.item("knife", 1, 0.52),), text="", complete=False), agreement=AGREED)
    sure = dull(2, report=Report(items=(taxonomy.item("knife", 1, 0.99),), text="", complete=True), agreement=AGREED)
    assert order(db) == [unsure.id, sure.id]
    assert queue.get(db, unsure.id).reasons == (
        "unsure of knife (52%)",
        "few corrected scans hold knife",
        "the answer was cut off or not understood in full",
    )
    assert queue.get(db, sure.id).reasons == ("few corrected scans hold knife",)


def test_a_class_is_rare_until_enough_corrected_scans_hold_it(
    db: Database, dull: MakeAnalysis, taxonomy: Taxonomy
) -> None:
    knife = dull(0, report=Report(items=(taxonomy.item("knife", 1, 0.99),), text="", complete=True), agreement=AGREED)
    before = queue.get(db, knife.id).score
    for number in range(1, RARE_BELOW + 1):
        assert queue.get(db, knife.id).reasons == ("few corrected scans hold knife",)
        other = dull(number)
        correct(db, taxonomy, other, "knife")
        correct(db, taxonomy, other, "knife", base=1)  # a second revision of a scan is no second scan
    assert queue.get(db, knife.id).reasons == ()
    assert queue.get(db, knife.id).score == pytest.approx(before - 1)
    late = dull(99, report=Report(items=(taxonomy.item("knife", 1, 0.99),), text="", complete=True), agreement=AGREED)
    assert queue.get(db, late.id).reasons == ()


def test_what_people_decided_and_found_against_the_models_comes_first(
    db: Database, dull: MakeAnalysis, stored: MakeAnalysis, taxonomy: Taxonomy
) -> None:
    disputed = stored(shade=50, id=ordinary(50))
    cleared, missed = dull(1), dull(2)
    decisions.add(db, cleared.id, "SEARCH", None, None, "ana")
    outcomes.add(db, missed.id, (ItemCount(label="gun", count=1),), None, "ana", taxonomy)
    assert order(db)[0] == missed.id
    assert queue.get(db, missed.id).reasons == ("the hand search found gun, which no model named",)
    assert queue.get(db, cleared.id).reasons == ("ana decided SEARCH; the models said LOW",)
    # The newer decision of a bag counts in place of the older one, not on top of it.
    decisions.add(db, cleared.id, "SEARCH", None, None, "ben")
    assert queue.get(db, cleared.id).score == 3.0
    decisions.add(db, cleared.id, "REVIEW", None, None, "ben")
    assert queue.get(db, cleared.id).score == 0.0, "as the models advised"
    decisions.add(db, disputed.id, "CLEAR", None, "a toy", "ana")
    assert "ana decided CLEAR; the models said HIGH" in queue.get(db, disputed.id).reasons
    outcomes.add(db, disputed.id, (), "nothing in it", "ana", taxonomy)
    assert "the hand search found no knife" in queue.get(db, disputed.id).reasons


def test_a_control_is_placed_by_lot_whatever_the_models_say(db: Database, stored: MakeAnalysis) -> None:
    chosen = control()
    analysis = stored(id=chosen)
    entry = queue.get(db, analysis.id)
    assert entry.reasons == ("control sample: drawn by lot",)
    assert entry.score == pytest.approx((lot_of(chosen) or 0) * LOT_TOP, abs=0.001)
    lots = [lot for number in range(20_000) if (lot := lot_of(f"{number}")) is not None]
    assert len(lots) == pytest.approx(20_000 / CONTROL_ONE_IN, rel=0.15)
    assert sum(lots) / len(lots) == pytest.approx(0.5, abs=0.05)


def test_a_correction_takes_a_scan_off_and_a_rejection_puts_it_back(
    db: Database, dull: MakeAnalysis, taxonomy: Taxonomy
) -> None:
    analysis = dull(1)
    first = correct(db, taxonomy, analysis, "gun", review=True)
    assert order(db) == []
    corrections.review(db, first, "rejected", "that is an axe", "ben")
    assert order(db) == [analysis.id]
    assert queue.get(db, analysis.id).reasons == ("ben rejected revision 1: that is an axe",)
    second = correct(db, taxonomy, analysis, "axe", base=1, review=True)
    third = correct(db, taxonomy, analysis, "axe", base=2, by="cleo", review=True)
    corrections.review(db, second, "rejected", "see revision 3", "ben")
    assert order(db) == [], "a newer revision stands"
    corrections.review(db, third, "accepted", None, "ben")
    assert order(db) == []


def test_two_people_never_get_the_same_scan(db: Database, dull: MakeAnalysis) -> None:
    for number in range(6):
        dull(number)
    taken: list[str] = []

    def person(name: str) -> None:
        claim = queue.take_next(db, name)
        assert claim is not None
        taken.append(claim.analysis_id)

    people = [threading.Thread(target=person, args=(f"person {number}",)) for number in range(6)]
    for thread in people:
        thread.start()
    for thread in people:
        thread.join()
    assert len(set(taken)) == 6
    assert queue.take_next(db, "one too many") is None


def test_a_claim_is_kept_shown_refused_to_others_and_runs_out(db: Database, dull: MakeAnalysis) -> None:
    first, second = dull(1), dull(2)
    claim = queue.take(db, first.id, "anna")
    again = queue.take_next(db, "anna")
    assert again is not None
    assert again.analysis_id == first.id, "a reload goes on where one was"
    assert [held.username for held in queue.standing(db).claims] == ["anna"]
    assert queue.get(db, first.id).claimed_by == "anna"
    with pytest.raises(Conflict, match="anna") as told:
        queue.take(db, first.id, "ben")
    assert told.value.details is not None
    assert told.value.details["claimed_by"] == "anna"

    run_out(db)
    assert queue.claim_of(db, "anna") is None
    assert queue.get(db, first.id).claimed_by is None
    renewed = queue.renew(db, first.id, "anna")
    assert renewed is not None
    assert renewed.expires_at >= claim.expires_at, "free still: the work goes on"
    run_out(db)
    queue.take(db, first.id, "ben")
    with pytest.raises(Conflict, match="ben is at work"):
        queue.renew(db, first.id, "anna")
    queue.take(db, second.id, "ben")
    assert queue.get(db, first.id).claimed_by is None, "one scan at a time"
    with pytest.raises(Conflict, match="another scan"):
        queue.renew(db, first.id, "ben")
    queue.release(db, second.id, "anna")
    assert queue.get(db, second.id).claimed_by == "ben", "nobody lets go of another's"
    queue.release(db, second.id, "ben")
    assert queue.standing(db) == queue.Standing(2, ())


def test_saving_lets_go(db: Database, dull: MakeAnalysis, taxonomy: Taxonomy) -> None:
    analysis = dull(1)
    queue.take(db, analysis.id, "anna")
    drafts.put(db, analysis.id, "anna", CorrectionIn(items=(), boxes=()))
    correct(db, taxonomy, analysis)
    assert queue.standing(db) == queue.Standing(0, ())
    assert drafts.get(db, analysis.id, "anna") is None


def test_who_saved_or_skipped_a_scan_does_not_get_it_back_by_a_late_sign_of_work(
    db: Database, dull: MakeAnalysis, taxonomy: Taxonomy
) -> None:
    saved, skipped, others = dull(1), dull(2), dull(3)
    queue.take(db, saved.id, "anna")
    correct(db, taxonomy, saved)
    queue.take(db, skipped.id, "anna")
    queue.skip(db, skipped.id, "anna", "later")
    for analysis in (saved, skipped):
        assert queue.renew(db, analysis.id, "anna") is None
        drafts.keep(db, analysis.id, "anna", CorrectionIn(items=(), boxes=()))
        assert queue.renew(db, analysis.id, "ben") is not None
        queue.release(db, analysis.id, "ben")
    assert drafts.get(db, saved.id, "anna") is None
    # Taken again on purpose it is work like any other, also after the claim ran out.
    queue.take(db, skipped.id, "anna")
    run_out(db)
    assert queue.renew(db, skipped.id, "anna") is not None
    queue.take(db, saved.id, "anna")
    later = CorrectionIn(items=(), boxes=(), base_revision=1)
    drafts.keep(db, saved.id, "anna", later)
    assert drafts.get(db, saved.id, "anna") == later
    # Somebody else's newer revision is no reason: the edits are kept, to be merged.
    queue.take(db, others.id, "ben")
    correct(db, taxonomy, others)
    drafts.keep(db, others.id, "ben", CorrectionIn(items=(), boxes=()))
    assert drafts.get(db, others.id, "ben") is not None


def test_a_skip_passes_a_scan_to_others_with_its_reason(db: Database, dull: MakeAnalysis) -> None:
    analysis = dull(1)
    queue.take_next(db, "anna")
    queue.skip(db, analysis.id, "anna", " cannot tell ")
    assert queue.take_next(db, "anna") is None
    assert queue.get(db, analysis.id).skipped == ("anna: cannot tell",)
    claim = queue.take_next(db, "ben")
    assert claim is not None
    assert claim.analysis_id == analysis.id
    queue.skip(db, analysis.id, "anna", "still cannot")
    assert queue.get(db, analysis.id).skipped == ("anna: still cannot",)
    for bad in ("", "  ", "x" * 201):
        with pytest.raises(BadInput):
            queue.skip(db, analysis.id, "ben", bad)
    assert queue.get(db, analysis.id).claimed_by == "ben"


def test_what_is_not_there_is_said(db: Database) -> None:
    for act in (
        lambda: queue.get(db, "nothing"),
        lambda: queue.take(db, "nothing", "anna"),
        lambda: queue.renew(db, "nothing", "anna"),
        lambda: queue.skip(db, "nothing", "anna", "why"),
        lambda: drafts.put(db, "nothing", "anna", CorrectionIn(items=(), boxes=())),
    ):
        with pytest.raises(NotFound):
            act()
    assert queue.take_next(db, "anna") is None
    assert queue.page(db) == ([], None)
    for cursor in ("", "x", "bm9uc2Vuc2U=", "bmFufHg="):
        with pytest.raises(BadInput):
            queue.page(db, 10, cursor)
    for limit in (0, 501):
        with pytest.raises(BadInput):
            queue.page(db, limit)


def test_a_draft_is_each_persons_own(db: Database, dull: MakeAnalysis) -> None:
    analysis = dull(1)
    draft = CorrectionIn(
        items=(ItemCount(label="knife", count=2),),
        boxes=(CorrectionBox(label="knife", xyxy=(1, 2, 3, 4)),),
        labelled_classes=("knife",),
        comment="🔪 مرحبا",
    )
    drafts.put(db, analysis.id, "anna", CorrectionIn(items=(), boxes=()))
    drafts.put(db, analysis.id, "anna", draft)
    assert drafts.get(db, analysis.id, "anna") == draft
    assert drafts.get(db, analysis.id, "ben") is None
    assert [name for name, _ in drafts.others(db, analysis.id, "ben")] == ["anna"]
    assert drafts.others(db, analysis.id, "anna") == []
    drafts.drop(db, analysis.id, "anna")
    assert drafts.get(db, analysis.id, "anna") is None


def test_pages_follow_each_other_and_stay_quick(db: Database, make_analysis: MakeAnalysis) -> None:
    fill(db, make_analysis, 5_000)
    seen: list[float] = []
    cursor: str | None = None
    for _ in range(5):
        entries, cursor = queue.page(db, 50, cursor)
        seen += [entry.score for entry in entries]
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == 250
    times = []  # of the processor: other work on the machine does not count
    for number in range(9):
        started = time.process_time()
        queue.page(db, 50, cursor)
        queue.standing(db)
        claim = queue.take_next(db, f"person {number}")
        times.append(time.process_time() - started)
        assert claim is not None
    assert sorted(times)[4] < 0.2, times


def fill(db: Database, make_analysis: MakeAnalysis, count: int) -> None:
    """Many entries at once, of one scan."""
    analysis = make_analysis()
    save_analysis(db, analysis, png(), "anna")
    document = analysis.model_dump_json()
    plain = {
        "created_at": datetime.now(UTC), "created_by": "anna", "scan_id": scan_facts(png()).id, "bag_id": "b",
        "risk_level": "HIGH", "action": "SEARCH", "taxonomy_sha256": "t", "document": document,
    }  # fmt: skip
    ids = [f"many-{number}" for number in range(count)]
    with db.write() as session:
        session.execute(insert(AnalysisRow), [plain | {"id": id} for id in ids])
        session.execute(
            insert(QueueRow),
            [
                {"analysis_id": id, "waiting": True, "score": number * 7 % 1009 / 100, "reasons": "{}"}
                for number, id in enumerate(ids)
            ],
        )


def test_what_was_stored_before_the_queue_joins_it(db: Database, stored: MakeAnalysis, taxonomy: Taxonomy) -> None:
    """The migration's own filling, on tables as the first version left them."""
    from importlib import import_module

    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    waiting, done = stored(shade=1, id=ordinary(1)), stored(shade=2, id=ordinary(2))
    correct(db, taxonomy, done, "gun")
    migration = import_module("xray_app.store.migrations.versions.0004_annotate")
    with db.engine.begin() as connection, Operations.context(MigrationContext.configure(connection)):
        migration.downgrade()
        migration.upgrade()
    assert order(db) == [waiting.id]
    assert queue.get(db, waiting.id).reasons == ("the models disagree on plastic bottle",)
    with db.read() as session:
        assert session.execute(text("SELECT label, scans FROM corrected_labels")).all() == [("gun", 1)]


def run_out(db: Database) -> None:
    with db.write() as session:
        session.execute(update(QueueClaimRow).values(expires_at=datetime.now(UTC) - timedelta(seconds=1)))
