"""What every detector does around its network: letterbox in, overlapping boxes merged on the way out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xray_app.detector.base import Detection
from xray_app.overlap import iou

OVERLAP = 0.5
"""Two boxes of a class that share more than this are one item."""
MOST_BOXES = 100
MOST_CANDIDATES = 3000
"""Boxes looked at per scan, the strongest: bounds the time of a scan at a threshold of nearly nothing."""
PAD_VALUE = 114
"""Grey of the padding, as YOLO models are trained with (both LibreYOLO and Ultralytics)."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Letterboxed:
    """A picture scaled into a square without changing its aspect ratio.

    Attributes:
        pixels: uint8, shape (size, size, 3), RGB.
        scale: pixels of the square per pixel of the picture.
        left, top: where in the square the picture begins.
        width, height: of the scaled picture within the square.
    """

    pixels: NDArray[np.uint8]
    scale: float
    left: int
    top: int
    width: int
    height: int

    def to_picture(self, boxes: Floats, size: tuple[int, int]) -> Floats:
        """Boxes (N, 4) as x0, y0, x1, y1 in the square, as pixels of the picture and cut at its edges."""
        offset = np.array([self.left, self.top, self.left, self.top], np.float32)
        limit = np.array([size[0], size[1], size[0], size[1]], np.float32)
        moved: Floats = np.clip((boxes - offset) / self.scale, 0, limit).astype(np.float32)
        return moved


def letterbox(image: Image.Image, size: int, centred: bool = False) -> Letterboxed:
    """Scales `image` into a square of `size` pixels, the rest grey.

    Training and serving both come through here. Scaling is Pillow's bilinear filter, which averages when it
    shrinks, so that thin blades do not flicker away.

    Args:
        image: an RGB picture.
        size: side of the square, pixels.
        centred: picture in the middle (Ultralytics) instead of the top left corner (YOLOX).
    """
    scale = min(size / image.width, size / image.height)
    width, height = max(1, int(image.width * scale)), max(1, int(image.height * scale))
    left, top = ((size - width) // 2, (size - height) // 2) if centred else (0, 0)
    pixels = np.full((size, size, 3), PAD_VALUE, np.uint8)
    scaled = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    pixels[top : top + height, left : left + width] = np.asarray(scaled)
    return Letterboxed(pixels, scale, left, top, width, height)


def keep_best(boxes: Floats, scores: Floats, classes: NDArray[np.int64], overlap: float) -> NDArray[np.int64]:
    """Class-aware non-maximum suppression.

    Args:
        boxes: (N, 4) as x0, y0, x1, y1.
        scores: (N,).
        classes: (N,); boxes of different classes never suppress each other.
        overlap: of two boxes of a class whose intersection over union is above this, the weaker goes.

    Returns:
        Indices of the boxes kept, the strongest first.
    """
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while order.size:
        best, rest = order[0], order[1:]
        kept.append(int(best))
        same = classes[rest] == classes[best]
        order = rest[~(same & (iou(boxes[best : best + 1], boxes[rest])[0] > overlap))]
    return np.array(kept, np.int64)


def ultralytics_rows(output: Floats, classes: int, ranked: bool) -> tuple[Floats, Floats]:
    """What an Ultralytics network answers for one scan, as corners (N, 4) in the square and scores (N, classes).

    Args:
        output: YOLOv8, 11 and 12: (4 + classes, N) with centre, sides and a score for each class. With `ranked`
            (YOLOv10 and 26, which suppress overlaps themselves): (N, 6) with corners, score and class index.
        classes: how many.
        ranked: which of the two it is.
    """
    if not ranked:
        rows = output.T
        middle, half = rows[:, :2], rows[:, 2:4] / 2
        return np.concatenate([middle - half, middle + half], axis=1), rows[:, 4:]
    scores = np.zeros((len(output), classes), np.float32)
    index = output[:, 5].astype(np.int64)
    known = (index >= 0) & (index < classes)
    scores[np.flatnonzero(known), index[known]] = output[known, 4]
    return output[:, :4], scores


def detections(
    boxes: Floats,
    scores: Floats,
    labels: Sequence[str],
    framed: Letterboxed,
    size: tuple[int, int],
    threshold: float,
) -> list[Detection]:
    """A network's boxes as items of the picture: overlapping ones of a label merged, the surest first.

    Args:
        boxes: (N, 4) corners in the square.
        scores: (N, classes).
        labels: canonical name of each class.
        framed: how the picture lies in the square.
        size: width and height of the picture, pixels.
        threshold: boxes below this score are left out.

    Returns:
        Boxes in pixels of the picture, within its edges; at most 100.
    """
    best = scores.max(axis=1)
    candidates = np.flatnonzero((best >= threshold) & np.isfinite(boxes).all(axis=1))
    if candidates.size > MOST_CANDIDATES:
        candidates = candidates[np.argsort(-best[candidates], kind="stable")[:MOST_CANDIDATES]]
    boxes, best = boxes[candidates], best[candidates]
    # By the first class of the same label: two classes of a model may be one of the taxonomy's.
    first = np.array([labels.index(label) for label in labels], np.int64)
    classes = first[scores[candidates].argmax(axis=1)]
    kept = keep_best(boxes, best, classes, OVERLAP)[:MOST_BOXES]
    placed = framed.to_picture(boxes[kept], size)
    return [
        Detection(labels[classes[index]], float(min(best[index], 1.0)), (x0, y0, x1, y1))
        for index, (x0, y0, x1, y1) in zip(kept, placed.tolist(), strict=True)
        if x0 < x1 and y0 < y1
    ]
