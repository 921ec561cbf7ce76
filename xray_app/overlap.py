"""How far boxes overlap: the one measure for models, people and figures."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def iou(one: ArrayLike, others: ArrayLike) -> NDArray[np.floating[Any]]:
    """Intersection over union, 0 to 1, of each box with each of the others.

    Args:
        one: boxes (N, 4) as x0, y0, x1, y1.
        others: boxes (M, 4).

    Returns:
        Shape (N, M), in the precision of the boxes; 0 where neither has an area.
    """
    first, second = (np.asarray(boxes).reshape(-1, 4) for boxes in (one, others))
    corner = np.maximum(first[:, None, :2], second[None, :, :2])
    opposite = np.minimum(first[:, None, 2:], second[None, :, 2:])
    sides = np.clip(opposite - corner, 0, None)
    shared = sides[..., 0] * sides[..., 1]
    area = np.prod(first[:, 2:] - first[:, :2], axis=1)
    other_area = np.prod(second[:, 2:] - second[:, :2], axis=1)
    union = area[:, None] + other_area[None, :] - shared
    result: NDArray[np.floating[Any]] = np.where(union > 0, shared / np.maximum(union, 1e-9), 0)
    return result.astype(np.result_type(first, second, np.float32), copy=False)
