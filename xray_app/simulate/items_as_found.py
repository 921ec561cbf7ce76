"""Items as they are found in bags: folded, closed, bundled, lying on their side.

The other drawings show an item as one would draw it, these as a scanner most often meets it. Every function draws one
item on a canvas, lying along x. Thicknesses are centimetres.
"""

from __future__ import annotations

import math

from xray_app.simulate.shapes import Canvas, arc, box, ellipse, turn


def folded_knife(c: Canvas) -> None:
    """A folding knife, closed or half open: liners, blade between them, pivot, clip."""
    w, bow = c.u(0.085, 0.14), c.u(-0.08, 0.12)
    steps = [-0.5 + i / 12 for i in range(13)]

    def curve(x: float, y: float) -> tuple[float, float]:
        return (x, y * (1 - 0.35 * max(0.0, abs(x) * 2 - 0.5)) + bow * (x * x - 0.1))

    body = [curve(x, -w) for x in steps] + [curve(x, w) for x in reversed(steps)]
    if c.rng.random() < 0.5:
        c.poly(body, "steel", c.u(0.4, 1.1))
    else:
        c.poly(body, c.rng.choice(["pet", "pvc", "wood", "aluminium"]), 1.0)
        c.poly([(x * 0.94, y * 0.8) for x, y in body], "steel", c.u(0.2, 0.5))
    closed = [(-0.44, -w * 0.2), (0.3, -w * 0.9), (0.42, -w * 0.3), (0.42, w * 0.3), (-0.3, w * 0.3)]
    if c.rng.random() < 0.75:
        c.poly([curve(x, y) for x, y in closed], "steel", c.u(0.15, 0.35))
    else:
        about, a = curve(0.42, 0.0), c.u(0.5, 2.6)
        c.poly(turn([(0.42, -w * 0.6), (1.0, -w * 0.3), (1.08, 0), (0.42, w * 0.6)], a, about), "steel", c.u(0.15, 0.3))
    for x in (0.42, c.u(-0.1, 0.1), -0.42):
        px, py = curve(x, 0)
        c.disc(px, py, w * 0.28, w * 0.28, "steel", c.u(0.3, 0.9), c.rng.choice([0.0, 0.5]))
    if c.rng.random() < 0.5:
        c.rod([curve(-0.4, w * 0.9), curve(0.05, w * 1.15)], 0.016, "steel", 0.25)
    for i in range(c.rng.choice([0, 0, 5])):  # lightening holes
        px, py = curve(-0.32 + i * 0.13, 0)
        c.disc(px, py, w * 0.25, w * 0.25, "steel", -0.2)


def table_knife(c: Canvas) -> None:
    """A kitchen or table knife, all of one thin piece of steel, or with a plastic handle that hardly shows."""
    w, h = c.u(0.03, 0.07), c.u(-0.12, 0.02)
    point = c.u(-0.8, 1.0)
    c.poly([(h, -w), (0.36, -w), (0.5, w * point), (0.36, w), (h, w)], "steel", c.u(0.08, 0.2))
    if c.rng.random() < 0.5:
        c.poly([(-0.5, -w * 1.1), (h, -w * 0.6), (h, w * 0.6), (-0.5, w * 1.1)], "steel", c.u(0.2, 0.5))
    else:
        c.rect(-0.5, -w * 1.1, h, w * 0.9, c.rng.choice(["plastic", "pet", "wood"]), 1.3, w)
        c.rect(-0.25, -w * 0.5, h, w * 0.5, "steel", c.u(0.08, 0.2))


def slim_lighter(c: Canvas) -> None:
    """A disposable lighter: of the tank little shows; hood, wheel, spring and valve are a dark head on it."""
    w = c.u(0.1, 0.15)
    c.rect(-0.5, -w, 0.3, w, "pet", c.u(0.5, 1.0), 0.06)
    c.frame(-0.5, -w, 0.3, w, 0.03, "pet", 0.6, 0.06)
    c.rect(-0.45, -w * 0.75, c.u(-0.2, 0.2), w * 0.75, "plastic", c.u(0.5, 0.9))
    c.rod([(-0.4, c.u(-0.3, 0.3) * w), (0.25, 0)], 0.012, "pet", 0.3)
    c.rect(0.26, -w, 0.5, w * c.u(0.4, 0.9), "steel", c.u(0.06, 0.2), 0.02)
    c.rect(0.3, -w * 0.3, 0.42, w * 0.25, "brass", c.u(0.3, 0.9))
    c.disc(0.4, w * 0.62, 0.06, 0.06, "steel", 0.9, 0.2)
    x = c.u(0.02, 0.14)
    for k in range(c.rng.randint(1, 2)):  # the igniter: a spring and its hammer
        c.rod([(x - 0.02 - k * 0.16, w * 0.45), (x + 0.12 - k * 0.16, w * 0.45)], 0.03, "steel", c.u(0.3, 0.8))
    if c.rng.random() < 0.4:
        c.frame(0.28, -w * 0.9, 0.5, w * 0.5, 0.03, "steel", 0.3)


def flat_tin(c: Canvas) -> None:
    """A flat tin of fluid or a flask seen from its wide side, full or not: one even slab with sloped shoulders."""
    w = c.u(0.24, 0.34)
    body = [(-0.5, -w), (0.3, -w), (0.4, -w * 0.6), (0.4, w * 0.6), (0.3, w), (-0.5, w)]
    c.poly(body, "steel", c.u(0.04, 0.12))
    c.poly(body, "plastic", c.u(0.8, 3.0))
    for outer, inner in ((1.0, 0.95),):
        c.poly([(x * outer, y * outer) for x, y in body], "steel", 0.25, [[(x * inner, y * inner) for x, y in body]])
    c.rect(0.4, -w * 0.25, 0.5, w * 0.25, c.rng.choice(["plastic", "steel", "plastic"]), c.u(0.5, 1.5))


def folded_cuffs(c: Canvas) -> None:
    """Handcuffs laid on each other, or seen from their side: two loops over one place, the locks thick."""
    r, apart = c.u(0.2, 0.27), c.u(0.02, 0.2)
    flat = c.rng.choice([1.0, 1.0, c.u(0.25, 0.6)])
    for s in (-1, 1):
        x, y, a = s * apart, c.u(-0.06, 0.06), c.u(-1.2, 1.2)
        ring = [turn([(x + px, y + py * flat)], a, (x, y))[0] for px, py in ellipse(0, 0, r, r * 0.9)]
        hole = [turn([(x + px, y + py * flat)], a, (x, y))[0] for px, py in ellipse(0, 0, r * 0.78, r * 0.68)]
        c.poly(ring, "steel", c.u(0.5, 1.0), [hole])
        lock = box(x - r * 1.15, y - r * 0.45 * flat, x - r * 0.35, y + r * 0.45 * flat, 0.03)
        c.poly(turn(lock, a, (x, y)), "steel", c.u(0.9, 1.8))
    for i in range(c.rng.randint(2, 4)):
        c.disc(-0.1 + i * 0.07, c.u(-0.05, 0.05), 0.04, 0.025, "steel", 0.7, 0.45)
    if c.rng.random() < 0.4:
        c.rod([(0.1, 0.1), (0.32, 0.2)], 0.02, "brass", 0.3)


def wire_slingshot(c: Canvas) -> None:
    """A slingshot of one bent rod: a looped grip, a fork, the bands let go."""
    w, s, g = c.u(0.018, 0.032), c.u(0.16, 0.26), c.u(0.05, 0.1)
    cm = c.u(0.7, 1.3)
    half = [(-0.42, g * 0.9), (-0.15, g), (-0.05, g * 0.7), (0.05, s * 0.8), (0.2, s), (0.36, s * 0.9)]
    c.rod([(x, -y) for x, y in half], w, "steel", cm)
    c.rod(half, w, "steel", cm)
    c.rod(arc(-0.42, 0, 0.08, g * 0.9, math.pi / 2, 3 * math.pi / 2, 10), w, "steel", cm)
    for k in (-1, 1):
        c.disc(0.4, k * s * 0.9, 0.06, 0.055, "steel", cm, 0.45)
    if c.rng.random() < 0.5:
        c.rect(-0.45, -g * 0.7, -0.18, g * 0.7, c.rng.choice(["pvc", "wood", "rubber"]), 1.5, 0.03)
    if c.rng.random() < 0.6:
        end = (c.u(-0.3, 0.5), c.u(-0.3, 0.3))
        for k in (-1, 1):
            c.rod([(0.4, k * s), (0.3 + c.u(-0.1, 0.2), k * s * 0.3), end], 0.014, "rubber", 0.7)


def cracker_mat(c: Canvas) -> None:
    """Many crackers in a row or a block: seen from the side little tubes, from the end dots."""
    rows, columns = c.rng.choice([(2, c.rng.randint(8, 16)), (c.rng.randint(4, 7), c.rng.randint(6, 11))])
    step = 0.94 / columns
    h = step * rows * c.u(0.9, 1.6)
    material, cm = c.rng.choice(["pyrotechnic", "powder", "paper"]), c.u(0.7, 2.6)
    lean, dots = c.u(-0.3, 0.3), c.rng.random() < 0.45
    for i in range(columns):
        for j in range(rows):
            x = -0.46 + step * (i + 0.5) + c.u(-0.1, 0.1) * step + (0.5 * step if j % 2 else 0)
            y = -h / 2 + h * (j + 0.5) / rows + c.u(-0.1, 0.1) * step
            if dots:
                c.disc(x, y, step * 0.42, step * 0.42, material, cm * 1.2, c.rng.choice([0.0, 0.45]))
            else:
                d = h / rows * 0.4
                c.rod([(x - d * lean, y - d), (x + d * lean, y + d)], step * 0.3, material, cm)
    c.rect(-0.5, -h / 2, 0.5, h / 2, "paper", c.u(0.1, 0.5), 0.02)


def squat_polish(c: Canvas) -> None:
    """Nail polish, full: an even dense bottle with a thin cap of plastic that hardly shows."""
    w = c.u(0.2, 0.3)
    shape = c.rng.choice([box(-0.5, -w, 0.02, w, 0.06), ellipse(-0.24, 0, 0.26, w)])
    c.poly(shape, "glass", c.u(0.5, 1.2))
    c.poly([(x * 0.9 - 0.02, y * 0.85) for x, y in shape], "pet", 1.4)
    c.rect(0.0, -w * 0.35, 0.06, w * 0.35, "glass", 0.6)
    cap = c.u(0.3, 0.5)
    c.poly([(0.04, -w * cap), (0.5, -w * cap * 0.8), (0.5, w * cap * 0.8), (0.04, w * cap)], "plastic", 1.2)
    c.rod([(0.1, 0), (-0.36, 0)], 0.02, "plastic", 0.5)


def small_scissors(c: Canvas) -> None:
    """Nail or paper scissors, closed or nearly: slim blades, thin rings of wire or large ones of plastic."""
    a, w = c.u(0.02, 0.2), c.u(0.018, 0.032)
    ring, pivot = c.u(0.08, 0.13), c.u(-0.12, 0.06)
    metal = c.rng.random() < 0.5
    cm = c.u(0.2, 0.45)
    for s in (1, -1):
        c.poly(turn([(pivot - 0.05, -w), (0.3, -w * 0.8), (0.5, 0), (pivot, w)], a * s * 0.6, (pivot, 0)), "steel", cm)
        x, y = -0.38, s * (ring * 0.75 + a * 0.2)
        c.poly([(pivot, -w), (pivot, w), (x + ring, y + w), (x + ring, y - w)], "steel", cm * 0.9)
        rx = ring * c.u(1.0, 1.5)
        c.disc(x, y, rx, ring, "steel" if metal else "plastic", cm if metal else c.u(0.5, 1.0), 0.74)
    c.disc(pivot, 0, 0.022, 0.022, "steel", 0.5)


def slab_power_bank(c: Canvas) -> None:
    """A flat power bank: one or two pouches that fill the case, sometimes a coil for charging without a cable."""
    w = c.u(0.24, 0.36)
    case = c.rng.choice(["pet", "aluminium", "pet"])
    c.rect(-0.5, -w, 0.5, w, case, c.u(0.4, 0.9), 0.05)
    c.frame(-0.5, -w, 0.5, w, 0.02, case, 1.0, 0.05)
    n = c.rng.randint(1, 2)
    for i in range(n):
        y = -w * 0.92 + i * 1.84 * w / n
        c.rect(-0.46, y, 0.3, y + 1.84 * w / n - 0.015, "lithium", c.u(0.6, 1.4), 0.01)
    c.rect(0.33, -w * 0.85, 0.45, w * 0.85, "board", 0.12)
    for _ in range(c.rng.randint(4, 8)):
        x, y = c.u(0.33, 0.42), c.u(-0.8, 0.7) * w
        c.rect(x, y, x + c.u(0.02, 0.05), y + c.u(0.03, 0.1), c.rng.choice(["copper", "steel"]), c.u(0.1, 0.3))
    for y in (-0.5 * w, 0.35 * w):
        c.frame(0.4, y - 0.06, 0.5, y + 0.06, 0.016, "steel", 0.3)
    if c.rng.random() < 0.25:
        for r in (0.2, 0.16, 0.12):
            c.disc(-0.08, 0, r, r, "copper", 0.08, 0.9)
