"""The files of assets/deploy name what there is. `tests.benchmarks.deployment` runs what they say."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient

from tests.api.conftest import make_services
from tests.benchmarks.deployment import DEPLOY, copied, laid_over, steps
from training.run import supervisor
from xray_app import learning
from xray_app.api.app import create_app
from xray_app.errors import Conflict
from xray_app.services import Services
from xray_app.settings import ROOT, Settings
from xray_app.store import runs
from xray_app.store.database import Database, only_server
from xray_app.types import Run, RunStatus

KNOWN = {f"XRAY_{name.upper()}" for name in Settings.model_fields}
FILES = sorted(one.name for one in DEPLOY.iterdir() if one.is_file())


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


def cloudera() -> dict[str, Any]:
    read = yaml.safe_load((ROOT / ".project-metadata.yaml").read_text())
    assert isinstance(read, dict)
    return read


def test_the_cloudera_project_has_what_the_platform_asks_for() -> None:
    project = cloudera()
    for key, most in {"name": 200, "description": 2048, "author": 64}.items():
        assert 0 < len(project[key]) <= most, key
    assert project["specification_version"] == 1.0
    assert project["prototype_version"]
    assert isinstance(project["date"], str), "quotation marks are required"
    assert date.fromisoformat(project["date"]).isoformat() == project["date"]
    (runtime,) = project["runtimes"]
    assert set(runtime) == {"editor", "kernel", "edition"}
    required = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert runtime["kernel"] == f"Python {required.removeprefix('>=')}"


def test_the_tasks_of_the_cloudera_project_fit_together() -> None:
    tasks = cloudera()["tasks"]
    assert [task["type"] for task in tasks] == ["run_session", "create_job", "start_application"]
    for task in tasks:
        script = ROOT / task["script"]
        assert script.parent == DEPLOY
        compile(script.read_text(), script, "exec")
        assert task["name"]
        assert task["kernel"] == "python3"
        assert task["cpu"] > 0
        assert task["memory"] > 0
    _, job, application = tasks
    assert re.fullmatch(r"[a-z0-9_-]+", job["entity_label"])
    assert re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", application["subdomain"])
    assert application["bypass_authentication"] is False, "REMOTE-USER would be whatever a stranger sends"
    assert {script.name for script in DEPLOY.glob("cloudera_*")} == {Path(task["script"]).name for task in tasks}


def test_the_desk_starts_with_the_cloudera_projects_own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = cloudera()["environment_variables"]
    assert set(variables) <= KNOWN
    monkeypatch.delenv("XRAY_PORT", raising=False)
    monkeypatch.setenv("CDSW_APP_PORT", "8100")
    for name, said in variables.items():
        assert said["description"]
        assert isinstance(said["default"], str), "YAML reads on as a truth"
        monkeypatch.setenv(name, said["default"])
    settings = Settings(_env_file=None)
    assert (settings.host, settings.port, settings.trust_remote_user) == ("127.0.0.1", 8100, True)
    assert settings.sqlalchemy_url.startswith("sqlite:")
    assert not settings.admin_password


def test_the_launcher_becomes_the_desk_where_no_script_has_a_file(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import os, sys; print(os.getpid(), sys.argv, os.environ['CDSW_APP_PORT'])")
    source = (DEPLOY / "cloudera_app.py").read_text()  # the platform hands its text to IPython
    process = subprocess.Popen(
        [sys.executable, "-c", source],
        cwd=tmp_path,
        env=os.environ | {"CDSW_APP_PORT": "8100"},
        stdout=subprocess.PIPE,
        text=True,
    )
    said, _ = process.communicate(timeout=120)
    assert said == f"{process.pid} ['app.py'] 8100\n", "one process: a signal to it is one to the desk"


def test_what_is_installed_is_what_the_desk_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", lambda command, check: called.append(command))
    runpy.run_path(str(DEPLOY / "cloudera_install.py"))
    assert called == [[sys.executable, "-m", "pip", "install", "-r", "requirements.txt", "psycopg[binary]>=3.2"]]
    assert (ROOT / "requirements.txt").is_file()


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[RunStatus], Run]:
    """The job over a desk whose runs end in this way as soon as they are launched."""
    train = runpy.run_path(str(DEPLOY / "cloudera_train.py"))["train"]
    settings = Settings(_env_file=None, data_dir=tmp_path)

    def run(ends: RunStatus) -> Run:
        def launch(db: Database, _: Settings, run: Run) -> None:
            supervisor.claim(db, run.id)
            runs.finish(db, run.id, ends, error="It did not go well." if ends == "failed" else None)

        def launch_another(db: Database, _: Settings, run: Run) -> None:
            supervisor.claim(db, run.id)
            threading.Timer(0.5, runs.finish, (db, run.id, "succeeded")).start()

        def wire(settings: Settings) -> Services:
            services = make_services(settings.data_dir)
            monkeypatch.setattr(supervisor, "launch", launch_another)
            return replace(services, launch=lambda run: launch(services.db, settings, run))

        monkeypatch.setitem(train.__globals__, "wire", wire)
        monkeypatch.setitem(train.__globals__, "POLL_SECONDS", 0.05)
        made: Run = train(settings)
        return made

    return run


def test_the_job_is_a_run_of_the_desk_and_ends_as_that_does(
    job: Callable[[RunStatus], Run], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(Conflict, match="can be trained on yet"):
        job("succeeded")
    monkeypatch.setattr(learning, "trainable", lambda *_: 1)
    run = job("succeeded")
    assert (run.kind, run.recipe, run.method, run.created_by) == ("vlm-adapter", "bundled", "lora", "admin")
    with pytest.raises(RuntimeError, match=r"failed\. It did not go well"):
        job("failed")
    with pytest.raises(RuntimeError, match="cancelled"):
        job("cancelled")
    with only_server(f"sqlite:///{tmp_path / 'xray.db'}", tmp_path), pytest.raises(Conflict, match="Another server"):
        job("succeeded")


def test_the_job_stays_while_a_run_that_it_launched_is_at_work(
    job: Callable[[RunStatus], Run], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The machine goes when the job ends, and with it the run that was queued behind its own."""
    monkeypatch.setattr(learning, "trainable", lambda *_: 1)
    db = Database.open(f"sqlite:///{tmp_path / 'xray.db'}", tmp_path)
    earlier = runs.create(db, "vlm-adapter", "bundled", "lora", None, "ann")
    job("succeeded")
    assert runs.get(db, earlier.id).status == "succeeded"
    db.close()
