"""Fine-tuning here against TRL's SFTTrainer: the same base, scans, LoRA, optimiser and machine.

    python -m tests.benchmarks.training_speed [--tiny]

The two train in turns, a step each, so that whatever else the machine does hits both alike; a ratio is the median
over the steps of (their seconds / our seconds) for the same number of samples, once both have warmed up.
`ratio`: the default recipe as it is. `ratio_cached`: LoRA on the language model alone and scans shown as they are,
from the second epoch on, when features are kept; `ratio_cached_first_epoch` is the one before. `loss_gap` is the
largest |ours - theirs| / theirs over all steps of two runs without dropout and turning, with samples in the order of
the file. TRL gets its prompts ready made, and the recipe's own gradient checkpointing. The last line is one JSON
object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch.utils.data import SequentialSampler
from transformers import TrainerCallback

from training.data.samples import Sample, write_jsonl
from training.data.yolo import read_yolo
from training.recipes.recipe import Recipe, load_recipe
from training.vlm import finetune as ours
from xray_app.simulate.dataset import write_dataset
from xray_app.taxonomy import load_taxonomy
from xray_app.vlm.prompt import build_messages

SEED = 20_261_124
WARM_UP = 2
"""Steps at the start that are not timed."""


class Turns:
    """Two runs take turns, a step each; a run that has ended leaves the rest to the other."""

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.running = [True, True]
        self.turn = 0

    def wait(self, side: int) -> None:
        with self.condition:
            self.condition.wait_for(lambda: self.turn == side or not self.running[1 - side])

    def pass_on(self, side: int) -> None:
        with self.condition:
            self.turn = 1 - side
            self.condition.notify_all()

    def leave(self, side: int) -> None:
        with self.condition:
            self.running[side] = False
            self.turn = 1 - side
            self.condition.notify_all()


@dataclass
class Side:
    """One of the two runs: `seconds` and `losses` of each of its steps."""

    number: int
    turns: Turns
    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    began: float = 0.0

    def step_ended(self) -> None:
        self.seconds.append(time.perf_counter() - self.began)
        self.turns.pass_on(self.number)
        self.turns.wait(self.number)
        self.began = time.perf_counter()

    def run(self, train: Callable[[], object]) -> None:
        self.turns.wait(self.number)
        self.began = time.perf_counter()
        try:
            train()
        finally:
            self.turns.leave(self.number)


class TheirSteps(TrainerCallback):
    def __init__(self, side: Side) -> None:
        self.side = side

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.side.step_ended()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if "loss" in (logs or {}):
            self.side.losses.append(float(logs["loss"]))


def their_samples(samples: Sequence[Sample], processor: Any, recipe: Recipe) -> Any:
    """Samples as TRL's collator wants them, opened and turned when they are needed, as ours are."""
    from datasets import Dataset

    shown = ours.SampleDataset(samples, recipe)
    end = processor.tokenizer.eos_token

    def prompt(instruction: str) -> str:
        return str(
            processor.apply_chat_template(build_messages(instruction), tokenize=False, add_generation_prompt=True)
        )

    def open_them(rows: dict[str, list[int]]) -> dict[str, list[Any]]:
        examples = [shown[index] for index in rows["index"]]
        return {
            "prompt": [prompt(one.instruction) for one in examples],
            "completion": [one.response + end for one in examples],
            "image": [one.image for one in examples],
        }

    return Dataset.from_dict({"index": list(range(len(samples)))}).with_transform(open_them)


def train_theirs(samples: Sequence[Sample], recipe: Recipe, out: Path, side: Side) -> None:
    from trl import SFTConfig, SFTTrainer

    vlm = ours.load_base(recipe, "lora")
    torch.manual_seed(recipe.seed)
    model = ours.add_lora(vlm.model, recipe, "lora")
    steps = int(recipe.epochs * -(-len(samples) // recipe.batch))
    arguments = SFTConfig(
        output_dir=str(out),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch,
        gradient_accumulation_steps=recipe.accumulation,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, round(recipe.warmup_fraction * steps)),
        weight_decay=recipe.weight_decay,
        max_grad_norm=1.0,
        use_cpu=not torch.cuda.is_available(),
        bf16=True,
        gradient_checkpointing=recipe.gradient_checkpointing,
        max_length=None,
        logging_steps=1,
        save_strategy="no",
        remove_unused_columns=False,
        train_sampling_strategy="sequential" if in_file_order(recipe) else "random",
        seed=recipe.seed,
        disable_tqdm=True,
        report_to="none",
    )
    trainer = SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=their_samples(samples, vlm.processor, recipe),
        processing_class=vlm.processor,
        callbacks=[TheirSteps(side)],
    )
    trainer.train()


def in_file_order(recipe: Recipe) -> bool:
    """Whether losses are to be compared: with no chance left in the recipe but the order."""
    return not recipe.turns and recipe.lora_dropout == 0


def train_ours(data: Path, recipe: Recipe, out: Path, side: Side) -> None:
    step = 0

    def told(done: float, figures: dict[str, float]) -> bool:
        nonlocal step
        if "loss" in figures:
            side.losses.append(figures["loss"])
        if figures["step"] > step:
            step = int(figures["step"])
            side.step_ended()
        return False

    ours.finetune(data, recipe, "lora", out, on_progress=told)


def against_each_other(data: Path, samples: Sequence[Sample], recipe: Recipe, out: Path) -> tuple[Side, Side]:
    """Runs both to their end; returns (ours, theirs)."""
    turns = Turns()
    our, their = Side(0, turns), Side(1, turns)
    file_order = mock.patch.object(
        ours.ResumableTrainer, "_get_train_sampler", lambda trainer, *_: SequentialSampler(trainer.train_dataset)
    )
    problems: list[BaseException] = []

    def guarded(side: Side, train: Callable[[], object]) -> None:
        try:
            side.run(train)
        except BaseException as problem:  # noqa: BLE001 - told by the main thread
            problems.append(problem)

    threads = [
        threading.Thread(target=guarded, args=(our, lambda: train_ours(data, recipe, out / "ours", our))),
        threading.Thread(target=guarded, args=(their, lambda: train_theirs(samples, recipe, out / "theirs", their))),
    ]
    if in_file_order(recipe):
        file_order.start()
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        if in_file_order(recipe):
            file_order.stop()
    if problems:
        raise problems[0]
    return our, their


def ratio(our: Side, their: Side, steps: range) -> float:
    return round(statistics.median(their.seconds[step] / our.seconds[step] for step in steps), 3)


def loss_gap(our: Side, their: Side) -> float:
    return max(abs(one - other) / other for one, other in zip(our.losses, their.losses, strict=True))


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--tiny", action="store_true", help="a quick look: fewer steps")
    tiny = asked.parse_args().tiny
    try:
        import trl  # noqa: F401
    except ImportError:
        raise SystemExit("This needs TRL: pip install -r requirements-dev.txt") from None
    recipe = load_recipe("bundled")
    taxonomy = load_taxonomy()
    with tempfile.TemporaryDirectory(prefix="training-speed-") as name:
        folder = Path(name)
        write_dataset(folder / "scans", recipe.batch * (6 if tiny else 24), SEED, taxonomy, 0.5, (0, 8), 1)
        samples = read_yolo(folder / "scans", taxonomy).splits["train"]
        samples, _ = ours.split_for_stopping(samples)
        samples = samples[: len(samples) // recipe.batch * recipe.batch]
        write_jsonl(samples, folder / "train.jsonl")
        trained, _ = ours.split_for_stopping(samples)
        steps = len(trained) // recipe.batch
        plain = {"turns": False, "lora_dropout": 0.0}
        runs: dict[str, tuple[Side, Side]] = {}
        for title, changes in (
            ("default", {"epochs": 1}),
            ("exact", {**plain, "epochs": 1}),
            ("cached", {**plain, "lora_scope": "language", "epochs": 3}),
        ):
            changed = recipe.model_copy(update=changes)
            runs[title] = against_each_other(folder, trained, changed, folder / title)
    result = {
        "ratio": ratio(*runs["default"], range(WARM_UP, steps)),
        "ratio_cached": ratio(*runs["cached"], range(steps + 1, 3 * steps)),
        "ratio_cached_first_epoch": ratio(*runs["cached"], range(WARM_UP, steps)),
        "loss_gap": round(max(loss_gap(*runs["exact"]), loss_gap(*runs["cached"])), 5),
        "samples": len(trained),
        "batch": recipe.batch,
        "our_seconds_a_step": round(statistics.median(runs["default"][0].seconds[WARM_UP:]), 2),
        "their_seconds_a_step": round(statistics.median(runs["default"][1].seconds[WARM_UP:]), 2),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
