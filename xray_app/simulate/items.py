"""Every class that can be drawn: its drawing, its size, and one function to draw it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from xray_app.simulate import items_as_found as found
from xray_app.simulate import items_devices as devices
from xray_app.simulate import items_goods as goods
from xray_app.simulate import items_weapons as weapons
from xray_app.simulate.shapes import Canvas, Patch


@dataclass(frozen=True)
class Drawing:
    """How to draw a class.

    Attributes:
        draw: its drawing.
        least: its long side as a fraction of the scan's long side, in tidy bags.
        most: the same, at most.
        cm: its long side in centimetres, least and most, in full bags.
        found: more drawings, as it is found in full bags.
    """

    draw: Callable[[Canvas], None]
    least: float
    most: float
    cm: tuple[float, float]
    found: tuple[Callable[[Canvas], None], ...] = ()


DRAWINGS: dict[str, Drawing] = {
    "knife": Drawing(weapons.knife, 0.12, 0.35, (8, 30), (found.folded_knife, found.folded_knife, found.table_knife)),
    "dagger": Drawing(weapons.dagger, 0.14, 0.36, (15, 34)),
    "blade": Drawing(weapons.blade, 0.11, 0.24, (5, 14)),
    "scissors": Drawing(weapons.scissors, 0.13, 0.3, (8, 23), (found.small_scissors,)),
    "Swiss army knife": Drawing(weapons.swiss_army_knife, 0.12, 0.24, (7, 16)),
    "razor blade": Drawing(weapons.razor_blade, 0.09, 0.18, (4, 6)),
    "axe": Drawing(weapons.axe, 0.26, 0.46, (25, 45)),
    "saw": Drawing(weapons.saw, 0.26, 0.48, (25, 50)),
    "screwdriver": Drawing(weapons.screwdriver, 0.15, 0.32, (9, 28)),
    "gun": Drawing(weapons.gun, 0.17, 0.34, (13, 26)),
    "magazine": Drawing(weapons.magazine, 0.13, 0.25, (9, 19)),
    "bullet": Drawing(weapons.bullet, 0.07, 0.15, (3, 8)),
    "hammer": Drawing(weapons.hammer, 0.2, 0.4, (20, 35)),
    "wrench": Drawing(weapons.wrench, 0.15, 0.34, (11, 30)),
    "pliers": Drawing(weapons.pliers, 0.15, 0.3, (11, 24)),
    "baton": Drawing(weapons.baton, 0.24, 0.45, (18, 55)),
    "knuckleduster": Drawing(weapons.knuckleduster, 0.12, 0.24, (9, 13)),
    "handcuffs": Drawing(weapons.handcuffs, 0.16, 0.32, (11, 26), (found.folded_cuffs,)),
    "slingshot": Drawing(weapons.slingshot, 0.17, 0.34, (12, 26), (found.wire_slingshot, found.wire_slingshot)),
    "stun gun": Drawing(devices.stun_gun, 0.17, 0.32, (11, 22)),
    "explosive": Drawing(devices.explosive, 0.18, 0.34, (12, 30)),
    "detonator": Drawing(devices.detonator, 0.17, 0.32, (8, 26)),
    "firecracker": Drawing(devices.firecracker, 0.16, 0.32, (7, 34), (found.cracker_mat, found.cracker_mat)),
    "lighter fuel": Drawing(devices.lighter_fuel, 0.15, 0.28, (9, 20), (found.flat_tin, found.flat_tin)),
    "lighter": Drawing(
        devices.lighter, 0.1, 0.2, (5.5, 9.5), (found.slim_lighter, found.slim_lighter, found.slim_lighter)
    ),
    "pressurised can": Drawing(devices.pressurised_can, 0.17, 0.36, (11, 28)),
    "pepper spray": Drawing(devices.pepper_spray, 0.12, 0.22, (8, 16)),
    "loose battery": Drawing(devices.loose_battery, 0.08, 0.16, (4, 8)),
    "power bank": Drawing(devices.power_bank, 0.15, 0.3, (8, 19), (found.slab_power_bank,)),
    "nail polish": Drawing(goods.nail_polish, 0.09, 0.17, (4.5, 9), (found.squat_polish, found.squat_polish)),
    "plastic bottle": Drawing(goods.plastic_bottle, 0.22, 0.42, (15, 32)),
    "glass bottle": Drawing(goods.glass_bottle, 0.22, 0.42, (15, 32)),
    "can": Drawing(goods.can, 0.15, 0.27, (9, 17)),
    "carton drink": Drawing(goods.carton_drink, 0.17, 0.32, (9, 24)),
    "tin": Drawing(goods.tin, 0.12, 0.25, (6, 15)),
    "vacuum cup": Drawing(goods.vacuum_cup, 0.22, 0.38, (15, 30)),
    "laptop": Drawing(devices.laptop, 0.38, 0.6, (27, 40)),
    "tablet": Drawing(devices.tablet, 0.26, 0.42, (17, 29)),
    "phone": Drawing(devices.phone, 0.15, 0.26, (12, 17)),
    "umbrella": Drawing(goods.umbrella, 0.34, 0.62, (20, 60)),
}


def draw_item(
    label: str, length: float, rng: random.Random, angle: float | None = None, *, as_found: bool = False
) -> Patch:
    """Draw one item, its long side `length` scan pixels, turned at random unless told how.

    Args:
        label: canonical name of its class.
        length: of its long side, scan pixels.
        rng: of everything that differs from item to item.
        angle: radians; None turns it at random.
        as_found: draw it as it is found in full bags, folded or closed, too; it is seen from its end more often then.

    Raises:
        KeyError: nothing is known about how `label` looks.
    """
    canvas = Canvas(length, rng)
    drawing = DRAWINGS[label]
    (rng.choice((drawing.draw, *drawing.found)) if as_found else drawing.draw)(canvas)
    if rng.random() < 0.5:
        canvas.low, canvas.high = canvas.low[::-1], canvas.high[::-1]
    turned = rng.uniform(0, 2 * math.pi) if angle is None else angle
    return canvas.place(turned, rng.uniform(0.62, 1.0) if as_found else rng.uniform(0.82, 1.0))


def draw_length(label: str, side: float, rng: random.Random) -> float:
    """A plausible long side for this class in a tidy scan whose long side is `side` pixels."""
    d = DRAWINGS[label]
    return side * math.exp(rng.uniform(math.log(d.least), math.log(d.most)))


def draw_centimetres(label: str, rng: random.Random) -> float:
    """A long side of an item of this class as people carry it, centimetres."""
    least, most = DRAWINGS[label].cm
    return math.exp(rng.uniform(math.log(least), math.log(most)))
