"""Reading COCO detection files: any JSON with `images`, `annotations` and `categories`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xray_app.errors import BadDataset
from xray_app.exchange.bounded_text import first_bytes, number, plain_id, read_json, size_in_pixels
from xray_app.exchange.dataset import (
    Dataset,
    Findings,
    LabelledImage,
    Problem,
    Unusable,
    inside,
    shown,
)
from xray_app.exchange.drawn import DrawnBox, labelled_image
from xray_app.exchange.label_map import LabelMap
from xray_app.exchange.outline import Outline, decompressed, hull_box, mask_box, mask_outline
from xray_app.exchange.pictures import MASK_FOLDERS, Pictures, found_for
from xray_app.types import XYXY

ABOUT = "COCO: a JSON file with images, annotations and categories"
_WORDS = (b'"images"', b'"annotations"', b'"categories"')
_LISTS = ("images", "annotations", "categories")
Id = int | str


@dataclass(frozen=True)
class _Row:
    """An annotation, and its place in the file (from 1)."""

    place: int
    value: dict[str, Any]


def annotation_files(root: Path) -> list[Path]:
    """The JSON files below `root` that look like COCO's."""
    found = []
    for path in sorted(root.rglob("*.json")):
        if path.is_file() and path.stat().st_size and not path.name.startswith("."):
            start = first_bytes(path, 1 << 16).removeprefix(b"\xef\xbb\xbf").lstrip()
            # Label Studio's notes.json has categories alone.
            if start.startswith(b"{") and any(word in start for word in _WORDS) and path.name != "notes.json":
                found.append(path)
    return found


def is_here(root: Path) -> bool:
    """Whether a folder holds a COCO data set."""
    return bool(annotation_files(root))


def read(root: Path, labels: LabelMap) -> Dataset:
    """All COCO files of a folder; no file outside `root` is read.

    What was looked for is each file's own: the categories that have an annotation there. Files of captions or of
    pictures alone are noted and passed over where another file has boxes.

    Raises:
        BadDataset: no file has boxes.
        UnknownLabel: a category that has boxes is no class.
    """
    files = annotation_files(root)
    if not files:
        raise BadDataset(f"{root}: holds no COCO file (JSON with images, annotations and categories).")
    found = Findings(labels)
    readable: list[_File] = []
    refused: list[BadDataset] = []
    for file in files:
        try:
            readable.append(_File(inside(file, root), labels))
        except _NoBoxes as error:
            found.note(error.message)
            refused.append(error)
        except BadDataset as error:
            found.problems.add(Problem(file, "unreadable file", error.message.removeprefix(f"{file}: ")))
            refused.append(error)
    if not readable:
        raise refused[0]
    labels.refuse_unknown([label for one in readable for label in one.annotated()], root)
    pictures = Pictures(root, MASK_FOLDERS)
    for one in readable:
        one.read(found, pictures)
    return found.dataset()


class _NoBoxes(BadDataset):
    """A file without boxes, such as COCO's captions and its lists of pictures."""


def _document(file: Path) -> dict[str, Any]:
    document = read_json(file)
    if not isinstance(document, dict):
        raise BadDataset(f"{file}: a COCO file is a mapping with the lists `images`, `annotations` and `categories`.")
    for key in _LISTS:
        if isinstance(document.get(key), list):
            continue
        annotations = document.get("annotations")
        boxed = isinstance(annotations, list) and any(
            isinstance(one, dict) and ("bbox" in one or "segmentation" in one) for one in annotations
        )
        if key in document or boxed:
            raise BadDataset(f"{file}: a COCO file needs a list `{key}`.")
        raise _NoBoxes(f"{file}: holds no boxes: a COCO file needs a list `{key}`. Passed over.")
    return document


class _File:
    """One COCO file."""

    def __init__(self, file: Path, labels: LabelMap) -> None:
        self.file, self._labels = file, labels
        document = _document(file)
        self._images: list[Any] = document["images"]
        self._categories: dict[Id, str] = {}
        doubled: set[Id] = set()
        for category in document["categories"]:
            if not isinstance(category, dict) or (id := plain_id(category.get("id"))) is None:
                continue  # its boxes have a category that is not there
            name = category.get("name")
            if isinstance(name, str) and name.strip() and self._categories.setdefault(id, name) != name:
                doubled.add(id)
        for id in doubled:  # nobody can tell which of both a box is
            del self._categories[id]
        self._by_image: dict[Id, list[_Row]] = {}
        self._lost: list[_Row] = []  # of no picture that can be known
        known = Counter(plain_id(one.get("id")) if isinstance(one, dict) else None for one in self._images)
        self._ids = known
        for place, one in enumerate(document["annotations"], start=1):
            row = _Row(place, one if isinstance(one, dict) else {})
            id = plain_id(row.value.get("image_id"))
            if id is None or id not in known:
                self._lost.append(row)
            else:
                self._by_image.setdefault(id, []).append(row)

    def annotated(self) -> list[str]:
        """The names of the categories that have an annotation, by the set's own words."""
        rows = [*self._lost, *(row for rows in self._by_image.values() for row in rows)]
        return list(dict.fromkeys(name for row in rows if (name := self._name(row)) is not None))

    def read(self, found: Findings, pictures: Pictures) -> None:
        """Every picture of the file, taken or left out."""
        scope = self._labels.scope(label for name in self.annotated() if (label := self._labels.find(name)))
        usable: list[LabelledImage] = []
        for place, image in enumerate(self._images, start=1):
            try:
                usable.append(self._image(image, place, pictures, scope))
            except Unusable as error:
                found.leave_out(error)
        for row in self._lost:
            reason = f"annotation {row.place} is of no image that is here ({_id_shown(row.value)})"
            found.problems.add(self._problem("of no picture", reason))
        found.lose((self._name(row) or "unknown" for row in self._lost), "of no picture")
        for one in usable:
            if self._lost and not one.boxes:
                reason = (
                    f"{one.image.name} has no box, but {len(self._lost)} annotations of this file are of no picture: "
                    "one of them may be its own"
                )
                found.leave_out(Unusable(self._problem("perhaps unlabelled", reason), labels=one.skipped))
            else:
                found.take(one)

    def _image(self, image: Any, place: int, pictures: Pictures, scope: tuple[str, ...] | None) -> LabelledImage:
        id = plain_id(image.get("id")) if isinstance(image, dict) else None
        name = image.get("file_name") if isinstance(image, dict) else None
        if id is None or not isinstance(name, str) or not name.strip():
            raise self._unusable("bad image", f"image {place} needs an id and a file_name")
        rows = self._by_image.get(id, [])
        lost = [self._name(row) or "unknown" for row in rows]
        if self._ids[id] > 1:
            # Its annotations are lost once, with the first that has this id.
            self._by_image.pop(id, None)
            raise self._unusable("id twice", f"image {place} ({shown(name)}): the id {id!r} is used twice", lost)
        split = self.file.stem.rpartition("_")[2]
        root = pictures.root
        # Beside the file, below the folder, in the folder of the split, or wherever one file has this name.
        near = (self.file.parent, root, root / split, root / "images", root / "images" / split)
        path = found_for(self.file, lost, lambda: pictures.find(name, near))
        told = (size_in_pixels(image.get("width")), size_in_pixels(image.get("height")))
        return labelled_image(path, self.file, [self._box(row) for row in rows], self._labels, told, scope)

    def _box(self, row: _Row) -> DrawnBox:
        one, where = row.value, f"annotation {row.place}"
        category = plain_id(one.get("category_id"))
        name = None if category is None else self._categories.get(category)
        try:
            if name is None:
                shown_id = str(one.get("category_id"))[:60]
                raise ValueError(f"the category {shown_id} is not in `categories`, or not only once")
            if one.get("iscrowd") not in (None, 0, False, "0"):
                raise ValueError("a crowd (iscrowd) is not a box of one item")
            return _drawn(name, one.get("bbox"), one.get("segmentation"), where)
        except ValueError as error:
            return DrawnBox(name or "unknown", None, where=where, wrong=str(error))

    def _name(self, row: _Row) -> str | None:
        category = plain_id(row.value.get("category_id"))
        return None if category is None else self._categories.get(category)

    def _problem(self, kind: str, reason: str) -> Problem:
        return Problem(self.file, kind, reason)

    def _unusable(self, kind: str, reason: str, lost: list[str] | tuple[str, ...] = ()) -> Unusable:
        return Unusable(self._problem(kind, reason), labels=lost)


def _id_shown(annotation: dict[str, Any]) -> str:
    id = plain_id(annotation.get("image_id"))
    return "no usable image_id" if id is None else f"image_id {str(id)[:60]!r}"


def _drawn(name: str, bbox: Any, segmentation: Any, where: str) -> DrawnBox:
    """The box of an annotation, and its outline; one without a bbox has the box around its outline.

    Raises:
        ValueError: it has no box that can be read.
    """
    xyxy = _xyxy(bbox) if bbox else None
    if not segmentation:
        if xyxy is None:
            raise ValueError("it has neither a bbox nor a segmentation")
        return DrawnBox(name, xyxy, where=where)
    try:
        if not isinstance(segmentation, dict):
            rings = _rings(segmentation)
            hull = xyxy or hull_box([value for ring in rings for value in ring])
            return DrawnBox(name, hull, Outline.of(rings), where=where)
        counts, height, width = _runs(segmentation)
        hull = mask_box(counts, height, width)
        outline = mask_outline(counts, height, width)
        boxed = xyxy is not None
        return DrawnBox(name, xyxy or hull, outline, where=where, drawn_on=(width, height), boxed=boxed)
    except ValueError:
        if xyxy is None:
            raise
        return DrawnBox(name, xyxy, Outline(lost=True), where=where)


def _xyxy(bbox: Any) -> XYXY:
    values = bbox if isinstance(bbox, list) else []
    sides = [side for value in values if (side := number(value)) is not None]
    if len(values) != 4 or len(sides) != 4:
        raise ValueError("bbox must be four numbers: x, y, width, height")
    x, y, w, h = sides
    return x, y, x + w, y + h


def _rings(segmentation: Any) -> list[list[float]]:
    """The polygons of a segmentation, one for each part of the item."""
    rings: list[list[float]] = []
    for part in segmentation if isinstance(segmentation, list) else [[]]:
        told = part if isinstance(part, list) else []
        values = [value for one in told if (value := number(one)) is not None]
        if len(values) < 6 or len(values) % 2 or len(values) != len(told):
            raise ValueError("the segmentation is no polygon of numbers")
        rings.append(values)
    return rings


def _runs(mask: dict[str, Any]) -> tuple[list[int], int, int]:
    """The runs of a mask, and its height and width."""
    size, counts = mask.get("size"), mask.get("counts")
    sides = [side for value in size if (side := size_in_pixels(value)) is not None] if isinstance(size, list) else []
    if len(sides) != 2:
        raise ValueError("the mask has no size")
    if isinstance(counts, str):
        return decompressed(counts), sides[0], sides[1]
    if not isinstance(counts, list):
        raise ValueError("the mask has no runs")
    if not all(isinstance(run, int) and not isinstance(run, bool) for run in counts):
        raise ValueError("the mask's runs are no numbers")
    return counts, sides[0], sides[1]
