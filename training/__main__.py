"""The command line of the training side: `python -m training --help`."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer
from pydantic import ValidationError

from xray_app.errors import BadDataset, BadInput, DeskError
from xray_app.settings import Settings
from xray_app.store.database import Database
from xray_app.taxonomy import Taxonomy, load_taxonomy
from xray_app.types import AdapterKind, Method

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

    try:
        done = write(yolo, out, _taxonomy(), val, seed, skip_bad, skip_unknown)
    except BadDataset as error:
        # Here every one is listed, so that all can be put right in one go.
        for problem in (problems := (error.details or {}).get("problems", [])):
            print(problem, file=sys.stderr)
        print(error.message.splitlines()[-1] if problems else error.message, file=sys.stderr)
        raise typer.Exit(1) from error
    for problem in done.left_out:
        print(f"left out: {problem}", file=sys.stderr)
    if done.summary:
        print(f"left out for {done.summary}", file=sys.stderr)
    _show(train=done.train, val=done.val, left_out=len(done.left_out), labelled_classes=done.labelled_classes)


@app.command()
def pretrain(
    data: Annotated[list[Path], typer.Option(help="A folder that simulate wrote; may be repeated.")],
    out: Out,
    start: Annotated[Path | None, typer.Option(help="A model folder to begin with, instead of random weights.")] = None,
    steps: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    resume: Resume = False,
) -> None:
    """Train the bundled language model on simulated scans."""
    from training.pretrain import PretrainConfig
    from training.pretrain import pretrain as train

    config = PretrainConfig() if steps is None else PretrainConfig(steps=steps)
    _show(model=str(train(data, out, _taxonomy(), config, start=start, resume=resume)))


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
    from training.finetune import finetune as train
    from training.recipe import load_recipe
    from training.snapshot import with_replay

    def show(done: float, figures: dict[str, float]) -> bool:
        if len(figures) > 2:
            print(f"{done:6.1%} {json.dumps(figures)}", file=sys.stderr)
        return False

    loaded, taxonomy, chosen = load_recipe(recipe), _taxonomy(), _method(method)
    if replay is not None:
        loaded = loaded.model_copy(update={"replay": replay, "replay_minimum": 0})
    frozen = out / "snapshot"
    if not (resume and (frozen / "snapshot.json").is_file()):
        with_replay(data / "train.jsonl" if data.is_dir() else data, loaded, frozen, taxonomy)
    folder = train(frozen, loaded, chosen, out, taxonomy=taxonomy, epochs=epochs, resume=resume, on_progress=show)
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
    skip_unknown: Annotated[
        bool, typer.Option("--skip-unknown", help="Leave out boxes of labels the taxonomy does not know.")
    ] = False,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="From random weights instead of the bundled detector.")
    ] = False,
    weights: Annotated[Path | None, typer.Option(help="Start from this .onnx of an earlier training.")] = None,
    epochs: Annotated[float | None, typer.Option(min=0.01)] = None,
    size: Annotated[int | None, typer.Option(min=64, max=1280, help="Side of the square, pixels.")] = None,
) -> None:
    """Train the box detector on a YOLO data set or train.jsonl and export it to ONNX."""
    from training.finetune_detector import FROM_BUNDLED, FROM_SCRATCH
    from training.finetune_detector import finetune_detector as train
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
        data,
        out,
        _taxonomy(),
        weights=start,
        recipe=recipe,
        resume=resume,
        skip_bad=skip_bad,
        skip_unknown=skip_unknown,
        on_progress=_Shown(),
    )
    _show(detector=str(result))


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
    measure: Annotated[
        bool | None, typer.Option("--measure/--no-measure", help="Train a few steps here, and go by them.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Samples to measure with; without them, simulated scans.")] = None,
) -> None:
    """Estimate memory, time and cost of a training on common machines, before anything starts.

    For the bundled model, or with --measure, a few steps on this machine say what it takes here.
    """
    from training import plan_tables
    from training.plan import plan as estimate
    from training.plan import shape_of
    from training.recipe import load_recipe
    from training.rehearsal import measured_here
    from training.samples import read_jsonl

    chosen, way = load_recipe(recipe), _method(method)
    rows = estimate(chosen, way, images, epochs=epochs)
    if measure or (measure is None and chosen.base == "bundled"):
        samples = read_jsonl(data / "train.jsonl" if data.is_dir() else data) if data else []
        print("Training a few steps here, to measure ...", file=sys.stderr)
        rows[-1] = measured_here(chosen, way, images, epochs or chosen.epochs, _taxonomy(), samples)
    print(f"{chosen.name}, {way}, {images} scans:\n\n{plan_tables.machines_table(rows)}")
    print(f"\nMemory by picture size:\n\n{plan_tables.memory_table(chosen, way)}")
    if shape_of(chosen.base).parameters >= plan_tables.COMPARABLE:
        print(f"\nAll ways, beside the seed document's tables:\n\n{plan_tables.ways_table(chosen, images)}")


@app.command()
def experiment(
    data: Annotated[Path, typer.Option("--data", help="A YOLO folder with train and val.")],
    out: Out,
    recipe: Annotated[str, typer.Option(help="A recipe's name, or the path of one.")] = "bundled",
    clear: Annotated[
        Path | None, typer.Option(help="A folder of scans without anything prohibited, for false alarms.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, max=60, help="Passes over all training scans at most.")] = 20,
    patience: Annotated[int, typer.Option(min=0, help="Passes without a gain that end a training.")] = 6,
    only: Annotated[list[str] | None, typer.Option(help="Cells to run now, as lora-*; may be repeated.")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave bad scans out, and list them.")] = False,
) -> None:
    """Ask whether LoRA beats a detector trained on the same scans; goes on where it was stopped."""
    from training.experiment.run import experiment as run
    from training.experiment.run import read_scans
    from training.recipe import load_recipe

    def told(name: str, done: float, figures: dict[str, float]) -> None:
        if not figures.keys() <= {"step", "seconds", "loss"}:
            print(f"{name} {done:6.1%} {json.dumps(figures)}", file=sys.stderr)

    taxonomy = _taxonomy()
    scans = read_scans(data, clear, taxonomy, skip_bad)
    limits = {"epochs": epochs, "patience": patience}
    table = run(scans, load_recipe(recipe), out, Settings(), taxonomy, **limits, only=only or (), told=told)
    print(table.read_text(), end="")


Kind = Annotated[str, typer.Option(help="vlm-adapter or detector")]


@app.command()
def register(
    adapter: Annotated[Path, typer.Option(help="A PEFT folder trained elsewhere, or one with detector.onnx.")],
    vlm: Annotated[str, typer.Option(help="Its base model, as XRAY_VLM takes it.")] = "bundled",
    kind: Kind = "vlm-adapter",
) -> None:
    """Send an adapter or a detector trained elsewhere through the gate and record it."""
    import uuid

    from training import registry
    from training.detector_run import examine_detector
    from training.pipeline import examine
    from training.samples import from_corrections
    from xray_app.vlm.load import load_local

    settings = Settings().model_copy(update={"vlm": vlm})
    taxonomy = load_taxonomy(settings.taxonomy)
    policy, chosen, adapter_id = taxonomy.policy(settings.policy), _kind(kind), uuid.uuid4().hex
    registry.check_files(adapter, chosen)
    db = _database(settings)
    site = from_corrections(db, taxonomy)["holdout"]

    def told(done: float) -> None:
        pass

    if chosen == "detector":
        manifest = examine_detector(db, settings, adapter, adapter_id, site, taxonomy, told)
    else:
        manifest = examine(
            db, settings, load_local(vlm, settings.vlm_dtype), adapter, adapter_id, site, taxonomy, policy, told
        ).manifest
    print(registry.register(db, adapter, manifest).model_dump_json())


def _kind(name: str) -> AdapterKind:
    if name not in get_args(AdapterKind):
        raise BadInput(f"--kind is vlm-adapter or detector, not {name!r}.")
    return cast(AdapterKind, name)


@app.command()
def promote(
    adapter_id: str,
    by: Annotated[str, typer.Option(help="Who decides; goes into the audit log.")] = "command line",
    force: Annotated[bool, typer.Option("--force", help="Against the gate; needs --reason.")] = False,
    reason: Annotated[str | None, typer.Option()] = None,
) -> None:
    """Let a registered adapter answer from the next scan on."""
    from training import registry
    from xray_app.vlm.load import load_if_remote

    settings = Settings()
    remote = load_if_remote(settings)
    hand_over = remote.receive if remote else None
    print(registry.promote(_database(settings), adapter_id, by, force, reason, hand_over).model_dump_json())


@app.command()
def rollback(
    vlm: Annotated[str, typer.Option(help="The base model, as XRAY_VLM takes it.")] = "bundled",
    by: Annotated[str, typer.Option(help="Who decides; goes into the audit log.")] = "command line",
    kind: Kind = "vlm-adapter",
) -> None:
    """Back to the adapter or detector in use before; null is the base model."""
    from training import registry
    from training.samples import file_sha256
    from xray_app.detector.load import detector_file
    from xray_app.vlm.load import base_sha256

    settings, chosen = Settings(), _kind(kind)
    base = file_sha256(detector_file(settings)) if chosen == "detector" else base_sha256(vlm)
    adapter = registry.rollback(_database(settings), chosen, base, by)
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
