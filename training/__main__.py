"""The command line of the training side: `python -m training --help`."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from pathlib import Path
from typing import Annotated, cast, get_args

import typer
from pydantic import ValidationError

from xray_app.errors import BadInput, DeskError
from xray_app.settings import Settings
from xray_app.store.database import Database
from xray_app.taxonomy import Taxonomy, load_taxonomy
from xray_app.types import Method

# The heavy rooms (torch, transformers) are imported inside the commands: --help answers at once.

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Train, measure and register models.")

Data = Annotated[Path, typer.Option("--data", help="A folder or file of samples.")]
Out = Annotated[Path, typer.Option("--out", help="Where the result goes.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint.")]


def _taxonomy() -> Taxonomy:
    return load_taxonomy(Settings().taxonomy)


def _database(settings: Settings) -> Database:
    return Database.open(settings.sqlalchemy_url, settings.data_dir)


def _show(**facts: object) -> None:
    print(json.dumps(facts))


@app.command()
def simulate(
    out: Out,
    count: Annotated[int, typer.Option(min=1)],
    seed: Annotated[int, typer.Option(min=0)],
    threat_rate: Annotated[float, typer.Option(min=0, max=1)] = 0.5,
    items: Annotated[str, typer.Option(help="Fewest and most items in a bag, as 0:8.")] = "0:8",
) -> None:
    """Write simulated scans with exact boxes as a YOLO data set."""
    from training.simulate.dataset import write_dataset

    low, _, high = items.partition(":")
    if not (low.isdecimal() and high.isdecimal() and int(low) <= int(high)):
        raise BadInput(f"--items is a range such as 0:8, not {items!r}.")
    write_dataset(out, count, seed, _taxonomy(), threat_rate, (int(low), int(high)))
    _show(scans=count, out=str(out))


@app.command()
def prepare(
    yolo: Annotated[Path, typer.Option(help="Holds data.yaml.")],
    out: Out,
    val: Annotated[float, typer.Option(help="Share of bags to keep for testing.")] = 0.2,
    seed: int = 0,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave bad scans out, and list them.")] = False,
    skip_unknown: Annotated[
        bool, typer.Option("--skip-unknown", help="Leave out boxes of labels the taxonomy does not know.")
    ] = False,
) -> None:
    """Turn a YOLO data set into train.jsonl and val.jsonl."""
    from training.yolo import prepare as write

    done = write(yolo, out, _taxonomy(), val, seed, skip_bad, skip_unknown)
    for problem in done.left_out:
        print(f"left out: {problem}", file=sys.stderr)
    _show(train=done.train, val=done.val, left_out=len(done.left_out), labelled_classes=done.labelled_classes)


@app.command()
def pretrain(data: Data, out: Out, resume: Resume = False) -> None:
    """Train the bundled language model from scratch on simulated scans."""
    from training.pretrain import pretrain as train

    _show(model=str(train(data, out, _taxonomy(), resume=resume)))


@app.command()
def finetune(
    data: Data,
    recipe: Annotated[str, typer.Option(help="A recipe's name, or the path of one.")],
    out: Out,
    method: Annotated[str, typer.Option(help="lora, qlora or full")] = "lora",
    epochs: Annotated[float | None, typer.Option()] = None,
    resume: Resume = False,
) -> None:
    """Fine-tune a recipe's base model on train.jsonl; val.jsonl is never opened."""
    from training.finetune import finetune as train
    from training.recipe import load_recipe

    def show(done: float, figures: dict[str, float]) -> bool:
        if len(figures) > 2:
            print(f"{done:6.1%} {json.dumps(figures)}", file=sys.stderr)
        return False

    folder = train(data, load_recipe(recipe), _method(method), out, epochs=epochs, resume=resume, on_progress=show)
    _show(adapter=str(folder))


def _method(name: str) -> Method:
    if name not in get_args(Method):
        raise BadInput(f"--method is lora, qlora or full, not {name!r}.")
    return cast(Method, name)


@app.command()
def finetune_detector(
    data: Data,
    out: Out,
    resume: Resume = False,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave bad scans out.")] = False,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="From random weights instead of the bundled detector.")
    ] = False,
) -> None:
    """Train the box detector on a YOLO data set and export it to ONNX."""
    from training.finetune_detector import finetune_detector as train
    from xray_app.settings import BUNDLED_DETECTOR

    weights = None if from_scratch else BUNDLED_DETECTOR
    result = train(data, out, _taxonomy(), weights=weights, resume=resume, skip_bad=skip_bad)
    _show(detector=str(result))


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
        float | None, typer.Option(help="Share of threat bags its threshold is to find; else the policy's.")
    ] = None,
) -> None:
    """Measure models on labelled scans, with intervals: report.json, and report.md with pictures beside it."""
    from training.compare import evaluate_models
    from training.samples import read_jsonl, unscoped
    from training.written_report import headline, write_report

    samples = read_jsonl(_labelled(data))
    kept = read_jsonl(_labelled(calibration)) if calibration else None
    if full_instruction:
        samples, kept = unscoped(samples), unscoped(kept) if kept else None
    result = evaluate_models(samples, _settings(vlm, detector), _taxonomy(), adapter, kept, recall)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    write_report(result, out)
    print(json.dumps(headline(result)))


def _labelled(data: Path) -> Path:
    return data / "val.jsonl" if data.is_dir() else data


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
    dollars_an_hour: Annotated[float | None, typer.Option(min=0, help="Price of this machine.")] = None,
    dollars_a_remote_scan: Annotated[float | None, typer.Option(min=0, help="What a remote model asks.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The same as JSON.")] = None,
) -> None:
    """One table, a row a model: which one names the items of these scans best, and what does it take?"""
    from training.compare import Prices, Row, as_json, comparison, table
    from training.samples import read_jsonl, unscoped

    samples = read_jsonl(_labelled(data))
    samples = unscoped(samples) if full_instruction else samples
    prices = Prices(dollars_an_hour, dollars_a_remote_scan)
    rows: list[Row] = []
    try:
        for row in comparison(
            samples, _taxonomy(), vlm or ["bundled"], adapter or [], detector or ["bundled"], together
        ):
            rows.append(row)
            print(f"measured {row.model}", file=sys.stderr)
    finally:  # a model that fails after hours of others must not take their figures with it
        if rows:
            print(table(rows, prices))
            if out is not None:
                out.parent.mkdir(parents=True, exist_ok=True)
                found = {"n": len(samples), "rows": as_json(rows, prices)}
                out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


@app.command()
def plan(
    recipe: Annotated[str, typer.Option(help="A recipe's name, or the path of one.")],
    images: Annotated[int, typer.Option(min=1, help="Labelled scans to train on.")],
    method: Annotated[str, typer.Option(help="lora, qlora or full")] = "lora",
    epochs: Annotated[float | None, typer.Option()] = None,
) -> None:
    """Estimate memory, time and cost of a training on common machines, before anything starts."""
    from training.plan import as_table
    from training.plan import plan as estimate
    from training.recipe import load_recipe

    print(as_table(estimate(load_recipe(recipe), _method(method), images, epochs=epochs)))


@app.command()
def register(
    adapter: Annotated[Path, typer.Option(help="A PEFT folder trained elsewhere.")],
    vlm: Annotated[str, typer.Option(help="Its base model, as XRAY_VLM takes it.")] = "bundled",
) -> None:
    """Send an adapter trained elsewhere through the gate and record it."""
    import uuid

    from training import registry
    from training.pipeline import examine
    from training.samples import from_corrections
    from xray_app.vlm.load import load_vlm

    settings = Settings().model_copy(update={"vlm": vlm})
    taxonomy = load_taxonomy(settings.taxonomy)
    registry.check_files(adapter, "vlm-adapter")
    db = _database(settings)
    site = from_corrections(db, taxonomy)["holdout"]
    verdict = examine(
        db,
        settings,
        load_vlm(settings),
        adapter,
        uuid.uuid4().hex,
        site,
        taxonomy,
        taxonomy.policy(settings.policy),
        lambda done: None,
    )
    recorded = registry.register(db, adapter, verdict.manifest)
    print(recorded.model_dump_json())


@app.command()
def promote(
    adapter_id: str,
    by: Annotated[str, typer.Option(help="Who decides; goes into the audit log.")] = "command line",
    force: Annotated[bool, typer.Option("--force", help="Against the gate; needs --reason.")] = False,
    reason: Annotated[str | None, typer.Option()] = None,
) -> None:
    """Let a registered adapter answer from the next scan on."""
    from training import registry

    print(registry.promote(_database(Settings()), adapter_id, by, force, reason).model_dump_json())


@app.command()
def rollback(
    vlm: Annotated[str, typer.Option(help="The base model, as XRAY_VLM takes it.")] = "bundled",
    by: Annotated[str, typer.Option(help="Who decides; goes into the audit log.")] = "command line",
) -> None:
    """Back to the adapter in use before; null is the base model."""
    from training import registry
    from xray_app.settings import BUNDLED_VLM
    from xray_app.vlm.local import resolve_folder, weights_hash

    folder = BUNDLED_VLM if vlm == "bundled" else resolve_folder(vlm)
    adapter = registry.rollback(_database(Settings()), "vlm-adapter", weights_hash(folder), by)
    print("null" if adapter is None else adapter.model_dump_json())


@app.command(hidden=True)
def run_pipeline(run_id: str) -> None:
    """Work on a queued run: what the desk starts as a process of its own."""
    from training.pipeline import be_modest
    from training.pipeline import run_pipeline as work

    settings = Settings()
    be_modest()
    shutil.rmtree(settings.data_dir / "runs" / run_id / "checkpoints", ignore_errors=True)
    raise typer.Exit(work(_database(settings), settings, run_id))


def main() -> None:
    """Runs a command; an error written for a person is one line, not a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        app()
    except DeskError as error:
        print(error.message, file=sys.stderr)
        sys.exit(1)
    except ValidationError as error:
        first = error.errors()[0]
        print(f"A setting is wrong: {'.'.join(map(str, first['loc']))}: {first['msg']}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
