"""A run from snapshot to registered adapter, on a tiny random model; and every way it can end otherwise."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from tests.conftest import MakeAnalysis
from tests.tiny import save_tiny_vlm
from tests.training.data.test_samples import correct
from training.__main__ import app
from training.commands import train
from training.data.samples import read_jsonl
from training.promotion import examination
from training.promotion import holdout as held
from training.promotion.registry import promote, read_manifest
from training.recipes.recipe import load_recipe
from training.run import pipeline
from training.run import supervisor as life
from training.vlm.finetune import add_lora
from xray_app import settings as settings_module
from xray_app.correction.revision import split_of
from xray_app.errors import Stopped
from xray_app.settings import ROOT, Settings
from xray_app.site_classes import new_class
from xray_app.store import adapters, holdout_figures, runs, site_taxonomy
from xray_app.store.database import Database
from xray_app.taxonomy import Taxonomy
from xray_app.types import Run
from xray_app.vlm import load as vlm_load
from xray_app.vlm.kept_answers import KEPT, difference, open_kept_scan, read_kept_answers
from xray_app.vlm.local import LocalVlm
from xray_app.vlm.weights import weights_hash


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_vlm(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the small simulated hold-out of all these tests is written once."""
    return tmp_path_factory.mktemp("holdout")


@pytest.fixture(scope="session")
def untrained(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter fresh from the recipe: it loads, and answers exactly like its base."""
    folder = tmp_path_factory.mktemp("untrained")
    add_lora(LocalVlm.load(str(tiny)).model, load_recipe("bundled"), "lora").save_pretrained(folder)
    return folder


@pytest.fixture
def settings(db: Database, tiny: Path, bags: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A desk whose bundled model is the tiny one, with four simulated bags and short answers."""
    simulated = held.simulated_holdout
    monkeypatch.setattr(examination, "simulated_holdout", lambda _, taxonomy, *__, **___: simulated(bags, taxonomy, 4))
    monkeypatch.setattr(settings_module, "BUNDLED_VLM", tiny)
    monkeypatch.setattr(vlm_load, "BUNDLED_VLM", tiny)
    load = LocalVlm.load.__func__  # type: ignore[attr-defined]

    def terse(cls: type[LocalVlm], *arguments: object, **options: object) -> LocalVlm:
        return load(cls, *arguments, **{**options, "max_new_tokens": 4})  # type: ignore[no-any-return]

    monkeypatch.setattr(LocalVlm, "load", classmethod(terse))
    quick = load_recipe("bundled").model_copy(update={"epochs": 1, "batch": 2, "replay": 0.0, "replay_minimum": 2})
    monkeypatch.setattr(pipeline, "desk_recipe", lambda *_: quick)
    return Settings(data_dir=db.data_dir, database_url=str(db.engine.url), _env_file=None)  # type: ignore[call-arg]


@pytest.fixture
def corrected(db: Database, stored: MakeAnalysis, taxonomy: Taxonomy) -> None:
    for number in range(6):
        analysis = stored(shade=number, bag_id=f"bag {number}")
        correct(db, taxonomy, analysis.id, {"knife": 1})


def queue(db: Database, **changes: str) -> Run:
    return runs.create(db, "vlm-adapter", "bundled", changes.get("method", "lora"), None, "root")  # type: ignore[arg-type]


@pytest.mark.usefixtures("corrected")
def test_a_run_ends_with_a_registered_gated_adapter(
    db: Database, settings: Settings, tiny: Path, taxonomy: Taxonomy
) -> None:
    run = queue(db)
    assert pipeline.run_pipeline(db, settings, run.id) == 0
    done = runs.get(db, run.id)
    assert (done.status, done.error, done.progress) == ("succeeded", None, 1.0)
    assert done.samples.train + done.samples.holdout == 6
    assert done.samples.replay == 2
    assert done.metrics.active is not None
    assert done.metrics.candidate is not None
    assert done.metrics.candidate.simulated.n == 4
    assert done.metrics.candidate.site.n == done.samples.holdout
    assert done.adapter_id is not None
    adapter = adapters.get(db, done.adapter_id)
    assert not adapter.active
    assert adapter.run_id == run.id
    assert {"loads", "answers differ", "simulated: threat recall", "site evidence"} <= {
        check.name for check in adapter.gate.checks
    }
    assert {check.name: check.passed for check in adapter.gate.checks}["answers differ"]
    folder = adapters.folder(db, adapter.id)
    kept = read_kept_answers(folder)
    assert len(kept) == min(KEPT, 4 + min(done.samples.holdout, KEPT // 2))
    repeated = LocalVlm.load(str(tiny))
    repeated.use_adapter(folder)
    asked = [(open_kept_scan(folder, one), one.instruction) for one in kept]
    answers = repeated.answer([image for image, _ in asked], [words for _, words in asked])
    assert [difference(one, answer) for one, answer in zip(kept, answers, strict=True)] == [None] * len(kept)
    assert all(len(one.tokens) == len(answer.leads) for one, answer in zip(kept, answers, strict=True))
    manifest = read_manifest(folder)
    assert manifest.method == "lora"
    assert manifest.recipe is not None
    assert manifest.snapshot_sha256 is not None
    assert manifest.taxonomy_sha256 == taxonomy.sha256
    assert not (life.run_folder(settings, run.id) / "checkpoints").exists()
    curve = life.progress(settings, run.id)
    assert curve
    assert {"step", "loss", "seconds"} <= set(curve[0])
    # The adapter is a plain PEFT folder that the desk's own loader takes.
    vlm = LocalVlm.load(str(tiny))
    vlm.use_adapter(folder)
    # Promoted, it is the active model of the next run, and its figures are kept from this one.
    promote(db, adapter.id, "root", force=True, trial=True, reason="a random model cannot pass")
    key = f"{vlm.weights_sha256}:auto:{adapter.id}"
    assert holdout_figures.get(db, manifest.holdouts["simulated"], key) is not None


@pytest.mark.usefixtures("corrected")
def test_figures_of_the_active_model_are_measured_once(
    db: Database, settings: Settings, untrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []
    evaluate = held.evaluate_vlm

    def counting(vlm, samples, *rest):  # type: ignore[no-untyped-def]
        measured.append(len(samples))
        return evaluate(vlm, samples, *rest)

    monkeypatch.setattr(held, "evaluate_vlm", counting)
    monkeypatch.setattr(pipeline, "finetune", lambda *_, **__: copy_of(untrained, db))
    for _ in range(2):
        assert pipeline.run_pipeline(db, settings, queue(db).id) == 0
    site = runs.page(db)[0][0].samples.holdout
    # The base model on both hold-outs, then each candidate; an empty half costs nothing either way.
    assert [n for n in measured if n] == [n for n in (4, site) * 3 if n]


@pytest.mark.usefixtures("corrected")
def test_an_adapter_without_effect_is_registered_and_refused(
    db: Database, settings: Settings, untrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "finetune", lambda *_, **__: copy_of(untrained, db))
    run = queue(db)
    assert pipeline.run_pipeline(db, settings, run.id) == 0
    gate = adapters.get(db, str(runs.get(db, run.id).adapter_id)).gate
    assert [check.name for check in gate.checks if check.answer == "refused"] == ["answers differ"]


@pytest.mark.usefixtures("corrected")
def test_a_desk_another_server_answers_for_trains_the_recipes_base_here(
    db: Database, settings: Settings, tiny: Path, untrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "finetune", lambda *_, **__: copy_of(untrained, db))
    remote = settings.model_copy(update={"vlm": "openai:org/m@http://127.0.0.1:1/v1"})
    run = queue(db)
    assert pipeline.run_pipeline(db, remote, run.id) == 0, runs.get(db, run.id).error
    adapter = adapters.get(db, str(runs.get(db, run.id).adapter_id))
    assert (adapter.base, adapter.base_sha256) == ("bundled", weights_hash(tiny))


def copy_of(folder: Path, db: Database) -> Path:
    return Path(shutil.copytree(folder, db.data_dir / "trained", dirs_exist_ok=True))


def test_without_a_correction_a_run_fails_and_says_why(db: Database, settings: Settings) -> None:
    run = queue(db)
    assert pipeline.run_pipeline(db, settings, run.id) == 1
    assert "no accepted correction to train on" in str(runs.get(db, run.id).error)


@pytest.mark.usefixtures("corrected")
def test_a_bug_in_training_is_an_honest_failure(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> Path:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(pipeline, "finetune", broken)
    run = queue(db)
    assert pipeline.run_pipeline(db, settings, run.id) == 1
    ended = runs.get(db, run.id)
    assert ended.status == "failed"
    assert "ZeroDivisionError: division by zero" in str(ended.error)
    assert adapters.page(db)[0] == []


@pytest.mark.usefixtures("corrected")
def test_too_little_memory_is_said(db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(*_: object, **__: object) -> Path:
        torch.empty(10**16)
        raise AssertionError("so much memory")

    monkeypatch.setattr(pipeline, "finetune", too_large)
    run = queue(db)
    assert pipeline.run_pipeline(db, settings, run.id) == 1
    assert "ran out of memory. Use a smaller base model" in str(runs.get(db, run.id).error)


@pytest.mark.usefixtures("corrected")
def test_a_run_is_cancelled_between_steps(db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    run = queue(db)

    def until_stopped(*_: object, on_progress, **__: object) -> Path:  # type: ignore[no-untyped-def]
        runs.request_cancel(db, run.id)
        end = time.monotonic() + 20
        while not on_progress(0.5, {"step": 1.0, "loss": 1.0}):
            assert time.monotonic() < end
            time.sleep(0.05)
        raise Stopped

    monkeypatch.setattr(pipeline, "finetune", until_stopped)
    monkeypatch.setattr(pipeline, "Heartbeat", lambda db, run_id: life.Heartbeat(db, run_id, every=0.05))
    assert pipeline.run_pipeline(db, settings, run.id) == 0
    assert runs.get(db, run.id).status == "cancelled"
    assert adapters.page(db)[0] == []


@pytest.mark.usefixtures("corrected")
def test_an_adapter_that_does_not_load_is_registered_and_refused(
    db: Database, settings: Settings, untrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_of(untrained, db)
    file = folder / "adapter_model.safetensors"
    save_file({f"other.{key}": value for key, value in load_file(file).items()}, file)
    monkeypatch.setattr(pipeline, "finetune", lambda *_, **__: folder)
    run = queue(db)
    assert pipeline.run_pipeline(db, settings, run.id) == 0
    done = runs.get(db, run.id)
    assert done.status == "succeeded"
    gate = adapters.get(db, str(done.adapter_id)).gate
    assert not gate.passed
    assert gate.checks[0].name == "loads"
    assert "do not match" in gate.checks[0].detail


@pytest.mark.usefixtures("corrected")
def test_a_full_disk_is_said(db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Path, __: object, ___: str, out: Path, **____: object) -> Path:
        (out / "checkpoints").mkdir()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pipeline, "finetune", full)
    run = queue(db)
    assert pipeline.run_pipeline(db, settings, run.id) == 1
    assert "is full. Make room" in str(runs.get(db, run.id).error)
    kept = {path.name for path in life.run_folder(settings, run.id).iterdir()}
    assert kept == {"snapshot"}, "a failed run gives its disk back"


def test_a_hold_out_that_could_not_be_written_leaves_nothing_behind(
    taxonomy: Taxonomy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(part: Path, *_: object) -> None:
        (part / "images").mkdir(parents=True)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(held, "write_dataset", full)
    with pytest.raises(OSError, match="No space left"):
        held.simulated_holdout(tmp_path, taxonomy, 4)
    assert list((tmp_path / "holdout").iterdir()) == []


@pytest.mark.usefixtures("corrected")
def test_only_one_run_works_at_a_time(db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    run = queue(db)
    checkpoint = life.run_folder(settings, run.id) / "checkpoints" / "checkpoint-3"
    checkpoint.mkdir(parents=True)
    monkeypatch.setattr(pipeline, "lower_priority", lambda: None)
    monkeypatch.setattr(train, "Settings", lambda: settings)
    with life.run_lock(settings):
        assert CliRunner().invoke(app, ["run-pipeline", run.id]).exit_code == life.WAITS
    assert runs.get(db, run.id).status == "queued"
    assert checkpoint.exists(), "a run that waits may be the very one at work"


AUTOGROUP = Path("/proc/self/autogroup")


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="this kernel does not group processes by session")
def test_a_run_gives_way_as_a_process_and_as_a_group_of_its_own() -> None:
    told = "from training.run.pipeline import lower_priority as low; low(); import os, pathlib; print(os.nice(0));"
    command = [sys.executable, "-c", f"{told} print(pathlib.Path({str(AUTOGROUP)!r}).read_text())"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, start_new_session=True)
    niceness, group = said.stdout.split("\n")[:2]
    assert niceness == str(life.NICENESS)
    assert group.endswith(f"nice {life.NICENESS}")


def test_full_fine_tuning_is_sent_to_the_command_line(db: Database, settings: Settings) -> None:
    run = queue(db, method="full")
    assert pipeline.run_pipeline(db, settings, run.id) == 1
    assert "python -m training finetune" in str(runs.get(db, run.id).error)


def test_the_command_line_answers_fast_and_speaks_plainly(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "training", *arguments], capture_output=True, text=True, check=False, cwd=ROOT
        )

    shown = run("--help").stdout
    for command in ("simulate", "prepare", "pretrain", "finetune", "finetune-detector", "evaluate", "compare"):
        assert command in shown
    assert "run-pipeline" not in shown
    bad = run("prepare", "--yolo", str(tmp_path), "--out", str(tmp_path / "out"))
    assert bad.returncode == 1
    assert bad.stderr.strip() == f"{tmp_path} needs a data.yaml (YOLO layout)."


@pytest.mark.usefixtures("corrected")
def test_a_run_learns_the_classes_that_were_added_at_the_desk(
    db: Database, settings: Settings, stored: MakeAnalysis, taxonomy: Taxonomy, untrained: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    site_taxonomy.add(db, taxonomy, [new_class("katana", "prohibited", taxonomy)], "root")
    known = site_taxonomy.site_taxonomy(db, settings.taxonomy)
    bag = next(f"katana {n}" for n in range(99) if split_of(f"katana {n}") == "train")
    correct(db, known, stored(shade=50, bag_id=bag).id, {"katana": 1})
    frozen: list[str] = []

    def learn(data: Path, *_: object, **__: object) -> Path:
        frozen.extend(sample.response for sample in read_jsonl(data / "train.jsonl"))
        return copy_of(untrained, db)

    monkeypatch.setattr(pipeline, "finetune", learn)
    run = queue(db)
    assert pipeline.run_pipeline(db, settings, run.id) == 0, runs.get(db, run.id).error
    assert "Items detected: 1 katana (threat). Security risk: HIGH - katana detected." in frozen
    manifest = read_manifest(adapters.folder(db, str(runs.get(db, run.id).adapter_id)))
    assert manifest.taxonomy_sha256 == known.sha256 != taxonomy.sha256
