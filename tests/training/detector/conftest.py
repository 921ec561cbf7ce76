"""A tiny data set of coloured squares, which a detector learns in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from xray_app.taxonomy import Taxonomy, load_taxonomy


@pytest.fixture(scope="module")
def taxonomy() -> Taxonomy:
    return load_taxonomy()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures of 90 × 60 with a blue square (gun) or an orange one (laptop), and one with nothing."""
    folder = tmp_path_factory.mktemp("yolo")
    (folder / "images/train").mkdir(parents=True)
    (folder / "labels/train").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(13):
        image = Image.new("RGB", (90, 60), "white")
        lines = []
        if number:
            kind = number % 2
            x, y = rng.integers(0, 60), rng.integers(0, 30)
            ImageDraw.Draw(image).rectangle((x, y, x + 29, y + 29), fill=("blue", "orange")[kind])
            lines.append(f"{kind} {(x + 15) / 90} {(y + 15) / 60} {30 / 90} {30 / 60}")
        image.save(folder / f"images/train/{number:02}.png")
        (folder / f"labels/train/{number:02}.txt").write_text("\n".join(lines))
    (folder / "data.yaml").write_text("path: .\ntrain: images/train\nnames: [gun, laptop]\n")
    return folder
