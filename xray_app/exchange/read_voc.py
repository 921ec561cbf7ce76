"""Reading Pascal VOC: an XML file a picture, in which pixels count from 1. roLabelImg's turned boxes too."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from xray_app.errors import BadDataset
from xray_app.exchange.bounded_text import number, size_in_pixels
from xray_app.exchange.dataset import (
    Dataset,
    Findings,
    LabelledImage,
    Problem,
    Unusable,
    inside,
)
from xray_app.exchange.drawn import DrawnBox, labelled_image, outlined
from xray_app.exchange.label_map import LabelMap
from xray_app.exchange.outline import Outline, rotated_box
from xray_app.exchange.pictures import MASK_FOLDERS, NotFound, Pictures, found_for
from xray_app.exchange.plain_xml import parse_xml

ABOUT = "Pascal VOC: an XML file for each picture"
CORNERS = ("xmin", "ymin", "xmax", "ymax")
ROTATED = ("cx", "cy", "w", "h", "angle")


@dataclass
class _Object:
    line: int
    name: str = ""
    corners: dict[str, str] = field(default_factory=dict)
    rotated: dict[str, str] = field(default_factory=dict)
    polygon: list[str] = field(default_factory=list)


@dataclass
class _Document:
    filename: str = ""
    size: dict[str, str] = field(default_factory=dict)
    objects: list[_Object] = field(default_factory=list)


def is_here(root: Path) -> bool:
    """Whether a folder holds annotations of Pascal VOC."""
    return next(root.rglob("*.xml"), None) is not None


def read(root: Path, labels: LabelMap) -> Dataset:
    """All annotations below a folder; no file outside `root` is read.

    VOC does not say which classes were looked for: those that occur anywhere in the data set.

    Raises:
        BadDataset: there are no annotations.
        UnknownLabel: a label is no class.
    """
    files = [path for path in sorted(root.rglob("*.xml")) if path.is_file()]
    if not files:
        raise BadDataset(f"{root}: holds no annotations (XML files of Pascal VOC).")
    pictures = Pictures(root, MASK_FOLDERS)
    found = Findings(labels)
    parsed: list[tuple[Path, _Document]] = []
    for file in files:
        try:
            parsed.append((file, _parse(inside(file, root))))
        except Unusable as error:
            found.leave_out(error)
        except BadDataset as error:
            found.leave_out(Unusable(Problem(file, "outside the data set", error.message)))
    names = sorted({one.name for _, document in parsed for one in document.objects})
    labels.refuse_unknown(names, root)
    stems = Counter(file.stem for file in files)
    for file, document in parsed:
        try:
            found.take(_image(file, document, labels, pictures, stems[file.stem] == 1))
        except Unusable as error:
            found.leave_out(error)
    return found.dataset(labels.scope(label for name in names if (label := labels.find(name))))


def _image(file: Path, document: _Document, labels: LabelMap, pictures: Pictures, alone: bool) -> LabelledImage:
    lost = [one.name for one in document.objects]

    def find() -> Path:
        try:
            # The picture is the one of the same stem; some exporters leave another name in <filename>.
            return pictures.of_stem(file.stem, file, alone)
        except NotFound:
            if not document.filename or Path(document.filename).stem == file.stem:
                raise
            return pictures.find(document.filename, (file.parent,))

    image = found_for(file, lost, find)
    told = (size_in_pixels(document.size.get("width")), size_in_pixels(document.size.get("height")))
    return labelled_image(image, file, [_box(one) for one in document.objects], labels, told)


def _box(one: _Object) -> DrawnBox:
    """The box of an object; the outline beside it is kept."""
    polygon = tuple(value for text in one.polygon if (value := number(text)) is not None)
    if len(polygon) != len(one.polygon) or len(polygon) < 6 or len(polygon) % 2:
        polygon = ()
    if one.corners:
        corners = [value for name in CORNERS if (value := number(one.corners.get(name))) is not None]
        if len(corners) < 4:
            return DrawnBox(one.name, None, line=one.line, wrong="its corners are no numbers")
        x0, y0, x1, y1 = corners
        outline = Outline.of([polygon]) if polygon else Outline(lost=bool(one.polygon))
        return DrawnBox(one.name, (x0 - 1, y0 - 1, x1, y1), outline, one.line)
    if one.rotated:
        turned = [value for name in ROTATED if (value := number(one.rotated.get(name))) is not None]
        if len(turned) < 5 or turned[2] <= 0 or turned[3] <= 0:
            return DrawnBox(one.name, None, line=one.line, wrong="its turned box has no area, or is no numbers")
        cx, cy, w, h, angle = turned
        return outlined(one.name, rotated_box(cx, cy, w, h, angle), one.line, turned=True)
    if polygon:
        return outlined(one.name, polygon, one.line)
    return DrawnBox(one.name, None, line=one.line, wrong="it has no bndbox, robndbox or polygon")


def _parse(file: Path) -> _Document:
    """What one file says.

    Raises:
        Unusable: as `parse_xml`, or it is no annotation.
    """
    document = _Document()
    text: list[str] = []
    known = False

    def start(path: list[str], _: dict[str, str], line: int) -> None:
        nonlocal known
        text.clear()
        known = known or path == ["annotation"]
        if path == ["annotation", "object"]:
            document.objects.append(_Object(line))

    def end(path: list[str]) -> None:
        said = "".join(text).strip()
        text.clear()
        if path == ["annotation", "filename"]:
            document.filename = said
        elif path[:2] == ["annotation", "size"] and len(path) == 3:
            document.size[path[2]] = said
        elif path == ["annotation", "object", "name"]:
            document.objects[-1].name = said
        elif path[:2] == ["annotation", "object"] and len(path) == 4:
            one = document.objects[-1]
            if path[2] == "bndbox":
                one.corners[path[3]] = said
            elif path[2] == "robndbox":
                one.rotated[path[3]] = said
            elif path[2] == "polygon":
                one.polygon.append(said)

    parse_xml(file, start, end, text.append)
    if not known:
        raise Unusable(Problem(file, "unreadable file", "no annotation of Pascal VOC"))
    return document
