"""Scans on their way in at the Analyse tab: what is broken, forged, sent again, or a fault of the desk."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest

from tests.scan.test_dicom import make, ramp
from tests.ui.test_analyse import add
from xray_app.auth import Identity
from xray_app.errors import BadInput, Busy
from xray_app.scan.read import Scan
from xray_app.services import Services
from xray_app.store import analyses
from xray_app.types import Analysis, Role
from xray_app.ui.analyse import AnalyseTab
from xray_app.ui.guard import Guard


@pytest.fixture
def tab(services: Services) -> AnalyseTab:
    with gr.Blocks():
        return AnalyseTab(Guard(services))


def test_a_broken_file_is_named_and_the_rest_go_on(
    tab: AnalyseTab, analyst: Identity, services: Services, upload: Any
) -> None:
    page = add(tab, analyst, upload("<b>.zip", b"PK\x03\x04 nothing"), upload("good.png"))
    (refused,) = page[tab.intake]["refused"]
    assert refused["name"] == "<b>.zip"
    assert refused["reason"]
    assert page[tab.viewer]["scan"]["filename"] == "good.png"
    assert len(analyses.page(services.db, 10)[0]) == 1
    assert page[tab.intake]["taken"] == 2, "a refused file has come too"


def test_the_page_is_told_how_many_files_came(tab: AnalyseTab, analyst: Identity, upload: Any) -> None:
    for paths, came in ((None, 0), ([], 0), ([upload("good.png")], 1)):
        *_, last = tab.add_scans(analyst, paths, None)
        assert last[tab.intake]["taken"] == came


def test_a_fault_over_one_file_stops_no_other(
    tab: AnalyseTab, analyst: Identity, services: Services, upload: Any, caplog: Any, monkeypatch: Any
) -> None:
    answer, asked = services.analyser.vlm.answer, []

    def fail_once(*values: Any) -> Any:
        asked.append(values)
        if len(asked) == 1:
            raise RuntimeError("a bug")
        return answer(*values)

    monkeypatch.setattr(services.analyser.vlm, "answer", fail_once)
    page = add(tab, analyst, upload("one.png"), upload("two.png", shade=90))
    (refused,) = page[tab.intake]["refused"]
    assert (refused["index"], refused["reason"]) == (0, "a fault in the desk, which has been logged")
    assert page[tab.viewer]["scan"]["filename"] == "two.png"
    assert page[tab.upload] is None
    assert "a bug" in caplog.text


def test_files_sent_again_after_a_silence_are_not_analysed_twice(
    tab: AnalyseTab, analyst: Identity, services: Services, upload: Any
) -> None:
    def send(*shades: int, resent: bool = True) -> None:
        files = [upload("bag.png", shade=shade) for shade in shades]
        list(tab.add_scans(analyst, files, {"resent": resent}))

    send(200, resent=False)
    send(200, 90)  # the first had come in before the desk fell silent
    assert len(analyses.page(services.db, 10)[0]) == 2
    add(tab, Identity("ben", Role.ANALYST), upload("bag.png", shade=20))
    send(20)  # what somebody else sent is theirs
    send(90, resent=False)  # and who adds a scan anew has it analysed anew
    assert len(analyses.page(services.db, 10)[0]) == 5


@pytest.mark.parametrize("forged", [{"bag": ["x"]}, {"view": 3}, {"scanner": {}}, {"bag": "x" * 5000}, [3], "x", None])
def test_a_name_that_is_none_takes_no_scan_in(
    tab: AnalyseTab, analyst: Identity, services: Services, upload: Any, forged: Any
) -> None:
    path = upload("bag.png")
    named = isinstance(forged, dict) and not isinstance(forged.get("bag"), str)
    with pytest.raises(BadInput) if named else nullcontext():
        list(tab.add_scans(analyst, [path], forged))
    stored, _ = analyses.page(services.db, 10)
    assert (len(stored), Path(path).exists()) == (0 if isinstance(forged, dict) else 1, False)


def test_a_path_outside_the_upload_folder_is_refused(tab: AnalyseTab, analyst: Identity, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"x")
    with pytest.raises(BadInput):
        add(tab, analyst, str(secret))
    assert secret.exists()


def test_of_a_file_of_two_views_none_waits_without_the_other(
    tab: AnalyseTab, analyst: Identity, services: Services, upload: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = upload("bag.dcs", make(np.stack([ramp(1000), ramp(1000)[:, ::-1]])))
    plain, calls = services.analyser.analyse, iter((0, 1))

    def busy(scan: Scan) -> Analysis:
        if next(calls):
            raise Busy("64 scans wait already.")
        return plain(scan)

    monkeypatch.setattr(services.analyser, "analyse", busy)
    page = add(tab, analyst, views)
    assert [one["name"] for one in page[tab.intake]["refused"]] == ["bag.dcs"]
    assert analyses.page(services.db, 10)[0] == []


def test_the_upload_folder_itself_is_no_upload(tab: AnalyseTab, analyst: Identity, upload: Any) -> None:
    other = Path(upload("another person's.png"))
    for path in (other.parent.parent, other.parent):
        with pytest.raises(BadInput):
            add(tab, analyst, str(path))
    assert other.exists()
