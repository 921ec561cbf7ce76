"""`report_to`: a training's figures go to TensorBoard or MLflow, or it says beforehand why they cannot."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.tiny import picture, taxonomy
from training.data.samples import Sample, write_jsonl
from training.plan import rehearsal
from training.recipes import recipe as recipes
from training.recipes.recipe import Recipe, check_reporter, desk_recipe, load_recipe
from training.vlm import finetune as finetuning
from training.vlm.finetune import finetune
from xray_app.errors import BadRecipe
from xray_app.report import format_report, instruction
from xray_app.settings import Settings

QUICK = {"batch": 4, "epochs": 1, "turns": False, "lora_rank": 4, "lora_dropout": 0.0}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    samples = []
    for index in range(8):
        file = tmp_path / f"{index}.png"
        picture(25 * index, (56, 56)).save(file)
        words = format_report({("knife", "laptop")[index % 2]: 1}, taxonomy())
        facts = {"width": 56, "height": 56, "boxes": (), "labelled_classes": None, "bag_id": f"bag{index}"}
        samples.append(Sample(image=file, instruction=instruction(), response=words, **facts))
    write_jsonl(samples, tmp_path / "train.jsonl")
    return tmp_path


def quick(report_to: str) -> Recipe:
    return load_recipe("bundled").model_copy(update={**QUICK, "report_to": report_to})


def trained(data: Path, base: Path, report_to: str) -> list[float]:
    """Trains and returns the losses, as the run itself keeps them."""
    seen: list[float] = []

    def keep(_: float, figures: dict[str, float]) -> bool:
        if "loss" in figures:
            seen.append(figures["loss"])
        return False

    finetune(data, quick(report_to), "lora", data / "out", base=str(base), on_progress=keep)
    assert seen
    return seen


def test_nothing_is_reported_unless_it_is_asked_for() -> None:
    assert all(load_recipe(name).report_to == "none" for name in recipes.available())
    assert Settings(_env_file=None).report_to == "none"


@pytest.mark.parametrize("word", ["all", "wandb", "TensorBoard", "", "[tensorboard]"])
def test_only_what_is_known_can_be_asked_for(word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.yaml").write_text(f"base: bundled\nreport_to: {word}\n")
    with pytest.raises(BadRecipe, match="report_to"):
        load_recipe(str(tmp_path / "mine.yaml"))
    monkeypatch.setenv("XRAY_REPORT_TO", word)
    with pytest.raises(ValueError, match="report_to"):
        Settings(_env_file=None)


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_a_package_that_is_missing_is_said_before_anything_begins(
    name: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes, "find_spec", lambda _: None)
    with pytest.raises(BadRecipe, match=f"pip install {name}"):
        finetune(data, quick(name), "lora", data / "out", base="/no/such/base")
    assert not (data / "out").exists()
    with pytest.raises(BadRecipe, match="XRAY_REPORT_TO"):
        desk_recipe("bundled", name)  # type: ignore[arg-type]
    assert desk_recipe("bundled", "none") == load_recipe("bundled")


def test_either_package_of_tensorboard_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "find_spec", lambda name: name == "tensorboardX" or None)
    check_reporter(quick("tensorboard"))


def test_the_desks_setting_reaches_its_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "find_spec", lambda _: object())
    assert desk_recipe("bundled", "mlflow").report_to == "mlflow"
    assert Settings(_env_file=None, report_to="mlflow").as_environment()["XRAY_REPORT_TO"] == "mlflow"


def test_what_is_reported_is_no_part_of_what_is_trained(
    data: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that was cut off resumes whatever `report_to` says now."""
    inputs: list[Any] = []

    def noted(_: Path, __: bool, given: list[Any]) -> None:
        inputs.append(given)
        raise InterruptedError

    monkeypatch.setattr(finetuning, "newest_checkpoint", noted)
    monkeypatch.setattr(recipes, "find_spec", lambda _: object())
    for word in ("none", "tensorboard"):
        with pytest.raises(InterruptedError):
            finetune(data, quick(word), "lora", data / "out", base=str(base))
    assert inputs[0] == inputs[1]
    assert "report_to" not in json.dumps(inputs)


def test_a_rehearsal_reports_to_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def started(command: list[str], **_: Any) -> Any:
        asked.append(command[3])
        raise InterruptedError

    monkeypatch.setattr(rehearsal.subprocess, "run", started)
    with pytest.raises(InterruptedError):
        rehearsal.follow(tmp_path, quick("mlflow"), "lora", tmp_path, 1.0)
    assert json.loads(asked[0])[1]["report_to"] == "none"


def test_figures_are_handed_to_the_library(data: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where TensorBoard is not installed: by transformers' own callback, into the folder of the environment."""
    told: dict[str, list[float]] = {}
    folders: list[str] = []

    class Writer:
        def __init__(self, log_dir: str) -> None:
            folders.append(log_dir)

        def add_scalar(self, name: str, value: float, step: int) -> None:
            told.setdefault(name, []).append(value)

        def __getattr__(self, _: str) -> Any:
            return lambda *_: None

    package, seam = ModuleType("tensorboard"), ModuleType("torch.utils.tensorboard")
    package.__spec__ = ModuleSpec("tensorboard", None)
    seam.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorboard", package)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", seam)
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(data / "curves"))
    losses = trained(data, base, "tensorboard")
    assert told["train/loss"] == pytest.approx(losses)
    assert folders == [str(data / "curves")]


def test_figures_are_in_tensorboards_files(data: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(data / "curves"))
    losses = trained(data, base, "tensorboard")
    found = EventAccumulator(str(data / "curves"))
    found.Reload()
    assert [one.value for one in found.Scalars("train/loss")] == pytest.approx(losses, rel=1e-5)


class _Tracking(BaseHTTPRequestHandler):
    """As much of an MLflow server as a training asks of it."""

    def do_GET(self) -> None:
        self._answer({"experiment": {"experiment_id": "0", "name": "Default", "lifecycle_stage": "active"}})

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.sent.append((self.path, sent))  # type: ignore[attr-defined]
        info = {"run_id": "r1", "run_uuid": "r1", "experiment_id": "0", "status": "RUNNING", "user_id": "x"}
        info |= {"artifact_uri": "file:///tmp/none", "lifecycle_stage": "active", "start_time": 0}
        self._answer({"run": {"info": info, "data": {}}, "run_info": info})

    def _answer(self, facts: dict[str, Any]) -> None:
        body = json.dumps(facts).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def tracking() -> Iterator[Any]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Tracking) as server:
        server.sent = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join(20)


def test_figures_are_sent_to_an_mlflow_server(
    data: Path, base: Path, tracking: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{tracking.server_port}")
    losses = trained(data, base, "mlflow")
    told = [
        metric["value"]
        for path, sent in tracking.sent
        if path.endswith("/runs/log-batch")
        for metric in sent.get("metrics", ())
        if metric["key"] == "loss"
    ]
    assert told == pytest.approx(losses)
    ends = [sent["status"] for path, sent in tracking.sent if path.endswith("/runs/update") and "status" in sent]
    assert ends == ["FINISHED"]
