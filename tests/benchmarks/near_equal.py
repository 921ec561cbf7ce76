"""Perceptual hashes: how many different scans are taken for near-equal, and how many near-equal ones are found.

    python -m tests.benchmarks.near_equal [--data YOLO_DIR] [--tiny]

Simulated scans, and those of a data set, are compared with all others of theirs: each that is taken for another is a
false match. Then each is compressed, resized and brightened, and should be found. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image, ImageEnhance

from xray_app.scan.appearance import appearance_of
from xray_app.scan.near_equal import NearEquals, near_equal
from xray_app.simulate.dataset import write_dataset
from xray_app.taxonomy import load_taxonomy

SUFFIXES = {".png", ".jpg", ".jpeg"}


def pictures(folder: Path, most: int) -> list[Image.Image]:
    """The pictures below a folder, as RGB."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return [Image.open(path).convert("RGB") for path in files[:most]]


def variants(image: Image.Image) -> Iterator[Image.Image]:
    """What a scan looks like after it went through other hands."""
    for quality in (50, 75, 90):
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        yield Image.open(io.BytesIO(file.getvalue())).convert("RGB")
    for scale in (0.5, 0.8, 1.3):
        yield image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    yield image.resize((640, 640))
    yield ImageEnhance.Brightness(image).enhance(1.05)


def measure(images: Sequence[Image.Image]) -> dict[str, float | int]:
    """Scans, the share taken for another, and the share of their variants that is found."""
    hashes = [found for image in images if (found := appearance_of(image).perceptual_hash) is not None]
    seen = NearEquals()
    for number, found in enumerate(hashes):
        seen.add(str(number), found)
    false = sum(len(seen.of(found)) > 1 for found in hashes)
    tried = [
        near_equal(found, changed)
        for image, found in zip(images, hashes, strict=False)
        for variant in variants(image)
        if (changed := appearance_of(variant).perceptual_hash) is not None
    ]
    return {"scans": len(hashes), "false": false / len(hashes), "found": sum(tried) / len(tried)}


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="pictures below this folder too")
    parser.add_argument("--tiny", action="store_true", help="40 scans of each")
    arguments = parser.parse_args()
    most = 40 if arguments.tiny else 1000
    with tempfile.TemporaryDirectory() as folder:
        write_dataset(Path(folder), most, 4242, load_taxonomy())
        figures = {"simulated": measure(pictures(Path(folder), most))}
    if arguments.data:
        figures["data"] = measure(pictures(arguments.data, most))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
