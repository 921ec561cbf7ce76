"""The detector seam: what the Analyser and the evaluation need of any box detector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from PIL.Image import Image


@dataclass(frozen=True)
class Detection:
    """One box as the model sees it.

    Attributes:
        label: canonical class name.
        confidence: 0 to 1.
        xyxy: pixels of the picture given, origin top left, within its edges.
    """

    label: str
    confidence: float
    xyxy: tuple[float, float, float, float]


class Detector(Protocol):
    """A model that draws boxes. Safe to call from several threads.

    Attributes:
        name: what the desk calls it.
        sha256: hash of its weights' file.
        trainable: whether a training run can start from its weights.
    """

    name: str
    sha256: str
    trainable: bool

    def detect(self, image: Image, threshold: float = 0.05) -> list[Detection]:
        """Boxes at or above `threshold`, overlapping ones of a class already merged."""
        ...
