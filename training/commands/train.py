"""Commands that train models: pretrain, finetune, finetune-detector, and the run of the desk."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from training.commands.common import Data, Out, Resume, file_taxonomy, method_named, open_database, print_json
from xray_app.errors import BadInput
from xray_app.settings import Settings

# Heavy modules (torch, transformers) are imported inside the commands: --help answers at once.

app = typer.Typer()


@app.command()
def pretrain(
    data: Annotated[list[Path], typer.Option(help="A folder that simulate wrote; may be repeated.")],
    out: Out,
    start: Annotated[Path | None, typer.Option(help="A model folder to begin with, instead of random weights.")] = None,
    steps: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    resume: Resume = False,
) -> None:
    """Train the bundled language model on simulated scans."""
    from training.vlm.pretrain import PretrainConfig
    from training.vlm.pretrain import pretrain as train

    config = PretrainConfig() if steps is None else PretrainConfig(steps=steps)
    print_json(model=str(train(data, out, file_taxonomy(), config, start=start, resume=resume)))


@app.command()
def finetune(
    data: Data,
    recipe: Annotated[str, typer.Option(help="A recipe's name, or the path of one.")],
    out: Out,
    method: Annotated[str, typer.Option(help="lora, qlora or full")] = "lora",
    epochs: Annotated[float | None, typer.Option()] = None,
    replay: Annotated[
        float | None, typer.Option(min=0, max=100, help="Simulated scans for each sample, instead of the recipe's.")
    ] = None,
    resume: Resume = False,
) -> None:
    """Fine-tune a recipe's base model on train.jsonl and replayed simulated scans; val.jsonl is never opened."""
    from training.data.snapshot import with_replay
    from training.recipes.recipe import load_recipe
    from training.vlm.checkpoints import refuse_checkpoints
    from training.vlm.finetune import finetune as train

    def show(done: float, figures: dict[str, float]) -> bool:
        if len(figures) > 2:
            print(f"{done:6.1%} {json.dumps(figures)}", file=sys.stderr)
        return False

    loaded, taxonomy, chosen = load_recipe(recipe), file_taxonomy(), method_named(method)
    if replay is not None:
        loaded = loaded.model_copy(update={"replay": replay, "replay_minimum": 0})
    if not resume:
        refuse_checkpoints(out)  # before the snapshot they were trained on is written over
    frozen = out / "snapshot"
    with_replay(data / "train.jsonl" if data.is_dir() else data, loaded, frozen, taxonomy, resume)
    folder = train(frozen, loaded, chosen, out, taxonomy=taxonomy, epochs=epochs, resume=resume, on_progress=show)
    print_json(adapter=str(folder))


@app.command()
def finetune_detector(
    data: Annotated[list[Path], typer.Option(help="May be given several times.")],
    out: Out,
    resume: Resume = False,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave bad scans out.")] = False,
    skip_unknown: Annotated[
        bool, typer.Option("--skip-unknown", help="Leave out boxes of labels the taxonomy does not know.")
    ] = False,
    from_scratch: Annotated[
        bool,
        typer.Option("--from-scratch", help="From weights that have seen photographs, not from the bundled detector."),
    ] = False,
    weights: Annotated[Path | None, typer.Option(help="Start from this .onnx of an earlier training.")] = None,
    epochs: Annotated[float | None, typer.Option(min=0.01)] = None,
    size: Annotated[int | None, typer.Option(min=64, max=1280, help="Side of the square, pixels.")] = None,
) -> None:
    """Train the box detector on a YOLO data set or train.jsonl and export it to ONNX."""
    from training.detector.finetune import FROM_BUNDLED, FROM_SCRATCH
    from training.detector.finetune import finetune_detector as train
    from xray_app.settings import BUNDLED_DETECTOR

    if from_scratch and weights:
        raise BadInput("--from-scratch and --weights contradict each other; give one.")
    if size and size % 32:
        raise BadInput(f"--size is a multiple of 32, not {size}.")
    changes = {"epochs": epochs, "sizes": (size,) if size else None}
    recipe = (FROM_SCRATCH if from_scratch else FROM_BUNDLED).model_copy(
        update={name: value for name, value in changes.items() if value}
    )
    start = None if from_scratch else weights or BUNDLED_DETECTOR
    result = train(
        data[0],
        out,
        file_taxonomy(),
        also=data[1:],
        weights=start,
        recipe=recipe,
        resume=resume,
        skip_bad=skip_bad,
        skip_unknown=skip_unknown,
        on_progress=_Shown(),
    )
    print_json(detector=str(result))


@app.command(hidden=True)
def run_pipeline(run_id: str) -> None:
    """Work on a queued run: what the desk starts as a process of its own."""
    from training.run.pipeline import lower_priority
    from training.run.pipeline import run_pipeline as work

    settings = Settings()
    lower_priority()
    raise typer.Exit(work(open_database(settings), settings, run_id))


class _Shown:
    """A line on stderr every few seconds, and one at the end of every epoch."""

    SECONDS = 5.0

    def __init__(self) -> None:
        self.last = 0.0
        self.losses: list[float] = []
        self.began: tuple[float, float] | None = None  # a resumed training does not begin at nothing

    def __call__(self, done: float, figures: dict[str, Any]) -> bool:
        self.losses.append(figures["loss"])
        self.began = self.began or (done, figures["seconds"])
        if "epoch" in figures or figures["seconds"] - self.last >= self.SECONDS:
            line = f"{done:6.1%} step {figures['step']}, loss {sum(self.losses) / len(self.losses):.3f}"
            if "map50" in figures:
                line += f", mAP50 {figures['map50']:.3f}"
            gained, spent = done - self.began[0], figures["seconds"] - self.began[1]
            if done < 1 and gained > 0:
                line += f", {spent * (1 - done) / gained:.0f} s to go"
            print(line, file=sys.stderr, flush=True)
            self.last = figures["seconds"]
            self.losses.clear()
        return False
