"""The desk while another server answers: analyses, what may be trained, what may be promoted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import ANSWER, PASSWORD, FixedDetector, make_services, png
from tests.api.test_learning import correct_one
from tests.tiny import picture
from tests.vlm.gated import Gated
from tests.vlm.scripted_server import Asked, Reply, Script, completion, serving
from training.promotion import registry
from xray_app import auth
from xray_app.adapter import Adapter, Gate
from xray_app.analysis import ActiveAdapter, Analyser
from xray_app.api.app import create_app
from xray_app.report import instruction
from xray_app.services import Services
from xray_app.store import adapters
from xray_app.types import Role, Run, RunMetrics
from xray_app.vlm.kept_answers import keep_answers
from xray_app.vlm.load import base_sha256, load_vlm
from xray_app.vlm.pictures import QWEN2_5_VL

KEY = "sk-secret-0123456789"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[Script]:
    def fine(asked: Asked) -> Reply:
        return Reply(200, completion(ANSWER) if asked.path.endswith("completions") else "Success")

    with serving(fine) as script:
        yield script


@dataclass
class Desk:
    client: TestClient
    headers: dict[str, str]
    services: Services
    launched: list[Run]

    def analyse(self) -> Any:
        return self.client.post("/v1/analyze", files={"file": ("bag.png", png())}, headers=self.headers)

    def post(self, path: str, **body: Any) -> Any:
        return self.client.post(path, json=body, headers=self.headers)


def open_desk(data_dir: Path, server: Script, name: str = "org/m", **settings: Any) -> Desk:
    """The wiring of app.py, over a model on `server`."""
    launched: list[Run] = []
    vlm = f"openai:{name}@{server.url}"
    made = make_services(data_dir, launched, vlm=vlm, vlm_api_key=KEY, vlm_timeout=2, **settings)
    model = load_vlm(made.settings, made.taxonomy)

    def active() -> ActiveAdapter | None:
        adapter = adapters.active(made.db, "vlm-adapter", model.weights_sha256)
        return ActiveAdapter(adapter.id, adapters.folder(made.db, adapter.id)) if adapter else None

    analyser = Analyser(model, FixedDetector(), made.rules, active)
    services = replace(made, analyser=analyser)
    auth.add_user(services.db, "boss", PASSWORD, Role.ADMIN)
    headers = {"Authorization": f"Bearer {auth.sign_in(services.db, 'boss', PASSWORD).token}"}
    return Desk(TestClient(create_app(services)), headers, services, launched)


def registered(desk: Desk, folder: Path, sha256: str, text: str = ANSWER) -> Adapter:
    """An adapter that passed the gate with this answer."""
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    (folder / "adapter_config.json").write_text(json.dumps({}))
    answers, pictures = keep_answers(Gated(text), [picture()], [instruction()])
    manifest = registry.new_manifest(
        id="a" * 32, kind="vlm-adapter", base="bundled", base_sha256=sha256, metrics=RunMetrics(),
        taxonomy_sha256=desk.services.taxonomy.sha256, gate=Gate.of([]), probe=answers,
    )  # fmt: skip
    return registry.register(desk.services.db, folder, manifest, pictures)


def test_an_analysis_by_another_server_is_like_any_other(tmp_path: Path, server: Script) -> None:
    desk = open_desk(tmp_path, server)
    assert desk.client.get("/health").json() == {"status": "ok"}
    analysis = desk.analyse().json()
    assert analysis["models"]["vlm"] == {"name": f"openai:org/m@{server.url}", "adapter": None, "validated": False}
    assert analysis["report"]["complete"] is True
    assert [(item["label"], item["confidence"]) for item in analysis["report"]["items"]] == [
        ("knife", None),
        ("plastic bottle", None),
    ]
    assert analysis["risk"]["level"] == "HIGH"


def test_a_server_that_fails_is_a_503_that_says_so_and_not_with_the_key(tmp_path: Path, server: Script) -> None:
    desk = open_desk(tmp_path, server)
    for reply, retry_after, words in (
        (Reply(401, f"bad {KEY}"), "5", "Check XRAY_VLM_API_KEY"),
        (Reply(429, headers={"Retry-After": "77"}), "77", "Try again in 77 seconds"),
        (Reply(200, "<html>"), "5", "not a chat completion"),
    ):
        server.replies = [reply]
        answer = desk.analyse()
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, retry_after)
        assert answer.json()["error"]["code"] == "model_unavailable"
        assert words in answer.json()["error"]["message"]
        assert KEY not in answer.text
    assert desk.client.get("/health").status_code == 200
    assert desk.client.get("/v1/analyses", headers=desk.headers).json()["items"] == []
    server.replies = [Reply(200, completion(ANSWER))]
    assert desk.analyse().status_code == 200
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes()


def test_the_boxes_of_a_remote_model_are_its_own_through_analysis_and_correction(tmp_path: Path) -> None:
    """RolmOCR writes pixels of the resized picture: of one of 64 × 48 that is 56 × 56."""
    text = '[{"bbox_2d": [28, 14, 56, 28], "label": "gun"}]'
    with serving([Reply(200, completion(text))]) as server:
        desk = open_desk(tmp_path, server, name="reducto/RolmOCR")
        analysis = desk.analyse().json()
        (box,) = [box for box in analysis["boxes"] if box["source"] == "vlm"]
        width, height = analysis["scan"]["width"], analysis["scan"]["height"]
        shown = QWEN2_5_VL.shown((width, height))
        scale = width / shown[0], height / shown[1]
        assert box["xyxy"] == pytest.approx([28 * scale[0], 14 * scale[1], 56 * scale[0], 28 * scale[1]])
        assert (box["id"], box["label"], box["threat"], analysis["risk"]["level"]) == ("v1", "gun", True, "HIGH")
        kept = {"id": "v1", "label": "gun", "xyxy": box["xyxy"]}
        saved = desk.post(
            f"/v1/analyses/{analysis['id']}/corrections", items=[{"label": "gun", "count": 1}], boxes=[kept]
        ).json()
    assert [one["source"] for one in saved["boxes"]] == ["vlm"]


def test_training_needs_a_recipe_named(tmp_path: Path, server: Script) -> None:
    desk = open_desk(tmp_path, server)
    correct_one(desk.client, desk.headers, "train")
    answer = desk.post("/v1/training/runs")
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "bad_recipe"
    assert "Name one as 'recipe': bundled, " in answer.json()["error"]["message"]
    assert desk.launched == []
    assert desk.post("/v1/training/runs", recipe="bundled").status_code == 202
    assert [run.recipe for run in desk.launched] == ["bundled"]


def test_the_recipe_of_the_base_a_vllm_server_serves_is_known(tmp_path: Path, server: Script) -> None:
    desk = open_desk(tmp_path, server, vlm_base="bundled")
    correct_one(desk.client, desk.headers, "train")
    assert desk.post("/v1/training/runs").json()["recipe"] == "bundled"


def test_an_adapter_no_server_was_told_of_is_not_promoted(tmp_path: Path, server: Script) -> None:
    desk = open_desk(tmp_path, server)
    adapter = registered(desk, tmp_path / "trained", base_sha256("bundled"))
    answer = desk.post(f"/v1/adapters/{adapter.id}/promote")
    assert answer.status_code == 409
    assert "XRAY_VLM_BASE" in answer.json()["error"]["message"]
    assert not adapters.get(desk.services.db, adapter.id).active
    assert server.asked == []


def test_promoting_tells_the_vllm_server_and_the_next_analysis_is_the_adapters(tmp_path: Path, server: Script) -> None:
    desk = open_desk(tmp_path, server, vlm_base="bundled")
    adapter = registered(desk, tmp_path / "trained", base_sha256("bundled"))
    fine, server.replies = server.replies, [Reply(500, "CUDA out of memory")]
    answer = desk.post(f"/v1/adapters/{adapter.id}/promote")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bad_model")
    assert "CUDA out of memory" in answer.json()["error"]["message"]
    assert not adapters.get(desk.services.db, adapter.id).active

    server.replies = fine
    assert desk.analyse().json()["models"]["vlm"]["adapter"] is None
    assert desk.post(f"/v1/adapters/{adapter.id}/promote").json()["active"] is True
    told = [asked for asked in server.asked if asked.path == "/v1/load_lora_adapter"][-1]
    assert Path(told.body["lora_path"]) == adapters.folder(desk.services.db, adapter.id)
    assert desk.analyse().json()["models"]["vlm"]["adapter"] == adapter.id
    assert server.asked[-1].body["model"] == told.body["lora_name"]
    assert desk.post("/v1/adapters/rollback").json() is None
    assert desk.analyse().json()["models"]["vlm"]["adapter"] is None
    assert server.asked[-1].body["model"] == "org/m"


def test_a_server_that_answers_otherwise_than_the_gate_heard_is_not_promoted_to(tmp_path: Path, server: Script) -> None:
    desk = open_desk(tmp_path, server, vlm_base="bundled")
    clear = "Items detected: none. Security risk: LOW - no threats detected."
    adapter = registered(desk, tmp_path / "trained", base_sha256("bundled"), clear)
    for body in ({}, {"force": True, "reason": "we know better"}):
        answer = desk.post(f"/v1/adapters/{adapter.id}/promote", **body)
        assert answer.status_code == 409
        assert "1 of 1 scans are answered otherwise" in answer.json()["error"]["message"]
        assert "--max-lora-rank" in answer.json()["error"]["message"]
        assert len(answer.json()["error"]["details"]["differences"]) == 1
        assert not adapters.get(desk.services.db, adapter.id).active
