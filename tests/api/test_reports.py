"""The scan report's address: who gets it, and that it is a page which fetches and runs nothing."""

from __future__ import annotations

import base64
import io
import re
from typing import Any
from uuid import uuid4

from fastapi.testclient import TestClient
from PIL import Image

from tests.api.conftest import png
from tests.conftest import MakeAnalysis, save_analysis, scan_facts
from xray_app.api.reports import LONGEST_SIDE
from xray_app.services import Services
from xray_app.types import Risk


def test_a_report_is_one_page_of_its_own(client: TestClient, analyst: dict[str, str]) -> None:
    name = "<b>'..\\.png"
    sent = client.post("/v1/analyze", files={"file": (name, png((3200, 200)))}, headers=analyst).json()
    address = f"/v1/analyses/{sent['id']}/report"
    assert client.get(address).status_code == 401
    answer = client.get(address, headers=analyst)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert "<b>'.." not in answer.text
    # The picture is inside, no larger than paper shows it; boxes are in the scan's own pixels.
    found = re.search(r'href="data:image/jpeg;base64,([^"]+)"', answer.text)
    assert found
    assert Image.open(io.BytesIO(base64.b64decode(found[1]))).width == LONGEST_SIDE
    assert 'viewBox="0 0 3200 200"' in answer.text


def test_a_small_picture_is_left_as_it_is(
    client: TestClient, analyst: dict[str, str], analysed: dict[str, Any]
) -> None:
    answer = client.get(f"/v1/analyses/{analysed['id']}/report", headers=analyst)
    assert "data:image/png;base64," in answer.text
    assert "not validated on this scanner" in answer.text


def test_a_report_says_that_another_view_is_worse(
    client: TestClient, services: Services, analyst: dict[str, str], make_analysis: MakeAnalysis
) -> None:
    bag = uuid4().hex
    low = Risk(level="LOW", reason="no threats detected", action="CLEAR", policy="airport")
    pages = []
    for changes in ({"risk": low}, {}):
        content = png((320, 240))
        kept = make_analysis(scan=scan_facts(content, bag_id=bag), **changes)
        save_analysis(services.db, kept, content, "analyst")
        pages.append(f"/v1/analyses/{kept.id}/report")
        assert "another view" not in client.get(pages[-1], headers=analyst).text
    assert "in another view of this bag" in client.get(pages[0], headers=analyst).text


def test_an_analysis_that_is_not_there(client: TestClient, analyst: dict[str, str]) -> None:
    assert client.get("/v1/analyses/nothing/report", headers=analyst).json()["error"]["code"] == "not_found"
