"""How far simulated scans are from real ones: how well a small classifier tells the two apart.

    python -m tests.benchmarks.simulator --data DIR [--count 300] [--sheet FILE]

DIR holds real scans; no label is read. As many are simulated: tidy, full, and full ones that are like half of the real
scans, held against the other half. The classifier is a logistic regression on colours, edges and their directions at
three scales, and what it reaches is its AUROC, cross-fitted over five folds: 0.5 is blind, 1.0 tells all apart.
`--sheet` draws twelve simulated scans beside twelve real ones. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tests.benchmarks.near_equal import pictures
from training.evaluation.logistic import logistic_weights
from training.evaluation.stratified import stratified_auroc
from xray_app.simulate.belt import Conditions
from xray_app.simulate.dataset import write_dataset
from xray_app.simulate.like import conditions_like, looks_of
from xray_app.simulate.scene import Kind
from xray_app.simulate.shapes import Floats
from xray_app.taxonomy import load_taxonomy

_FOLDS = 5
_BINS = 8


def features_of(image: Image.Image) -> Floats:
    """How a picture looks, and its edges' directions and strengths at three scales: 12 + 3 x 16 figures."""
    found = [looks_of(image)]
    for side in (256, 128, 64):
        small = image.convert("L")
        small.thumbnail((side, side), Image.Resampling.BOX)
        down, right = np.gradient(np.asarray(small, np.float32) / 255)
        strength, direction = np.hypot(down, right), np.arctan2(down, right) % np.pi
        turned, _ = np.histogram(direction, _BINS, (0, np.pi), weights=strength)
        strong, _ = np.histogram(np.log2(strength + 2**-9), _BINS, (-9, 0))
        found += [turned / max(float(strength.sum()), 1e-6), strong / strength.size]
    return np.concatenate(found)


def told_apart(real: Floats, simulated: Floats) -> float:
    """Cross-fitted AUROC of a logistic regression that is to tell real from simulated; both (N, K)."""
    features = np.concatenate([real, simulated])
    target = np.r_[np.ones(len(real)), np.zeros(len(simulated))]
    features = (features - features.mean(0)) / (features.std(0) + 1e-9)
    fold = np.random.default_rng(0).permutation(len(target)) % _FOLDS
    score = np.empty(len(target))
    for part in range(_FOLDS):
        weights = logistic_weights(features[fold != part], target[fold != part], ridge=1.0)
        score[fold == part] = features[fold == part] @ weights[1:]
    # Within folds: each has a scale of its own.
    return stratified_auroc(score, target == 1, [fold == part for part in range(_FOLDS)])[0].value or 0.0


def simulated(count: int, kind: Kind, like: Sequence[Conditions] = ()) -> list[Image.Image]:
    """As many scans as asked for, as they are written: compressed."""
    with tempfile.TemporaryDirectory() as folder:
        write_dataset(Path(folder), count, 4711, load_taxonomy(), kind=kind, like=like)
        return [image.copy() for image in pictures(Path(folder), count)]


def sheet(left: Sequence[Image.Image], right: Sequence[Image.Image]) -> Image.Image:
    """Two columns of three by four scans each."""
    side = 260
    out = Image.new("RGB", (side * 6 + 24, side * 4), (24, 26, 30))
    for column, images in enumerate((left, right)):
        for place, image in enumerate(images[:12]):
            small = image.copy()
            small.thumbnail((side - 6, side - 6))
            x = column * (side * 3 + 24) + (place % 3) * side
            out.paste(small, (x + (side - small.width) // 2, place // 3 * side + (side - small.height) // 2))
    return out


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="real scans below this folder")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--sheet", type=Path)
    arguments = parser.parse_args()
    real = pictures(arguments.data, 1_000_000)
    random.Random(0).shuffle(real)
    real = real[: arguments.count * 2]
    half = len(real) // 2
    seen, unseen = real[:half], real[half:]
    held = np.stack([features_of(image) for image in unseen])
    site = conditions_like(seen, load_taxonomy())
    figures: dict[str, float] = {}
    made = {"tidy": simulated(half, "tidy"), "full": simulated(half, "full"), "like": simulated(half, "full", site)}
    for name, images in made.items():
        figures[name] = round(told_apart(held, np.stack([features_of(image) for image in images])), 3)
        print(name, figures[name], file=sys.stderr)
    figures["real"] = round(told_apart(held, np.stack([features_of(image) for image in seen])), 3)
    if arguments.sheet:
        sheet(made["full"], unseen).save(arguments.sheet)
    print(json.dumps({"scans": half, **figures}))


if __name__ == "__main__":
    main()
