"""How everyday items look to X-rays: drinks, tins, cups, nail polish, umbrellas.

Every function draws one item on a canvas, lying along x. Thicknesses are centimetres.
"""

from __future__ import annotations

import math

from xray_app.simulate.shapes import Canvas, arc


def nail_polish(c: Canvas) -> None:
    """A squat glass bottle with a long tapered cap, a brush and mixing balls."""
    w = c.u(0.19, 0.25)
    if c.rng.random() < 0.5:
        c.turned([(-0.5, w * 0.95), (-0.05, w), (0.02, w * 0.5), (0.06, w * 0.4)], "glass", 2.4, w * 0.25)
        c.tube(-0.42, c.u(-0.15, -0.05), w * 0.75, "pet", 1.5)
    else:
        c.rect(-0.5, -w, 0.0, w, "glass", 0.5, 0.03)
        c.frame(-0.5, -w, 0.0, w, w * 0.25, "glass", 1.5, 0.03)
        c.rect(-0.42, -w * 0.75, c.u(-0.15, -0.05), w * 0.75, "pet", 1.3)
    c.turned([(0.02, w * 0.62), (0.45, w * 0.46), (0.5, w * 0.36)], "pet", 1.5)
    c.rod([(0.1, 0), (-0.28, 0)], 0.022, "pet", 0.7)
    c.rod([(-0.28, 0), (-0.42, 0)], 0.032, "pet", 0.8)
    for _ in range(2):
        c.ball(c.u(-0.44, -0.3), c.u(-0.5, 0.5) * w, 0.042, "steel", 0.5)


def plastic_bottle(c: Canvas) -> None:
    """Thin walled with a waist and ribs; water to some level, a ribbed cap."""
    w, waist = c.u(0.13, 0.17), c.u(0.82, 1.0)
    outline = [
        (-0.5, w * 0.85),
        (-0.47, w),
        (-0.2, w),
        (-0.08, w * waist),
        (0.05, w),
        (0.14, w),
        (0.25, w * 0.75),
        (0.34, w * 0.36),
        (0.44, w * 0.34),
    ]
    c.turned(outline, "pet", 3.0, w * 0.06)
    level = c.u(-0.15, 0.4) if c.rng.random() < 0.85 else -0.45
    inner = [(x, r * 0.93) for x, r in outline if x < level]
    if len(inner) > 1:
        c.turned([*inner, (level, inner[-1][1])], "water", c.u(3.8, 5.5))
    for i in range(c.rng.randint(2, 5)):
        x = -0.38 + i * 0.09
        c.rect(x, -w, x + 0.012, w, "pet", 0.5)
    c.tube(0.42, 0.5, w * 0.43, "plastic", 2.2)
    c.rect(0.415, -w * 0.5, 0.43, w * 0.5, "plastic", 0.8)


def glass_bottle(c: Canvas) -> None:
    """Thick walls and base, a long narrow neck, a metal or cork stopper."""
    w = c.u(0.11, 0.14)
    neck = w * c.u(0.3, 0.36)
    s = c.u(-0.02, 0.12)
    outline = [
        (-0.5, w * 0.95),
        (-0.48, w),
        (s, w),
        (s + 0.07, w * 0.8),
        (s + 0.15, neck * 1.15),
        (0.46, neck),
    ]
    c.turned(outline, "glass", 4.5, w * 0.17)
    level = c.u(0.0, 0.3)
    c.turned(
        [
            (-0.44, w * 0.8),
            (s, w * 0.8),
            (s + 0.07, w * 0.6),
            (s + 0.15, neck * 0.7),
            (max(level, s + 0.16), neck * 0.7),
        ],
        "water",
        c.u(3.2, 4.5),
    )
    c.tube(-0.5, -0.44, w, "glass", 3.0)
    c.poly([(-0.5, -w * 0.5), (-0.4, 0), (-0.5, w * 0.5)], "glass", -0.8)
    c.tube(0.42, 0.46, neck * 1.35, "glass", 1.6, neck * 0.4)
    if c.rng.random() < 0.6:
        c.tube(0.46, 0.5, neck * 1.4, "steel", 0.4)
    else:
        c.tube(0.36, 0.5, neck * 0.8, "wood", 1.4)


def can(c: Canvas) -> None:
    """A drink can: thin aluminium, narrowed ends, liquid, a ring pull."""
    w = c.u(0.24, 0.29)
    c.turned(
        [(-0.5, w * 0.78), (-0.44, w), (0.36, w), (0.46, w * 0.8), (0.5, w * 0.8)],
        "aluminium",
        6.0,
        w * 0.035,
    )
    level = c.u(0.2, 0.4)
    c.turned(
        [(-0.46, w * 0.85), (-0.42, w * 0.96), (0.35, w * 0.96), (max(level, 0.36), w * 0.92)],
        "water",
        c.u(4.5, 6.0),
    )
    c.rect(0.46, -w * 0.82, 0.5, w * 0.82, "aluminium", 0.9)
    c.rod(arc(-0.5, 0, 0.08, w * 0.7, -math.pi / 2, math.pi / 2), 0.014, "aluminium", 1.0)
    c.rod([(0.45, -w * 0.3), (0.45, w * 0.25)], 0.02, "aluminium", 0.8)


def carton_drink(c: Canvas) -> None:
    """A brick of liquid with a folded top and a straw or a screw cap."""
    w = c.u(0.2, 0.27)
    top = c.u(0.28, 0.36)
    c.rect(-0.5, -w, top, w, "paper", 0.3)
    c.rect(-0.5, -w, top, w, "aluminium", 0.06)
    c.frame(-0.5, -w, top, w, 0.018, "paper", 1.4)
    c.rect(-0.48, -w * 0.95, c.u(0.1, top - 0.02), w * 0.95, "water", c.u(3.8, 5.2))
    c.poly(
        [(top, -w), (0.45, -w * 0.25), (0.5, -w * 0.25), (0.5, w * 0.25), (0.45, w * 0.25), (top, w)],
        "paper",
        0.7,
    )
    c.rect(0.44, -w * 0.9, 0.5, w * 0.9, "paper", 1.5)
    for s in (-1, 1):
        c.rod([(top, s * w), (0.44, s * w * 0.2)], 0.01, "paper", 1.4)
    if c.rng.random() < 0.6:
        c.rod([(-0.42, -w * 0.55), (0.25, w * 0.45)], 0.02, "plastic", 1.4)
    else:
        c.tube(top + 0.02, top + 0.12, w * 0.32, "plastic", 2.2, cy=w * 0.35)


def tin(c: Canvas) -> None:
    """A food tin: short, wide steel with ribs and rolled rims, from the side or from above."""
    if c.rng.random() < 0.6:
        w, length = c.u(0.33, 0.4), 0.5
        c.tube(-length, length, w, "steel", 6.0, w * 0.022)
        c.rect(-length, -w, length, w, "steel", 0.04)
        c.tube(-length + 0.04, length - 0.05, w * 0.95, c.rng.choice(["water", "powder"]), c.u(3.0, 4.5))
        for i in range(c.rng.randint(3, 6)):
            c.rect(-0.28 + i * 0.11, -w, -0.255 + i * 0.11, w, "steel", 0.12)
        for x in (-length, length - 0.045):
            c.rect(x, -w * 1.05, x + 0.045, w * 1.05, "steel", 0.35)
    else:
        c.disc(0, 0, 0.5, 0.5, "steel", 0.08)
        c.disc(0, 0, 0.46, 0.46, "water", c.u(3.0, 4.5))
        for r, hole in ((0.5, 0.92), (0.42, 0.95), (0.34, 0.95)):
            c.disc(0, 0, r, r, "steel", 0.45 if r == 0.5 else 0.15, hole)
        if c.rng.random() < 0.6:
            c.disc(0.25, 0, 0.09, 0.065, "steel", 0.3, 0.6)


def vacuum_cup(c: Canvas) -> None:
    """Two steel walls with a gap between them, a domed base, a threaded stopper and a cap."""
    w = c.u(0.13, 0.165)
    c.turned([(-0.5, w * 0.95), (-0.48, w), (0.18, w), (0.25, w * 0.82), (0.3, w * 0.75)], "steel", 4.0, w * 0.035)
    c.turned(
        [(-0.44, w * 0.3), (-0.4, w * 0.6), (-0.36, w * 0.74), (0.2, w * 0.74), (0.3, w * 0.62)],
        "steel",
        3.4,
        w * 0.035,
    )
    if c.rng.random() < 0.7:
        c.turned([(-0.38, w * 0.5), (-0.34, w * 0.65), (c.u(-0.1, 0.15), w * 0.65)], "water", 3.5)
    c.rect(-0.5, -w, -0.46, w, "steel", 0.25)
    c.tube(0.18, 0.36, w * 0.55, "plastic", 3.0)
    for i in range(3):
        c.rect(0.24 + i * 0.03, -w * 0.75, 0.25 + i * 0.03, w * 0.75, "plastic", 1.2)
    if c.rng.random() < 0.6:
        c.turned([(0.28, w * 0.95), (0.46, w * 0.85), (0.5, w * 0.7)], "steel", 3.2, w * 0.08)
    else:
        c.turned([(0.28, w * 0.95), (0.46, w * 0.85), (0.5, w * 0.7)], "plastic", 4.0, w * 0.25)


def umbrella(c: Canvas) -> None:
    """A bundle of thin ribs about a shaft inside rolled cloth; a crook or a straight grip."""
    w = c.u(0.045, 0.06)
    c.turned([(-0.28, w * 1.2), (-0.2, w * 1.5), (0.3, w), (0.46, w * 0.4)], "fabric", 3.5)
    c.tube(-0.4, 0.5, 0.011, "steel", 0.6)
    for i in range(7):
        y = (i - 3) / 3 * w
        c.rod([(-0.26, y * 1.35), (0.0, y * 1.15), (0.42, y * 0.35)], 0.0065, "steel", 0.28)
    for i in range(3):
        x = -0.2 + i * 0.1
        c.rod([(x, -w * 0.8), (x + 0.02, w * 0.8)], 0.007, "steel", 0.2)
    c.tube(-0.28, -0.24, w * 0.7, "steel", 0.6)
    c.tube(0.4, 0.45, w * 0.5, "steel", 0.5)
    if c.rng.random() < 0.5:
        c.rod(
            [(-0.3, 0), *arc(-0.41, 0.085, 0.09, 0.085, -math.pi / 2, -math.pi * 1.45, 10)],
            0.024,
            "wood",
            2.0,
        )
    else:
        c.turned([(-0.5, w), (-0.47, w * 1.1), (-0.3, w * 0.8)], "pet", 2.4)
