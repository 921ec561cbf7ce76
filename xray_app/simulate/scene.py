"""A whole simulated scan: bags, clutter, items with exact boxes, through one scanner.

There are two kinds of scans. In a *full* one bags and things have their real sizes, lie on belts narrow and wide, and
are packed as people pack. A *tidy* one, the first that this desk's models were trained on, shows one or two bags with
few things in them, each large enough to be seen well. A seed gives the same tidy scan as ever.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from PIL import Image

from xray_app.simulate.bag import Bag, Scene, draw_bag
from xray_app.simulate.belt import Conditions, draw_conditions, lay_out
from xray_app.simulate.items import DRAWINGS, draw_centimetres, draw_item, draw_length
from xray_app.simulate.scanner import STYLES, Colour, Style, render
from xray_app.simulate.shapes import Patch
from xray_app.taxonomy import Taxonomy
from xray_app.types import Status

_OPAQUE = 2.6  # log attenuation at the high energy beyond which nothing can be made out
_LEAST_VISIBLE = 0.75  # of an item, wherever it is tried
_SMALLEST = 8.0  # long side of an item in pixels below which nobody could say what it is


@dataclass(frozen=True)
class Simulated:
    """A simulated scan and what is in it.

    `boxes` are (canonical class name, (x0, y0, x1, y1)) in pixels of `image`; `clear` means that no
    prohibited item is in the bag; `style` names the simulated scanner, `quality` its JPEG quality.
    """

    image: Image.Image
    boxes: tuple[tuple[str, tuple[float, float, float, float]], ...]
    clear: bool
    style: str
    quality: int


@dataclass(frozen=True)
class _Placed:
    patch: Patch
    x: int
    y: int

    def visible(self, width: int, height: int) -> tuple[slice, slice, slice, slice]:
        """Rows and columns in the scene, then rows and columns in the patch."""
        h, w = self.patch.mask.shape
        x0, y0, x1, y1 = max(0, self.x), max(0, self.y), min(width, self.x + w), min(height, self.y + h)
        return (
            slice(y0, max(y0, y1)),
            slice(x0, max(x0, x1)),
            slice(y0 - self.y, max(y0, y1) - self.y),
            slice(x0 - self.x, max(x0, x1) - self.x),
        )


Kind = Literal["full", "tidy"]


def simulate_scan(
    seed: int,
    taxonomy: Taxonomy,
    *,
    items: tuple[int, int] = (0, 8),
    threat_rate: float = 0.5,
    kind: Kind = "tidy",
    like: Sequence[Conditions] = (),
) -> Simulated:
    """Simulate one scan; the same arguments give the same picture.

    Args:
        seed: any non-negative integer.
        taxonomy: the classes and their status; its drawn classes are used.
        items: least and most items in the bag, both included.
        threat_rate: the fraction of bags with at least one prohibited item.
        kind: full bags, or tidy ones: those where it is left out, because hold-out and replay rest on them until the
            bundled VLM has learned full bags.
        like: conditions of a site, one of which a full scan is drawn under; left empty, any that are met with.

    Raises:
        ValueError: `items` is not an ascending pair of counts.
    """
    if not 0 <= items[0] <= items[1]:
        raise ValueError(f"items must be an ascending pair of counts, not {items}")
    rng = random.Random(seed)
    noise = np.random.Generator(np.random.PCG64(seed))
    labels = choose_items(rng, taxonomy, items, threat_rate)
    # The large first, so that small things find a place where they can be seen.
    if kind == "full":
        labels.sort(key=lambda label: -DRAWINGS[label].cm[1])
        conditions = rng.choice(like) if like else draw_conditions(rng)
        styles = [style for style in STYLES if style.name == conditions.style] or STYLES
        style = _vary_widely(rng.choice(styles), rng)
        scene, bags = lay_out(conditions, rng, noise)
        longest = 1.1 * max(max(bag.rx, bag.ry) for bag in bags) * 2

        def draw(label: str) -> Patch:
            length = draw_centimetres(label, rng) * conditions.scale
            along = bags[0].angle + rng.randrange(4) * math.pi / 2 + rng.gauss(0, 0.1)
            angle = along if rng.random() < 0.4 else None
            return draw_item(label, max(_SMALLEST, min(length, longest)), rng, angle, as_found=True)
    else:
        style = _vary(rng.choice(STYLES), rng)
        scene, bags = _bags(rng, noise)
        side = max(scene.width, scene.height)
        labels.sort(key=lambda label: -DRAWINGS[label].most)

        def draw(label: str) -> Patch:
            return draw_item(label, draw_length(label, side, rng), rng)

    taken: list[tuple[float, float, float, float]] = []
    boxes: list[tuple[str, tuple[float, float, float, float]]] = []
    for label in labels:
        placed = _place(scene, bags, draw(label), taken, rng)
        rows, columns, patch_rows, patch_columns = placed.visible(scene.width, scene.height)
        scene.low[rows, columns] += placed.patch.low[patch_rows, patch_columns]
        scene.high[rows, columns] += placed.patch.high[patch_rows, patch_columns]
        box = _tight(placed, scene)
        taken.append(box)
        boxes.append((label, box))
    image = render(scene.low, scene.high, style, noise)
    prohibited = {c.name for c in taxonomy.drawn if c.status is Status.PROHIBITED}
    clear = not any(label in prohibited for label in labels)
    order = sorted(boxes, key=lambda b: (taxonomy.rank(b[0]), b[1]))
    return Simulated(image, tuple(order), clear, style.name, style.quality)


def choose_items(rng: random.Random, taxonomy: Taxonomy, items: tuple[int, int], threat_rate: float) -> list[str]:
    """What lies in a bag: at least one prohibited item in `threat_rate` of the bags, classes evenly."""
    threats = [c.name for c in taxonomy.drawn if c.status is Status.PROHIBITED]
    others = [c.name for c in taxonomy.drawn if c.status is not Status.PROHIBITED]
    count = rng.randint(*items)
    labels: list[str] = []
    if rng.random() < threat_rate and items[1] > 0:
        count = max(1, count)
        wanted = 1 if rng.random() < 0.75 else rng.choice([2, 2, 3])
        while len(labels) < min(wanted, count):
            labels.append(labels[-1] if labels and rng.random() < 0.3 else rng.choice(threats))
    ordinary: list[str] = []
    while len(labels) + len(ordinary) < count:
        label = ordinary[-1] if ordinary and rng.random() < 0.12 else rng.choice(others)
        if DRAWINGS[label].most < 0.5 or label not in ordinary:  # one laptop, one umbrella
            ordinary.append(label)
    return labels + ordinary


def _vary(style: Style, rng: random.Random) -> Style:
    """Machines of one make still differ a little."""
    return replace(
        style,
        gain=round(style.gain * rng.choice([0.8, 0.9, 1.0, 1.1, 1.25]), 3),
        depth=round(style.depth * rng.choice([0.8, 1.0, 1.2]), 3),
        noise=style.noise * rng.uniform(0.6, 1.6),
        blur=style.blur * rng.uniform(0.7, 1.3),
        quality=style.quality + rng.randint(-8, 6),
    )


def _vary_widely(style: Style, rng: random.Random) -> Style:
    """Machines of all makes: other palettes, sharper or softer; most show the empty tunnel as plain white."""

    def vivid(colour: Colour, much: float) -> Colour:
        grey = sum(colour) / 3
        red, green, blue = (max(0, min(255, round(grey + (part - grey) * much))) for part in colour)
        return red, green, blue

    much = rng.choice([0.9, 1.1, 1.25, 1.4])
    return replace(
        _vary(style, rng),
        organic=vivid(style.organic, much),
        mixed=vivid(style.mixed, much),
        metal=vivid(style.metal, much),
        background=style.background if rng.random() < 0.25 else (255, 255, 255),
        gain=round(style.gain * rng.choice([0.8, 1.0, 1.3, 1.7]), 3),
        depth=round(style.depth * rng.choice([0.6, 1.0, 1.5]), 3),
        mixed_at=round(style.mixed_at * rng.choice([0.88, 0.92, 0.96, 1.0]), 3),
        sharpen=round(style.sharpen * rng.uniform(0.5, 1.8)),
        blur=style.blur * rng.uniform(0.4, 1.0),
        quiet=rng.random() < 0.75,
    )


def _bags(rng: random.Random, noise: np.random.Generator) -> tuple[Scene, list[Bag]]:
    """An empty tunnel of some shape with one or two bags in it, and pieces of others at its ends."""
    side = rng.randint(352, 512)
    aspect = rng.choice([rng.uniform(1.0, 1.4), rng.uniform(1.2, 1.6), rng.uniform(1.5, 1.9)])
    width, height = side, round(side / aspect)
    if aspect < 1.4 and rng.random() < 0.25:
        width, height = height, width
    scene = Scene(width, height)
    two = width / height > 1.45 and rng.random() < 0.35
    bags = []
    for i in range(2 if two else 1):
        span = width / (2 if two else 1)
        rx = span * rng.choice([rng.uniform(0.3, 0.4), rng.uniform(0.38, 0.49), rng.uniform(0.4, 0.49)])
        ry = min(height * rng.uniform(0.36, 0.49), rx * rng.uniform(0.6, 1.3))
        angle = rng.choice([rng.uniform(-0.12, 0.12), rng.uniform(-0.5, 0.5)])
        cx, cy = (
            span * (i + 0.5) + rng.uniform(-0.05, 0.05) * span,
            height / 2 + rng.uniform(-0.05, 0.05) * height,
        )
        bags.append(Bag(cx, cy, rx, ry, angle, rng.random() < 0.3))
    fullness = rng.choice([0.4, 1.0, 2.0, 3.5, 5.0, 7.0]) * rng.uniform(0.8, 1.25)
    for bag in bags:
        draw_bag(scene, bag, rng, noise, fullness * rng.uniform(0.7, 1.2))
    if rng.random() < 0.35:
        cx = rng.choice([-0.03, 1.03]) * width
        other = Bag(
            cx,
            height * rng.uniform(0.2, 0.8),
            width * rng.uniform(0.08, 0.16),
            height * rng.uniform(0.2, 0.4),
            rng.uniform(-0.5, 0.5),
            False,
        )
        draw_bag(scene, other, rng, noise, fullness)
    return scene, bags


def _place(
    scene: Scene,
    bags: list[Bag],
    patch: Patch,
    taken: list[tuple[float, float, float, float]],
    rng: random.Random,
) -> _Placed:
    """Where an item lies: in a bag, in the picture, neither behind something opaque nor in a pile."""
    h, w = patch.mask.shape
    best, least = None, math.inf
    for _ in range(10):
        bag = rng.choice(bags)
        cx, cy = bag.at(rng.uniform(-0.8, 0.8), rng.uniform(-0.8, 0.8))
        placed = _Placed(patch, round(cx - w / 2), round(cy - h / 2))
        rows, columns, patch_rows, patch_columns = placed.visible(scene.width, scene.height)
        seen = patch.mask[patch_rows, patch_columns]
        visible = float(seen.sum()) / float(patch.mask.sum())
        if visible < _LEAST_VISIBLE:
            continue
        behind = scene.high[rows, columns][seen]
        opaque = float((behind > _OPAQUE).mean())
        box = (placed.x, placed.y, placed.x + w, placed.y + h)
        crowd = max((_overlap(box, other) for other in taken), default=0.0)
        cost = crowd + opaque + (1 - visible) + 0.15 * min(1.0, float(behind.mean()))
        if cost < least:
            best, least = placed, cost
        if cost < 0.3:
            break
    if best is None:  # too large for where it was tried: the middle of the picture holds it
        best = _Placed(patch, (scene.width - w) // 2, (scene.height - h) // 2)
    return best


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """The shared area of two boxes over the smaller one's."""
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    return w * h / max(1.0, min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])))


def _tight(placed: _Placed, scene: Scene) -> tuple[float, float, float, float]:
    """The box of what is visible of an item, in pixels."""
    rows, columns, patch_rows, patch_columns = placed.visible(scene.width, scene.height)
    seen = placed.patch.mask[patch_rows, patch_columns]
    ys, xs = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    return (
        float(columns.start + xs[0]),
        float(rows.start + ys[0]),
        float(columns.start + xs[-1] + 1),
        float(rows.start + ys[-1] + 1),
    )
