"""What lies on the belt: one bag that fills the picture, two on a wide belt with others cut off, a tray."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np

from xray_app.simulate.bag import Bag, Scene, draw_cloth, outline
from xray_app.simulate.contents import fill_bag
from xray_app.simulate.pen import Pen
from xray_app.simulate.shapes import arc, box, ellipse


@dataclass(frozen=True)
class Conditions:
    """How full bags lie before a scanner: what `simulate --like` fits to a site's own scans.

    Attributes:
        width: of the picture, pixels.
        height: of the picture, pixels.
        span: how many centimetres its long side shows.
        belt: more than one bag: a wide belt, bags apart, some cut off by the picture's ends.
        tray: what is scanned lies in a tray.
        fullness: centimetres of folded cloth in the mean.
        clutter: how much else there is; 1 is an ordinary bag.
        style: the scanner's style, a name of `scanner.STYLES`; left empty, any.
    """

    width: int
    height: int
    span: float
    belt: bool
    tray: bool
    fullness: float
    clutter: float
    style: str = ""

    @property
    def scale(self) -> float:
        """Pixels a centimetre."""
        return max(self.width, self.height) / self.span


def draw_conditions(rng: random.Random) -> Conditions:
    """Conditions as they are met with: a wide belt four times in ten, else a bag that fills the picture."""
    belt = rng.random() < 0.4
    side = rng.randint(320, 560) if not belt else rng.randint(400, 640)
    aspect = _evenly(rng, 1.2, 2.7) if belt else math.exp(rng.uniform(-0.35, 0.75))
    width, height = (side, side / aspect) if aspect >= 1 else (side * aspect, side)
    span = _evenly(rng, 75, 165) if belt else _evenly(rng, 30, 80)
    return Conditions(
        width=round(width),
        height=round(height),
        span=span,
        belt=belt,
        tray=rng.random() < 0.08,
        fullness=_evenly(rng, 0.1, 5.0),
        clutter=_evenly(rng, 0.25, 2.2),
    )


def _evenly(rng: random.Random, least: float, most: float) -> float:
    """A number drawn evenly in its logarithm."""
    return math.exp(rng.uniform(math.log(least), math.log(most)))


def lay_out(conditions: Conditions, rng: random.Random, noise: np.random.Generator) -> tuple[Scene, list[Bag]]:
    """The scene with its bags drawn and filled, and the bags that are whole enough to hold items."""
    scene = Scene(conditions.width, conditions.height)
    width, height, scale = scene.width, scene.height, conditions.scale
    whole: list[Bag] = []
    if conditions.belt:
        x = rng.uniform(-25, 12) * scale
        while x < width - 8 * scale:
            length = rng.uniform(18, 48) * scale
            across = min(rng.uniform(18, 40) * scale, height * rng.uniform(0.6, 1.1))
            cy = rng.uniform(min(across / 2, height / 2), max(height - across / 2, height / 2))
            bag = Bag(
                x + length / 2,
                cy,
                length / 2,
                across / 2,
                rng.choice([rng.gauss(0, 0.08), rng.uniform(-0.6, 0.6)]),
                rng.random() < 0.25,
            )
            _draw(scene, bag, conditions, rng, noise)
            if x > -0.4 * length and x + length < width + 0.4 * length:
                whole.append(bag)
            x += length + rng.uniform(-2, 30) * scale
    if not whole:
        size = rng.uniform(0.78, 1.25)  # more than the picture: the scan was cut to the bag, or into it
        rx, ry = width / 2 * size * rng.uniform(0.85, 1.05), height / 2 * size * rng.uniform(0.8, 1.05)
        cx, cy = width * rng.uniform(0.45, 0.55), height * rng.uniform(0.45, 0.55)
        bag = Bag(cx, cy, rx, ry, rng.choice([rng.uniform(-0.1, 0.1), rng.uniform(-0.5, 0.5)]), rng.random() < 0.3)
        _draw(scene, bag, conditions, rng, noise)
        whole.append(bag)
        if rng.random() < 0.3:  # the next bag's end
            side = rng.choice([-0.04, 1.04]) * width
            other = Bag(side, height * rng.uniform(0.2, 0.8), width * 0.12, height * 0.3, rng.uniform(-0.5, 0.5), False)
            _draw(scene, other, conditions, rng, noise)
    return scene, whole


def _draw(scene: Scene, bag: Bag, conditions: Conditions, rng: random.Random, noise: np.random.Generator) -> None:
    scale = conditions.scale
    if conditions.tray:
        _tray(scene, bag, scale, rng)
    shell = rng.choice(["fabric", "plastic", "leather", "pvc", "pvc", "pvc"])
    edge = outline(bag, rng)
    draw_cloth(scene, bag, edge, rng, noise, conditions.fullness * rng.uniform(0.5, 1.3), shell)
    pen = Pen(scene, scale, rng, (0, 0), 0.0)
    thick = {"pvc": 0.25, "fabric": 1.6, "plastic": 0.7, "leather": 0.6}[shell]
    for k in range(rng.randint(2, 6)):  # piping, linings, hems: never quite parallel
        line = [(x / scale, y / scale) for x, y in outline(bag, rng, 1.0 if k == 0 else rng.uniform(0.7, 1.03))]
        start, run = rng.randrange(len(line)), len(line) if k < 2 else rng.randint(12, len(line))
        pen.wire(
            [line[(start + i) % len(line)] for i in range(run + 1)],
            rng.uniform(0.15, 0.6),
            shell,
            thick * rng.uniform(0.4, 1.2),
        )
    for _ in range(rng.randint(1, 4)):  # pockets
        x, y = rng.uniform(-0.6, 0.4), rng.uniform(-0.7, 0.5)
        corners = bag.points(box(x, y, x + rng.uniform(0.4, 1.0), y + rng.uniform(0.3, 0.8), 0.1))
        pen.wire([(a / scale, b / scale) for a, b in [*corners, corners[0]]], 0.2, shell, thick * rng.uniform(0.4, 0.9))
    if rng.random() < 0.5:  # a handle or strap that lies outside
        loop = bag.points([(x, y * 0.3) for x, y in arc(1.0, 0, rng.uniform(0.12, 0.6), 1, -math.pi / 2, math.pi / 2)])
        pen.wire([(a / scale, b / scale) for a, b in loop], rng.uniform(0.8, 3.5), shell, thick * 0.6)
    if bag.trolley:
        _trolley(scene, bag, scale, rng)
    fill_bag(scene, bag, scale, rng, noise, conditions.clutter * rng.uniform(0.6, 1.4))


def _trolley(scene: Scene, bag: Bag, scale: float, rng: random.Random) -> None:
    """Pull rods, a wire frame, ribs, wheels and feet."""
    pen = Pen(scene, scale, rng, (0, 0), 0.0)

    def at(x: float, y: float) -> tuple[float, float]:
        px, py = bag.at(x, y)
        return px / scale, py / scale

    gap = rng.uniform(0.2, 0.5)
    material, cm = rng.choice([("aluminium", 0.5), ("aluminium", 1.0), ("steel", 0.25), ("steel", 0.5)])
    for s in (-gap, gap) if rng.random() < 0.75 else (0.0,):
        w = rng.uniform(0.6, 1.6)
        pen.wire([at(-0.95, s), at(0.9, s)], w, material, cm)
        pen.wire([at(rng.uniform(-0.5, 0.6), s), at(0.9, s)], w * 0.6, "steel", cm * 0.7)
        for k in range(rng.randint(0, 5)):
            x, y = at(-0.8 + k * 0.4, s)
            pen.plate(ellipse(x, y, 0.35, 0.35, 8), "steel", 0.8)
    pen.wire([at(-0.96, -gap), at(-0.96, gap)], rng.uniform(1, 2.5), "pet", 1.5)
    if rng.random() < 0.7:
        frame = [(x / scale, y / scale) for x, y in outline(bag, rng, 0.96)]
        pen.wire([*frame, frame[0]], rng.uniform(0.2, 0.4), "steel", 0.3)
    for k in range(rng.randint(0, 6)):
        s = -0.8 + k * 0.32
        pen.wire([at(-0.9, s), at(0.9, s)], rng.uniform(0.2, 0.8), "plastic", 0.5)
    for s in (-0.85, 0.85):
        x, y = at(1.03, s)
        r = rng.uniform(1.6, 2.8)
        pen.plate(ellipse(x, y, r, r * rng.uniform(0.5, 1), 20), "pvc", 1.2, rim=0.6)
        pen.plate(ellipse(x, y, 0.5, 0.5, 10), "steel", 1.5)
        pen.wire([at(0.9, s), (x, y)], 0.6, "steel", 0.6)
    for _ in range(rng.randint(2, 10)):  # rivets and screws
        x, y = at(rng.choice([-0.97, 0.97, rng.uniform(-1, 1)]), rng.uniform(-1, 1))
        pen.plate(ellipse(x, y, 0.3, 0.3, 8), "steel", 0.6)


def _tray(scene: Scene, bag: Bag, scale: float, rng: random.Random) -> None:
    """A plastic tray: a base, a thick rim, ribs."""
    pen = Pen(scene, scale, rng, (0, 0), 0.0)
    corners = [(x / scale, y / scale) for x, y in bag.points(box(-1.15, -1.15, 1.15, 1.15, 0.12))]
    pen.plate(corners, "plastic", rng.uniform(0.4, 1.0), rim=2.0)
    for k in range(rng.randint(4, 12)):
        s = -1.1 + k * 2.2 / 12
        a, b = bag.at(s, -1.1), bag.at(s, 1.1)
        pen.wire([(a[0] / scale, a[1] / scale), (b[0] / scale, b[1] / scale)], 0.3, "plastic", 0.6)
