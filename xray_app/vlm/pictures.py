"""How large a picture a model is shown; each family says it in its own way.

Qwen-VL scales to a number of pixels, LLaVA-1.6 picks one of a list of grids of tiles, InternVL cuts into
up to so many tiles. Training and serving must agree, so the limits travel with the adapter.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

from xray_app.errors import BadModel

Limits = dict[str, Any]
"""One entry, JSON-able: `size` {"shortest_edge", "longest_edge"} in pixels of area, `image_grid_pinpoints`
[[height, width]], or `max_patches`; empty where the family has no such limit."""


@dataclass(frozen=True)
class ShownSize:
    """How large a Qwen-VL model is shown a picture: whole tokens a side, and so many pixels in all.

    Attributes:
        token: pixels a side of what becomes one token.
        least, most: pixels of area.
    """

    token: int
    least: int
    most: int

    @classmethod
    def of(cls, processor: Any, limits: Limits | None = None) -> ShownSize | None:
        """By a processor, with its own limits or those of an adapter; None where the family sizes in another way."""
        size = (picture_limits(processor) if limits is None else limits).get("size")
        images = processor.image_processor
        if size is None or not hasattr(images, "merge_size"):
            return None
        return cls(images.patch_size * images.merge_size, size["shortest_edge"], size["longest_edge"])

    def shown(self, size: tuple[int, int]) -> tuple[int, int]:
        """Width and height at which a picture of this width and height is shown; one that no model takes, as it is."""
        try:
            height, width = smart_resize(size[1], size[0], self.token, self.least, self.most)
        except ValueError:
            return size
        return width, height


QWEN2_5_VL = ShownSize(28, 56 * 56, 16384 * 28 * 28)
"""As Qwen2.5-VL and RolmOCR are published, and so as a server shows it pictures unless it is told otherwise."""


def picture_limits(processor: Any) -> Limits:
    """The limits a processor works with now."""
    images = processor.image_processor
    if grids := getattr(images, "image_grid_pinpoints", None):
        return {"image_grid_pinpoints": [list(grid) for grid in grids]}
    if most := getattr(images, "max_patches", None):
        return {"max_patches": most}
    if (size := images.size) and "longest_edge" in dict(size):
        return {"size": dict(size)}
    return {}


def set_picture_limits(model: Any, processor: Any, limits: Limits) -> None:
    """Makes a base model and its processor work with these limits."""
    for name, value in limits.items():
        setattr(processor.image_processor, name, value)
    if "image_grid_pinpoints" in limits:  # LLaVA-1.6's model finds the tiles' places by the same list
        model.config.image_grid_pinpoints = limits["image_grid_pinpoints"]


def lowered(processor: Any, pixels: int) -> Limits:
    """The processor's limits, with no picture shown at more than `pixels` pixels.

    What LLaVA-1.6 and InternVL add, the whole picture as one more tile, is not counted.

    Raises:
        BadModel: the family has no such limit, or cannot go as low.
    """
    limits = picture_limits(processor)
    if grids := limits.get("image_grid_pinpoints"):
        least = min(height * width for height, width in grids)
        limits["image_grid_pinpoints"] = [grid for grid in grids if grid[0] * grid[1] <= pixels]
    elif most := limits.get("max_patches"):
        size = processor.image_processor.size
        least = size["height"] * size["width"]
        limits["max_patches"] = min(most, pixels // least)
    elif size := limits.get("size"):
        least = 1
        size["longest_edge"] = min(size["longest_edge"], pixels)
        size["shortest_edge"] = min(size["shortest_edge"], pixels)
    else:
        raise BadModel(f"{type(processor).__name__} has no picture size limit: leave max_pixels out of the recipe.")
    if pixels < least:
        raise BadModel(f"This model is shown at least {least} pixels of a picture; max_pixels is {pixels}.")
    return limits


def limits_of_adapter(folder: Path, base: Limits) -> Limits:
    """The limits an adapter was trained with, from the processor saved beside it; else its base's.

    Raises:
        BadModel: they cannot be read, are another family's, or lie above the base's: an adapter may show
            its model less than the base does, never more.
    """
    file = folder / "processor" / "processor_config.json"
    if not file.is_file():
        return base
    try:
        saved = json.loads(file.read_text(encoding="utf-8"))["image_processor"]
        limits = {name: saved[name] for name in base}
        fits = all(_within(value, base[name]) for name, value in limits.items())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadModel(f"{file} does not say how large pictures are: {error!r}") from error
    if not fits:
        raise BadModel(f"{file} shows the model larger pictures than its base does: {limits}, not {base}.")
    return limits


def _within(limit: Any, base: Any) -> bool:
    if isinstance(base, dict):
        same = isinstance(limit, dict) and limit.keys() == base.keys()
        return same and all(_within(limit[name], base[name]) for name in base)
    if isinstance(base, list):
        return bool(limit) and all(grid in base for grid in limit)
    return isinstance(limit, int) and 0 < limit <= base
