"""Full bags: real sizes, wide belts, tidy scans as they ever were, and scans like a site's own."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from xray_app.errors import BadInput
from xray_app.simulate.belt import Conditions, draw_conditions
from xray_app.simulate.dataset import scan_seed, write_dataset
from xray_app.simulate.items import DRAWINGS, draw_centimetres, draw_item
from xray_app.simulate.like import conditions_like, looks_of
from xray_app.simulate.scene import Simulated, simulate_scan
from xray_app.taxonomy import Taxonomy, load_taxonomy
from xray_app.types import Status

TIDY = [
    (0, "573fd0662b9281e0"),
    (1, "bf229ad98f710aad"),
    (7, "48e20fb01a17d595"),
    (19, "02f969372629904f"),
    (39, "eb1fe5973f66d200"),
]
"""Digests of scans of the set that the first models' cards report on."""


@pytest.fixture(scope="module")
def taxonomy() -> Taxonomy:
    return load_taxonomy()


@pytest.fixture(scope="module")
def full(taxonomy: Taxonomy) -> list[Simulated]:
    return [simulate_scan(seed, taxonomy, items=(1, 6), kind="full") for seed in range(60)]


@pytest.mark.parametrize(("index", "digest"), TIDY)
def test_a_tidy_scan_is_what_it_ever_was(index: int, digest: str, taxonomy: Taxonomy) -> None:
    scan = simulate_scan(scan_seed(77, index), taxonomy, kind="tidy")
    assert hashlib.sha256(scan.image.tobytes() + repr(scan.boxes).encode()).hexdigest()[:16] == digest


def test_boxes_lie_in_the_picture_and_clear_means_no_threat(full: list[Simulated], taxonomy: Taxonomy) -> None:
    threats = {c.name for c in taxonomy.drawn if c.status is Status.PROHIBITED}
    for scan in full:
        assert 1 <= len(scan.boxes) <= 6
        for _, (x0, y0, x1, y1) in scan.boxes:
            assert 0 <= x0 < x1 <= scan.image.width
            assert 0 <= y0 < y1 <= scan.image.height
        assert scan.clear == (not any(label in threats for label, _ in scan.boxes))


def test_the_same_seed_gives_the_same_full_scan(full: list[Simulated], taxonomy: Taxonomy) -> None:
    again = simulate_scan(7, taxonomy, items=(1, 6), kind="full")
    assert again.image.tobytes() == full[7].image.tobytes()
    assert again.boxes == full[7].boxes


def test_items_are_as_small_as_real_ones(taxonomy: Taxonomy) -> None:
    """Of 320 pixels the middle lighter of real scans takes 14 to 65; a tidy one never less than 30."""
    sides = []
    for seed in range(150):
        scan = simulate_scan(seed, taxonomy, items=(4, 8), kind="full")
        sides += [
            max(x1 - x0, y1 - y0) * 320 / max(scan.image.size)
            for label, (x0, y0, x1, y1) in scan.boxes
            if label == "lighter"
        ]
    assert np.quantile(sides, 0.2) < 25
    assert 20 < np.median(sides) < 60
    assert max(sides) > 55


def test_belts_are_wide_and_bags_fill_the_picture() -> None:
    drawn = [draw_conditions(random.Random(seed)) for seed in range(400)]
    belts = [c for c in drawn if c.belt]
    assert 0.3 < len(belts) / len(drawn) < 0.5
    assert np.quantile([c.width / c.height for c in belts], 0.9) > 2.2
    assert min(c.span for c in belts) > 70 > np.median([c.span for c in drawn if not c.belt])


@pytest.mark.parametrize("label", sorted(DRAWINGS))
def test_every_drawing_as_found_shows_its_class_at_every_size(label: str) -> None:
    least, most = DRAWINGS[label].cm
    assert 0 < least < most <= 60
    assert least <= draw_centimetres(label, random.Random(3)) <= most
    for drawing in (DRAWINGS[label].draw, *DRAWINGS[label].found):
        shown = 0
        for length in (9.0, 33.0, 140.0):
            patch = draw_item(label, length, random.Random(drawing.__name__), as_found=True)
            assert max(patch.mask.shape) <= length * 1.7 + 4
            shown += int(patch.mask.sum())
        assert shown > 100


def test_a_fuller_bag_shows_less_of_the_tunnel(taxonomy: Taxonomy) -> None:
    def empty(clutter: float, fullness: float) -> float:
        conditions = Conditions(400, 300, 55, False, False, fullness, clutter, "vivid")
        scans = [simulate_scan(s, taxonomy, items=(0, 0), kind="full", like=[conditions]) for s in range(8)]
        return float(np.mean([1 - looks_of(scan.image)[0] for scan in scans]))

    assert empty(0.1, 0.1) > empty(2.0, 4.0)


def test_conditions_of_a_site_are_kept(taxonomy: Taxonomy) -> None:
    conditions = Conditions(300, 120, 150, True, False, 1.0, 0.5, "teal")
    scans = [simulate_scan(seed, taxonomy, kind="full", like=[conditions]) for seed in range(5)]
    assert {scan.image.size for scan in scans} == {(300, 120)}
    assert {scan.style for scan in scans} == {"teal"}


def test_simulated_like_a_site_lies_nearer_to_it(taxonomy: Taxonomy) -> None:
    """A site whose scanner shows narrow belts of nearly empty bags in one palette."""
    site = Conditions(420, 170, 140, True, False, 0.2, 0.3, "grey")
    own = [simulate_scan(1000 + seed, taxonomy, kind="full", like=[site]).image for seed in range(12)]
    found = conditions_like(own, taxonomy, tries=80, seed=5)
    assert len(found) == 12
    assert {(c.width, c.height) for c in found} == {(420, 170)}
    middle = np.mean([looks_of(image) for image in own], 0)

    def away(like: tuple[Conditions, ...]) -> float:
        scans = [simulate_scan(2000 + s, taxonomy, kind="full", like=like).image for s in range(16)]
        return float(np.linalg.norm(np.mean([looks_of(image) for image in scans], 0) - middle))

    assert away(found) < 0.75 * away(())


def test_no_scan_to_be_like_is_told(taxonomy: Taxonomy) -> None:
    with pytest.raises(BadInput, match="no scan to be like"):
        conditions_like([], taxonomy, tries=1)


def test_looks_of_extreme_pictures_are_numbers() -> None:
    black = Image.new("RGB", (300, 40))
    for image in (Image.new("RGB", (1, 1), "white"), Image.new("RGB", (900, 2), "white"), black):
        assert np.isfinite(looks_of(image)).all()
    ImageDraw.Draw(black).rectangle((0, 0, 100, 20), fill="orange")
    assert np.isfinite(looks_of(black)).all()


def test_a_set_like_a_site_is_the_same_whatever_the_number_of_workers(taxonomy: Taxonomy, tmp_path: Path) -> None:
    like = [Conditions(200, 150, 60, False, False, 0.5, 0.5), Conditions(150, 200, 90, False, True, 2.0, 1.0, "soft")]
    for name, workers in (("one", 1), ("two", 2)):
        write_dataset(tmp_path / name, 16, 9, taxonomy, items=(0, 3), workers=workers, kind="full", like=like)
    ones = sorted((tmp_path / "one" / "images" / "train").iterdir())
    assert len(ones) == 16
    for path in ones:
        assert path.read_bytes() == (tmp_path / "two" / "images" / "train" / path.name).read_bytes()
        with Image.open(path) as image:
            assert image.size in {(200, 150), (150, 200)}
