"""The queue over HTTP: claims that two programs cannot both have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi.testclient import TestClient


def test_a_scan_is_claimed_by_one_skipped_and_claimed_by_the_next(
    client: TestClient, as_user: Callable[[str], dict[str, str]], analysed: dict[str, Any]
) -> None:
    first, second = as_user("annotator"), as_user("second")
    address = f"/v1/queue/{analysed['id']}"
    entries = client.get("/v1/queue?limit=500", headers=first).json()["items"]
    entry = next(one for one in entries if one["analysis_id"] == analysed["id"])
    assert entry["claimed_by"] is None
    assert all(isinstance(reason, str) for reason in entry["reasons"])

    held = client.post(f"{address}/claim", headers=first)
    assert held.status_code == 200
    assert held.json()["username"] == "annotator"
    assert client.post("/v1/queue/next", headers=first).json()["analysis_id"] == analysed["id"]
    refused = client.post(f"{address}/claim", headers=second)
    assert refused.status_code == 409
    assert refused.json()["error"]["details"]["claimed_by"] == "annotator"

    assert client.post(f"{address}/skip", json={"reason": ""}, headers=first).status_code == 422
    assert client.post(f"{address}/skip", json={"reason": "cannot tell"}, headers=first).status_code == 200
    assert client.post(f"{address}/claim", headers=second).status_code == 200
    entries = client.get("/v1/queue?limit=500", headers=first).json()["items"]
    entry = next(one for one in entries if one["analysis_id"] == analysed["id"])
    assert (entry["claimed_by"], entry["skipped"]) == ("second", ["annotator: cannot tell"])
    assert client.post(f"{address}/release", headers=second).status_code == 200
