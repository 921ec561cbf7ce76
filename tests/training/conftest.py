"""A YOLO folder, a model that answers what it is told to, and bags with known outcomes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.evaluation.bag_table import BagTable, ScanOutcome
from xray_app.report import format_report
from xray_app.taxonomy import Taxonomy
from xray_app.vlm.base import Answer

Rows = dict[str, str]
"""Label rows by file stem."""


class YoloFolder:
    """A YOLO data set under construction: 40 x 20 pictures, every one different."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.splits: list[str] = []

    def add(self, split: str, rows: Rows, start: int = 0) -> YoloFolder:
        self.splits.append(split)
        for number, (stem, text) in enumerate(rows.items(), start):
            self.image(split, stem, number)
            label = self.root / "labels" / split / f"{stem}.txt"
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text(text)
        return self

    def image(self, split: str, stem: str, shade: int) -> Path:
        path = self.root / "images" / split / f"{stem}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 20), (shade, 10, 10)).save(path)
        return path

    def names(self, *labels: str) -> YoloFolder:
        lines = [f"{split}: images/{split}" for split in self.splits]
        (self.root / "data.yaml").write_text("\n".join([*lines, f"names: {json.dumps(labels)}"]) + "\n")
        return self


@pytest.fixture
def yolo(tmp_path: Path) -> YoloFolder:
    return YoloFolder(tmp_path / "yolo")


class ScriptedVlm:
    """Says what `says` makes of (number of the scan, adapter); counts how often it was asked."""

    name = "scripted"
    weights_sha256 = "b" * 64

    def __init__(self, says: Callable[[int, Path | None], str], confidence: float = 0.9) -> None:
        self.says, self.confidence = says, confidence
        self.adapter: Path | None = None
        self.asked = 0
        self.batches: list[int] = []

    def answer(self, images: Sequence[Image.Image], instructions: Sequence[str], drafts: object = None) -> list[Answer]:
        self.batches.append(len(images))
        answers = []
        for _ in images:
            text = self.says(self.asked, self.adapter)
            self.asked += 1
            answers.append(Answer(text, True, ((0, len(text), self.confidence),)))
        return answers

    def use_adapter(self, folder: Path | None) -> None:
        self.adapter = folder


MakeTable = Callable[..., BagTable]


@pytest.fixture(scope="session")
def make_table(taxonomy: Taxonomy) -> MakeTable:
    """Bags of one scan: `make_table(threats=100, clear=100, found=95, alarms=2)`.

    A threat bag holds a knife, of which the first `found` are named; a clear bag holds a laptop, and the
    first `alarms` of them are called a gun too. `seed` instead picks which at random.
    """

    def make(
        threats: int = 150, clear: int = 150, found: int = 150, alarms: int = 0, seed: int | None = None
    ) -> BagTable:
        order = np.arange(threats) if seed is None else np.random.default_rng(seed).permutation(threats)
        named = set(order[:found].tolist())
        outcomes = [
            ScanOutcome.scoped(f"t{i:04d}", None, {"knife": 1}, *_said({"knife": 1} if i in named else {}))
            for i in range(threats)
        ]
        outcomes += [
            ScanOutcome.scoped(
                f"c{i:04d}", None, {"laptop": 1}, *_said({"laptop": 1} | ({"gun": 1} if i < alarms else {}))
            )
            for i in range(clear)
        ]
        return BagTable.of(outcomes, taxonomy.rules())

    return make


def _said(items: dict[str, int]) -> tuple[dict[str, int], dict[str, float]]:
    return items, dict.fromkeys(items, 0.9)


def report_of(taxonomy: Taxonomy, **items: int) -> str:
    return format_report(items, taxonomy)
