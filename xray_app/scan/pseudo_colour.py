"""Measured values → a picture for the screen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

AIR = 99.9
"""Percentile of the values that is taken for what the empty tunnel shows."""
MOST = 6.0
"""Log attenuation past which nothing more is told apart."""

# The ratio of low- to high-energy attenuation at which each colour is reached, as consoles show materials:
# organic orange, mixed green, metal blue.
_RATIOS = (1.26, 1.5, 2.15)
_COLOURS = ((240, 120, 30), (80, 185, 70), (20, 76, 210))
_GAIN, _DEPTH = 2.3, 0.2


def grey(values: NDArray[np.float32]) -> Image.Image:
    """Grey values of any depth (height, width) to 8 bits: zero stays black, the 99.9th percentile becomes white.

    Zero is kept because it means "nothing came through": stretching the darkest grey of a light bag
    down to black would make opaque areas out of nothing.
    """
    white = _air(values)
    scaled = np.clip(values * (255 / white if white > 0 else 0), 0, 255)
    return Image.fromarray(scaled.round().astype(np.uint8)).convert("RGB")


def pseudo_colour(low: NDArray[np.float32], high: NDArray[np.float32]) -> Image.Image:
    """The usual colours of a dual-energy scan, from what came through at both energies (height, width).

    Values are proportional to intensity; where nothing was in the way they are brightest. Material is told by the
    ratio of the two log attenuations, which falls from metal to organic (Alvarez and Macovski 1976).
    """
    weak, strong = (_attenuation(values) for values in (low, high))
    ratio = (weak + 0.004) / (strong + 0.0035)
    depth = (weak + strong) / 2
    cover = 1 - np.exp(-_GAIN * depth)
    dark = np.exp(-_DEPTH * depth - 0.03 * np.maximum(depth - 2, 0) ** 2)
    picture = np.empty((*low.shape, 3), np.uint8)
    for channel in range(3):
        hue = np.interp(ratio, _RATIOS, [colour[channel] / 255 for colour in _COLOURS]).astype(np.float32)
        picture[..., channel] = (255 * np.clip((1 - (1 - hue) * cover) * dark, 0, 1)).round()
    # What no ray of either energy came through is black: no material can be told.
    picture[(weak >= MOST) & (strong >= MOST)] = 0
    return Image.fromarray(picture)


def _air(values: NDArray[np.float32]) -> float:
    step = max(1, int((values.size / 1_000_000) ** 0.5))
    return float(np.percentile(values[::step, ::step], AIR))


def _attenuation(values: NDArray[np.float32]) -> NDArray[np.float32]:
    air = _air(values)
    passed = values / air if air > 0 else np.zeros_like(values)
    return np.minimum(-np.log(np.clip(passed, np.exp(-MOST), 1)), MOST).astype(np.float32)
