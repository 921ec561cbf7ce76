"""The bundled VLM from scratch, on simulated scans alone.

The language loss alone learns slowly. A second, dense loss on the merged vision tokens (which classes
have a box near this token?) makes the vision tower learn quickly; its head is dropped afterwards.
"""

from __future__ import annotations

import json
import logging
import random
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import TrainerCallback, TrainingArguments

from training.bundled_vlm import MERGE, PATCH, build_model, build_processor
from training.collate import Collator, Example
from training.finetune import FullTrainer
from xray_app.errors import BadDataset
from xray_app.report import format_report, instruction
from xray_app.taxonomy import Taxonomy

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PretrainConfig:
    """The committed recipe of the bundled VLM.

    Attributes:
        pixels: pixels a picture is scaled to; 75,264 gives about 96 picture tokens.
        steps, batch, learning_rate, warmup_steps, weight_decay: of AdamW with cosine decay.
        dense_weight: weight of the dense loss (summed over classes, averaged over tokens).
        scoped_share: share of samples with a "Report only" instruction.
        save_every: steps between checkpoints.
    """

    pixels: int = 75_264
    steps: int = 2600
    batch: int = 32
    learning_rate: float = 1e-3
    warmup_steps: int = 150
    weight_decay: float = 0.05
    dense_weight: float = 1.5
    scoped_share: float = 0.35
    save_every: int = 100
    seed: int = 0


@dataclass(frozen=True)
class Boxed:
    """A simulated scan at model resolution. `boxes`: (class index, x0, y0, x1, y1), fractions."""

    pixels: Tensor
    boxes: Tensor


class SimulatedScans(Dataset[Boxed]):
    """A folder written by `python -m training simulate`, held in memory at model resolution."""

    def __init__(self, folder: Path, processor: Any, taxonomy: Taxonomy) -> None:
        names = yaml.safe_load((folder / "data.yaml").read_text())["names"]
        names = list(names.values()) if isinstance(names, dict) else names
        self.names = [taxonomy.resolve(name).name for name in names]
        files = sorted((folder / "images" / "train").glob("*.jpg"))
        if not files:
            raise BadDataset(f"{folder} holds no images/train/*.jpg. Make some with `simulate`.")
        # Decoding and scaling release the interpreter's lock. The training reads them from this process: a
        # loader process forked from it copies all scans anew each epoch, until the machine swaps.
        with ThreadPoolExecutor() as pool:
            self.scans = list(pool.map(lambda file: self._read(file, processor.image_processor), files))

    @staticmethod
    def _read(file: Path, image_processor: Any) -> Boxed:
        with Image.open(file) as image:
            pixels = torch.from_numpy(_array(image.convert("RGB"))).permute(2, 0, 1)
        height, width = resized_size(image_processor, pixels.shape[1], pixels.shape[2])
        pixels = torch.nn.functional.interpolate(
            pixels[None].float(), (height, width), mode="bicubic", antialias=True, align_corners=False
        )[0]
        label = file.parent.parent.parent / "labels" / "train" / f"{file.stem}.txt"
        rows = [list(map(float, line.split())) for line in label.read_text().splitlines() if line]
        boxes = torch.tensor(rows).reshape(-1, 5)
        centre, half = boxes[:, 1:3], boxes[:, 3:5] / 2
        corners = torch.cat([boxes[:, :1], centre - half, centre + half], dim=1)
        return Boxed(pixels.round().clamp(0, 255).to(torch.uint8), corners)

    def __len__(self) -> int:
        return len(self.scans)

    def __getitem__(self, index: int) -> Boxed:
        return self.scans[index]


def _array(image: Image.Image) -> Any:
    import numpy

    return numpy.array(image)


def resized_size(image_processor: Any, height: int, width: int) -> tuple[int, int]:
    """The size (height, width) the processor scales a picture to."""
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    size = image_processor.size
    return smart_resize(
        height,
        width,
        factor=PATCH * MERGE,
        min_pixels=size["shortest_edge"],
        max_pixels=size["longest_edge"],
    )


def flip(scan: Boxed, horizontal: bool, vertical: bool, transpose: bool) -> Boxed:
    """Mirrors and transposes a scan with its boxes: a bag lies on the belt any way round."""
    pixels, boxes = scan.pixels, scan.boxes.clone()
    if horizontal:
        pixels = pixels.flip(2)
        boxes[:, [1, 3]] = 1 - boxes[:, [3, 1]]
    if vertical:
        pixels = pixels.flip(1)
        boxes[:, [2, 4]] = 1 - boxes[:, [4, 2]]
    if transpose:
        pixels = pixels.transpose(1, 2)
        boxes = boxes[:, [0, 2, 1, 4, 3]]
    return Boxed(pixels, boxes)


def dense_target(boxes: Tensor, rows: int, columns: int, classes: int) -> Tensor:
    """Which classes lie at each merged vision token.

    Args:
        boxes: (N, 5) class index and corners as fractions.

    Returns:
        (rows * columns, classes) of 0 and 1, row by row: 1 at the tokens under the middle of a box.
    """
    target = torch.zeros(rows, columns, classes)
    for kind, x0, y0, x1, y1 in boxes.tolist():
        x, y = (x0 + x1) / 2 * columns, (y0 + y1) / 2 * rows
        reach_x = max(0.6, 0.3 * (x1 - x0) * columns)
        reach_y = max(0.6, 0.3 * (y1 - y0) * rows)
        left, right = max(0, int(x - reach_x)), min(columns - 1, int(x + reach_x))
        top, bottom = max(0, int(y - reach_y)), min(rows - 1, int(y + reach_y))
        target[top : bottom + 1, left : right + 1, int(kind)] = 1
    return target.reshape(rows * columns, classes)


class PretrainCollator:
    """Augments, words and encodes simulated scans, a share of them under a scoped instruction."""

    def __init__(self, processor: Any, names: Sequence[str], taxonomy: Taxonomy, config: PretrainConfig):
        self.collate = Collator(processor)
        self.names = list(names)
        self.taxonomy = taxonomy
        self.scoped_share = config.scoped_share

    def __call__(self, scans: Sequence[Boxed]) -> dict[str, Tensor]:
        """A training batch plus `dense` (tokens of all pictures, classes)."""
        turned = [flip(scan, *(random.random() < 0.5 for _ in range(3))) for scan in scans]
        inputs = self.collate([self._example(scan) for scan in turned])
        targets = []
        for scan, (_, rows, columns) in zip(turned, inputs["image_grid_thw"].tolist(), strict=True):
            targets.append(dense_target(scan.boxes, rows // MERGE, columns // MERGE, len(self.names)))
        return {**inputs, "dense": torch.cat(targets)}

    def _example(self, scan: Boxed) -> Example:
        counts = Counter(self.names[int(kind)] for kind in scan.boxes[:, 0].tolist())
        scope = None
        if random.random() < self.scoped_share:
            absent = [name for name in self.names if name not in counts]
            scope = random.sample(sorted(counts), random.randint(0, len(counts)))
            scope += random.sample(absent, random.randint(0 if scope else 1, 8))
            counts = Counter({name: counts[name] for name in scope if name in counts})
        image = Image.fromarray(scan.pixels.permute(1, 2, 0).contiguous().numpy())
        return Example(image, instruction(scope, self.taxonomy), format_report(counts, self.taxonomy))


class DenseTrainer(FullTrainer):
    """Adds the dense loss on the vision tokens to the language loss."""

    def __init__(self, *args: Any, dense_weight: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.dense_weight = dense_weight
        self._seen: list[Tensor] = []
        self.model.model.visual.register_forward_hook(self._remember)

    def _remember(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._seen = [output.pooler_output]

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Tensor:
        target = inputs.pop("dense")
        language = model(**inputs).loss
        guess = model.dense_head(self._seen.pop().float())
        dense = nn.functional.binary_cross_entropy_with_logits(guess, target, reduction="none")
        loss: Tensor = language + self.dense_weight * dense.sum(1).mean()
        return loss


class _LogToFile(TrainerCallback):
    def __init__(self, file: Path) -> None:
        self.file = file

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        with self.file.open("a") as handle:
            handle.write(json.dumps({"step": state.global_step, **(logs or {})}) + "\n")


def pretrain(
    data: Path, out: Path, taxonomy: Taxonomy, config: PretrainConfig | None = None, *, resume: bool = False
) -> Path:
    """Trains the bundled VLM from random weights and saves it with its processor in `out`/model.

    Args:
        data: a folder written by `simulate`.
        out: checkpoints, log and the finished model go here.
        resume: goes on from the newest checkpoint in `out`.

    Returns:
        The folder of the finished model, loadable by `AutoModelForImageTextToText`.
    """
    config = config or PretrainConfig()
    processor = build_processor(taxonomy, config.pixels)
    scans = SimulatedScans(data, processor, taxonomy)
    logger.info("%d simulated scans in memory", len(scans))
    model = build_model(processor, config.seed)
    model.dense_head = nn.Linear(model.config.text_config.hidden_size, len(scans.names))
    arguments = TrainingArguments(
        output_dir=str(out / "checkpoints"),
        max_steps=config.steps,
        per_device_train_batch_size=config.batch,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": 0.03},
        warmup_steps=config.warmup_steps,
        weight_decay=config.weight_decay,
        adam_beta2=0.98,
        max_grad_norm=1.0,
        use_cpu=not torch.cuda.is_available(),
        bf16=True,
        logging_steps=20,
        save_steps=config.save_every,
        save_total_limit=2,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        seed=config.seed,
        disable_tqdm=True,
        report_to="none",
    )
    trainer = DenseTrainer(
        model=model,
        args=arguments,
        train_dataset=scans,
        data_collator=PretrainCollator(processor, scans.names, taxonomy, config),
        dense_weight=config.dense_weight,
        callbacks=[_LogToFile(out / "log.jsonl")],
    )
    out.mkdir(parents=True, exist_ok=True)
    trainer.train(resume_from_checkpoint=resume or None)
    return save(model, processor, out / "model")


def save(model: Any, processor: Any, folder: Path) -> Path:
    """Saves model (bf16, without the dense head) and processor as one plain model folder."""
    if hasattr(model, "dense_head"):
        del model.dense_head
    model.to(torch.bfloat16).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
