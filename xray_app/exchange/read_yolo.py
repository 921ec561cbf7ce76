"""Reading the YOLO layout: `data.yaml`, `images/`, `labels/`. Every bad line is named; nothing is repaired silently."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from xray_app.errors import BadDataset, UnknownLabel
from xray_app.exchange.labelled import (
    IMAGE_SUFFIXES,
    Dataset,
    InBox,
    LabelledImage,
    Problem,
    Unusable,
    inside,
)
from xray_app.taxonomy import Taxonomy

PAST_THE_EDGE = 0.005
"""How far a box may reach past the picture, as a share of its side: exporters round. It is clipped then."""
ROTATED = frozenset({5, 6, 7, 8})
"""EXIF orientations that swap width and height."""


@dataclass(frozen=True)
class Names:
    """Class names by index, and the scope they make: None where they cover every drawn class."""

    by_index: dict[int, str | None]  # None: unknown, to be skipped
    scope: tuple[str, ...] | None


class _BadLine(ValueError):
    """A label row that cannot be used."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind, self.reason = kind, reason


def read(root: Path, taxonomy: Taxonomy, skip_unknown: bool = False) -> Dataset:
    """All splits of a YOLO data set; no file outside `root` is read.

    Raises:
        BadDataset: data.yaml is wrong, or names folders outside.
        UnknownLabel: data.yaml has labels the taxonomy does not know.
    """
    config_path = root / "data.yaml"
    config = load_config(config_path)
    names = read_names(config, config_path, taxonomy, skip_unknown)
    problems: list[Problem] = []
    found: list[LabelledImage] = []
    for split in ("train", "val", "test"):
        if split not in config:
            continue
        for image in list_images(config, config_path, split, problems, within=root):
            try:
                found.append(read_scan(image, names, within=root))
            except Unusable as error:
                problems += error.problems
    return Dataset(tuple(found), names.scope, tuple(problems))


def load_config(path: Path) -> dict[str, Any]:
    """What data.yaml says, with `valid` called `val`; BadDataset where it is wrong."""
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


def read_names(config: dict[str, Any], path: Path, taxonomy: Taxonomy, skip_unknown: bool) -> Names:
    """Its class names in canonical labels; UnknownLabel for those the taxonomy does not know."""
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
    return Names(by_index, taxonomy.scope(known))


def list_images(
    config: dict[str, Any], config_path: Path, split: str, problems: list[Problem], within: Path | None = None
) -> list[Path]:
    """The pictures of a split that can be told apart; what is wrong with the others is added to `problems`."""
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
        if within is not None:
            inside(folder, within)
        here = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
        stems: dict[str, Path] = {}
        for path in here:
            twin = stems.setdefault(path.stem, path)
            if twin.parent == path.parent and twin != path:
                reason = f"shares its label file with {twin.name}: one of the two is unlabelled"
                problems.append(Problem(path, "two images for one label", reason))
            else:
                images.append(path)
        labels = _labels_folder(folder)
        for label in sorted(labels.rglob("*.txt")) if labels.is_dir() else []:
            if label.stem not in stems and label.name != "classes.txt":
                problems.append(Problem(label, "label without image", "its image is missing"))
    return images


def _labels_folder(images: Path) -> Path:
    """The folder beside it: the last `images` in the path becomes `labels`."""
    parts = list(images.parts)
    for position in range(len(parts) - 1, -1, -1):
        if parts[position] == "images":
            parts[position] = "labels"
            return Path(*parts)
    return images


def read_scan(image: Path, names: Names, within: Path | None = None) -> LabelledImage:
    """One picture and the boxes of its label file.

    Raises:
        Unusable: with everything that is wrong.
    """
    label_path = _labels_folder(image.parent) / f"{image.stem}.txt"
    try:
        if within is not None:
            inside(image, within)
            inside(label_path, within)
        text = label_path.read_text(encoding="utf-8")
    except BadDataset as error:
        raise Unusable(Problem(image, "outside the data set", error.message)) from error
    except FileNotFoundError as error:
        reason = f"its label file {label_path} is missing"
        raise Unusable(Problem(image, "image without label", reason)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(Problem(label_path, "unreadable file", f"cannot be read ({error})")) from error
    width, height = picture_size(image)
    boxes, bad = [], []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            box = _read_line(line, names, width, height)
        except _BadLine as error:
            bad.append(Problem(label_path, error.kind, error.reason, number))
            continue
        if box is not None:
            boxes.append(box)
    if bad:
        raise Unusable(*bad)
    return LabelledImage(image, label_path, width, height, tuple(boxes))


def picture_size(image: Path) -> tuple[int, int]:
    """Width and height of the upright picture, from its header.

    Raises:
        Unusable: it is no picture.
    """
    try:
        with Image.open(image) as opened:
            opened.verify()
        with Image.open(image) as opened:
            width, height = opened.size
            if opened.getexif().get(0x0112) in ROTATED:
                width, height = height, width
    except Exception as error:  # Pillow raises many kinds; each means it is no picture we can use
        raise Unusable(Problem(image, "unreadable file", f"not a readable picture ({error})")) from error
    return width, height


def _read_line(line: str, names: Names, width: int, height: int) -> InBox | None:
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
    return None if label is None else InBox(label, (x0, y0, x1, y1))
