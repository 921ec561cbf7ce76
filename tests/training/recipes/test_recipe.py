from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from peft import get_peft_model_state_dict
from PIL import Image
from transformers import AutoModelForImageTextToText

from tests.benchmarks import recipes
from tests.tiny import save_tiny_vlm
from training.data.samples import Sample, make_sample
from training.recipes.recipe import VISION, available, load_recipe, recipe_of_base
from training.vlm.finetune import add_lora
from xray_app.errors import BadRecipe
from xray_app.taxonomy import Taxonomy


@pytest.mark.parametrize("name", available())
def test_every_recipe_loads(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert all(re.compile(recipe.target_modules(family)) for family in VISION)


def test_an_unknown_recipe_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadRecipe, match="bundled"):
        load_recipe("no-such")


@pytest.mark.parametrize("name", ["../recipes/bundled", "/etc/passwd", "", "bundled.yaml.", "nowhere.yaml"])
def test_a_name_is_never_a_path_out_of_the_folder(name: str) -> None:
    with pytest.raises(BadRecipe):
        load_recipe(name)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [("lora_rnak: 8", "lora_rnak"), ("learning_rate: -1", "learning_rate"), ("base: [1", "wrong"), ("- 1", "wrong")],
)
def test_a_wrong_recipe_is_refused_by_name(tmp_path: Path, line: str, complaint: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"base: bundled\n{line}\n" if line.startswith(("lora", "learn")) else line)
    with pytest.raises(BadRecipe, match=complaint):
        load_recipe(str(file))


def test_the_seed_recipe_repeats_its_phase_3_with_the_slips_mended() -> None:
    seed = load_recipe("seed")
    assert (seed.lora_rank, seed.lora_alpha, seed.lora_dropout) == (16, 32, 0.1)
    assert (seed.epochs, seed.batch, seed.accumulation, seed.learning_rate) == (3, 4, 4, 2e-4)
    steps = 3 * -(-612 // 16)  # of its 612 scans; warm-up over 100 of them would leave 17 to learn in
    assert 0 < seed.warmup_fraction * steps < 0.1 * steps
    # transformers' own defaults, where the document sets nothing
    assert (seed.schedule, seed.weight_decay, seed.replay) == ("linear", 0, 0)


def test_the_recipe_of_the_served_base_is_found() -> None:
    assert recipe_of_base("bundled") == "bundled"
    assert recipe_of_base("reducto/RolmOCR") == "rolmocr"
    assert recipe_of_base("somebody/else") is None


@pytest.mark.parametrize(
    ("scope", "language", "vision"),
    # 4 decoder layers of 7 linear layers; 6 vision blocks of 5 and 2 in the merger.
    [("language", 28, 0), ("language+vision", 28, 32)],
)
def test_lora_wraps_exactly_what_the_recipe_says(tmp_path: Path, scope: str, language: int, vision: int) -> None:
    model = AutoModelForImageTextToText.from_pretrained(save_tiny_vlm(tmp_path))
    recipe = load_recipe("bundled").model_copy(update={"lora_scope": scope})
    wrapped = add_lora(model, recipe, "lora")
    matrices = [key for key in get_peft_model_state_dict(wrapped) if key.endswith("lora_A.weight")]
    assert sum("language_model" in key for key in matrices) == language
    assert sum("visual" in key for key in matrices) == vision
    trained = {name for name, value in wrapped.named_parameters() if value.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)


def test_full_fine_tuning_takes_a_tenth_of_the_rate_unless_it_is_given() -> None:
    recipe = load_recipe("bundled")
    assert recipe.rate("lora") == recipe.rate("qlora") == recipe.learning_rate
    assert recipe.rate("full") == pytest.approx(recipe.learning_rate / 10)
    assert recipe.model_copy(update={"full_learning_rate": 3e-5}).rate("full") == 3e-5


def test_a_kept_row_of_the_benchmark_is_of_the_same_scans_and_base(
    taxonomy: Taxonomy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans = []
    for number in range(2):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(tmp_path / f"{number}.png")
        scans.append(make_sample(tmp_path / f"{number}.png", (4, 4), {}, (), None, f"bag{number}", taxonomy))
    measured: list[int] = []
    hashes = {"bundled": "1", "other": "2"}
    monkeypatch.setattr(recipes, "load_local", lambda _: None)
    monkeypatch.setattr(recipes, "base_sha256", hashes.__getitem__)
    monkeypatch.setattr(recipes, "f1", lambda _, samples, __: measured.append(len(samples)) or "0.5")

    def row(new: Sequence[Sample], base: str = "bundled") -> int:
        """How often something was measured for it."""
        measured.clear()
        recipe = load_recipe("bundled").model_copy(update={"base": base})
        recipes.kept(tmp_path / "untuned", recipe, [], list(new), [], 0, taxonomy)
        return len(measured)

    assert [row(scans[:1]), row(scans[:1]), row(scans[1:]), row(scans[1:], "other")] == [3, 0, 3, 3]
    hashes["other"] = "3"
    assert row(scans[1:], "other") == 3
