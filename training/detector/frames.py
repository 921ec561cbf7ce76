"""Scans as the detector is trained on them: letterboxed once, kept on disk, mirrored and brightened in batches."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from training.data.repeat_factor import repeat_factors
from training.data.samples import Sample
from xray_app.atomic_write import atomic_write
from xray_app.detector.boxes import letterbox
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
        return np.array(repeat_factors([set(boxes[:, 0].astype(int).tolist()) for boxes in self._boxes], rare))

    def batch(self, rows: Sequence[int], seed: int, size: int) -> Batch:
        """The scans `rows`, each mirrored left to right and top to bottom or not, and a little brighter or darker.

        A bag lies on the belt either way round, so a mirrored scan is as true as the scan.

        Args:
            rows: indices of scans.
            seed: the same seed gives the same batch.
            size: side of the square, at most that of the frames.
        """
        rng = np.random.default_rng(seed)
        pixels = np.empty((len(rows), self.size, self.size, 3), np.uint8)
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
            pixels[position] = frame[..., ::-1]
            targets[position, : len(boxes), 0] = boxes[:, 0]
            targets[position, : len(boxes), 1:3] = (boxes[:, 1:3] + boxes[:, 3:5]) / 2
            targets[position, : len(boxes), 3:5] = boxes[:, 3:5] - boxes[:, 1:3]
        gain = torch.from_numpy(rng.uniform(0.9, 1.1, (len(rows), 1, 1, 1)).astype(np.float32))
        # From (B, S, S, 3) this view is channels-last already, which convolutions on a CPU like best.
        images = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() * gain).clamp_(0, 255)
        if size != self.size:
            images = torch.nn.functional.interpolate(
                images, size=(size, size), mode="bilinear", antialias=size < 0.8 * self.size
            )
            targets[..., 1:] *= size / self.size
        return Batch(images, torch.from_numpy(targets), torch.from_numpy(self.unlabelled[list(rows)]))


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
