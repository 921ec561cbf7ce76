"""What full bags are full of: folds, panels, food, cosmetics, cables, devices, and the fittings of `fittings.py`.

Everything has its real size: lengths are centimetres, and the scene says how many pixels one takes. None of it is of a
class that is labelled, but some of it looks like one, as it does in life.
"""

from __future__ import annotations

import math
import random

import numpy as np

from xray_app.simulate.bag import Bag, Scene
from xray_app.simulate.fittings import BLACK, FITTINGS, SMALL
from xray_app.simulate.pen import Pen, wander
from xray_app.simulate.shapes import arc, box, ellipse, turn


def fill_bag(
    scene: Scene, bag: Bag, scale: float, rng: random.Random, noise: np.random.Generator, clutter: float
) -> None:
    """Fill a bag with what nobody asks for.

    Args:
        scene: what is drawn into.
        bag: where; its half sizes are pixels.
        scale: pixels a centimetre.
        rng: of what lies where.
        noise: of what is lumpy.
        clutter: how full it is; 1 is an ordinary bag of its size, 0 an empty one.
    """
    area = 4 * bag.rx * bag.ry / scale**2  # square centimetres
    full = clutter * min(2.0, area / 1200)

    def turned() -> float:
        """People pack along a bag's sides, more often than not."""
        if rng.random() < 0.6:
            return bag.angle + rng.randrange(4) * math.pi / 2 + rng.gauss(0, 0.07)
        return rng.uniform(0, 6.3)

    def pens(mean: float, reach: float = 0.85) -> list[Pen]:
        count = int(noise.poisson(mean))
        places = (bag.at(rng.uniform(-reach, reach), rng.uniform(-reach, reach)) for _ in range(count))
        return [Pen(scene, scale, rng, at, turned(), rng.uniform(0.25, 1.2)) for at in places]

    for pen in pens(18 * full + 5, 0.95):
        _fold(pen)
    for pen in pens(3.2 * full, 0.65):
        _panel(pen)
    for pen in pens(1.6 * full, 0.7):
        _food(pen, noise)
    for pen in pens(1.2 * full):
        _cosmetic(pen)
    for pen in pens(2.2 * full):
        _cable(pen)
    for pen in pens(1.3 * full):
        rng.choice(_DEVICES)(pen)
    # Fittings lie along the edge as often as inside: zips and straps are there.
    for pen in pens(10 * min(full, 1.5) + 3, 1.0):
        rng.choice(FITTINGS)(pen)
    # A pocket with a heap of small metal in it.
    if rng.random() < 0.45 * min(1.0, clutter):
        middle = bag.at(rng.uniform(-0.8, 0.8), rng.uniform(-0.8, 0.8))
        spread = rng.uniform(2, 6) * scale
        for _ in range(rng.randint(3, 12)):
            at = (middle[0] + rng.gauss(0, 0.5) * spread, middle[1] + rng.gauss(0, 0.5) * spread)
            rng.choice(SMALL)(Pen(scene, scale, rng, at, rng.uniform(0, 6.3)))
    for pen in pens(0.3 * full, 0.7):
        rng.choice(BLACK)(pen)


def _fold(p: Pen) -> None:
    """The edge of a garment, a seam or a strap."""
    width = p.u(0.06, 0.3) if p.rng.random() < 0.7 else p.u(1.0, 4.5)
    material = p.rng.choice(["fabric", "fabric", "pvc", "pvc", "leather", "plastic"])
    cm = (
        {"fabric": 2.2, "pvc": 0.16, "leather": 0.5, "plastic": 0.6}[material]
        * p.u(0.3, 1.2)
        * (1 if width < 1 else 0.5)
    )
    line = wander(p.rng, p.u(4, 40), p.u(0.03, 0.4), p.u(0.8, 2.0))
    p.wire(line, width, material, cm)
    if width > 1 and p.rng.random() < 0.6:  # a strap's hems
        for s in (-0.45, 0.45):
            p.wire([(x + s * width * 0.7, y + s * width * 0.7) for x, y in line], 0.12, material, cm)


def _panel(p: Pen) -> None:
    """Books, files, boxes, sheets of something."""
    a, b = p.u(5, 17), p.u(3, 12)
    material, cm = p.rng.choice(
        [
            ("paper", 0.8),
            ("paper", 3.0),
            ("plastic", 0.8),
            ("pvc", 0.12),
            ("pvc", 0.25),
            ("pvc", 0.9),
            ("fabric", 3.0),
            ("wood", 1.2),
        ]
    )
    p.plate(
        box(-a, -b, a, b, p.rng.choice([0, 0, 1.0, 2.5])), material, cm * p.u(0.4, 1.3), rim=p.rng.choice([0, 0.3, 1.0])
    )
    if p.rng.random() < 0.3:  # pages that have slipped
        for i in range(p.rng.randint(2, 7)):
            y = -b + i * 2 * b / 7
            p.wire([(-a, y), (a, y + p.u(-0.6, 0.6))], 0.1, material, cm * 0.3)
    if material == "paper" and p.rng.random() < 0.25:  # a spiral
        for i in range(round(2 * a / 0.9)):
            p.plate(ellipse(-a + 0.45 + i * 0.9, b, 0.16, 0.3, 8), "steel", 0.1)


def _food(p: Pen, noise: np.random.Generator) -> None:
    """Fruit, bread, sweets, powder in a bag, a lunch box."""
    kind = p.rng.random()
    if kind < 0.35:  # round things, a few together
        r = p.u(1.2, 4.0)
        for _ in range(p.rng.randint(1, 5)):
            x, y = p.u(-2, 2) * r, p.u(-2, 2) * r
            for part in (1.0, 0.85, 0.6):
                p.plate(ellipse(x, y, r * part, r * part * 0.95, 20), "water", r * 0.55)
    elif kind < 0.75:  # a heap
        a = p.u(3, 10)
        p.texture(
            [(x * p.u(0.8, 1.1), y * p.u(0.8, 1.1)) for x, y in ellipse(0, 0, a, a * p.u(0.5, 1), 14)],
            p.rng.choice(["water", "powder", "fabric", "paper"]), p.u(1.0, 4.5), noise, p.u(0.6, 2.5),
        )  # fmt: skip
    else:  # a box with a lid and something in it
        a, b = p.u(4, 10), p.u(3, 7)
        shape = ellipse(0, 0, a, a, 32) if p.rng.random() < 0.4 else box(-a, -b, a, b, 1.5)
        p.plate(shape, p.rng.choice(["plastic", "pet", "pvc", "aluminium"]), p.u(0.2, 0.5), rim=3.0)
        inner = [(x * 0.85, y * 0.85) for x, y in shape]
        p.texture(inner, "water", p.u(1.0, 4.0), noise, p.u(0.8, 2.0))


def _cosmetic(p: Pen) -> None:
    """Tubes, jars, soap, a comb, a brush."""
    kind = p.rng.randrange(5)
    if kind == 0:
        length, w = p.u(7, 15), p.u(1.2, 2.6)
        p.plate(
            [(-length / 2, -w), (length / 2, -w * 0.4), (length / 2, w * 0.4), (-length / 2, w)],
            "water",
            p.u(1, 2.5),
            rim=0.2,
        )
        p.plate(box(length / 2, -w * 0.4, length / 2 + 1.5, w * 0.4), "plastic", 1.2)
    elif kind == 1:
        r = p.u(1.5, 4)
        p.plate(ellipse(0, 0, r, r, 24), p.rng.choice(["water", "glass", "plastic"]), p.u(0.6, 2.0), rim=0.6)
        p.plate(ellipse(0, 0, r * 0.7, r * 0.7, 24), "water", p.u(0.5, 2))
    elif kind == 2:
        p.plate(box(-p.u(3, 5), -2, p.u(3, 5), 2, 1.0), "powder", p.u(0.8, 2.2))
    elif kind == 3:  # a comb
        for i in range(p.rng.randint(15, 30)):
            p.wire([(i * 0.4 - 5, 0), (i * 0.4 - 5, 2.2)], 0.18, "plastic", 0.3)
        p.plate(box(-5.5, -0.8, 6.5, 0), "plastic", 0.4)
    else:  # a brush, its pins in rows
        p.plate(box(-4, -1.8, 5, 1.8, 1.5), p.rng.choice(["plastic", "wood"]), 1.2)
        p.plate(box(5, -0.8, 14, 0.8, 0.6), "plastic", 1.6)
        material = p.rng.choice(["steel", "plastic"])
        for i in range(10):
            for j in range(4):
                p.plate(ellipse(-3.5 + i * 0.85, -1.3 + j * 0.85, 0.14, 0.14, 6), material, 0.6)


def _cable(p: Pen) -> None:
    """A cable, loose or coiled, with its plugs."""
    width = p.u(0.12, 0.4)
    copper = p.u(0.05, 0.2)
    if p.rng.random() < 0.5:
        r, points = p.u(2, 6), []
        for i in range(p.rng.randint(30, 90)):
            t = i * 0.35
            points.append(((r + p.u(-0.3, 0.3)) * math.cos(t) * (1 + 0.002 * i), r * p.u(0.55, 0.75) * math.sin(t)))
    else:
        points = wander(p.rng, p.u(20, 90), p.u(0.15, 0.5), 0.9)
    p.wire(points, width, "pvc", width * 0.8)
    p.wire(points, width * 0.45, "copper", copper)
    for x, y in (points[0], points[-1]):
        a = p.u(0, 3.1)
        p.plate(turn(box(x - 0.9, y - 0.45, x + 1.2, y + 0.45, 0.2), a, (x, y)), "pvc", 0.8)
        p.plate(turn(box(x + 1.0, y - 0.35, x + 2.2, y + 0.35), a, (x, y)), "steel", p.u(0.1, 0.35))


def _parts(p: Pen, a: float, b: float, count: int) -> None:
    """A circuit board with parts on it."""
    p.plate(box(-a, -b, a, b), "board", p.u(0.08, 0.16))
    for _ in range(count):
        x, y = p.u(-a, a * 0.8), p.u(-b, b * 0.8)
        w, h = p.u(0.15, 0.3 + a * 0.35), p.u(0.15, 0.3 + b * 0.35)
        material, cm = p.rng.choice(
            [("copper", 0.12), ("steel", 0.15), ("pvc", 0.6), ("aluminium", 0.6), ("board", 0.3)]
        )
        shape = ellipse(x, y, w * 0.6, w * 0.6, 12) if p.rng.random() < 0.3 else box(x, y, x + w, y + h)
        p.plate(shape, material, cm * p.u(0.4, 1.6))


def _charger(p: Pen) -> None:
    a, b = p.u(2.2, 5.5), p.u(1.8, 3.0)
    p.plate(box(-a, -b, a, b, 0.6), "pvc", 0.5, rim=0.8)
    _parts(p, a * 0.85, b * 0.85, p.rng.randint(5, 14))
    p.plate(box(-a * 0.4, -b * 0.5, a * 0.2, b * 0.5), "steel", p.u(0.2, 0.8))
    for s in (-0.5, 0.5):
        p.plate(box(a, s * b - 0.15, a + 1.8, s * b + 0.15), "brass", 0.35)


def _calculator(p: Pen) -> None:
    a, b = p.u(5, 9), p.u(3, 5)
    p.plate(box(-a, -b, a, b, 0.5), "pet", 0.6, rim=0.5)
    _parts(p, a * 0.9, b * 0.85, p.rng.randint(4, 16))
    for i in range(p.rng.randint(3, 6)):
        for j in range(4):
            p.plate(ellipse(-a * 0.5 + i * 1.3, -b * 0.6 + j * b * 0.4, 0.3, 0.3, 8), "rubber", 0.4)


def _camera(p: Pen) -> None:
    a, b = p.u(4.5, 7), p.u(3, 4.5)
    p.plate(box(-a, -b, a, b, 0.8), "aluminium", 0.8, rim=1.0)
    _parts(p, a * 0.9, b * 0.9, 12)
    r = p.u(1.8, 3.2)
    for part in (1.0, 0.8, 0.5):
        p.plate(
            ellipse(0, 0, r * part, r * part, 28), p.rng.choice(["glass", "steel", "brass"]), p.u(0.2, 0.8), rim=0.8
        )


def _dryer(p: Pen) -> None:
    """A motor with windings in a casing."""
    p.plate(box(-7, -3.5, 8, 3.5, 2.5), "pet", 0.7, rim=0.6)
    p.plate(turn(box(-6, 0, -3, 13, 1), p.u(-0.3, 0.3)), "pet", 0.8, rim=0.5)
    p.plate(box(-3, -1.8, 1, 1.8, 0.5), "steel", p.u(0.6, 1.8))
    for i in range(8):
        p.wire([(1.5 + i * 0.7, -2.5), (1.9 + i * 0.7, 2.5)], 0.15, "steel", 0.2)
    for i in range(5):
        p.plate(box(-2.6 + i * 0.6, -2.3, -2.3 + i * 0.6, 2.3), "copper", 0.3)


def _earphones(p: Pen) -> None:
    for s in (-1, 1):
        x, y = s * p.u(4, 8), p.u(-3, 3)
        r = p.u(0.5, 3.2)
        p.plate(ellipse(x, y, r, r, 16), "pvc", 0.8, rim=0.4)
        p.plate(ellipse(x, y, r * 0.5, r * 0.5, 12), "steel", p.u(0.15, 0.5))
        p.wire([(x, y), (x * 0.5, y + 3), (0, 6)], 0.2, "copper", 0.12)
    p.wire(arc(0, 0, 7, 7, math.pi, 2 * math.pi), p.u(0.2, 0.8), p.rng.choice(["steel", "pvc"]), 0.12)


_DEVICES = (_charger, _charger, _charger, _calculator, _calculator, _camera, _dryer, _earphones, _earphones)
