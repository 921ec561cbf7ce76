"""The remote backend against a server nobody here wrote: `transformers serve` with the bundled model."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from typer import Typer
from typer.testing import CliRunner

from tests.vlm.started_server import started_server
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


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`openai:MODEL@BASE_URL` of a server that answers, stopped afterwards."""
    log = tmp_path_factory.mktemp("serve") / "log.txt"
    command = [
        *(sys.executable, "-m", "transformers.cli.transformers", "serve", str(BUNDLED_VLM)),
        *("--device", "cpu", "--dtype", "float32"),
    ]
    own = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HF_HOME": str(log.parent)}
    with started_server(command, own, log, START_SECONDS) as url:
        yield f"openai:{BUNDLED_VLM}@{url}"


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
