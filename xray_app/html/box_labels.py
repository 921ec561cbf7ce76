"""Where the labels of boxes are written, so that none stands on another and none is cut off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from typing import NamedTuple

from xray_app.types import XYXY, Box

LETTER = 0.6
"""Width of a letter by the size of its font, on the safe side for the fonts of the desk."""


class LabelPlace(NamedTuple):
    """Where a label's text begins, and its size; pixels of the picture."""

    left: float
    baseline: float
    size: float


def label_places(labelled: Sequence[tuple[Box, str]], room: XYXY, size: float) -> list[LabelPlace]:
    """Above each box, else below or inside it, else as near as no earlier label stands.

    Args:
        labelled: boxes with their words, in pixels of the picture.
        room: what may be written on: the picture, or with the margins that are printed beside it.
        size: of the font, pixels of the picture.
    """
    taken: list[XYXY] = []
    found = []
    for box, words in labelled:
        wide = size * LETTER * len(words)

        def space(left: float, line: float, wide: float = wide) -> XYXY:
            return (left, line - size * 0.9, left + wide, line + size * 0.2)

        spots = list(_spots(box, room, size, wide))
        spot = next((one for one in spots if not any(_touch(space(*one), other) for other in taken)), spots[0])
        taken.append(space(*spot))
        found.append(LabelPlace(*spot, size))
    return found


def _spots(box: Box, room: XYXY, size: float, wide: float) -> Iterator[tuple[float, float]]:
    """Left ends and baselines within the room, the best first; of the rest, the nearest line first."""
    x0, y0, _, y1 = box.xyxy
    last = max(room[0], room[2] - wide)
    left = max(room[0], min(x0, last))
    lowest, highest = room[1] + size, room[3] - size * 0.2
    best = (y0 - size * 0.25, y1 + size, y0 + size, y1 - size * 0.25, y0 - size * 1.35, y1 + size * 2.1)
    yield from ((left, line) for line in best if lowest <= line < highest)
    lines = sorted(_steps(lowest, highest, size / 2), key=lambda line: abs(line - y0))
    yield from ((left, line) for line in lines)
    yield from ((other, line) for line in lines for other in _steps(room[0], last, size))


def _steps(first: float, last: float, step: float) -> list[float]:
    return [min(first + number * step, last) for number in range(max(0, ceil((last - first) / step)) + 1)]


def _touch(one: XYXY, other: XYXY) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
