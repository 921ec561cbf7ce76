"""How prohibited items look to X-rays: edged, blunt and shooting things.

Every function draws one item on a canvas, lying along x. Thicknesses are centimetres.
"""

from __future__ import annotations

import math

from xray_app.simulate.shapes import Canvas, arc, ellipse, turn


def knife(c: Canvas) -> None:
    """One edge, a straight back, a handle with tang and rivets."""
    h, w = c.u(-0.2, -0.05), c.u(0.055, 0.085)
    belly = [(0.5 - 0.22 * i / 6, -w + 2 * w * math.sin(i / 6 * math.pi / 2)) for i in range(7)]
    c.poly([(h, -w), *belly, (h, w)], "steel", c.u(0.14, 0.24))
    c.poly([(h, w * 0.35), (0.3, w * 0.35), (0.26, w), (h, w)], "steel", -0.05)
    if c.rng.random() < 0.3:  # all metal, or a folding knife's heavy grip
        c.rect(-0.5, -w * 0.95, h, w * 0.85, "steel", c.u(0.35, 0.7), w * 0.5)
        c.rect(-0.44, -w * 0.4, h - 0.05, w * 0.3, "steel", -0.2)
        return
    c.rect(-0.5, -w * 0.95, h, w * 0.75, c.rng.choice(["plastic", "wood", "pet", "pvc"]), 1.8, w * 0.5)
    if c.rng.random() < 0.8:
        c.rect(-0.47, -w * 0.45, h, w * 0.3, "steel", 0.16)
        for i in range(3):
            x = -0.45 + (h + 0.42) * i / 2.3
            c.disc(x, -w * 0.1, w * 0.2, w * 0.2, "steel", 0.5)


def dagger(c: Canvas) -> None:
    """Two edges and a point, a wide guard, a grip and a pommel."""
    w, g = c.u(0.05, 0.075), c.u(-0.16, -0.08)
    c.poly([(g, -w), (0.25, -w * 0.85), (0.5, 0), (0.25, w * 0.85), (g, w)], "steel", 0.2)
    c.poly([(g, -w * 0.4), (0.25, -w * 0.3), (0.5, 0), (0.25, w * 0.3), (g, w * 0.4)], "steel", c.u(0.1, 0.2))
    s = c.u(0.13, 0.19)
    c.poly([(g - 0.04, -s), (g + 0.01, -s), (g, 0), (g + 0.01, s), (g - 0.04, s)], "steel", 0.9)
    c.tube(-0.44, g - 0.04, w * 0.7, c.rng.choice(["wood", "leather", "pet"]), 2.2)
    c.rect(-0.44, -w * 0.2, g, w * 0.2, "steel", 0.35)
    c.ball(-0.45, 0, w * 0.95, "steel", 1.1)


def blade(c: Canvas) -> None:
    """A bare cutter blade without a handle: a snap-off strip or a utility trapezium."""
    cm = c.u(0.12, 0.2)
    if c.rng.random() < 0.55:
        w = c.u(0.07, 0.1)
        c.poly(
            [(-0.5, -w), (0.5 - 2 * w, -w), (0.5, w), (-0.5, w)],
            "steel",
            cm,
            [ellipse(-0.43, 0, 0.025, 0.025)],
        )
        c.rect(-0.5, w * 0.6, 0.48, w, "steel", -cm * 0.45)
        for i in range(8):
            x = -0.36 + i * 0.1
            c.poly([(x, -w), (x + 0.02, -w), (x + 0.02 + w, w), (x + w, w)], "steel", -cm * 0.5)
    else:
        w = c.u(0.14, 0.18)
        notch = [
            [(x - 0.03, -w - 0.01), (x + 0.03, -w - 0.01), (x + 0.03, -w * 0.5), (x - 0.03, -w * 0.5)]
            for x in (-0.08, 0.08)
        ]
        c.poly([(-0.28, -w), (0.28, -w), (0.5, w), (-0.5, w)], "steel", cm, notch)
        c.poly([(-0.42, w * 0.5), (0.42, w * 0.5), (0.5, w), (-0.5, w)], "steel", -cm * 0.5)


def scissors(c: Canvas) -> None:
    """Two crossing blades with finger rings."""
    a, w = c.u(0.08, 0.38), c.u(0.03, 0.045)
    ring = c.u(0.085, 0.11)
    handle, cm = c.rng.choice([("pet", 1.3), ("pvc", 1.2), ("steel", 0.35), ("steel", 0.5)])
    bore = 0.78 if handle == "steel" else 0.68
    for s in (1, -1):
        c.poly(turn([(0, -w), (0.2, -w), (0.5, 0), (0, w)], a * s), "steel", 0.22)
        c.poly(turn([(-0.3, s * w * 1.2), (0.02, -w), (0.02, w), (-0.3, s * w * 3)], a * s), "steel", 0.25)
        x, y = turn([(-0.36, s * (0.02 + ring * 0.35))], a * s)[0]
        outer, inner = ellipse(x, y, ring * 1.3, ring), ellipse(x, y, ring * 1.3 * bore, ring * bore)
        c.poly(turn(outer, a * s, (x, y)), handle, cm,
               [turn(inner, a * s, (x, y))])  # fmt: skip
    c.disc(0, 0, 0.028, 0.028, "steel", 0.6)


def swiss_army_knife(c: Canvas) -> None:
    """A rounded grip packed with steel leaves, one or more tools folded out."""
    w = c.u(0.1, 0.13)
    left, r = -0.5, 0.18
    c.rect(left, -w, r, w, "pet", 0.9, w)
    for i in range(4):
        y = -w * 0.75 + i * w * 0.44
        c.rect(left + 0.05, y, r - 0.04, y + w * 0.2, "steel", 0.3)
    for x in (left + 0.06, r - 0.06):
        c.disc(x, 0, 0.03, 0.03, "steel", 0.9)
    a = c.u(-0.7, 0.7)
    at = (r - 0.06, 0.0)
    c.poly(
        turn([(at[0], -0.045), (at[0] + 0.26, -0.045), (at[0] + 0.37, 0.03), (at[0], 0.045)], a, at),
        "steel",
        0.18,
    )
    if c.rng.random() < 0.8:
        b = c.rng.choice([-1, 1]) * c.u(1.2, 1.9)
        start = (left + 0.07, 0.0)
        tool = [(start[0] + 0.22 * i / 12, 0.028 * math.sin(i * 1.6)) for i in range(13)]
        c.rod(turn(tool, b, start), 0.012, "steel", 0.3)
    if c.rng.random() < 0.5:
        c.poly(
            turn(
                [(-0.15, -0.03), (-0.15 + 0.28, -0.03), (-0.15 + 0.28, 0.03), (-0.15, 0.03)],
                c.u(1.2, 1.8),
                (-0.15, 0),
            ),
            "steel",
            0.16,
        )


def razor_blade(c: Canvas) -> None:
    """A thin double-edged sheet with a slot down its middle."""
    w, n = c.u(0.23, 0.28), 0.07
    outline = [(-0.5, -w + n), (-0.5 + n, -w + n), (-0.5 + n, -w), (0.5 - n, -w), (0.5 - n, -w + n),
               (0.5, -w + n), (0.5, w - n), (0.5 - n, w - n), (0.5 - n, w), (-0.5 + n, w), (-0.5 + n, w - n),
               (-0.5, w - n)]  # fmt: skip
    edge = [(0.08, -0.03), (0.17, -0.075), (0.2, -0.03), (0.4, -0.03)]
    edge = [(-x, y) for x, y in reversed(edge)] + edge
    slot = edge + [(x, -y) for x, y in reversed(edge)]
    c.poly(outline, "steel", c.u(0.07, 0.12), [slot])
    for s in (-1, 1):
        c.rect(-0.5 + n, min(s * w, s * w * 0.72), 0.5 - n, max(s * w, s * w * 0.72), "steel", -0.03)


def axe(c: Canvas) -> None:
    """A long haft with a wedge-shaped head across its end."""
    w = c.u(0.022, 0.032)
    c.turned([(-0.5, w * 1.3), (-0.4, w), (0.4, w), (0.48, w)], c.rng.choice(["wood", "wood", "pvc"]), 2.6)
    d, f = c.u(0.22, 0.3), c.u(0.1, 0.16)
    edge = [(0.36 + f * math.sin(t), d + 0.03 * math.cos(t)) for t in (1.3, 0.8, 0.3, -0.3, -0.8, -1.3)]
    c.poly([(0.42, -0.06), (0.42, 0.06), *edge, (0.3, 0.06), (0.3, -0.06)], "steel", 0.5)
    c.poly([(0.43, -0.08), (0.43, 0.1), (0.29, 0.1), (0.29, -0.08)], "steel", 1.1)


def saw(c: Canvas) -> None:
    """A long toothed blade and a closed handle."""
    w, n = c.u(0.06, 0.09), c.rng.randint(16, 24)
    teeth = []
    for i in range(n):
        x = 0.5 - 0.68 * i / n
        teeth += [(x, w), (x - 0.34 / n, w + 0.035)]
    c.poly([(-0.2, -w * 1.3), (0.5, -w * 0.2), *teeth, (-0.2, w)], "steel", c.u(0.13, 0.2))
    c.poly([(-0.5, -0.13), (-0.24, -0.12), (-0.12, -0.05), (-0.14, 0.1), (-0.42, 0.16), (-0.48, 0.12)],
           c.rng.choice(["wood", "pet"]), 2.2, [ellipse(-0.34, 0.01, 0.085, 0.06)])  # fmt: skip
    for x, y in ((-0.2, -0.03), (-0.18, 0.05)):
        c.disc(x, y, 0.016, 0.016, "steel", 0.8)


def screwdriver(c: Canvas) -> None:
    """A thick fluted grip and a thin round shank."""
    w, h = c.u(0.06, 0.085), c.u(-0.18, -0.05)
    c.turned(
        [(-0.5, w * 0.7), (-0.46, w), (h - 0.1, w), (h - 0.05, w * 0.65), (h, w * 0.8)],
        c.rng.choice(["pet", "pvc"]),
        2.6,
    )
    for y in (-0.55, 0, 0.55):
        c.rect(-0.46, y * w - w * 0.1, h - 0.1, y * w + w * 0.1, "pet", -0.5)
    c.tube(h - 0.25, 0.44, w * 0.26, "steel", 0.5)
    c.poly(
        [
            (0.42, -w * 0.25),
            (0.46, -w * 0.42),
            (0.5, -w * 0.36),
            (0.5, w * 0.36),
            (0.46, w * 0.42),
            (0.42, w * 0.25),
        ],
        "steel",
        0.28,
    )


def gun(c: Canvas) -> None:
    """A pistol, or sometimes a revolver: barrel, grip, trigger guard."""
    revolver = c.rng.random() < 0.25
    if revolver:
        c.tube(-0.1, 0.5, 0.05, "steel", 1.6, 0.018, cy=-0.2)
        c.rect(-0.1, -0.26, 0.46, -0.235, "steel", 0.6)
        c.tube(-0.13, 0.1, 0.11, "steel", 3.0, 0.03, cy=-0.15)
        for y in (-0.21, -0.15, -0.09):
            c.rect(-0.12, y - 0.018, 0.09, y + 0.018, "steel", 0.9)
        c.poly([(-0.3, -0.27), (-0.1, -0.27), (0.13, -0.04), (-0.2, -0.02)], "steel", 0.8)
    else:
        c.rect(-0.42, -0.3, 0.5, -0.15, "steel", 0.9, 0.02)
        c.tube(-0.15, 0.5, 0.035, "steel", 0.8, 0.014, cy=-0.235)
        c.rect(-0.38, -0.16, 0.42, -0.09, "steel", 0.45)
        c.rect(-0.06, -0.28, 0.06, -0.2, "steel", -0.4)
    guard = arc(0.03, -0.06, 0.11, 0.12, 0, math.pi, 12)
    c.rod(guard, 0.018, "steel", 0.6)
    c.rod([(0.03, -0.08), (0.02, 0.0), (0.045, 0.03)], 0.014, "steel", 0.6)
    grip = [(-0.4, -0.12), (-0.1, -0.12), (-0.17, 0.35), (-0.46, 0.35)]
    c.poly(grip, "pet", 2.0)
    c.poly([(-0.36, -0.12), (-0.15, -0.12), (-0.21, 0.34), (-0.42, 0.34)], "steel", 0.3)
    if not revolver:
        for i in range(6):
            y = -0.05 + i * 0.062
            c.poly(
                [
                    (-0.36 - i * 0.008, y),
                    (-0.18 - i * 0.008, y),
                    (-0.18 - i * 0.008, y + 0.04),
                    (-0.36 - i * 0.008, y + 0.04),
                ],
                "brass",
                0.3,
            )


def magazine(c: Canvas) -> None:
    """A thin steel box with a column of cartridges over a spring."""
    w, bend = c.u(0.13, 0.18), c.rng.choice([0.0, c.u(0.3, 0.7)])
    n = c.rng.randint(6, 10)

    def curve(x: float, y: float) -> tuple[float, float]:
        return (x, y + bend * (x * x - 0.12))

    steps = [-0.5 + i / 10 for i in range(11)]
    c.poly([curve(x, -w) for x in steps] + [curve(x, w) for x in reversed(steps)], "steel", 0.12)
    for s in (-1, 1):
        c.rod([curve(x, s * w) for x in steps], 0.014, "steel", 0.5)
    c.rect(-0.5, curve(-0.5, -w)[1] - 0.02, -0.46, curve(-0.5, w)[1] + 0.02, "steel", 0.7)
    for i in range(n):
        x = 0.46 - i * 0.075
        y = curve(x, 0)[1]
        c.rod([(x, y - w * 0.85), (x, y + w * 0.35)], 0.03, "brass", 0.5)
        c.rod([(x, y + w * 0.3), (x, y + w * 0.8)], 0.02, "copper", 1.0)
    left = 0.44 - n * 0.075
    zigzag = [(left - (left + 0.44) * i / 9, curve(0, w * 0.7 * (-1) ** i)[1]) for i in range(10)]
    c.rod([(x, curve(x, y - curve(0, 0)[1])[1]) for x, y in zigzag], 0.012, "steel", 0.4)


def bullet(c: Canvas) -> None:
    """A cartridge: brass case with a rim, a dense pointed tip."""
    w = c.u(0.13, 0.19)
    c.turned([(-0.44, w), (0.05, w), (0.12, w * 0.8), (0.16, w * 0.8)], "brass", 0.9, w * 0.3)
    c.tube(-0.4, 0.1, w * 0.7, "powder", 0.6)
    c.tube(-0.5, -0.42, w * 1.12, "brass", 0.9)
    tip = [(0.0, w * 0.75), (0.2, w * 0.78), (0.32, w * 0.62), (0.44, w * 0.3), (0.5, 0.02)]
    c.turned(tip, "copper", 0.9)
    c.turned([(x - 0.02, r * 0.8) for x, r in tip], "lead", 0.3)


def hammer(c: Canvas) -> None:
    """A haft with a block head across its end: a round face one side, a claw the other."""
    w = c.u(0.025, 0.035)
    c.turned(
        [(-0.5, w * 1.2), (-0.25, w * 1.3), (0.0, w * 0.8), (0.4, w * 0.8)],
        c.rng.choice(["wood", "rubber"]),
        2.8,
    )
    if c.rng.random() < 0.4:
        c.tube(-0.45, 0.4, w * 0.5, "steel", 0.8)
    c.rect(0.36, -0.1, 0.47, 0.09, "steel", 2.2)
    c.rect(0.34, -0.22, 0.49, -0.13, "steel", 2.6)
    c.rect(0.38, -0.14, 0.45, -0.09, "steel", 1.8)
    c.poly([(0.36, 0.08), (0.47, 0.08), (0.44, 0.19), (0.34, 0.27), (0.38, 0.17)], "steel", 1.0)


def wrench(c: Canvas) -> None:
    """A spanner: a bar with an open jaw at one end and a ring (or jaw) at the other."""
    w = c.u(0.028, 0.04)
    cm = c.u(0.35, 0.6)
    c.rect(-0.38, -w, 0.34, w, "steel", cm)
    c.rect(-0.3, -w * 0.4, 0.26, w * 0.4, "steel", -cm * 0.4)
    r, a = c.u(0.1, 0.12), c.u(-0.35, 0.35)
    jaw = turn(
        [*arc(0.4, 0, r, r, 0.55, 2 * math.pi - 0.55, 18), (0.4, -r * 0.45), (0.4, r * 0.45)],
        a,
        (0.4, 0),
    )
    c.poly(jaw, "steel", cm * 1.2)
    if c.rng.random() < 0.6:
        c.disc(-0.41, 0, r * 0.85, r * 0.85, "steel", cm * 1.3, 0.58)
    else:
        bow = arc(-0.4, 0, r * 0.9, r * 0.9, math.pi + 0.6, 3 * math.pi - 0.6, 18)
        jaw = turn([*bow, (-0.4, r * 0.4), (-0.4, -r * 0.4)], a, (-0.4, 0))
        c.poly(jaw, "steel", cm * 1.2)


def pliers(c: Canvas) -> None:
    """Two long sleeved handles, a pivot, short jaws."""
    a, w = c.u(0.08, 0.22), c.u(0.03, 0.04)
    for s in (1, -1):
        bow = [
            (-0.5, s * (0.05 + a * 0.45)),
            (-0.3, s * (0.09 + a * 0.4)),
            (-0.05, s * 0.06),
            (0.18, -s * 0.02),
        ]
        c.rod(bow, w * 0.65, "steel", 0.8)
        c.rod(bow[:3], w * 1.25, "pvc", 1.6)
        jaw = [
            (0.12, 0),
            (0.15, -s * 0.09),
            (0.3, -s * 0.08),
            (0.5, -s * 0.02 - s * a * 0.12),
            (0.5, -s * a * 0.1),
            (0.3, -s * 0.01 - s * a * 0.04),
        ]
        c.poly(jaw, "steel", 0.7)
    c.disc(0.17, 0, 0.07, 0.075, "steel", 1.0)
    c.disc(0.17, 0, 0.03, 0.03, "steel", 0.8)


def baton(c: Canvas) -> None:
    """Telescopic steel tubes, each thinner than the last, and a ribbed grip."""
    w = c.u(0.04, 0.052)
    c.tube(-0.5, -0.1, w, "steel", 2.0, w * 0.18)
    c.tube(-0.12, 0.2, w * 0.72, "steel", 1.6, w * 0.16)
    c.tube(0.18, 0.48, w * 0.48, "steel", 1.2, w * 0.14)
    c.ball(0.47, 0, w * 0.7, "steel", 1.4)
    c.tube(-0.5, -0.12, w * 1.35, "rubber", 2.6, w * 0.4)
    for i in range(9):
        c.rect(-0.48 + i * 0.04, -w * 1.35, -0.465 + i * 0.04, w * 1.35, "rubber", 0.6)
    c.rect(-0.51, -w * 1.4, -0.48, w * 1.4, "steel", 0.9)


def knuckleduster(c: Canvas) -> None:
    """Four finger holes in a row over a palm bar."""
    material, cm = c.rng.choice([("steel", 0.5), ("brass", 0.5), ("aluminium", 1.6)])
    r = 0.135
    for i in range(4):
        x = -0.375 + i * 0.25
        c.disc(x, -0.08 - 0.04 * math.sin((i + 0.5) / 4 * math.pi), r, r * 1.1, material, cm, 0.68)
    c.poly(
        [
            (-0.36, 0.02),
            (-0.26, 0.02),
            (-0.14, 0.22),
            (0.14, 0.22),
            (0.26, 0.02),
            (0.36, 0.02),
            (0.3, 0.3),
            (-0.3, 0.3),
        ],
        material,
        cm,
    )


def handcuffs(c: Canvas) -> None:
    """Two steel loops with locks, joined by a short chain."""
    r = c.u(0.17, 0.19)
    apart = c.rng.choice([0.3, 0.3, 0.2])  # sometimes folded on each other
    for s in (-1, 1):
        t = c.u(-0.7, 0.7)
        x, y = s * apart, c.u(-0.1, 0.1) + s * (0.3 - apart)
        c.disc(x, y, r, r * c.u(0.85, 1), "steel", 0.35, 0.8)
        lock = turn(
            [
                (x - s * r * 0.3, y - r * 0.5),
                (x - s * r * 0.3, y + r * 0.5),
                (x - s * r * 1.25, y + r * 0.35),
                (x - s * r * 1.25, y - r * 0.35),
            ],
            t * 0.4,
            (x, y),
        )
        c.poly(lock, "steel", 0.9)
        c.rod(
            turn(arc(x, y, r * 0.9, r * 0.9, -1.2 if s > 0 else 1.9, 1.2 if s > 0 else 4.3), t * 0.4, (x, y)),
            0.03,
            "steel",
            0.5,
        )
    for i in range(4):
        c.disc(-0.06 + i * 0.04, 0.012 * (-1) ** i, 0.03, 0.02, "steel", 0.5, 0.45)


def slingshot(c: Canvas) -> None:
    """A Y-shaped fork, two rubber bands, a pouch."""
    w = c.u(0.026, 0.036)
    s = c.u(0.15, 0.2)
    material, cm = c.rng.choice([("steel", 0.7), ("steel", 0.6), ("aluminium", 1.8)])
    c.rod([(-0.5, 0), (-0.2, 0)], w * 1.5, "wood", 2.2)
    c.rod([(-0.48, 0), (-0.16, 0)], w, material, cm)
    for k in (-1, 1):
        bow = c.u(0.9, 1.35)
        c.rod(
            [(-0.17, 0), (-0.1, k * s * 0.7), (0.0, k * s * bow), (0.06, k * s * bow), (0.12, k * s)],
            w,
            material,
            cm,
        )
        if c.rng.random() < 0.6:
            c.disc(0.15, k * s, 0.06, 0.05, material, cm, 0.5)
        c.rod([(0.11, k * s), (0.28, k * s * 0.9), (0.45, k * c.u(0.03, 0.06))], w * 0.55, "rubber", 0.9)
    c.rect(0.42, -0.06, 0.5, 0.06, "leather", 0.9, 0.02)
