"""Words and files as people, and those who mean harm, really send them: kept as text, listed, never a path."""

from __future__ import annotations

import html
import io
from pathlib import Path
from typing import Any
from uuid import uuid4

import gradio as gr
import pytest
from gradio import FileData
from gradio.utils import get_upload_folder
from PIL import Image

from tests.conftest import MakeAnalysis, png, save_analysis
from xray_app.auth import Identity
from xray_app.services import Services
from xray_app.store import analyses, corrections, decisions, queue, reviews
from xray_app.types import CorrectionIn, Role
from xray_app.ui.analyse import AnalyseTab
from xray_app.ui.annotate import AnnotateTab
from xray_app.ui.guard import Guard
from xray_app.ui.review import ReviewTab

pytestmark = pytest.mark.usefixtures("said")

WORDS = ("🔪👩🏽‍✈️ seen", "מספריים בתיק", "\u202egnp.exe", "<img src=x onerror=alert(1)>", "=1+1", "a 'quote\" & more")
NORA, BEN = Identity("nora", Role.ANNOTATOR), Identity("ben", Role.ANNOTATOR)


@pytest.fixture
def tabs(services: Services) -> tuple[AnalyseTab, AnnotateTab, ReviewTab]:
    services.settings.review = "required"
    guard = Guard(services)
    with gr.Blocks(), gr.Tabs() as all_tabs:
        with gr.Tab("Analyse"):
            analyse = AnalyseTab(guard)
        with gr.Tab("Annotate") as tab:
            annotate = AnnotateTab(guard, tab)
        with gr.Tab("Review") as tab:
            review = ReviewTab(guard, tab, all_tabs, annotate)
    return analyse, annotate, review


@pytest.mark.parametrize("words", WORDS)
def test_words_come_back_as_they_were_written_and_as_text(
    tabs: tuple[AnalyseTab, AnnotateTab, ReviewTab], services: Services, stored: MakeAnalysis, words: str
) -> None:
    analyse, annotate, review = tabs
    analysis, db = stored(by="ana"), services.db
    ana = Identity("ana", Role.ANALYST)
    work = analyse.show(ana, analysis.id)[analyse.viewer]
    analyse.decision.deciding("REVIEW")(ana, work, words)
    annotate.skip_scan(BEN, annotate.open(BEN, analysis.id)[annotate.viewer], words)
    work = annotate.open(NORA, analysis.id)[annotate.viewer]
    annotate.save_correction(NORA, work, words, None)
    review.judging("rejected")(BEN, review.look_again(BEN, None)[review.seen], words)

    assert decisions.history(db, analysis.id)[0].note == words
    assert corrections.history(db, analysis.id)[0].comment == words
    assert reviews.of_analysis(db, analysis.id)[0].comment == words
    assert queue.get(db, analysis.id).skipped == (f"ben: {words}",)
    again = annotate.open(NORA, analysis.id)
    seen = [again[annotate.why], again[annotate.history], analyse.show(ana, analysis.id)[analyse.history]]
    assert all(html.escape(words) in one for one in seen)
    assert not any("<img" in one for one in seen)


@pytest.mark.parametrize("name", ["../../xray.db.png", "..\\..\\a.png", "'; DROP TABLE scans; --.png", 'a"><b>.png'])
def test_a_file_name_is_never_a_path(
    tabs: tuple[AnalyseTab, AnnotateTab, ReviewTab], services: Services, stored: MakeAnalysis, name: str
) -> None:
    analysis = stored()
    facts = analysis.scan.model_copy(update={"filename": name})  # as if it had got past the reader of scans
    save_analysis(services.db, analysis.model_copy(update={"id": "f" * 32, "scan": facts}), png(), "ana")
    analyse, _, review = tabs
    sent = CorrectionIn(items=(), boxes=())
    corrections.add(services.db, "f" * 32, sent, "nora", services.taxonomy, review_required=True)
    page = analyse.show(Identity("ana", Role.ANALYST), "f" * 32) | review.look_again(BEN, None)
    assert page[analyse.viewer]["scan"]["filename"] == name
    assert html.escape(name) in page[review.facts]
    assert '"><b>.png' not in page[review.versions] + page[review.facts]
    kept = [path.relative_to(services.db.data_dir) for path in services.db.data_dir.rglob("*") if path.is_file()]
    assert {path.parts[0] for path in kept} <= {"scans", "storage_id", "xray.db", "xray.db-wal", "xray.db-shm"}


def test_an_upload_leaves_no_empty_file(
    tabs: tuple[AnalyseTab, AnnotateTab, ReviewTab], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload, folder = tabs[0].upload, tmp_path / "uploads"
    folder.mkdir()
    monkeypatch.setattr(upload, "GRADIO_CACHE", str(folder))
    sent = upload.data_model([FileData(path="/a/one.png"), FileData(path="/b/two.png")])
    assert upload.preprocess(sent) == ["/a/one.png", "/b/two.png"]
    assert upload.preprocess(None) == []
    assert list(folder.iterdir()) == []


def test_of_500_files_one_broken_is_listed_and_499_are_analysed(
    tabs: tuple[AnalyseTab, AnnotateTab, ReviewTab], services: Services
) -> None:
    """As the page sends them: a few at a time."""
    analyse, ana = tabs[0], Identity("ana", Role.ANALYST)
    folder = Path(get_upload_folder())
    sent = uuid4().hex  # the folder is the machine's: a test that was killed may have left others behind
    paths = []
    for number in range(500):
        file = io.BytesIO()
        Image.new("RGB", (24, 16), (number % 256, number // 256, 90)).save(file, "PNG")
        content = file.getvalue() if number != 250 else file.getvalue()[:40]
        paths.append(folder / f"{sent}-{number}" / f"{number}.png")
        paths[-1].parent.mkdir(parents=True)
        paths[-1].write_bytes(content)
    refused: list[Any] = []
    for start in range(0, 500, 8):
        for page in analyse.add_scans(ana, [str(path) for path in paths[start : start + 8]], None):
            refused += (page.get(analyse.intake) or {}).get("refused", [])
    assert [one["name"] for one in refused] == ["250.png"]
    assert refused[0]["reason"]
    names = {one.scan.filename for one in analyses.page(services.db, 500)[0]}
    assert names == {f"{number}.png" for number in range(500)} - {"250.png"}
    assert not any(path.exists() for path in paths)
