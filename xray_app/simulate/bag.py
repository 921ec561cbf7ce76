"""Bags and what always lies in them: cloth, seams, zips, buckles, rods, wheels, cables, coins, keys."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

from xray_app.simulate.materials import attenuation
from xray_app.simulate.shapes import Floats, Point, arc, box, ellipse, turn

_CLOTH = ("fabric", "fabric", "fabric", "fabric", "leather", "paper", "plastic", "pvc", "pvc")


@dataclass
class Scene:
    """A whole scan while it is being put together: log attenuation (height, width) at both energies."""

    width: int
    height: int
    low: Floats = field(init=False)
    high: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.low = np.zeros((self.height, self.width), np.float32)
        self.high = np.zeros((self.height, self.width), np.float32)

    def add(self, thickness: Floats, material: str, at: tuple[int, int] = (0, 0)) -> None:
        """Add a plate of `thickness` (cm per pixel), its top left corner `at` (x, y) inside the picture."""
        x, y = at
        part = np.s_[y : y + thickness.shape[0], x : x + thickness.shape[1]]
        low, high = attenuation(material)
        self.low[part] += thickness * np.float32(low)
        self.high[part] += thickness * np.float32(high)


@dataclass(frozen=True)
class Bag:
    """A bag: centre, half sizes and turn, in pixels and radians, and whether it has a hard frame."""

    cx: float
    cy: float
    rx: float
    ry: float
    angle: float
    trolley: bool

    def at(self, x: float, y: float) -> Point:
        """A point given in half sizes from the centre."""
        return turn([(self.cx + x * self.rx, self.cy + y * self.ry)], self.angle, (self.cx, self.cy))[0]

    def points(self, points: list[Point]) -> list[Point]:
        """Many points."""
        return [self.at(x, y) for x, y in points]


class _Layer:
    """Full-size thickness drawing in one material at twice the resolution; 255 is `cm` thick."""

    def __init__(self, scene: Scene, material: str, cm: float) -> None:
        self.scene, self.material, self.cm = scene, material, cm
        self.image = Image.new("L", (scene.width * 2, scene.height * 2), 0)
        self.draw = ImageDraw.Draw(self.image)

    def line(self, points: list[Point], width: float, level: int = 255) -> None:
        self.draw.line([(x * 2, y * 2) for x, y in points], fill=level, width=max(1, round(width * 2)), joint="curve")

    def fill(self, points: list[Point], level: int = 255) -> None:
        self.draw.polygon([(x * 2, y * 2) for x, y in points], fill=level)

    def done(self) -> None:
        self.scene.add(np.asarray(self.image.reduce(2), np.float32) * np.float32(self.cm / 255), self.material)


def _texture(rng: np.random.Generator, size: tuple[int, int], cells: tuple[int, int]) -> Floats:
    """Smooth noise, about -1..1, of (width, height)."""
    grid = rng.standard_normal((cells[1], cells[0]), dtype=np.float32)
    image = Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC)
    return np.asarray(image, np.float32)


def outline(bag: Bag, rng: random.Random, grow: float = 1.0) -> list[Point]:
    """A rounded, slightly lumpy rectangle."""
    power = 6.0 if bag.trolley else rng.uniform(2.6, 4.5)
    phase, lump = rng.uniform(0, 6.3), 0.0 if bag.trolley else rng.uniform(0.0, 0.05)
    points = []
    for i in range(60):
        a = i * 2 * math.pi / 60
        c, s = math.cos(a), math.sin(a)
        r = grow * (abs(c) ** power + abs(s) ** power) ** (-1 / power) * (1 + lump * math.sin(3 * a + phase))
        points.append((r * c, r * s))
    return bag.points(points)


def draw_bag(scene: Scene, bag: Bag, rng: random.Random, noise: np.random.Generator, fullness: float) -> None:
    """Draw one bag with its clothes, seams and fittings into the scene."""
    shell = rng.choice(["fabric", "plastic", "leather", "pvc", "pvc"])
    edge = outline(bag, rng)
    draw_cloth(scene, bag, edge, rng, noise, fullness, shell)
    seams = _Layer(scene, shell, 0.7 if shell == "pvc" else 1.8)
    seams.line([*edge, edge[0]], rng.uniform(1.5, 4))
    inner = outline(bag, rng, rng.uniform(0.88, 0.96))
    seams.line([*inner, inner[0]], rng.uniform(1, 2.5), 190)
    for _ in range(rng.randint(0, 4)):  # linings and piping, never quite parallel
        more = outline(bag, rng, rng.uniform(0.75, 1.03))
        seams.line([*more, more[0]], rng.uniform(0.6, 1.6), rng.randint(60, 170))
    for _ in range(rng.randint(1, 4)):
        x, y = rng.uniform(-0.6, 0.4), rng.uniform(-0.7, 0.5)
        pocket = bag.points(box(x, y, x + rng.uniform(0.4, 1.0), y + rng.uniform(0.3, 0.8), 0.1))
        seams.line([*pocket, pocket[0]], 1.2, rng.randint(60, 160))
    if rng.random() < 0.5:
        y = rng.uniform(-0.4, 0.4)
        handle = bag.points(
            [(x, yy * 0.3 + y) for x, yy in arc(1.0, 0, rng.uniform(0.12, 0.35), 1, -math.pi / 2, math.pi / 2)]
        )
        seams.line(handle, rng.uniform(3, 7), 150)
    for _ in range(rng.randint(0, 3)):
        seams.line(_curve(bag, rng, 1.2), rng.uniform(3, 9), rng.randint(40, 110))
    seams.done()
    metal = _Layer(scene, "steel", rng.uniform(0.25, 0.8))
    _fittings(metal, bag, inner, rng)
    if bag.trolley:
        _trolley(scene, metal, bag, rng)
    metal.done()
    _things(scene, bag, rng)
    wires = _Layer(scene, "copper", 0.16)
    for _ in range(rng.randint(0, 3)):
        wires.line(_curve(bag, rng, 0.5), rng.uniform(0.8, 1.8), rng.randint(120, 255))
    if rng.random() < 0.3:
        x, y = rng.uniform(-0.6, 0.6), rng.uniform(-0.6, 0.6)
        for _ in range(rng.randint(3, 6)):
            rx, ry = rng.uniform(0.1, 0.22), rng.uniform(0.1, 0.22)
            loop = bag.points(ellipse(x + rng.uniform(-0.03, 0.03), y + rng.uniform(-0.03, 0.03), rx, ry))
            wires.line([*loop, loop[0]], 1.2)
    wires.done()


def draw_cloth(
    scene: Scene,
    bag: Bag,
    edge: list[Point],
    rng: random.Random,
    noise: np.random.Generator,
    fullness: float,
    shell: str,
) -> None:
    """The shell and folded clothes: soft translucent pieces with creases."""
    xs, ys = [p[0] for p in edge], [p[1] for p in edge]
    x0, y0 = max(0, math.floor(min(xs))), max(0, math.floor(min(ys)))
    x1, y1 = min(scene.width, math.ceil(max(xs)) + 1), min(scene.height, math.ceil(max(ys)) + 1)
    w, h = x1 - x0, y1 - y0
    if w < 8 or h < 8:
        return

    def mask(points: list[Point], level: int = 255) -> Floats:
        image = Image.new("L", (w, h), 0)
        ImageDraw.Draw(image).polygon([(x - x0, y - y0) for x, y in points], fill=level)
        return np.asarray(image, np.float32) * np.float32(1 / 255)

    inside = mask(edge)
    scene.add(
        inside * np.float32(rng.choice([0.06, 0.06, 0.2, 0.4]) if shell == "pvc" else rng.uniform(0.2, 0.8)),
        shell,
        (x0, y0),
    )
    folds = 1 - np.abs(_texture(noise, (w, h), (rng.randint(5, 14), rng.randint(5, 14))))
    soft = _texture(noise, (w, h), (5, 5))
    fine = _texture(noise, (w, h), (max(4, w // 7), max(4, h // 7)))
    heap = np.clip(0.55 + 0.3 * soft + 0.25 * folds + 0.06 * fine, 0.05, 2) * inside
    scene.add(heap * np.float32(fullness), "fabric", (x0, y0))
    creases = Image.new("L", (w, h), 0)
    pen = ImageDraw.Draw(creases)
    for _ in range(rng.randint(8, 40)):
        points = [(x - x0, y - y0) for x, y in _curve(bag, rng, rng.uniform(0.2, 0.7))[: rng.randint(4, 9)]]
        pen.line(points, fill=rng.randint(60, 255), width=rng.choice([1, 1, 2, 3]), joint="curve")
    scene.add(
        np.asarray(creases, np.float32) * inside * np.float32((0.9 + 0.25 * fullness) / 255),
        "fabric",
        (x0, y0),
    )
    pieces: dict[str, Floats] = {}
    for _ in range(rng.randint(3, 9)):
        x, y = rng.uniform(-0.7, 0.7), rng.uniform(-0.7, 0.7)
        a, b = rng.uniform(0.15, 0.6), rng.uniform(0.12, 0.5)
        shape = ellipse(x, y, a, b, 16) if rng.random() < 0.35 else box(x - a, y - b, x + a, y + b, 0.1)
        shape = bag.points(turn(shape, rng.uniform(-0.4, 0.4), (x, y)))
        level = rng.randint(40, 255)
        material = rng.choice(_CLOTH)
        piece = mask(shape, level) * np.clip(0.7 + 0.4 * folds + 0.06 * fine, 0.2, 2)
        pieces[material] = pieces[material] + piece if material in pieces else piece
    for material, thickness in pieces.items():
        cm = {"fabric": 1.0, "pvc": 0.12}.get(material, 0.35) * fullness
        scene.add(thickness * inside * np.float32(cm), material, (x0, y0))


def _things(scene: Scene, bag: Bag, rng: random.Random) -> None:
    """What no one asks for: books, boxes, cosmetics, chargers, shoe soles, adapters."""
    for material, cm, most in (("paper", 3.0, 2), ("plastic", 3.0, 3), ("pvc", 1.6, 2), ("glass", 0.8, 1)):
        count = rng.randint(0, most)
        if not count:
            continue
        layer = _Layer(scene, material, cm)
        for _ in range(count):
            x, y = bag.at(rng.uniform(-0.75, 0.75), rng.uniform(-0.75, 0.75))
            a = rng.uniform(0.04, 0.2) * bag.rx
            b = a * rng.uniform(0.35, 1.0)
            if rng.random() < 0.5:
                shape = box(x - a, y - b, x + a, y + b, rng.choice([0, 3, 8]))
            else:
                shape = ellipse(x, y, a, b, 20)
            shape = turn(shape, rng.uniform(0, 6.3), (x, y))
            level = rng.randint(60, 220)
            layer.fill(shape, level)
            layer.line([*shape, shape[0]], 1.2, min(255, level + 60))
        layer.done()
    if rng.random() < 0.3:  # something heavy that is hard to see through: a shoe, a tool bag, a camera
        x, y = bag.at(rng.uniform(-0.7, 0.7), rng.uniform(-0.7, 0.7))
        a = rng.uniform(0.12, 0.3) * bag.rx
        turned = rng.uniform(0, 6.3)
        for material, cm, grow in (("rubber", 3.5, 1.0), ("pvc", 2.0, 0.8), ("steel", 0.25, 0.4)):
            dense = _Layer(scene, material, cm)
            shape = ellipse(x, y, a * grow, a * grow * rng.uniform(0.4, 0.7), 20)
            dense.fill(turn(shape, turned, (x, y)), rng.randint(80, 255))
            dense.done()
    if rng.random() < 0.45:  # a charger or a hair dryer's works: a little of everything
        x, y = bag.at(rng.uniform(-0.7, 0.7), rng.uniform(-0.7, 0.7))
        a, b, turned = rng.uniform(8, 20), rng.uniform(7, 14), rng.uniform(0, 6.3)
        case, parts = _Layer(scene, "pvc", 1.0), _Layer(scene, "copper", 0.2)
        case.fill(turn(box(x - a, y - b, x + a, y + b, 3), turned, (x, y)), 150)
        for _ in range(rng.randint(2, 6)):
            px, py = x + rng.uniform(-0.8, 0.6) * a, y + rng.uniform(-0.8, 0.6) * b
            part = box(px, py, px + rng.uniform(0.15, 0.6) * a, py + rng.uniform(0.15, 0.6) * b)
            parts.fill(turn(part, turned, (x, y)), rng.randint(90, 255))
        case.done()
        parts.done()


def _curve(bag: Bag, rng: random.Random, spread: float) -> list[Point]:
    """A wandering line, like a cable or a strap."""
    x, y, heading = rng.uniform(-0.8, 0.8), rng.uniform(-0.8, 0.8), rng.uniform(0, 6.3)
    bend, points = rng.uniform(-0.5, 0.5), []
    for _ in range(rng.randint(8, 22)):
        points.append((x, y))
        bend = max(-0.7, min(0.7, bend + rng.uniform(-0.25, 0.25)))
        heading += bend
        x, y = x + spread * 0.18 * math.cos(heading), y + spread * 0.18 * math.sin(heading)
    return bag.points(points)


def _fittings(metal: _Layer, bag: Bag, seam: list[Point], rng: random.Random) -> None:
    """Zip teeth and pulls, buckles, rings, studs, coins, keys, pens, bra wires."""
    u = rng.uniform
    for _ in range(rng.randint(0, 2)):
        start, length = rng.randrange(len(seam)), rng.randint(10, 40)
        run = [seam[(start + i) % len(seam)] for i in range(length)]
        for (ax, ay), (bx, by) in pairwise(run):
            for k in range(4):
                t = (k + 0.5) / 4
                metal.line(
                    [
                        (ax + (bx - ax) * (t - 0.07), ay + (by - ay) * (t - 0.07)),
                        (ax + (bx - ax) * (t + 0.07), ay + (by - ay) * (t + 0.07)),
                    ],
                    1.6,
                    150,
                )
    for _ in range(rng.randint(1, 5)):  # zip pulls
        x, y = rng.choice(seam)
        pull = turn([(x, y), (x + 4, y), (x + u(9, 14), y)], u(0, 6.3), (x, y))
        metal.line(pull[:2], 4.5)
        metal.line(pull[1:], 2.2, 220)
    for _ in range(rng.randint(0, 6)):  # buckles
        x, y = bag.at(u(-1.05, 1.05), u(-1.05, 1.05))
        a, b = u(4, 9), u(3, 7)
        ring = turn(box(x - a, y - b, x + a, y + b, 2), u(0, 6.3), (x, y))
        metal.line([*ring, ring[0]], u(1.2, 2.4))
        if rng.random() < 0.6:
            metal.line([ring[0], ring[len(ring) // 2]], 1.5)
    for _ in range(rng.randint(0, 10)):  # studs and rings
        x, y = bag.at(u(-1, 1), u(-1, 1))
        r = u(1, 2.6)
        metal.fill(ellipse(x, y, r, r, 10), rng.randint(120, 255))
    if rng.random() < 0.45:  # coins
        x, y = bag.at(u(-0.7, 0.7), u(-0.7, 0.7))
        for _ in range(rng.randint(1, 6)):
            r, cx, cy = u(3.5, 6), x + u(-16, 16), y + u(-16, 16)
            metal.fill(ellipse(cx, cy, r, r, 16), rng.randint(90, 150))
    if rng.random() < 0.4:  # keys on a ring
        x, y = bag.at(u(-0.7, 0.7), u(-0.7, 0.7))
        metal.line(ellipse(x, y, 5, 5, 14), 1.3)
        for _ in range(rng.randint(1, 4)):
            a = u(0, 6.3)
            metal.line(turn([(x + 9, y), (x + u(18, 26), y)], a, (x, y)), 2, 170)
            metal.fill(turn(ellipse(x + 8, y, 4, 4, 12), a, (x, y)), 170)
    for _ in range(rng.randint(0, 3)):  # pens, hair pins
        x, y = bag.at(u(-0.8, 0.8), u(-0.8, 0.8))
        metal.line(turn([(x, y), (x + u(8, 28), y)], u(0, 6.3), (x, y)), u(0.8, 1.8), rng.randint(70, 160))
    if rng.random() < 0.2:
        x, y = u(-0.5, 0.5), u(-0.5, 0.5)
        for s in (-0.16, 0.16):
            metal.line(bag.points(arc(x + s, y, 0.15, 0.17, 0.3, math.pi - 0.3)), 1.3, 170)


def _trolley(scene: Scene, metal: _Layer, bag: Bag, rng: random.Random) -> None:
    """Pull rods, a wire frame and wheels."""
    rods = _Layer(scene, "aluminium", 0.9)
    steel = _Layer(scene, "steel", 0.12)
    gap, w, heavy = rng.uniform(0.25, 0.5), rng.uniform(0.025, 0.07), rng.random() < 0.6
    for s in (-gap, gap):
        rod = bag.points([(-0.95, s - w), (0.9, s - w), (0.9, s + w), (-0.95, s + w)])
        rods.fill(rod, rng.randint(70, 150))
        if heavy:
            steel.fill(rod, rng.randint(120, 255))
            stage = rng.uniform(-0.5, 0.6)
            steel.line(bag.points([(stage, s), (0.9, s)]), w * bag.ry, 200)
        for edge in (s - w, s + w):
            rods.line(bag.points([(-0.95, edge), (0.9, edge)]), 1.6)
    rods.done()
    steel.done()
    if rng.random() < 0.6:
        frame = outline(bag, rng, 0.93)
        metal.line([*frame, frame[0]], 1.4, 190)
    wheels = _Layer(scene, "pvc", 1.6)
    for s in (-0.8, 0.8):
        x, y = bag.at(1.07, s)
        r = rng.uniform(6, 11)
        wheels.fill(ellipse(x, y, r, r * rng.uniform(0.6, 1)))
        metal.fill(ellipse(x, y, r * 0.3, r * 0.3, 12))
        metal.line([bag.at(0.93, s), (x, y)], 2.4)
    wheels.done()
