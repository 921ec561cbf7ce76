"""Simulated scans like a site's own: the conditions under which full bags look like its unlabelled scans.

Scans are simulated under conditions drawn at random; for each of the site's pictures the conditions whose scan lies
nearest to it are kept, by how large the scan is, how much of it is empty, its colours, its edges and what goes black.
No label is needed, and nothing of the pictures themselves is kept.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from PIL import Image

from xray_app.errors import BadInput
from xray_app.scan.appearance import COLOURED, EMPTY, METAL, MIXED, ORGANIC
from xray_app.simulate.belt import Conditions, draw_conditions
from xray_app.simulate.scene import simulate_scan
from xray_app.simulate.shapes import Floats
from xray_app.taxonomy import Taxonomy

TRIES = 600
"""Conditions that are tried; about half a minute."""
LARGEST = 640
"""Longest side of what is simulated; what a site's scans have beyond it no model is shown."""
_SIDE = 192
_BLACK = 0.22


def looks_of(image: Image.Image) -> Floats:
    """Twelve figures of how an RGB picture looks, none of them about its size."""
    scale = min(1.0, _SIDE / max(image.size))
    size = max(2, round(image.width * scale)), max(2, round(image.height * scale))
    small = image.convert("RGB").resize(size, Image.Resampling.BOX)
    rgb = np.asarray(small, np.float32) / 255
    there = rgb.min(2) < EMPTY
    grey = rgb.mean(2)
    edges = np.hypot(*np.gradient(grey))
    hue, saturation, _ = np.moveaxis(np.asarray(small.convert("HSV"), np.float32), 2, 0)
    hue *= 360 / 255
    coloured = (saturation >= COLOURED * 255) & there

    def share(bounds: tuple[int, int]) -> float:
        return float((coloured & (hue >= bounds[0]) & (hue < bounds[1])).mean())

    filled = bool(there.any())
    return np.array(
        [
            float(there.mean()),
            share(ORGANIC),
            share(MIXED),
            share(METAL),
            float((grey < _BLACK).mean()),
            float(grey[there].mean()) if filled else 1.0,
            float(grey[there].std()) if filled else 0.0,
            float(saturation[there].mean()) / 255 if filled else 0.0,
            float(edges.mean()) * 4,
            float(edges[there].std()) * 4 if filled else 0.0,
            float(np.median(grey)),
            float(np.quantile(grey, 0.98)),
        ]
    )


def conditions_like(
    pictures: Iterable[Image.Image],
    taxonomy: Taxonomy,
    *,
    seed: int = 0,
    tries: int = TRIES,
) -> tuple[Conditions, ...]:
    """Conditions for `simulate_scan(like=…)`, one for each picture.

    Args:
        pictures: a site's scans, RGB; none of their labels is needed.
        taxonomy: what lies in the bags that are tried.
        seed: of what is tried.
        tries: how many conditions are tried.

    Raises:
        BadInput: there is no picture.
    """
    wanted = [(image.size, looks_of(image)) for image in pictures]
    if not wanted:
        raise BadInput("There is no scan to be like. Name a folder with pictures in it.")
    tried: list[Conditions] = []
    looks: list[Floats] = []
    for number in range(tries):
        rng = random.Random(f"{seed}-{number}")
        (width, height), _ = wanted[rng.randrange(len(wanted))]
        conditions = _sized(draw_conditions(rng), width, height)
        scan = simulate_scan(rng.getrandbits(48), taxonomy, kind="full", like=[conditions])
        tried.append(replace(conditions, style=scan.style))
        looks.append(looks_of(scan.image))
    found = np.stack(looks)
    spread = found.std(0) + 1e-6
    shapes = np.log([c.width / c.height for c in tried])
    kept = []
    for (width, height), look in wanted:
        distance = (((found - look) / spread) ** 2).sum(1) + (4 * (shapes - np.log(width / height))) ** 2
        kept.append(_sized(tried[int(distance.argmin())], width, height))
    return tuple(kept)


def _sized(conditions: Conditions, width: int, height: int) -> Conditions:
    shrink = min(1.0, LARGEST / max(width, height))
    return replace(conditions, width=max(64, round(width * shrink)), height=max(64, round(height * shrink)))
