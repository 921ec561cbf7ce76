"""Every class that can be drawn: its drawing, its size, and one function to draw it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from xray_app.simulate import items_devices as devices
from xray_app.simulate import items_goods as goods
from xray_app.simulate import items_weapons as weapons
from xray_app.simulate.shapes import Canvas, Patch


@dataclass(frozen=True)
class Drawing:
    """How to draw a class; its long side as fractions of the scan's long side (least, most)."""

    draw: Callable[[Canvas], None]
    least: float
    most: float


DRAWINGS: dict[str, Drawing] = {
    "knife": Drawing(weapons.knife, 0.12, 0.35),
    "dagger": Drawing(weapons.dagger, 0.14, 0.36),
    "blade": Drawing(weapons.blade, 0.11, 0.24),
    "scissors": Drawing(weapons.scissors, 0.13, 0.3),
    "Swiss army knife": Drawing(weapons.swiss_army_knife, 0.12, 0.24),
    "razor blade": Drawing(weapons.razor_blade, 0.09, 0.18),
    "axe": Drawing(weapons.axe, 0.26, 0.46),
    "saw": Drawing(weapons.saw, 0.26, 0.48),
    "screwdriver": Drawing(weapons.screwdriver, 0.15, 0.32),
    "gun": Drawing(weapons.gun, 0.17, 0.34),
    "magazine": Drawing(weapons.magazine, 0.13, 0.25),
    "bullet": Drawing(weapons.bullet, 0.07, 0.15),
    "hammer": Drawing(weapons.hammer, 0.2, 0.4),
    "wrench": Drawing(weapons.wrench, 0.15, 0.34),
    "pliers": Drawing(weapons.pliers, 0.15, 0.3),
    "baton": Drawing(weapons.baton, 0.24, 0.45),
    "knuckleduster": Drawing(weapons.knuckleduster, 0.12, 0.24),
    "handcuffs": Drawing(weapons.handcuffs, 0.16, 0.32),
    "slingshot": Drawing(weapons.slingshot, 0.17, 0.34),
    "stun gun": Drawing(devices.stun_gun, 0.17, 0.32),
    "explosive": Drawing(devices.explosive, 0.18, 0.34),
    "detonator": Drawing(devices.detonator, 0.17, 0.32),
    "firecracker": Drawing(devices.firecracker, 0.16, 0.32),
    "lighter fuel": Drawing(devices.lighter_fuel, 0.15, 0.28),
    "lighter": Drawing(devices.lighter, 0.1, 0.2),
    "pressurised can": Drawing(devices.pressurised_can, 0.17, 0.36),
    "pepper spray": Drawing(devices.pepper_spray, 0.12, 0.22),
    "loose battery": Drawing(devices.loose_battery, 0.08, 0.16),
    "power bank": Drawing(devices.power_bank, 0.15, 0.3),
    "nail polish": Drawing(goods.nail_polish, 0.09, 0.17),
    "plastic bottle": Drawing(goods.plastic_bottle, 0.22, 0.42),
    "glass bottle": Drawing(goods.glass_bottle, 0.22, 0.42),
    "can": Drawing(goods.can, 0.15, 0.27),
    "carton drink": Drawing(goods.carton_drink, 0.17, 0.32),
    "tin": Drawing(goods.tin, 0.12, 0.25),
    "vacuum cup": Drawing(goods.vacuum_cup, 0.22, 0.38),
    "laptop": Drawing(devices.laptop, 0.38, 0.6),
    "tablet": Drawing(devices.tablet, 0.26, 0.42),
    "phone": Drawing(devices.phone, 0.15, 0.26),
    "umbrella": Drawing(goods.umbrella, 0.34, 0.62),
}


def draw_item(label: str, length: float, rng: random.Random, angle: float | None = None) -> Patch:
    """Draw one item, its long side `length` scan pixels, turned at random unless told how.

    Raises:
        KeyError: nothing is known about how `label` looks.
    """
    canvas = Canvas(length, rng)
    DRAWINGS[label].draw(canvas)
    if rng.random() < 0.5:
        canvas.low, canvas.high = canvas.low[::-1], canvas.high[::-1]
    turned = rng.uniform(0, 2 * math.pi) if angle is None else angle
    return canvas.place(turned, rng.uniform(0.82, 1.0))


def draw_length(label: str, side: float, rng: random.Random) -> float:
    """A plausible long side for this class in a scan whose long side is `side` pixels."""
    d = DRAWINGS[label]
    return side * math.exp(rng.uniform(math.log(d.least), math.log(d.most)))
