"""Distillation: the vision tower learns to predict the bundled detector's features.

A small convolutional network learns from far fewer scans than a transformer of the same size, and a transformer
that imitates its feature maps catches up (Li et al. 2022, "Locality Guidance for Improving Vision Transformers on
Tiny Datasets"). The detector began with sight
learned on photographs; of scans both models have seen simulated ones alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from training.detector.network import DetectorNetwork
from training.vlm.bundled import MERGE, PATCH
from training.vlm.pretrain_data import BoxedScan

STRIDE = 16
"""The detector's middle stride: scaled by 16 / 14, one of its cells is one patch of the tower."""


class DetectorTeacher:
    """Feature maps of a frozen detector, one row a patch.

    Args:
        onnx: the detector.
        sample: scans whose features give the scale of each feature.

    Attributes:
        width: numbers a patch.
    """

    def __init__(self, onnx: Path, sample: Sequence[BoxedScan]) -> None:
        self.model = DetectorNetwork.from_onnx(onnx).model.eval().requires_grad_(False)
        head = self.model.head
        self.width = sum(
            branch[-1].conv.out_channels for branches in (head.cls_convs, head.reg_convs) for branch in branches
        )
        features = self.features(sample)
        self._mean, self._deviation = features.mean(0), features.std(0) + 1e-3

    @torch.no_grad()
    def features(self, scans: Sequence[BoxedScan]) -> Tensor:
        """(patches of all scans, `width`) in the tower's order; what the box and class branches see there."""
        alike: dict[tuple[int, ...], list[int]] = {}
        for index, scan in enumerate(scans):
            alike.setdefault(tuple(scan.pixels.shape[1:]), []).append(index)
        found: dict[int, Tensor] = {}
        for (height, width), members in alike.items():
            pictures = torch.stack([scans[index].pixels for index in members])[:, [2, 1, 0]].float()
            size = (height // PATCH * STRIDE, width // PATCH * STRIDE)
            pictures = nn.functional.interpolate(pictures, size, mode="bilinear", antialias=True)
            maps = self._maps(pictures.to(memory_format=torch.channels_last))
            count, channels, rows, columns = maps.shape
            cells = maps.view(count, channels, rows // MERGE, MERGE, columns // MERGE, MERGE)
            found.update(zip(members, cells.permute(0, 2, 4, 3, 5, 1).reshape(count, -1, channels), strict=True))
        return torch.cat([found[index] for index in range(len(scans))])

    def _maps(self, pictures: Tensor) -> Tensor:
        """(N, width, rows, columns) at the middle stride, from all three."""
        head = self.model.head
        maps = []
        with torch.autocast(pictures.device.type, torch.bfloat16):
            for level, feature in enumerate(self.model.backbone(pictures)):
                stem = head.stems[level](feature)
                seen = torch.cat([head.cls_convs[level](stem), head.reg_convs[level](stem)], 1)
                if head.strides[level] < STRIDE:
                    seen = nn.functional.avg_pool2d(seen, STRIDE // head.strides[level])
                elif head.strides[level] > STRIDE:
                    seen = nn.functional.interpolate(seen, scale_factor=head.strides[level] / STRIDE)
                maps.append(seen)
        return torch.cat(maps, 1).float()

    def loss(self, guess: Tensor, scans: Sequence[BoxedScan]) -> Tensor:
        """Mean squared error of (patches, `width`) against the features, each scaled to unit variance."""
        features = (self.features(scans) - self._mean) / self._deviation
        return nn.functional.mse_loss(guess, features.clamp(-6, 6))
