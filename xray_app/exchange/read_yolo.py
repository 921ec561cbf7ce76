"""Reading the YOLO layout: `data.yaml`, `images/`, `labels/`. Every bad line is named; nothing is repaired silently."""

from __future__ import annotations

from pathlib import Path

from xray_app.errors import BadDataset
from xray_app.exchange.dataset import Dataset, Findings, Unusable
from xray_app.exchange.label_map import LabelMap
from xray_app.exchange.yolo_layout import SPLITS, config_file, label_file, list_images, load_config, read_names
from xray_app.exchange.yolo_rows import labels_of, read_labels

ABOUT = "YOLO: a data.yaml (also of Ultralytics and Roboflow)"


def is_here(root: Path) -> bool:
    """Whether a folder holds a YOLO data set."""
    return config_file(root).is_file()


def read(root: Path, labels: LabelMap) -> Dataset:
    """All splits of a YOLO data set; no file outside `root` is read.

    What was looked for is what data.yaml names. A split whose folder is not here is noted and passed over where
    another one is.

    Raises:
        BadDataset: data.yaml is wrong, names folders outside, or none that is here.
        UnknownLabel: data.yaml has labels that are no class.
    """
    config_path = config_file(root)
    config = load_config(config_path)
    names = read_names(config, config_path, labels)
    found = Findings(labels)
    images: list[Path] = []
    missing: list[BadDataset] = []
    for split in SPLITS:
        if split not in config:
            continue
        try:
            images += list_images(
                config, config_path, split, found.problems, root,
                stray=lambda path: found.lose(labels_of(path, names), "label without image"),
            )  # fmt: skip
        except BadDataset as error:
            if "outside the data set" in error.message:
                raise
            missing.append(error)
    if missing and not images:
        raise missing[0]
    for one in missing:
        found.note(f"{one.message}. Passed over.")
    for image in dict.fromkeys(images):
        try:
            found.take(read_labels(image, label_file(image), names, within=root))
        except Unusable as error:
            found.leave_out(error)
    return found.dataset(names.scope(found.classes()))
