"""Runs the experiment on a labelled data set: does LoRA on the VLM beat a detector trained on the same scans?

This is the seed document's question. A cell that has been measured is kept and skipped, so that the command can be
stopped and resumed.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from transformers import AutoConfig

from training.data.json_file import read_json, write_json
from training.data.samples import LOCAL_LIMITS, Sample, file_sha256, make_sample
from training.data.snapshot import samples_sha256
from training.data.yolo import read_yolo
from training.detector.finetune import FROM_BUNDLED, DetectorRecipe
from training.experiment.cells import Cell, cells
from training.experiment.held_out import Scans
from training.experiment.table import curve, markdown_table
from training.experiment.trial import Result, run_cell
from training.recipes.recipe import Recipe
from xray_app.detector.load import detector_file
from xray_app.errors import BadDataset, BadScan
from xray_app.exchange.bag_names import BagNaming, bag_name
from xray_app.exchange.source import dataset_name
from xray_app.scan import read
from xray_app.settings import BUNDLED_VLM, Settings
from xray_app.taxonomy import Taxonomy
from xray_app.vlm.load import base_sha256
from xray_app.vlm.weights import resolve_folder

logger = logging.getLogger(__name__)

EPOCHS = 12
DETECTOR_EPOCHS = 40
"""A pass of the bundled detector takes a third of the time of one of the bundled VLM."""
PATIENCE = 4
OVERRIDDEN = {"epochs", "replay", "replay_minimum", "report_to"}
"""Settings of a recipe that an experiment overrides, leaves out or does not rest on: another value changes nothing."""
OnProgress = Callable[[str, float, dict[str, float]], None]
"""Called with a cell's name, the share done and the newest figures."""


def read_scans(data: Path, clear: Path | None, taxonomy: Taxonomy, skip_bad: bool = False) -> Scans:
    """A YOLO folder with `train` and `val`, and a folder of pictures said to hold nothing prohibited.

    Raises:
        BadDataset: a part is missing, `read_yolo` finds a label wrong or a bag in both parts, or a clear scan is
            none or is in the data set too.
    """
    found = read_yolo(data, taxonomy, skip_bad, naming=BagNaming(dataset_name(data)))
    for problem in found.left_out:
        logger.warning("left out: %s", problem)
    if not found.splits.get("train") or not found.splits.get("val"):
        raise BadDataset(f"{data / 'data.yaml'} names no train and val. The experiment keeps the data set's own split.")
    train, val = list(found.splits["train"]), list(found.splits["val"])
    if clear is None:
        return Scans(train, val, [])
    own = {file_sha256(sample.image): sample.image for sample in (*train, *val)}
    clear_ones = list(_clear(clear, val[0].labelled_classes, taxonomy))
    for sample in clear_ones:
        if (there := own.get(file_sha256(sample.image))) is not None:
            raise BadDataset(f"{sample.image} is the same picture as {there}. Take clear scans no model has learned.")
    return Scans(train, val, clear_ones)


def _clear(folder: Path, labels: tuple[str, ...] | None, taxonomy: Taxonomy) -> Iterator[Sample]:
    pictures = folder / "images" if (folder / "images").is_dir() else folder
    if not pictures.is_dir():
        raise BadDataset(f"{folder}: there is no such folder. --clear names one that holds pictures, or an images/.")
    files = sorted(pictures.iterdir())
    if not files:
        raise BadDataset(f"{pictures}: holds no pictures. Put clear scans there, or leave --clear out.")
    for file in files:
        if file.is_dir():
            raise BadDataset(f"{file}: is a folder. Put the clear scans into {pictures} itself, or name this one.")
        try:
            picture = read.read_scan(file.read_bytes(), file.name, LOCAL_LIMITS).image
        except BadScan as error:
            raise BadDataset(f"{file}: {error}") from error
        yield make_sample(file, picture.size, {}, (), labels, bag_name(dataset_name(folder), file.stem), taxonomy)


def experiment(
    scans: Scans,
    recipe: Recipe,
    out: Path,
    settings: Settings,
    taxonomy: Taxonomy,
    *,
    detector: DetectorRecipe | None = None,
    epochs: int = EPOCHS,
    detector_epochs: int = DETECTOR_EPOCHS,
    patience: int = PATIENCE,
    only: Sequence[str] = (),
    on_progress: OnProgress = lambda name, done, figures: None,
) -> Path:
    """Runs what has not been run yet, and writes the table anew after each cell.

    Args:
        scans: from `read_scans`.
        recipe: of the VLM; its replay is left out, since this asks about these scans alone.
        out: a folder for every cell; `experiment.md` and `curve.svg` beside them.
        settings: name the detector everything starts from; the VLM is the recipe's base.
        taxonomy: names the classes.
        detector: recipe of the detector.
        epochs: passes of the VLM over all training scans at most.
        detector_epochs: the same of the detector.
        patience: passes of the VLM without a better checkpoint that end a training; of the detector, the same share
            of its passes.
        only: patterns of cell names, as `lora-*`; empty is all.
        on_progress: called after every step.

    Returns:
        The table's file.

    Raises:
        BadDataset: `out` holds an experiment on other scans, models or settings.
    """
    settings = settings.model_copy(update={"vlm": recipe.base})
    recipe = recipe.model_copy(update={"patience": patience})
    same_share = math.ceil(patience * detector_epochs / epochs)
    detector = (detector or FROM_BUNDLED).model_copy(update={"patience": same_share})
    out.mkdir(parents=True, exist_ok=True)
    _refuse_another_experiment(out, scans, recipe, detector, (epochs, detector_epochs), settings)
    folder = BUNDLED_VLM if recipe.base == "bundled" else resolve_folder(recipe.base)
    model_type = AutoConfig.from_pretrained(folder).model_type
    planned = list(cells(recipe, model_type, len(scans.train), epochs, detector_epochs, scans.groups))
    table = _write(out, planned, scans, taxonomy)
    for cell in planned:
        if only and not any(fnmatch(cell.name, pattern) for pattern in only):
            continue

        def progress(done: float, figures: dict[str, float], name: str = cell.name) -> bool:
            on_progress(name, done, figures)
            return False

        run_cell(cell, scans, recipe, detector, settings, taxonomy, out / cell.name, progress)
        _write(out, planned, scans, taxonomy)
    return table


def _refuse_another_experiment(
    out: Path, scans: Scans, recipe: Recipe, detector: DetectorRecipe, epochs: tuple[int, int], settings: Settings
) -> None:
    facts = {
        "train_sha256": samples_sha256(scans.train),
        "val_sha256": samples_sha256(scans.val),
        "clear_sha256": samples_sha256(scans.clear),
        "vlm_sha256": base_sha256(settings.vlm),
        "detector_sha256": file_sha256(detector_file(settings)),
        "recipe": recipe.model_dump(mode="json", exclude=OVERRIDDEN),
        "detector_recipe": detector.model_dump(mode="json"),
        "epochs": list(epochs),
    }
    before = read_json(out / "experiment.json")
    if before is None:
        write_json(out / "experiment.json", facts)
    elif changed := [name for name, value in facts.items() if before.get(name) != value]:
        raise BadDataset(f"{out} holds an experiment with another {', '.join(changed)}. Use another --out.")


def _write(out: Path, planned: Sequence[Cell], scans: Scans, taxonomy: Taxonomy) -> Path:
    found = {cell.name: Result.read(out / cell.name) for cell in planned}
    results = {name: one for name, one in found.items() if one is not None}
    table = out / "experiment.md"
    table.write_text(markdown_table(results, [cell.name for cell in planned], scans, taxonomy))
    (out / "curve.svg").write_text(curve(results, taxonomy))
    return table
