"""The cells of the experiment: each a model, a method, and how many of the labelled scans it learns from."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from pydantic import Field

from training.data.samples import Sample
from training.recipes.recipe import VISION, Recipe
from xray_app.types import Value

CURVE = (50, 100, 200, 400)
SEEDS = 3
MOST_EPOCHS = 60
FOLDS = 5
"""Of all scans; the first is the data set's own val."""

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
        fold: judged on this fold of all scans, trained on the others; 0 is the data set's own split.
        left_out: judged on this group, trained on all others.
    """

    name: str
    kind: Literal["vlm", "detector"]
    method: CellMethod
    scope: Literal["language", "language+vision"] | None = None
    images: int = Field(ge=0)
    epochs: int = Field(ge=0, le=MOST_EPOCHS)
    seed: int = 0
    fold: int = Field(default=0, ge=0, lt=FOLDS)
    left_out: str | None = None

    @property
    def in_main_table(self) -> bool:
        return not self.fold and self.left_out is None


def cells(
    recipe: Recipe, model_type: str, images: int, epochs: int, detector_epochs: int, groups: Sequence[str] = ()
) -> Iterator[Cell]:
    """The whole experiment, what matters most first.

    Two contenders: the recipe's own LoRA and the detector. They get `SEEDS` seeds on all scans, and a curve over
    fewer scans. There, passes grow as scans shrink, so that each point gets as many steps, up to `MOST_EPOCHS`. With
    one seed they also learn the other folds, so that every scan is judged by a model that has not seen it, and every
    group is left out once.

    Args:
        recipe: of the VLM.
        model_type: of its base: where its vision tower's layers are not known, LoRA goes to language alone.
        images: scans in the training part.
        epochs: passes of the VLM over all of them at most.
        detector_epochs: the same of the detector.
        groups: of the scans, each to be left out once.
    """

    def one(name: str, method: CellMethod, images: int = images, epochs: int = epochs, **more: Any) -> Cell:
        kind = "detector" if name.startswith("detector") else "vlm"
        facts = {"kind": kind, "method": method, "images": images, "epochs": epochs}
        return Cell.model_validate({"name": name, **facts, **more})

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
    for group in groups:
        called = re.sub(r"[^\w.-]+", "_", group)
        yield one(f"lora-without-{called}", "lora", scope=own, left_out=group)
        yield one(f"detector-without-{called}", "detector", epochs=detector_epochs, left_out=group)
    for fold in range(1, FOLDS):
        yield one(f"lora-fold{fold}", "lora", scope=own, fold=fold)
        yield one(f"detector-fold{fold}", "detector", epochs=detector_epochs, fold=fold)


def nested_subset(samples: Sequence[Sample], count: int) -> list[Sample]:
    """`count` of the samples, picked by a hash of their bag: a smaller pick lies within a larger one."""
    by_hash = sorted(samples, key=lambda one: hashlib.sha256(f"curve\0{one.bag_id}".encode()).digest())
    return by_hash[:count]
