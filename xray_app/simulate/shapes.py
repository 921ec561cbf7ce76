"""Drawing primitives: shapes of a material and a thickness, added up as log attenuation.

An item is drawn lying along the x axis, its long side from about -0.5 to 0.5, and is turned
and scaled into scan pixels only afterwards (`place`). That keeps the thickness profile of
round things a function of one coordinate.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from xray_app.simulate.materials import attenuation

Floats = NDArray[np.float32]
Point = tuple[float, float]
HALF = 0.66  # the canvas reaches this far from the centre, in item lengths


@dataclass(frozen=True)
class Patch:
    """An item in scan pixels: what it takes from the beam, and where its own material is.

    `low` and `high` are log attenuation (height, width); `mask` is bool of the same shape, cropped
    tightly around the item.
    """

    low: Floats
    high: Floats
    mask: NDArray[np.bool_]


class Canvas:
    """A square on which one item is drawn, as log attenuation at the low and the high energy."""

    def __init__(self, length: float, rng: random.Random) -> None:
        """Prepare a canvas for an item whose long side is `length` scan pixels."""
        self.rng = rng
        self.oversampling = 3.0 if length < 60 else 2.0 if length < 170 else 1.25
        self.length = length
        self.scale = length * self.oversampling
        self.size = math.ceil(2 * HALF * self.scale) + 2
        self.centre = self.size / 2
        self.low: Floats = np.zeros((self.size, self.size), np.float32)
        self.high: Floats = np.zeros((self.size, self.size), np.float32)

    def u(self, a: float, b: float) -> float:
        """A uniform random number."""
        return self.rng.uniform(a, b)

    def _pixel(self, points: Sequence[Point]) -> list[Point]:
        return [(x * self.scale + self.centre, y * self.scale + self.centre) for x, y in points]

    def _window(self, points: Sequence[Point], margin: float = 1) -> tuple[int, int, int, int]:
        xs = [x for x, _ in points]
        ys = [y for _, y in points]
        return (
            max(0, math.floor(min(xs) - margin)),
            max(0, math.floor(min(ys) - margin)),
            min(self.size, math.ceil(max(xs) + margin) + 1),
            min(self.size, math.ceil(max(ys) + margin) + 1),
        )

    def _add(self, window: tuple[int, int, int, int], thickness: Floats, material: str) -> None:
        x0, y0, x1, y1 = window
        low, high = attenuation(material)
        self.low[y0:y1, x0:x1] += low * thickness
        self.high[y0:y1, x0:x1] += high * thickness

    def poly(self, points: Sequence[Point], material: str, cm: float, holes: Sequence[Sequence[Point]] = ()) -> None:
        """A flat plate `cm` thick with this outline, less the holes."""
        pixels = self._pixel(points)
        window = x0, y0, x1, y1 = self._window(pixels)
        if x1 <= x0 or y1 <= y0:
            return
        image = Image.new("L", (x1 - x0, y1 - y0), 0)
        draw = ImageDraw.Draw(image)
        draw.polygon([(x - x0, y - y0) for x, y in pixels], fill=1)
        for hole in holes:
            draw.polygon([(x - x0, y - y0) for x, y in self._pixel(hole)], fill=0)
        self._add(window, np.asarray(image, np.float32) * np.float32(cm), material)

    def rect(self, x0: float, y0: float, x1: float, y1: float, material: str, cm: float, radius: float = 0.0) -> None:
        """A plate with (rounded) corners."""
        self.poly(box(x0, y0, x1, y1, radius), material, cm)

    def frame(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        wall: float,
        material: str,
        cm: float,
        radius: float = 0,
    ) -> None:
        """The rim of a (rounded) rectangle, `wall` wide."""
        inner = box(x0 + wall, y0 + wall, x1 - wall, y1 - wall, max(0.0, radius - wall))
        self.poly(box(x0, y0, x1, y1, radius), material, cm, [inner])

    def disc(self, cx: float, cy: float, rx: float, ry: float, material: str, cm: float, hole: float = 0.0) -> None:
        """A flat (elliptic) disc; `hole` is the relative radius of the hole in its middle."""
        holes = [ellipse(cx, cy, rx * hole, ry * hole)] if hole > 0 else []
        self.poly(ellipse(cx, cy, rx, ry), material, cm, holes)

    def ball(self, cx: float, cy: float, radius: float, material: str, cm: float) -> None:
        """A ball, `cm` through its middle."""
        self.turned([(cx + radius * math.cos(a), radius * abs(math.sin(a))) for a in _HALF_TURN], material, cm, cy=cy)

    def turned(self, outline: Sequence[Point], material: str, cm: float, wall: float = 0.0, cy: float = 0.0) -> None:
        """A body of revolution about the x axis: `outline` is (x, radius), x rising.

        `cm` is its thickness where it is widest. With `wall` (item lengths) it is hollow.
        """
        xs = np.array([p[0] for p in outline]) * self.scale + self.centre
        radii = np.array([p[1] for p in outline]) * self.scale
        widest = float(radii.max())
        middle = cy * self.scale + self.centre
        window = x0, y0, x1, y1 = self._window([(xs[0], middle - widest), (xs[-1], middle + widest)], 0)
        if x1 <= x0 or y1 <= y0:
            return
        columns = np.arange(x0, x1) + 0.5
        radius = np.interp(columns, xs, radii, left=0, right=0)[None, :]
        offset = (np.arange(y0, y1) + 0.5 - middle)[:, None]
        chord = np.sqrt(np.maximum(radius**2 - offset**2, 0))
        if wall > 0:
            inner = np.maximum(radius - max(wall * self.scale, 1.0), 0)
            chord = chord - np.sqrt(np.maximum(inner**2 - offset**2, 0))
        self._add(window, (chord * (cm / widest)).astype(np.float32), material)

    def tube(
        self,
        x0: float,
        x1: float,
        radius: float,
        material: str,
        cm: float,
        wall: float = 0.0,
        cy: float = 0.0,
    ) -> None:
        """A cylinder along x."""
        self.turned([(x0, radius), (x1, radius)], material, cm, wall, cy)

    def rod(self, points: Sequence[Point], radius: float, material: str, cm: float) -> None:
        """A bent round rod or wire along a polyline."""
        pixels = self._pixel(points)
        width = radius * 2 * self.scale
        window = x0, y0, x1, y1 = self._window(pixels, width / 2 + 1)
        if x1 <= x0 or y1 <= y0:
            return
        image = Image.new("L", (x1 - x0, y1 - y0), 0)
        draw = ImageDraw.Draw(image)
        shifted = [(x - x0, y - y0) for x, y in pixels]
        for part, level in ((1.0, 130), (0.72, 200), (0.4, 255)):
            w = max(1, round(width * part))
            draw.line(shifted, fill=level, width=w, joint="curve")
            if w > 3:
                for x, y in (shifted[0], shifted[-1]):
                    draw.ellipse((x - w / 2, y - w / 2, x + w / 2, y + w / 2), fill=level)
        self._add(window, np.asarray(image, np.float32) * np.float32(cm / 255), material)

    def place(self, angle: float, squeeze: float = 1.0) -> Patch:
        """The item turned by `angle` (radians), foreshortened across its length by `squeeze`."""
        k = self.oversampling
        out = math.ceil(self.size / k)
        c, s = math.cos(angle), math.sin(angle)
        m, o = self.centre, out / 2
        matrix = (
            k * c, k * s, m - k * (c * o + s * o),
            -k * s / squeeze, k * c / squeeze, m - k * (-s * o + c * o) / squeeze,
        )  # fmt: skip
        low, high = (
            np.asarray(
                Image.fromarray(a).transform((out, out), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR),
                np.float32,
            )
            for a in (self.low, self.high)
        )
        mask = low > 0.02
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not rows.size:
            return Patch(low[:1, :1], high[:1, :1], mask[:1, :1])
        part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return Patch(low[part], high[part], mask[part])


_HALF_TURN = [math.pi - i * math.pi / 16 for i in range(17)]


def ellipse(cx: float, cy: float, rx: float, ry: float, n: int = 28) -> list[Point]:
    """The outline of an ellipse."""
    return [(cx + rx * math.cos(i * 2 * math.pi / n), cy + ry * math.sin(i * 2 * math.pi / n)) for i in range(n)]


def arc(cx: float, cy: float, rx: float, ry: float, start: float, end: float, n: int = 18) -> list[Point]:
    """Points along an elliptic arc; angles in radians."""
    return [
        (cx + rx * math.cos(start + (end - start) * i / n), cy + ry * math.sin(start + (end - start) * i / n))
        for i in range(n + 1)
    ]


def box(x0: float, y0: float, x1: float, y1: float, radius: float = 0.0) -> list[Point]:
    """The outline of a rectangle with rounded corners."""
    if radius <= 0:
        return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    r = min(radius, (x1 - x0) / 2, (y1 - y0) / 2)
    q = math.pi / 2
    return [
        *arc(x1 - r, y1 - r, r, r, 0, q, 5),
        *arc(x0 + r, y1 - r, r, r, q, 2 * q, 5),
        *arc(x0 + r, y0 + r, r, r, 2 * q, 3 * q, 5),
        *arc(x1 - r, y0 + r, r, r, 3 * q, 4 * q, 5),
    ]


def turn(points: Sequence[Point], angle: float, about: Point = (0.0, 0.0)) -> list[Point]:
    """Points turned about a point."""
    c, s = math.cos(angle), math.sin(angle)
    ax, ay = about
    return [(ax + (x - ax) * c - (y - ay) * s, ay + (x - ax) * s + (y - ay) * c) for x, y in points]
