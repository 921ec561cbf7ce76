"""The files of assets/deploy name what there is. `tests.benchmarks.deployment` runs what they say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient

from tests.api.conftest import make_services
from tests.benchmarks.deployment import DEPLOY, copied, laid_over, steps
from xray_app.api.app import create_app
from xray_app.settings import ROOT, Settings

KNOWN = {f"XRAY_{name.upper()}" for name in Settings.model_fields}
FILES = sorted(one.name for one in DEPLOY.iterdir())


def kubernetes() -> dict[str, Any]:
    return {one["kind"]: one for one in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())}


def container() -> dict[str, Any]:
    (only,) = kubernetes()["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert isinstance(only, dict)
    return only


@pytest.mark.parametrize("name", FILES)
def test_every_setting_named_is_one(name: str) -> None:
    named = set(re.findall(r"\bXRAY_[A-Z_]+", (DEPLOY / name).read_text()))
    assert named <= KNOWN


@pytest.mark.parametrize("name", FILES)
def test_no_file_holds_a_password(name: str) -> None:
    for line in (DEPLOY / name).read_text().splitlines():
        if re.search(r"PASSWORD|password", line) and not line.lstrip().startswith("#"):
            assert re.search(r"\$\{|secretKeyRef|name: XRAY_ADMIN_PASSWORD", line), line


def test_the_probes_ask_for_addresses_that_there_are_and_the_right_ones(tmp_path: Path) -> None:
    probes = {kind: container()[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    assert probes == {"startup": "/health", "liveness": "/health", "readiness": "/ready"}
    with TestClient(create_app(make_services(tmp_path))) as client:
        assert {client.get(path).status_code for path in probes.values()} == {200}
    assert "/health" in (DEPLOY / "Dockerfile").read_text()


def test_the_parts_of_the_manifest_fit_together() -> None:
    parts = kubernetes()
    (port,) = container()["ports"]
    assert port["containerPort"] == Settings.model_fields["port"].default
    assert parts["Service"]["spec"]["ports"][0]["targetPort"] == port["name"]
    labels = parts["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert parts["Service"]["spec"]["selector"] == labels == parts["Deployment"]["spec"]["selector"]["matchLabels"]
    spec = parts["Deployment"]["spec"]["template"]["spec"]
    claims = [one["persistentVolumeClaim"]["claimName"] for one in spec["volumes"] if "persistentVolumeClaim" in one]
    assert claims == [parts["PersistentVolumeClaim"]["metadata"]["name"]]
    mounted = {one["mountPath"] for one in container()["volumeMounts"]}
    assert mounted == {"/data", "/tmp"}, "all else is read-only"  # noqa: S108  # of the container
    assert parts["Deployment"]["spec"]["strategy"]["type"] == "Recreate", "one server a data folder"


def test_the_gpus_patch_keeps_all_else() -> None:
    deployment = kubernetes()["Deployment"]
    merged = laid_over(deployment, yaml.safe_load((DEPLOY / "kubernetes-gpu.yaml").read_text()))
    (only,) = merged["spec"]["template"]["spec"]["containers"]
    assert only["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert [one["name"] for one in only["env"]] == [*(one["name"] for one in container()["env"]), "XRAY_VLM"]
    assert only["readinessProbe"] == container()["readinessProbe"]
    assert merged["spec"]["selector"] == deployment["spec"]["selector"]


def test_the_image_runs_as_nobody_special_and_writes_where_the_desk_does() -> None:
    said = list(steps((DEPLOY / "Dockerfile").read_text()))
    environment = dict(one.partition("=")[::2] for word, rest in said if word == "ENV" for one in rest.split())
    assert environment["XRAY_DATA_DIR"] == environment["HOME"] == "/data"
    (user,) = (rest for word, rest in said if word == "USER")
    number, _, group = user.partition(":")
    assert int(number) > 0
    assert group == "0"
    assert [rest for word, rest in said if word == "CMD"] == ['["python", "app.py"]']


def test_the_image_holds_what_the_desk_needs_and_no_more(tmp_path: Path) -> None:
    copied(["."], tmp_path)
    for needed in (
        "app.py",
        "requirements.txt",
        "constraints.txt",
        "assets/taxonomy.yaml",
        "assets/models",
        "training/data",
    ):
        assert (tmp_path / needed).exists()
    assert not any((tmp_path / other).exists() for other in ("tests", ".git", "data", "assets/deploy"))
    assert not list(tmp_path.rglob("node_modules"))
    assert (tmp_path / "xray_app/ui/browser/keys.js").is_file()
    assert ROOT.joinpath("app.py").read_bytes() == (tmp_path / "app.py").read_bytes()
