"""The formats that are read: one module each, in the order in which a folder is asked whether it is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from xray_app.errors import BadDataset, BadInput
from xray_app.exchange import (
    read_classes_txt,
    read_coco,
    read_cvat,
    read_darknet,
    read_gdxray,
    read_labelme,
    read_opixray,
    read_voc,
    read_yolo,
)
from xray_app.exchange.dataset import Dataset
from xray_app.exchange.label_map import LabelMap


class Reader(Protocol):
    """A module that reads one format."""

    ABOUT: str

    def is_here(self, root: Path) -> bool:
        """Whether a folder is of this format."""

    def read(self, root: Path, labels: LabelMap) -> Dataset:
        """What the folder holds."""


READERS: Mapping[str, Reader] = {
    "yolo": read_yolo,
    "darknet": read_darknet,
    "coco": read_coco,
    "labelme": read_labelme,
    "cvat": read_cvat,
    "voc": read_voc,
    "opixray": read_opixray,
    "gdxray": read_gdxray,
    "classes-txt": read_classes_txt,
}


def format_of(root: Path) -> str:
    """The format of a folder, by what lies in it.

    Raises:
        BadDataset: none that is read here.
    """
    for name, reader in READERS.items():
        if reader.is_here(root):
            return name
    known = "; ".join(reader.ABOUT for reader in READERS.values())
    raise BadDataset(f"This is no data set that is read here. Read are {known}.")


def read_dataset(root: Path, labels: LabelMap, format_name: str | None = None) -> Dataset:
    """What a folder holds; no picture is analysed yet, and nothing is stored.

    Args:
        root: the folder of the data set (`source.opened`).
        labels: what its labels are here.
        format_name: one of `READERS`; found out without it.

    Raises:
        BadInput: there is no such format.
        BadDataset: the data set as a whole cannot be read.
        UnknownLabel: labels that are no class.
    """
    name = format_name or format_of(root)
    if name not in READERS:
        raise BadInput(f"There is no import of {name!r}; choose one of {', '.join(READERS)}.")
    return replace(READERS[name].read(root, labels), format_name=name)
