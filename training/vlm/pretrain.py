"""Pretrains the bundled VLM from scratch, on simulated scans alone.

The language loss alone learns slowly. Two dense losses make the vision tower learn quickly, and their heads are
dropped afterwards: which classes have a box near this token, and what the bundled detector sees at this patch.
"""

from __future__ import annotations

import json
import logging
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback, TrainingArguments
from transformers.modeling_outputs import BaseModelOutputWithPooling

from training.data.collate import Collator
from training.vlm.bundled import IMAGE_PAD, MERGE, PATCH, build_model, build_processor
from training.vlm.checkpoints import newest_checkpoint
from training.vlm.distillation import DetectorTeacher
from training.vlm.fast_tower import BatchedTower
from training.vlm.finetune import ResumableTrainer
from training.vlm.optimizer import MuonAdamW
from training.vlm.pretrain_data import BoxedScan, SimulatedScanDataset, dense_target, flip
from xray_app.report import format_report, instruction
from xray_app.settings import BUNDLED_DETECTOR
from xray_app.taxonomy import Taxonomy
from xray_app.vlm.prompt import Encoded, batch, build_messages

logger = logging.getLogger(__name__)

HEADS = ("embed_tokens", "lm_head", "dense_head", "imitation_head")
"""What AdamW trains though it is a matrix."""

SCANS_TO_SCALE = 64
"""Scans whose features give the scale of the teacher's."""


@dataclass(frozen=True)
class PretrainConfig:
    """The committed recipe of the bundled VLM.

    Attributes:
        pixels: pixels a picture is scaled to; 100,352 gives about 128 picture tokens and is about the size the
            simulator draws.
        steps, batch, learning_rate, warmup_steps, weight_decay: of Muon and AdamW with cosine decay.
        dense_weight: weight of the dense loss (summed over classes, averaged over tokens).
        imitation_weight: weight of the detector's features; 0 needs no detector.
        save_every: steps between checkpoints.
        compiled: compile the blocks: a quarter less time a step, for a minute at the start and a C++ compiler.
    """

    pixels: int = 100_352
    steps: int = 3000
    batch: int = 32
    learning_rate: float = 6e-4
    warmup_steps: int = 100
    weight_decay: float = 0.05
    dense_weight: float = 1.5
    imitation_weight: float = 1.0
    save_every: int = 100
    compiled: bool = True
    seed: int = 0


class PretrainCollator:
    """Turns, words and encodes simulated scans: of each, the full question and a scoped one."""

    def __init__(self, processor: Any, names: Sequence[str], taxonomy: Taxonomy) -> None:
        self.collate = Collator(processor)
        self.processor = processor
        self.names = list(names)
        self.taxonomy = taxonomy

    def __call__(self, scans: Sequence[BoxedScan]) -> dict[str, Any]:
        """A training batch of B scans.

        Returns:
            `pixel_values` and `image_grid_thw` of B pictures; `text`, model input without pictures of 2 B rows:
            the full question of every scan, then a scoped one of every scan; `dense`, (merged tokens of all
            pictures, classes); `scans`, the scans as they were turned.
        """
        turned = [flip(scan, *(random.random() < 0.5 for _ in range(3))) for scan in scans]
        pictures = dict(self.processor.image_processor([scan.pixels for scan in turned], return_tensors="pt"))
        grids = [(rows // MERGE, columns // MERGE) for _, rows, columns in pictures["image_grid_thw"].tolist()]
        questions = [self._question(scan, scoped) for scoped in (False, True) for scan in turned]
        tokens = [rows * columns for rows, columns in grids] * 2
        ids = [prompt_ids(self.processor, asked, n) for (asked, _), n in zip(questions, tokens, strict=True)]
        picture_id = self.processor.tokenizer.convert_tokens_to_ids(IMAGE_PAD)
        encoded = Encoded(ids, [[int(token == picture_id) for token in row] for row in ids], {})
        responses = [self.collate.response_ids(answer) for _, answer in questions]
        pad = self.processor.tokenizer.pad_token_id
        return {
            **pictures,
            "text": batch(encoded, pad, side="right", responses=responses),
            "dense": torch.cat(
                [dense_target(scan.boxes, *grid, len(self.names)) for scan, grid in zip(turned, grids, strict=True)]
            ),
            "scans": turned,
        }

    def _question(self, scan: BoxedScan, scoped: bool) -> tuple[str, str]:
        """(instruction, response)."""
        counts = Counter(self.names[int(kind)] for kind in scan.boxes[:, 0].tolist())
        scope = None
        if scoped:
            absent = [name for name in self.names if name not in counts]
            scope = random.sample(sorted(counts), random.randint(0, len(counts)))
            scope += random.sample(absent, random.randint(0 if scope else 1, 8))
            counts = Counter({name: counts[name] for name in scope if name in counts})
        return instruction(scope, self.taxonomy), format_report(counts, self.taxonomy)


def prompt_ids(processor: Any, asked: str, picture_tokens: int) -> list[int]:
    """The serving prompt's ids for a picture of so many tokens, without encoding the picture again."""
    text = processor.apply_chat_template(build_messages(asked), tokenize=False, add_generation_prompt=True)
    expanded = text.replace(IMAGE_PAD, IMAGE_PAD * picture_tokens)
    return list(map(int, processor.tokenizer(expanded, add_special_tokens=False)["input_ids"]))


class PretrainTrainer(ResumableTrainer):
    """Language loss, dense loss and imitation of the teacher, on vision features computed once a scan."""

    def __init__(self, *args: Any, config: PretrainConfig, teacher: DetectorTeacher | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.config = config
        self.teacher = teacher
        visual, layers = self.model.model.visual, self.model.model.language_model.layers
        self.tower = BatchedTower(visual, config.pixels // PATCH**2, torch.bfloat16, compiled=config.compiled)
        if config.compiled:
            for layer in layers:
                layer.compile(dynamic=True)
        self._parts: list[tuple[float, ...]] = []

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Tensor:
        merged, patches = self.tower(inputs["pixel_values"], inputs["image_grid_thw"])
        merged = merged.float()
        per_picture = list(merged.split((inputs["image_grid_thw"].prod(1) // MERGE**2).tolist()))
        pictures = {"image": BaseModelOutputWithPooling(pooler_output=per_picture * 2)}
        grids = inputs["image_grid_thw"].repeat(2, 1)
        language = model(**inputs["text"], image_grid_thw=grids, mm_encoder_outputs=pictures).loss
        guess = model.dense_head(merged)
        dense = nn.functional.binary_cross_entropy_with_logits(guess, inputs["dense"], reduction="none").sum(1).mean()
        loss: Tensor = language + self.config.dense_weight * dense
        parts = [language.item(), dense.item()]
        if self.teacher is not None:
            imitation = self.teacher.loss(model.imitation_head(patches.float()), inputs["scans"])
            loss = loss + self.config.imitation_weight * imitation
            parts.append(imitation.item())
        self._parts.append(tuple(parts))
        return loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if self._parts:
            means = [sum(column) / len(column) for column in zip(*self._parts, strict=True)]
            logs = {**logs, **dict(zip(("language", "dense", "imitation"), means, strict=False))}
            self._parts.clear()
        super().log(logs, *args, **kwargs)


class _LogToFile(TrainerCallback):
    def __init__(self, file: Path) -> None:
        self.file = file

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        with self.file.open("a") as handle:
            handle.write(json.dumps({"step": state.global_step, **(logs or {})}) + "\n")


def pretrain(
    data: Sequence[Path],
    out: Path,
    taxonomy: Taxonomy,
    config: PretrainConfig | None = None,
    *,
    start: Path | None = None,
    resume: bool = False,
) -> Path:
    """Trains the bundled VLM and saves it with its processor in `out`/model.

    Args:
        data: folders written by `simulate`.
        out: checkpoints, log and the finished model go here.
        start: a model folder of the same shape whose weights to begin with; without it they are random.
        resume: resumes from the newest whole checkpoint in `out`, from the start where there is none; `config` may
            ask for more steps than before.

    Returns:
        The folder of the finished model, loadable by `AutoModelForImageTextToText`.

    Raises:
        BadDataset: a folder is not what `simulate` writes.
        BadRecipe: there are checkpoints and `resume` was not asked for, or they are of another training.
    """
    config = config or PretrainConfig()
    checkpoint = newest_checkpoint(out, resume, _inputs(data, config, start))
    processor = build_processor(taxonomy, config.pixels)
    scans = SimulatedScanDataset(data, processor, taxonomy)
    logger.info("%d simulated scans in memory", len(scans))
    model = build_model(processor, config.seed)
    if start is not None:
        model.load_state_dict(type(model).from_pretrained(start, dtype=torch.float32).state_dict())
    model.dense_head = _head(model.config.text_config.hidden_size, len(scans.names), bias=-4.0)
    teacher = None
    if config.imitation_weight > 0:
        teacher = DetectorTeacher(BUNDLED_DETECTOR, scans.scans[:SCANS_TO_SCALE])
        model.imitation_head = _head(model.config.vision_config.hidden_size, teacher.width)
    arguments = TrainingArguments(
        output_dir=str(out / "checkpoints"),
        max_steps=config.steps,
        per_device_train_batch_size=config.batch,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": 0.03},
        warmup_steps=config.warmup_steps,
        max_grad_norm=1.0,
        use_cpu=not torch.cuda.is_available(),
        bf16=True,
        logging_steps=20,
        save_steps=config.save_every,
        save_total_limit=2,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_drop_last=True,  # one shape of batch, one compiled tower
        seed=config.seed,
        disable_tqdm=True,
        report_to="none",
    )
    trainer = PretrainTrainer(
        model=model,
        args=arguments,
        train_dataset=scans,
        data_collator=PretrainCollator(processor, scans.names, taxonomy),
        config=config,
        teacher=teacher,
        optimizers=(MuonAdamW(model, config.learning_rate, config.weight_decay, HEADS), None),
        callbacks=[_LogToFile(out / "log.jsonl")],
    )
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    return save(model, processor, out / "model")


def _inputs(data: Sequence[Path], config: PretrainConfig, start: Path | None) -> list[Any]:
    """What the weights follow from. Scans go by name and size: to hash many thousands would take minutes."""
    scans = [[(file.name, file.stat().st_size) for file in sorted(folder.glob("*/train/*"))] for folder in data]
    same = {name: value for name, value in asdict(config).items() if name not in ("steps", "save_every", "compiled")}
    return [scans, same, None if start is None else str(start)]


def _head(width: int, outputs: int, bias: float = 0.0) -> nn.Module:
    """A linear head that begins at zero: random weights would drag a trained tower away before they mean anything."""
    linear = nn.Linear(width, outputs)
    nn.init.zeros_(linear.weight)
    nn.init.constant_(linear.bias, bias)
    return nn.Sequential(nn.LayerNorm(width), linear)


def save(model: Any, processor: Any, folder: Path) -> Path:
    """Saves model (bf16, without the heads of pretraining) and processor as one plain model folder."""
    for head in ("dense_head", "imitation_head"):
        if hasattr(model, head):
            delattr(model, head)
    model.to(torch.bfloat16).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
