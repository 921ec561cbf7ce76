"""Reading COCO detection files: any JSON with `images`, `annotations` and `categories`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from xray_app.errors import BadDataset, UnknownLabel
from xray_app.exchange.labelled import (
    IMAGE_SUFFIXES,
    Dataset,
    InBox,
    LabelledImage,
    Problem,
    Unusable,
    clipped,
    inside,
)
from xray_app.taxonomy import Taxonomy

_WORDS = (b'"images"', b'"annotations"', b'"categories"')
MAX_JSON = 256 * 2**20
"""Bytes of one file: some millions of boxes."""


def annotation_files(root: Path) -> list[Path]:
    """The JSON files below `root` that look like COCO's."""
    found = []
    for path in sorted(root.rglob("*.json")):
        if path.is_file() and path.stat().st_size and not path.name.startswith("."):
            with path.open("rb") as file:
                start = file.read(1 << 16).lstrip()
            if start.startswith(b"{") and any(
                word in start for word in (b'"images"', b'"annotations"', b'"categories"')
            ):
                found.append(path)
    return found


def read(root: Path, taxonomy: Taxonomy, skip_unknown: bool = False) -> Dataset:
    """All COCO files of a folder; no file outside `root` is read.

    Raises:
        BadDataset: there is none, or one is no COCO file.
        UnknownLabel: a category that has boxes is not in the taxonomy.
    """
    files = annotation_files(root)
    if not files:
        raise BadDataset(f"{root}: holds no COCO file (JSON with images, annotations and categories).")
    pictures: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
            pictures.setdefault(path.name, []).append(path)
    images: list[LabelledImage] = []
    problems: list[Problem] = []
    names: set[str] = set()
    for file in files:
        found = _File(inside(file, root), root, taxonomy, pictures, skip_unknown)
        images += found.images(problems)
        names |= found.names
    return Dataset(tuple(images), taxonomy.scope(names) if names else None, tuple(problems))


class _File:
    def __init__(
        self, file: Path, root: Path, taxonomy: Taxonomy, pictures: dict[str, list[Path]], skip_unknown: bool
    ) -> None:
        self.file, self.root, self.pictures = file, root, pictures
        document = _load(file)
        self._images, self._annotations = document["images"], document["annotations"]
        self._labels: dict[Any, str | None] = {}
        unknown = []
        used = {one.get("category_id") for one in self._annotations if isinstance(one, dict) and _key(one)}
        for category in document["categories"]:
            if not isinstance(category, dict) or not isinstance(category.get("name"), str) or "id" not in category:
                raise BadDataset(f"{file}: each of `categories` needs an id and a name.")
            if not isinstance(category["id"], (int, str)):
                raise BadDataset(f"{file}: the id of the category {category['name']!r} is neither number nor text.")
            item = taxonomy.find(category["name"])
            self._labels[category["id"]] = item.name if item else None
            # Roboflow puts a parent category first that no box has.
            if item is None and category["id"] in used:
                unknown.append(category["name"])
        if unknown and not skip_unknown:
            raise unknown_labels(file, unknown)
        self.names = {label for label in self._labels.values() if label}

    def images(self, problems: list[Problem]) -> list[LabelledImage]:
        by_image: dict[Any, list[tuple[int, dict[str, Any]]]] = {}
        for number, one in enumerate(self._annotations, start=1):
            if not isinstance(one, dict) or not _key(one):
                problems.append(self._problem("bad annotation", f"annotation {number} has no usable image_id"))
            else:
                by_image.setdefault(one["image_id"], []).append((number, one))
        found = []
        seen: set[Any] = set()
        for number, image in enumerate(self._images, start=1):
            try:
                usable = self._image(image, number, by_image)
                if image["id"] in seen:
                    raise self._unusable("bad image", f"image {number}: the id {image['id']!r} is used twice")
                seen.add(image["id"])
                found.append(usable)
            except Unusable as error:
                problems += error.problems
        known = {one.get("id") for one in self._images if isinstance(one, dict) and _hashable(one.get("id"))}
        for id in by_image:
            if id not in known:
                problems.append(
                    self._problem("bad annotation", f"{len(by_image[id])} annotations of no image ({id!r})")
                )
        return found

    def _image(self, image: Any, number: int, by_image: dict[Any, list[tuple[int, dict[str, Any]]]]) -> LabelledImage:
        if not isinstance(image, dict) or not isinstance(image.get("file_name"), str) or not _hashable(image.get("id")):
            raise self._unusable("bad image", f"image {number} needs an id and a file_name")
        width, height = image.get("width"), image.get("height")
        if not isinstance(width, int) or not isinstance(height, int) or min(width, height) < 1:
            raise self._unusable("bad image", f"image {number} ({image['file_name']}) needs a width and a height")
        path = self._path(image["file_name"], number)
        boxes, bad = [], []
        for place, one in by_image.get(image["id"], []):
            try:
                box = self._box(one, width, height)
            except ValueError as error:
                bad.append(self._problem("bad annotation", f"annotation {place} of {path.name}: {error}"))
                continue
            if box is not None:
                boxes.append(box)
        if bad:
            raise Unusable(*bad)
        return LabelledImage(path, self.file, width, height, tuple(boxes))

    def _path(self, name: str, number: int) -> Path:
        plain = name.replace("\\", "/")
        # Beside the file, below the folder, in the folder of the split, or wherever one file has this name.
        split = self.file.stem.rpartition("_")[2]
        places = [self.file.parent / plain, self.root / plain, self.root / split / plain]
        places += [self.root / "images" / plain, self.root / "images" / split / plain]
        for place in places:
            try:
                if place.is_file():
                    return inside(place, self.root)
            except (OSError, ValueError):  # a name too long, or with a NUL in it
                break
            except BadDataset as error:
                raise self._unusable("outside the data set", f"image {number}: {error.message}") from error
        twins = self.pictures.get(plain.rpartition("/")[2], [])
        if len(twins) == 1:
            return inside(twins[0], self.root)
        reason = "is missing" if not twins else f"is there {len(twins)} times"
        raise self._unusable("missing image", f"image {number}: {name[:200]!r} {reason}")

    def _box(self, one: dict[str, Any], width: int, height: int) -> InBox | None:
        category = one.get("category_id")
        if not _hashable(category) or category not in self._labels:
            raise ValueError(f"the category {category!r} is not in `categories`")
        if one.get("iscrowd"):
            raise ValueError("a crowd (iscrowd) is not a box of one item")
        bbox = one.get("bbox")
        if not isinstance(bbox, list) or len(bbox) != 4 or not all(_number(value) for value in bbox):
            raise ValueError("bbox must be four numbers: x, y, width, height")
        x, y, w, h = bbox
        label = self._labels[category]
        xyxy = clipped((x, y, x + w, y + h), width, height)
        return None if label is None else InBox(label, xyxy)

    def _problem(self, kind: str, reason: str) -> Problem:
        return Problem(self.file, kind, reason)

    def _unusable(self, kind: str, reason: str) -> Unusable:
        return Unusable(self._problem(kind, reason))


def unknown_labels(file: Path, labels: list[str]) -> UnknownLabel:
    """The error for labels the taxonomy does not know."""
    shown = ", ".join(repr(label[:60]) for label in labels[:20])
    return UnknownLabel(
        f"{file}: the taxonomy does not know {shown}. "
        "Add them to the taxonomy as classes or aliases, or leave their boxes out (--skip-unknown).",
        details={"labels": labels[:100]},
    )


def _load(file: Path) -> dict[str, Any]:
    if file.stat().st_size > MAX_JSON:
        raise BadDataset(f"{file}: larger than {MAX_JSON // 2**20} MB; split the data set.")
    try:
        document = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BadDataset(f"{file}: not valid JSON: {error}") from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(document, dict) or not isinstance(document.get(key), list):
            raise BadDataset(f"{file}: a COCO file needs a list `{key}`.")
    return dict(document)


def _key(annotation: dict[str, Any]) -> bool:
    return _hashable(annotation.get("image_id")) and _hashable(annotation.get("category_id"))


def _hashable(value: Any) -> bool:
    return isinstance(value, (int, str))


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
