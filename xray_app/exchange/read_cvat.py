"""Reading "CVAT for images": one XML file with `<image>` elements, and boxes, polygons, ellipses and masks in each."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from xray_app.errors import BadDataset
from xray_app.exchange.bounded_text import first_bytes, number, size_in_pixels
from xray_app.exchange.dataset import Dataset, Findings, Problem, Unusable, inside
from xray_app.exchange.drawn import DrawnBox, labelled_image, outlined
from xray_app.exchange.label_map import LabelMap
from xray_app.exchange.outline import NO_OUTLINE, Outline, mask_box, mask_outline, rotated_box, rotated_ellipse_box
from xray_app.exchange.pictures import Pictures, found_for
from xray_app.exchange.plain_xml import parse_xml

ABOUT = "CVAT for images: one XML file with image elements"
MAX_XML = 256 * 2**20
MAX_IMAGES, MAX_SHAPES = 500_000, 2_000_000
SHAPES = frozenset({"box", "polygon", "ellipse", "mask", "polyline", "points", "cuboid", "skeleton"})


@dataclass
class _Image:
    name: str
    told: tuple[int | None, int | None]
    line: int
    boxes: list[DrawnBox] = field(default_factory=list)


def is_here(root: Path) -> bool:
    """Whether a folder holds CVAT's XML."""
    return bool(_files(root))


def read(root: Path, labels: LabelMap) -> Dataset:
    """All of CVAT's files; no file outside `root` is read.

    What was looked for are the classes that have a shape in the file. A shape that encloses nothing costs its picture.

    Raises:
        BadDataset: there is none, or one cannot be read.
        UnknownLabel: a label is no class.
    """
    files = _files(root)
    if not files:
        raise BadDataset(f"{root}: holds no XML of CVAT.")
    parsed = [(file, _parse(inside(file, root))) for file in files]
    labels.refuse_unknown(sorted({box.label for _, images in parsed for one in images for box in one.boxes}), root)
    pictures = Pictures(root)
    found = Findings(labels)
    for file, images in parsed:
        names = {box.label for one in images for box in one.boxes}
        scope = labels.scope(label for name in names if (label := labels.find(name)))
        for one in images:
            lost = [box.label for box in one.boxes]
            try:
                if not one.name:
                    raise Unusable(Problem(file, "bad image", "an image has no name", one.line), labels=lost)
                near = (file.parent, file.parent / "images")
                image = found_for(file, lost, lambda one=one, near=near: pictures.find(one.name, near))  # type: ignore[misc]
                found.take(labelled_image(image, file, one.boxes, labels, one.told, scope))
            except Unusable as error:
                found.leave_out(error)
    return found.dataset()


def _files(root: Path) -> list[Path]:
    found = []
    for path in sorted(root.rglob("*.xml")):
        if path.is_file() and b"<annotations" in first_bytes(path, 1 << 12):
            found.append(path)
    return found


def _parse(file: Path) -> list[_Image]:
    images: list[_Image] = []
    shapes = 0

    def start(path: list[str], said: dict[str, str], line: int) -> None:
        nonlocal shapes
        if path[:1] != ["annotations"]:
            return
        if path[1:] == ["track"]:
            problem = "holds tracks of a video; export it from CVAT as images"
            raise Unusable(Problem(file, "tracks", problem, line))
        if path[1:] == ["image"]:
            told = (size_in_pixels(said.get("width")), size_in_pixels(said.get("height")))
            images.append(_Image(said.get("name", "").strip(), told, line))
        elif path[1:2] == ["image"] and len(path) == 3 and path[2] in SHAPES:
            shapes += 1
            images[-1].boxes.append(_box(path[2], said, line))
        if len(images) > MAX_IMAGES or shapes > MAX_SHAPES:
            raise Unusable(Problem(file, "too much", f"more than {MAX_IMAGES:,} images or {MAX_SHAPES:,} shapes", line))

    try:
        parse_xml(file, start, lambda path: None, lambda text: None, MAX_XML)
    except Unusable as error:
        raise BadDataset(str(error.problems[0])) from error
    return images


def _box(kind: str, said: dict[str, str], line: int) -> DrawnBox:
    label = said.get("label", "").strip() or "unknown"

    def numbers(*names: str) -> list[float] | None:
        values = [number(said.get(name)) for name in names]
        found = [value for value in values if value is not None]
        return found if len(found) == len(values) else None

    turn = number(said.get("rotation", "0"))
    radians = math.radians(turn or 0.0)
    if turn is not None and kind == "box" and (corners := numbers("xtl", "ytl", "xbr", "ybr")):
        x0, y0, x1, y1 = corners
        if not radians:
            return DrawnBox(label, (x0, y0, x1, y1), line=line)
        turned = rotated_box((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0, radians)
        return outlined(label, turned, line, turned=True)
    if turn is not None and kind == "ellipse" and (ellipse := numbers("cx", "cy", "rx", "ry")):
        cx, cy, rx, ry = ellipse
        return DrawnBox(label, rotated_ellipse_box(cx, cy, rx, ry, radians), line=line, turned=True)
    if kind == "mask" and (place := numbers("left", "top", "width", "height")):
        left, top, width, height = place
        outline = _outline_of_rows(said["rle"], place) if said.get("rle") else NO_OUTLINE
        return DrawnBox(label, (left, top, left + width, top + height), outline, line)
    if kind == "polygon":
        values = [number(text) for pair in said.get("points", "").split(";") for text in pair.split(",")]
        points = [value for value in values if value is not None]
        if len(points) == len(values) >= 6:
            return outlined(label, points, line)
    wrong = "it encloses nothing" if kind in ("polyline", "points", "skeleton") else "its numbers cannot be read"
    return DrawnBox(label, None, line=line, wrong=f"a {kind}: {wrong}")


def _outline_of_rows(rle: str, place: list[float]) -> Outline:
    """The outline of a mask whose runs go along the rows of its own rectangle: left, top, width and height."""
    left, top, width, height = place
    try:
        runs = [int(run) for run in rle.split(",")]
        mask_box(runs, int(width), int(height))
    except ValueError:
        return Outline(lost=True)
    # Runs along the rows are runs down the columns of the mask turned over, whose x is this one's y.
    turned = mask_outline(runs, int(width), int(height))
    rings = [
        tuple(side for y, x in zip(ring[::2], ring[1::2], strict=True) for side in (left + x, top + y))
        for ring in turned.rings
    ]
    return Outline(tuple(rings), turned.lost)
