"""Reading a YOLO data set (`data.yaml`, `images/`, `labels/`) and preparing it for training.

Nothing is skipped or repaired silently: every bad line is named, and either stops the reading or, when asked
for, is listed among what was left out.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from training.samples import Sample, SampleBox, make_sample, scope_of, split_by_bag, write_jsonl
from xray_app.errors import BadDataset, BadInput, UnknownLabel
from xray_app.taxonomy import Taxonomy

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
PROBLEMS_SHOWN = 20
PAST_THE_EDGE = 0.005
"""How far a box may reach past the picture, as a share of its side: exporters round. It is clipped then."""
ROTATED = frozenset({5, 6, 7, 8})
"""EXIF orientations that swap width and height."""


@dataclass(frozen=True)
class YoloData:
    """What a YOLO folder holds.

    Attributes:
        splits: samples by split name, "train" and, where data.yaml names one, "val".
        labelled_classes: the canonical names of data.yaml, None when they cover every drawn class.
        left_out: with `skip_bad`, all that is wrong with the scans left out, as "file:line: reason".
        summary: what is wrong, counted by kind; empty when nothing is.
    """

    splits: Mapping[str, tuple[Sample, ...]]
    labelled_classes: tuple[str, ...] | None
    left_out: tuple[str, ...]
    summary: str


@dataclass(frozen=True)
class _Problem:
    """One thing wrong: in which file, the kind of it for the summary, what exactly, and in which line."""

    file: Path
    kind: str
    reason: str
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}" if self.line is None else f"{self.file}:{self.line}: {self.reason}"


@dataclass(frozen=True)
class _Names:
    by_index: dict[int, str | None]  # None: unknown, to be skipped
    scope: tuple[str, ...] | None


class _BadScan(Exception):
    """A scan that cannot be used, and everything that is wrong with it."""

    def __init__(self, *problems: _Problem) -> None:
        super().__init__(*problems)
        self.problems = problems


class _BadLine(ValueError):
    """A label row that cannot be used."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind, self.reason = kind, reason


def read_yolo(folder: Path, taxonomy: Taxonomy, skip_bad: bool = False, skip_unknown: bool = False) -> YoloData:
    """Reads a YOLO data set; a bag is a file stem.

    An empty label file is a scan with nothing in it; a missing one is an error, since a forgotten file would
    teach the model to say "none". The same bytes under two names are an error where they are, or by a split by bag
    may come to be, on both sides of the split: what is measured would have been trained on.

    Args:
        folder: holds `data.yaml`.
        taxonomy: gives canonical names to the data set's labels.
        skip_bad: leave bad scans out and list them, instead of raising.
        skip_unknown: leave out boxes of labels the taxonomy does not know.

    Raises:
        BadDataset: data.yaml or any scan is wrong; the message names file and line of each.
        UnknownLabel: data.yaml has labels the taxonomy does not know.
    """
    config_path = folder / "data.yaml"
    config = _load_config(config_path)
    names = _read_names(config, config_path, taxonomy, skip_unknown)
    problems: list[_Problem] = []
    splits: dict[str, tuple[Sample, ...]] = {}
    seen: dict[str, Path] = {}
    bags: set[str] = set()
    # val first: of a scan that is in both, the training copy is the one to lose.
    for split in ("val", "train"):
        if split not in config:
            continue
        found: list[Sample] = []
        of_split: dict[str, Path] = {}
        for image in _images(config, config_path, split, problems):
            try:
                digest = hashlib.sha256(image.read_bytes()).hexdigest()
                if digest in seen:
                    reason = f"the same picture is in val as {seen[digest].name}"
                    raise _BadScan(_Problem(image, "picture in both train and val", reason))
                if image.stem in bags:
                    reason = f"the bag {image.stem} is in val too"
                    raise _BadScan(_Problem(image, "bag in both train and val", reason))
                if "val" not in config and digest in of_split:
                    reason = (
                        f"the same picture as {of_split[digest].name}; without a val of its own, "
                        "the split by bag could put one in train and one in val"
                    )
                    raise _BadScan(_Problem(image, "picture twice", reason))
                found.append(_read_scan(image, names, taxonomy))
                of_split.setdefault(digest, image)
            except _BadScan as error:
                problems += error.problems
        seen |= of_split
        bags |= {sample.bag_id for sample in found}
        splits[split] = tuple(found)
    if problems and not skip_bad:
        shown = "\n".join(str(problem) for problem in problems[:PROBLEMS_SHOWN])
        more = len(problems) - PROBLEMS_SHOWN
        raise BadDataset(
            f"{folder}: {len(problems)} problem{'s' if len(problems) > 1 else ''}:\n{shown}"
            + (f"\n… and {more} more" if more > 0 else "")
            + f"\n{_summary(problems)}. Put them right, or leave these scans out with --skip-bad.",
            details={"problems": [str(problem) for problem in problems]},
        )
    if not splits["train"]:
        raise BadDataset(f"{folder}: no usable training scans")
    return YoloData(splits, names.scope, tuple(map(str, problems)), _summary(problems))


def _summary(problems: Sequence[_Problem]) -> str:
    """As "3 problems in 2 files: class outside names (2), coordinates over 1 (1)"; empty without any."""
    if not problems:
        return ""
    files = {problem.file for problem in problems}
    kinds = Counter(problem.kind for problem in problems)
    listed = ", ".join(f"{kind} ({count})" for kind, count in kinds.most_common())
    return f"{_counted(len(problems), 'problem')} in {_counted(len(files), 'file')}: {listed}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


@dataclass(frozen=True)
class Prepared:
    """What `prepare` wrote: scans by split, what was left out and a summary of it, and the scope of the labels."""

    train: int
    val: int
    left_out: tuple[str, ...]
    summary: str
    labelled_classes: tuple[str, ...] | None


def prepare(
    folder: Path,
    out: Path,
    taxonomy: Taxonomy,
    val: float = 0.2,
    seed: int = 0,
    skip_bad: bool = False,
    skip_unknown: bool = False,
) -> Prepared:
    """Writes `train.jsonl` and `val.jsonl`; the pictures stay where they are.

    A data set with its own `val` keeps it; otherwise `val` (a share) of the bags is split off by a hash.
    """
    if not 0 <= val < 1:
        raise BadDataset(f"--val is a share between 0 and 1, not {val}")
    data = read_yolo(folder, taxonomy, skip_bad, skip_unknown)
    if "val" in data.splits:
        train, test = list(data.splits["train"]), list(data.splits["val"])
    else:
        train, test = split_by_bag(data.splits["train"], val, seed)
    write_jsonl(train, out / "train.jsonl")
    write_jsonl(test, out / "val.jsonl")
    return Prepared(len(train), len(test), data.left_out, data.summary, data.labelled_classes)


def _load_config(path: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadDataset(f"{path}: not found; a YOLO data set needs a data.yaml") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadDataset(f"{path}: not valid YAML: {error}") from error
    if not isinstance(config, dict) or not config.get("names"):
        raise BadDataset(f"{path}: `names` is missing")
    config = {("val" if key == "valid" else key): value for key, value in config.items() if value is not None}
    if "train" not in config:
        raise BadDataset(f"{path}: `train` is missing")
    return config


def _read_names(config: dict[str, Any], path: Path, taxonomy: Taxonomy, skip_unknown: bool) -> _Names:
    names = config["names"]
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict):
        raise BadDataset(f"{path}: `names` must be a list or a mapping of index to label")
    by_index: dict[int, str | None] = {}
    unknown = []
    for index, label in names.items():
        try:
            number = int(index)
        except (TypeError, ValueError) as error:
            raise BadDataset(f"{path}: `names` has the key {index!r}, which is no class index") from error
        item = taxonomy.find(str(label))
        by_index[number] = item.name if item else None
        if item is None:
            unknown.append(str(label))
    if unknown and not skip_unknown:
        raise UnknownLabel(
            f"{path}: the taxonomy does not know {', '.join(repr(label) for label in unknown)}. "
            "Add them to the taxonomy as classes or aliases, or leave their boxes out with --skip-unknown.",
            details={"labels": unknown},
        )
    known = [label for label in by_index.values() if label]
    if not known:
        raise BadDataset(f"{path}: none of its labels is in the taxonomy")
    return _Names(by_index, scope_of(known, taxonomy))


def _images(config: dict[str, Any], config_path: Path, split: str, problems: list[_Problem]) -> list[Path]:
    root = config_path.parent / str(config.get("path", "."))
    if not root.is_dir():
        root = config_path.parent  # `path` is often left over from another machine
    entries = config[split] if isinstance(config[split], list) else [config[split]]
    images: list[Path] = []
    for entry in entries:
        folder = root / str(entry)
        if not folder.is_dir() and str(entry).startswith("../"):
            folder = root / str(entry)[3:]  # Roboflow's exports write ../train/images
        if not folder.is_dir():
            raise BadDataset(f"{config_path}: `{split}` names {entry}, which is no folder")
        here = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
        stems: dict[str, Path] = {}
        for path in here:
            twin = stems.setdefault(path.stem, path)
            if twin.parent == path.parent and twin != path:
                reason = f"shares its label file with {twin.name}: one of the two is unlabelled"
                problems.append(_Problem(path, "two images for one label", reason))
            else:
                images.append(path)
        labels = _labels_folder(folder)
        for label in sorted(labels.rglob("*.txt")) if labels.is_dir() else []:
            if label.stem not in stems and label.name != "classes.txt":
                problems.append(_Problem(label, "label without image", "its image is missing"))
    return images


def _labels_folder(images: Path) -> Path:
    """The folder beside it: the last `images` in the path becomes `labels`."""
    parts = list(images.parts)
    for position in range(len(parts) - 1, -1, -1):
        if parts[position] == "images":
            parts[position] = "labels"
            return Path(*parts)
    return images


def _read_scan(image: Path, names: _Names, taxonomy: Taxonomy) -> Sample:
    label_path = _labels_folder(image.parent) / f"{image.stem}.txt"
    try:
        text = label_path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        reason = f"its label file {label_path} is missing"
        raise _BadScan(_Problem(image, "image without label", reason)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise _BadScan(_Problem(label_path, "unreadable file", f"cannot be read ({error})")) from error
    try:
        with Image.open(image) as opened:
            opened.verify()
        with Image.open(image) as opened:
            width, height = opened.size
            if opened.getexif().get(0x0112) in ROTATED:
                width, height = height, width
    except Exception as error:  # Pillow raises many kinds; each means it is no picture we can use
        raise _BadScan(_Problem(image, "unreadable file", f"not a readable picture ({error})")) from error
    boxes, bad = [], []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            box = _read_line(line, names, width, height)
        except _BadLine as error:
            bad.append(_Problem(label_path, error.kind, error.reason, number))
            continue
        if box is not None:
            boxes.append(box)
    if bad:
        raise _BadScan(*bad)
    counts = Counter(box.label for box in boxes)
    try:
        return make_sample(image, (width, height), counts, boxes, names.scope, image.stem, taxonomy)
    except BadInput as error:
        raise _BadScan(_Problem(label_path, "impossible count", str(error))) from error


def _read_line(line: str, names: _Names, width: int, height: int) -> SampleBox | None:
    """One row `class cx cy w h`, normalised; None for a class that is skipped."""
    columns = line.split()
    if len(columns) != 5:
        raise _BadLine(
            "not five columns", f"needs five columns (class, centre x, centre y, width, height), has {len(columns)}"
        )
    try:
        index = int(columns[0])
        cx, cy, w, h = (float(column) for column in columns[1:])
    except ValueError as error:
        raise _BadLine("not numbers", f"not numbers: {line.strip()!r}") from error
    if index not in names.by_index:
        raise _BadLine("class outside names", f"class {index} is not in `names`")
    if not all(0 <= value <= 1 for value in (cx, cy, w, h)):  # NaN fails this too
        raise _BadLine("coordinates outside 0 to 1", f"coordinates must be between 0 and 1: {line.strip()!r}")
    if max(w / 2 - cx, cx + w / 2 - 1, h / 2 - cy, cy + h / 2 - 1) > PAST_THE_EDGE:
        raise _BadLine("box past the edge", f"the box reaches past the edge of the picture: {line.strip()!r}")
    x0, x1 = max(cx - w / 2, 0) * width, min(cx + w / 2, 1) * width
    y0, y1 = max(cy - h / 2, 0) * height, min(cy + h / 2, 1) * height
    if not (x0 < x1 and y0 < y1):
        raise _BadLine("box without area", f"the box has no area: {line.strip()!r}")
    label = names.by_index[index]
    return None if label is None else SampleBox(label=label, xyxy=(x0, y0, x1, y1))
