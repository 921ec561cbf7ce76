"""A threat cut from one scan and laid into another: the right shape, an exact box, the same again by seed."""

from __future__ import annotations

import random

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from xray_app.simulate.projection import Threat, cut, project

STEEL = (60, 90, 190)
BOX = (40.0, 30.0, 80.0, 90.0)


def bag(colour: tuple[int, int, int] = (240, 205, 170), size: tuple[int, int] = (200, 150)) -> Image.Image:
    """A bag of one stuff that leaves a margin of empty belt."""
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).rectangle((20, 15, size[0] - 21, size[1] - 16), fill=colour)
    return image


def knife_on(image: Image.Image) -> Image.Image:
    """An L of steel that reaches all four sides of `BOX`."""
    draw = ImageDraw.Draw(image)
    draw.rectangle((40, 30, 51, 89), fill=STEEL)
    draw.rectangle((40, 78, 79, 89), fill=STEEL)
    return image.filter(ImageFilter.GaussianBlur(0.5))


@pytest.fixture
def knife() -> Threat:
    threat = cut(knife_on(bag()), BOX, "knife")
    assert threat is not None
    return threat


def changed(before: Image.Image, after: Image.Image) -> np.ndarray:
    return (np.asarray(before).astype(int) != np.asarray(after)).any(2)


def test_a_cut_has_the_threats_shape_and_nothing_of_its_surroundings(knife: Threat) -> None:
    height, width = knife.attenuation.shape[:2]
    assert (width, height) == pytest.approx((40, 60), abs=2)
    through = np.exp(knife.attenuation).mean(2)
    assert through[5:40, 3:9].max() < 0.6
    assert through[5:40, 20:].min() > 0.97
    assert knife.side == 200


def test_laid_back_into_an_empty_belt_it_looks_as_it_does_there() -> None:
    threat = cut(knife_on(bag()), BOX, "knife")
    assert threat is not None
    colour = np.exp(threat.attenuation[20:30, 3:9]).mean((0, 1)) * 255
    # Steel over a thin layer of clothes stays blue, only lighter by what the clothes (205 of 255) took.
    assert colour == pytest.approx(np.array(STEEL) * 255 / 205, abs=15)


def test_a_projection_has_an_exact_box_and_leaves_everything_else_alone(knife: Threat) -> None:
    before = bag((225, 235, 215), (320, 240))
    for seed in range(20):
        done = project(before, knife, random.Random(seed))
        assert done is not None
        seen = changed(before, done.image)
        ys, xs = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
        assert done.xyxy == (xs[0], ys[0], xs[-1] + 1, ys[-1] + 1)
        assert done.label == "knife"
        after = np.asarray(done.image).astype(int)
        assert after[seen].mean() < np.asarray(before)[seen].mean() - 40


def test_the_same_seed_gives_the_same_picture_and_another_one_another(knife: Threat) -> None:
    pictures = []
    for seed in (1, 1, 2):
        done = project(bag(), knife, random.Random(seed))
        assert done is not None
        pictures.append((done.xyxy, done.image.tobytes()))
    assert pictures[0] == pictures[1] != pictures[2]


def test_its_size_follows_the_scans(knife: Threat) -> None:
    def area(size: tuple[int, int]) -> float:
        sizes = []
        for seed in range(8):
            done = project(bag(size=size), knife, random.Random(seed))
            assert done is not None
            sizes.append(changed(bag(size=size), done.image).sum())
        return float(np.mean(sizes))

    assert area((400, 300)) / area((200, 150)) == pytest.approx(4, rel=0.25)


def test_it_lies_in_the_bag_and_not_behind_steel(knife: Threat) -> None:
    scan = bag(size=(320, 240))
    ImageDraw.Draw(scan).rectangle((160, 15, 299, 224), fill=(5, 8, 30))
    found = [project(scan, knife, random.Random(seed)) for seed in range(20)]
    assert any(found)
    for done in found:
        if done is not None:
            assert done.xyxy[0] < 160
    assert project(Image.new("RGB", (320, 240), "white"), knife, random.Random(0)) is None
    assert project(Image.new("RGB", (320, 240), (5, 8, 30)), knife, random.Random(0)) is None


def test_what_does_not_stand_out_is_not_cut() -> None:
    assert cut(bag(), BOX, "knife") is None  # nothing there
    assert cut(knife_on(bag((60, 40, 20))), BOX, "knife") is None  # in the dark
    assert cut(knife_on(bag()), (60.0, 40.0, 64.0, 44.0), "knife") is None  # too small
    assert cut(knife_on(bag()), (40.0, 30.0, 140.0, 130.0), "knife") is None  # a box much too large
    crossed = knife_on(bag())
    ImageDraw.Draw(crossed).rectangle((20, 40, 180, 75), fill=(40, 120, 90))
    assert cut(crossed, BOX, "knife") is None  # something lies across it


def test_a_patch_too_large_for_the_scan_is_not_squeezed_in(knife: Threat) -> None:
    assert project(bag(size=(60, 48)), Threat("knife", knife.attenuation, 20), random.Random(0)) is None
    assert project(Image.new("RGB", (200, 16), (230, 200, 180)), knife, random.Random(0)) is None
