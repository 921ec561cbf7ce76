"""Augmentation: a scan turned, at another penetration, in other colours.

Only what a scanner does itself is allowed: no crop (the answer names everything in the bag), no shear, no cut-outs.
"""

from __future__ import annotations

import random

import numpy as np
from PIL import Image, ImageOps
from PIL.Image import Transpose

MOST_GAMMA = 0.4
"""Log of the largest exponent: at full contrast a scan looks as through a bag 1.5 times as thick, or 1/1.5."""
MOST_HUE = 10
"""Largest turn of hue, in 1/256 of the circle (14 degrees): about as far as makers' oranges lie apart. The nearest
materials of the simulated scanners lie 48 degrees apart, so that none becomes another."""
MOST_SATURATION = 0.3


def random_turn(image: Image.Image, rng: random.Random) -> Image.Image:
    """The scan in one of the eight ways a bag can lie on the belt: mirrored, turned by quarters, or both."""
    if rng.random() < 0.5:
        image = ImageOps.mirror(image)
    if rng.random() < 0.5:
        image = ImageOps.flip(image)
    return image.transpose(Transpose.TRANSPOSE) if rng.random() < 0.5 else image


def random_contrast(image: Image.Image, strength: float, rng: random.Random) -> Image.Image:
    """The scan as at another penetration setting.

    Transmission falls exponentially with thickness, so a power of the pixel (of 0..1) is the same bag at another
    thickness: white stays white and black stays black.

    Args:
        image: RGB.
        strength: 0 to 1; the exponent is drawn evenly in its logarithm, up to exp(±`MOST_GAMMA` · strength).
        rng: draws.
    """
    exponent = float(np.exp(rng.uniform(-1, 1) * MOST_GAMMA * strength))
    table = [round(255 * (value / 255) ** exponent) for value in range(256)]
    return image.point(table * 3)


def random_palette(image: Image.Image, strength: float, rng: random.Random) -> Image.Image:
    """The scan as another maker colours it: hues turned together by a few degrees, more or less saturated.

    Args:
        image: RGB.
        strength: 0 to 1 of `MOST_HUE` and `MOST_SATURATION`.
        rng: draws.
    """
    hue, saturation, value = image.convert("HSV").split()
    turn = round(rng.uniform(-1, 1) * MOST_HUE * strength)
    factor = 1 + rng.uniform(-1, 1) * MOST_SATURATION * strength
    hue = hue.point([(one + turn) % 256 for one in range(256)])
    saturation = saturation.point([min(255, round(one * factor)) for one in range(256)])
    return Image.merge("HSV", (hue, saturation, value)).convert("RGB")
