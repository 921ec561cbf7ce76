"""The Review tab's handlers: what waits, versions side by side, accept, reject, amend."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pytest

from tests.conftest import MakeAnalysis
from tests.ui.conftest import Ask
from xray_app.auth import Identity
from xray_app.errors import BadInput, Conflict, Forbidden
from xray_app.services import Services
from xray_app.store import corrections, queue
from xray_app.types import Analysis, CorrectionBox, CorrectionIn, ItemCount, Role
from xray_app.ui.annotate import AnnotateTab
from xray_app.ui.guard import Guard
from xray_app.ui.review import ReviewTab

NORA, BEN = Identity("nora", Role.ANNOTATOR), Identity("ben", Role.ANNOTATOR)
KNIFE = CorrectionBox(id="b1", label="knife", xyxy=(10, 20, 110, 90))
MOVED = CorrectionBox(id="b1", label="dagger", xyxy=(10, 20, 110, 95))
GUN = CorrectionBox(label="gun", xyxy=(200, 100, 260, 160))

pytestmark = pytest.mark.usefixtures("said")


@pytest.fixture
def tab(services: Services) -> ReviewTab:
    services.settings.review = "required"
    guard = Guard(services)
    with gr.Blocks(), gr.Tabs() as tabs:
        with gr.Tab("Annotate", id="annotate") as one:
            annotate = AnnotateTab(guard, one)
        with gr.Tab("Review", id="review") as other:
            return ReviewTab(guard, other, tabs, annotate)


def correct(
    services: Services,
    analysis: Analysis,
    by: str,
    *boxes: CorrectionBox,
    base: int = 0,
    comment: str | None = None,
    **counts: int,
) -> str:
    sent = CorrectionIn(
        items=tuple(ItemCount(label=label, count=count) for label, count in counts.items()),
        boxes=boxes,
        base_revision=base,
        comment=comment,
    )
    return corrections.add(services.db, analysis.id, sent, by, services.taxonomy, True).id


def test_what_others_saved_waits_and_ones_own_does_not(
    tab: ReviewTab, services: Services, stored: MakeAnalysis
) -> None:
    first, second, own = stored(shade=1), stored(shade=2), stored(shade=3)
    correct(services, first, "ana", KNIFE, knife=1)
    correct(services, second, "nora", KNIFE, knife=1)
    correct(services, own, "ben", KNIFE, knife=1)
    page = tab.look_again(BEN, None)
    assert [item["id"] for item in page[tab.list]["items"]] == [first.id, second.id], "the longest waiting first"
    assert page[tab.seen]["analysis_id"] == first.id
    assert tab.look_again(BEN, {"analysis_id": second.id})[tab.seen]["analysis_id"] == second.id
    assert tab.choose(BEN, {"chosen": second.id})[tab.seen]["analysis_id"] == second.id


def test_the_prediction_the_revision_before_and_this_one_stand_side_by_side(
    tab: ReviewTab, services: Services, stored: MakeAnalysis
) -> None:
    analysis = stored()
    correct(services, analysis, "ana", MOVED, dagger=1)
    correct(services, analysis, "nora", MOVED, GUN, base=1, comment="<b>under</b> the lining", dagger=1, gun=1)
    page = tab.look_again(BEN, None)
    pictures = page[tab.versions].split("<figure")[1:]
    assert [picture.split("<b>")[1].split("</b>")[0] for picture in pictures] == [
        "Prediction",
        "Revision 1",
        "Revision 2",
    ]
    prediction, before, now = pictures
    assert 'class="same" data-box="b1"' in prediction
    assert "knife" in prediction
    assert 'class="changed" data-box="b1"' in before, "against the prediction"
    assert 'class="same" data-box="b1"' in now, "against the revision before"
    assert 'class="added"' in now
    assert "+ gun" in now
    assert "→ 1" in now.split("<table")[1], "the count that differs is marked"
    assert "&lt;b&gt;under&lt;/b&gt;" in page[tab.facts]


def test_a_deleted_box_is_still_seen_and_a_scope_is_said(
    tab: ReviewTab, services: Services, stored: MakeAnalysis
) -> None:
    analysis = stored()
    correct(services, analysis, "ana")
    page = tab.look_again(BEN, None)
    assert 'class="removed" data-box="b1"' in page[tab.versions]
    other = stored(shade=5)
    sent = CorrectionIn(items=(), boxes=(), labelled_classes=("gun",))
    corrections.add(services.db, other.id, sent, "ana", services.taxonomy, True)
    page = tab.choose(BEN, {"chosen": other.id})
    assert 'class="removed" data-box' not in page[tab.versions], "who looked for guns alone did not delete the knife"
    assert "not looked for" in page[tab.versions]
    assert "Looked for gun only" in page[tab.facts]


def test_accepting_brings_up_the_next(tab: ReviewTab, services: Services, stored: MakeAnalysis) -> None:
    first, second = stored(shade=1), stored(shade=2)
    correct(services, first, "ana", KNIFE, knife=1)
    correct(services, second, "ana", KNIFE, knife=1)
    page = tab.look_again(BEN, None)
    page = tab.judging("accepted")(BEN, page[tab.seen], "")
    assert corrections.history(services.db, first.id)[0].status == "accepted"
    assert page[tab.seen]["analysis_id"] == second.id
    page = tab.judging("accepted")(BEN, page[tab.seen], None)
    assert page[tab.seen] is None
    assert "Nothing to review" in page[tab.versions]
    for act in (tab.judging("accepted"), tab.judging("rejected")):
        with pytest.raises(BadInput):
            act(BEN, None, "why")
    with pytest.raises(BadInput):
        tab.amend_it(BEN, None)


def test_what_was_judged_last_is_taken_back_and_shown_again(
    tab: ReviewTab, services: Services, stored: MakeAnalysis
) -> None:
    first, second = stored(shade=1), stored(shade=2)
    correct(services, first, "ana", KNIFE, knife=1)
    correct(services, second, "ana", KNIFE, knife=1)
    page = tab.look_again(BEN, None)
    before = page[tab.seen]
    for status in ("accepted", "rejected"):
        page = tab.judging(status)(BEN, before, "seen")
        assert page[tab.undo]["visible"] is True
        assert page[tab.seen]["analysis_id"] == second.id
        judged = page[tab.judged]
        page = tab.take_back(BEN, judged)
        assert (page[tab.seen], page[tab.judged], page[tab.undo]["visible"]) == (before, None, False)
        assert "ben</b> took back the review of revision 1" in page[tab.history]
    with pytest.raises(Conflict):
        tab.take_back(BEN, judged)
    with pytest.raises(BadInput):
        tab.take_back(BEN, None)


def test_a_rejection_needs_its_reason_and_sends_the_scan_back(
    tab: ReviewTab, services: Services, stored: MakeAnalysis
) -> None:
    analysis = stored()
    correct(services, analysis, "ana", GUN, gun=1)
    seen = tab.look_again(BEN, None)[tab.seen]
    with pytest.raises(BadInput, match="why"):
        tab.judging("rejected")(BEN, seen, " ")
    tab.judging("rejected")(BEN, seen, "that is a hair dryer")
    assert corrections.history(services.db, analysis.id)[0].status == "rejected"
    claim = queue.take_next(services.db, "nora")
    assert claim is not None
    assert "ben rejected revision 1: that is a hair dryer" in queue.get(services.db, analysis.id).reasons
    correct(services, analysis, "nora", base=1)
    page = tab.look_again(BEN, None)
    assert "that is a hair dryer" in page[tab.history]
    assert "Revision 1 by ana was rejected" in page[tab.facts]


def test_nobody_judges_what_the_page_does_not_show_yet(
    tab: ReviewTab, services: Services, stored: MakeAnalysis
) -> None:
    first, second = stored(shade=1), stored(shade=2)
    for analysis in (first, second):
        correct(services, analysis, "ana", KNIFE, knife=1)
    before = tab.choose(BEN, {"chosen": first.id})
    now = tab.choose(BEN, {"chosen": second.id})  # the server knows; the page has not drawn it yet
    with pytest.raises(Conflict, match="Look at it"):
        tab.judging("accepted")(BEN, now[tab.seen], None, before[tab.list])
    tab.judging("accepted")(BEN, now[tab.seen], None, now[tab.list])
    assert [corrections.history(services.db, one.id)[0].status for one in (first, second)] == ["pending", "accepted"]


def test_nobody_judges_what_is_no_longer_the_newest(tab: ReviewTab, services: Services, stored: MakeAnalysis) -> None:
    analysis = stored()
    correct(services, analysis, "ana", KNIFE, knife=1)
    seen = tab.look_again(BEN, None)[tab.seen]
    assert tab.comment not in tab.look_again(BEN, seen), "a comment being typed about it stays"
    correct(services, analysis, "nora", KNIFE, GUN, base=1, knife=1, gun=1)
    assert tab.look_again(BEN, seen)[tab.comment] == ""
    with pytest.raises(Conflict, match="nora has saved revision 2"):
        tab.judging("accepted")(BEN, seen, None)
    assert [one.status for one in corrections.history(services.db, analysis.id)] == ["pending", "pending"]
    (item,) = tab.look_again(BEN, seen)[tab.list]["items"]
    assert item["note"].startswith("nora"), "only the newest of a scan is judged"


def test_the_revision_below_a_rejected_one_is_judged_again(
    tab: ReviewTab, services: Services, stored: MakeAnalysis
) -> None:
    analysis = stored()
    first = correct(services, analysis, "ana", KNIFE, knife=1)
    correct(services, analysis, "nora", base=1)
    tab.judging("rejected")(BEN, tab.look_again(BEN, None)[tab.seen], "the knife is there")
    seen = tab.look_again(BEN, None)[tab.seen]
    assert seen["correction_id"] == first
    tab.judging("accepted")(BEN, seen, None)
    assert [one.status for one in corrections.history(services.db, analysis.id)] == ["accepted", "rejected"]


def test_ones_own_correction_is_refused_once_and_in_the_same_words_everywhere(
    tab: ReviewTab, services: Services, stored: MakeAnalysis, ask: Ask, said: list[str]
) -> None:
    analysis = stored()
    own = correct(services, analysis, "annotator", KNIFE, knife=1)
    with pytest.raises(Forbidden) as refused:  # as the API tells it
        corrections.review(services.db, own, "accepted", None, "annotator")
    seen = {"analysis_id": analysis.id, "correction_id": own}
    guard = Guard(services)
    for status in ("accepted", "rejected"):
        said.clear()
        assert guard.wrap(Role.ANNOTATOR, tab.judging(status))(ask(Role.ANNOTATOR), seen, "why") == gr.skip()
        assert said == [refused.value.message]
    assert corrections.history(services.db, analysis.id)[0].status == "pending"


def test_two_reviewers_at_once_are_told(tab: ReviewTab, services: Services, stored: MakeAnalysis) -> None:
    correct(services, stored(), "ana", KNIFE, knife=1)
    seen = tab.look_again(BEN, None)[tab.seen]
    tab.judging("accepted")(NORA, seen, None)
    with pytest.raises(Conflict, match="nora has reviewed"):
        tab.judging("rejected")(BEN, seen, "no")


def test_amending_opens_the_revision_on_annotate_and_makes_a_new_one(
    tab: ReviewTab, services: Services, stored: MakeAnalysis
) -> None:
    analysis = stored()
    correct(services, analysis, "ana", MOVED, dagger=1)
    page = tab.amend_it(BEN, tab.look_again(BEN, None)[tab.seen])
    annotate = tab.annotate
    work: dict[str, Any] = page[annotate.viewer]
    assert (work["base_revision"], work["boxes"][0]["label"]) == (1, "dagger")
    assert page[tab.tabs].selected == "annotate"
    assert work["predicted"][0]["label"] == "knife", "the prediction is at hand"
    annotate.save_correction(BEN, {**work, "items": [{"label": "dagger", "count": 2}]}, None, None)
    second = corrections.history(services.db, analysis.id)[1]
    assert (second.author, second.status, second.revision) == ("ben", "pending", 2)
    assert tab.look_again(BEN, None)[tab.seen] is None, "nobody reviews their own"
    assert tab.look_again(NORA, None)[tab.seen]["correction_id"] == second.id


def test_an_empty_review_says_why(tab: ReviewTab, services: Services, stored: MakeAnalysis) -> None:
    assert "Corrections that somebody else saves" in tab.look_again(BEN, None)[tab.versions]
    correct(services, stored(), "ben", KNIFE, knife=1)
    assert "1 of your own waits" in tab.look_again(BEN, None)[tab.versions]
    services.settings.review = "off"
    assert "Review is off" in tab.look_again(BEN, None)[tab.versions]


def test_agreement_is_counted_from_scans_two_people_corrected(
    tab: ReviewTab, services: Services, stored: MakeAnalysis
) -> None:
    assert "No scan has been corrected by two people" in tab.compute_agreement(BEN)[tab.agreement]
    for shade in range(3):
        analysis = stored(shade=shade)
        correct(services, analysis, "ana", KNIFE, knife=1)
        if shade < 2:
            correct(
                services,
                analysis,
                "ben",
                *([KNIFE] if shade else [GUN]),
                base=1,
                **({"knife": 1} if shade else {"gun": 1}),
            )
    table = tab.compute_agreement(BEN)[tab.agreement]
    assert "ana and ben" in table
    assert "2 scans" in table
    assert "<td>knife</td><td>1</td><td>1</td><td>0</td><td>2</td>" in table
