"""The remote backend against a server nobody here wrote: `transformers serve` with the bundled model."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image
from typer import Typer
from typer.testing import CliRunner

from training.__main__ import app as training_commands
from xray_app.__main__ import app as desk_commands
from xray_app.errors import ModelUnavailable
from xray_app.report import instruction
from xray_app.settings import ASSETS, BUNDLED_VLM, Settings
from xray_app.simulate.dataset import write_dataset
from xray_app.taxonomy import Taxonomy, load_taxonomy
from xray_app.types import Analysis
from xray_app.vlm.load import load_local, load_vlm

START_SECONDS = 240
SAMPLES = sorted((ASSETS / "samples").glob("*.jpg"))


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`openai:MODEL@BASE_URL` of a server that answers, stopped afterwards."""
    port = free_port()
    log = tmp_path_factory.mktemp("serve") / "log.txt"
    command = [
        *(sys.executable, "-m", "transformers.cli.transformers", "serve", str(BUNDLED_VLM)),
        *("--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"),
    ]
    with log.open("wb") as out:
        server = subprocess.Popen(
            command,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HF_HOME": str(log.parent)},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        await_health(server, port, log)
        yield f"openai:{BUNDLED_VLM}@http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def await_health(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.5)
    pytest.fail(f"transformers serve did not start: {log.read_text()[-2000:]}")


def settings(vlm: str, data_dir: Path) -> Settings:
    return Settings(_env_file=None, vlm=vlm, data_dir=data_dir)


@pytest.mark.slow
def test_the_remote_model_says_what_the_same_model_says_here(address: str, tmp_path: Path) -> None:
    images = [Image.open(path).convert("RGB") for path in SAMPLES[:4]]
    asked = [instruction()] * len(images)
    remote = load_vlm(settings(address, tmp_path), load_taxonomy()).answer(images, asked)
    local = load_local("bundled", "fp32").answer(images, asked)
    assert [(one.text, one.finished) for one in remote] == [(one.text, one.finished) for one in local]
    assert all(one.text.startswith("Items detected: ") for one in remote)
    assert [one.spans for one in remote] == [()] * len(images)  # this server gives no probabilities


@pytest.mark.slow
def test_a_model_the_server_does_not_serve_is_an_error_that_names_its_reason(address: str, tmp_path: Path) -> None:
    other = load_vlm(settings(address.replace(str(BUNDLED_VLM), "gpt-4o"), tmp_path), load_taxonomy())
    with pytest.raises(ModelUnavailable, match="Server is pinned to"):
        other.answer([Image.new("RGB", (64, 64))], [instruction()])


@pytest.mark.slow
def test_analyze_and_evaluate_work_with_it(
    address: str, tmp_path: Path, taxonomy: Taxonomy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XRAY_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("XRAY_VLM", address)

    def run(app: Typer, *arguments: str) -> str:
        done = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    analysis = Analysis.model_validate_json(run(desk_commands, "analyze", str(SAMPLES[0])))
    assert analysis.models.vlm.name == address
    assert analysis.report.complete
    assert analysis.report.items
    assert all(item.confidence is None for item in analysis.report.items)

    scans, samples, out = (str(tmp_path / name) for name in ("scans", "samples", "report.json"))
    write_dataset(Path(scans), 3, 5, taxonomy, 0.5, (1, 3), workers=1)
    run(training_commands, "prepare", "--yolo", scans, "--out", samples, "--val", "0.9")
    run(training_commands, "evaluate", "--data", samples, "--vlm", address, "--detector", "none", "--out", out)
    report = json.loads(Path(out).read_text())
    assert report["models"]["vlm"]["name"] == address
    assert report["n"] > 0
    assert report["vlm"]["item_f1"] is not None
