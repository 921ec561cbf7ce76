"""How a scan looks: a small picture of it for lists, and a few figures that tell when the scanners change."""

from __future__ import annotations

import io
from dataclasses import dataclass

import imagehash
import numpy as np
from PIL import Image

SIDE = 224
"""Longest side of a thumbnail in pixels."""
QUALITY = 72
MEDIA_TYPE = "image/webp"

# The three colours every dual-energy scanner shows materials in, as ranges of hue in degrees. Pseudo-colour
# differs between makers; the bounds lie where their palettes leave gaps.
ORGANIC = (5, 60)
MIXED = (60, 170)
METAL = (170, 270)
COLOURED = 0.12
"""Least saturation (0 to 1) at which a pixel has a colour at all."""
EMPTY = 0.92
"""Brightness (darkest channel, 0 to 1) from which a pixel is the empty tunnel."""
HASH_SIDE = 16
"""A perceptual hash has the square of this in bits."""
BLANK = 8.0
"""Standard deviation of grey (0 to 255) below which nothing is in a picture by which to tell it from others."""


@dataclass(frozen=True)
class Appearance:
    """A scan's thumbnail and colours.

    Attributes:
        thumbnail: WebP, longest side at most `SIDE` pixels.
        organic: share of what is not empty tunnel that is orange, 0 to 1.
        mixed: the same of green.
        metal: the same of blue.
        brightness: mean brightness of what is not empty tunnel, 0 to 1; 1 where all is empty.
        perceptual_hash: 256 bits in hexadecimal; of near-equal pictures nearly the same (`near_equal.py`). None: blank.
    """

    thumbnail: bytes
    organic: float
    mixed: float
    metal: float
    brightness: float
    perceptual_hash: str | None


def appearance_of(image: Image.Image) -> Appearance:
    """The appearance of an RGB picture, 8 bits, upright; of about ten milliseconds."""
    small = image.copy() if max(image.size) <= SIDE else image.resize(_fitted(image), Image.Resampling.BOX)
    blank = float(np.asarray(small.convert("L"), np.float32).std()) < BLANK
    perceptual_hash = None if blank else str(imagehash.phash(small, hash_size=HASH_SIDE))
    out = io.BytesIO()
    small.save(out, "WEBP", quality=QUALITY, method=2)
    rgb = np.asarray(small.convert("RGB"), np.float32) / 255
    there = rgb.min(2) < EMPTY
    if not there.any():
        return Appearance(out.getvalue(), 0.0, 0.0, 0.0, 1.0, perceptual_hash)
    hue, saturation, _ = np.moveaxis(np.asarray(small.convert("HSV"), np.float32), 2, 0)
    degrees = hue[there] * (360 / 255)
    coloured = saturation[there] >= COLOURED * 255

    def share(bounds: tuple[int, int]) -> float:
        return float((coloured & (degrees >= bounds[0]) & (degrees < bounds[1])).mean())

    organic, mixed, metal = share(ORGANIC), share(MIXED), share(METAL)
    return Appearance(out.getvalue(), organic, mixed, metal, float(rgb[there].mean()), perceptual_hash)


def _fitted(image: Image.Image) -> tuple[int, int]:
    scale = SIDE / max(image.size)
    return max(1, round(image.width * scale)), max(1, round(image.height * scale))
