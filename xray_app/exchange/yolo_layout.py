"""Where a YOLO data set has its things: `data.yaml`, the pictures of each split, and the label file of each picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from xray_app.errors import BadDataset
from xray_app.exchange.bounded_text import plain_id, read_text, read_yaml
from xray_app.exchange.dataset import IMAGE_SUFFIXES, Problem, Problems, inside
from xray_app.exchange.label_map import LabelMap
from xray_app.exchange.pictures import NotFound, Pictures
from xray_app.exchange.yolo_rows import Names, names_of

CONFIGS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
SPLITS = ("train", "val", "test")
MAX_CLASSES = 10_000
MAX_LIST = 64 * 2**20


def config_file(folder: Path) -> Path:
    """The file that describes a YOLO data set: `data.yaml`, or by one of its other names."""
    return next((folder / name for name in CONFIGS if (folder / name).is_file()), folder / CONFIGS[0])


def load_config(path: Path) -> dict[str, Any]:
    """The mapping of a data.yaml: `names`, and for each of its splits one text or a list of them.

    Raises:
        BadDataset: it is missing, or something in it is not what it must be.
    """
    if not path.is_file():
        raise BadDataset(f"{path.parent} needs a data.yaml (YOLO layout).")
    document = read_yaml(path)
    if not isinstance(document, dict) or not document.get("names"):
        raise BadDataset(f"{path}: `names` is missing")
    config: dict[str, Any] = {}
    for key, value in document.items():
        key = "val" if key == "valid" else key
        if key not in ("path", "names", *SPLITS) or value in ("", "null", "~", []):
            continue
        if key == "path" and not isinstance(value, str):
            raise BadDataset(f"{path}: `path` must be text")
        if key in SPLITS:
            entries = value if isinstance(value, list) else [value]
            if not all(isinstance(entry, str) for entry in entries):
                raise BadDataset(f"{path}: `{key}` must be text, or a list of texts")
            value = entries
        config[key] = value
    if not any(split in config for split in SPLITS):
        raise BadDataset(f"{path}: `train` is missing")
    return config


def read_names(config: dict[str, Any], path: Path, labels: LabelMap) -> Names:
    """Its class names.

    Raises:
        BadDataset: they are no list and no mapping of numbers to labels, or none of them is a class.
        UnknownLabel: some are no class.
    """
    names = config["names"]
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict):
        raise BadDataset(f"{path}: `names` must be a list or a mapping of index to label")
    if len(names) > MAX_CLASSES:
        raise BadDataset(f"{path}: `names` has {len(names):,} labels; at most {MAX_CLASSES:,} are read")
    by_index: dict[int, str] = {}
    for index, label in names.items():
        number = plain_id(index)
        if not isinstance(number, int):
            raise BadDataset(f"{path}: `names` has the key {str(index)[:60]!r}, which is no class index")
        if not isinstance(label, str):
            raise BadDataset(f"{path}: `names` has something under {number} that is no text")
        by_index[number] = label
    return names_of(by_index, labels, path)


def list_images(
    config: dict[str, Any],
    config_path: Path,
    split: str,
    problems: Problems,
    within: Path | None = None,
    stray: Callable[[Path], None] | None = None,
) -> list[Path]:
    """The pictures of a split that can be told apart; what is wrong with the others is added to `problems`.

    Args:
        config: as `load_config` gives it.
        config_path: where it stands.
        split: "train", "val" or "test".
        problems: what is wrong.
        within: the folder outside which nothing is read; None: no matter where.
        stray: is told of each label file without a picture.

    Raises:
        BadDataset: the split names what is not here, or lies outside `within`.
    """
    images: list[Path] = []
    for entry in config[split]:
        place = _place(entry, config, config_path)
        if place is None:
            raise BadDataset(f"{config_path}: `{split}` names {entry[:200]}, which is no folder")
        if within is not None:
            inside(place, within)
        if place.is_file():
            images += _listed(place, config_path.parent, problems, within)
            continue
        here = sorted(path for path in place.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
        stems: dict[tuple[Path, str], Path] = {}
        for path in here:
            twin = stems.setdefault((path.parent, path.stem), path)
            if twin != path:
                reason = f"shares its label file with {twin.name}: one of the two is unlabelled"
                problems.add(Problem(path, "two images for one label", reason))
            else:
                images.append(path)
        known = {path.stem for path in here}
        folder = labels_folder(place)
        for label in sorted(folder.rglob("*.txt")) if folder.is_dir() else []:
            if label.stem not in known and label.name != "classes.txt" and not label.name.lower().startswith("readme"):
                problems.add(Problem(label, "label without image", "its image is missing"))
                if stray is not None:
                    stray(label)
    return list(dict.fromkeys(images))


def _place(entry: str, config: dict[str, Any], config_path: Path) -> Path | None:
    """The folder or list file an entry of data.yaml means; it may be a path of another machine."""
    here = config_path.parent
    root = here / str(config.get("path", ".")).replace("\\", "/")
    if not root.is_dir():
        root = here  # `path` is often left over from another machine
    plain = entry.replace("\\", "/")
    candidates = [root / plain, here / plain]
    if plain.startswith("../"):
        candidates.append(root / plain[3:])  # Roboflow's exports write ../train/images
    if PurePosixPath(plain).is_absolute() or PureWindowsPath(entry).is_absolute():
        parts = [part for part in plain.split("/") if part][-8:]
        candidates += [here.joinpath(*parts[start:]) for start in range(len(parts))]
    for candidate in candidates:
        if _is_there(candidate):
            return candidate
    return None


def _is_there(path: Path) -> bool:
    try:
        return path.is_dir() or (path.is_file() and path.suffix.lower() == ".txt")
    except (OSError, ValueError):  # too long, or with a NUL in it
        return False


def _listed(file: Path, root: Path, problems: Problems, within: Path | None) -> Iterator[Path]:
    """The pictures that a list file names, each in a line of its own."""
    pictures: Pictures | None = None
    for place, line in enumerate(read_text(file, MAX_LIST).splitlines(), 1):
        name = line.strip()
        if not name:
            continue
        pictures = pictures or Pictures(root)
        try:
            yield pictures.find(name, (file.parent, root))
        except NotFound as error:
            problems.add(Problem(file, "missing image", str(error), place))
        except BadDataset as error:
            problems.add(Problem(file, "outside the data set", error.message, place))


def labels_folder(images: Path) -> Path:
    """The folder beside it: the last `images` in the path becomes `labels`."""
    parts = list(images.parts)
    for position in range(len(parts) - 1, -1, -1):
        if parts[position] == "images":
            parts[position] = "labels"
            return Path(*parts)
    return images


def label_file(image: Path) -> Path:
    """The label file of a picture: in the folder of labels, else beside the picture."""
    path = labels_folder(image.parent) / f"{image.stem}.txt"
    beside = image.with_suffix(".txt")
    return beside if not path.is_file() and beside.is_file() else path
