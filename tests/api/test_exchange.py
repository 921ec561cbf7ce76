"""`GET /v1/export`: a ZIP that opens, for annotators; everything else an error in the envelope."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import PASSWORD
from tests.scan.test_dicom import LIMITS, dual, make, ramp
from xray_app.scan.read import read_scan
from xray_app.services import Services
from xray_app.store import audit

AsUser = Callable[[str], dict[str, str]]


@pytest.fixture
def corrected(client: TestClient, analyst: dict[str, str], analysed: dict[str, Any]) -> dict[str, Any]:
    said = {"items": [{"label": "gun", "count": 2}], "boxes": [{"label": "gun", "xyxy": [1, 2, 30.5, 40]}]}
    answer = client.post(f"/v1/analyses/{analysed['id']}/corrections", json=said, headers=analyst)
    assert answer.status_code == 201, answer.text
    return analysed


def test_an_export_is_a_zip_and_is_audited(
    client: TestClient, as_user: AsUser, corrected: dict[str, Any], services: Services
) -> None:
    answer = client.get("/v1/export?format=csv&label=gun&analyst=analyst", headers=as_user("annotator"))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"].startswith('attachment; filename="xray-csv-')
    with zipfile.ZipFile(io.BytesIO(answer.content)) as opened:
        rows = list(csv.DictReader(io.StringIO(opened.read("scans.csv").decode("utf-8-sig"))))
    assert corrected["id"] in {row["analysis_id"] for row in rows}
    entry = audit.newest(services.db, 1)[0]
    assert (entry.who, entry.what, entry.details["format"]) == ("annotator", "export", "csv")


@pytest.mark.parametrize(
    "query",
    ["", "format=docx", "format=csv&label=unicorn", "format=csv&risk=NONE", "format=csv&since=tomorrow",
     "format=csv&since=2026-02-01&until=2026-01-01", "format=csv&since=0001-01-01", "format=csv&corrected=7"],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_before_a_byte_is_sent(client: TestClient, as_user: AsUser, query: str) -> None:
    answer = client.get(f"/v1/export?{query}", headers=as_user("annotator"))
    if query.endswith("0001-01-01") and answer.status_code == 200:
        return  # a day before all scans, where the machine's calendar reaches so far
    assert answer.status_code == 422
    assert answer.json()["error"]["message"]


def test_the_browsers_cookie_downloads_and_progress_is_the_askers_alone(
    client: TestClient, services: Services, corrected: dict[str, Any]
) -> None:
    with TestClient(client.app, follow_redirects=False) as browser:
        browser.post("/signin", data={"username": "second", "password": PASSWORD})
        mine, others = services.jobs.start("export", "second"), services.jobs.start("export", "annotator")
        for job in (mine, others):
            assert browser.get(f"/v1/export?format=yolo&job={job.id}").status_code == 200
    assert mine.progress.ended
    assert mine.progress.written == mine.progress.total >= 1
    assert not others.progress.ended


def test_a_stopped_download_is_no_zip(client: TestClient, services: Services, as_user: AsUser, corrected: Any) -> None:
    job = services.jobs.start("export", "annotator")
    job.progress.stop.set()
    answer = client.get(f"/v1/export?format=yolo&job={job.id}", headers=as_user("annotator"))
    assert not zipfile.is_zipfile(io.BytesIO(answer.content))
    assert job.progress.failed == "cancelled"


def test_a_dicos_file_with_both_energies(client: TestClient, analyst: dict[str, str], services: Services) -> None:
    content = make(dual(), ImageType=["ORIGINAL", "PRIMARY", "PROJECTION", "LOW_ENERGY", "HIGH_ENERGY"])
    answer = client.post("/v1/analyze", files={"file": ("bag.dcs", content)}, headers=analyst).json()
    scan = answer["scan"]
    assert (scan["width"], scan["height"]) == (80, 60)
    assert scan["acquisition"]["manufacturer"] == "Scanner Works"
    stored = client.get(f"/v1/scans/{scan['id']}/image", headers=analyst)
    assert stored.headers["content-type"] == "application/dicom"
    assert b"Doe" not in stored.content
    assert read_scan(stored.content, "x", LIMITS).sha256 == scan["id"] == scan["sha256"]
    assert not [path for path in services.db.data_dir.rglob("*") if path.is_file() and b"Doe^Jane" in path.read_bytes()]


def test_a_scan_of_another_kind_says_nothing_of_acquisition(analysed: dict[str, Any]) -> None:
    assert set(analysed["scan"]) == {"id", "sha256", "width", "height", "filename", "bag_id", "view", "scanner_id"}


def test_several_views_are_one_bag_and_the_gravest_is_answered(client: TestClient, analyst: dict[str, str]) -> None:
    import numpy as np

    content = make(np.stack([ramp(900), ramp(901)]))
    answer = client.post("/v1/analyze", files={"file": ("b.dcm", content)}, data={"bag_id": "two"}, headers=analyst)
    assert answer.status_code == 200, answer.text
    bag = client.get("/v1/bags/two", headers=analyst).json()
    assert sorted(one["scan"]["view"] for one in bag["analyses"]) == ["view 1", "view 2"]
    assert answer.json()["risk"]["level"] == bag["risk"]["level"]
    refused = client.post("/v1/detect", files={"file": ("b.dcm", content)}, headers=analyst)
    assert refused.status_code == 422
    assert "2 views" in refused.json()["error"]["message"]
