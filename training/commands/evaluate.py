"""Commands that measure: evaluate, compare, experiment; and plan, which estimates what a training takes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.commands.common import Data, Out, file_taxonomy, method_named
from training.data.json_file import write_json
from xray_app.settings import Settings

if TYPE_CHECKING:
    from training.data.samples import Sample

# Heavy modules (torch, transformers) are imported inside the commands: --help answers at once.

app = typer.Typer()

TrainingScans = Annotated[
    Path | None, typer.Option("--train", help="Training scans, to choose on them the rules beside the models.")
]


@app.command()
def evaluate(
    data: Data,
    out: Out,
    vlm: Annotated[str, typer.Option(help="As XRAY_VLM takes it, or none.")] = "bundled",
    adapter: Annotated[Path | None, typer.Option(help="A PEFT folder.")] = None,
    detector: Annotated[str, typer.Option(help="As XRAY_DETECTOR takes it, or none.")] = "bundled",
    full_instruction: Annotated[
        bool, typer.Option("--full-instruction", help="Ask for everything, as the desk does.")
    ] = False,
    calibration: Annotated[
        Path | None, typer.Option(help="Other labelled scans to calibrate the threat score on; else half of the bags.")
    ] = None,
    recall: Annotated[
        float | None, typer.Option(help="Share of threat bags its threshold is to find; else the default profile's.")
    ] = None,
    train: TrainingScans = None,
) -> None:
    """Measure models on labelled scans, with intervals: report.json, and report.md with pictures beside it."""
    from training.data.samples import read_jsonl, with_full_instruction
    from training.evaluation.compare import evaluate_models
    from training.evaluation.report_page import headline, write_report

    samples = read_jsonl(_labelled(data))
    kept = read_jsonl(_labelled(calibration)) if calibration else None
    if full_instruction:
        samples, kept = with_full_instruction(samples), with_full_instruction(kept) if kept else None
    result = evaluate_models(
        samples, _settings(vlm, detector), file_taxonomy(), adapter, kept, recall, _training_scans(train)
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, result)
    write_report(result, out)
    print(json.dumps(headline(result)))


def _labelled(data: Path) -> Path:
    return data / "val.jsonl" if data.is_dir() else data


def _training_scans(path: Path | None) -> list[Sample] | None:
    from training.data.samples import read_jsonl

    return None if path is None else read_jsonl(path / "train.jsonl" if path.is_dir() else path)


def _settings(vlm: str, detector: str) -> Settings:
    return Settings().model_copy(update={"vlm": vlm, "detector": detector})


@app.command()
def compare(
    data: Data,
    vlm: Annotated[list[str] | None, typer.Option(help="May be repeated.")] = None,
    adapter: Annotated[list[Path] | None, typer.Option(help="A row of its own on the first --vlm.")] = None,
    detector: Annotated[list[str] | None, typer.Option(help="May be repeated.")] = None,
    full_instruction: Annotated[bool, typer.Option("--full-instruction")] = False,
    together: Annotated[
        bool, typer.Option("--together/--apart", help="Also each VLM together with the last --detector.")
    ] = True,
    train: TrainingScans = None,
    dollars_an_hour: Annotated[float | None, typer.Option(min=0, help="Price of this machine.")] = None,
    dollars_a_remote_scan: Annotated[float | None, typer.Option(min=0, help="What a remote model asks.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The same as JSON.")] = None,
) -> None:
    """One table, a row a model: which one names the items of these scans best, and what does it take?"""
    from training.data.samples import read_jsonl, with_full_instruction
    from training.evaluation.compare import ComparedModel, Prices, as_json, comparison, table

    samples = read_jsonl(_labelled(data))
    samples = with_full_instruction(samples) if full_instruction else samples
    prices = Prices(dollars_an_hour, dollars_a_remote_scan)
    rows: list[ComparedModel] = []
    try:
        for row in comparison(
            samples,
            file_taxonomy(),
            vlm or ["bundled"],
            adapter or [],
            detector or ["bundled"],
            together,
            _training_scans(train),
        ):
            rows.append(row)
            print(f"measured {row.model}", file=sys.stderr)
    finally:  # a model that fails after hours of others must not take their figures with it
        if rows:
            print(table(rows, prices))
            if out is not None:
                out.parent.mkdir(parents=True, exist_ok=True)
                write_json(out, {"n": len(samples), "rows": as_json(rows, prices)})


@app.command()
def experiment(
    data: Annotated[Path, typer.Option("--data", help="A YOLO folder with train and val.")],
    out: Out,
    recipe: Annotated[str, typer.Option(help="A recipe's name, or the path of one.")] = "bundled",
    clear: Annotated[
        Path | None, typer.Option(help="A folder of scans without anything prohibited, for false alarms.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, max=60, help="Passes of the VLM over all training scans at most.")] = 12,
    detector_epochs: Annotated[int, typer.Option(min=1, max=60, help="The same of the detector.")] = 40,
    patience: Annotated[
        int, typer.Option(min=0, help="Passes without a gain that end a training; the same share of the detector's.")
    ] = 4,
    only: Annotated[list[str] | None, typer.Option(help="Cells to run now, as lora-*; may be repeated.")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave bad scans out, and list them.")] = False,
) -> None:
    """Ask whether LoRA beats a detector trained on the same scans; resumes where it was stopped."""
    from training.experiment.run import experiment as run
    from training.experiment.run import read_scans
    from training.recipes.recipe import load_recipe

    def show(name: str, done: float, figures: dict[str, float]) -> None:
        if not figures.keys() <= {"step", "seconds", "loss"}:
            print(f"{name} {done:6.1%} {json.dumps(figures)}", file=sys.stderr)

    taxonomy = file_taxonomy()
    scans = read_scans(data, clear, taxonomy, skip_bad)
    table = run(
        scans,
        load_recipe(recipe),
        out,
        Settings(),
        taxonomy,
        epochs=epochs,
        detector_epochs=detector_epochs,
        patience=patience,
        only=only or (),
        on_progress=show,
    )
    print(table.read_text(), end="")


@app.command()
def plan(
    recipe: Annotated[str, typer.Option(help="A recipe's name, or the path of one.")],
    images: Annotated[int, typer.Option(min=1, help="Labelled scans to train on.")],
    method: Annotated[str, typer.Option(help="lora, qlora or full")] = "lora",
    epochs: Annotated[float | None, typer.Option()] = None,
    measure: Annotated[
        bool | None, typer.Option("--measure/--no-measure", help="Train a few steps here, and go by them.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Samples to measure with; without them, simulated scans.")] = None,
) -> None:
    """Estimate memory, time and cost of a training on common machines, before anything starts.

    For the bundled model, or with --measure, a few steps on this machine say what it takes here.
    """
    from training.data.samples import read_jsonl
    from training.plan import tables
    from training.plan.estimate import plan as estimate
    from training.plan.estimate import shape_of
    from training.plan.rehearsal import measured_here
    from training.recipes.recipe import load_recipe

    chosen, way = load_recipe(recipe), method_named(method)
    rows = estimate(chosen, way, images, epochs=epochs)
    if measure or (measure is None and chosen.base == "bundled"):
        samples = read_jsonl(data / "train.jsonl" if data.is_dir() else data) if data else []
        print("Training a few steps here, to measure ...", file=sys.stderr)
        rows[-1] = measured_here(chosen, way, images, epochs or chosen.epochs, file_taxonomy(), samples)
    print(f"{chosen.name}, {way}, {images} scans:\n\n{tables.machines_table(rows)}")
    print(f"\nMemory by picture size:\n\n{tables.memory_table(chosen, way)}")
    if shape_of(chosen.base).parameters >= tables.COMPARABLE:
        print(f"\nAll ways, beside the seed document's tables:\n\n{tables.ways_table(chosen, images)}")
