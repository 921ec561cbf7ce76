"""Log attenuation → a picture for the screen, block by block."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from xray_app.scan.attenuation import MOST, OPAQUE_BELOW, OPAQUE_PAST, Scale, Values, blocks

# The ratio of low- to high-energy attenuation at which each colour is reached, as consoles show materials:
# organic orange, mixed green, metal blue.
_RATIOS = (1.26, 1.5, 2.15)
_COLOURS = ((240, 120, 30), (80, 185, 70), (20, 76, 210))
_GAIN, _DEPTH = 2.3, 0.2
_FADES_PAST = math.log(5)
"""Mean log attenuation from which on colour fades, so that it ends at `OPAQUE_PAST` without an edge: where a fifth of
the beam comes through, the ratio of what is left tells material less and less."""


@dataclass(frozen=True, eq=False)
class Shown:
    """A measured frame as a picture.

    Attributes:
        image: RGB, 8 bits.
        opaque_fraction: share of its pixels too dense to see through, 0 to 1.
    """

    image: Image.Image
    opaque_fraction: float


def opaque_fraction(image: Image.Image) -> float:
    """Share of an RGB picture too dark to see through, 0 to 1.

    By the brightest channel and not by luminance, because thin steel is a pure dark blue, of low luminance but
    plainly seen through.
    """
    opaque = 0
    for rows in blocks(image.height, image.width):
        part = image.crop((0, rows.start, image.width, min(rows.stop, image.height)))
        red, green, blue = part.split()
        opaque += sum(ImageChops.lighter(ImageChops.lighter(red, green), blue).histogram()[:OPAQUE_BELOW])
    return opaque / (image.width * image.height)


def shown(image: Image.Image) -> Shown:
    """An RGB picture of which nothing more is known: opaque goes by how it looks."""
    return Shown(image, opaque_fraction(image))


@dataclass(frozen=True, eq=False)
class Frame:
    """What was measured at one energy.

    Attributes:
        stored: values as stored (height, width).
        scale: turns them into attenuation.
    """

    stored: Values
    scale: Scale

    @property
    def mean_passed(self) -> float:
        """The mean share of the beam that came through, by some of the pixels."""
        step = max(1, int((self.stored.size / 1_000_000) ** 0.5))
        return float(self.scale.passed(self.stored[::step, ::step]).mean())


def grey(frame: Frame) -> Shown:
    """One energy: what came through, black where nothing did, white in the empty tunnel.

    One energy alone holds no material, so that colour would be made up.
    """
    picture = np.empty(frame.stored.shape, np.uint8)
    for rows in blocks(*frame.stored.shape):
        picture[rows] = (255 * frame.scale.passed(frame.stored[rows])).round()
    return shown(Image.fromarray(picture).convert("RGB"))


def pseudo_colour(low: Frame, high: Frame) -> Shown:
    """The usual colours of a dual-energy scan, from frames of both energies of one shape.

    Material is told by the ratio of the two log attenuations, which falls from metal to organic (Alvarez and
    Macovski 1976). Opaque is what their mean says, so that it does not hang on the colour; it looks as it does at the
    energy that comes through less, alone: near black.
    """
    picture = np.empty((*low.stored.shape, 3), np.uint8)
    opaque = 0
    for rows in blocks(*low.stored.shape):
        weak, strong = (frame.scale.attenuation(frame.stored[rows]) for frame in (low, high))
        picture[rows] = _coloured(weak, strong)
        opaque += int(((weak + strong) / 2 > OPAQUE_PAST).sum())
    return Shown(Image.fromarray(picture), opaque / low.stored.size)


def _coloured(weak: NDArray[np.float32], strong: NDArray[np.float32]) -> NDArray[np.uint8]:
    ratio = (weak + 0.004) / (strong + 0.0035)
    depth = (weak + strong) / 2
    cover = 1 - np.exp(-_GAIN * depth)
    dark = np.exp(-_DEPTH * depth - 0.03 * np.maximum(depth - 2, 0) ** 2)
    faded = np.clip((depth - _FADES_PAST) / (OPAQUE_PAST - _FADES_PAST), 0, 1)
    black = faded * np.exp(-np.maximum(weak, strong))
    picture = np.empty((*weak.shape, 3), np.uint8)
    for channel in range(3):
        hue = np.interp(ratio, _RATIOS, [one[channel] / 255 for one in _COLOURS]).astype(np.float32)
        colour = np.clip((1 - (1 - hue) * cover) * dark, 0, 1)
        picture[..., channel] = (255 * ((1 - faded) * colour + black)).round()
    # What no ray of either energy came through is black: no material can be told.
    picture[(weak >= MOST) & (strong >= MOST)] = 0
    return picture
