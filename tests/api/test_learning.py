"""Runs, adapters, promotion and rollback, through the API."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import PASSWORD, make_services, png
from training.promotion import registry
from training.recipes import recipe
from xray_app import auth
from xray_app.adapter import Adapter, CheckAnswer, Gate, GateCheck
from xray_app.api.app import create_app
from xray_app.correction.revision import split_of
from xray_app.learning import base_sha256, on_trial, trainable
from xray_app.services import Services
from xray_app.store import runs
from xray_app.types import AdapterKind, Role, Run, RunMetrics

KNIFE = {"label": "knife", "count": 1}


BOX = {"label": "knife", "xyxy": [4, 5, 20, 30]}


def correct_one(client: TestClient, headers: dict[str, str], split: str, boxes: Sequence[dict[str, Any]] = ()) -> None:
    """Corrects fresh scans until one falls into this split."""
    for _ in range(200):
        scan = {"file": ("bag.png", png())}
        analysis = client.post("/v1/analyze", files=scan, headers=headers).json()
        path = f"/v1/analyses/{analysis['id']}/corrections"
        answer = client.post(path, json={"items": [KNIFE], "boxes": list(boxes)}, headers=headers)
        assert answer.status_code == 201
        if answer.json()["split"] == split:
            return
    raise AssertionError(f"no bag fell into {split}")


def test_a_run_needs_a_correction_that_may_be_trained_on(tmp_path: Path) -> None:
    launched: list[Run] = []
    services = make_services(tmp_path, launched)
    auth.add_user(services.db, "boss", PASSWORD, Role.ADMIN)
    headers = {"Authorization": f"Bearer {auth.sign_in(services.db, 'boss', PASSWORD).token}"}
    client = TestClient(create_app(services))
    empty = client.post("/v1/training/runs", json={}, headers=headers)
    assert empty.status_code == 409
    assert empty.json()["error"]["code"] == "conflict"

    correct_one(client, headers, "train")
    whole_model = client.post("/v1/training/runs", json={"method": "full"}, headers=headers)
    assert whole_model.status_code == 422
    assert whole_model.json()["error"]["code"] == "bad_recipe"
    assert "Use lora or qlora here" in whole_model.json()["error"]["message"]
    assert launched == []

    answer = client.post("/v1/training/runs", headers=headers)
    assert answer.status_code == 202, answer.text
    run = answer.json()
    assert (run["status"], run["recipe"], run["method"], run["kind"]) == (
        "queued",
        "bundled",
        "lora",
        "vlm-adapter",
    )
    assert [one.id for one in launched] == [run["id"]]
    listed = client.get("/v1/training/runs", headers=headers).json()
    assert listed == {"items": [run], "next": None}
    assert client.get(f"/v1/training/runs/{run['id']}", headers=headers).json() == run

    cancelled = client.post(f"/v1/training/runs/{run['id']}/cancel", headers=headers)
    assert cancelled.status_code == 202
    again = client.post(f"/v1/training/runs/{run['id']}/cancel", headers=headers)
    assert again.status_code == 409
    services.db.close()


def test_a_run_whose_figures_could_not_be_reported_is_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched: list[Run] = []
    services = make_services(tmp_path, launched, report_to="mlflow")
    auth.add_user(services.db, "boss", PASSWORD, Role.ADMIN)
    headers = {"Authorization": f"Bearer {auth.sign_in(services.db, 'boss', PASSWORD).token}"}
    client = TestClient(create_app(services))
    correct_one(client, headers, "train")
    monkeypatch.setattr(recipe, "find_spec", lambda _: None)
    refused = client.post("/v1/training/runs", headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "bad_recipe")
    assert "pip install mlflow" in refused.json()["error"]["message"]
    monkeypatch.setattr(recipe, "find_spec", lambda _: object())
    assert client.post("/v1/training/runs", headers=headers).status_code == 202
    assert len(launched) == 1
    services.db.close()


@pytest.mark.usefixtures("sides_by_hash_alone")
def test_a_picture_of_the_hold_out_is_nothing_to_train_on(tmp_path: Path) -> None:
    services = make_services(tmp_path)
    auth.add_user(services.db, "ann", PASSWORD, Role.ANALYST)
    headers = {"Authorization": f"Bearer {auth.sign_in(services.db, 'ann', PASSWORD).token}"}
    client, picture, counted = TestClient(create_app(services)), png(), []
    for bag in ("bag 3", "bag 5"):
        scan = {"file": ("bag.png", picture)}
        analysis = client.post("/v1/analyze", files=scan, data={"bag_id": bag}, headers=headers).json()
        path = f"/v1/analyses/{analysis['id']}/corrections"
        answer = client.post(path, json={"items": [KNIFE], "boxes": []}, headers=headers)
        assert answer.status_code == 201, answer.text
        counted.append(trainable(services))
    assert [split_of(bag) for bag in ("bag 3", "bag 5")] == ["train", "holdout"]
    assert counted == [1, 0]
    services.db.close()


def test_a_detector_run_needs_a_correction_with_a_box(tmp_path: Path) -> None:
    launched: list[Run] = []
    services = make_services(tmp_path, launched)
    auth.add_user(services.db, "boss", PASSWORD, Role.ADMIN)
    headers = {"Authorization": f"Bearer {auth.sign_in(services.db, 'boss', PASSWORD).token}"}
    client = TestClient(create_app(services))
    correct_one(client, headers, "train")
    empty = client.post("/v1/training/runs", json={"kind": "detector"}, headers=headers)
    assert empty.status_code == 409
    assert "with a box" in empty.json()["error"]["message"]

    correct_one(client, headers, "train", [BOX])
    answer = client.post("/v1/training/runs", json={"kind": "detector", "epochs": 2}, headers=headers)
    assert answer.status_code == 202, answer.text
    run = answer.json()
    assert (run["kind"], run["recipe"], run["method"], run["epochs"]) == ("detector", "bundled", "full", 2)
    assert [one.id for one in launched] == [run["id"]]

    services.analyser.detector.trainable = False
    refused = client.post("/v1/training/runs", json={"kind": "detector"}, headers=headers)
    assert refused.status_code == 422
    assert "finetune-detector" in refused.json()["error"]["message"]
    services.db.close()


@pytest.mark.parametrize(("user", "status"), [("anonymous", 401), ("analyst", 403), ("annotator", 403)])
def test_a_detector_is_trained_and_rolled_back_by_admins_alone(
    client: TestClient, as_user: Callable[[str], dict[str, str]], launched: list[Run], user: str, status: int
) -> None:
    before = list(launched)
    for path in ("/v1/training/runs", "/v1/adapters/rollback"):
        answer = client.post(path, json={"kind": "detector"}, headers=as_user(user))
        assert answer.status_code == status
    assert launched == before


def test_the_hold_out_alone_is_nothing_to_train_on(tmp_path: Path) -> None:
    services = make_services(tmp_path)
    auth.add_user(services.db, "boss", PASSWORD, Role.ADMIN)
    headers = {"Authorization": f"Bearer {auth.sign_in(services.db, 'boss', PASSWORD).token}"}
    client = TestClient(create_app(services))
    bag = next(f"bag {n}" for n in range(1000) if split_of(f"bag {n}") == "holdout")
    analysis = client.post(
        "/v1/analyze", files={"file": ("bag.png", png())}, data={"bag_id": bag}, headers=headers
    ).json()
    path = f"/v1/analyses/{analysis['id']}/corrections"
    kept = client.post(path, json={"items": [KNIFE], "boxes": []}, headers=headers)
    assert kept.json()["split"] == "holdout"
    assert client.post("/v1/training/runs", json={}, headers=headers).status_code == 409
    services.db.close()


@pytest.mark.parametrize(
    "body",
    [
        '{"recipe": "unicorn"}',
        '{"recipe": "../recipes/bundled"}',
        '{"recipe": "/etc/passwd"}',
        '{"recipe": "training/recipes/bundled.yaml"}',
        '{"recipe": ""}',
        '{"method": "magic"}',
        '{"kind": "toaster"}',
        '{"kind": "detector", "recipe": "rolmocr"}',
        '{"kind": "detector", "method": "lora"}',
        '{"epochs": 0}',
        '{"epochs": -1}',
        '{"epochs": NaN}',
        '{"epochs": 1e9}',
        '{"epochs": 1e400}',
        '{"epochs": "2"}',
        '{"epochs": true}',
        '{"colour": "red"}',
        "[]",
    ],
)
def test_an_unknown_recipe_or_setting_is_422(
    client: TestClient, admin: dict[str, str], launched: list[Run], body: str
) -> None:
    before = list(launched)
    headers = {**admin, "Content-Type": "application/json"}
    answer = client.post("/v1/training/runs", content=body, headers=headers)
    assert answer.status_code == 422, answer.text
    assert launched == before


def test_a_model_no_recipe_has_as_its_base_needs_one_named(tmp_path: Path) -> None:
    services = make_services(tmp_path, vlm="somebody/else")
    auth.add_user(services.db, "boss", PASSWORD, Role.ADMIN)
    headers = {"Authorization": f"Bearer {auth.sign_in(services.db, 'boss', PASSWORD).token}"}
    answer = TestClient(create_app(services)).post("/v1/training/runs", json={}, headers=headers)
    assert answer.status_code == 422
    assert "somebody/else" in answer.json()["error"]["message"]
    services.db.close()


@pytest.fixture
def registered(services: Services, tmp_path: Path) -> Callable[..., Adapter]:
    """Registers an adapter of the served base model that the gate lets through, or not."""

    def register(passed: bool, kind: AdapterKind = "vlm-adapter", answer: CheckAnswer | None = None) -> Adapter:
        folder = tmp_path / uuid.uuid4().hex
        folder.mkdir()
        (folder / registry.WEIGHTS[kind]).write_bytes(uuid.uuid4().bytes)
        (folder / "adapter_config.json").write_text(json.dumps({}))
        manifest = registry.new_manifest(
            id=uuid.uuid4().hex,
            kind=kind,
            base="fixed",
            base_sha256=base_sha256(services, kind),
            taxonomy_sha256=services.taxonomy.sha256,
            metrics=RunMetrics(),
            gate=Gate.of(
                [GateCheck(name="threat recall", answer=answer or ("passed" if passed else "refused"), detail="0.8")]
            ),
        )
        return registry.register(services.db, folder, manifest)

    return register


def active(client: TestClient, headers: dict[str, str]) -> list[str]:
    adapters = client.get("/v1/adapters", headers=headers).json()["items"]
    return [adapter["id"] for adapter in adapters if adapter["active"]]


def test_promote_and_roll_back(client: TestClient, admin: dict[str, str], registered: Callable[..., Adapter]) -> None:
    nothing = client.post("/v1/adapters/rollback", headers=admin)
    assert (nothing.status_code, nothing.json()) == (200, None)

    first, second = registered(True), registered(True)
    listed = client.get("/v1/adapters", headers=admin).json()["items"]
    assert [adapter["id"] for adapter in listed[:2]] == [second.id, first.id]
    for adapter in (first, second):
        answer = client.post(f"/v1/adapters/{adapter.id}/promote", headers=admin)
        assert answer.status_code == 200, answer.text
        assert answer.json()["active"] is True
    assert active(client, admin) == [second.id]
    back = client.post("/v1/adapters/rollback", json={"kind": "vlm-adapter"}, headers=admin)
    assert back.json()["id"] == first.id
    assert client.post("/v1/adapters/rollback", json={}, headers=admin).json() is None
    assert active(client, admin) == []
    assert client.post("/v1/adapters/rollback", json={"kind": "toaster"}, headers=admin).status_code == 422


def test_a_detector_is_promoted_and_rolled_back_apart_from_adapters(
    client: TestClient, admin: dict[str, str], registered: Callable[..., Adapter]
) -> None:
    adapter, detector = registered(True), registered(True, "detector")
    for one in (adapter, detector):
        answer = client.post(f"/v1/adapters/{one.id}/promote", headers=admin)
        assert answer.status_code == 200, answer.text
    assert answer.json()["kind"] == "detector"
    assert set(active(client, admin)) == {adapter.id, detector.id}
    assert client.post("/v1/adapters/rollback", json={"kind": "detector"}, headers=admin).json() is None
    assert active(client, admin) == [adapter.id]
    client.post("/v1/adapters/rollback", headers=admin)


def test_what_the_gate_refuses_needs_force_and_a_reason(
    client: TestClient, services: Services, admin: dict[str, str], registered: Callable[..., Adapter]
) -> None:
    refused = registered(False)
    path = f"/v1/adapters/{refused.id}/promote"
    answer = client.post(path, json={}, headers=admin)
    assert answer.status_code == 409
    assert answer.json()["error"]["details"]["checks"] == [
        {"name": "threat recall", "answer": "refused", "passed": False, "detail": "0.8"}
    ]
    for body in ({"force": True}, {"force": True, "reason": "  "}):
        assert client.post(path, json=body, headers=admin).status_code == 422
    assert active(client, admin) == []
    forced = client.post(path, json={"force": True, "reason": "a trial on lane 2"}, headers=admin)
    assert forced.status_code == 200
    with services.db.read() as session:
        audit = session.connection().exec_driver_sql("select who, details from audit_entries").all()
    assert any(who == "admin" and "a trial on lane 2" in details for who, details in audit)
    client.post("/v1/adapters/rollback", headers=admin)


def test_what_is_not_shown_yet_goes_on_trial_with_a_reason(
    client: TestClient, services: Services, admin: dict[str, str], registered: Callable[..., Adapter]
) -> None:
    undecided = registered(False, answer="not shown yet")
    path = f"/v1/adapters/{undecided.id}/promote"
    for body in ({}, {"force": True, "reason": "a week on lane 2"}):
        answer = client.post(path, json=body, headers=admin)
        assert answer.status_code == 409
        (check,) = answer.json()["error"]["details"]["checks"]
        assert check["answer"] == "not shown yet"
    for body in ({"trial": True}, {"trial": True, "reason": "  "}, {"trial": "yes", "reason": "a week"}):
        assert client.post(path, json=body, headers=admin).status_code == 422
    assert not on_trial(services)
    answer = client.post(path, json={"trial": True, "reason": "a week on lane 2"}, headers=admin)
    assert answer.status_code == 200
    assert (answer.json()["trial"], answer.json()["gate"]["answer"]) == (True, "not shown yet")
    assert on_trial(services)
    refused = client.post(
        f"/v1/adapters/{registered(False).id}/promote", json={"trial": True, "reason": "x"}, headers=admin
    )
    assert refused.status_code == 409, "a trial is no way round a refusal"
    client.post("/v1/adapters/rollback", headers=admin)
    assert not on_trial(services)


def test_runs_are_listed_newest_first(client: TestClient, services: Services, admin: dict[str, str]) -> None:
    made = [runs.create(services.db, "vlm-adapter", "bundled", "lora", None, "admin") for _ in range(3)]
    page: dict[str, Any] = client.get("/v1/training/runs", params={"limit": 2}, headers=admin).json()
    assert [run["id"] for run in page["items"]] == [made[2].id, made[1].id]
    rest = client.get("/v1/training/runs", params={"after": page["next"]}, headers=admin).json()
    assert rest["items"][0]["id"] == made[0].id
    assert datetime.fromisoformat(rest["items"][0]["created_at"]) < datetime.now(UTC)
