"""Small data sets of other programs, written by a test into a folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import png
from xray_app.exchange import dataset
from xray_app.exchange.dataset import Dataset

WIDTH, HEIGHT = 80, 40
Read = Callable[..., Dataset]
Taken = dict[str, tuple[list[tuple[str, tuple[float, ...]]], Any]]
HALF = "1 0.5 0.5 0.5 0.5\n"
GUN = ("gun", (20.0, 10.0, 60.0, 30.0))


def put(root: Path, files: dict[str, bytes | str]) -> Path:
    """Writes files below a folder; a picture's content may be left empty."""
    for number, (name, content) in enumerate(files.items()):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content == "" and path.suffix.lower() in dataset.IMAGE_SUFFIXES:
            content = png(number, WIDTH, HEIGHT)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def taken(found: Dataset, root: Path) -> Taken:
    return {
        one.image.relative_to(root).as_posix(): (
            sorted((box.label, tuple(round(x, 1) for x in box.xyxy)) for box in one.boxes),
            one.labelled_classes,
        )
        for one in found.images
    }


def coco(**changes: Any) -> str:
    document: dict[str, Any] = {
        "images": [{"id": 7, "file_name": "a.png"}, {"id": 8, "file_name": "b.png"}],
        "categories": [{"id": 3, "name": "scissors"}, {"id": 4, "name": "Hammer"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "bbox": [5, 6, 10, 8]},
            {"id": 2, "image_id": 8, "category_id": 4, "bbox": [1, 2, 30, 20]},
        ],
    }
    return json.dumps(document | changes)


def annotation(image: Any = 7, category: Any = 3, **said: Any) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": [5, 6, 10, 8]} | said


SCISSORS = ("scissors", (5.0, 6.0, 15.0, 14.0))


def voc(size: str = "", head: str = "", box: str = "") -> str:
    box = box or "<bndbox><xmin>6</xmin><ymin>7</ymin><xmax>15</xmax><ymax>14</ymax></bndbox>"
    return f"<annotation>{head}{size}<object><name>Scissors</name>{box}</object></annotation>"
