"""Reading Pascal VOC: an XML file a picture, in which pixels count from 1."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from xray_app.errors import BadDataset
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
from xray_app.exchange.read_coco import unknown_labels
from xray_app.exchange.read_yolo import picture_size
from xray_app.taxonomy import Taxonomy

MAX_XML = 4 * 2**20
CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass
class _Object:
    line: int
    name: str = ""
    corners: dict[str, str] = field(default_factory=dict)


@dataclass
class _Document:
    filename: str = ""
    objects: list[_Object] = field(default_factory=list)


def read(root: Path, taxonomy: Taxonomy, skip_unknown: bool = False) -> Dataset:
    """All annotations below a folder; no file outside `root` is read.

    VOC does not say which classes were looked for: those that occur anywhere in the data set.

    Raises:
        BadDataset: there are no annotations.
        UnknownLabel: a label is not in the taxonomy.
    """
    files = [path for path in sorted(root.rglob("*.xml")) if path.is_file()]
    if not files:
        raise BadDataset(f"{root}: holds no annotations (XML files of Pascal VOC).")
    pictures: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
            pictures.setdefault(path.stem, []).append(path)
    problems: list[Problem] = []
    parsed: list[tuple[Path, _Document]] = []
    unknown: dict[str, None] = {}
    for file in files:
        try:
            parsed.append((file, _parse(inside(file, root))))
        except Unusable as error:
            problems += error.problems
        except BadDataset as error:
            problems.append(Problem(file, "outside the data set", error.message))
            continue
    names = {one.name for _, document in parsed for one in document.objects}
    unknown = {name: None for name in sorted(names) if taxonomy.find(name) is None}
    if unknown and not skip_unknown:
        raise unknown_labels(root, list(unknown))
    known = names - set(unknown)
    images = []
    for file, document in parsed:
        try:
            images.append(_image(file, document, root, taxonomy, pictures))
        except Unusable as error:
            problems += error.problems
    return Dataset(tuple(images), taxonomy.scope(known) if known else None, tuple(problems))


def _image(
    file: Path, document: _Document, root: Path, taxonomy: Taxonomy, pictures: dict[str, list[Path]]
) -> LabelledImage:
    named = document.filename.replace("\\", "/").rpartition("/")[2]
    # The picture is the one of the same stem; some exporters leave another name in <filename>.
    twins = pictures.get(file.stem) or pictures.get(Path(named).stem if named else "", [])
    if len(twins) != 1:
        reason = "its picture is missing" if not twins else f"its picture is there {len(twins)} times"
        raise Unusable(Problem(file, "missing image", reason))
    try:
        image = inside(twins[0], root)
    except BadDataset as error:
        raise Unusable(Problem(file, "outside the data set", error.message)) from error
    width, height = picture_size(image)
    boxes, bad = [], []
    for one in document.objects:
        try:
            x0, y0, x1, y1 = (float(one.corners.get(corner, "missing")) for corner in CORNERS)
            xyxy = clipped((x0 - 1, y0 - 1, x1, y1), width, height)
        except ValueError as error:
            bad.append(Problem(file, "bad box", f"{one.name[:60]!r}: {error}", one.line))
            continue
        if (item := taxonomy.find(one.name)) is not None:
            boxes.append(InBox(item.name, xyxy))
    if bad:
        raise Unusable(*bad)
    return LabelledImage(image, file, width, height, tuple(boxes))


def _parse(file: Path) -> _Document:
    """What one file says.

    Raises:
        Unusable: it is too long, no XML, or declares a document type (which could pull in other files).
    """
    if file.stat().st_size > MAX_XML:
        raise Unusable(Problem(file, "unreadable file", f"larger than {MAX_XML // 2**20} MB"))
    parser = expat.ParserCreate()
    document = _Document()
    path: list[str] = []
    text: list[str] = []

    def start(tag: str, _: dict[str, str]) -> None:
        path.append(tag)
        text.clear()
        if path == ["annotation", "object"]:
            document.objects.append(_Object(parser.CurrentLineNumber))

    def end(tag: str) -> None:
        said = "".join(text).strip()
        if path == ["annotation", "filename"]:
            document.filename = said
        elif path == ["annotation", "object", "name"]:
            document.objects[-1].name = said
        elif path[:3] == ["annotation", "object", "bndbox"] and len(path) == 4:
            document.objects[-1].corners[tag] = said
        path.pop()
        text.clear()

    def refuse(*_: object) -> None:
        raise Unusable(
            Problem(file, "unreadable file", "declares a document type, which is not read", parser.CurrentLineNumber)
        )

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = text.append
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(file.read_bytes(), True)
    except (expat.ExpatError, ValueError) as error:
        raise Unusable(Problem(file, "unreadable file", f"not valid XML: {error}")) from error
    if not path and not document.filename and not document.objects:
        raise Unusable(Problem(file, "unreadable file", "no annotation of Pascal VOC"))
    return document
