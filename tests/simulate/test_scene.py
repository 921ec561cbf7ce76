"""Simulated scans: the same every time, with boxes that hold what they say."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from xray_app.errors import BadInput
from xray_app.simulate import simulate_scan, write_dataset
from xray_app.simulate.items import DRAWINGS, draw_item
from xray_app.simulate.materials import MATERIALS, attenuation
from xray_app.simulate.scanner import STYLES, _palette
from xray_app.simulate.scene import choose_items
from xray_app.taxonomy import Taxonomy, load_taxonomy
from xray_app.types import Status


@pytest.fixture(scope="module")
def taxonomy() -> Taxonomy:
    return load_taxonomy()


def prohibited(taxonomy: Taxonomy) -> set[str]:
    return {c.name for c in taxonomy.drawn if c.status is Status.PROHIBITED}


def test_every_drawn_class_has_a_drawing_and_no_other(taxonomy: Taxonomy) -> None:
    assert {c.name for c in taxonomy.drawn} == set(DRAWINGS)


@pytest.mark.parametrize("label", DRAWINGS)
def test_an_item_is_drawn_about_as_long_as_asked(label: str) -> None:
    for seed in range(3):
        patch = draw_item(label, 80, random.Random(seed), angle=0.0)
        height, width = patch.mask.shape
        assert 60 <= width <= 100
        assert 8 <= height <= width
        # Tight: every side of the patch touches the item, so its box is exact.
        sides = (patch.mask[0], patch.mask[-1], patch.mask[:, 0], patch.mask[:, -1])
        assert all(side.any() for side in sides)
        # What is cut out of an item (grooves, slots) never leaves less than nothing.
        assert patch.low.min() > -0.01
        assert patch.high.min() > -0.01


@pytest.mark.parametrize("material", MATERIALS)
def test_less_is_taken_from_the_harder_beam(material: str) -> None:
    low, high = attenuation(material)
    assert low > high > 0


def test_metal_and_organic_matter_differ_in_their_ratio() -> None:
    ratio = {m: attenuation(m)[0] / attenuation(m)[1] for m in ("water", "aluminium", "steel")}
    assert ratio["water"] < 1.3 < ratio["aluminium"] < 2 < ratio["steel"]


def test_the_same_seed_gives_the_same_scan(taxonomy: Taxonomy) -> None:
    first, second, other = (simulate_scan(seed, taxonomy, items=(2, 4)) for seed in (5, 5, 6))
    assert first.image.tobytes() == second.image.tobytes()
    assert first.boxes == second.boxes
    assert first.image.tobytes() != other.image.tobytes()


def test_boxes_lie_in_the_picture_and_clear_means_no_threat(taxonomy: Taxonomy) -> None:
    threats = prohibited(taxonomy)
    for seed in range(12):
        scan = simulate_scan(seed, taxonomy, items=(1, 6))
        width, height = scan.image.size
        assert scan.image.mode == "RGB"
        assert 352 <= max(width, height) <= 512
        assert 1 <= len(scan.boxes) <= 6
        for _, (x0, y0, x1, y1) in scan.boxes:
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height
        assert scan.clear == (not any(label in threats for label, _ in scan.boxes))
        assert scan.style in {style.name for style in STYLES}


def test_a_box_is_where_the_picture_is_darker(taxonomy: Taxonomy) -> None:
    darker = []
    for seed in range(8):
        scan = simulate_scan(seed, taxonomy, items=(1, 1), threat_rate=1.0)
        grey = np.asarray(scan.image.convert("L"), float)
        (x0, y0, x1, y1) = (round(v) for v in scan.boxes[0][1])
        darker.append(grey[y0:y1, x0:x1].min() < np.median(grey) - 20)
    assert all(darker)


def test_the_threat_rate_and_the_number_of_items_hold(taxonomy: Taxonomy) -> None:
    threats = prohibited(taxonomy)
    bags = [choose_items(random.Random(seed), taxonomy, (0, 6), 0.5) for seed in range(3000)]
    share = sum(any(label in threats for label in bag) for bag in bags) / len(bags)
    assert 0.46 < share < 0.54
    assert {len(bag) for bag in bags} == set(range(7))
    counts = Counter(label for bag in bags for label in bag if label in threats)
    assert set(counts) == threats
    assert max(counts.values()) < 2.2 * min(counts.values())


@pytest.mark.parametrize(("rate", "expected"), [(0.0, False), (1.0, True)])
def test_the_threat_rate_can_be_none_or_all(taxonomy: Taxonomy, rate: float, expected: bool) -> None:
    threats = prohibited(taxonomy)
    for seed in range(100):
        bag = choose_items(random.Random(seed), taxonomy, (0, 5), rate)
        assert any(label in threats for label in bag) is expected


@pytest.mark.parametrize("items", [(3, 2), (-1, 2)])
def test_an_impossible_number_of_items_is_refused(taxonomy: Taxonomy, items: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="items"):
        simulate_scan(0, taxonomy, items=items)


def test_a_bag_may_hold_nothing(taxonomy: Taxonomy) -> None:
    scan = simulate_scan(3, taxonomy, items=(0, 0))
    assert scan.boxes == ()
    assert scan.clear


def test_scans_of_one_make_share_a_palette() -> None:
    style = STYLES[0]
    other = replace(style, noise=0.5, blur=0.123, quality=70)
    assert _palette(style) is _palette(other)
    assert _palette(style) is not _palette(replace(style, gain=9.0))


def test_a_data_set_is_the_same_whatever_the_number_of_workers(taxonomy: Taxonomy, tmp_path: Path) -> None:
    for name, workers in (("one", 1), ("two", 2)):
        write_dataset(tmp_path / name, 16, 9, taxonomy, items=(0, 3), workers=workers)
    for kind, end in (("images", "jpg"), ("labels", "txt")):
        ones = sorted((tmp_path / "one" / kind / "train").glob(f"*.{end}"))
        assert [p.name for p in ones] == [f"9-{i:06d}.{end}" for i in range(16)]
        for path in ones:
            assert path.read_bytes() == (tmp_path / "two" / kind / "train" / path.name).read_bytes()


def test_two_sets_share_no_bag_and_are_not_written_into_one_folder(taxonomy: Taxonomy, tmp_path: Path) -> None:
    for seed in (1, 2):
        write_dataset(tmp_path / f"{seed}", 2, seed, taxonomy, items=(0, 1), workers=1)
    one, other = ({p.stem for p in (tmp_path / seed / "images" / "train").iterdir()} for seed in "12")
    assert not one & other
    with pytest.raises(BadInput, match="holds scans already"):
        write_dataset(tmp_path / "1", 2, 3, taxonomy, items=(0, 1), workers=1)
    assert {p.stem for p in (tmp_path / "1" / "images" / "train").iterdir()} == one


def test_a_data_set_is_a_yolo_folder(taxonomy: Taxonomy, tmp_path: Path) -> None:
    write_dataset(tmp_path, 4, 2, taxonomy, items=(1, 3), workers=1)
    facts = yaml.safe_load((tmp_path / "data.yaml").read_text(encoding="utf-8"))
    assert facts["train"] == "images/train"
    assert Path(facts["path"]) == tmp_path.resolve()
    assert list(facts["names"].values()) == [c.name for c in taxonomy.drawn]
    for path in (tmp_path / "labels" / "train").iterdir():
        with Image.open(tmp_path / "images" / "train" / f"{path.stem}.jpg") as image:
            image.load()
        for line in path.read_text(encoding="utf-8").splitlines():
            number, x, y, w, h = line.split()
            assert 0 <= int(number) < len(taxonomy.drawn)
            assert float(x) - float(w) / 2 >= -1e-5
            assert float(x) + float(w) / 2 <= 1 + 1e-5
            assert 0 < float(h) <= 1
            assert 0 < float(y) < 1
