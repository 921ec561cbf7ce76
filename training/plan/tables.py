"""Tables of the plan: one method on many machines, where its memory goes, and all methods side by side.

The seed document's own figures stand beside ours: what it thought the ways take, and how right it expects them to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from training.plan.estimate import GB, GPUS, OVERHEAD, Estimate, memory_of, on_gpus, picture_tokens, shape_of
from training.recipes.recipe import Recipe
from xray_app.types import Method

SIDE_BY_SIDE = ("T4", "A100 80 GB", "H100 80 GB")
COMPARABLE = 1e9
"""Parameters from which on the seed document's figures, for models of seven billion, mean something."""
SIDES = (224, 448, 672, 1008)
"""Of square pictures, in pixels."""


@dataclass(frozen=True)
class SeedFigures:
    """What the seed document says of a way for 765 images; all estimates but YOLO's 18-20 %, which it measured."""

    memory: str
    hours: str
    machine: str
    dollars: str
    accuracy: tuple[float, float]
    per_dollar: str


SEED = {
    "lora": SeedFigures("24–40 GB", "4–8 h", "A100", "$2–4", (60, 80), "20–27 %"),
    "qlora": SeedFigures("16–24 GB", "6–12 h", "T4", "$3–6", (55, 75), "11–15 %"),
    "full": SeedFigures("80–160 GB", "48–96 h", "4–8 A100", "$200–500", (70, 85), "–"),
    "yolov8n": SeedFigures("4 GB", "5–7 h", "T4", "$2–3", (40, 60), "13–20 %"),
    "yolov8x": SeedFigures("24 GB", "6–8 h", "A100", "$3–4", (18, 20), "4.5–5 %"),
}


@dataclass(frozen=True)
class Yolo:
    """A YOLOv8 at 640 pixels: Ultralytics' own parameters and forward FLOPs, the seed document's epochs.

    `image_bytes`: activations a picture, from Ultralytics' automatic batch size at 640 pixels.
    """

    parameters: float
    flops: float
    image_bytes: float
    epochs: int


YOLO = {"yolov8n": Yolo(3.2e6, 8.7e9, 0.15 * GB, 250), "yolov8x": Yolo(68.2e6, 257.8e9, 0.95 * GB, 100)}
YOLO_BATCH = 16
YOLO_UTILISATION = 0.2
"""Of a GPU's dense peak: small convolutions."""
YOLO_PICTURES = 150.0
"""Pictures a second that the loader's processes read and augment; small models wait for it."""


def yolo_estimates(name: str, images: int) -> list[Estimate]:
    """Of a YOLO on each GPU, at batch 16 with SGD and an averaged copy of the weights."""
    model = YOLO[name]
    memory = (model.parameters * 16 + YOLO_BATCH * model.image_bytes + OVERHEAD) / GB
    found = []
    for gpu in GPUS:
        seconds = max(3 * model.flops / (gpu.teraflops * 1e12 * YOLO_UTILISATION), 1 / YOLO_PICTURES)
        hours = images * model.epochs * seconds / 3600
        found.append(Estimate(gpu.name, memory, hours, hours * gpu.dollars, memory <= gpu.memory))
    return found


def ways_table(recipe: Recipe, images: int) -> str:
    """LoRA, QLoRA and full fine-tuning of the recipe's base, and the two YOLOs, beside the seed document's tables.

    Accuracy is what the seed document expects; what it is here, `compare` measures. Accuracy for a dollar is the
    middle of it over our cost on the cheapest of the three machines where it fits.
    """
    methods: Sequence[Method] = ("lora", "qlora", "full")
    rows: dict[str, list[Estimate]] = {method: on_gpus(recipe, method, images) for method in methods}
    rows |= {name: yolo_estimates(name, images) for name in YOLO}
    shown = " | ".join(SIDE_BY_SIDE)
    lines = [
        f"| way | memory | {shown} | accuracy per $ | seed: memory | time | on | cost | accuracy | per $ |",
        "|---|---|" + "---|" * (len(SIDE_BY_SIDE) + 7),
    ]
    for name, estimates in rows.items():
        by_machine = {one.machine: one for one in estimates}
        machines = [by_machine[machine] for machine in SIDE_BY_SIDE]
        cells = " | ".join(_cell(one) for one in machines)
        seed = SEED[name]
        low, high = seed.accuracy
        ours = f"{machines[0].memory_gb:.1f} GB | {cells} | {_per_dollar(machines, (low + high) / 2)}"
        theirs = f"{seed.memory} | {seed.hours} | {seed.machine} | {seed.dollars} | {low:.0f}–{high:.0f} %"
        lines.append(f"| {name} | {ours} | {theirs} | {seed.per_dollar} |")
    return "\n".join(lines)


def _cell(one: Estimate) -> str:
    return f"{time_of(one.hours)}, ${one.dollars:.2f}" if one.fits else "does not fit"


def _per_dollar(machines: Sequence[Estimate], accuracy: float) -> str:
    costs = [one.dollars for one in machines if one.fits and one.dollars]
    return f"{accuracy / min(costs):.0f} %" if costs else "–"


def memory_table(recipe: Recipe, method: Method) -> str:
    """Where the memory goes, by the size of the picture."""
    shape = shape_of(recipe.base)
    own = picture_tokens(shape, recipe, shape.largest_picture)
    sizes = {
        f"{side} × {side}": tokens for side in SIDES if (tokens := picture_tokens(shape, recipe, side * side)) < own
    }
    sizes["largest"] = own
    lines = [
        "| picture | tokens | weights | adapter, gradients | optimiser | activations | peak |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, tokens in sizes.items():
        memory = memory_of(shape, recipe, method, tokens)
        parts = (memory.weights, memory.adapter, memory.optimiser, memory.activations, memory.total)
        cells = " | ".join(f"{part / GB:.2f} GB" for part in parts)
        lines.append(f"| {name} | {tokens:.0f} | {cells} |")
    return "\n".join(lines)


def machines_table(estimates: Sequence[Estimate]) -> str:
    """A row a machine."""
    lines = ["| machine | fits | memory | time | cost | |", "|---|---|---|---|---|---|"]
    for one in estimates:
        cost = "–" if one.dollars is None else f"${one.dollars:.2f}"
        fits = "yes" if one.fits else "no"
        lines.append(
            f"| {one.machine} | {fits} | {one.memory_gb:.1f} GB | {time_of(one.hours)} | {cost} | {one.note} |"
        )
    return "\n".join(lines)


def time_of(hours: float) -> str:
    """In the unit that suits it."""
    if hours < 1 / 60:
        return f"{hours * 3600:.0f} s"
    return f"{hours * 60:.0f} min" if hours < 2 else f"{hours:.1f} h"
