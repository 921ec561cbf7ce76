"""Outlines, and the boxes around them: polygons, rotated boxes, ellipses and run-length masks, all in pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from xray_app.types import MAX_OUTLINE, XYXY

MAX_MASK = 1 << 28
"""Pixels of a mask; no picture has more."""
Ring = tuple[float, ...]
Point = tuple[int, int]


@dataclass(frozen=True)
class Outline:
    """The outline of a box, as it is kept.

    Attributes:
        rings: its parts, each x and y by turns; a hole is reached by a cut from the ring around it.
        lost: it had one that cannot be kept.
    """

    rings: tuple[Ring, ...] = ()
    lost: bool = False

    @classmethod
    def of(cls, rings: Sequence[Sequence[float]]) -> Outline:
        """An outline of these parts, unless they have too many points; a line or a point is no part."""
        parts = tuple(tuple(ring) for ring in rings if len(ring) >= 6)
        return cls(parts) if sum(map(len, parts)) <= 2 * MAX_OUTLINE else cls(lost=True)


NO_OUTLINE = Outline()


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


def mask_box(runs: Sequence[int], height: int, width: int) -> XYXY:
    """The box around COCO's run-length mask: runs of off and on by turns, down the columns.

    Args:
        runs: their lengths in pixels.
        height: of the mask.
        width: of the mask.

    Raises:
        ValueError: the runs do not fill the mask, or nothing in it is on.
    """
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


def decompressed(text: str) -> list[int]:
    """The runs of COCO's compressed text: five bits a character, each run less the one before its last.

    Raises:
        ValueError: it is no such text.
    """
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


def mask_outline(runs: Sequence[int], height: int, width: int) -> Outline:
    """The outline of a mask, along the edges of its pixels, so that filling its rings gives the very mask.

    Pixels that touch at a corner alone are in different parts.

    Args:
        runs: as `mask_box` takes them, and has found sound.
        height: of the mask.
        width: of the mask.
    """
    if height * width > MAX_MASK:
        return Outline(lost=True)
    x0, y0, x1, y1 = (int(side) for side in mask_box(runs, height, width))
    on = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T[y0:y1, x0:x1]
    return _traced(np.pad(on, 1), x0, y0)


def _traced(on: np.ndarray, left: int, top: int) -> Outline:
    """The outline of the pixels that are on; `on` has an empty margin, and its first pixel within lies at left, top."""
    # The four pixels about each corner of the grid.
    a, b, c, d = on[:-1, :-1], on[:-1, 1:], on[1:, :-1], on[1:, 1:]
    turns = (a ^ b ^ c ^ d) | ((a == d) & (b == c) & (a ^ b))
    if int(turns.sum()) > MAX_OUTLINE:
        return Outline(lost=True)
    corners: list[_Corner] = []
    for y, x in np.argwhere(turns).tolist():
        tl, tr, bl, br = (bool(one[y, x]) for one in (a, b, c, d))
        if tl == br and tr == bl:  # two pixels touch here alone: the outline turns round each of them
            corners += [_Corner(y, x, False, not tl), _Corner(y, x, True, tl)]
        else:
            corners.append(_Corner(y, x, tr != br, bl != br))
    across = _paired(sorted(corners, key=lambda one: (one.y, one.x, one.right)))
    along = _paired(sorted(corners, key=lambda one: (one.x, one.y, one.down)))
    outer: list[list[Point]] = []
    holes: list[list[Point]] = []
    untraced = dict.fromkeys(corners)  # from the top down, each row from the left
    while untraced:
        first = corner = next(iter(untraced))
        ring: list[Point] = []
        while corner in untraced:
            for step in (across, along):
                del untraced[corner]
                ring.append((corner.x, corner.y))
                corner = step[corner]
        # The topmost corner of a ring round pixels has a pixel below and right of it; that of a hole has none.
        (outer if on[first.y + 1, first.x + 1] else holes).append(ring)
    for hole in sorted(holes, key=min):
        _cut(outer, hole)
    return Outline.of([[side for x, y in ring for side in (float(left + x), float(top + y))] for ring in outer])


class _Corner(NamedTuple):
    """A turn of an outline, and whether its line across lies to the right of it, and its upright one below."""

    y: int
    x: int
    right: bool
    down: bool


def _paired(corners: Sequence[_Corner]) -> dict[_Corner, _Corner]:
    """The corner at the other end of each line: along a row or a column of the grid they come in pairs."""
    pairs = list(zip(corners[::2], corners[1::2], strict=True))
    return dict([*pairs, *((other, one) for one, other in pairs)])


def _cut(rings: list[list[Point]], hole: list[Point]) -> None:
    """Joins a hole to the ring that it lies in, by a cut to the left from its leftmost corner."""
    x, y = min(hole)
    found = []
    for ring in rings:
        for place, ((x0, y0), (x1, y1)) in enumerate(zip(ring, [*ring[1:], ring[0]], strict=True)):
            # Just below the corner, where the hole's own edge runs down.
            if x0 == x1 < x and min(y0, y1) <= y < max(y0, y1):
                found.append((x0, place, ring))
    at, place, ring = max(found, key=lambda one: one[0])
    start = hole.index((x, y))
    # The other way round than the ring, so that it takes from the area.
    back = [*hole[start + 1 :], *hole[:start]][::-1]
    ring[place + 1 : place + 1] = [(at, y), (x, y), *back, (x, y), (at, y)]
