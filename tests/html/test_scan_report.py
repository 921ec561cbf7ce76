"""The scan report: all of it is there, nothing of it runs, and what is left out is counted."""

from __future__ import annotations

from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from tests.conftest import MakeAnalysis, png, scan_facts
from xray_app.correction.statements import BagStanding
from xray_app.html.scan_report import MOST_EVENTS, MOST_ITEMS, MOST_NOTE, Reported, document
from xray_app.risk import by_policy
from xray_app.taxonomy import Taxonomy
from xray_app.types import (
    Agreement,
    Correction,
    Decision,
    Diff,
    Item,
    ItemChange,
    ItemCount,
    ModelFacts,
    Outcome,
    Report,
    Risk,
    StandingRisk,
    VlmFacts,
)

HOSTILE = "\"><img src=x onerror=alert(1)></svg><script>alert(2)</script>'../\u202egnp"
NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
_TAGS = """
    html head meta title style body p b br header div h1 h2 span strong svg polygon path circle image rect text
    figure figcaption table tr th td bdi q i blockquote dl dt dd
"""
TAGS = set(_TAGS.split())


class Tags(HTMLParser):
    """Collects every tag, attribute name and the text between."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.words = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    handle_startendtag = handle_starttag

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.fixture
def told(make_analysis: MakeAnalysis, taxonomy: Taxonomy) -> Any:
    """A report on a scan that was corrected, searched and cleared although HIGH; any part may be given instead."""

    def make(**changes: Any) -> Reported:
        analysis = changes.pop("analysis", None) or make_analysis(
            models=ModelFacts(
                vlm=VlmFacts(name="bundled", adapter="a1b2c3d4" * 4), detector=make_analysis().models.detector
            )
        )
        revision = Correction(
            id="c1", analysis_id=analysis.id, revision=1, status="accepted", author="nora", created_at=NOW,
            items=(taxonomy.item("gun", 1, None),),
            boxes=(taxonomy.box("h1", "human", "gun", (20.0, 30.0, 90.0, 80.0), None),),
            labelled_classes=None, comment="no knife, a gun", split="train",
            diff=Diff(items=(ItemChange(label="gun", before=0, after=1),), boxes_added=("h1",)),
        )  # fmt: skip
        decision = Decision(
            id="d1", analysis_id=analysis.id, author="ana", created_at=NOW, decision="CLEAR", seconds=7.0,
            note="a toy", flagged=True,
        )  # fmt: skip
        found = Outcome(
            id="o1", analysis_id=analysis.id, author="sam", created_at=NOW, found=(ItemCount(label="gun", count=1),)
        )
        values: dict[str, Any] = {
            "analysis": analysis, "bag": BagStanding(by_policy(analysis.risk), analysis.scan.id, {}),
            "analyst": "ana", "picture": png(), "media_type": "image/png",
            "revisions": [revision], "decisions": [decision], "outcomes": [found], "demonstration": True,
            "printed_by": "root", "printed_at": NOW,
        }  # fmt: skip
        return Reported(**(values | changes))

    return make


def test_everything_somebody_asks_for_later_is_on_it(told: Any) -> None:
    report = told()
    page = Tags(document(report))
    analysis = report.analysis
    for words in (
        "scan.png", "HIGH", "SEARCH", "airport", "Items detected: 1 knife (threat)", "plastic bottle", "VLM only",
        "▲ gun", "prohibited", "revision 1 by nora, accepted", "no knife, a gun", "CLEAR", "although HIGH", "after 7 s",
        "a toy", "hand search found 1 gun", "analysed", "ana", "printed", "root", "a1b2c3d4" * 4,
        analysis.models.detector.sha256, analysis.taxonomy_sha256, analysis.id, "Demonstration model",
    ):  # fmt: skip
        assert words in page.words, words
    assert page.tags <= TAGS
    assert document(report).count('class="halo"') == 1  # the corrected box, not the predicted one


def test_a_report_says_that_a_model_was_on_trial(told: Any, make_analysis: MakeAnalysis) -> None:
    analysis = make_analysis()
    assert "on trial" not in Tags(document(told(analysis=analysis))).words
    vlm = analysis.models.vlm.model_copy(update={"adapter": "a" * 32, "trial": True})
    detector = analysis.models.detector.model_copy(update={"trial": True})
    for changed in ({"vlm": vlm}, {"detector": detector}):
        models = analysis.models.model_copy(update=changed)
        page = Tags(document(told(analysis=analysis.model_copy(update={"models": models}))))
        assert page.words.count("on trial: not shown to be as good as the model before it") == 1


def test_a_report_gives_the_bags_risk_and_beside_it_the_models_own(told: Any, make_analysis: MakeAnalysis) -> None:
    low = make_analysis(risk=Risk(level="LOW", reason="no threats detected", action="CLEAR", policy="airport"))
    by = StandingRisk(level="HIGH", reason=f"knife, marked by {HOSTILE}", action="SEARCH", by=HOSTILE)
    for scan, elsewhere in ((low.scan.id, False), ("another", True)):
        page = Tags(document(told(analysis=low, bag=BagStanding(by, scan, {scan: by}))))
        assert "HIGHknife, marked by" in page.words.replace("HIGH ", "HIGH")
        assert "The models’ own of this view: LOW, no threats detected" in page.words
        assert ("in another view of this bag" in page.words) is elsewhere
        assert page.tags <= TAGS
    alone = Tags(document(told(analysis=low, bag=BagStanding(by_policy(low.risk), low.scan.id, {}))))
    assert "another view" not in alone.words
    assert "The models’ own" not in alone.words


def test_a_box_says_who_drew_it(told: Any, make_analysis: MakeAnalysis, taxonomy: Taxonomy) -> None:
    boxes = [taxonomy.box(f"{n}", who, "gun", (20, 30, 90, 80), sure) for n, (who, sure) in enumerate(
        (("model", 0.5), ("vlm", 0.5), ("vlm", None), ("human", None))
    )]  # fmt: skip
    page = document(told(analysis=make_analysis(boxes=tuple(boxes)), revisions=[]))
    for words in ("gun 50%<", "gun 50% VLM<", "gun VLM<", "gun ✎<"):
        assert f">▲ {words}" in page


def test_a_rejected_correction_is_told_but_does_not_stand(told: Any) -> None:
    rejected = told().revisions[0].model_copy(update={"status": "rejected"})
    page = Tags(document(told(revisions=[rejected])))
    assert "as the models said" in page.words
    assert "revision 1, rejected" in page.words
    assert "▲ knife 87%" in page.words


def test_nothing_anybody_wrote_becomes_markup(told: Any, make_analysis: MakeAnalysis) -> None:
    item = Item(label=HOSTILE, count=1, status="prohibited", threat=True, confidence=0.5)
    plain = make_analysis()
    analysis = plain.model_copy(
        update={
            "scan": scan_facts(png(), filename=HOSTILE, bag_id=HOSTILE, view=HOSTILE, scanner_id=HOSTILE),
            "report": Report(items=(item,), text=HOSTILE, complete=False),
            "risk": Risk(level="HIGH", reason=HOSTILE, action="SEARCH", policy=HOSTILE),
            "boxes": (plain.boxes[0].model_copy(update={"label": HOSTILE}),),
            "agreement": Agreement(both=(HOSTILE,), vlm_only=(HOSTILE,), detector_only=()),
            "models": ModelFacts(
                vlm=VlmFacts(name=HOSTILE, adapter=HOSTILE),
                detector=plain.models.detector.model_copy(update={"name": HOSTILE}),
            ),
        }
    )
    base = told()
    hostile = {"author": HOSTILE}
    revision = base.revisions[0].model_copy(
        update=hostile
        | {
            "comment": HOSTILE,
            "diff": Diff(items=(ItemChange(label=HOSTILE, before=0, after=1),)),
            "status": "rejected",
        }
    )
    report = told(
        analysis=analysis, analyst=HOSTILE, printed_by=HOSTILE, media_type='image/png"><script>',
        revisions=[revision, revision.model_copy(update={"boxes": analysis.boxes})],
        decisions=[base.decisions[0].model_copy(update=hostile | {"note": HOSTILE})],
        outcomes=[
            base.outcomes[0].model_copy(
                update=hostile | {"note": HOSTILE, "found": (ItemCount(label=HOSTILE, count=1),)}
            )
        ],
    )  # fmt: skip
    text = document(report)
    page = Tags(text)
    assert page.tags <= TAGS
    assert not {name for name in page.attributes if name.startswith("on") or name in ("src", "style", "srcdoc")}
    assert "<script" not in text
    assert text.count("<img") == 0
    assert page.words.count("alert(2)") >= 10


def test_a_full_report_says_what_it_leaves_out(told: Any, make_analysis: MakeAnalysis) -> None:
    items = tuple(
        Item(label=f"thing {n}", count=1, status="allowed", threat=False, confidence=0.5) for n in range(MOST_ITEMS + 6)
    )
    analysis = make_analysis(report=Report(items=items, text="word " * 2000, complete=True))
    base = told()
    decided = [base.decisions[0].model_copy(update={"note": "x" * 2000})] * 30
    words = Tags(document(told(analysis=analysis, revisions=[], decisions=decided))).words
    assert "and 6 more items, on the desk" in words
    assert f"and {31 - MOST_EVENTS} more older entries, on the desk" in words
    assert f"[+{2000 - MOST_NOTE:,}]" in words


def test_a_scan_nobody_has_touched(told: Any) -> None:
    words = Tags(document(told(revisions=[], decisions=[], outcomes=[], demonstration=False))).words
    assert "Nobody has decided about this scan" in words
    assert "Demonstration" not in words
