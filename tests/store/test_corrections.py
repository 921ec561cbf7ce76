"""Corrections: checked, appended, never over somebody unseen; reviews; what may train."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable

import pytest
from pydantic import ValidationError

from tests.conftest import MakeAnalysis
from xray_app.correction.revision import split_of
from xray_app.errors import BadInput, Conflict, Forbidden, NotFound, UnknownLabel
from xray_app.store import corrections, decisions, outcomes, reviews, search, standing, tip
from xray_app.store.database import Database
from xray_app.store.search import Filter
from xray_app.taxonomy import Taxonomy
from xray_app.types import XYXY, Correction, CorrectionBox, CorrectionIn, ItemChange, ItemCount
from xray_app.ui.viewer.component import work_of

Correct = Callable[..., Correction]
AS_PREDICTED = CorrectionBox(id="b1", label="knife", xyxy=(10, 20, 110, 90))
PREDICTED_ITEMS = (("knife", 1), ("plastic bottle", 2))


@pytest.fixture
def correct(db: Database, taxonomy: Taxonomy) -> Correct:
    def add(
        analysis_id: str,
        items: Iterable[tuple[str, int]] = PREDICTED_ITEMS,
        boxes: Iterable[CorrectionBox] = (AS_PREDICTED,),
        base: int = 0,
        by: str = "anna",
        review: bool = False,
        looked_for: tuple[str, ...] | None = None,
    ) -> Correction:
        sent = CorrectionIn(
            items=tuple(ItemCount(label=label, count=count) for label, count in items),
            boxes=tuple(boxes),
            base_revision=base,
            labelled_classes=looked_for,
        )
        return corrections.add(db, analysis_id, sent, by, taxonomy, review)

    return add


def test_unchanged_boxes_stay_the_models_and_items_become_the_persons(
    db: Database, stored: MakeAnalysis, correct: Correct
) -> None:
    analysis = stored()
    correction = correct(analysis.id)
    assert correction.revision == 1
    assert correction.status == "accepted"
    assert correction.boxes == analysis.boxes
    assert [(i.label, i.count, i.confidence) for i in correction.items] == [
        ("knife", 1, None),
        ("plastic bottle", 2, None),
    ]
    assert correction.diff.model_dump() == {
        "items": (),
        "boxes_added": (),
        "boxes_removed": (),
        "boxes_changed": (),
    }
    assert corrections.get(db, correction.id) == correction
    assert corrections.history(db, analysis.id) == [correction]


@pytest.mark.parametrize(
    ("label", "xyxy"),
    [("scissors", (10, 20, 110, 90)), ("knife", (10, 20, 110, 91)), ("knife", (0, 0, 320, 240))],
)
def test_any_edit_makes_a_box_human(stored: MakeAnalysis, correct: Correct, label: str, xyxy: XYXY) -> None:
    correction = correct(stored().id, items=[(label, 1)], boxes=[CorrectionBox(id="b1", label=label, xyxy=xyxy)])
    (box,) = correction.boxes
    assert (box.id, box.source, box.confidence) == ("b1", "human", None)
    assert (box.label, box.xyxy) == (label, xyxy)
    assert correction.diff.boxes_changed == ("b1",)


def test_an_alias_is_no_edit_and_comes_back_canonical(stored: MakeAnalysis, correct: Correct) -> None:
    correction = correct(
        stored().id,
        items=[("Knives", 1), ("PlasticBottle", 1), ("plastic bottles", 1)],
        boxes=[CorrectionBox(id="b1", label="KNIFE", xyxy=(10, 20, 110, 90.0000001))],
        looked_for=("Knives", "knife", "plastic-bottle"),
    )
    assert [(i.label, i.count) for i in correction.items] == [("knife", 1), ("plastic bottle", 2)]
    assert correction.boxes[0].source == "model"
    assert correction.boxes[0].xyxy == (10, 20, 110, 90)
    assert correction.labelled_classes == ("knife", "plastic bottle")


def test_the_difference_is_to_the_base_revision(stored: MakeAnalysis, correct: Correct) -> None:
    analysis = stored()
    first = correct(
        analysis.id,
        items=[("knife", 2), ("gun", 2)],
        boxes=[CorrectionBox(label="gun", xyxy=(0, 0, 50, 50))],
    )
    assert first.diff.items == (
        ItemChange(label="knife", before=1, after=2),
        ItemChange(label="plastic bottle", before=2, after=0),
        ItemChange(label="gun", before=0, after=2),
    )
    assert first.diff.boxes_removed == ("b1",)
    new = first.boxes[0].id
    assert first.diff.boxes_added == (new,)
    second = correct(
        analysis.id,
        items=[("knife", 2), ("gun", 1)],
        boxes=[CorrectionBox(id=new, label="gun", xyxy=(0, 0, 60, 50)), AS_PREDICTED],
        base=1,
        by="ben",
    )
    assert second.diff.items == (ItemChange(label="gun", before=2, after=1),)
    assert second.diff.boxes_changed == (new,)
    assert second.diff.boxes_added == ("b1",)  # the prediction's, put back as it was
    assert second.boxes[1].source == "model"


def test_what_nobody_looked_for_is_not_called_removed(stored: MakeAnalysis, correct: Correct) -> None:
    correction = correct(stored().id, items=[("gun", 1)], boxes=[], looked_for=("gun",))
    assert correction.diff.items == (ItemChange(label="gun", before=0, after=1),)
    assert correction.diff.boxes_removed == ()


def test_a_box_of_what_the_list_does_not_name_counts_as_seen(stored: MakeAnalysis, correct: Correct) -> None:
    unlisted = correct(stored().id, items=[("gun", 2)])
    assert unlisted.counts == {"gun": 2, "knife": 1}
    assert [item.label for item in unlisted.items] == ["gun"], "what was sent is kept as it was sent"


@pytest.mark.parametrize("xyxy", [(0, 0, 320.5, 10), (0, 0, 10, 241), (319, 0, 330, 10), (0, 0, 1e300, 1e300)])
def test_a_box_outside_the_picture_is_refused(db: Database, stored: MakeAnalysis, correct: Correct, xyxy: XYXY) -> None:
    analysis = stored()
    with pytest.raises(BadInput, match="within the picture"):
        correct(analysis.id, boxes=[CorrectionBox(label="knife", xyxy=xyxy)])
    assert corrections.history(db, analysis.id) == []


@pytest.mark.parametrize("xyxy", [(10, 0, 5, 10), (0, 0, 0, 10), (-1, 0, 5, 5), (math.nan, 0, 5, 5)])
def test_a_box_inside_out_or_not_a_number_is_no_box(xyxy: XYXY) -> None:
    with pytest.raises(ValidationError):
        CorrectionBox(label="knife", xyxy=xyxy)


def test_box_ids_are_known_ones_used_once(stored: MakeAnalysis, correct: Correct) -> None:
    analysis = stored()
    with pytest.raises(BadInput, match="'invented'"):
        correct(analysis.id, boxes=[CorrectionBox(id="invented", label="knife", xyxy=(0, 0, 5, 5))])
    with pytest.raises(BadInput, match="twice"):
        correct(analysis.id, boxes=[AS_PREDICTED, AS_PREDICTED])


def test_labels_counts_and_scope_are_checked(db: Database, stored: MakeAnalysis, correct: Correct) -> None:
    analysis = stored()
    with pytest.raises(UnknownLabel, match="flamethrower"):
        correct(analysis.id, items=[("flamethrower", 1)])
    with pytest.raises(UnknownLabel):
        correct(analysis.id, boxes=[CorrectionBox(label="flamethrower", xyxy=(0, 0, 5, 5))])
    with pytest.raises(UnknownLabel):
        correct(analysis.id, looked_for=("flamethrower",))
    with pytest.raises(BadInput, match="99"):
        correct(analysis.id, items=[("knife", 60), ("knives", 60)])
    with pytest.raises(BadInput, match="labelled_classes"):
        correct(analysis.id, looked_for=())
    with pytest.raises(NotFound):
        correct("nothing")
    assert corrections.history(db, analysis.id) == []


@pytest.mark.parametrize("base", [0, 2, 10**6])
def test_a_stale_base_is_refused_with_the_newest(stored: MakeAnalysis, correct: Correct, base: int) -> None:
    analysis = stored()
    first = correct(analysis.id)
    with pytest.raises(Conflict) as told:
        correct(analysis.id, items=[], base=base, by="ben")
    assert told.value.details == {"newest": first.model_dump(mode="json")}


def test_a_base_that_never_was_is_refused(stored: MakeAnalysis, correct: Correct) -> None:
    with pytest.raises(Conflict) as told:
        correct(stored().id, base=1)
    assert told.value.details == {"newest": None}


def test_of_many_people_at_once_nobody_overwrites_anybody(db: Database, stored: MakeAnalysis, correct: Correct) -> None:
    analyses = [stored(shade=shade) for shade in range(3)]
    saved: list[Correction] = []
    refused: list[Conflict] = []
    wrong: list[Exception] = []

    def person(name: str) -> None:
        try:
            for analysis in analyses:
                for _ in range(4):
                    base = len(corrections.history(db, analysis.id))
                    try:
                        saved.append(correct(analysis.id, base=base, by=name))
                    except Conflict as conflict:
                        refused.append(conflict)
        except Exception as error:  # noqa: BLE001  # shown by the assertion below
            wrong.append(error)

    people = [threading.Thread(target=person, args=(f"person {number}",)) for number in range(8)]
    for thread in people:
        thread.start()
    for thread in people:
        thread.join()
    assert wrong == []
    assert len(saved) + len(refused) == 8 * 3 * 4
    kept = [correction for a in analyses for correction in corrections.history(db, a.id)]
    assert {c.id for c in kept} == {c.id for c in saved}
    for analysis in analyses:
        revisions = [c.revision for c in corrections.history(db, analysis.id)]
        assert revisions == list(range(1, len(revisions) + 1))
    assert all(c.details and c.details["newest"]["revision"] >= 1 for c in refused)


def test_a_second_person_reviews_once(db: Database, stored: MakeAnalysis, correct: Correct) -> None:
    analysis = stored()
    first = correct(analysis.id, review=True)
    assert first.status == "pending"
    assert [c.id for c in corrections.pending(db)[0]] == [first.id]
    assert standing.accepted(db) == []
    with pytest.raises(Forbidden):
        corrections.review(db, first.id, "accepted", None, "anna")
    with pytest.raises(BadInput):
        corrections.review(db, first.id, "pending", None, "ben")
    with pytest.raises(NotFound):
        corrections.review(db, "nothing", "accepted", None, "ben")
    assert corrections.review(db, first.id, "accepted", "fine", "ben").status == "accepted"
    assert corrections.get(db, first.id).status == "accepted"
    assert corrections.history(db, analysis.id)[0].status == "accepted"
    assert corrections.pending(db) == ([], None)
    with pytest.raises(Conflict):
        corrections.review(db, first.id, "rejected", None, "cleo")


def test_only_the_newest_accepted_revision_trains(db: Database, stored: MakeAnalysis, correct: Correct) -> None:
    analysis, other = stored(shade=1), stored(shade=2)
    first = correct(analysis.id, review=True)
    second = correct(analysis.id, base=1, review=True)
    third = correct(analysis.id, base=2, review=True)
    alone = correct(other.id)
    stored(shade=3)  # never corrected

    def training() -> list[tuple[str, str]]:
        return [(a.id, c.id) for a, c in standing.accepted(db)]

    assert training() == [(other.id, alone.id)]
    corrections.review(db, first.id, "accepted", None, "ben")
    assert training() == [(analysis.id, first.id), (other.id, alone.id)]
    corrections.review(db, second.id, "accepted", None, "ben")
    corrections.review(db, third.id, "rejected", None, "ben")
    assert training() == [(analysis.id, second.id), (other.id, alone.id)]


def test_a_rejected_revision_is_not_the_newest_word(
    db: Database, stored: MakeAnalysis, correct: Correct, taxonomy: Taxonomy
) -> None:
    analysis = stored()
    gun = CorrectionBox(label="gun", xyxy=(0, 0, 50, 50))
    first = correct(analysis.id, items=[("gun", 1)], boxes=[gun])
    second = correct(analysis.id, items=[], boxes=[], base=1, by="ben", review=True)
    missed = Filter(label="gun", missed=True)
    assert search.count(db, missed) == 0
    corrections.review(db, second.id, "rejected", "there is one", "cleo")
    assert search.count(db, missed) == 1
    (found,), _ = search.page(db, missed)
    assert found.correction == "accepted"
    assert tip.threat_boxes(db, ["gun"]) == [(analysis.scan.id, "gun", (0, 0, 50, 50))]

    work = work_of(analysis, corrections.history(db, analysis.id), taxonomy, "anna")
    assert [box.label for box in work.boxes] == ["gun"]
    assert work.base_revision == 2, "the next one comes on top of it all the same"
    kept = CorrectionBox(id=first.boxes[0].id, label="gun", xyxy=(0, 0, 50, 50))
    third = correct(analysis.id, items=[("gun", 2)], boxes=[kept], base=2, by="dora")
    assert third.boxes == first.boxes
    assert third.diff.items == (ItemChange(label="gun", before=1, after=2),)


def test_with_nothing_but_rejected_revisions_the_prediction_stands(
    db: Database, stored: MakeAnalysis, correct: Correct, taxonomy: Taxonomy
) -> None:
    analysis = stored()
    said = correct(analysis.id, items=[("gun", 1)], boxes=[], review=True)
    corrections.review(db, said.id, "rejected", "a hair dryer", "ben")
    assert search.count(db, Filter(label="gun", named_by="person")) == 0
    assert search.count(db, Filter(corrected="yes")) == 1
    work = work_of(analysis, corrections.history(db, analysis.id), taxonomy, "anna")
    assert [item.label for item in work.items] == ["knife", "plastic bottle"]
    assert (work.base_revision, work.predicted) == (1, ())


def test_a_revision_waits_again_when_the_one_on_top_was_rejected(
    db: Database, stored: MakeAnalysis, correct: Correct
) -> None:
    analysis = stored()
    first = correct(analysis.id, review=True)
    second = correct(analysis.id, items=[], boxes=[], base=1, by="ben", review=True)
    assert [one.correction.id for one in reviews.waiting(db, "cleo")] == [second.id]
    corrections.review(db, second.id, "rejected", "look again", "cleo")
    assert [one.correction.id for one in reviews.waiting(db, "cleo")] == [first.id]
    corrections.review(db, first.id, "accepted", None, "cleo")
    assert [one.id for _, one in standing.accepted(db)] == [first.id]
    assert reviews.waiting(db, "dora") == []


def test_one_bag_in_five_is_kept_for_testing(stored: MakeAnalysis, correct: Correct) -> None:
    bags = [f"bag {number}" for number in range(2000)]
    held_out = [bag for bag in bags if split_of(bag) == "holdout"]
    assert 330 < len(held_out) < 470
    assert split_of(held_out[0]) == "holdout"
    first, second = stored(shade=1, bag_id=held_out[0]), stored(shade=2, bag_id=held_out[0])
    assert {correct(first.id).split, correct(second.id).split} == {"holdout"}


def test_decisions_are_appended(db: Database, stored: MakeAnalysis) -> None:
    analysis = stored()
    first = decisions.add(db, analysis.id, "REVIEW", 12.5, "unclear", "anna")
    second = decisions.add(db, analysis.id, "SEARCH", None, None, "ben")
    assert decisions.history(db, analysis.id) == [first, second]
    for wrong, seconds in (("MAYBE", None), ("CLEAR", -1.0), ("CLEAR", math.nan), ("CLEAR", math.inf)):
        with pytest.raises(BadInput):
            decisions.add(db, analysis.id, wrong, seconds, None, "anna")  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        decisions.add(db, "nothing", "CLEAR", None, None, "anna")
    with pytest.raises(NotFound):
        decisions.history(db, "nothing")
    assert len(decisions.history(db, analysis.id)) == 2


def test_outcomes_are_appended(db: Database, stored: MakeAnalysis, taxonomy: Taxonomy) -> None:
    analysis = stored()
    found = (ItemCount(label="Knives", count=1), ItemCount(label="knife", count=1))
    first = outcomes.add(db, analysis.id, found, None, "anna", taxonomy)
    assert first.found == (ItemCount(label="knife", count=2),)
    second = outcomes.add(db, analysis.id, (), "nothing in it", "anna", taxonomy)
    assert outcomes.history(db, analysis.id) == [first, second]
    with pytest.raises(UnknownLabel):
        outcomes.add(db, analysis.id, (ItemCount(label="dragon", count=1),), None, "anna", taxonomy)
    with pytest.raises(BadInput):
        outcomes.add(db, analysis.id, (ItemCount(label="knife", count=99), *found), None, "anna", taxonomy)
    with pytest.raises(NotFound):
        outcomes.add(db, "nothing", (), None, "anna", taxonomy)
