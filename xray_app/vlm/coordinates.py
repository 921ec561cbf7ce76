"""Box coordinates as each model family writes them in its answers.

Qwen2-VL, Qwen3-VL and InternVL write thousandths of the picture, Qwen2.5-VL (RolmOCR too) pixels of the picture as
resized for the model (QwenLM/Qwen3-VL issues 721, 866). LLaVA-1.6 and others were not trained to write boxes in one
way, so nobody can say where theirs lie.
"""

from __future__ import annotations

import math
import re

from xray_app.errors import BadInput
from xray_app.types import XYXY

THOUSANDTHS = (1000, 1000)
IN_PIXELS = "qwen2.5-vl"
"""The family whose frame is the resized picture."""
_FAMILIES = (
    (IN_PIXELS, re.compile(r"rolm[-_]?ocr|qwen[-_]?2[._]5[-_]?vl|qwen25[-_]?vl", re.I)),
    ("qwen3-vl", re.compile(r"qwen[-_]?3([._]\d)?[-_]?vl", re.I)),
    ("qwen2-vl", re.compile(r"qwen[-_]?2[-_]?vl", re.I)),
    ("internvl", re.compile(r"intern[-_]?vl", re.I)),
)


def family_of(name: str) -> str | None:
    """The family that a model's name or its `model_type` says; None for one whose boxes cannot be placed."""
    return next((family for family, pattern in _FAMILIES if pattern.search(name)), None)


def coordinate_frame(family: str | None, resized: tuple[int, int]) -> tuple[int, int] | None:
    """Width and height in which a family writes boxes; None where that is not known.

    Args:
        family: from `family_of`.
        resized: width and height of the picture as the model is shown it.
    """
    if family is None:
        return None
    return resized if family == IN_PIXELS else THOUSANDTHS


def from_frame(xyxy: XYXY, frame: tuple[int, int], size: tuple[int, int]) -> XYXY:
    """A model's box in pixels of the uploaded (upright) picture; what lies outside is moved to its edge.

    Args:
        xyxy: as the model wrote it.
        frame: width and height in which it writes.
        size: width and height of the picture.

    Raises:
        BadInput: a number that is not finite, or a picture without size.
    """
    if not all(math.isfinite(value) for value in xyxy) or min(*size, *frame) <= 0:
        raise BadInput(f"A box of {xyxy} in a picture of {size} makes no sense.")
    x0, y0, x1, y1 = (
        min(max(value / frame[axis] * size[axis], 0.0), float(size[axis]))
        for value, axis in zip(xyxy, (0, 1, 0, 1), strict=True)
    )
    return x0, y0, x1, y1
