"""Threat image projection: a threat cut from one scan and laid into another, as screeners' training does it.

X-rays that pass two things one after the other are weakened by each in turn, so transmissions multiply. The
threat's is what its pixels hold over what they would hold without it, colour by colour; multiplied into another
scan it darkens and tints what lies behind as a real one would (Bhowmik et al. 2019, "The Good, the Bad and the
Ugly: Evaluating Convolutional Neural Networks for Prohibited Item Detection Using Real and Synthetically
Composited X-ray Imagery"). Screen colours are not transmissions: steel behind clothes is blue on every console, and
not blue times orange. So what lies behind loses its colour by as much as the threat absorbs more than it. A cut that
does not stand out from light, even surroundings is refused.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling, Transpose
from scipy import ndimage

from xray_app.types import XYXY

LEAST_SIDE = 8
"""Pixels; of anything smaller no shape is left."""
DARKER = 0.15
"""Mean log attenuation from which a pixel of the box belongs to the threat: well above noise and JPEG's traces."""
FAINT = 0.05
"""Mean log attenuation below which a pixel of a projected threat is dropped: nobody would see it."""
LIGHT = 0.25
"""Least mean brightness (0..1) of the surroundings a threat is cut from."""
EVEN = 0.15
"""Largest median deviation of the surroundings (mean log brightness) from a smooth slope."""
CROSSING = 0.15
"""Largest share of a line just around the box that may be dark: more, and something else lies across it."""
FILLS = 0.7
"""Least share of the labelled box's width and height the cut has to reach: else box or cut is wrong."""
DARKEST = -5.0

SIZES = (0.85, 1.15)
STRENGTHS = (0.85, 1.15)
MOST_ENLARGED = 3.0
TRIES = 24
IN_THE_BAG = 0.9
"""Least share of a projected threat that has to lie on something, not on the empty belt."""
SEEN_THROUGH = 0.25
"""Least mean brightness (0..1) of the place a threat is laid on: behind anything darker it could not be seen."""
BELT = 0.92
"""Brighter than this share of the scan's 95th percentile is the empty belt: not all scanners show it white."""


@dataclass(frozen=True, eq=False)
class Threat:
    """A threat without its surroundings.

    Attributes:
        label: canonical class name.
        attenuation: (h, w, 3) logarithm of its transmission, 0 where there is nothing, negative elsewhere.
        side: longer side of the scan it was cut from, pixels; tells its size in another.
    """

    label: str
    attenuation: NDArray[np.float32]
    side: int


@dataclass(frozen=True, eq=False)
class Projection:
    """A scan with a threat in it. `xyxy` is the exact box, in pixels of `image`: outside it nothing changed."""

    image: Image.Image
    label: str
    xyxy: XYXY


def cut(image: Image.Image, xyxy: XYXY, label: str) -> Threat | None:
    """Cuts a labelled threat from a scan; None where it does not stand out cleanly.

    What the pixels would hold without it is a plane, fitted per colour to the logarithm of a frame around the box.

    Args:
        image: RGB, upright.
        xyxy: its box, pixels of `image`.
        label: canonical class name.
    """
    x0, y0 = max(0, int(np.floor(xyxy[0]))), max(0, int(np.floor(xyxy[1])))
    x1, y1 = min(image.width, int(np.ceil(xyxy[2]))), min(image.height, int(np.ceil(xyxy[3])))
    if min(x1 - x0, y1 - y0) < LEAST_SIDE:
        return None
    frame = max(3, round(0.15 * max(x1 - x0, y1 - y0)))
    left, top = max(0, x0 - frame), max(0, y0 - frame)
    window = image.crop((left, top, min(image.width, x1 + frame), min(image.height, y1 + frame)))
    log = np.log((np.asarray(window, np.float32) + 1) / 256)
    inside = np.zeros(log.shape[:2], bool)
    inside[y0 - top : y1 - top, x0 - left : x1 - left] = True
    surroundings = _surroundings(log, ~inside)
    if surroundings is None:
        return None
    behind = _greyed(np.exp(surroundings), log.mean(2) - surroundings.mean(2))
    attenuation = np.clip(log - np.log(behind), DARKEST, 0)
    dark = ndimage.gaussian_filter((log - surroundings).mean(2), 0.7) < -DARKER
    around = ndimage.binary_dilation(inside, iterations=3) & ~ndimage.binary_dilation(inside, iterations=2)
    if not around.any() or float(dark[around].mean()) > CROSSING:
        return None
    attenuation = attenuation[y0 - top : y1 - top, x0 - left : x1 - left]
    solid = _solid(dark[y0 - top : y1 - top, x0 - left : x1 - left])
    box = _bounds(solid)
    if box is None:
        return None
    height, width = solid.shape
    if box[2] - box[0] < FILLS * width or box[3] - box[1] < FILLS * height:
        return None
    soft = np.clip(2 * ndimage.gaussian_filter(solid.astype(np.float32), 0.8), 0, 1)
    attenuation = (attenuation * soft[..., None])[box[1] : box[3], box[0] : box[2]]
    return Threat(label, attenuation.astype(np.float32), max(image.size))


def _greyed(behind: NDArray[np.float32], attenuation: NDArray[np.float32]) -> NDArray[np.float32]:
    """What lies behind (h, w, 3; 0..1) with its colour gone by the threat's share of all that is absorbed there.

    `attenuation` (h, w) is the threat's alone: mean logarithm, negative.
    """
    grey = np.maximum(behind.mean(2), 1 / 256)
    threat, other = np.maximum(-attenuation, 0), -np.log(grey)
    share = threat / (threat + np.maximum(other, 0) + 1e-3)
    return behind + share[..., None] * (grey[..., None] - behind)


def _surroundings(log: NDArray[np.float32], outside: NDArray[np.bool_]) -> NDArray[np.float32] | None:
    """The plane through what lies around, carried on under the threat; None where that is dark or uneven."""
    rows, columns = np.indices(log.shape[:2], dtype=np.float32)
    terms = np.stack([np.ones_like(rows), rows / log.shape[0], columns / log.shape[1]], -1)
    used = outside
    for _ in range(3):  # twice without what does not fit: a strap or an edge that crosses the frame
        if used.sum() < max(16, outside.sum() // 3):
            return None
        slopes = np.linalg.lstsq(terms[used], log[used], rcond=None)[0]
        plane = terms @ slopes
        rest = np.abs((log - plane).mean(2))
        used = outside & (rest < 2 * max(float(np.median(rest[outside])), 0.02))
    if float(np.median(rest[outside])) > EVEN or float(np.exp(plane.mean())) < LIGHT:
        return None
    return np.minimum(plane, 0).astype(np.float32)


def _solid(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask without specks: parts under a tenth of the largest."""
    parts, count = ndimage.label(mask, np.ones((3, 3)))
    if count == 0:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return (sizes >= 0.1 * sizes.max())[parts] & mask


def _bounds(mask: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    """x0, y0, x1, y1 of what is set; None where nothing is."""
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return (int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1) if len(xs) else None


def project(image: Image.Image, threat: Threat, rng: random.Random) -> Projection | None:
    """Lays a threat into a scan at a place inside a bag where it can be seen; None where there is none.

    Its size relative to the scan is kept within `SIZES`, its thickness within `STRENGTHS`; it lies any way round.
    The same scan, threat and state of `rng` give the same picture.

    Args:
        image: RGB, upright.
        threat: what `cut` gave.
        rng: draws.
    """
    enlarged = max(image.size) / threat.side * rng.uniform(*SIZES)
    if enlarged > MOST_ENLARGED:
        return None
    patch = _laid(threat.attenuation, enlarged, rng) * np.float32(rng.uniform(*STRENGTHS))
    present = _solid(patch.mean(2) < -FAINT)
    box = _bounds(present)
    if box is None or min(box[2] - box[0], box[3] - box[1]) < LEAST_SIDE:
        return None
    patch = (patch * present[..., None]).astype(np.float32)[box[1] : box[3], box[0] : box[2]]
    present = present[box[1] : box[3], box[0] : box[2]]
    height, width = present.shape
    if height > image.height or width > image.width:
        return None
    brightness = np.asarray(image.convert("L"))
    belt = BELT * float(np.percentile(brightness, 95))
    for _ in range(TRIES):
        x, y = rng.randint(0, image.width - width), rng.randint(0, image.height - height)
        under = brightness[y : y + height, x : x + width][present]
        if np.mean(under < belt) >= IN_THE_BAG and float(under.mean()) >= 255 * SEEN_THROUGH:
            break
    else:
        return None
    place = (x, y, x + width, y + height)
    behind = np.asarray(image.crop(place), np.float32) / np.float32(255)
    laid = _greyed(behind, patch.mean(2)) * np.exp(patch)
    changed = image.copy()
    changed.paste(Image.fromarray((255 * np.clip(laid, 0, 1) + 0.5).astype(np.uint8)), place)
    return Projection(changed, threat.label, place)


def _laid(attenuation: NDArray[np.float32], enlarged: float, rng: random.Random) -> NDArray[np.float32]:
    """The attenuation at another size and any way round."""
    height, width = attenuation.shape[:2]
    size = max(1, round(width * enlarged)), max(1, round(height * enlarged))
    mirrored, angle = rng.random() < 0.5, rng.uniform(0, 360)
    planes = []
    for colour in range(3):
        plane = Image.fromarray(attenuation[..., colour]).resize(size, Resampling.BILINEAR)
        if mirrored:
            plane = plane.transpose(Transpose.FLIP_LEFT_RIGHT)
        planes.append(np.asarray(plane.rotate(angle, Resampling.BILINEAR, expand=True, fillcolor=0)))
    return np.stack(planes, -1)
