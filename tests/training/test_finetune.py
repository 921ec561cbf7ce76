from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.tiny import picture, save_tiny_vlm, taxonomy
from training.finetune import Stopped, finetune, split_for_stopping
from training.recipe import Recipe, load_recipe
from training.samples import Sample, write_jsonl
from training.training_facts import training_facts
from xray_app.errors import BadDataset, BadRecipe
from xray_app.report import format_report, instruction
from xray_app.vlm.local import LocalVlm

QUICK = {"batch": 4, "epochs": 3, "turns": False, "lora_rank": 4, "lora_dropout": 0.0}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_vlm(tmp_path_factory.mktemp("base"))


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


def test_qlora_trains_on_a_cpu(data: Path, base: Path, recipe: Recipe, tmp_path: Path) -> None:
    folder = finetune(data, recipe, "qlora", tmp_path / "out", base=str(base), epochs=0.5)
    assert json.loads((folder / "adapter_config.json").read_text())["r"] == 4
    took = training_facts(folder)
    assert took is not None
    assert (took.method, took.epochs, took.resumed) == ("qlora", 0.5, False)
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


def test_nothing_to_train_on_is_said(tmp_path: Path, recipe: Recipe) -> None:
    (tmp_path / "train.jsonl").write_text("")
    with pytest.raises(BadDataset):
        finetune(tmp_path, recipe, "lora", tmp_path / "out")


@pytest.mark.parametrize("epochs", [0, -1, 1001, float("nan"), float("inf")])
def test_impossible_epochs_are_refused(data: Path, recipe: Recipe, tmp_path: Path, epochs: float) -> None:
    with pytest.raises(BadRecipe):
        finetune(data, recipe, "lora", tmp_path / "out", epochs=epochs)
