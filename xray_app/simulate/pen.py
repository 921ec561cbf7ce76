"""A pen that draws things of known size into a scene: plates, wires, heaps, in centimetres."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from xray_app.simulate.bag import Scene
from xray_app.simulate.materials import attenuation
from xray_app.simulate.shapes import Floats, Point

_FINE = 2  # drawn at this many times the scene's resolution


@dataclass(frozen=True)
class Pen:
    """Draws plates and wires into a scene, about one place and turned.

    Attributes:
        scene: what is drawn into.
        scale: pixels a centimetre.
        rng: of everything drawn by chance.
        at: where the origin lies, pixels.
        angle: how far the drawing is turned, radians.
        solid: every thickness is multiplied by this.
    """

    scene: Scene
    scale: float
    rng: random.Random
    at: Point
    angle: float
    solid: float = 1.0

    def u(self, least: float, most: float) -> float:
        """A uniform random number."""
        return self.rng.uniform(least, most)

    def plate(
        self,
        points: Sequence[Point],
        material: str,
        cm: float,
        *,
        rim: float = 0.0,
        holes: Sequence[Sequence[Point]] = (),
    ) -> None:
        """A flat thing `cm` thick with this outline in centimetres; `rim` is how much thicker its edge is."""

        def draw(pen: ImageDraw.ImageDraw, at: Callable[[Sequence[Point]], list[Point]]) -> None:
            level = 255 if rim <= 0 else round(255 / (1 + rim))
            pen.polygon(at(points), fill=level)
            for hole in holes:
                pen.polygon(at(hole), fill=0)
            if rim > 0:
                outline = at(points)
                pen.line([*outline, outline[0]], fill=255, width=max(2, round(0.12 * self.scale * _FINE)))

        self._add(points, 0.2, material, cm * (1 + max(0.0, rim)), draw)

    def wire(self, points: Sequence[Point], width: float, material: str, cm: float) -> None:
        """A bent wire, cord or seam along these points, `width` wide, `cm` thick in its middle."""

        def draw(pen: ImageDraw.ImageDraw, at: Callable[[Sequence[Point]], list[Point]]) -> None:
            thick = width * self.scale * _FINE
            level = 255 if thick >= 1 else max(30, round(255 * thick))
            pen.line(at(points), fill=level if thick < 3 else 150, width=max(1, round(thick)), joint="curve")
            if thick >= 3:
                pen.line(at(points), fill=255, width=max(1, round(thick * 0.6)), joint="curve")

        self._add(points, width, material, cm, draw)

    def texture(
        self, points: Sequence[Point], material: str, cm: float, noise: np.random.Generator, grain: float
    ) -> None:
        """A heap with this outline: `cm` thick in the mean, its lumps `grain` centimetres long."""
        placed = self._placed(points)
        window = self._window(placed, 1)
        if window is None:
            return
        x0, y0, x1, y1 = window
        image = Image.new("L", (x1 - x0, y1 - y0), 0)
        ImageDraw.Draw(image).polygon([(x - x0, y - y0) for x, y in placed], fill=255)
        cells = [max(2, math.ceil(side / max(2.0, grain * self.scale))) for side in image.size]
        lumps = Image.fromarray(noise.standard_normal((cells[1], cells[0]), dtype=np.float32))
        heap = np.asarray(lumps.resize(image.size, Image.Resampling.BICUBIC), np.float32)
        thickness = (
            np.asarray(image, np.float32) * np.float32(cm * self.solid / 255) * np.clip(1 + 0.45 * heap, 0.1, 2.5)
        )
        self.scene.add(thickness.astype(np.float32), material, (x0, y0))

    def _placed(self, points: Sequence[Point]) -> list[Point]:
        c, s = math.cos(self.angle) * self.scale, math.sin(self.angle) * self.scale
        return [(self.at[0] + c * x - s * y, self.at[1] + s * x + c * y) for x, y in points]

    def _window(self, placed: Sequence[Point], margin: float) -> tuple[int, int, int, int] | None:
        xs, ys = [p[0] for p in placed], [p[1] for p in placed]
        x0, y0 = max(0, math.floor(min(xs) - margin)), max(0, math.floor(min(ys) - margin))
        x1 = min(self.scene.width, math.ceil(max(xs) + margin))
        y1 = min(self.scene.height, math.ceil(max(ys) + margin))
        return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None

    def _add(
        self,
        points: Sequence[Point],
        margin: float,
        material: str,
        cm: float,
        draw: Callable[[ImageDraw.ImageDraw, Callable[[Sequence[Point]], list[Point]]], None],
    ) -> None:
        window = self._window(self._placed(points), margin * self.scale + 1)
        if window is None:
            return
        x0, y0, x1, y1 = window
        image = Image.new("L", ((x1 - x0) * _FINE, (y1 - y0) * _FINE), 0)

        def at(what: Sequence[Point]) -> list[Point]:
            return [((x - x0) * _FINE, (y - y0) * _FINE) for x, y in self._placed(what)]

        draw(ImageDraw.Draw(image), at)
        thickness: Floats = np.asarray(image.reduce(_FINE), np.float32)
        low, high = attenuation(material)
        part = np.s_[y0:y1, x0:x1]
        self.scene.low[part] += thickness * np.float32(low * cm * self.solid / 255)
        self.scene.high[part] += thickness * np.float32(high * cm * self.solid / 255)


def wander(rng: random.Random, length: float, bend: float = 0.35, step: float = 0.8) -> list[Point]:
    """A wandering line of about `length` centimetres from the origin, like a cable or a fold."""
    x = y = 0.0
    heading, turning, points = rng.uniform(0, 6.3), rng.uniform(-bend, bend), [(0.0, 0.0)]
    for _ in range(max(2, round(length / step))):
        turning = max(-bend * 2, min(bend * 2, turning + rng.uniform(-bend, bend) * 0.6))
        heading += turning
        x, y = x + step * math.cos(heading), y + step * math.sin(heading)
        points.append((x, y))
    return points
