"""The experiment over a labelled data set, with tiny models on a handful of simulated scans."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.tiny import picture, save_tiny_vlm, taxonomy
from training.data.samples import Sample, make_sample, write_jsonl
from training.data.training_record import TrainingRecord, read_training_record
from training.detector.finetune import DetectorRecipe, train_detector
from training.evaluation.bag_table import ScanOutcome
from training.evaluation.baselines import RULES
from training.evaluation.bootstrap import Rate
from training.experiment.cells import FOLDS, MOST_EPOCHS, SEEDS, Cell, cells, nested_subset
from training.experiment.held_out import Scans
from training.experiment.rows import own_split
from training.experiment.run import experiment, read_scans
from training.experiment.table import curve, markdown_table
from training.experiment.trial import Result
from training.recipes.recipe import Recipe, load_recipe
from training.vlm import finetune as finetuning
from xray_app.errors import BadDataset
from xray_app.settings import Settings
from xray_app.simulate.dataset import write_dataset
from xray_app.vlm.local import LocalVlm

FOLD = {"kind": "detector", "method": "detector", "images": 20, "epochs": 1}
DETECTOR = DetectorRecipe(variant="n", sizes=(64,), batch=4)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_vlm(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A YOLO folder of 16 scans to train on and 6 to report on."""
    folder = tmp_path_factory.mktemp("yolo")
    write_dataset(folder, 22, 900, taxonomy(), threat_rate=0.5, items=(1, 3), workers=1)
    for kind in ("images", "labels"):
        (folder / kind / "val").mkdir()
        for file in sorted((folder / kind / "train").iterdir())[16:]:
            shutil.move(file, folder / kind / "val" / file.name)
    described = {**yaml.safe_load((folder / "data.yaml").read_text()), "path": ".", "val": "images/val"}
    (folder / "data.yaml").write_text(yaml.safe_dump(described))
    return folder


@pytest.fixture(scope="module")
def clear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures of another belt."""
    folder = tmp_path_factory.mktemp("clear")
    for number in range(6):
        picture(30 * number).save(folder / f"belt {number}.png")
    return folder


@pytest.fixture(scope="module")
def detector(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    scans = read_scans(data, None, taxonomy())
    out = tmp_path_factory.mktemp("detector")
    return train_detector(scans.train, (), out, taxonomy(), recipe=DETECTOR.model_copy(update={"epochs": 1}))


@pytest.fixture
def recipe(base: Path) -> Recipe:
    return load_recipe("bundled").model_copy(update={"base": str(base), "batch": 8, "lora_rank": 4})


def test_every_cell_stays_within_the_epochs_and_the_contenders_have_their_seeds() -> None:
    planned = list(cells(load_recipe("bundled"), "qwen2_5_vl", 612, 12, 40))
    assert len({cell.name for cell in planned}) == len(planned)
    assert max(cell.epochs for cell in planned) == MOST_EPOCHS
    for kind in ("lora", "detector"):
        assert sum(cell.name.startswith(f"{kind}-seed") for cell in planned) == SEEDS
        assert {cell.images for cell in planned if cell.name.startswith(f"{kind}-")} >= {50, 100, 200, 400, 612}
    assert {cell.scope for cell in planned if cell.method == "lora"} == {"language", "language+vision"}
    assert not any(cell.images >= 100 for cell in cells(load_recipe("bundled"), "qwen2_5_vl", 90, 1, 1))


def test_a_smaller_pick_of_scans_lies_within_a_larger_one(data: Path) -> None:
    train = read_scans(data, None, taxonomy()).train
    few, more = nested_subset(train, 4), nested_subset(train, 9)
    assert more[:4] == few
    assert nested_subset(train[::-1], 4) == few


def test_the_experiment_trains_measures_and_goes_on_where_it_was_stopped(
    data: Path, clear: Path, detector: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetuning, "STOPPING_LEAST", 1)
    settings = Settings(detector=str(detector))
    scans = read_scans(data, clear, taxonomy())
    assert len(scans.clear) == 6
    assert all(not sample.boxes for sample in scans.clear)
    out = tmp_path / "out"
    asked = {"detector": DETECTOR, "epochs": 1, "detector_epochs": 1}
    some = ["*-untuned", "*-seed0"]
    table = experiment(scans, recipe, out, settings, taxonomy(), only=some, **asked).read_text()
    for title in (
        "VLM, untuned",
        "VLM, LoRA (language+vision)",
        "detector, untuned",
        "detector, fine-tuned",
        "together",
    ):
        assert title in table
    assert "Not run yet: lora-language, full, qlora" in table
    assert not list(out.rglob("*.safetensors")), "no weights of somebody's scans are left behind"
    assert (out / "curve.svg").read_text().startswith("<svg")
    kept = Result.read(out / "lora-seed0")
    assert kept is not None
    assert kept.training is not None
    assert kept.training.method == "lora"
    assert len(kept.val) == 6
    names = {sample.bag_id for sample in (*scans.val, *scans.clear)}
    kept_text = (out / "lora-seed0" / "result.json").read_text()
    assert not any(f'"{name}"' in kept_text for name in names), "figures alone, and nothing of the scans' names"

    def nothing_is_trained_twice(*args: object, **kwargs: object) -> Path:
        raise AssertionError

    monkeypatch.setattr("training.experiment.trial.finetune", nothing_is_trained_twice)
    monkeypatch.setattr("training.experiment.trial.train_detector", nothing_is_trained_twice)
    assert experiment(scans, recipe, out, settings, taxonomy(), only=some, **asked).read_text() == table
    other = recipe.model_copy(update={"replay": 5.0, "replay_minimum": 7, "epochs": 30})
    assert experiment(scans, other, out, settings, taxonomy(), only=some, **asked).read_text() == table
    rate = recipe.model_copy(update={"learning_rate": 1e-5})
    with pytest.raises(BadDataset, match="another recipe"):
        experiment(scans, rate, out, settings, taxonomy(), only=some, **asked)
    with pytest.raises(BadDataset, match="another detector_recipe, epochs"):
        experiment(scans, recipe, out, settings, taxonomy(), only=some, detector=DETECTOR, epochs=2, detector_epochs=1)


def test_a_data_set_without_a_val_part_is_refused(data: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(data, alone)
    described = yaml.safe_load((alone / "data.yaml").read_text())
    del described["val"]
    (alone / "data.yaml").write_text(yaml.safe_dump(described))
    with pytest.raises(BadDataset, match="no train and val"):
        read_scans(alone, None, taxonomy())


def test_clear_scans_that_are_none_are_refused_with_what_to_do(data: Path, clear: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    nested = tmp_path / "nested"
    shutil.copytree(clear, nested / "belt 1")
    learned = tmp_path / "learned"
    shutil.copytree(clear, learned)
    shutil.copy(next((data / "images" / "train").iterdir()), learned / "z.jpg")
    for folder, said in {
        tmp_path / "nowhere": "there is no such folder",
        tmp_path / "empty": "holds no pictures",
        nested: r"belt 1: is a folder\. Put the clear scans into .*nested itself",
        learned: r"z\.jpg is the same picture as .*images/train",
    }.items():
        with pytest.raises(BadDataset, match=said):
            read_scans(data, folder, taxonomy())


def result(name: str, method: str, right: Sequence[bool], map50: float | None = None) -> Result:
    """Of bags that hold one knife each: found where `right`, else nothing said; one clear scan, never flagged."""
    kind = "detector" if name.startswith("detector") else "vlm"
    cell = {"name": name, "kind": kind, "method": method, "images": 10 * (method != "untuned"), "epochs": 3}
    cell["scope"] = "language" if method == "lora" else None
    said = [{"knife": 1} if one else {} for one in right]
    val = tuple(ScanOutcome(f"b{i}", {"knife": 1}, one, dict.fromkeys(one, 0.9)) for i, one in enumerate(said))
    facts = None if method == "untuned" else TrainingRecord(method=method, samples=10, epochs=3, seconds=60)
    clear = (ScanOutcome("c", {}, {}, {}),)
    return Result(Cell.model_validate(cell), val, clear, (), 0.1, facts, Rate(map50, None))


@pytest.fixture
def knives(tmp_path: Path) -> Scans:
    """Twenty bags with a knife to report on, of two scanners; as many with a lighter to learn from."""

    def bag(number: int, counts: dict[str, int], group: str) -> Sample:
        path = tmp_path / f"{group}{number}.png"
        picture(number).save(path)
        size = picture(number).size
        return make_sample(path, size, counts, (), None, f"{group}{number}", taxonomy(), group)

    train = [bag(n, {"lighter": 1}, "learned") for n in range(20)]
    return Scans(train, [bag(n, {"knife": 1}, "new") for n in range(20)], [])


def test_the_table_pools_seeds_and_says_what_differs_with_an_interval(knives: Scans) -> None:
    results = {
        "vlm-untuned": result("vlm-untuned", "untuned", [False] * 20),
        "lora-seed0": result("lora-seed0", "lora", [True] * 20),
        "lora-seed1": result("lora-seed1", "lora", [True] * 10 + [False] * 10),
        "detector-seed0": result("detector-seed0", "detector", [True] * 5 + [False] * 15, 0.25),
    }
    pooled = next(row for row in own_split(results, knives, taxonomy()) if row.title == "VLM, LoRA (language)").figures(
        taxonomy()
    )
    assert pooled["item_f1"] == pytest.approx(2 * 30 / (30 + 40))
    low, high = pooled["item_f1_ci"]
    assert low < 2 * 10 / 30 < 1 <= high, "the interval holds both seeds"
    text = markdown_table(results, [*results, "full"], knives, taxonomy())
    assert "LoRA (language) minus VLM, untuned, same bags: item F1 +0.857" in text
    assert "Not run yet: full." in text
    for title in RULES.values():
        assert f"| {title} | – |" in text, "every table has the rules"
    assert "No rule that sees nothing of the content" in text
    assert curve(results, taxonomy()).count("<circle") == 3


def test_a_rule_that_wins_is_told_in_the_tables_caption(knives: Scans) -> None:
    """All bags hold what the training scans hold: no picture has to be looked at."""
    same = Scans(knives.val, [one.model_copy(update={"bag_id": f"other {one.bag_id}"}) for one in knives.val], [])
    text = markdown_table({"full": result("full", "full", [True] * 15 + [False] * 5)}, ["full"], same, taxonomy())
    assert "does at least as well as every model** in item F1 (one list for all scans 1.000" in text


def test_groups_are_left_out_whole_and_folds_hold_every_scan_once(data: Path, knives: Scans) -> None:
    two = Scans(knives.train, knives.val, [])
    planned = list(cells(load_recipe("bundled"), "qwen2_5_vl", 20, 1, 1, two.groups))
    by_name = {cell.name: cell for cell in planned}
    without = two.of(by_name["lora-without-learned"])
    assert {one.group for one in without.val} == {"learned"}
    assert {one.group for one in without.train} == {"new"}
    parts = [two.of(by_name[f"detector-fold{fold}"]) for fold in range(1, FOLDS)]
    judged = sorted(one.bag_id for part in parts for one in part.val)
    assert judged == sorted(one.bag_id for one in two.train)
    for part in parts:
        assert not {one.bag_id for one in part.train} & {one.bag_id for one in part.val}
        assert len(part.train) + len(part.val) == 40
    assert two.of(by_name["full"]) is two
    assert not Scans(knives.val, knives.val, []).groups, "one group cannot be left out"


def test_left_out_groups_and_out_of_fold_have_tables_of_their_own(knives: Scans) -> None:
    names = ["detector-seed0", *(f"detector-fold{fold}" for fold in range(1, FOLDS))]
    results = {}
    for fold, name in enumerate(names):
        one = result(name, "detector", [True] * len(knives.of(Cell(**FOLD, name=name, fold=fold)).val))
        results[name] = replace(one, cell=one.cell.model_copy(update={"fold": fold}))
    out = result("lora-without-learned", "lora", [False] * 20)
    results[out.cell.name] = replace(out, cell=out.cell.model_copy(update={"left_out": "learned"}))
    text = markdown_table(results, list(results), knives, taxonomy())
    assert "## Out of fold: each of 40 scans by a model that has not seen it" in text
    assert "## learned, left out of the training: 20 scans" in text
    after = text.split("## learned")[1]
    assert "| VLM, LoRA | 1 |" in after
    assert RULES["constant"] in after
    assert RULES["group"] not in after
    del results["detector-fold2"]
    assert "Out of fold" not in markdown_table(results, list(results), knives, taxonomy())


def test_a_failed_cell_is_named_with_its_reason_and_left_out_of_the_table(knives: Scans) -> None:
    failed = Result(Cell(name="full", kind="vlm", method="full", images=5, epochs=1), failed="not enough memory: 80 GB")
    text = markdown_table({"full": failed}, ["full"], knives, taxonomy())
    assert "full failed: not enough memory: 80 GB" in text
    assert "| VLM, full" not in text


def test_a_result_comes_back_as_it_was_written_but_for_the_names_of_bags(tmp_path: Path) -> None:
    one = result("detector-seed0", "detector", [True, False], 0.5)
    one = replace(one, val=(one.val[0], replace(one.val[1], labelled_classes=("knife", "gun"))))
    one.write(tmp_path)
    val = tuple(replace(scan, bag_id=number) for scan, number in zip(one.val, "01", strict=True))
    clear = (replace(one.clear[0], bag_id="2"),)
    assert Result.read(tmp_path) == replace(one, val=val, clear=clear)
    assert json.loads((tmp_path / "result.json").read_text())["cell"]["name"] == "detector-seed0"


def test_a_training_ends_when_its_score_no_longer_rises_and_keeps_the_best(
    data: Path, base: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetuning, "STOPPING_LEAST", 1)
    scans: Scans = read_scans(data, None, taxonomy())
    bags = [one.model_copy(update={"bag_id": f"bag{place}"}) for place, one in enumerate(scans.train)]
    write_jsonl(bags, tmp_path / "train.jsonl")
    scores = iter([0.2, 0.5, 0.4, 0.3, 0.9])
    seen: list[float] = []

    def score(vlm: LocalVlm, samples: Sequence[object]) -> float:
        assert 0 < len(samples) < len(scans.train)
        return next(scores)

    def watch(done: float, row: dict[str, float]) -> bool:
        if "stopping_score" in row:
            seen.append(row["stopping_score"])
        return False

    folder = finetuning.finetune(
        tmp_path / "train.jsonl",
        recipe.model_copy(update={"patience": 2}),
        "lora",
        tmp_path / "out",
        base=str(base),
        epochs=8,
        score=score,
        on_progress=watch,
    )
    assert seen == [0.2, 0.5, 0.4, 0.3]
    facts = read_training_record(folder)
    assert facts is not None
    assert facts.epochs == 4
    kept = sorted((tmp_path / "out" / "checkpoints").glob("checkpoint-*"), key=lambda one: int(one.name[11:]))
    best = (kept[0] / "adapter_model.safetensors").read_bytes()
    assert (folder / "adapter_model.safetensors").read_bytes() == best
