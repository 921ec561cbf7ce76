"""How dangerous goods and electronics look to X-rays: explosives, gas, fuel, batteries, computers.

Every function draws one item on a canvas, lying along x. Thicknesses are centimetres.
"""

from __future__ import annotations

import math

from xray_app.simulate.shapes import Canvas, arc, box, ellipse


def board(c: Canvas, x0: float, y0: float, x1: float, y1: float, chips: int) -> None:
    """A printed circuit board with parts and tracks on it."""
    c.rect(x0, y0, x1, y1, "board", 0.2)
    w, h = x1 - x0, y1 - y0
    for _ in range(chips):
        x, y = c.u(x0, x1 - w * 0.15), c.u(y0, y1 - h * 0.15)
        a, b = c.u(0.05, 0.15) * max(w, h), c.u(0.04, 0.12) * max(w, h)
        c.rect(
            x,
            y,
            min(x + a, x1),
            min(y + b, y1),
            c.rng.choice(["steel", "copper", "board", "copper"]),
            c.u(0.03, 0.12),
        )


def stun_gun(c: Canvas) -> None:
    """A plastic grip with two prongs, a coil, a battery and a circuit inside."""
    w = c.u(0.14, 0.17)
    c.poly(
        [
            (-0.5, -w * 0.8),
            (-0.42, -w),
            (0.3, -w),
            (0.38, -w * 1.15),
            (0.38, w * 1.15),
            (0.3, w),
            (-0.42, w),
            (-0.5, w * 0.8),
        ],
        "pet",
        2.2,
    )
    for s in (-1, 1):
        c.rod([(0.3, s * w * 0.85), (0.46, s * w * 0.85), (0.5, s * w * 0.55)], 0.022, "steel", 0.7)
        c.rod([(0.34, s * w * 0.25), (0.44, s * w * 0.25)], 0.018, "steel", 0.6)
    c.tube(0.05, 0.27, w * 0.7, "copper", 1.0)
    for i in range(6):
        c.rect(0.06 + i * 0.035, -w * 0.7, 0.075 + i * 0.035, w * 0.7, "copper", 0.5)
    board(c, -0.12, -w * 0.8, 0.03, w * 0.8, 5)
    c.rect(-0.44, -w * 0.65, -0.16, w * 0.65, "lithium", 0.8)
    c.frame(-0.44, -w * 0.65, -0.16, w * 0.65, 0.015, "steel", 0.25)


def explosive(c: Canvas) -> None:
    """A block of dense organic matter, or taped sticks; wired to a timer as often as not."""
    if c.rng.random() < 0.5:
        w = c.u(0.2, 0.3)
        c.rect(-0.5, -w, 0.5, w, "powder", c.u(4.5, 6.5), 0.04)
        c.frame(-0.5, -w, 0.5, w, 0.02, "paper", 1.5, 0.04)
        for x in (-0.2, 0.2):
            c.rect(x - 0.03, -w, x + 0.03, w, "pvc", 0.5)
    else:
        n, w = c.rng.choice([3, 3, 4]), 0.085
        for i in range(n):
            y = (i - (n - 1) / 2) * 2 * w
            c.tube(-0.5, 0.5, w, "powder", c.u(4.5, 5.5), cy=y)
            c.rod([(0.5, y), (0.36, y)], 0.012, "copper", 0.2)
        w = n * w
        for x in (-0.27, 0.27):
            c.rect(x - 0.04, -w, x + 0.04, w, "pvc", 0.6)
    board(c, -0.13, -w * 0.5, 0.13, w * 0.5, 5)
    c.rod(
        [(0.13, 0), (0.3, w * 0.7), (0.45, w * 0.2), (0.5, -w * 0.4), (0.3, -w * 0.8), (0.1, -w * 0.4)],
        0.01,
        "copper",
        0.25,
    )


def detonator(c: Canvas) -> None:
    """A slim metal tube, filled, with two long curled wires."""
    w = c.u(0.028, 0.038)
    c.tube(-0.5, -0.05, w, "aluminium", 0.9, w * 0.35)
    c.tube(-0.48, -0.22, w * 0.75, "copper", 0.12)
    c.tube(-0.48, -0.22, w * 0.75, "powder", 1.2)
    c.tube(-0.1, -0.03, w, "rubber", 1.2)
    for s in (-1, 1):
        r = c.u(0.09, 0.13)
        x = 0.28
        loops = [
            (x + r * math.cos(t) * (1 - t / 40), s * 0.02 + r * math.sin(t) * (1 - t / 40))
            for t in [math.pi + i * 0.45 for i in range(30)]
        ]
        c.rod([(-0.05, s * 0.012), (0.06, s * 0.03), *loops, (0.5, s * c.u(0.05, 0.16))], 0.009, "copper", 0.28)


def firecracker(c: Canvas) -> None:
    """Many little tubes of powder, in two rows along a fuse."""
    n, w = c.rng.randint(9, 14), c.u(0.1, 0.15)
    lean = c.u(-0.04, 0.08)
    step = 0.92 / n
    for i in range(n):
        x = -0.46 + step * i
        for s in (-1, 1):
            jitter = c.u(-0.012, 0.012)
            c.rod([(x + jitter, s * 0.035), (x + lean + jitter, s * w)], step * 0.36, "pyrotechnic", 1.8)
            c.rod([(x + jitter, s * 0.03), (x + jitter, s * 0.05)], step * 0.3, "paper", 1.0)
    c.rod([(-0.5 + i / 14, 0.014 * (-1) ** i) for i in range(15)], 0.012, "paper", 0.9)


def lighter_fuel(c: Canvas) -> None:
    """A flat tin of lighter fluid: thin steel walls, seams, half full, a spout."""
    w = c.u(0.17, 0.21)
    c.rect(-0.5, -w, 0.28, w, "steel", 0.05, 0.03)
    c.frame(-0.5, -w, 0.28, w, 0.022, "steel", 0.35, 0.03)
    c.rect(-0.48, -w * 0.9, c.u(-0.1, 0.25), w * 0.9, "plastic", c.u(2.2, 3.2))
    c.poly([(0.28, -w * 0.95), (0.34, -w * 0.4), (0.34, w * 0.4), (0.28, w * 0.95)], "steel", 0.15)
    c.poly(
        [
            (0.33, -w * 0.36),
            (0.4, -w * 0.34),
            (0.5, -w * 0.1),
            (0.5, w * 0.1),
            (0.4, w * 0.34),
            (0.33, w * 0.36),
        ],
        "plastic",
        1.6,
    )


def lighter(c: Canvas) -> None:
    """A disposable lighter: oval tank with liquid, valve tube, metal hood and wheel."""
    if c.rng.random() < 0.3:
        _petrol_lighter(c)
        return
    w = c.u(0.13, 0.16)
    c.rect(-0.5, -w, 0.24, w, "pet", 0.7, 0.05)
    c.frame(-0.5, -w, 0.24, w, 0.025, "pet", 0.8, 0.05)
    c.rect(-0.46, -w * 0.8, c.u(-0.15, 0.15), w * 0.8, "water", 0.8)
    c.rod([(-0.4, 0), (0.26, 0)], 0.016, "brass", 0.3)
    c.frame(0.24, -w * 0.95, 0.5, w * 0.55, 0.03, "steel", 0.25)
    c.rect(0.24, -w * 0.95, 0.5, w * 0.4, "steel", 0.09)
    c.disc(0.36, w * 0.6, 0.065, 0.065, "steel", 0.8, 0.25)
    c.rect(0.2, -w * 0.4, 0.34, w * 0.2, "brass", 0.3)


def _petrol_lighter(c: Canvas) -> None:
    """A flip-top: a steel case with a hinged lid, the burner's chimney and wheel inside."""
    w = c.u(0.3, 0.36)
    c.rect(-0.5, -w, 0.5, w, "steel", 0.12, 0.05)
    c.frame(-0.5, -w, 0.5, w, 0.03, "steel", 0.25, 0.05)
    c.rect(-0.44, -w * 0.85, 0.1, w * 0.85, "fabric", 2.5)
    c.rect(0.12, -w, 0.16, w, "steel", 0.25)
    c.frame(0.16, -w * 0.55, 0.42, w * 0.3, 0.03, "steel", 0.3)
    c.disc(0.3, w * 0.6, 0.09, 0.09, "steel", 0.8, 0.3)
    c.rect(0.06, w * 0.9, 0.22, w * 1.12, "steel", 0.5)


def pressurised_can(c: Canvas) -> None:
    """A long spray can: steel wall, domed shoulder, valve, dip tube, concave base."""
    w, filled = c.u(0.12, 0.16), c.u(-0.1, 0.3)
    body = [(-0.5, w), (0.3, w), (0.35, w * 0.9), (0.4, w * 0.5), (0.42, w * 0.3)]
    c.turned(body, c.rng.choice(["steel", "steel", "aluminium"]), 5.0, w * 0.03)
    c.tube(-0.44, filled, w * 0.9, "water", c.u(2.5, 4.5))
    c.rod([(x, y * 0.9) for x, y in arc(-0.5, 0, 0.08, w, -math.pi / 2, math.pi / 2)], 0.012, "steel", 0.6)
    c.rect(0.29, -w * 1.03, 0.32, w * 1.03, "steel", 0.35)
    c.rod([(-0.42, w * 0.5), (-0.1, w * 0.2), (0.38, 0)], 0.009, "pet", 1.0)
    c.tube(0.3, 0.42, w * 0.25, "steel", 0.7)
    if c.rng.random() < 0.5:
        c.tube(0.32, 0.5, w * 0.98, "plastic", 3.5, w * 0.1)
    c.tube(0.41, 0.48, w * 0.32, "plastic", 2.0)


def pepper_spray(c: Canvas) -> None:
    """A small short spray with a trigger head and a key ring."""
    w = c.u(0.11, 0.13)
    c.turned([(-0.28, w * 0.95), (-0.26, w), (0.2, w), (0.26, w * 0.7)], "aluminium", 3.6, w * 0.14)
    c.tube(-0.24, c.u(0.0, 0.18), w * 0.85, "water", 2.4)
    c.poly([(0.2, -w), (0.44, -w), (0.5, -w * 0.4), (0.5, w * 0.4), (0.4, w * 1.3), (0.2, w * 1.3)], "pet", 1.8)
    c.rod([(-0.15, w * 1.25), (0.35, w * 1.25)], 0.016, "steel", 0.4)
    c.ball(0.3, 0, w * 0.4, "steel", 0.7)
    c.disc(-0.4, 0, 0.11, 0.11, "steel", 0.3, 0.8)
    c.rect(-0.31, -0.03, -0.26, 0.03, "steel", 0.5)


def loose_battery(c: Canvas) -> None:
    """One round cell: a dense can with a terminal nub."""
    w = c.u(0.13, 0.17)
    c.tube(-0.5, 0.45, w, "lithium", 1.3)
    c.tube(-0.5, 0.45, w, "steel", 0.7, w * 0.13)
    c.rect(-0.5, -w, -0.46, w, "steel", 0.3)
    c.rect(0.38, -w * 0.95, 0.4, w * 0.95, "rubber", 0.5)
    c.rect(0.43, -w * 0.98, 0.46, w * 0.98, "steel", 0.2)
    c.tube(0.45, 0.5, w * 0.35, "steel", 0.6)
    c.tube(-0.4, 0.3, w * 0.12, "brass", 0.3)


def power_bank(c: Canvas) -> None:
    """A case with a row of cells (or pouches) and a circuit with sockets at one end."""
    w = c.u(0.22, 0.32)
    c.rect(-0.5, -w, 0.5, w, "pet", 0.8, 0.06)
    c.frame(-0.5, -w, 0.5, w, 0.02, c.rng.choice(["pet", "aluminium"]), 1.0, 0.06)
    if c.rng.random() < 0.7:
        n = c.rng.randint(2, 4)
        r = w * 0.9 / n
        for i in range(n):
            y = (i - (n - 1) / 2) * 2 * r
            c.tube(-0.45, 0.28, r * 0.93, "lithium", 1.2, cy=y)
            c.tube(-0.45, 0.28, r * 0.93, "steel", 0.35, r * 0.1, cy=y)
            c.rect(0.28, y - r * 0.4, 0.31, y + r * 0.4, "steel", 0.25)
    else:
        for s in (-1.0, 1.0):
            c.rect(-0.46, min(0.02 * s, 0.92 * w * s), 0.29, max(0.02 * s, 0.92 * w * s), "lithium", 0.8, 0.02)
    board(c, 0.34, -w * 0.9, 0.46, w * 0.9, 6)
    for socket in (-0.5, 0.45):
        c.frame(0.38, socket * w - 0.07, 0.5, socket * w + 0.07, 0.018, "steel", 0.35)


def laptop(c: Canvas) -> None:
    """A wide slab: frame, keys, circuit board, fan, battery cells, hinges."""
    h = c.u(0.32, 0.37)
    c.rect(-0.5, -h, 0.5, h, "pet", 0.5, 0.02)
    c.rect(-0.5, -h, 0.5, h, "aluminium", c.u(0.15, 0.45), 0.02)
    c.frame(-0.5, -h, 0.5, h, 0.014, "aluminium", 0.8, 0.02)
    c.rect(-0.46, -h * 0.92, 0.46, h * 0.92, "glass", 0.15)
    n = c.rng.choice([3, 4, 6])
    for i in range(n):
        x = -0.42 + i * 0.84 / n
        c.rect(x, h * 0.5, x + 0.84 / n - 0.012, h * 0.88, "lithium", 0.5)
    board(c, -0.42, -h * 0.75, c.u(0.1, 0.3), h * 0.1, 22)
    c.disc(0.33, -h * 0.5, 0.09, 0.09, "steel", 0.12, 0.35)
    c.disc(0.33, -h * 0.5, 0.04, 0.04, "copper", 0.3)
    c.rod([(0.3, -h * 0.45), (0.05, -h * 0.5), (-0.1, -h * 0.3)], 0.014, "copper", 0.2)
    c.rect(0.24, 0.0, 0.42, h * 0.38, c.rng.choice(["aluminium", "steel"]), 0.25)
    for x in (-0.34, 0.3):
        c.rect(x, -h, x + 0.06, -h * 0.92, "steel", 0.5)
    for i in range(4):
        c.rect(-0.4, -h * 0.6 + i * h * 0.22, 0.4, -h * 0.6 + i * h * 0.22 + 0.008, "steel", 0.05)


def tablet(c: Canvas) -> None:
    """A thin rounded slab: glass, two or three flat cells filling it, a small board, a camera."""
    h = c.u(0.34, 0.39)
    c.rect(-0.5, -h, 0.5, h, "glass", 0.15, 0.05)
    c.frame(-0.5, -h, 0.5, h, 0.016, "aluminium", 0.9, 0.05)
    n = c.rng.choice([2, 2, 3])
    for i in range(n):
        y = -h * 0.85 + i * h * 1.7 / n
        c.rect(-0.26, y, 0.4, y + h * 1.7 / n - 0.02, "lithium", 0.35, 0.01)
    board(c, -0.45, -h * 0.8, -0.3, h * 0.6, 10)
    c.disc(-0.43, h * 0.85, 0.025, 0.025, "steel", 0.3, 0.4)
    c.rect(0.44, -0.05, 0.5, 0.05, "steel", 0.2)


def phone(c: Canvas) -> None:
    """A small long rounded slab: one cell, a board, camera rings, a speaker."""
    h = c.u(0.23, 0.26)
    c.rect(-0.5, -h, 0.5, h, "glass", 0.25, 0.08)
    c.frame(-0.5, -h, 0.5, h, 0.025, "aluminium", 1.2, 0.08)
    c.rect(-0.2, -h * 0.8, 0.34, h * c.u(0.3, 0.8), "lithium", 0.5, 0.02)
    board(c, -0.44, -h * 0.8, -0.24, h * 0.8, 8)
    for i in range(c.rng.choice([1, 2, 3])):
        c.disc(-0.4 + (i % 2) * 0.09, h * 0.6 - (i // 2) * 0.1, 0.045, 0.045, "steel", 0.3, 0.5)
    c.rect(0.39, -h * 0.7, 0.46, h * 0.2, "steel", 0.12)
    c.poly(box(0.44, h * 0.3, 0.48, h * 0.6), "steel", 0.3)
    if c.rng.random() < 0.3:
        c.poly(ellipse(0.08, 0, 0.15, 0.15), "copper", 0.08, [ellipse(0.08, 0, 0.1, 0.1)])
