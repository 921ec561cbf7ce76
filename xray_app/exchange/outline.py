"""Outlines to boxes: polygons, rotated boxes, ellipses and run-length masks, all in pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

from xray_app.types import XYXY


def hull_box(points: Sequence[float]) -> XYXY:
    """The upright box around points.

    Args:
        points: x and y by turns.

    Raises:
        ValueError: they are not at least two points.
    """
    if len(points) < 4 or len(points) % 2:
        raise ValueError("an outline needs x and y of at least two points")
    xs, ys = points[0::2], points[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def polygon_area(points: Sequence[float]) -> float:
    """The area within a closed outline that does not cross itself, given as x and y by turns (shoelace formula)."""
    xs, ys = points[0::2], points[1::2]
    turns = zip(xs, ys, [*xs[1:], xs[0]], [*ys[1:], ys[0]], strict=True)
    return abs(sum(x0 * y1 - x1 * y0 for x0, y0, x1, y1 in turns)) / 2


def rotated_box(cx: float, cy: float, width: float, height: float, radians: float) -> tuple[float, ...]:
    """The four corners, x and y by turns, of a box turned about its centre."""
    cos, sin = math.cos(radians), math.sin(radians)
    corners = []
    for x, y in ((-width, -height), (width, -height), (width, height), (-width, height)):
        corners += [cx + (x * cos - y * sin) / 2, cy + (x * sin + y * cos) / 2]
    return tuple(corners)


def rotated_ellipse_box(cx: float, cy: float, rx: float, ry: float, radians: float) -> XYXY:
    """The upright box around an ellipse turned about its centre."""
    cos, sin = math.cos(radians), math.sin(radians)
    half_width, half_height = math.hypot(rx * cos, ry * sin), math.hypot(rx * sin, ry * cos)
    return cx - half_width, cy - half_height, cx + half_width, cy + half_height


def mask_box(counts: Sequence[int] | str, height: int, width: int) -> XYXY:
    """The box around COCO's run-length mask: runs of off and on by turns, down the columns.

    Args:
        counts: the runs, or their compressed text.
        height: of the mask.
        width: of the mask.

    Raises:
        ValueError: the runs do not fill the mask, or nothing in it is on.
    """
    runs = _decompressed(counts) if isinstance(counts, str) else list(counts)
    if any(run < 0 for run in runs) or sum(runs) != height * width or min(height, width) < 1:
        raise ValueError("the mask's runs do not fill it")
    x0 = y0 = math.inf
    x1 = y1 = -math.inf
    ends = list(accumulate(runs))
    for place in range(1, len(runs), 2):
        if not runs[place]:
            continue
        first, last = ends[place] - runs[place], ends[place] - 1
        x0, x1 = min(x0, first // height), max(x1, last // height)
        whole = first // height != last // height  # it runs over a column's end, so it holds a first and a last row
        y0 = min(y0, 0 if whole else first % height)
        y1 = max(y1, height - 1 if whole else last % height)
    if x1 < x0:
        raise ValueError("the mask is empty")
    return float(x0), float(y0), float(x1) + 1, float(y1) + 1


def _decompressed(text: str) -> list[int]:
    """The runs of COCO's compressed text: five bits a character, each run less the one before its last."""
    runs: list[int] = []
    place = 0
    while place < len(text):
        value = shift = 0
        more = True
        while more:
            if place >= len(text) or shift > 50:
                raise ValueError("the mask's text is cut off")
            bits = ord(text[place]) - 48
            if not 0 <= bits < 64:
                raise ValueError("the mask's text holds a character that is none of its own")
            value |= (bits & 0x1F) << shift
            more = bool(bits & 0x20)
            place, shift = place + 1, shift + 5
            if not more and bits & 0x10:
                value |= -1 << shift
        if len(runs) > 2:
            value += runs[-2]
        runs.append(value)
    return runs
