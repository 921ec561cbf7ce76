"""A class that was added while the desk is served, by another process: every call knows it, and thresholds lapse."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import PASSWORD, FixedDetector, FixedVlm, make_services, png
from tests.api.test_scans import upload
from xray_app import auth
from xray_app.api.app import create_app
from xray_app.site_classes import new_class
from xray_app.store import site_taxonomy
from xray_app.taxonomy import load_taxonomy
from xray_app.types import Role
from xray_app.vlm.base import Answer

SAID = {"items": [{"label": "Katana", "count": 1}], "boxes": [{"label": "katana", "xyxy": [4, 4, 20, 20]}]}


def test_a_served_desk_takes_an_added_class_up_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calm = "Items detected: none. Security risk: LOW - no threats detected."
    monkeypatch.setattr(FixedVlm, "answer", lambda self, images, *_: [Answer(calm, finished=True) for _ in images])
    monkeypatch.setattr(FixedDetector, "detect", lambda self, image, threshold=0.05: [])
    services = make_services(tmp_path)
    for name, role in (("ana", Role.ANALYST), ("nora", Role.ANNOTATOR)):
        auth.add_user(services.db, name, PASSWORD, role)
    with TestClient(create_app(services), raise_server_exceptions=False) as client:
        ana, nora = (
            {"Authorization": f"Bearer {auth.sign_in(services.db, name, PASSWORD).token}"} for name in ("ana", "nora")
        )
        analysis = client.post("/v1/analyze", **upload(png()), data={"bag_id": "bag"}, headers=ana).json()
        address = f"/v1/analyses/{analysis['id']}"
        before = services.rules
        refused = client.post(f"{address}/corrections", json=SAID, headers=nora)
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "unknown_label")
        taxonomy = load_taxonomy(services.settings.taxonomy)
        site_taxonomy.add(services.db, taxonomy, [new_class("katana", "prohibited", taxonomy)], "root")
        saved = client.post(f"{address}/corrections", json=SAID, headers=nora)
        assert saved.status_code == 201, saved.text
        assert saved.json()["items"] == [
            {"label": "katana", "count": 1, "status": "prohibited", "threat": True, "confidence": None}
        ]
        stands = client.get(address, headers=ana).json()["standing"]
        assert stands == {"level": "HIGH", "action": "SEARCH", "reason": "katana, marked by nora", "by": "nora"}
        found = client.post(
            f"{address}/outcome", json={"found": [{"label": "katana", "count": 1}], "note": None}, headers=ana
        )
        assert found.status_code == 201, found.text
    assert services.rules.measured_sha256 != before.measured_sha256, "thresholds of before are in force no more"
    assert services.rules.policy is before.policy
    services.db.close()
