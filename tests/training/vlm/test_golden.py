"""A LoRA training step by step against a stored reference: loss and gradient norm.

Whatever changes what is taught (prompt, masking, wrapped modules, rates, order) shows here as a number. After a
change on purpose, write the reference anew with `python -m tests.training.vlm.test_golden`. Calculated in 32 bits;
the tolerances are for other processors' order of summing, of which Adam makes more with every step.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from tests.tiny import picture, save_tiny_vlm, taxonomy
from training.data.samples import make_sample, write_jsonl
from training.recipes.recipe import Recipe
from training.vlm.finetune import finetune

REFERENCE = Path(__file__).with_name("golden_lora.json")
TOLERANCES = {"loss": 1e-3, "gradient_norm": 1e-2}
RECIPE = Recipe(
    name="golden",
    base="given",
    lora_rank=4,
    lora_alpha=8,
    lora_dropout=0.0,
    lora_scope="language+vision",
    learning_rate=1e-3,
    epochs=2,
    batch=2,
    accumulation=2,
    turns=True,
    precision="fp32",
    seed=7,
)
LABELS = ("knife", "laptop", "gun", "power bank", "scissors", "lighter", "knife", "laptop")


def trajectory(folder: Path) -> list[dict[str, float]]:
    samples = []
    for index, label in enumerate(LABELS):
        file = folder / f"{index}.png"
        picture(30 * index, (160, 120)).save(file)
        scope = (label, "handcuffs") if index % 2 else None
        samples.append(make_sample(file, (160, 120), {label: 1 + index // 6}, [], scope, f"bag{index}", taxonomy()))
    write_jsonl(samples, folder / "train.jsonl")
    steps: list[dict[str, float]] = []

    def watch(_: float, figures: dict[str, float]) -> bool:
        if "loss" in figures:
            steps.append({key: figures[key] for key in ("loss", "gradient_norm")})
        return False

    base = save_tiny_vlm(folder / "base")
    finetune(folder, RECIPE, "lora", folder / "out", base=str(base), taxonomy=taxonomy(), on_progress=watch)
    return steps


def test_a_training_goes_as_it_went_before(tmp_path: Path) -> None:
    wanted = json.loads(REFERENCE.read_text())
    found = trajectory(tmp_path)
    assert len(found) == len(wanted) == 4
    for step, (one, other) in enumerate(zip(found, wanted, strict=True)):
        for figure, tolerance in TOLERANCES.items():
            assert one[figure] == pytest.approx(other[figure], rel=tolerance), f"{figure} of step {step}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        REFERENCE.write_text(json.dumps(trajectory(Path(temporary)), indent=1) + "\n")
