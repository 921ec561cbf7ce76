"""Models that say what a test wants, in the place of the bundled ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL.Image import Image

from xray_app.detector.base import Detection
from xray_app.taxonomy import Taxonomy
from xray_app.vlm.base import Answer

REPORT = "Items detected: 1 knife (threat), 2 plastic bottles, 1 laptop. Security risk: HIGH - knife detected."


@dataclass
class ScriptedVlm:
    """Gives the same answer to every scan, sure of each word to the same degree."""

    text: str = REPORT
    certainty: float = 0.9
    name: str = "scripted-vlm"
    weights_sha256: str = "0" * 64
    adapters: list[Path | None] = field(default_factory=list)
    classes: tuple[str, ...] | None = None

    def answer(self, images: Sequence[Image], instructions: Sequence[str], drafts: object = None) -> list[Answer]:
        spans = tuple((i, i + 1, self.certainty) for i in range(len(self.text)))
        return [Answer(self.text, True, spans) for _ in images]

    def use_adapter(self, folder: Path | None) -> None:
        self.adapters.append(folder)

    def use_taxonomy(self, taxonomy: Taxonomy) -> None:
        self.classes = taxonomy.names


@dataclass
class ScriptedDetector:
    """Gives the same boxes to every scan: (label, confidence, box in fractions of the picture)."""

    found: tuple[tuple[str, float, tuple[float, float, float, float]], ...] = (
        ("knife", 0.83, (0.30, 0.35, 0.48, 0.52)),
        ("scissors", 0.58, (0.60, 0.20, 0.76, 0.40)),
        ("plastic bottle", 0.71, (0.12, 0.55, 0.30, 0.85)),
    )
    name: str = "scripted-detector"
    sha256: str = "1" * 64
    trainable: bool = True

    def detect(self, image: Image, threshold: float = 0.05) -> list[Detection]:
        width, height = image.size
        return [
            Detection(label, confidence, (x0 * width, y0 * height, x1 * width, y1 * height))
            for label, confidence, (x0, y0, x1, y1) in self.found
            if confidence >= threshold
        ]
