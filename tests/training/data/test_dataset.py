"""What a training sees: repeatable, scanner-plausible, rare classes more often."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops

from training.data.augment import random_contrast, random_palette, random_turn
from training.data.dataset import SampleDataset, repeat_rare
from training.data.samples import Sample, make_sample
from training.recipes.recipe import Recipe
from xray_app.simulate import simulate_scan
from xray_app.simulate.scanner import STYLES
from xray_app.taxonomy import Taxonomy

EVERYTHING = Recipe(name="x", base="x", turns=True, contrast=1.0, palette=1.0)


def sample(file: Path, taxonomy: Taxonomy, **items: int) -> Sample:
    if not file.exists():
        simulate_scan(3, taxonomy).image.save(file)
    size = Image.open(file).size
    return make_sample(file, size, items, [], None, file.stem, taxonomy)


def test_a_scan_looks_different_each_epoch_and_the_same_to_a_resumed_run(tmp_path: Path, taxonomy: Taxonomy) -> None:
    def seen(epochs: list[int]) -> list[bytes]:
        samples = SampleDataset([sample(tmp_path / "a.png", taxonomy)], EVERYTHING)
        pictures = []
        for epoch in epochs:
            samples.set_epoch(epoch)
            random.random()  # whatever else draws does not matter
            pictures.append(samples[0].image.tobytes())
        return pictures

    whole = seen([0, 1, 2, 3])
    assert len(set(whole)) == 4
    assert seen([2, 3]) == whole[2:]


def test_without_a_recipe_a_scan_is_shown_as_it_is(tmp_path: Path, taxonomy: Taxonomy) -> None:
    one = sample(tmp_path / "a.png", taxonomy, knife=1)
    shown = SampleDataset([one])[0]
    assert ImageChops.difference(shown.image, one.open()).getbbox() is None
    assert shown.response == one.response


def test_a_bag_is_seen_in_all_eight_ways_it_can_lie() -> None:
    image = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4))
    rng = random.Random(0)
    ways = {(one.size, one.tobytes()) for one in (random_turn(image, rng) for _ in range(200))}
    assert len(ways) == 8
    assert {size for size, _ in ways} == {(4, 3), (3, 4)}


def test_contrast_is_another_thickness_of_the_same_bag() -> None:
    ramp = Image.fromarray(np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2))
    seen = set()
    for seed in range(20):
        row = np.asarray(random_contrast(ramp, 1.0, random.Random(seed)))[0, :, 0].astype(int)
        assert (row[0], row[-1]) == (0, 255)
        assert (np.diff(row) >= 0).all()
        seen.add(int(row[128]))
    assert min(seen) < 110
    assert max(seen) > 145


def test_no_palette_turns_one_material_into_another() -> None:
    kinds = {"organic": [], "mixed": [], "metal": []}  # type: dict[str, list[float]]
    for style in STYLES:
        for kind, hues in kinds.items():
            colour = Image.new("RGB", (1, 1), getattr(style, kind))
            for seed in range(50):
                hue = np.asarray(random_palette(colour, 1.0, random.Random(seed)).convert("HSV"))[0, 0, 0]
                hues.append((360 / 256 * float(hue) + 90) % 360)  # so that the cut is not in the reds
    assert max(kinds["organic"]) < min(kinds["mixed"])
    assert max(kinds["mixed"]) < min(kinds["metal"])
    assert max(kinds["organic"]) - min(kinds["organic"]) > 10


def test_a_rare_class_is_shown_more_often_and_no_scan_is_left_out(tmp_path: Path, taxonomy: Taxonomy) -> None:
    file = tmp_path / "a.png"
    samples = [sample(file, taxonomy, **({"gun": 1} if i < 4 else {"laptop": 1})) for i in range(400)]
    samples = [one.model_copy(update={"bag_id": str(i)}) for i, one in enumerate(samples)]
    assert repeat_rare(samples, 0.0, taxonomy, 0) == samples
    shown = repeat_rare(samples, 0.16, taxonomy, 0)
    times = Counter(one.bag_id for one in shown)
    assert set(times) == {str(i) for i in range(400)}
    # One scan in a hundred holds a gun: sqrt(0.16 / 0.01) = 4 times; laptops are common.
    assert [times[str(i)] for i in range(4)] == [4, 4, 4, 4]
    assert sum(times.values()) == 4 * 4 + 396
    assert repeat_rare(samples, 0.16, taxonomy, 0) == shown
