"""The Annotate tab's handlers: claims, drafts, saving, conflicts and their merge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr
import pytest
from sqlalchemy import delete

from tests.conftest import MakeAnalysis
from xray_app.auth import Identity
from xray_app.errors import BadInput, Conflict, NotFound
from xray_app.services import Services
from xray_app.store import corrections, drafts, queue
from xray_app.store.database import Database
from xray_app.store.tables import QueueClaimRow
from xray_app.types import Agreement, Analysis, Role
from xray_app.ui.annotate import AnnotateTab
from xray_app.ui.guard import Guard
from xray_app.ui.viewer.component import correction_from
from xray_app.ui.viewer.work import read_work

NORA, BEN = Identity("nora", Role.ANNOTATOR), Identity("ben", Role.ANNOTATOR)
Work = dict[str, Any]

pytestmark = pytest.mark.usefixtures("said")


@pytest.fixture
def tab(services: Services) -> AnnotateTab:
    with gr.Blocks(), gr.Tab("Annotate") as gradio_tab:
        return AnnotateTab(Guard(services), gradio_tab)


@pytest.fixture
def analysis(stored: MakeAnalysis) -> Analysis:
    """One knife with one box, two bottles without."""
    return stored()


@pytest.fixture
def work(tab: AnnotateTab, analysis: Analysis) -> Work:
    """Nora has it open."""
    value: Work = tab.open(NORA, analysis.id)[tab.viewer]
    return value


def with_gun(work: Work) -> Work:
    """As the browser sends it once a gun was drawn."""
    gun = {"id": "new-1", "label": "gun", "xyxy": [200, 100, 260, 160]}
    return {
        **work,
        "boxes": [*work["boxes"], gun],
        "items": [*work["items"], {"label": "gun", "count": 1}],
        "dirty": True,
    }


def save_as(services: Services, who: Identity, analysis: Analysis, work: Work, **changes: Any) -> None:
    """Somebody else's correction, from another tab."""
    sent = correction_from(read_work({**work, **changes}), None, None)
    corrections.add(services.db, analysis.id, sent, who.username, services.taxonomy, False)


def test_taking_the_next_claims_it_shows_it_and_says_why(tab: AnnotateTab, analysis: Analysis) -> None:
    empty = tab.enter(NORA, None)
    assert empty[tab.viewer] is None
    assert "1 waiting" in empty[tab.why]
    page = tab.take_next(NORA)
    assert page[tab.viewer]["analysis_id"] == analysis.id
    assert "Why this scan" in page[tab.why]
    assert 'data-claim="held"' in page[tab.claim]
    (row,) = tab.enter(BEN, None)[tab.list]["items"]
    assert row["note"] == "nora is at work"
    assert tab.take_next(BEN)[tab.viewer] is None
    with pytest.raises(Conflict, match="nora is at work"):
        tab.choose(BEN, {"chosen": analysis.id})


def test_coming_back_goes_on_where_one_was_and_disturbs_nothing(tab: AnnotateTab, work: Work) -> None:
    assert tab.enter(NORA, None)[tab.viewer]["analysis_id"] == work["analysis_id"], "after a reload"
    assert tab.viewer not in tab.enter(NORA, work), "after a look at another tab"


def test_saving_takes_the_next(tab: AnnotateTab, services: Services, analysis: Analysis, stored: MakeAnalysis) -> None:
    other = stored(shade=9)
    work = tab.open(NORA, analysis.id)[tab.viewer]
    page = tab.save_correction(NORA, with_gun(work), " under the lining ", ["gun", "knife"])
    (saved,) = corrections.history(services.db, analysis.id)
    assert (saved.author, saved.comment, saved.labelled_classes) == ("nora", "under the lining", ("gun", "knife"))
    assert page[tab.viewer]["analysis_id"] == other.id
    assert "Revision 1" in page[tab.said]


def test_a_right_prediction_is_confirmed_as_it_stands(
    tab: AnnotateTab, services: Services, analysis: Analysis, work: Work
) -> None:
    with pytest.raises(BadInput, match="changed"):
        tab.confirm(NORA, with_gun(work), None, None)
    # What the browser claims of the prediction does not count.
    forged = {**work, "items": [{"label": "laptop", "count": 9}], "boxes": []}
    tab.confirm(NORA, forged, None, None)
    (saved,) = corrections.history(services.db, analysis.id)
    assert saved.boxes == analysis.boxes
    assert [(item.label, item.count) for item in saved.items] == [("knife", 1), ("plastic bottle", 2)]


def test_a_prediction_that_contradicts_itself_is_not_right(
    tab: AnnotateTab, services: Services, stored: MakeAnalysis
) -> None:
    scissors = services.taxonomy.box("b2", "model", "scissors", (1, 1, 50, 50), 0.6)
    analysis = stored(
        shade=3, boxes=(scissors,), agreement=Agreement(both=(), vlm_only=("knife",), detector_only=("scissors",))
    )
    page = tab.open(NORA, analysis.id)
    assert page[tab.right]["visible"] is False, "it is not offered where it cannot work"
    work = page[tab.viewer]
    with pytest.raises(BadInput, match="box of scissors and the VLM does not"):
        tab.confirm(NORA, work, None, None)
    page = tab.save_correction(NORA, work, None, None)
    assert "1 scissors" in page[tab.conflict]
    assert corrections.history(services.db, analysis.id) == []
    tab.save_correction(NORA, work, None, ["knife"])  # who only looked for knives says nothing of scissors
    tab.save_correction(NORA, {**work, "base_revision": 1}, None, None, page[tab.agreed])
    first, second = corrections.history(services.db, analysis.id)
    assert "scissors" not in {item.label for item in first.items}
    assert {item.label: item.count for item in second.items}.items() >= {"knife": 1, "scissors": 1}.items()


def test_a_prediction_that_agrees_with_itself_may_be_called_right(tab: AnnotateTab, analysis: Analysis) -> None:
    assert tab.open(NORA, analysis.id)[tab.right]["visible"] is True
    assert tab.take_next(BEN)[tab.right]["visible"] is False, "nothing is open"


def test_a_draft_survives_a_reload_and_another_machine(
    tab: AnnotateTab, services: Services, analysis: Analysis, work: Work
) -> None:
    kept = tab.keep_draft(NORA, with_gun(work), "look again", ["gun"])
    assert 'data-claim="held"' in kept[tab.claim]
    page = tab.enter(NORA, None)
    draft = page[tab.viewer]["draft"]
    assert [box["label"] for box in draft["boxes"]] == ["knife", "gun"]
    assert draft["boxes"][0] == work["boxes"][0], "an untouched box is the model's still"
    assert draft["boxes"][1]["id"].startswith("new-")
    assert {item["label"]: item["count"] for item in draft["items"]} == {"knife": 1, "plastic bottle": 2, "gun": 1}
    assert (page[tab.comment], page[tab.labelled]["value"]) == ("look again", ["gun"])
    assert page[tab.viewer]["boxes"] == work["boxes"], "what it is compared with is what was saved"
    tab.keep_draft(NORA, {**work, "dirty": False}, None, None)  # undone
    assert drafts.get(services.db, analysis.id, "nora") is None


def test_a_late_draft_after_ones_own_save_is_not_kept(
    tab: AnnotateTab, services: Services, analysis: Analysis, work: Work
) -> None:
    tab.save_correction(NORA, with_gun(work), None, None)
    tab.keep_draft(NORA, with_gun(work), None, None)
    assert drafts.get(services.db, analysis.id, "nora") is None


@pytest.mark.parametrize("passing", ["save", "skip"])
def test_a_draft_on_its_way_while_one_saves_or_skips_brings_the_scan_not_back(
    tab: AnnotateTab, services: Services, analysis: Analysis, work: Work, stored: MakeAnalysis, passing: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The page keeps drafts by itself. One was read before the save and written after it: the same scan came again."""
    other = stored(shade=9)
    read, taking = corrections.history, queue.take_next
    late: list[dict[Any, Any]] = []

    def pass_on(db: Database, analysis_id: str) -> Any:
        found = read(db, analysis_id)
        monkeypatch.setattr("xray_app.ui.annotate.corrections.history", read)
        if passing == "save":
            save_as(services, NORA, analysis, work)
        else:
            queue.skip(services.db, analysis_id, "nora", "later")
        return found

    def keep_late(db: Database, username: str) -> Any:
        """Between the save and the next scan."""
        monkeypatch.setattr("xray_app.ui.annotate.queue.take_next", taking)
        monkeypatch.setattr("xray_app.ui.annotate.corrections.history", pass_on)
        late.append(tab.keep_draft(NORA, with_gun(work), None, None))
        return taking(db, username)

    monkeypatch.setattr("xray_app.ui.annotate.queue.take_next", keep_late)
    page = tab.take_next(NORA)
    assert page[tab.viewer]["analysis_id"] == other.id
    assert late[0][tab.claim] == gr.skip(), "nothing is told of the scan before"
    assert (drafts.get(services.db, analysis.id, "nora") is None) == (passing == "save")
    held = queue.claim_of(services.db, "nora")
    assert held is not None
    assert held.analysis_id == other.id


def test_a_lost_claim_is_told_and_the_work_is_kept(
    tab: AnnotateTab, services: Services, analysis: Analysis, work: Work
) -> None:
    with services.db.write() as session:
        session.execute(delete(QueueClaimRow))  # it ran out
    page = tab.open(BEN, analysis.id)
    assert "draft" not in page[tab.claim]
    told = tab.keep_draft(NORA, with_gun(work), None, None)[tab.claim]
    assert 'data-claim="lost"' in told
    assert "ben is at work" in told
    assert drafts.get(services.db, analysis.id, "nora") is not None
    assert "nora left an unsaved draft" in tab.keep_draft(BEN, {**work, "dirty": False}, None, None)[tab.claim]


def test_a_double_click_saves_once(
    tab: AnnotateTab, services: Services, analysis: Analysis, work: Work, stored: MakeAnalysis
) -> None:
    other = stored(shade=9)
    for act in (tab.save_correction, tab.save_correction):
        page = act(NORA, with_gun(work), None, None)
        assert page[tab.viewer]["analysis_id"] == other.id
    assert len(corrections.history(services.db, analysis.id)) == 1
    assert drafts.get(services.db, analysis.id, "nora") is None


def test_edits_stay_on_the_screen_when_a_claim_ran_out_elsewhere(
    tab: AnnotateTab, services: Services, analysis: Analysis, work: Work
) -> None:
    with services.db.write() as session:
        session.execute(delete(QueueClaimRow))
    page = tab.enter(NORA, work)
    assert tab.viewer not in page
    assert 'data-claim="held"' in page[tab.claim], "nobody else has it"
    with services.db.write() as session:
        session.execute(delete(QueueClaimRow))
    tab.open(BEN, analysis.id)
    page = tab.enter(NORA, work)
    assert tab.viewer not in page
    assert "ben is at work" in page[tab.claim]


def test_a_conflict_is_shown_and_merged_never_overwritten(
    tab: AnnotateTab, services: Services, analysis: Analysis, work: Work
) -> None:
    moved = [work["boxes"][0] | {"xyxy": [12, 22, 112, 92]}]
    save_as(services, BEN, analysis, work, boxes=moved, items=[{"label": "knife", "count": 1}])
    assert "ben has saved revision 1" in tab.keep_draft(NORA, with_gun(work), None, None)[tab.claim]
    page = tab.save_correction(NORA, with_gun(work), "mine", None)
    assert tab.viewer not in page, "the own edits stay on the screen"
    assert "ben saved revision 1" in page[tab.conflict]
    assert page[tab.conflict_buttons]["visible"] is True
    assert len(corrections.history(services.db, analysis.id)) == 1

    page = tab.merge_both(NORA, work)
    merged = page[tab.viewer]
    assert merged["base_revision"] == 1
    assert {box["label"]: box["xyxy"][0] for box in merged["draft"]["boxes"]} == {"knife": 12, "gun": 200}
    assert {item["label"]: item["count"] for item in merged["draft"]["items"]} == {"gun": 1, "knife": 1}
    assert "on top of ben" in page[tab.conflict]
    assert len(corrections.history(services.db, analysis.id)) == 1, "nothing is saved before somebody looked"

    tab.save_correction(NORA, merged | merged["draft"], page[tab.comment], None)
    first, second = corrections.history(services.db, analysis.id)
    assert (first.author, second.author, second.comment) == ("ben", "nora", "mine")
    assert [box.id for box in second.boxes if box.label == "knife"] == ["b1"], "the box kept its id through the merge"


@pytest.mark.parametrize(
    ("theirs", "mine", "both"),
    [(None, ["gun"], []), (["knife"], None, []), (["knife"], ["gun", "knife"], ["knife", "gun"])],
)
def test_a_merge_says_what_both_looked_for(
    tab: AnnotateTab, services: Services, analysis: Analysis, work: Work,
    theirs: list[str] | None, mine: list[str] | None, both: list[str],
) -> None:  # fmt: skip
    sent = correction_from(read_work({**work, "items": [{"label": "knife", "count": 1}]}), None, theirs)
    corrections.add(services.db, analysis.id, sent, BEN.username, services.taxonomy, False)
    tab.save_correction(NORA, with_gun(work), None, mine)
    page = tab.merge_both(NORA, work)
    assert page[tab.labelled]["value"] == both


def test_ones_own_can_be_dropped_for_theirs(
    tab: AnnotateTab, services: Services, analysis: Analysis, work: Work
) -> None:
    save_as(services, BEN, analysis, work, boxes=[])
    tab.save_correction(NORA, with_gun(work), None, None)
    page = tab.show_theirs(NORA, work)
    assert page[tab.viewer]["boxes"] == []
    assert page[tab.viewer]["discard_draft"] is True
    assert page[tab.viewer]["draft"] is None
    with pytest.raises(BadInput, match="nothing to merge"):
        tab.merge_both(NORA, work)


def test_a_draft_of_an_older_revision_comes_back_as_a_conflict(
    tab: AnnotateTab, services: Services, analysis: Analysis, work: Work
) -> None:
    tab.keep_draft(NORA, with_gun(work), None, None)
    save_as(services, BEN, analysis, work, boxes=[], items=[])
    page = tab.open(NORA, analysis.id)
    assert "since you began your draft" in page[tab.conflict]
    assert page[tab.viewer]["draft"] is None
    merged = tab.merge_both(NORA, page[tab.viewer])[tab.viewer]["draft"]
    assert [box["label"] for box in merged["boxes"]] == ["gun"]


def test_a_skip_needs_a_reason_and_takes_the_next(
    tab: AnnotateTab, services: Services, analysis: Analysis, work: Work
) -> None:
    with pytest.raises(BadInput, match="why"):
        tab.skip_scan(NORA, work, "  ")
    page = tab.skipping("I cannot tell what it is")(NORA, work)
    assert page[tab.viewer] is None
    assert "you skipped it" in page[tab.why]
    page = tab.take_next(BEN)
    assert "skipped by nora: I cannot tell what it is" in page[tab.why]


@pytest.mark.parametrize(
    "value", [None, "x", 3, [], {}, {"analysis_id": "unknown", "items": [], "boxes": [], "base_revision": 0}]
)
def test_nothing_open_is_said_so(tab: AnnotateTab, value: Any) -> None:
    acts: list[Callable[[], Any]] = [
        lambda: tab.confirm(NORA, value, None, None),
        lambda: tab.save_correction(NORA, value, None, None),
        lambda: tab.keep_draft(NORA, value, None, None),
        lambda: tab.merge_both(NORA, value),
        lambda: tab.show_theirs(NORA, value),
        lambda: tab.skip_scan(NORA, value, "later"),
        lambda: tab.choose(NORA, value),
    ]
    for act in acts:
        with pytest.raises((BadInput, NotFound)):
            act()


@pytest.mark.parametrize(
    "change",
    [
        {"boxes": [{"id": "of another scan", "label": "knife", "xyxy": [0, 0, 50, 50]}]},
        {"boxes": [{"id": None, "label": "knife", "xyxy": [0, 0, 5000, 50]}]},
        {"items": [{"label": "<b>knife</b>", "count": 1}]},
        {"items": None},
        {"base_revision": 7},
    ],
)
def test_a_forged_draft_is_refused(
    tab: AnnotateTab, services: Services, analysis: Analysis, work: Work, change: Work
) -> None:
    with pytest.raises(BadInput):
        tab.keep_draft(NORA, {**work, "dirty": True, **change}, None, None)
    assert drafts.get(services.db, analysis.id, "nora") is None


def test_hostile_words_are_shown_as_text(tab: AnnotateTab, services: Services, analysis: Analysis, work: Work) -> None:
    queue.skip(services.db, analysis.id, "<i>eve</i>", "<script>alert(1)</script>")
    page = tab.open(NORA, analysis.id)
    assert "<script>" not in page[tab.why]
    assert "&lt;script&gt;" in page[tab.why]
