"""The Export tab: what it counts, the address it gives, an import in the background, forged values refused."""

from __future__ import annotations

import io
import shutil
import threading
import time
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import gradio as gr
import pytest
from gradio.utils import get_upload_folder

from tests.conftest import MakeAnalysis, png
from tests.exchange.test_import import yolo, zipped
from xray_app.auth import Identity
from xray_app.errors import BadInput, Conflict
from xray_app.exchange import reader_process
from xray_app.exchange.export import Filter, export_zip
from xray_app.services import Services
from xray_app.store import corrections, label_meanings, site_taxonomy, standing
from xray_app.taxonomy import Taxonomy
from xray_app.types import CorrectionIn, Role
from xray_app.ui.exchange import ExchangeTab
from xray_app.ui.guard import Guard
from xray_app.ui.label_table import NEW
from xray_app.ui.viewer.component import correction_from, work_of

CHOSEN: list[Any] = ["yolo", None, None, "any", "any", "", False]
ANNOTATOR = Identity("nora", Role.ANNOTATOR)


@pytest.fixture
def tab(services: Services) -> ExchangeTab:
    with gr.Blocks(), gr.Tab("Export") as tab:
        return ExchangeTab(Guard(services), tab)


def corrected(services: Services, stored: MakeAnalysis, taxonomy: Taxonomy) -> None:
    said = CorrectionIn(items=[{"label": "gun", "count": 1}], boxes=[])
    corrections.add(services.db, stored(1).id, said, "bob", taxonomy, review_required=False)


def test_it_counts_before_it_downloads(
    tab: ExchangeTab, services: Services, stored: MakeAnalysis, taxonomy: Taxonomy
) -> None:
    assert "No scan fits" in tab.count(ANNOTATOR, *CHOSEN)
    with pytest.raises(BadInput, match="nothing to export"):
        tab.start_export(ANNOTATOR, None, *CHOSEN)
    corrected(services, stored, taxonomy)
    stored(2)
    assert "<b>1</b> corrected" in tab.count(ANNOTATOR, *CHOSEN)
    assert "<b>1</b> predictions" in tab.count(ANNOTATOR, *CHOSEN[:6], True)
    started = tab.start_export(ANNOTATOR, None, "coco", "2020-01-02", None, "gun", "HIGH", " bob ", True)
    address = urlsplit(started[tab.address])
    asked = {name: values[0] for name, values in parse_qs(address.query).items()}
    assert address.path == "../v1/export"
    assert asked.pop("job") == started[tab.exported]
    assert asked == {"format": "coco", "since": "2020-01-02", "label": "gun", "risk": "HIGH", "analyst": "bob", "corrected": "false"}  # fmt: skip  # noqa: E501


@pytest.mark.parametrize(
    ("place", "value"), [(0, "docx"), (0, None), (1, "<b>"), (2, 7), (3, ["x"]), (4, "NONE"), (5, {"a": 1})]
)
def test_forged_choices_are_refused(tab: ExchangeTab, place: int, value: Any) -> None:
    forged = [*CHOSEN[:place], value, *CHOSEN[place + 1 :]]
    with pytest.raises(BadInput):
        tab.count(ANNOTATOR, *forged)


def uploaded(path: Path) -> str:
    folder = Path(get_upload_folder()) / path.stem
    folder.mkdir(parents=True, exist_ok=True)
    return str(shutil.copy(path, folder))


def said_of(job: Any, *rows: tuple[str, ...]) -> dict[str, Any]:
    """The table as a browser sends it: label, meaning, and of a new class name and status."""
    fields = ("label", "meaning", "name", "status")
    return {"shown": job, "classes": [], "rows": [dict(zip(fields, row, strict=False)) for row in rows]}


def finished(tab: ExchangeTab, who: Identity, job: Any) -> dict[Any, Any]:
    for _ in range(600):
        shown = tab.show(who, None, job)
        if not shown[tab.timer]["active"]:
            return shown
        time.sleep(0.1)
    pytest.fail("the import did not end")


def test_an_import_runs_behind_the_page_and_says_what_it_left_out(
    tab: ExchangeTab, services: Services, admin: Identity, tmp_path: Path
) -> None:
    files = {f"b{n}": (png(n, 64, 64), "0 0.5 0.5 0.5 0.5\n") for n in range(3)}
    files["<b>bad</b>".replace("/", "-")] = (b"no picture", "")
    path = uploaded(zipped(yolo(tmp_path / "set", files)))
    job = tab.start_import(admin, None, path, False)[tab.imported]
    said = finished(tab, admin, job)[tab.import_status]
    assert "3 corrections added" in said
    assert "Left out (1)" in said
    assert "<b>bad" not in said
    assert "<b>3</b> corrected" in tab.tick(admin, None, job, *CHOSEN)[tab.found]
    assert {one.author for _, one in standing.accepted(services.db)} == {"root"}
    assert not Path(path).exists()
    assert tab.show(ANNOTATOR, None, job)[tab.import_status] == ""  # somebody else's


def test_unknown_labels_are_asked_about_and_the_answer_is_kept(
    tab: ExchangeTab, services: Services, admin: Identity, tmp_path: Path
) -> None:
    files = {"a": (png(1, 64, 64), "0 0.5 0.5 0.5 0.5\n1 0.2 0.2 0.2 0.2\n2 0.7 0.7 0.2 0.2\n")}
    path = uploaded(zipped(yolo(tmp_path / "set", files, "[knife, Bat, <b>odd</b>]")))
    job = tab.start_import(admin, None, path, False)[tab.imported]
    assert "some labels are unknown here" in finished(tab, admin, job)[tab.import_status]
    shown = tab.tick(admin, None, job, *CHOSEN)[tab.meanings]
    assert shown["visible"]
    table = shown["value"]
    assert [(row["label"], row["meaning"]) for row in table["rows"]] == [("Bat", "baton"), ("<b>odd</b>", "")]
    assert table["classes"] == list(services.taxonomy.names)
    assert Path(path).exists()
    forged: Any
    for forged in (
        [["Bat", "gun"]], "Bat=gun", {"shown": job, "rows": [{"label": "Bat", "meaning": 7}]},
        {"shown": job, "rows": [{"label": "Bat"}]}, said_of(job, ("Bat", "no class")),
        said_of(job, *[("a", "gun")] * 101),
    ):  # fmt: skip
        with pytest.raises(BadInput):
            tab.start_import(admin, None, None, False, None, False, forged, job)
    said = said_of(job, ("Bat", "baton"), ("<b>odd</b>", "ignore"))
    again = tab.start_import(admin, None, None, False, ["gun"], True, said, job)[tab.imported]
    shown = finished(tab, admin, again)[tab.import_status]
    assert "1 corrections added" in shown
    assert "<li>baton: 1 boxes taken, 0 left out</li>" in shown
    assert "&lt;b&gt;odd&lt;/b&gt;: 0 boxes taken, 1 left out (ignored by the mapping 1)" in shown
    assert 'role="alert"><b>1 boxes were left out.</b>' in shown
    assert not Path(path).exists()
    ((analysis, correction),) = standing.accepted(services.db)
    assert not analysis.analysed
    assert correction.labelled_classes == ("knife", "gun", "baton")
    assert label_meanings.said(services.db, services.taxonomy) == {"bat": "baton", "<b>odd</b>": None}
    # The next set of this kind asks nothing.
    path = uploaded(zipped(yolo(tmp_path / "next", {"b": (png(2, 64, 64), "1 0.2 0.2 0.2 0.2\n")}, "[knife, Bat]")))
    job = tab.start_import(admin, None, path, False, None, True)[tab.imported]
    assert "1 corrections added" in finished(tab, admin, job)[tab.import_status]


def test_a_label_becomes_a_new_class_that_the_whole_desk_knows_at_once(
    tab: ExchangeTab, services: Services, admin: Identity, tmp_path: Path
) -> None:
    file = services.settings.taxonomy.read_bytes()
    rows = "0 0.5 0.5 0.5 0.5\n1 0.2 0.2 0.2 0.2\n"
    path = uploaded(zipped(yolo(tmp_path / "set", {"a": (png(1, 64, 64), rows)}, "[laptop, Samurai_sword]")))
    job = tab.start_import(admin, None, path, False)[tab.imported]
    finished(tab, admin, job)
    (row,) = tab.tick(admin, None, job, *CHOSEN)[tab.meanings]["value"]["rows"]
    assert row == {"label": "Samurai_sword", "meaning": "", "name": "Samurai sword", "status": "prohibited"}
    for name, status in (("knife", "prohibited"), ("a, b", "prohibited"), ("x:y", "allowed"), ("katana", "harmless")):
        wrong = said_of(job, ("Samurai_sword", NEW, name, status))
        with pytest.raises(BadInput) as refused:
            tab.start_import(admin, None, None, False, None, True, wrong, job)
        assert refused.value.beside == "import-meanings"
    assert site_taxonomy.added(services.db) == ()
    said = said_of(job, ("Samurai_sword", NEW, "katana", "prohibited"))
    started = tab.start_import(admin, None, None, False, None, True, said, job)
    told = finished(tab, admin, started[tab.imported])[tab.import_status]
    assert "1 corrections added" in told
    assert "New at this site from now on: katana (prohibited). What was measured before rests on other classes" in told
    assert "<li>katana: 1 boxes taken, 0 left out</li>" in told
    assert "katana" in started[tab.label]["choices"]
    assert "katana" in started[tab.looked_for]["choices"]
    # Whoever works at the desk now sees it, finds it and can say it; the taxonomy file is as it was.
    ((analysis, correction),) = standing.accepted(services.db)
    bag = standing.of_bag(services.db, analysis.scan.bag_id)
    assert (bag.risk.level, bag.risk.by) == ("HIGH", "root")
    work = work_of(analysis, [correction], services.taxonomy, "nora")
    assert [(box.label, box.status) for box in work.boxes] == [("laptop", "allowed"), ("katana", "prohibited")]
    assert "katana" in [label.name for label in work.labels]
    kept = corrections.add(
        services.db, analysis.id, correction_from(work, None, ["katana"]), "nora", services.taxonomy, False
    )
    assert kept.counts == correction.counts
    assert "<b>1</b> corrected" in tab.count(ANNOTATOR, *CHOSEN[:3], "katana", *CHOSEN[4:])
    content = b"".join(export_zip(services.db, services.taxonomy, services.limits, "csv", Filter(), None))
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        assert any(b"katana" in opened.read(name) for name in opened.namelist() if name.endswith(".csv"))
    assert services.settings.taxonomy.read_bytes() == file
    assert label_meanings.said(services.db, services.taxonomy) == {"samuraisword": "katana"}


def test_an_import_that_ends_before_it_is_first_shown_is_shown_to_its_end(
    tab: ExchangeTab, admin: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def to_its_end(thread: threading.Thread) -> None:
        start(thread)
        if thread.name != "import stop":
            thread.join()

    monkeypatch.setattr(threading.Thread, "start", to_its_end)
    path = uploaded(zipped(yolo(tmp_path / "set", {"a": (png(3, 64, 64), "0 0.5 0.5 0.5 0.5\n")}, "[Sword]")))
    started = tab.start_import(admin, None, path, False)
    assert started[tab.timer]["active"]
    shown = tab.tick(admin, None, started[tab.imported], *CHOSEN)
    assert [row["label"] for row in shown[tab.meanings]["value"]["rows"]] == ["Sword"]
    assert not shown[tab.timer]["active"]


def test_a_file_that_is_no_data_set_fails_in_words(tab: ExchangeTab, admin: Identity, tmp_path: Path) -> None:
    (tmp_path / "fake.zip").write_bytes(b"PK\x03\x04nothing")
    job = tab.start_import(admin, None, uploaded(tmp_path / "fake.zip"), False)[tab.imported]
    assert "not a ZIP file" in finished(tab, admin, job)[tab.import_status]
    with pytest.raises(BadInput, match="not uploaded here"):
        tab.start_import(admin, None, "/etc/passwd", False)
    with pytest.raises(BadInput, match="Choose a ZIP"):
        tab.start_import(admin, None, {"path": "x"}, False)


def test_one_import_at_a_time(tab: ExchangeTab, services: Services, admin: Identity, tmp_path: Path) -> None:
    services.jobs.start("import", "other")
    (tmp_path / "set.zip").write_bytes(b"")
    with pytest.raises(Conflict, match="other is importing"):
        tab.start_import(admin, None, uploaded(tmp_path / "set.zip"), False)
    with pytest.raises(BadInput, match="nothing to stop"):
        tab.stop_import(admin, None, "forged")


def test_a_page_that_was_loaded_again_takes_up_what_is_at_work(
    tab: ExchangeTab, services: Services, admin: Identity
) -> None:
    theirs, mine = services.jobs.start("import", "other"), services.jobs.start("import", admin.username)
    theirs.progress.done, mine.progress.done, mine.progress.total = 3, 7, 40
    page = tab.open(admin, None, None, *CHOSEN)
    assert (page[tab.exported], page[tab.imported]) == (None, mine.id)
    assert "Importing 7 of 40" in page[tab.import_status]
    assert (page[tab.timer]["active"], page[tab.import_stop]["visible"]) == (True, True)
    page = tab.show(admin, services.jobs.start("export", "root").id, mine.id)
    assert page[tab.import_stop]["visible"], "an export does not hide the import"
    tab.stop_import(admin, None, mine.id)
    assert mine.progress.stop.is_set()
    assert not theirs.progress.stop.is_set()


def test_an_import_that_reads_for_ever_is_stopped_within_seconds_and_the_desk_answers_meanwhile(
    tab: ExchangeTab, services: Services, admin: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_process, "MODULE", "tests.exchange.hostile_reader")
    files = {"a": (png(3, 64, 64), "0 0.5 0.5 0.5 0.5\n")}
    path = uploaded(zipped(yolo(tmp_path / "endless", files)))
    job = tab.start_import(admin, None, path, False)[tab.imported]
    time.sleep(3)  # by now it holds its interpreter
    began = time.monotonic()
    for _ in range(20):
        assert "Importing 0 of …" in tab.show(admin, None, job)[tab.import_status]
        assert "No scan fits" in tab.count(ANNOTATOR, *CHOSEN)
    assert time.monotonic() - began < 2
    tab.stop_import(admin, None, job)
    assert "stopped after 0 of …; what was added stays" in finished(tab, admin, job)[tab.import_status]
    assert time.monotonic() - began < 5
    assert not Path(path).exists()
    path = uploaded(zipped(yolo(tmp_path / "fault", files)))
    job = tab.start_import(admin, None, path, False)[tab.imported]
    assert "a fault in the desk, which has been logged" in finished(tab, admin, job)[tab.import_status]


def test_a_server_that_ends_stops_what_is_at_work(
    tab: ExchangeTab, services: Services, admin: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_process, "MODULE", "tests.exchange.hostile_reader")
    path = uploaded(zipped(yolo(tmp_path / "endless", {"a": (png(3, 64, 64), "0 0.5 0.5 0.5 0.5\n")})))
    job = tab.start_import(admin, None, path, False)[tab.imported]
    began = time.monotonic()
    services.jobs.stop_all(20)
    assert time.monotonic() - began < 10
    assert not tab.show(admin, None, job)[tab.timer]["active"]
    services.jobs.stop_all(20)
    hanging = services.jobs.start("export", "root")
    services.jobs.stop_all(0.1)
    assert hanging.progress.stop.is_set()
