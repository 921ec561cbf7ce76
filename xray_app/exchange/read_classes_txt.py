"""Reading YOLO labels with a `classes.txt`: labelImg's (beside the pictures) and Label Studio's (images/, labels/)."""

from __future__ import annotations

from pathlib import Path

from xray_app.errors import BadDataset
from xray_app.exchange.bounded_text import read_text
from xray_app.exchange.dataset import Dataset, Findings, Problem, Unusable, inside
from xray_app.exchange.label_map import LabelMap
from xray_app.exchange.pictures import Pictures
from xray_app.exchange.yolo_layout import MAX_CLASSES, label_file
from xray_app.exchange.yolo_rows import labels_of, names_of, read_labels

ABOUT = "YOLO with a classes.txt (labelImg, Label Studio)"
CLASSES = "classes.txt"
MAX_CLASSES_FILE = 2**20


def is_here(root: Path) -> bool:
    """Whether a folder holds a classes.txt, at its top or below."""
    return bool(_files(root))


def read(root: Path, labels: LabelMap) -> Dataset:
    """All pictures with a label file; no file outside `root` is read. What was looked for is what classes.txt lists.

    A picture without a label file is left out: labelImg writes none before somebody has opened it.

    Raises:
        BadDataset: two files classes.txt that differ, or none.
        UnknownLabel: a name is no class.
    """
    files = _files(root)
    if not files:
        raise BadDataset(f"{root}: holds no {CLASSES}.")
    texts = {read_text(inside(file, root), MAX_CLASSES_FILE).strip() for file in files}
    if len(texts) > 1:
        raise BadDataset(f"{root}: its {len(files)} files {CLASSES} differ; bring their folders in one by one.")
    listed = [line.strip() for line in texts.pop().splitlines()]
    if len(listed) > MAX_CLASSES:
        raise BadDataset(f"{files[0]}: more than {MAX_CLASSES:,} labels.")
    names = names_of({place: name for place, name in enumerate(listed) if name}, labels, files[0])
    found = Findings(labels)
    read_files: dict[Path, Path] = {}
    for image in Pictures(root).all:
        path = label_file(image)
        try:
            if path in read_files:
                reason = f"shares its label file with {read_files[path].name}: one of the two is unlabelled"
                raise Unusable(Problem(image, "two images for one label", reason))
            read_files[path] = image
            found.take(read_labels(image, path, names, within=root))
        except Unusable as error:
            found.leave_out(error)
    for path in sorted(root.rglob("*.txt")):
        if path not in read_files and path.name != CLASSES and path.is_file():
            stray = Unusable(
                Problem(path, "label without image", "its image is missing"), labels=labels_of(path, names)
            )
            found.leave_out(stray)
    return found.dataset(names.scope(found.classes()))


def _files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob(CLASSES) if path.is_file())
