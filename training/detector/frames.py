"""Scans as the detector is trained on them: letterboxed once, kept on disk, mirrored and brightened in batches."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import math
import os
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from training.data.augment import random_contrast, random_palette
from training.data.group_balance import group_balance
from training.data.repeat_factor import repeat_factors
from training.data.samples import Sample
from xray_app.atomic_write import atomic_write
from xray_app.detector.boxes import PAD_VALUE, letterbox
from xray_app.errors import BadDataset, StorageFailed

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """What the loss takes.

    Attributes:
        images: (B, 3, S, S) float32 in channels-last memory, blue-green-red, 0 to 255.
        targets: (B, most boxes, 5): class, centre x and y, width, height in pixels of S; zero rows are padding.
        unlabelled: (B, classes) bool, classes nobody looked for.
    """

    images: torch.Tensor
    targets: torch.Tensor
    unlabelled: torch.Tensor


class Frames:
    """Letterboxed scans with their boxes. The pixels are memory-mapped from `folder`, never from the data set's.

    Args:
        samples: what to train on.
        labels: class names by index; every box's label must be among them.
        size: side of the square, pixels.
        folder: where the file of pixels is kept; one made from the same samples before is used again.
    """

    def __init__(self, samples: Sequence[Sample], labels: Sequence[str], size: int, folder: Path) -> None:
        index = {label: position for position, label in enumerate(labels)}
        self.size = size
        self.unlabelled = np.zeros((len(samples), len(labels)), np.bool_)
        self._boxes: list[NDArray[np.float32]] = []
        self._groups = [sample.group or "" for sample in samples]
        self._extents = np.zeros((len(samples), 2), np.int64)
        for row, sample in enumerate(samples):
            if sample.labelled_classes is not None:
                looked_for = set(sample.labelled_classes)
                self.unlabelled[row] = [label not in looked_for for label in labels]
            scale = min(size / sample.width, size / sample.height)
            self._extents[row] = max(1, int(sample.width * scale)), max(1, int(sample.height * scale))
            boxes = np.zeros((len(sample.boxes), 5), np.float32)
            for number, box in enumerate(sample.boxes):
                if box.label not in index:
                    raise BadDataset(f"{sample.image}: its class {box.label} is not one the detector is to learn")
                boxes[number] = index[box.label], *(value * scale for value in box.xyxy)
            self._boxes.append(boxes)
        self._pixels = _pixels(samples, size, folder)

    def __len__(self) -> int:
        return len(self._boxes)

    def repeat_factors(self, rare: float) -> NDArray[np.float64]:
        """(N,) how often each scan is to be shown in an epoch; see `training.data.repeat_factor`."""
        return np.array(repeat_factors(self._classes(), rare))

    def group_balance(self) -> NDArray[np.float64]:
        """(N,) how often to show each scan for its scanner to tell nothing; see `training.data.group_balance`."""
        return group_balance(self._classes(), self._groups)

    def _classes(self) -> list[set[int]]:
        return [set(boxes[:, 0].astype(int).tolist()) for boxes in self._boxes]

    def batch(self, rows: Sequence[int], seed: int, size: int, vary: float = 0.0) -> Batch:
        """The scans `rows`, each mirrored left to right and top to bottom or not, and a little brighter or darker.

        A bag lies on the belt either way round, so a mirrored scan is as true as the scan.

        Args:
            rows: indices of scans.
            seed: the same seed gives the same batch.
            size: side of the square, at most that of the frames.
            vary: 0 to 1, how far scans are moved towards other scanners; see `as_elsewhere`.
        """
        rng = np.random.default_rng(seed)
        side = size if vary > 0 else self.size
        pixels = np.empty((len(rows), side, side, 3), np.uint8)
        most = max([1, *(len(self._boxes[row]) for row in rows)])
        targets = np.zeros((len(rows), most, 5), np.float32)
        for position, row in enumerate(rows):
            frame = np.array(self._pixels[row])
            boxes = self._boxes[row].copy()
            width, height = self._extents[row]
            if rng.random() < 0.5:
                frame[:height, :width] = frame[:height, :width][:, ::-1].copy()
                boxes[:, [1, 3]] = width - boxes[:, [3, 1]]
            if rng.random() < 0.5:
                frame[:height, :width] = frame[:height, :width][::-1].copy()
                boxes[:, [2, 4]] = height - boxes[:, [4, 2]]
            if vary > 0:
                draws = random.Random(int(rng.integers(2**31)))
                frame, boxes = as_elsewhere(Image.fromarray(frame[:height, :width]), boxes, vary, size, draws)
            pixels[position] = frame[..., ::-1]
            targets[position, : len(boxes), 0] = boxes[:, 0]
            targets[position, : len(boxes), 1:3] = (boxes[:, 1:3] + boxes[:, 3:5]) / 2
            targets[position, : len(boxes), 3:5] = boxes[:, 3:5] - boxes[:, 1:3]
        gain = torch.from_numpy(rng.uniform(0.9, 1.1, (len(rows), 1, 1, 1)).astype(np.float32))
        # From (B, S, S, 3) this view is channels-last already, which convolutions on a CPU like best.
        images = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() * gain).clamp_(0, 255)
        if size != side:
            images = torch.nn.functional.interpolate(
                images, size=(size, size), mode="bilinear", antialias=size < 0.8 * side
            )
            targets[..., 1:] *= size / side
        return Batch(images, torch.from_numpy(targets), torch.from_numpy(self.unlabelled[list(rows)]))


def as_elsewhere(
    image: Image.Image, boxes: NDArray[np.float32], vary: float, size: int, rng: random.Random
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A scan as another scanner might show it: other penetration, palette, sharpness, and a wider or narrower view.

    A narrower view still holds every box whole, so that what a scan is said to hold stays true.

    Args:
        image: RGB.
        boxes: (N, 5): class, x0, y0, x1, y1 in pixels of `image`.
        vary: 0 to 1.
        size: side of the square that the scan is letterboxed into.
        rng: draws.

    Returns:
        The square (size, size, 3), red-green-blue, and the boxes in its pixels.
    """
    width, height = image.size
    zoom = math.exp(rng.uniform(-0.5, 0.4) * vary) if rng.random() < 0.6 else 1.0
    left, top, right, bottom = 0.0, 0.0, float(width), float(height)
    if zoom > 1:  # a window that holds all boxes
        x0, y0, x1, y1 = (width / 2, height / 2) * 2
        if len(boxes):
            (x0, y0), (x1, y1) = boxes[:, 1:3].min(0).tolist(), boxes[:, 3:5].max(0).tolist()
        w, h = min(float(width), max(width / zoom, x1 - x0)), min(float(height), max(height / zoom, y1 - y0))
        left = min(max(0.0, rng.uniform(x1 - w, x0)), width - w)
        top = min(max(0.0, rng.uniform(y1 - h, y0)), height - h)
        right, bottom = left + w, top + h
    scale = min(size / (right - left), size / (bottom - top)) * min(1.0, zoom)
    shown = max(1, int((right - left) * scale)), max(1, int((bottom - top) * scale))
    image = image.resize(shown, Image.Resampling.BILINEAR, (left, top, right, bottom))
    if rng.random() < 0.5:
        image = random_contrast(image, vary, rng)
    if rng.random() < 0.5:
        image = random_palette(image, vary, rng)
    if rng.random() < 0.4:
        if rng.random() < 0.5:
            image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 1.0) * vary))
        else:
            image = image.filter(ImageFilter.UnsharpMask(rng.uniform(0.6, 2), round(rng.uniform(20, 120) * vary), 1))
    out = np.full((size, size, 3), PAD_VALUE, np.uint8)
    out[: shown[1], : shown[0]] = np.asarray(image)
    moved = boxes.copy()
    moved[:, [1, 3]] = (boxes[:, [1, 3]] - left) * scale
    moved[:, [2, 4]] = (boxes[:, [2, 4]] - top) * scale
    return out, moved


def _pixels(samples: Sequence[Sample], size: int, folder: Path) -> NDArray[np.uint8]:
    """The letterboxed pixels (N, size, size, 3), decoded once into a file in `folder`."""
    inputs = json.dumps([size, [[str(s.image), s.image.stat().st_size, s.image.stat().st_mtime_ns] for s in samples]])
    path = folder / f"frames-{hashlib.sha256(inputs.encode()).hexdigest()[:16]}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part:
            pixels = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=(len(samples), size, size, 3))
            _allocate(part)

            def fill(row: int) -> None:
                pixels[row] = letterbox(samples[row].open(), size).pixels

            with ThreadPoolExecutor(2) as pool:
                list(pool.map(fill, range(len(samples))))
            pixels.flush()
    mapped: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return mapped


def _allocate(path: Path) -> None:
    """Takes the room of a sparse file now: a page for which the disk has none later on kills the process.

    Raises:
        StorageFailed: there is not enough.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    size = path.stat().st_size
    try:
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StorageFailed(
                f"The scans' pixels take {size / 1e9:.1f} GB, which {path.parent} has no room for "
                f"({error.strerror}). Make room and start again."
            ) from error
        logger.warning("%s: no room can be reserved there (%s)", path.parent, error)
