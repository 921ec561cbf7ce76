"""Fine-tuning a vision-language model on samples: LoRA, QLoRA or in full, by `transformers.Trainer`."""

from __future__ import annotations

import hashlib
import logging
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, TaskType, get_peft_model, prepare_model_for_kbit_training
from PIL import ImageOps
from PIL.Image import Image, Transpose
from torch.utils.data import Dataset
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments

from training.collate import Collator, Example
from training.recipe import Recipe
from training.samples import Sample, read_jsonl
from training.training_facts import TrainingFacts
from xray_app.errors import BadDataset, BadRecipe
from xray_app.types import Method
from xray_app.vlm.local import Dtype, LocalVlm

logger = logging.getLogger(__name__)

OnProgress = Callable[[float, dict[str, float]], bool]
"""Told the fraction done and the newest figures; answers True when the run is to stop."""


class Stopped(Exception):
    """The run was asked to stop and did."""


class Samples(Dataset[Example]):
    """Samples as the collator wants them, opened when they are needed."""

    def __init__(self, samples: Sequence[Sample], *, turns: bool) -> None:
        self.samples = samples
        self.turns = turns

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Example:
        sample = self.samples[index]
        image = sample.open()
        return Example(turned(image) if self.turns else image, sample.instruction, sample.response)


def turned(image: Image) -> Image:
    """The scan mirrored and transposed at random: a bag lies on the belt any way round."""
    if random.random() < 0.5:
        image = ImageOps.mirror(image)
    if random.random() < 0.5:
        image = ImageOps.flip(image)
    return image.transpose(Transpose.TRANSPOSE) if random.random() < 0.5 else image


def split_for_stopping(samples: Sequence[Sample]) -> tuple[list[Sample], list[Sample]]:
    """(training, stopping): one bag in ten by hash is kept to choose the best checkpoint."""

    def kept(sample: Sample) -> bool:
        return hashlib.sha256(f"stopping\0{sample.bag_id}".encode()).digest()[0] % 10 == 0

    return [one for one in samples if not kept(one)], [one for one in samples if kept(one)]


def wrap(model: Any, recipe: Recipe, method: Method) -> Any:
    """Puts the recipe's fresh LoRA on a base model, in place."""
    if method == "qlora":
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=recipe.gradient_checkpointing)
    config = LoraConfig(
        r=recipe.lora_rank,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        target_modules=recipe.target_modules,
        task_type=TaskType.CAUSAL_LM,
    )
    return get_peft_model(model, config)


def load_base(recipe: Recipe, method: Method, base: str | None = None) -> LocalVlm:
    """The recipe's base model, as the method wants it: NF4 for QLoRA, else 16 or 32 bits."""
    from xray_app.settings import BUNDLED_VLM

    name = base or recipe.base
    dtype: Dtype = "nf4" if method == "qlora" else "auto"
    folder, label = (str(BUNDLED_VLM), "bundled") if name == "bundled" else (name, name)
    vlm = LocalVlm.load(folder, dtype, label=label)
    if recipe.max_pixels is not None:
        size = dict(vlm.processor.image_processor.size)
        size["longest_edge"] = min(recipe.max_pixels, size["longest_edge"])
        vlm.processor.image_processor.size = size
    return vlm


class FullTrainer(Trainer):
    """A Trainer whose checkpoints of a whole model can be resumed.

    transformers 5 saves Qwen-VL checkpoints under the hub's older parameter names but resumes from the
    module's own: every key would be missing, with no more than a warning.
    """

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        super()._save(output_dir, state_dict)
        if isinstance(self.model, PreTrainedModel) and self.args.should_save:
            folder = output_dir or self.args.output_dir
            self.model.save_pretrained(folder, state_dict=state_dict, save_original_format=False)


class _Report(TrainerCallback):
    """Passes figures on, and stops the trainer when it is told to."""

    def __init__(self, on_progress: OnProgress) -> None:
        self.on_progress = on_progress
        self.started = time.monotonic()
        self.stopped = False

    def _tell(self, state: Any, figures: dict[str, float], control: Any) -> None:
        done = min(1.0, state.global_step / max(1, state.max_steps))
        seconds = round(time.monotonic() - self.started, 2)
        if self.on_progress(done, {"step": state.global_step, "seconds": seconds, **figures}):
            self.stopped = control.should_training_stop = True

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._tell(state, {}, control)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        wanted = {"loss": "loss", "eval_loss": "stopping_loss", "learning_rate": "learning_rate"}
        figures = {ours: float(logs[theirs]) for theirs, ours in wanted.items() if theirs in (logs or {})}
        if figures:
            self._tell(state, figures, control)


def finetune(
    data: Path,
    recipe: Recipe,
    method: Method,
    out: Path,
    *,
    base: str | None = None,
    epochs: float | None = None,
    resume: bool = False,
    on_progress: OnProgress = lambda done, figures: False,
) -> Path:
    """Fine-tunes the recipe's base on `train.jsonl` and saves the best checkpoint's adapter.

    Args:
        data: `train.jsonl`, or the folder it is in. No other file is opened: `val.jsonl` never is.
        recipe: base and settings.
        method: `lora`, `qlora` (base in NF4) or `full`.
        out: checkpoints go to `out`/checkpoints, the adapter to `out`/adapter.
        base: another base than the recipe's, for instance a folder.
        epochs: another number than the recipe's.
        resume: goes on from the newest checkpoint in `out`.
        on_progress: told after every step; returns True to stop.

    Returns:
        The folder of the adapter in PEFT's format (of a whole model for `full`).

    Raises:
        BadDataset: no sample to train on, or one that does not fit.
        BadRecipe: a setting that cannot be.
        Stopped: `on_progress` asked for it; checkpoints stay.
    """
    samples = read_jsonl(data / "train.jsonl" if data.is_dir() else data)
    training, stopping = split_for_stopping(samples)
    if not training:
        raise BadDataset(f"{data} holds no sample to train on.")
    if epochs is not None and not 0 < epochs <= 1000:
        raise BadRecipe(f"Epochs must be above 0 and at most 1000, not {epochs}.")
    vlm = load_base(recipe, method, base)
    # Wrapping draws the adapter's first weights, so the seed must stand before it.
    torch.manual_seed(recipe.seed)
    random.seed(recipe.seed)
    model = vlm.model if method == "full" else wrap(vlm.model, recipe, method)
    if method == "full":
        model.requires_grad_(True)
    trainer = _trainer(model, vlm, recipe, training, stopping, out, epochs or recipe.epochs)
    report = _Report(on_progress)
    trainer.add_callback(report)
    trainer.train(resume_from_checkpoint=resume or None)
    if report.stopped:
        raise Stopped
    folder = out / "adapter"
    model.save_pretrained(folder)
    vlm.processor.save_pretrained(folder if method == "full" else folder / "processor")
    took = time.monotonic() - report.started
    facts = TrainingFacts(
        method=method, samples=len(training), epochs=epochs or recipe.epochs, seconds=took, resumed=resume
    )
    facts.write(folder)
    return folder


def _trainer(
    model: Any,
    vlm: LocalVlm,
    recipe: Recipe,
    training: Sequence[Sample],
    stopping: Sequence[Sample],
    out: Path,
    epochs: float,
) -> Trainer:
    gpu = torch.cuda.is_available()
    bf16 = not gpu or torch.cuda.is_bf16_supported()
    step_samples = recipe.batch * recipe.accumulation
    steps = max(1, int(epochs * -(-len(training) // step_samples)))
    arguments = TrainingArguments(
        output_dir=str(out / "checkpoints"),
        num_train_epochs=epochs,
        per_device_train_batch_size=recipe.batch,
        per_device_eval_batch_size=recipe.batch,
        gradient_accumulation_steps=recipe.accumulation,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, round(recipe.warmup_fraction * steps)),
        weight_decay=recipe.weight_decay,
        max_grad_norm=1.0,
        use_cpu=not gpu,
        bf16=bf16,
        fp16=gpu and not bf16,
        logging_steps=1 if steps <= 200 else 10,
        eval_strategy="epoch" if stopping else "no",
        save_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=bool(stopping),
        metric_for_best_model="eval_loss" if stopping else None,
        activation_checkpointing=recipe.gradient_checkpointing,
        remove_unused_columns=False,
        label_names=["labels"],
        seed=recipe.seed,
        disable_tqdm=True,
        report_to="none",
    )
    return FullTrainer(
        model=model,
        args=arguments,
        train_dataset=Samples(training, turns=recipe.turns),
        eval_dataset=Samples(stopping, turns=False) if stopping else None,
        data_collator=Collator(vlm.processor, recipe.max_tokens),
    )
