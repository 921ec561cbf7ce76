from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from tests.tiny import picture, taxonomy
from training.__main__ import app
from training.data.samples import Sample, read_jsonl, write_jsonl
from training.data.training_record import read_training_record
from training.recipes.recipe import Recipe, load_recipe
from training.vlm import finetune as finetuning
from training.vlm.finetune import STOPPING_LEAST, finetune, split_for_stopping
from xray_app.errors import BadDataset, BadRecipe, Stopped
from xray_app.report import format_report, instruction
from xray_app.settings import ROOT
from xray_app.types import Method
from xray_app.vlm.local import LocalVlm

KEPT_FOR_STOPPING = next(f"b{n}" for n in range(99) if sha256(f"stopping\0b{n}".encode()).digest()[0] % 10 == 0)
QUICK = {"batch": 4, "epochs": 3, "turns": False, "lora_rank": 4, "lora_dropout": 0.0}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    samples = []
    for index in range(10):
        file = tmp_path / f"{index}.png"
        picture(25 * index, (112, 112)).save(file)
        label = ("knife", "laptop")[index % 2]
        samples.append(
            Sample(
                image=file,
                instruction=instruction(),
                response=format_report({label: 1}, taxonomy()),
                width=112,
                height=112,
                boxes=(),
                labelled_classes=None,
                bag_id=f"bag{index}",
            )
        )
    write_jsonl(samples, tmp_path / "train.jsonl")
    # Whoever opens the validation file trips over it.
    (tmp_path / "val.jsonl").write_text("not a sample\n")
    return tmp_path


@pytest.fixture
def recipe() -> Recipe:
    return load_recipe("bundled").model_copy(update=QUICK)


def losses(run: list[dict[str, float]]) -> list[float]:
    return [row["loss"] for row in run if "loss" in row]


def test_a_lora_run_lowers_the_loss_and_its_adapter_loads_and_answers_differently(
    data: Path, base: Path, recipe: Recipe, tmp_path: Path
) -> None:
    rows: list[dict[str, float]] = []
    fractions: list[float] = []

    def watch(done: float, figures: dict[str, float]) -> bool:
        fractions.append(done)
        rows.append(figures)
        return False

    folder = finetune(data, recipe, "lora", tmp_path / "out", base=str(base), on_progress=watch)
    assert losses(rows)[-1] < losses(rows)[0]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    vlm = LocalVlm.load(str(base), max_new_tokens=4)
    before = vlm.answer([picture()], [instruction()])
    vlm.use_adapter(folder)
    assert vlm.answer([picture()], [instruction()])[0].spans != before[0].spans


def test_the_same_seed_gives_the_same_losses(data: Path, base: Path, recipe: Recipe, tmp_path: Path) -> None:
    seen = []
    for name in ("a", "b"):
        rows: list[dict[str, float]] = []
        finetune(
            data,
            recipe,
            "lora",
            tmp_path / name,
            base=str(base),
            epochs=1,
            on_progress=lambda _, row, rows=rows: rows.append(row) or False,
        )
        seen.append(losses(rows))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_stopped_run_resumes_to_the_same_end(
    data: Path, base: Path, recipe: Recipe, tmp_path: Path, method: str
) -> None:
    whole: list[dict[str, float]] = []
    finetune(
        data,
        recipe,
        method,
        tmp_path / "whole",
        base=str(base),
        on_progress=lambda _, row: whole.append(row) or False,
    )

    def stop_after_one_epoch(done: float, row: dict[str, float]) -> bool:
        return done >= 0.5

    with pytest.raises(Stopped):
        finetune(data, recipe, method, tmp_path / "cut", base=str(base), on_progress=stop_after_one_epoch)
    rest: list[dict[str, float]] = []
    finetune(
        data,
        recipe,
        method,
        tmp_path / "cut",
        base=str(base),
        resume=True,
        on_progress=lambda _, row: rest.append(row) or False,
    )
    assert losses(rest)[-1] == pytest.approx(losses(whole)[-1], rel=0.02)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_training_that_patience_ended_does_not_go_on_after_a_kill(
    data: Path, base: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: Method
) -> None:
    samples = read_jsonl(data / "train.jsonl")
    samples.append(samples[0].model_copy(update={"bag_id": KEPT_FOR_STOPPING}))
    write_jsonl(samples, data / "train.jsonl")
    monkeypatch.setattr(finetuning, "STOPPING_LEAST", 1)
    scores = iter([0.5, 0.4])
    patient = recipe.model_copy(update={"patience": 1})

    def train(resume: bool) -> dict[str, torch.Tensor]:
        folder = finetune(
            data, patient, method, tmp_path / "out",
            base=str(base), epochs=5, resume=resume, score=lambda vlm, kept: next(scores),
        )  # fmt: skip
        return load_file(next(folder.glob("*.safetensors")))

    ended = train(resume=False)
    shutil.rmtree(tmp_path / "out" / "adapter")  # as if the kill had come while it was saved
    resumed = train(resume=True)  # no third score is asked for
    assert all(torch.equal(ended[key], resumed[key]) for key in ended)


def test_qlora_trains_on_a_cpu(data: Path, base: Path, recipe: Recipe, tmp_path: Path) -> None:
    folder = finetune(data, recipe, "qlora", tmp_path / "out", base=str(base), epochs=0.5)
    assert json.loads((folder / "adapter_config.json").read_text())["r"] == 4
    took = read_training_record(folder)
    assert took is not None
    # Half an epoch of three steps is two whole steps.
    assert (took.method, took.epochs, took.resumed) == ("qlora", pytest.approx(2 / 3), False)
    assert took.seconds > 0


def test_full_fine_tuning_changes_every_weight_it_should_and_loads_plainly(
    data: Path, base: Path, recipe: Recipe, tmp_path: Path
) -> None:
    folder = finetune(data, recipe, "full", tmp_path / "out", base=str(base), epochs=1)
    before, after = (LocalVlm.load(str(one)).model.state_dict() for one in (base, folder))
    assert before.keys() == after.keys()
    assert not torch.equal(
        before["model.visual.patch_embed.proj.weight"], after["model.visual.patch_embed.proj.weight"]
    )


def test_one_bag_in_ten_is_kept_for_stopping_and_never_trained_on(data: Path) -> None:
    samples = [
        Sample(
            image=Path("x"),
            instruction="i",
            response="r",
            width=1,
            height=1,
            boxes=(),
            labelled_classes=None,
            bag_id=f"bag{n // 2}",
        )
        for n in range(2000)
    ]
    training, stopping = split_for_stopping(samples)
    assert 0.07 < len(stopping) / len(samples) < 0.13
    assert not {s.bag_id for s in training} & {s.bag_id for s in stopping}


def test_too_few_samples_to_stop_by_are_all_trained_on(data: Path) -> None:
    few = [one for n in range(15) for one in read_jsonl(data / "train.jsonl")]
    few = [one.model_copy(update={"bag_id": str(n)}) for n, one in enumerate(few)]
    assert split_for_stopping(few) == (few, [])
    many = [one.model_copy(update={"bag_id": str(n)}) for n, one in enumerate(few * 3)]
    assert len(split_for_stopping(many)[1]) >= STOPPING_LEAST


def test_the_best_checkpoint_by_the_stopping_samples_is_kept_and_not_the_last(
    data: Path, base: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = read_jsonl(data / "train.jsonl")
    samples.append(samples[0].model_copy(update={"bag_id": KEPT_FOR_STOPPING}))
    write_jsonl(samples, data / "train.jsonl")
    monkeypatch.setattr(finetuning, "STOPPING_LEAST", 1)
    of_epoch = iter((0.9, 0.5, 0.7))
    monkeypatch.setattr(finetuning.ResumableTrainer, "evaluate", lambda *_, **__: {"eval_loss": next(of_epoch)})
    out = tmp_path / "out"
    finetune(data, recipe, "lora", out, base=str(base))
    second, third = sorted(out.glob("checkpoints/checkpoint-*"), key=lambda one: int(one.name[11:]))
    kept, best, newest = (load_file(one / "adapter_model.safetensors") for one in (out / "adapter", second, third))
    assert all(torch.equal(kept[key], best[key]) for key in best)
    assert not all(torch.equal(kept[key], newest[key]) for key in newest)


@pytest.mark.parametrize(
    ("method", "option"), [("lora", "use_rslora"), ("lora", "use_dora"), ("qlora", "use_dora"), ("qlora", "use_rslora")]
)
def test_rslora_and_dora_train_two_steps_and_load_again(
    data: Path, base: Path, recipe: Recipe, tmp_path: Path, method: Method, option: str
) -> None:
    two_steps = recipe.model_copy(update={option: True, "batch": 5, "epochs": 1})
    rows: list[dict[str, float]] = []
    folder = finetune(
        data, two_steps, method, tmp_path / "out", base=str(base), on_progress=lambda _, row: rows.append(row) or False
    )
    assert len(losses(rows)) == 2
    assert json.loads((folder / "adapter_config.json").read_text())[option]
    vlm = LocalVlm.load(str(base), "nf4" if method == "qlora" else "fp32", max_new_tokens=4)
    before = vlm.answer([picture()], [instruction()])
    vlm.use_adapter(folder)
    assert vlm.answer([picture()], [instruction()])[0].spans != before[0].spans
    layer = vlm.model.base_model.model.model.language_model.layers[0].self_attn.q_proj
    # alpha over the root of the rank, or over the rank: 32 over 2, or over 4.
    assert layer.scaling["default"] == (16 if option == "use_rslora" else 8)
    assert bool(layer.lora_magnitude_vector) == (option == "use_dora")


def test_accumulation_and_checkpointing_change_memory_and_not_the_losses(
    data: Path, base: Path, recipe: Recipe, tmp_path: Path
) -> None:
    exact = recipe.model_copy(update={"precision": "fp32", "epochs": 1, "batch": 4})
    frugal = exact.model_copy(update={"batch": 2, "accumulation": 2, "gradient_checkpointing": True})
    seen = []
    for one in (exact, frugal):
        rows: list[dict[str, float]] = []
        out = tmp_path / str(one.batch)
        finetune(
            data, one, "lora", out, base=str(base), on_progress=lambda _, row, rows=rows: rows.append(row) or False
        )
        seen.append([(row["loss"], row["gradient_norm"]) for row in rows if "loss" in row])
    assert len(seen[0]) == 3
    # One step on, Adam has made more of the rounding: it divides small gradients by their own size.
    assert seen[1][0] == pytest.approx(seen[0][0], rel=1e-4)
    assert np.array(seen[1]) == pytest.approx(np.array(seen[0]), rel=1e-2)


def test_a_run_killed_at_any_moment_resumes_to_the_very_same_weights(data: Path, base: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    options = "precision: fp32\nbatch: 4\naccumulation: 1\nepochs: 3\nlora_rank: 4\nreplay: 0\nturns: true"
    options += "\ncontrast: 0.5"
    file.write_text(f"base: {base}\n{options}\n")  # with dropout: its random numbers have to go on too
    asked = ["--data", str(data), "--recipe", str(file), "--out", str(tmp_path / "killed")]
    process = subprocess.Popen(
        [sys.executable, "-m", "training", "finetune", *asked], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    checkpoints = tmp_path / "killed" / "checkpoints"
    end = time.monotonic() + 300
    while not (checkpoints / "checkpoint-3" / "trainer_state.json").is_file():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    # As if the kill had come while the next one was written.
    (checkpoints / "checkpoint-99").mkdir()
    (checkpoints / "checkpoint-99" / "trainer_state.json").write_text('{"epoch": 2.0, "global')

    recipe = load_recipe(str(file))
    ends = []
    for name, source, resume in (("killed", tmp_path / "killed" / "snapshot", True), ("whole", data, False)):
        rows: list[dict[str, float]] = []
        folder = finetune(
            source, recipe, "lora", tmp_path / name,
            resume=resume, on_progress=lambda _, row, rows=rows: rows.append(row) or False,
        )  # fmt: skip
        ends.append((losses(rows), load_file(folder / "adapter_model.safetensors")))
    (rest, resumed), (every, undisturbed) = ends
    assert len(rest) < len(every)
    assert rest == pytest.approx(every[-len(rest) :], rel=1e-5)
    assert all(torch.allclose(resumed[key], undisturbed[key], atol=1e-6) for key in undisturbed)


def test_going_on_with_something_else_or_by_accident_is_refused(
    data: Path, base: Path, recipe: Recipe, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "out" / "checkpoints" / "checkpoint-3"
    checkpoint.mkdir(parents=True)
    (checkpoint / "trainer_state.json").write_text("{}")
    (tmp_path / "out" / "training.json").write_text('{"sha256": "of another"}')
    with pytest.raises(BadRecipe, match="of another training: samples, recipe, method or epochs differ"):
        finetune(data, recipe, "lora", tmp_path / "out", base=str(base), resume=True)
    with pytest.raises(BadRecipe, match="holds checkpoints already"):
        finetune(data, recipe, "lora", tmp_path / "out", base=str(base))
    (tmp_path / "out" / "training.json").write_text("")  # as a full disk once left it
    with pytest.raises(BadDataset, match=r"training\.json cannot be read"):
        finetune(data, recipe, "lora", tmp_path / "out", base=str(base), resume=True)
    assert checkpoint.exists()


def test_neither_a_restart_nor_other_samples_touch_a_killed_trainings_snapshot(
    data: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[Path] = []
    monkeypatch.setattr(finetuning, "finetune", lambda frozen, *_, **__: trained.append(frozen) or frozen)
    file, out = tmp_path / "mine.yaml", tmp_path / "out"
    file.write_text(f"base: {base}\nreplay: 0\n")

    def run(*more: str) -> BaseException | None:
        asked = ["finetune", "--data", str(data), "--recipe", str(file), "--out", str(out), *more]
        return CliRunner().invoke(app, asked).exception

    assert run() is None
    (out / "checkpoints" / "checkpoint-3").mkdir(parents=True)
    frozen = (out / "snapshot" / "train.jsonl").read_bytes()
    assert run("--resume") is None
    write_jsonl(read_jsonl(data / "train.jsonl")[:5], data / "train.jsonl")
    assert isinstance(run(), BadRecipe)
    refused = run("--resume")
    assert isinstance(refused, BadDataset)
    assert "made from other samples" in refused.message
    assert (out / "snapshot" / "train.jsonl").read_bytes() == frozen
    assert len(trained) == 2


def test_nothing_to_train_on_is_said(tmp_path: Path, recipe: Recipe) -> None:
    (tmp_path / "train.jsonl").write_text("")
    with pytest.raises(BadDataset):
        finetune(tmp_path, recipe, "lora", tmp_path / "out")


@pytest.mark.parametrize("epochs", [0, -1, 1001, float("nan"), float("inf")])
def test_impossible_epochs_are_refused(data: Path, recipe: Recipe, tmp_path: Path, epochs: float) -> None:
    with pytest.raises(BadRecipe):
        finetune(data, recipe, "lora", tmp_path / "out", epochs=epochs)
