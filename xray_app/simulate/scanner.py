"""From dual-energy log attenuation to a picture, the way different scanners show it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from xray_app.simulate.shapes import Floats

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Style:
    """How one make of scanner shows what it measures.

    `organic`, `mixed`, `metal` are the colours of fully saturated materials; `gain` says how fast
    colour saturates with attenuation and `depth` how fast it darkens; `mixed_at` and `metal_at` are
    the low/high attenuation ratios where those colours are reached. One that is `quiet` shows no noise in the empty
    tunnel.
    """

    name: str
    organic: Colour
    mixed: Colour
    metal: Colour
    background: Colour = (255, 255, 255)
    gain: float = 2.2
    depth: float = 0.2
    mixed_at: float = 1.5
    metal_at: float = 2.15
    noise: float = 0.012
    blur: float = 0.5
    sharpen: int = 90
    border: bool = False
    quality: int = 88
    quiet: bool = False


STYLES: tuple[Style, ...] = (
    Style("vivid", (240, 92, 20), (70, 185, 70), (14, 72, 214), gain=2.6, sharpen=140, border=True, quality=92),
    Style(
        "pale",
        (240, 140, 95),
        (110, 215, 150),
        (36, 96, 190),
        background=(251, 251, 248),
        gain=1.9,
        blur=0.8,
        sharpen=60,
    ),
    Style("dense", (222, 76, 14), (110, 150, 30), (16, 48, 215), gain=3.4, depth=0.28, sharpen=170, border=True),
    Style(
        "clean",
        (236, 146, 48),
        (96, 190, 60),
        (24, 124, 238),
        gain=2.6,
        depth=0.13,
        blur=0.35,
        sharpen=170,
        noise=0.02,
        quality=85,
    ),
    Style(
        "grey",
        (214, 84, 50),
        (62, 168, 105),
        (26, 76, 178),
        background=(228, 230, 228),
        gain=2.1,
        blur=0.7,
        quality=80,
    ),
    Style(
        "teal",
        (222, 124, 72),
        (56, 184, 136),
        (14, 90, 156),
        background=(255, 254, 250),
        gain=2.3,
        depth=0.28,
        mixed_at=1.42,
        metal_at=1.95,
        noise=0.018,
    ),
    Style(
        "soft",
        (250, 122, 44),
        (90, 205, 90),
        (18, 66, 175),
        gain=2.0,
        blur=1.1,
        sharpen=0,
        noise=0.008,
        quality=75,
    ),
)

_RATIOS, _DEPTHS, _MOST = 64, 256, 6.0
_RATIO_LOW, _RATIO_HIGH = 1.0, 3.2


def _palette(style: Style) -> NDArray[np.uint8]:
    # Noise, blur and quality differ from scan to scan and must not be part of the key.
    return _coloured(replace(style, name="", noise=0, blur=0, sharpen=0, border=False, quality=0, quiet=False))


@cache
def _coloured(style: Style) -> NDArray[np.uint8]:
    """(ratio, depth) -> RGB; depth is spaced by square root so that thin things keep their shades."""
    ratio = np.linspace(_RATIO_LOW, _RATIO_HIGH, _RATIOS)
    stops = [1.26, style.mixed_at, style.metal_at]
    colours = np.array([style.organic, style.mixed, style.metal], float) / 255
    hue = np.stack([np.interp(ratio, stops, colours[:, k]) for k in range(3)], 1)[:, None, :]
    attenuation = ((np.arange(_DEPTHS) / (_DEPTHS - 1)) ** 2 * _MOST)[None, :, None]
    cover = 1 - np.exp(-style.gain * attenuation)
    dark = np.exp(-style.depth * attenuation - 0.03 * np.maximum(attenuation - 2, 0) ** 2)
    background = np.array(style.background, float) / 255
    picture = background * (1 - (1 - hue) * cover) * dark
    return (np.clip(picture, 0.03, 1) * 255 + 0.5).astype(np.uint8)


def render(low: Floats, high: Floats, style: Style, rng: np.random.Generator) -> Image.Image:
    """The colour picture of a scan from its log attenuation (height, width) at both energies."""
    height, width = low.shape
    noise = rng.standard_normal((2, height, width), dtype=np.float32)
    # Photon noise grows where few photons arrive; the detector also smears neighbouring pixels.
    grow = 1 + 0.5 * np.minimum(high, 4)
    if style.quiet:
        grow *= np.minimum(high * 12, 1)
    low = np.maximum(_blurred(low, style.blur) + noise[0] * (style.noise * grow), 0)
    high = np.maximum(_blurred(high, style.blur) + noise[1] * (style.noise * 0.7 * grow), 0)
    smooth_low, smooth_high = _blurred(low, 0.8), _blurred(high, 0.8)
    ratio = (smooth_low + 0.004) / (smooth_high + 0.0035)
    rows = np.clip((ratio - _RATIO_LOW) * ((_RATIOS - 1) / (_RATIO_HIGH - _RATIO_LOW)), 0, _RATIOS - 1)
    depth = np.minimum((low + high) / 2, _MOST)
    columns = np.sqrt(depth / _MOST) * (_DEPTHS - 1)
    index = rows.astype(np.int32) * _DEPTHS + columns.astype(np.int32)
    picture = Image.fromarray(np.take(_palette(style).reshape(-1, 3), index, axis=0))
    if style.sharpen:
        picture = picture.filter(ImageFilter.UnsharpMask(1.6, style.sharpen, 1))
    if style.border:
        picture.paste((8, 12, 24), (width - 2, 0, width, height))
        picture.paste((8, 12, 24), (0, height - 2, width, height))
    return picture


def _blurred(values: Floats, sigma: float) -> Floats:
    """A small separable blur with a three-point kernel; sigma in pixels."""
    side = np.float32(min(0.33, sigma * sigma / 2))
    if side <= 0:
        return values
    out = values * (1 - 2 * side)
    out[:, 1:-1] += side * (values[:, :-2] + values[:, 2:])
    out[:, 0] += side * (values[:, 0] + values[:, 1])
    out[:, -1] += side * (values[:, -1] + values[:, -2])
    both = out * (1 - 2 * side)
    both[1:-1] += side * (out[:-2] + out[2:])
    both[0] += side * (out[0] + out[1])
    both[-1] += side * (out[-1] + out[-2])
    return both
