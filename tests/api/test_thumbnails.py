"""Thumbnails: small, made once, for scans of before too; never without signing in."""

from __future__ import annotations

import io
from typing import Any

from fastapi.testclient import TestClient
from PIL import Image

from tests.api.conftest import png
from xray_app.scan.appearance import SIDE
from xray_app.services import Services
from xray_app.store import thumbnails
from xray_app.store.fact_tables import AppearanceRow


def test_a_thumbnail_is_made_at_storing_and_again_when_it_is_gone(
    client: TestClient, analyst: dict[str, str], services: Services
) -> None:
    sent = client.post("/v1/analyze", files={"file": ("wide.png", png((900, 300)))}, headers=analyst).json()
    scan_id = sent["scan"]["id"]
    path = thumbnails.find(services.db, scan_id)
    assert path is not None
    address = f"/v1/scans/{scan_id}/thumbnail"
    first = client.get(address, headers=analyst)
    assert (first.status_code, first.headers["content-type"]) == (200, "image/webp")
    assert "no-cache" in first.headers["cache-control"]
    assert Image.open(io.BytesIO(first.content)).size == (SIDE, round(SIDE / 3))
    path.unlink()
    again = client.get(address, headers=analyst)
    assert again.content == first.content
    assert path.is_file()
    tagged = client.get(address, headers=analyst | {"If-None-Match": first.headers["etag"]})
    assert (tagged.status_code, tagged.content) == (304, b"")
    assert client.get(address, headers={"If-None-Match": first.headers["etag"]}).status_code == 401


def test_the_look_of_an_older_scan_is_kept_when_it_is_first_seen(
    client: TestClient, analyst: dict[str, str], services: Services, analysed: dict[str, Any]
) -> None:
    scan_id = analysed["scan"]["id"]
    path = thumbnails.find(services.db, scan_id)
    assert path is not None
    path.unlink()
    with services.db.write() as session:
        session.delete(session.get_one(AppearanceRow, scan_id))
    assert client.get(f"/v1/scans/{scan_id}/thumbnail", headers=analyst).status_code == 200
    with services.db.read() as session:
        assert session.get(AppearanceRow, scan_id) is not None
