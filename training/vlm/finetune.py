"""Fine-tunes a vision-language model on samples: LoRA, QLoRA or in full, by `transformers.Trainer`."""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, TaskType, get_peft_model, prepare_model_for_kbit_training
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainerState, TrainingArguments
from transformers.loss.loss_utils import ForCausalLMLoss

from training.data.collate import Collator, keep_answer_logits
from training.data.dataset import SampleDataset, repeat_rare
from training.data.length_sampler import WORTHWHILE, LengthGroupedSampler, padded_share, token_counts
from training.data.samples import Sample, read_jsonl
from training.data.snapshot import samples_sha256
from training.data.threat_projection import Projector
from training.data.training_record import TrainingRecord
from training.recipes.recipe import Recipe, check_reporter
from training.vlm.checkpoints import newest_checkpoint
from training.vlm.fast_lora import patch_lora_forward
from training.vlm.fast_tower import attends_to_all, patch_tower_forward
from training.vlm.vision_cache import CachedCollator, CachedSamples, VisionCache, cacheable, inner_model
from xray_app.errors import BadRecipe, Stopped
from xray_app.settings import Settings
from xray_app.taxonomy import Taxonomy, load_taxonomy
from xray_app.types import Method
from xray_app.vlm.local import Dtype, LocalVlm, write_base
from xray_app.vlm.pictures import lowered, set_picture_limits

OnProgress = Callable[[float, dict[str, float]], bool]
"""Called with the fraction done and the newest figures; returns True to stop the training."""


Score = Callable[[LocalVlm, Sequence[Sample]], float]
"""How good a model is on samples; more is better."""


STOPPING_LEAST = 20
"""Samples below which the loss of a stopping split is noise."""


def split_for_stopping(samples: Sequence[Sample]) -> tuple[list[Sample], list[Sample]]:
    """(training, stopping): one bag in ten by hash is kept to choose the best checkpoint.

    Where that would be fewer than `STOPPING_LEAST` samples nothing is kept: all are trained on, and the last
    checkpoint is the one. Measured with a few dozen corrected scans: item F1 on them 0.70 instead of 0.43.
    """

    def kept(sample: Sample) -> bool:
        return hashlib.sha256(f"stopping\0{sample.bag_id}".encode()).digest()[0] % 10 == 0

    stopping = [one for one in samples if kept(one)]
    if len(stopping) < STOPPING_LEAST:
        return list(samples), []
    return [one for one in samples if not kept(one)], stopping


def add_lora(model: Any, recipe: Recipe, method: Method) -> Any:
    """Puts the recipe's fresh LoRA on a base model, in place."""
    if method == "qlora":
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=recipe.gradient_checkpointing)
    config = LoraConfig(
        r=recipe.lora_rank,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        target_modules=recipe.target_modules(model.config.model_type),
        use_rslora=recipe.use_rslora,
        use_dora=recipe.use_dora,
        task_type=TaskType.CAUSAL_LM,
    )
    return get_peft_model(model, config)


def load_base(recipe: Recipe, method: Method, base: str | None = None) -> LocalVlm:
    """The recipe's base model, as the method wants it: NF4 for QLoRA, else 16 or 32 bits."""
    from xray_app.settings import BUNDLED_VLM

    name = base or recipe.base
    # In full at 32 bits: the smallest steps of AdamW are lost in 16-bit weights.
    wanted: dict[Method, Dtype] = {"lora": "auto", "qlora": "nf4", "full": "fp32"}
    dtype = wanted[method]
    folder, label = (str(BUNDLED_VLM), "bundled") if name == "bundled" else (name, name)
    vlm = LocalVlm.load(folder, dtype, label=label)
    if recipe.max_pixels is not None:
        set_picture_limits(vlm.model, vlm.processor, lowered(vlm.processor, recipe.max_pixels))
    return vlm


class ResumableTrainer(Trainer):
    """A Trainer whose checkpoints of a whole model can be resumed.

    transformers 5 saves Qwen-VL checkpoints under the hub's older parameter names but resumes from the
    module's own: every key would be missing, with no more than a warning.

    Attributes:
        order: gives the samples of each epoch; None is at random.
        cache: of vision features, where batches are of `CachedCollator`.
        score: how good the model is on what is kept for stopping; joins each evaluation's figures.
        early_stopping: ends the training; None trains to the last epoch.
    """

    order: LengthGroupedSampler | None = None
    cache: VisionCache | None = None
    score: Callable[[], float] | None = None
    early_stopping: _EarlyStopping | None = None

    def train_from(self, checkpoint: Path | None) -> None:
        """Trains from a checkpoint on, None being the start. Where early stopping had ended the training by then,
        the library would train another epoch: its best checkpoint is taken instead."""
        if checkpoint is not None and self.early_stopping is not None:
            state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
            best = checkpoint.with_name(Path(state.best_model_checkpoint or "").name)  # the folder may have been moved
            if self.early_stopping.is_over(state) and best.is_dir():
                state.best_model_checkpoint = str(best)
                self.state = state
                self._load_best_model()
                return
        self.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))

    def _get_train_sampler(self, train_dataset: Dataset[Any] | None = None) -> Any:
        return self.order or super()._get_train_sampler(train_dataset)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        if self.cache is not None:
            inputs = self.cache.with_features(self.accelerator.unwrap_model(model), inputs, self.accelerator.autocast)
        return super().compute_loss(model, keep_answer_logits(inputs), *args, **kwargs)

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        output = super().evaluation_loop(*args, **kwargs)
        if self.score is not None and output.metrics is not None:
            output.metrics["eval_score"] = self.score()
        return output

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        super()._save(output_dir, state_dict)
        if isinstance(self.model, PreTrainedModel) and self.args.should_save:
            folder = output_dir or self.args.output_dir
            self.model.save_pretrained(folder, state_dict=state_dict, save_original_format=False)


def token_loss(outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
    """Cross-entropy over all answer tokens of a step, however it is cut into accumulated batches.

    Left to themselves, Qwen-VL models take the mean of each batch: a token next to short answers would weigh more.
    """
    logits = outputs["logits"]
    loss: Tensor = ForCausalLMLoss(logits, labels, logits.shape[-1], num_items_in_batch)
    return loss


class _EarlyStopping(TrainerCallback):
    """Ends a training that has not become better for so many evaluations.

    It reads the log alone, so that a resumed run stops where the undisturbed one does.
    """

    def __init__(self, metric: str, greater: bool, patience: int) -> None:
        self.metric = metric
        self.sign = 1 if greater else -1
        self.patience = patience

    def is_over(self, state: Any) -> bool:
        seen = [self.sign * row[self.metric] for row in state.log_history if self.metric in row]
        return bool(seen) and len(seen) - 1 - seen.index(max(seen)) >= self.patience

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.is_over(state):
            control.should_training_stop = True


class _ProgressCallback(TrainerCallback):
    """Passes figures on, and stops the trainer when `on_progress` says so."""

    def __init__(self, on_progress: OnProgress) -> None:
        self.on_progress = on_progress
        self.started = time.monotonic()
        self.stopped = False

    def _report(self, state: Any, figures: dict[str, float], control: Any) -> None:
        done = min(1.0, state.global_step / max(1, state.max_steps))
        seconds = round(time.monotonic() - self.started, 2)
        if self.on_progress(done, {"step": state.global_step, "seconds": seconds, **figures}):
            self.stopped = control.should_training_stop = True

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._report(state, {}, control)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        wanted = {
            "loss": "loss",
            "grad_norm": "gradient_norm",
            "eval_loss": "stopping_loss",
            "eval_score": "stopping_score",
            "learning_rate": "learning_rate",
        }
        figures = {ours: float(logs[theirs]) for theirs, ours in wanted.items() if theirs in (logs or {})}
        if figures:
            self._report(state, figures, control)


def finetune(
    data: Path,
    recipe: Recipe,
    method: Method,
    out: Path,
    *,
    base: str | None = None,
    taxonomy: Taxonomy | None = None,
    epochs: float | None = None,
    resume: bool = False,
    score: Score | None = None,
    on_progress: OnProgress = lambda done, figures: False,
) -> Path:
    """Fine-tunes the recipe's base on `train.jsonl` and saves the adapter of the best checkpoint (of the last one
    where there are too few samples to tell, see `split_for_stopping`).

    Args:
        data: `train.jsonl`, or the folder it is in. No other file is opened: `val.jsonl` never is.
        recipe: base and settings.
        method: `lora`, `qlora` (base in NF4) or `full`.
        out: checkpoints go to `out`/checkpoints, the adapter to `out`/adapter.
        base: another base than the recipe's, for instance a folder.
        taxonomy: reads the answers; left out, the one of the settings.
        epochs: another number than the recipe's.
        resume: resumes from the newest whole checkpoint in `out`, from the start where there is none.
        score: chooses the best checkpoint by the samples kept for stopping; left out, their loss does.
        on_progress: called after every step; returns True to stop.

    Returns:
        The folder of the adapter in PEFT's format (of a whole model for `full`).

    Raises:
        BadDataset: no sample to train on, or one that does not fit.
        BadRecipe: a setting that cannot be, or that needs a package which is not installed; or `resume` with other
            samples, recipe, method or epochs.
        Stopped: `on_progress` asked for it; checkpoints stay.
    """
    check_reporter(recipe)
    samples = read_jsonl(data / "train.jsonl" if data.is_dir() else data)
    training, stopping = split_for_stopping(samples)
    if epochs is not None and not 0 < epochs <= 1000:
        raise BadRecipe(f"Epochs must be above 0 and at most 1000, not {epochs}.")
    epochs = epochs or recipe.epochs
    inputs = [recipe.model_dump(mode="json", exclude={"report_to"}), base, method, epochs, samples_sha256(samples)]
    checkpoint = newest_checkpoint(out, resume, inputs)
    recipe = recipe.model_copy(update={"learning_rate": recipe.rate(method)})
    taxonomy = taxonomy or load_taxonomy(Settings().taxonomy)
    projector = Projector.of(training, taxonomy) if recipe.threat_projection else None
    if recipe.class_balance:
        training = repeat_rare(training, recipe.class_balance, taxonomy, recipe.seed)
    vlm = load_base(recipe, method, base)
    # Wrapping draws the adapter's first weights, so the seed must stand before it.
    torch.manual_seed(recipe.seed)
    random.seed(recipe.seed)
    model = vlm.model if method == "full" else add_lora(vlm.model, recipe, method)
    if method == "full":
        model.requires_grad_(True)
    shown = SampleDataset(training, recipe, projector), SampleDataset(stopping) if stopping else None
    trainer = _trainer(model, vlm, recipe, *shown, out, epochs, by_score=score is not None)
    if score is not None and stopping:
        trainer.score = partial(score, vlm, stopping)
    _speed_up(trainer, vlm, recipe, method)
    progress = _ProgressCallback(on_progress)
    trainer.add_callback(progress)
    trainer.train_from(checkpoint)
    if progress.stopped:
        raise Stopped
    folder = out / "adapter"
    model.save_pretrained(folder)
    if method == "full":
        vlm.processor.save_pretrained(folder)
    else:
        vlm.processor.save_pretrained(folder / "processor")
        write_base(folder, vlm)
    took = time.monotonic() - progress.started
    passes = trainer.state.epoch or epochs  # fewer than asked for, where patience ended it
    record = TrainingRecord(
        method=method, samples=len(training), epochs=passes, seconds=took, resumed=checkpoint is not None
    )
    record.write(folder)
    return folder


def _has_bf16() -> bool:
    """Whether bf16 arithmetic is in the hardware: without it, it is slower than 32 bits."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _trainer(
    model: Any,
    vlm: LocalVlm,
    recipe: Recipe,
    training: SampleDataset,
    stopping: SampleDataset | None,
    out: Path,
    epochs: float,
    by_score: bool,
) -> ResumableTrainer:
    gpu = torch.cuda.is_available()
    bf16 = recipe.precision == "bf16" or (recipe.precision == "auto" and _has_bf16())
    step_samples = recipe.batch * recipe.accumulation
    steps = max(1, int(epochs * -(-len(training) // step_samples)))
    metric = "eval_score" if by_score else "eval_loss"
    # Before MLflow is imported: it reports to its makers, and nothing that happens here is reported to anybody unasked.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    arguments = TrainingArguments(
        output_dir=str(out / "checkpoints"),
        num_train_epochs=epochs,
        per_device_train_batch_size=recipe.batch,
        per_device_eval_batch_size=recipe.batch,
        gradient_accumulation_steps=recipe.accumulation,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.schedule,
        warmup_steps=max(1, round(recipe.warmup_fraction * steps)),
        weight_decay=recipe.weight_decay,
        max_grad_norm=1.0,
        use_cpu=not gpu,
        bf16=bf16,
        fp16=gpu and recipe.precision == "auto" and not bf16,
        logging_steps=1 if steps <= 200 else 10,
        eval_strategy="epoch" if stopping is not None else "no",
        save_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=stopping is not None,
        metric_for_best_model=metric if stopping is not None else None,
        greater_is_better=by_score,
        activation_checkpointing=recipe.gradient_checkpointing,
        remove_unused_columns=False,
        label_names=["labels"],
        seed=recipe.seed,
        disable_tqdm=True,
        report_to=recipe.report_to,
    )
    trainer = ResumableTrainer(
        model=model,
        args=arguments,
        train_dataset=training,
        eval_dataset=stopping,
        data_collator=Collator(vlm.processor, recipe.max_tokens),
        compute_loss_func=token_loss,
    )
    if recipe.patience and stopping is not None:
        trainer.early_stopping = _EarlyStopping(metric, by_score, recipe.patience)
        trainer.add_callback(trainer.early_stopping)
    return trainer


def _speed_up(trainer: ResumableTrainer, vlm: LocalVlm, recipe: Recipe, method: Method) -> None:
    """Gives the same losses in less time: less padding, faster attention on a CPU, and features kept."""
    lengths = token_counts(vlm.processor, trainer.train_dataset.samples)
    if padded_share(lengths, recipe.batch, recipe.seed) > WORTHWHILE:
        trainer.order = LengthGroupedSampler(lengths, recipe.batch, recipe.seed)
    inner = inner_model(trainer.model)
    visual = getattr(inner, "visual", None)
    # Each measured on a CPU with the bundled model.
    if not torch.cuda.is_available() and attends_to_all(visual):
        patch_lora_forward(trainer.model)
        if trainer.args.bf16:  # in 32 bits the library's own attention and tower are faster
            inner.language_model.set_attn_implementation("eager")  # the fused one takes three times as long backwards
            if not recipe.gradient_checkpointing:
                patch_tower_forward(visual)
    if cacheable(trainer.model, recipe, method):
        trainer.cache = VisionCache.within_free_memory()
        trainer.data_collator = CachedCollator(trainer.data_collator)
        trainer.train_dataset = CachedSamples(trainer.train_dataset)
        if trainer.eval_dataset is not None:
            trainer.eval_dataset = CachedSamples(trainer.eval_dataset)
