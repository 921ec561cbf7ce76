"""Estimates memory, time and cost of a training before anything starts.

The estimates follow from the model's shape and are good to within a factor of two. They are for choosing a machine
and for not starting what cannot fit, not for a budget to the cent. `training.plan.rehearsal` measures instead, on
the machine at hand.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.recipes.recipe import Recipe
from xray_app.errors import BadModel
from xray_app.settings import BUNDLED_VLM
from xray_app.types import Method

GB = 1024**3
QUESTION_TOKENS = 50
"""Template and instruction."""
ANSWER_TOKENS = 60
UTILISATION = 0.35
"""Share of a GPU's dense peak that fine-tuning at these batch sizes reaches."""
QLORA_SLOWDOWN = 1.4
"""Unpacking 4-bit weights in every pass (Dettmers et al. 2023 report a third to a half more time)."""
CPU_UTILISATION = 0.5
OVERHEAD = 1.2 * GB
"""Libraries, CUDA context and workspace."""


@dataclass(frozen=True)
class Tower:
    """The picture part: parameters, blocks, width, width of the feed-forward; patches behind one language token."""

    parameters: float
    layers: int
    hidden: int
    intermediate: int
    patches_a_token: int = 4


@dataclass(frozen=True)
class Shape:
    """What the estimates need of a model.

    Attributes:
        parameters: of the whole model.
        layers, hidden, intermediate: of the language model: blocks, width, width of the feed-forward.
        key_value: width of keys, which is that of values.
        vocabulary: tokens.
        tied: whether input and output embeddings are one.
        vision: the tower.
        largest_picture: pixels the processor scales a picture down to.
        pixels_a_token: picture area behind one language token.
    """

    parameters: float
    layers: int
    hidden: int
    intermediate: int
    key_value: int
    vocabulary: int
    tied: bool
    vision: Tower
    largest_picture: int
    pixels_a_token: int = 28 * 28

    @property
    def embeddings(self) -> float:
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def language(self) -> float:
        """Parameters a token is multiplied with: all but the tower and the input embedding."""
        return self.parameters - self.vision.parameters - (0 if self.tied else self.vocabulary * self.hidden)


# From the models' own configs and safetensors indices on the hub, for planning where it is out of reach.
_QWEN_2_TOWER = Tower(0.68e9, 32, 1280, 3420)
_QWEN_25_VL = Shape(8.29e9, 28, 3584, 18_944, 512, 152_064, False, _QWEN_2_TOWER, 12_845_056)
_CLIP_L, _INTERN = Tower(0.30e9, 24, 1024, 4096, 1), Tower(0.30e9, 24, 1024, 4096)
KNOWN: Mapping[str, Shape] = {
    "reducto/RolmOCR": _QWEN_25_VL,
    "Qwen/Qwen2.5-VL-7B-Instruct": _QWEN_25_VL,
    "Qwen/Qwen2-VL-7B-Instruct": _QWEN_25_VL,
    "Qwen/Qwen3-VL-8B-Instruct": Shape(
        8.77e9, 36, 4096, 12_288, 1024, 151_936, False, Tower(0.58e9, 27, 1152, 4304), 16_777_216, 32 * 32
    ),
    "llava-hf/llava-v1.6-mistral-7b-hf": Shape(
        7.57e9, 32, 4096, 14_336, 1024, 32_064, False, _CLIP_L, 5 * 336**2, 14 * 14
    ),
    "OpenGVLab/InternVL3-8B-hf": Shape(7.94e9, 28, 3584, 18_944, 512, 151_674, False, _INTERN, 13 * 448**2),
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
class Memory:
    """Peak bytes, by what they hold."""

    weights: float
    adapter: float
    optimiser: float
    activations: float

    @property
    def total(self) -> float:
        return self.weights + self.adapter + self.optimiser + self.activations + OVERHEAD


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
        BadModel: it is neither here nor known, or its config says too little.
    """
    if base in KNOWN:
        return KNOWN[base]
    folder = BUNDLED_VLM if base == "bundled" else Path(base)
    try:
        config = json.loads((folder / "config.json").read_text())
    except OSError as error:
        raise BadModel(f"Nothing is known of {base!r}: it is no folder here, nor one of {', '.join(KNOWN)}.") from error
    try:
        return _read_shape(folder, config)
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise BadModel(f"{folder} does not say how large its model is: {error!r}.") from error


def _read_shape(folder: Path, config: Mapping[str, Any]) -> Shape:
    text, vision = config.get("text_config", config), config["vision_config"]
    hidden, heads = int(text["hidden_size"]), int(text["num_attention_heads"])
    wide = int(vision.get("embed_dim") or vision["hidden_size"])
    tensors = {name: count for file in folder.glob("*.safetensors") for name, count in _tensors(file).items()}
    return Shape(
        parameters=sum(tensors.values()),
        layers=int(text["num_hidden_layers"]),
        hidden=hidden,
        intermediate=int(text["intermediate_size"]),
        key_value=hidden // heads * int(text.get("num_key_value_heads", heads)),
        vocabulary=int(text.get("vocab_size", config.get("vocab_size", 0))),
        tied=bool(config.get("tie_word_embeddings", text.get("tie_word_embeddings", False))),
        vision=Tower(
            parameters=sum(count for name, count in tensors.items() if "visual" in name or "vision" in name),
            layers=int(vision.get("depth") or vision["num_hidden_layers"]),
            hidden=wide,
            intermediate=int(vision.get("intermediate_size") or wide * vision.get("mlp_ratio", 4)),
        ),
        largest_picture=_largest_picture(folder),
    )


def _tensors(file: Path) -> dict[str, int]:
    """Number of values of each tensor in a safetensors file, from its header alone."""
    with file.open("rb") as handle:
        header = json.loads(handle.read(int.from_bytes(handle.read(8), "little")))
    return {name: math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__"}


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


def picture_tokens(shape: Shape, recipe: Recipe, scan_pixels: int) -> float:
    """Language tokens of a scan of so many pixels, after the recipe's and the base's own limits."""
    return min(scan_pixels, shape.largest_picture, recipe.max_pixels or scan_pixels) / shape.pixels_a_token


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

    Raises:
        BadModel: see `shape_of`.
    """
    speed, free = this_machine()
    found = on_gpus(recipe, method, images, scan_pixels, epochs)
    memory, work = _needs(recipe, method, images, scan_pixels, epochs)
    hours = work / (speed * CPU_UTILISATION) / 3600
    return [*found, Estimate("this machine's CPU", memory, hours, None, memory <= free, f"{free:.0f} GB free")]


def on_gpus(
    recipe: Recipe, method: Method, images: int, scan_pixels: int = 600_000, epochs: float | None = None
) -> list[Estimate]:
    """As `plan`, for the GPUs alone."""
    memory, work = _needs(recipe, method, images, scan_pixels, epochs)
    found = []
    for gpu in GPUS:
        hours = work / (gpu.teraflops * 1e12 * UTILISATION) / 3600
        note = "" if gpu.bf16 else "no bf16: fp16 with loss scaling"
        found.append(Estimate(gpu.name, memory, hours, hours * gpu.dollars, memory <= gpu.memory, note))
    return found


def _needs(recipe: Recipe, method: Method, images: int, scan_pixels: int, epochs: float | None) -> tuple[float, float]:
    """Peak memory in GB, and FLOPs of the whole training."""
    shape = shape_of(recipe.base)
    picture = picture_tokens(shape, recipe, scan_pixels)
    work = flops(shape, recipe, method, picture, epochs or recipe.epochs) * (images + recipe.replayed(images))
    return memory_of(shape, recipe, method, picture).total / GB, work * (QLORA_SLOWDOWN if method == "qlora" else 1)


def memory_of(shape: Shape, recipe: Recipe, method: Method, picture: float) -> Memory:
    """Peak memory of a training step.

    QLoRA holds linear layers in NF4 (0.516 bytes a weight with double quantisation: Dettmers et al. 2023) and
    embeddings at 16 bits; full fine-tuning holds everything at 32 bits. AdamW keeps two moments. Activations:
    of a language block at 16 bits about 30 bytes a token and hidden unit and 8 a unit of the gated feed-forward,
    counted from what its backward pass needs with LoRA on all seven linear layers; a tower's block likewise, where
    it is trained. With checkpointing each block's input is kept, and one block at a time in full. Logits are those
    of the answers alone, in 32 bits: themselves, their softmax and its gradient.

    Args:
        shape: of the base.
        recipe: its batch, scope and checkpointing.
        method: lora, qlora or full.
        picture: language tokens of a picture.
    """
    held = {
        "lora": 2 * shape.parameters,
        "qlora": 0.516 * (shape.parameters - shape.embeddings) + 2 * shape.embeddings,
        "full": 4 * shape.parameters,
    }[method]
    trained = shape.parameters if method == "full" else lora_parameters(shape, recipe)
    checkpointed = recipe.gradient_checkpointing
    tokens = picture + QUESTION_TOKENS + ANSWER_TOKENS
    kept = tokens * _blocks(shape.layers, shape.hidden, shape.intermediate, checkpointed)
    kept += ANSWER_TOKENS * 3 * 4 * shape.vocabulary
    if trains_tower(recipe, method):
        tower = shape.vision
        patches = picture * tower.patches_a_token
        kept += patches * _blocks(tower.layers, tower.hidden, tower.intermediate, checkpointed)
    adapter = trained * (4 if method == "full" else 8)  # gradients; of an adapter the weights as well
    return Memory(held, adapter, trained * 8, recipe.batch * kept)


def _blocks(layers: int, hidden: int, intermediate: int, checkpointed: bool) -> float:
    """Bytes a token that a stack of blocks keeps for its backward pass."""
    block = 30 * hidden + 8 * intermediate
    return 2 * hidden * layers + block if checkpointed else block * layers


def trains_tower(recipe: Recipe, method: Method) -> bool:
    return method == "full" or recipe.lora_scope == "language+vision"


def lora_parameters(shape: Shape, recipe: Recipe) -> float:
    """Rank × (in + out) of all seven linear layers a block, and of the tower's where the recipe has it in scope."""

    def block(hidden: int, intermediate: int, key_value: int) -> int:
        return 4 * hidden + 2 * (hidden + key_value) + 3 * (hidden + intermediate)

    width = shape.layers * block(shape.hidden, shape.intermediate, shape.key_value)
    if recipe.lora_scope == "language+vision":
        tower = shape.vision
        width += tower.layers * block(tower.hidden, tower.intermediate, tower.hidden)
    return recipe.lora_rank * width


def flops(shape: Shape, recipe: Recipe, method: Method, picture: float, epochs: float) -> float:
    """Of one sample over all epochs: 2 a parameter and token forward, as much back for the inputs, and as much
    again for the weights where those are trained (Kaplan et al. 2020); checkpointing adds a forward.

    A frozen tower runs forward alone, and once where its features are kept (`training.vlm.vision_cache`).
    """
    passes = (6 if method == "full" else 4) + (2 if recipe.gradient_checkpointing else 0)
    language = passes * shape.language * (picture + QUESTION_TOKENS + ANSWER_TOKENS) * epochs
    often = passes * epochs if trains_tower(recipe, method) else 2 * (1 if recipe.shows_scans_as_they_are else epochs)
    return language + often * shape.vision.parameters * picture * shape.vision.patches_a_token


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
