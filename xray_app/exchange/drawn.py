"""Boxes as a label file draws them, in pixels and with the set's own labels, checked against their picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xray_app.exchange.dataset import MAX_BOXES, InBox, LabelledImage, Problem, Unusable, clipped, shown
from xray_app.exchange.label_map import LabelMap
from xray_app.exchange.outline import NO_OUTLINE, Outline, hull_box
from xray_app.exchange.pictures import picture_size
from xray_app.types import XYXY


@dataclass(frozen=True)
class DrawnBox:
    """One box of a label file.

    Attributes:
        label: the set's own; "unknown" where the file names none.
        xyxy: pixels; None where it cannot be read.
        outline: where it has one. Of a mask drawn on another size than the picture's it is lost.
        line: of the file.
        where: how the file counts it, such as "annotation 7"; "" where the line says it.
        wrong: why it cannot be read.
        turned: it is a turned box: its corners may lie past the picture's edge though its item does not.
        drawn_on: width and height of the picture on which its mask lies; None: it has no mask.
        boxed: the file has the box beside the mask, so that the box holds though the mask does not.
    """

    label: str
    xyxy: XYXY | None
    outline: Outline = NO_OUTLINE
    line: int | None = None
    where: str = ""
    wrong: str = ""
    turned: bool = False
    drawn_on: tuple[int, int] | None = None
    boxed: bool = True


def outlined(
    label: str, points: Sequence[float], line: int | None = None, where: str = "", turned: bool = False
) -> DrawnBox:
    """The box around an outline, given as x and y by turns."""
    try:
        return DrawnBox(label, hull_box(points), Outline.of([points]), line, where, turned=turned)
    except ValueError as error:
        return DrawnBox(label, None, NO_OUTLINE, line, where, str(error))


def labelled_image(
    image: Path,
    file: Path,
    drawn: Sequence[DrawnBox],
    labels: LabelMap,
    told: tuple[int | None, int | None] = (None, None),
    scope: tuple[str, ...] | None = (),
) -> LabelledImage:
    """The picture with its boxes, each within it.

    Args:
        image: the picture.
        file: what labels it.
        drawn: its boxes.
        labels: what their labels are here.
        told: width and height that the file says the picture has; None: it does not say.
        scope: what was looked for in it; (): it is not known yet.

    Raises:
        Unusable: with everything that is wrong; one box that cannot be used costs the picture.
    """
    lost = [one.label for one in drawn]
    try:
        width, height = picture_size(image)
    except Unusable as error:
        raise Unusable(*error.problems, labels=lost, image=image) from error
    if None not in told and told != (width, height):
        reason = f"labels a picture of {told[0]} x {told[1]} pixels; {image.name} has {width} x {height}"
        raise Unusable(Problem(file, "size of another picture", reason), labels=lost, image=image)
    if len(drawn) > MAX_BOXES:
        reason = f"{image.name} has {len(drawn)} boxes; at most {MAX_BOXES} are taken"
        raise Unusable(Problem(file, "too many boxes", reason), labels=lost, image=image)
    boxes: list[InBox] = []
    skipped: list[str] = []
    bad: list[Problem] = []
    seen: set[tuple[str, XYXY]] = set()
    for one in drawn:
        place = f"{one.where} of {image.name}" if one.where else f"{shown(one.label)!r}"
        try:
            xyxy = _within(one, width, height)
            if (one.label, xyxy) in seen:
                raise ValueError("the very same box is there twice")
        except ValueError as error:
            kind = "box twice" if "twice" in str(error) else "bad box"
            bad.append(Problem(file, kind, f"{place}: {error}", one.line))
            continue
        seen.add((one.label, xyxy))
        if (label := labels.find(one.label)) is None:
            skipped.append(one.label)
        else:
            fits = one.drawn_on in (None, (width, height))
            boxes.append(InBox(label, xyxy, one.outline if fits else Outline(lost=True)))
    if bad:
        raise Unusable(*bad, labels=lost, image=image)
    return LabelledImage(image, file, width, height, tuple(boxes), scope, tuple(skipped))


def _within(one: DrawnBox, width: int, height: int) -> XYXY:
    if one.xyxy is None:
        raise ValueError(one.wrong)
    if not one.boxed and one.drawn_on not in (None, (width, height)):
        raise ValueError(f"its mask lies on a picture of another size ({one.drawn_on})")
    x0, y0, x1, y1 = one.xyxy
    if one.turned and 0 <= (x0 + x1) / 2 <= width and 0 <= (y0 + y1) / 2 <= height:
        x0, y0, x1, y1 = max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
    return clipped((x0, y0, x1, y1), width, height)
