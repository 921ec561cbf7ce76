"""A data folder of the desk as it was before its rooms were renamed (commit 87acc3e) opens in today's desk.

The folder holds simulated bags alone. Ids and words below are what that desk answered when the folder was made.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from training.data.samples import from_corrections
from training.promotion.registry import read_manifest
from xray_app.api.app import create_app
from xray_app.correction.revision import split_of
from xray_app.services import Services
from xray_app.settings import Settings
from xray_app.store import adapters, analyses, drafts, queue, search
from xray_app.store.standing import held_out_scans
from xray_app.wiring import wire

FOLDER = Path(__file__).with_name("fixtures") / "before_rooms.tar.gz"
PASSWORDS = {"admin": "an admin's password", "ana": "an analyst's password", "nora": "an annotator's password"}
ADAPTER = "3218e106b4004a0bb9e57592792c7245"
RUN = "5060adadac2044dd81294812400c6eeb"
ACCEPTED, HELD_OUT, PENDING, REJECTED = (
    "8157ddfb1275450eba103df022d7d9a9", "42ea877d1506410a9cc39540d128cf92",
    "9969dc4e08514c50841aaed6cf72c679", "6147b436447249fd955bb574526180ee",
)  # fmt: skip
TOP, SIDE = "3469f01b2edc48c7a37d95cb84f556e6", "8690448d812640cd8f2873082ca32703"
WITH_ADAPTER = "675872f82ca840b8a38bfbfe62c5c9d6"
ANSWERED_TEST_IMAGE = "a33fa4cab19b406e88a7d2b1916b8929"

Headers = Callable[[str], dict[str, str]]


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(FOLDER) as packed:
        packed.extractall(folder, filter="data")
    services = wire(Settings(_env_file=None, data_dir=folder / "before_rooms"))
    yield services
    services.db.close()


@pytest.fixture(scope="module")
def client(services: Services) -> Iterator[TestClient]:
    with TestClient(create_app(services)) as client:
        yield client


@pytest.fixture(scope="module")
def signed_in(client: TestClient) -> Headers:
    """Headers of a user who signs in with the password they had."""

    def headers(username: str) -> dict[str, str]:
        answer = client.post("/v1/login", json={"username": username, "password": PASSWORDS[username]})
        assert answer.status_code == 200, answer.text
        return {"Authorization": f"Bearer {answer.json()['token']}"}

    return headers


@pytest.mark.parametrize(("username", "role"), [("admin", "admin"), ("ana", "analyst"), ("nora", "annotator")])
def test_everybody_signs_in_with_their_password_and_role(client: TestClient, username: str, role: str) -> None:
    answer = client.post("/v1/login", json={"username": username, "password": PASSWORDS[username]})
    assert (answer.status_code, answer.json()["role"]) == (200, role)
    wrong = client.post("/v1/login", json={"username": username, "password": "another password"})
    assert wrong.status_code == 401


def test_bags_keep_their_names_views_risks_and_pictures(client: TestClient, signed_in: Headers) -> None:
    ana = signed_in("ana")
    bag = client.get("/v1/bags/two-views", headers=ana).json()
    assert [(one["id"], one["scan"]["view"]) for one in bag["analyses"]] == [(TOP, "top"), (SIDE, "side")]
    assert bag["risk"] == {
        "level": "HIGH", "reason": "gun detected (VLM 0.99, detector 0.43)", "action": "SEARCH", "policy": "airport",
    }  # fmt: skip
    for analysis_id, bag_id, level in ((PENDING, "pending-2", "LOW"), (REJECTED, "rejected-1", "HIGH")):
        analysis = client.get(f"/v1/analyses/{analysis_id}", headers=ana).json()
        assert (analysis["scan"]["bag_id"], analysis["risk"]["level"]) == (bag_id, level)
        picture = client.get(f"/v1/scans/{analysis['scan']['id']}/image", headers=ana)
        assert (picture.status_code, picture.headers["content-type"]) == (200, "image/jpeg")
        assert client.get(f"/v1/scans/{analysis['scan']['id']}/thumbnail", headers=ana).status_code == 200


@pytest.mark.parametrize(
    ("analysis_id", "status", "split", "items"),
    [
        (ACCEPTED, "accepted", "train", {"gun": 1, "slingshot": 1, "carton drink": 1, "phone": 1}),
        (HELD_OUT, "accepted", "holdout", {"saw": 1}),
        (PENDING, "pending", "train", {"tablet": 1}),
        (REJECTED, "rejected", "train", {"scissors": 1, "loose battery": 1, "nail polish": 2}),
    ],
)
def test_corrections_keep_their_status_and_side(
    client: TestClient, signed_in: Headers, analysis_id: str, status: str, split: str, items: dict[str, int]
) -> None:
    answer = client.get(f"/v1/analyses/{analysis_id}/corrections", headers=signed_in("ana")).json()
    (correction,) = answer["items"]
    assert (correction["status"], correction["split"], correction["author"]) == (status, split, "ana")
    assert {item["label"]: item["count"] for item in correction["items"]} == items


def test_the_hold_out_holds_the_same_bags(services: Services) -> None:
    sides = {"accepted-1": "train", "held-out-1": "holdout", "pending-2": "train", "rejected-1": "train"}
    assert {bag: split_of(bag) for bag in sides} == sides
    assert held_out_scans(services.db) == {"97672f8d3c7e09536262d8c9e26a0c541ef6d3fa89d8db9fbe41c74a15dce153"}
    by_split = from_corrections(services.db, services.taxonomy)
    assert {split: [sample.bag_id for sample in samples] for split, samples in by_split.items()} == {
        "train": ["accepted-1"],
        "holdout": ["held-out-1"],
    }


def test_decisions_and_what_the_hand_search_found_are_on_the_report(client: TestClient, signed_in: Headers) -> None:
    page = client.get(f"/v1/analyses/{ACCEPTED}/report", headers=signed_in("ana")).text
    assert "look under the laptop" in page
    assert "found by hand" in page
    cleared = client.get(f"/v1/analyses/{TOP}/report", headers=signed_in("ana")).text
    assert "a toy, seen in hand" in cleared


def test_the_draft_the_filter_and_the_queue_are_as_they_were_left(services: Services) -> None:
    draft = drafts.get(services.db, SIDE, "nora")
    assert draft is not None
    assert draft.comment == "draft: is this one longer than 6 cm?"
    assert [(item.label, item.count) for item in draft.items] == [("saw", 1)]
    (kept,) = search.saved(services.db, "ana").items()
    assert (kept[0], kept[1].risk, kept[1].scanner) == ("high on line 1", "HIGH", "line 1")
    waiting = [entry.analysis_id for entry in queue.page(services.db)[0]]
    old = {REJECTED, WITH_ADAPTER, TOP, SIDE, ACCEPTED, HELD_OUT, PENDING}
    assert [one for one in waiting if one in old] == [REJECTED, WITH_ADAPTER, TOP, SIDE]
    assert queue.get(services.db, TOP).skipped == ("nora: I cannot tell what it is",)
    assert queue.get(services.db, SIDE).claimed_by is None, "nora's claim has run out"


def test_a_test_image_that_was_answered_still_is(client: TestClient, signed_in: Headers) -> None:
    path = f"/v1/analyses/{ANSWERED_TEST_IMAGE}/decision"
    again = client.post(path, json={"decision": "CLEAR"}, headers=signed_in("ana"))
    assert again.status_code == 409
    assert "test image" in again.json()["error"]["message"]


def test_the_run_is_listed_with_its_figures(client: TestClient, signed_in: Headers, services: Services) -> None:
    (run,) = client.get("/v1/training/runs", headers=signed_in("admin")).json()["items"]
    assert (run["id"], run["status"], run["adapter_id"]) == (RUN, "succeeded", ADAPTER)
    assert run["samples"] == {"train": 1, "holdout": 1, "replay": 4}
    assert run["metrics"]["candidate"]["simulated"]["item_f1"] == pytest.approx(0.886, abs=1e-3)
    assert (services.db.data_dir / "runs" / RUN / "log.txt").is_file()


def test_the_adapter_is_promoted_and_its_folder_whole(
    client: TestClient, signed_in: Headers, services: Services
) -> None:
    (adapter,) = client.get("/v1/adapters", headers=signed_in("admin")).json()["items"]
    assert (adapter["id"], adapter["active"], adapter["run_id"]) == (ADAPTER, True, RUN)
    assert {check["name"]: check["passed"] for check in adapter["gate"]["checks"]}["simulated: threat recall"]
    folder = adapters.folder(services.db, ADAPTER)
    assert folder.parent == services.db.data_dir / "adapters"
    manifest = read_manifest(folder)
    assert (manifest.id, manifest.kind) == (ADAPTER, "vlm-adapter")
    assert all((folder / name).is_file() for name in manifest.files)


def test_the_adapter_loads_and_answers_as_it_did(client: TestClient, signed_in: Headers, services: Services) -> None:
    before = analyses.get(services.db, WITH_ADAPTER)
    ana: dict[str, Any] = {"headers": signed_in("ana")}
    picture = client.get(f"/v1/scans/{before.scan.id}/image", **ana).content
    files = {"file": (before.scan.filename, picture, "image/jpeg")}
    now = client.post("/v1/analyze", files=files, data={"bag_id": "with-adapter"}, **ana).json()
    assert now["models"]["vlm"]["adapter"] == before.models.vlm.adapter == ADAPTER
    assert now["report"]["text"] == before.report.text
    confidence = {item.label: item.confidence for item in before.report.items}
    assert {item["label"]: item["confidence"] for item in now["report"]["items"]} == pytest.approx(confidence, abs=0.01)
    assert confidence["loose battery"] == pytest.approx(0.39, abs=0.01), "which the base model does not name"
