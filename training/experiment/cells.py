"""The cells of the experiment: each a model, a method, and how many of the labelled scans it learns from."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field

from training.data.samples import Sample
from training.recipes.recipe import VISION, Recipe
from xray_app.types import Value

CURVE = (50, 100, 200, 400)
SEEDS = 3
MOST_EPOCHS = 60

CellMethod = Literal["untuned", "lora", "qlora", "full", "detector"]


class Cell(Value):
    """One row of the experiment, or one seed of it.

    Attributes:
        name: of its folder.
        kind: which model it is of.
        method: `detector` is the detector's fine-tuning; `untuned` is of either kind.
        scope: where LoRA goes; None without LoRA.
        images: scans of the training part it may use; 0 for none.
        epochs: passes over them at most.
        seed: of first weights, order and everything random.
    """

    name: str
    kind: Literal["vlm", "detector"]
    method: CellMethod
    scope: Literal["language", "language+vision"] | None = None
    images: int = Field(ge=0)
    epochs: int = Field(ge=0, le=MOST_EPOCHS)
    seed: int = 0


def cells(recipe: Recipe, model_type: str, images: int, epochs: int, detector_epochs: int) -> Iterator[Cell]:
    """The whole experiment, what matters most first.

    Two contenders: the recipe's own LoRA and the detector. They get `SEEDS` seeds on all scans, and a curve over
    fewer scans. There, passes grow as scans shrink, so that each point gets as many steps, up to `MOST_EPOCHS`.

    Args:
        recipe: of the VLM.
        model_type: of its base: where its vision tower's layers are not known, LoRA goes to language alone.
        images: scans in the training part.
        epochs: passes of the VLM over all of them at most.
        detector_epochs: the same of the detector.
    """

    def one(
        name: str, method: CellMethod, images: int = images, epochs: int = epochs, seed: int = 0, scope: str = ""
    ) -> Cell:
        kind = "detector" if name.startswith("detector") else "vlm"
        facts = {"kind": kind, "method": method, "images": images, "epochs": epochs, "seed": seed}
        return Cell.model_validate({"name": name, **facts, "scope": scope or None})

    own = recipe.lora_scope
    yield one("vlm-untuned", "untuned", 0, 0)
    yield one("detector-untuned", "untuned", 0, 0)
    yield one("lora-seed0", "lora", scope=own)
    yield one("detector-seed0", "detector", epochs=detector_epochs)
    other = "language" if own == "language+vision" else "language+vision"
    if other == "language" or model_type in VISION:
        yield one(f"lora-{other.replace('+', '-')}", "lora", scope=other)
    yield one("full", "full")
    yield one("qlora", "qlora", scope=own)
    for size in CURVE:
        if size < images:
            passes, detector_passes = (
                min(MOST_EPOCHS, math.ceil(most * images / size)) for most in (epochs, detector_epochs)
            )
            yield one(f"lora-{size}", "lora", size, passes, scope=own)
            yield one(f"detector-{size}", "detector", size, detector_passes)
    for seed in range(1, SEEDS):
        yield one(f"lora-seed{seed}", "lora", seed=seed, scope=own)
        yield one(f"detector-seed{seed}", "detector", epochs=detector_epochs, seed=seed)


def nested_subset(samples: Sequence[Sample], count: int) -> list[Sample]:
    """`count` of the samples, picked by a hash of their bag: a smaller pick lies within a larger one."""
    by_hash = sorted(samples, key=lambda one: hashlib.sha256(f"curve\0{one.bag_id}".encode()).digest())
    return by_hash[:count]
