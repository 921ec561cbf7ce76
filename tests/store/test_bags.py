"""Sides of bags: said once by the name's hash, inherited by copies and near-equal pictures, one hop far."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from PIL import Image, ImageDraw

from tests.conftest import MakeAnalysis, save_analysis, scan_facts
from training.data.leaks import find_leaks
from xray_app.correction.revision import split_of
from xray_app.scan.appearance import appearance_of
from xray_app.store import bags, corrections, standing
from xray_app.store.database import Database
from xray_app.taxonomy import Taxonomy
from xray_app.types import Correction, CorrectionIn

HELD_OUT = [f"bag {n}" for n in range(199) if split_of(f"bag {n}") == "holdout"]
TRAIN = [f"bag {n}" for n in range(199) if split_of(f"bag {n}") == "train"]
Correct = Callable[..., Correction]


def drawn(seed: int) -> Image.Image:
    """A picture of boxes, another for each seed."""
    image = Image.new("RGB", (240, 180), "white")
    draw = ImageDraw.Draw(image)
    for step in range(12):
        x, y = (seed * 71 + step * 53) % 200, (seed * 37 + step * step * 29) % 140
        draw.rectangle((x, y, x + 20 + step * 3, y + 15 + (seed + step) % 40), fill=(step * 20, 90, 250 - step * 20))
    return image


@pytest.fixture
def correct(db: Database, make_analysis: MakeAnalysis, taxonomy: Taxonomy) -> Correct:
    return corrector(db, make_analysis, taxonomy)


def corrector(db: Database, make_analysis: MakeAnalysis, taxonomy: Taxonomy) -> Correct:
    """Stores a picture in a bag, as it comes in, and its accepted correction."""

    def make(image: Image.Image, bag: str, quality: int = 90, hashed: bool = True) -> Correction:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        analysis = make_analysis(scan=scan_facts(file.getvalue(), bag_id=bag))
        look = appearance_of(image) if hashed else None
        save_analysis(db, analysis, file.getvalue(), media_type="image/jpeg", look=look)
        return corrections.add(db, analysis.id, CorrectionIn(items=(), boxes=()), "bob", taxonomy, False)

    return make


def sides(db: Database) -> dict[str, str]:
    return {analysis.scan.bag_id: correction.split for analysis, correction in standing.accepted(db)}


def test_a_bag_without_relations_goes_by_its_hash_and_its_views_with_it(db: Database, correct: Correct) -> None:
    for place, bag in enumerate((HELD_OUT[0], TRAIN[0], TRAIN[1])):
        correct(drawn(place), bag)
        correct(drawn(place + 50), bag)
    assert sides(db) == {HELD_OUT[0]: "holdout", TRAIN[0]: "train", TRAIN[1]: "train"}


@pytest.mark.parametrize(("first", "second"), [(HELD_OUT[0], TRAIN[0]), (TRAIN[0], HELD_OUT[0])])
def test_a_near_equal_picture_takes_the_side_of_the_first(
    db: Database, correct: Correct, first: str, second: str
) -> None:
    side = correct(drawn(1), first).split
    near = drawn(1).resize((300, 225), Image.Resampling.BICUBIC)
    assert correct(near, second, quality=60).split == side == split_of(first)
    assert split_of(second) != side
    assert correct(drawn(2), TRAIN[5]).split == "train"  # another picture goes by its own name
    assert find_leaks(db) == []


def test_the_same_bytes_are_the_same_picture_without_any_hash(db: Database, correct: Correct) -> None:
    correct(drawn(1), HELD_OUT[0], hashed=False)
    assert correct(drawn(1), TRAIN[0], hashed=False).split == "holdout"


def test_sides_do_not_wander_from_bag_to_bag(db: Database, correct: Correct, monkeypatch: pytest.MonkeyPatch) -> None:
    """B is near A, C is near B alone: C goes by its own name."""
    near = {frozenset({"a", "b"}), frozenset({"b", "c"})}
    images = {"a": drawn(1), "b": drawn(2), "c": drawn(3)}
    hashes = {name: appearance_of(image).perceptual_hash for name, image in images.items()}
    names = {found: name for name, found in hashes.items()}
    monkeypatch.setattr(bags, "near_equal", lambda one, other: frozenset({names[one], names[other]}) in near)
    monkeypatch.setattr(bags, "bands", lambda found: (1,))
    assert correct(images["a"], HELD_OUT[0]).split == "holdout"
    assert correct(images["b"], TRAIN[0]).split == "holdout"
    assert correct(images["c"], TRAIN[1]).split == "train"


def test_beside_bags_of_both_sides_a_bag_trains(db: Database, correct: Correct) -> None:
    correct(drawn(1), HELD_OUT[0], hashed=False)
    correct(drawn(1), TRAIN[0], quality=80, hashed=False)
    find_leaks(db)  # makes their hashes
    assert correct(drawn(1), HELD_OUT[1], quality=70).split == "train"
