"""`/metrics`: for who has the token alone, with names that nobody outside can make up."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr, ValidationError

from tests.api.conftest import PASSWORD, make_services, png
from xray_app import auth
from xray_app.api.app import create_app
from xray_app.api.door import METHODS
from xray_app.settings import Settings
from xray_app.store import runs
from xray_app.types import Role

TOKEN = "a token of the scraper's"
SENT = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    services = make_services(tmp_path)
    auth.add_user(services.db, "ann", PASSWORD, Role.ANALYST)
    settings = services.settings.model_copy(update={"metrics": SecretStr(TOKEN)})
    runs.create(services.db, "vlm-adapter", "bundled", "lora", None, "admin")
    with TestClient(create_app(dataclasses.replace(services, settings=settings))) as client:
        yield client


def samples(client: TestClient) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = client.get("/metrics", headers=SENT)
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.text)
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


def test_only_the_token_opens_it(client: TestClient, tmp_path: Path) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
        assert client.get("/metrics", headers=headers).status_code == 401
    signed_in = client.post("/v1/login", json={"username": "ann", "password": PASSWORD}).json()
    assert client.get("/metrics", headers={"Authorization": f"Bearer {signed_in['token']}"}).status_code == 401
    assert client.post("/metrics", headers=SENT).status_code == 405


def test_without_a_token_there_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with TestClient(create_app(make_services(tmp_path))) as client:
        assert client.get("/metrics", headers=SENT).status_code == 404
    monkeypatch.setenv("XRAY_METRICS", "short")
    with pytest.raises(ValidationError, match="16"):
        Settings(_env_file=None)


def test_requests_batches_models_runs_and_disk_are_told(client: TestClient) -> None:
    before = samples(client)
    signed_in = client.post("/v1/login", json={"username": "ann", "password": PASSWORD}).json()
    own = {"Authorization": f"Bearer {signed_in['token']}"}
    assert client.post("/v1/analyze", files={"file": ("a.png", png())}, headers=own).status_code == 200
    assert client.get("/v1/analyses/none-such", headers=own).status_code == 404
    now = samples(client)

    def more(name: str, **labels: str) -> float:
        key = (name, tuple(sorted(labels.items())))
        return now[key] - before.get(key, 0)

    request = "xray_request_seconds_count"
    assert more(request, method="POST", route="/v1/analyze", status="200") == 1
    assert more(request, method="GET", route="/v1/analyses/{analysis_id}", status="404") == 1
    assert more("xray_batch_scans_count") == 1
    assert more("xray_stage_seconds_count", stage="vlm") == more("xray_stage_seconds_count", stage="total") == 1
    assert now[("xray_waiting_scans", ())] == 0
    assert now[("xray_training_runs", (("status", "queued"),))] == 1
    assert now[("xray_training_runs", (("status", "running"),))] == 0
    assert now[("xray_disk_free_bytes", ())] > 0
    assert sum(name == "xray_models" for name, _ in now) == 1
    assert now[("process_resident_memory_bytes", ())] > 0


def test_what_a_stranger_asks_for_makes_no_names(client: TestClient) -> None:
    for number in range(20):
        client.get(f"/made/up/{number}")
        client.request(f"MADE{number}", "/signin")
        client.get(f"/desk/{number}")
    names = [labels for name, labels in samples(client) if name == "xray_request_seconds_count"]
    routes = {dict(labels)["route"] for labels in names}
    assert not any("made" in route for route in routes)
    assert {dict(labels)["method"] for labels in names} <= METHODS | {"other"}
    assert "other" in routes
