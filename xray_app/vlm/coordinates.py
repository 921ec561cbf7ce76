"""Box coordinates as each model family writes them in its answers."""

from __future__ import annotations

import math

from xray_app.errors import BadInput


def to_model_coordinates(
    xyxy: tuple[float, float, float, float],
    size: tuple[int, int],
    family: str,
    resized: tuple[int, int] | None = None,
) -> tuple[int, int, int, int]:
    """A box as a model of this family writes it.

    Args:
        xyxy: pixels of the uploaded (upright) picture.
        size: width and height of that picture.
        family: "qwen2-vl", "qwen3-vl" and "internvl" write thousandths of the picture, "qwen2.5-vl"
            (RolmOCR too) pixels of the picture as resized for the model. (QwenLM/Qwen3-VL issues 721, 866.)
            LLaVA-1.6 was not trained to write boxes in one way, so it has none.
        resized: width and height after resizing; needed for "qwen2.5-vl" only.

    Raises:
        BadInput: an unknown family, a missing size, or a number that is not finite.
    """
    x0, y0, x1, y1 = _scaled(xyxy, size, _frame(family, resized))
    return round(x0), round(y0), round(x1), round(y1)


def from_model_coordinates(
    xyxy: tuple[float, float, float, float],
    size: tuple[int, int],
    family: str,
    resized: tuple[int, int] | None = None,
) -> tuple[float, float, float, float]:
    """The inverse of `to_model_coordinates`; what lies outside the picture is moved to its edge."""
    return _scaled(xyxy, _frame(family, resized), size)


def _frame(family: str, resized: tuple[int, int] | None) -> tuple[int, int]:
    if family in ("qwen2-vl", "qwen3-vl", "internvl"):
        return 1000, 1000
    if family != "qwen2.5-vl":
        raise BadInput(f"No box coordinates are known for the model family {family!r}.")
    if resized is None:
        raise BadInput("qwen2.5-vl writes boxes in pixels of the resized picture, so its size is needed.")
    return resized


def _scaled(
    xyxy: tuple[float, float, float, float], source: tuple[int, int], target: tuple[int, int]
) -> tuple[float, float, float, float]:
    if not all(math.isfinite(value) for value in xyxy) or min(*source, *target) <= 0:
        raise BadInput(f"A box of {xyxy} in a picture of {source} makes no sense.")
    x0, y0, x1, y1 = (
        min(max(value / source[axis] * target[axis], 0.0), float(target[axis]))
        for value, axis in zip(xyxy, (0, 1, 0, 1), strict=True)
    )
    return x0, y0, x1, y1
