"""Simulated scans at model resolution, with boxes and the vision tower's dense targets."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from training.vlm.bundled import MERGE, PATCH
from xray_app.errors import BadDataset
from xray_app.taxonomy import Taxonomy


@dataclass(frozen=True)
class BoxedScan:
    """A simulated scan at model resolution. `boxes`: (class index, x0, y0, x1, y1), fractions."""

    pixels: Tensor
    boxes: Tensor


class SimulatedScanDataset(Dataset[BoxedScan]):
    """Folders written by `python -m training simulate`, held in memory at model resolution."""

    def __init__(self, folders: Sequence[Path], processor: Any, taxonomy: Taxonomy) -> None:
        files: list[Path] = []
        for folder in folders:
            names = yaml.safe_load((folder / "data.yaml").read_text())["names"]
            names = list(names.values()) if isinstance(names, dict) else names
            if names != [item.name for item in taxonomy.drawn]:
                raise BadDataset(f"{folder} was simulated with another taxonomy. Simulate it again.")
            found = sorted((folder / "images" / "train").glob("*.jpg"))
            if not found:
                raise BadDataset(f"{folder} holds no images/train/*.jpg. Make some with `simulate`.")
            files += found
        self.names = [item.name for item in taxonomy.drawn]
        # Decoding and scaling release the interpreter's lock. The training reads them from this process: a
        # loader process forked from it copies all scans anew each epoch, until the machine swaps.
        with ThreadPoolExecutor() as pool:
            self.scans = list(pool.map(lambda file: self._read(file, processor.image_processor), files))

    @staticmethod
    def _read(file: Path, image_processor: Any) -> BoxedScan:
        with Image.open(file) as image:
            pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
        height, width = resized_size(image_processor, pixels.shape[1], pixels.shape[2])
        pixels = torch.nn.functional.interpolate(
            pixels[None].float(), (height, width), mode="bicubic", antialias=True, align_corners=False
        )[0]
        label = file.parent.parent.parent / "labels" / "train" / f"{file.stem}.txt"
        rows = [list(map(float, line.split())) for line in label.read_text().splitlines() if line]
        boxes = torch.tensor(rows).reshape(-1, 5)
        centre, half = boxes[:, 1:3], boxes[:, 3:5] / 2
        corners = torch.cat([boxes[:, :1], centre - half, centre + half], dim=1)
        return BoxedScan(pixels.round().clamp(0, 255).to(torch.uint8), corners)

    def __len__(self) -> int:
        return len(self.scans)

    def __getitem__(self, index: int) -> BoxedScan:
        return self.scans[index]


def resized_size(image_processor: Any, height: int, width: int) -> tuple[int, int]:
    """The size (height, width) the processor scales a picture to."""
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    size = image_processor.size
    return smart_resize(
        height,
        width,
        factor=PATCH * MERGE,
        min_pixels=size["shortest_edge"],
        max_pixels=size["longest_edge"],
    )


def flip(scan: BoxedScan, horizontal: bool, vertical: bool, transpose: bool) -> BoxedScan:
    """Mirrors and transposes a scan with its boxes: a bag lies on the belt any way round."""
    pixels, boxes = scan.pixels, scan.boxes.clone()
    if horizontal:
        pixels = pixels.flip(2)
        boxes[:, [1, 3]] = 1 - boxes[:, [3, 1]]
    if vertical:
        pixels = pixels.flip(1)
        boxes[:, [2, 4]] = 1 - boxes[:, [4, 2]]
    if transpose:
        pixels = pixels.transpose(1, 2)
        boxes = boxes[:, [0, 2, 1, 4, 3]]
    return BoxedScan(pixels, boxes)


def dense_target(boxes: Tensor, rows: int, columns: int, classes: int) -> Tensor:
    """Which classes lie at each merged vision token.

    Args:
        boxes: (N, 5) class index and corners as fractions.

    Returns:
        (rows * columns, classes) of 0 and 1, row by row: 1 at the tokens under the middle of a box.
    """
    target = torch.zeros(rows, columns, classes)
    for kind, x0, y0, x1, y1 in boxes.tolist():
        x, y = (x0 + x1) / 2 * columns, (y0 + y1) / 2 * rows
        reach_x = max(0.6, 0.3 * (x1 - x0) * columns)
        reach_y = max(0.6, 0.3 * (y1 - y0) * rows)
        left, right = max(0, int(x - reach_x)), min(columns - 1, int(x + reach_x))
        top, bottom = max(0, int(y - reach_y)), min(rows - 1, int(y + reach_y))
        target[top : bottom + 1, left : right + 1, int(kind)] = 1
    return target.reshape(rows * columns, classes)
