"""Small metal in and on bags, and what goes black: zips, buckles, keys, coins, watches, locks, shoes, pans.

Every function draws one thing with a pen, about its origin. Sizes and thicknesses are centimetres.
"""

from __future__ import annotations

import math

from xray_app.simulate.pen import Pen, wander
from xray_app.simulate.shapes import arc, box, ellipse, turn


def _pull(p: Pen) -> None:
    """A zip's slider and its pull."""
    p.plate(box(-0.6, -0.45, 0.6, 0.45, 0.2), "steel", p.u(0.2, 0.6))
    p.plate(box(0.5, -0.28, p.u(2.0, 4.0), 0.28, 0.2), p.rng.choice(["steel", "steel", "pvc"]), p.u(0.12, 0.35))


def _zip(p: Pen) -> None:
    """A run of teeth, metal or plastic."""
    metal = p.rng.random() < 0.5
    points = wander(p.rng, p.u(8, 40), 0.08, 0.35)
    for x, y in points[::2]:
        p.plate(box(x - 0.16, y - 0.2, x + 0.16, y + 0.2), "brass" if metal else "plastic", 0.12 if metal else 0.35)
    x, y = points[-1]
    p.plate(box(x - 0.5, y - 0.4, x + 0.8, y + 0.4, 0.2), "steel", 0.4)


def _ring(p: Pen) -> None:
    """A D-ring, a slider, a square buckle."""
    a, b, w = p.u(0.9, 2.4), p.u(0.7, 1.6), p.u(0.2, 0.45)
    shape = ellipse(0, 0, a, b, 20) if p.rng.random() < 0.35 else box(-a, -b, a, b, p.rng.choice([0.1, 0.5]))
    p.wire([*shape, shape[0], shape[1]], w, "steel", p.u(0.2, 0.5))
    if p.rng.random() < 0.5:
        p.wire([(0, -b), (0, b)], w * 0.8, "steel", 0.3)


def _clip(p: Pen) -> None:
    """A snap hook or carabiner on its swivel."""
    length, w = p.u(1.6, 3.4), p.u(0.5, 0.9)
    loop = ellipse(0, 0, length, w, 20)
    p.wire(loop[: p.rng.randint(17, 20)], p.u(0.25, 0.5), "steel", p.u(0.3, 0.6))
    p.plate(box(length, -0.4, length + 1.0, 0.4, 0.2), "steel", 0.7)
    p.wire(ellipse(length + 1.6, 0, 0.6, 0.9, 14), 0.25, "steel", 0.3)


def _release_buckle(p: Pen) -> None:
    """A plastic side-release buckle."""
    a, b = p.u(1.6, 2.8), p.u(1.0, 1.9)
    p.plate(box(-a, -b, a, b, 0.5), "pet", 0.7, rim=1.0)
    for s in (-0.7, 0.0, 0.7):
        p.plate(box(-a * 0.8, s * b - 0.15, a * 0.6, s * b + 0.15), "pet", 0.5)


def _stud(p: Pen) -> None:
    r = p.u(0.25, 0.75)
    p.plate(ellipse(0, 0, r, r, 12), p.rng.choice(["brass", "steel"]), p.u(0.1, 0.5), rim=p.rng.choice([0, 1.0]))


def _coin(p: Pen) -> None:
    r = p.u(0.8, 1.35)
    p.plate(ellipse(0, 0, r, r * p.u(0.4, 1), 18), p.rng.choice(["brass", "copper", "steel"]), p.u(0.12, 0.22))


def _keys(p: Pen) -> None:
    p.wire(ellipse(0, 0, 1.3, 1.3, 18), 0.2, "steel", 0.25)
    for _ in range(p.rng.randint(1, 6)):
        a, length = p.u(0, 6.3), p.u(2.2, 4)
        bow = ellipse(2.2, 0, 1.1, 1.0, 14)
        p.plate(turn(bow, a), "brass", 0.2, holes=[turn(ellipse(1.7, 0, 0.3, 0.3, 8), a)])
        p.plate(turn(box(3.0, -0.3, 3.0 + length, 0.3), a), "brass", 0.2)
        for i in range(4):
            p.plate(turn(box(3.4 + i * 0.6, 0.25, 3.7 + i * 0.6, 0.45), a), "brass", 0.2)


def _pencil(p: Pen) -> None:
    """A pen: plastic tube, spring, tip, clip."""
    length = p.u(6.5, 7.5)
    p.plate(box(-length, -0.45, length, 0.45, 0.3), "plastic", p.u(0.4, 0.9))
    p.wire([(-length * 0.9, 0), (length * 0.8, 0)], 0.2, p.rng.choice(["brass", "plastic"]), 0.15)
    p.plate([(length, -0.4), (length + 0.9, 0), (length, 0.4)], "brass", 0.3)
    if p.rng.random() < 0.6:
        p.plate(box(-length, 0.45, -length * 0.3, 0.65), "steel", 0.1)
    if p.rng.random() < 0.25:
        p.plate(box(-length, -0.5, length, 0.5, 0.4), "steel", 0.15)


def _glasses(p: Pen) -> None:
    frame, cm = p.rng.choice([("steel", 0.15), ("pet", 0.5)])
    for s in (-1, 1):
        lens = ellipse(s * 3.3, 0, 2.6, 2.0, 24)
        p.wire([*lens, lens[0]], 0.3, frame, cm)
        p.plate(lens, p.rng.choice(["glass", "pet"]), 0.2)
    p.wire(arc(0, 0, 0.8, 0.6, math.pi, 2 * math.pi), 0.3, frame, cm)
    for s in (-1, 1):
        p.wire([(s * 5.9, 0), (s * p.u(3, 6), p.u(2.5, 4)), (-s * p.u(3, 7), p.u(2.5, 4.5))], 0.3, frame, cm)


def _watch(p: Pen) -> None:
    r = p.u(1.4, 2.2)
    p.plate(ellipse(0, 0, r, r, 24), "steel", p.u(0.4, 0.9), rim=0.6)
    p.plate(ellipse(0, 0, r * 0.7, r * 0.7, 20), "brass", 0.15)
    if p.rng.random() < 0.5:
        for i in range(1, 9):
            for s in (-1, 1):
                p.plate(box(s * (r + i * 0.85) - 0.35, -0.9, s * (r + i * 0.85) + 0.35, 0.9), "steel", p.u(0.15, 0.3))
    else:
        p.plate(box(-r - 7, -0.9, r + 8, 0.9, 0.6), "leather", 0.3)


def _chain(p: Pen) -> None:
    for i, (x, y) in enumerate(wander(p.rng, p.u(5, 30), 0.5, 0.45)):
        p.plate(ellipse(x, y, 0.28, 0.2, 8), p.rng.choice(["steel", "brass"]) if i == 0 else "brass", 0.15)


def _clippers(p: Pen) -> None:
    """Nail clippers, tweezers, a file."""
    if p.rng.random() < 0.5:
        for s in (-0.35, 0.35):
            p.plate([(-3, s - 0.25), (3, s - 0.35), (3.3, 0), (3, s + 0.35), (-3, s + 0.25)], "steel", 0.2)
        p.plate(ellipse(2, 0, 0.35, 0.35, 10), "steel", 0.8)
    else:
        p.plate([(-4.5, -0.35), (4.5, -0.12), (4.5, 0.12), (-4.5, 0.35)], "steel", p.u(0.1, 0.3))


def _hairpin(p: Pen) -> None:
    p.wire([(-2.5, 0.2), (2.4, 0.25), (2.6, 0), (2.4, -0.25), (-2.5, -0.1)], 0.16, "steel", 0.15)


def _belt(p: Pen) -> None:
    line = [
        (r * math.cos(t), r * math.sin(t)) for t, r in ((i * 0.25, 3 + i * 0.045) for i in range(p.rng.randint(40, 90)))
    ]
    p.wire(line, 0.35, "leather", 3.0)
    x, y = line[-1]
    p.wire([*box(x - 1.8, y - 2, x + 1.8, y + 2, 0.4), (x - 1.8, y - 1)], 0.4, "steel", 0.5)
    p.wire([(x, y - 2), (x, y + 2)], 0.3, "steel", 0.4)


def _underwire(p: Pen) -> None:
    for s in (-6, 6):
        p.wire(arc(s, 0, 5.5, 5.5, 0.2, math.pi - 0.2), 0.2, "steel", 0.15)


def _hanger(p: Pen) -> None:
    p.wire([(-20, 6), (0, 0), (20, 6), (-20, 6)], 0.3, "steel", 0.3)
    p.wire(arc(0, -3, 2.2, 2.5, -2.5, 1.6), 0.3, "steel", 0.3)


def _block(p: Pen) -> None:
    """A weight, a lock, a motor: too thick to see through."""
    a, b = p.u(1.5, 4.5), p.u(1.0, 3.0)
    shape = ellipse(0, 0, a, a, 20) if p.rng.random() < 0.4 else box(-a, -b, a, b, 0.3)
    p.plate(shape, p.rng.choice(["steel", "steel", "brass", "lead"]), p.u(0.6, 2.5), rim=0.2)
    if p.rng.random() < 0.4:
        p.wire(arc(0, -b, a * 0.6, a, math.pi, 2 * math.pi), 0.8, "steel", 0.8)


def _bundle(p: Pen) -> None:
    """Rods side by side: tent poles, the ribs of something folded, rulers."""
    length, n = p.u(7, 22), p.rng.randint(3, 9)
    material, cm = p.rng.choice([("steel", 0.5), ("aluminium", 1.0), ("steel", 1.0)])
    for i in range(n):
        slip = p.u(-0.6, 0.6)
        p.wire(
            [(-length + slip, i * 0.55 - n * 0.27), (length + slip, i * 0.5 - n * 0.25)], p.u(0.2, 0.45), material, cm
        )


def _shoe(p: Pen) -> None:
    length = p.u(11, 15)
    side = [(-length, 3.2), (-length * 0.3, 2.8), (length * 0.4, 4), (length, 2)]
    sole = [(-length, -3.2), (-length * 0.3, -2.6), (length * 0.4, -4.2), (length, -2.2), *reversed(side)]
    p.plate(sole, "rubber", p.u(1.0, 2.5), rim=0.4)
    p.plate(box(-length * 0.6, -0.6, length * 0.2, 0.6), "steel", p.u(0.1, 0.25))
    for i in range(p.rng.randint(0, 6)):
        p.plate(ellipse(length * 0.1 + i * 1.1, -1.6, 0.3, 0.3, 8), "brass", 0.2)
    for i in range(8):
        p.wire([(-length * 0.8 + i * length * 0.2, -2.4), (-length * 0.7 + i * length * 0.2, 2.4)], 0.4, "rubber", 0.6)


def _pan(p: Pen) -> None:
    """A metal box or bowl."""
    a, b = p.u(4, 9), p.u(3, 6)
    shape = ellipse(0, 0, a, a, 32) if p.rng.random() < 0.5 else box(-a, -b, a, b, 1.0)
    p.plate(shape, p.rng.choice(["steel", "aluminium"]), p.u(0.05, 0.3), rim=3.0)


SMALL = (_pull, _ring, _clip, _stud, _coin, _coin, _keys, _hairpin, _clippers, _chain, _pencil)
FITTINGS = (
    *(_pull, _pull, _pull, _zip, _zip, _ring, _ring, _clip, _stud, _stud, _release_buckle, _release_buckle, _pencil),
    *(_hairpin, _coin, _coin, _stud, _stud, _keys, _glasses, _watch, _chain, _clippers, _belt, _underwire),
)
BLACK = (_block, _block, _bundle, _bundle, _shoe, _shoe, _pan, _hanger)
