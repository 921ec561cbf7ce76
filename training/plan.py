"""What a training will take, worked out before anything starts: memory, time and cost.

Estimates from the model's shape, good to within a factor of two; they are for choosing a machine and for not
starting what cannot fit, not for a budget to the cent.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.recipe import Recipe
from xray_app.errors import BadModel
from xray_app.settings import BUNDLED_VLM
from xray_app.types import Method

GB = 1024**3
TEXT_TOKENS = 110
"""Instruction, template and a typical answer."""
UTILISATION = 0.35
"""Share of a GPU's dense peak that fine-tuning at these batch sizes reaches."""
CPU_UTILISATION = 0.5
OVERHEAD = 1.2 * GB
"""Libraries, CUDA context and workspace."""


@dataclass(frozen=True)
class Shape:
    """What the estimates need of a model. `pixels_a_token`: picture area behind one language token."""

    parameters: float
    layers: int
    hidden: int
    vocabulary: int
    largest_picture: int
    pixels_a_token: int = 28 * 28


# From the models' own configs and safetensors indices on the hub, for planning where it is out of reach.
KNOWN: Mapping[str, Shape] = {
    "reducto/RolmOCR": Shape(8.29e9, 28, 3584, 152_064, 12_845_056),
    "Qwen/Qwen2.5-VL-7B-Instruct": Shape(8.29e9, 28, 3584, 152_064, 12_845_056),
    "Qwen/Qwen2-VL-7B-Instruct": Shape(8.29e9, 28, 3584, 152_064, 12_845_056),
    "Qwen/Qwen3-VL-8B-Instruct": Shape(8.77e9, 36, 4096, 151_936, 16_777_216, 32 * 32),
}


@dataclass(frozen=True)
class Machine:
    """Memory in GB, dense 16-bit peak in TFLOP/s (makers' data sheets), typical US dollars an hour on demand."""

    name: str
    memory: float
    teraflops: float
    dollars: float
    bf16: bool = True


GPUS = (
    Machine("T4", 15, 65, 0.5, bf16=False),
    Machine("L4", 23, 121, 0.8),
    Machine("A10G", 23, 70, 1.0),
    Machine("RTX 4090", 24, 165, 0.5),
    Machine("A100 80 GB", 80, 312, 2.0),
    Machine("H100 80 GB", 80, 989, 3.5),
)


@dataclass(frozen=True)
class Estimate:
    """Of one machine: peak memory in GB, hours, dollars; `fits` says whether it can be started there."""

    machine: str
    memory_gb: float
    hours: float
    dollars: float | None
    fits: bool
    note: str = ""


def shape_of(base: str) -> Shape:
    """The shape of a recipe's base: read from its folder, or known by name.

    Raises:
        BadModel: it is neither here nor known.
    """
    if base in KNOWN:
        return KNOWN[base]
    folder = BUNDLED_VLM if base == "bundled" else Path(base)
    try:
        config = json.loads((folder / "config.json").read_text())
    except OSError as error:
        raise BadModel(f"Nothing is known of {base!r}: it is no folder here, nor one of {', '.join(KNOWN)}.") from error
    text = config.get("text_config", config)
    return Shape(
        parameters=sum(_parameters(file) for file in folder.glob("*.safetensors")),
        layers=int(text["num_hidden_layers"]),
        hidden=int(text["hidden_size"]),
        vocabulary=int(text.get("vocab_size", config.get("vocab_size", 0))),
        largest_picture=_largest_picture(folder),
    )


def _parameters(file: Path) -> int:
    """Number of values in a safetensors file, from its header alone."""
    with file.open("rb") as handle:
        header = json.loads(handle.read(int.from_bytes(handle.read(8), "little")))
    total = 0
    for name, tensor in header.items():
        if name != "__metadata__":
            count = 1
            for side in tensor["shape"]:
                count *= side
            total += count
    return total


def _largest_picture(folder: Path) -> int:
    for name, find in (
        ("processor_config.json", lambda read: read["image_processor"]["size"]["longest_edge"]),
        ("preprocessor_config.json", lambda read: read.get("max_pixels") or read["size"]["longest_edge"]),
    ):
        try:
            return int(find(json.loads((folder / name).read_text())))
        except (OSError, KeyError, TypeError):
            continue
    return 12_845_056


def plan(
    recipe: Recipe, method: Method, images: int, scan_pixels: int = 600_000, epochs: float | None = None
) -> list[Estimate]:
    """Estimates for each GPU and for this machine's processor.

    Args:
        recipe: base and settings.
        method: lora, qlora or full.
        images: labelled scans; the recipe's replay comes on top.
        scan_pixels: of a typical scan; the recipe's and the base's own limits apply.
        epochs: another number than the recipe's.
    """
    shape = shape_of(recipe.base)
    pixels = min(scan_pixels, shape.largest_picture, recipe.max_pixels or scan_pixels)
    tokens = pixels / shape.pixels_a_token + TEXT_TOKENS
    samples = images + recipe.replayed(images)
    memory = memory_bytes(shape, recipe, method, tokens) / GB
    work = flops(shape, recipe, method, tokens) * samples * (epochs or recipe.epochs)
    found = []
    for gpu in GPUS:
        hours = work / (gpu.teraflops * 1e12 * UTILISATION) / 3600
        note = "" if gpu.bf16 else "no bf16: fp16 with loss scaling"
        found.append(Estimate(gpu.name, memory, hours, hours * gpu.dollars, memory <= gpu.memory, note))
    speed, free = this_machine()
    hours = work / (speed * CPU_UTILISATION) / 3600
    found.append(Estimate("this machine's CPU", memory, hours, None, memory <= free, f"{free:.0f} GB free"))
    return found


def memory_bytes(shape: Shape, recipe: Recipe, method: Method, tokens: float) -> float:
    """Peak bytes: weights, trained parts with gradients and AdamW's two moments, activations, logits.

    Activations of a decoder block: about 34 bytes a token and hidden unit at 16 bits (Korthikanti et al.
    2022, eq. 2, without the attention term, which fused attention does not keep). With checkpointing only
    each block's input is kept, and one block at a time in full.
    """
    trained = shape.parameters if method == "full" else lora_parameters(shape, recipe)
    weights = shape.parameters * {"lora": 2, "qlora": 0.6, "full": 4}[method]
    per_token = 34 * shape.hidden
    kept = 2 * shape.hidden * shape.layers + per_token if recipe.gradient_checkpointing else per_token * shape.layers
    logits = 3 * 4 * shape.vocabulary  # in fp32: themselves, their softmax and its gradient
    return weights + trained * 12 + recipe.batch * tokens * (kept + logits) + OVERHEAD


def lora_parameters(shape: Shape, recipe: Recipe) -> float:
    """Of all seven linear layers a block; the feed-forward is taken as 4 hidden sizes wide."""
    return shape.layers * recipe.lora_rank * shape.hidden * (2 * 4 + 3 * (1 + 4))


def flops(shape: Shape, recipe: Recipe, method: Method, tokens: float) -> float:
    """Of one sample, forward and back: 2 a parameter and token forward, as much back for the inputs, and as
    much again for the weights where those are trained (Kaplan et al. 2020); checkpointing adds a forward.
    """
    passes = (6 if method == "full" else 4) + (2 if recipe.gradient_checkpointing else 0)
    return passes * shape.parameters * tokens


def this_machine() -> tuple[float, float]:
    """Measured FLOP/s of a 32-bit matrix product, and free memory in GB."""
    import torch

    one = torch.randn(1024, 1024)
    (one @ one).sum().item()
    started = time.perf_counter()
    for _ in range(5):
        (one @ one).sum().item()
    speed = 5 * 2 * 1024**3 / (time.perf_counter() - started)
    free = 0.0
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024 / GB
    except OSError:
        free = float("inf")
    return speed, free


def as_table(estimates: list[Estimate]) -> str:
    """Markdown, a row a machine."""
    lines = ["| machine | fits | memory | time | cost | |", "|---|---|---|---|---|---|"]
    for one in estimates:
        cost = "–" if one.dollars is None else f"${one.dollars:.2f}"
        fits = "yes" if one.fits else "no"
        lines.append(f"| {one.machine} | {fits} | {one.memory_gb:.1f} GB | {_time(one.hours)} | {cost} | {one.note} |")
    return "\n".join(lines)


def as_json(estimates: list[Estimate]) -> list[dict[str, Any]]:
    return [vars(one) for one in estimates]


def _time(hours: float) -> str:
    if hours < 1 / 60:
        return f"{hours * 3600:.0f} s"
    return f"{hours * 60:.0f} min" if hours < 2 else f"{hours:.1f} h"
