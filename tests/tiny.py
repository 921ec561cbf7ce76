"""A VLM of the bundled architecture with random weights, small enough for every test."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from PIL import Image

from training.vlm.bundled import build_model, build_processor
from training.vlm.pretrain import save
from xray_app.taxonomy import Taxonomy, load_taxonomy

PIXELS = 112 * 112


@cache
def taxonomy() -> Taxonomy:
    return load_taxonomy()


def save_tiny_vlm(folder: Path, seed: int = 0) -> Path:
    """Writes a randomly initialised model with its processor; the same seed gives the same weights."""
    processor = build_processor(taxonomy(), PIXELS)
    return save(build_model(processor, seed), processor, folder)


def picture(shade: int = 200, size: tuple[int, int] = (160, 120)) -> Image.Image:
    return Image.new("RGB", size, (shade, 255 - shade, shade // 2))
