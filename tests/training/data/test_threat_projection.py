"""Threats of the samples, projected into those that hold none, named in their answers."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from PIL import ImageChops

from training.data.dataset import SampleDataset
from training.data.samples import Sample, SampleBox, make_sample
from training.data.threat_projection import Projector
from training.recipes.recipe import Recipe
from xray_app.simulate import simulate_scan
from xray_app.taxonomy import Taxonomy

SCANS = 24


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory, taxonomy: Taxonomy) -> list[Sample]:
    folder = tmp_path_factory.mktemp("scans")
    samples = []
    for seed in range(SCANS):
        scan = simulate_scan(seed, taxonomy, items=(1, 3))
        file = folder / f"{seed}.png"
        scan.image.save(file)
        boxes = [SampleBox(label=label, xyxy=xyxy) for label, xyxy in scan.boxes]
        there = Counter(label for label, _ in scan.boxes)
        samples.append(make_sample(file, scan.image.size, there, boxes, None, file.stem, taxonomy))
    return samples


@pytest.fixture(scope="module")
def projector(scans: list[Sample], taxonomy: Taxonomy) -> Projector:
    found = Projector.of(scans, taxonomy)
    assert sum(map(len, found.threats.values())) >= 4
    return found


def holds_threat(sample: Sample, taxonomy: Taxonomy) -> bool:
    return any(taxonomy.item(label, 1).threat for label in sample.counts(taxonomy))


def test_only_prohibited_items_are_cut(projector: Projector, taxonomy: Taxonomy) -> None:
    assert all(taxonomy.item(label, 1).threat for label in projector.threats)


def test_a_clear_scan_gets_a_threat_and_an_answer_that_names_it(
    scans: list[Sample], projector: Projector, taxonomy: Taxonomy
) -> None:
    laid = 0
    for sample in (one for one in scans if not holds_threat(one, taxonomy)):
        image = sample.open()
        after, response = projector.into(image, sample, random.Random(1))
        added = sample.model_copy(update={"response": response}).counts(taxonomy) - sample.counts(taxonomy)
        if ImageChops.difference(image, after).getbbox() is None:
            assert not added
            continue
        ((label, count),) = added.items()
        assert (label in projector.threats, count) == (True, 1)
        assert f"HIGH - {label} detected" in response
        laid += 1
    assert laid >= 5


def test_a_scan_that_holds_a_threat_is_left_alone(
    scans: list[Sample], projector: Projector, taxonomy: Taxonomy
) -> None:
    sample = next(one for one in scans if holds_threat(one, taxonomy))
    image = sample.open()
    assert projector.into(image, sample, random.Random(0)) == (image, sample.response)


def test_only_what_somebody_looked_for_is_projected(
    scans: list[Sample], projector: Projector, taxonomy: Taxonomy
) -> None:
    clear = [one for one in scans if not holds_threat(one, taxonomy)]
    wanted = next(iter(projector.threats))
    seen = set()
    for sample in clear:
        scoped = make_sample(sample.image, (sample.width, sample.height), {}, [], (wanted,), "b", taxonomy)
        response = projector.into(sample.open(), scoped, random.Random(3))[1]
        seen |= set(scoped.model_copy(update={"response": response}).counts(taxonomy))
        foreign = make_sample(sample.image, (sample.width, sample.height), {}, [], ("laptop",), "b", taxonomy)
        assert projector.into(sample.open(), foreign, random.Random(3))[1] == foreign.response
    assert seen == {wanted}


def test_the_share_of_a_recipe_says_how_many(scans: list[Sample], projector: Projector, taxonomy: Taxonomy) -> None:
    clear = [one for one in scans if not holds_threat(one, taxonomy)] * 2

    def laid(share: float, epoch: int) -> list[bool]:
        shown = SampleDataset(clear, Recipe(name="x", base="x", threat_projection=share), projector)
        shown.set_epoch(epoch)
        return [shown[i].response != clear[i].response for i in range(len(clear))]

    assert not any(laid(0.0, 0))
    always, half = sum(laid(1.0, 0)), sum(laid(0.5, 0))
    assert always > 0.6 * len(clear)
    assert 0.25 * always < half < 0.75 * always
    assert laid(0.5, 0) == laid(0.5, 0) != laid(0.5, 1)


def test_without_a_cut_threat_it_says_so_and_shows_the_scans(
    scans: list[Sample], taxonomy: Taxonomy, caplog: pytest.LogCaptureFixture
) -> None:
    clear = [one for one in scans if not holds_threat(one, taxonomy)]
    empty = Projector.of(clear, taxonomy)
    assert "No threat is projected" in caplog.text
    image = clear[0].open()
    assert empty.into(image, clear[0], random.Random(0)) == (image, clear[0].response)
