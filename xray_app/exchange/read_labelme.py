"""Reading labelme: a JSON file a picture, with `shapes` and `imagePath`."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

from xray_app.errors import BadDataset
from xray_app.exchange.bounded_text import first_bytes, number, read_json, size_in_pixels
from xray_app.exchange.dataset import Dataset, Findings, LabelledImage, Problem, Unusable, inside
from xray_app.exchange.drawn import DrawnBox, labelled_image, outlined
from xray_app.exchange.label_map import LabelMap
from xray_app.exchange.pictures import NotFound, Pictures, found_for

ABOUT = "labelme: a JSON file with shapes for each picture"
_WORDS = (b'"shapes"', b'"imagePath"')


def is_here(root: Path) -> bool:
    """Whether a folder holds labelme's files."""
    return bool(_files(root))


def read(root: Path, labels: LabelMap) -> Dataset:
    """All of labelme's files below a folder; no file outside `root` is read.

    What was looked for are the classes that occur in the set. A shape that encloses nothing (a point, a line) costs
    its picture.

    Raises:
        BadDataset: there are no such files.
        UnknownLabel: a label is no class.
    """
    files = _files(root)
    if not files:
        raise BadDataset(f"{root}: holds no JSON file of labelme.")
    found = Findings(labels)
    pictures = Pictures(root)
    parsed: list[tuple[Path, dict[str, Any], list[DrawnBox]]] = []
    for file in files:
        try:
            document = read_json(inside(file, root))
            shapes = document.get("shapes") if isinstance(document, dict) else None
            if not isinstance(shapes, list):
                raise BadDataset(f"{file}: `shapes` is no list.")
            parsed.append((file, document, [_box(shape, place) for place, shape in enumerate(shapes, 1)]))
        except BadDataset as error:
            found.leave_out(Unusable(Problem(file, "unreadable file", error.message.removeprefix(f"{file}: "))))
    names = sorted({one.label for _, _, drawn in parsed for one in drawn if one.xyxy})
    labels.refuse_unknown(names, root)
    stems = Counter(file.stem for file in files)
    for file, document, drawn in parsed:
        try:
            found.take(_image(file, document, drawn, labels, pictures, stems[file.stem] == 1))
        except Unusable as error:
            found.leave_out(error)
    return found.dataset(labels.scope(label for name in names if (label := labels.find(name))))


def _files(root: Path) -> list[Path]:
    found = []
    for path in sorted(root.rglob("*.json")):
        if path.is_file() and path.stat().st_size:
            start = first_bytes(path, 1 << 16)
            if any(word in start for word in _WORDS):
                found.append(path)
    return found


def _image(
    file: Path, document: dict[str, Any], drawn: list[DrawnBox], labels: LabelMap, pictures: Pictures, alone: bool
) -> LabelledImage:
    named = document.get("imagePath")

    def find() -> Path:
        if isinstance(named, str) and named.strip():
            try:
                return pictures.find(named, (file.parent,))
            except NotFound:
                pass  # the folder was renamed; the picture has the name of its file
        return pictures.of_stem(file.stem, file, alone)

    image = found_for(file, [one.label for one in drawn], find)
    told = (size_in_pixels(document.get("imageWidth")), size_in_pixels(document.get("imageHeight")))
    return labelled_image(image, file, drawn, labels, told)


def _box(shape: Any, place: int) -> DrawnBox:
    where = f"shape {place}"
    label = shape.get("label") if isinstance(shape, dict) else None
    if not isinstance(label, str) or not label.strip():
        return DrawnBox("unknown", None, where=where, wrong="it has no label")
    kind, points = shape.get("shape_type") or "polygon", shape.get("points")
    if kind not in ("polygon", "rectangle", "circle", "mask"):
        return DrawnBox(label, None, where=where, wrong=f"a {str(kind)[:40]} encloses nothing")
    flat: list[float] = []
    for point in points if isinstance(points, list) else []:
        values = [value for one in point if (value := number(one)) is not None] if isinstance(point, list) else []
        if len(values) != 2:
            return DrawnBox(label, None, where=where, wrong="its points are no pairs of numbers")
        flat += values
    if kind == "circle" and len(flat) == 4:  # the centre, and a point on the edge
        radius = math.hypot(flat[2] - flat[0], flat[3] - flat[1])
        return DrawnBox(label, (flat[0] - radius, flat[1] - radius, flat[0] + radius, flat[1] + radius), where=where)
    made = outlined(label, flat, where=where)
    return made if kind == "polygon" else DrawnBox(label, made.xyxy, where=where, wrong=made.wrong)
