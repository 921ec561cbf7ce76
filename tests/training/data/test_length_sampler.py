"""Batches of like samples: every sample once an epoch, less padding, the same order when asked again."""

from __future__ import annotations

import random
from pathlib import Path

from tests.tiny import PIXELS, picture, taxonomy
from training.data.collate import Collator, Example
from training.data.length_sampler import LengthGroupedSampler, padded_share, token_counts
from training.data.samples import Sample
from training.vlm.bundled import build_processor
from xray_app.report import format_report, instruction

LENGTHS = [random.Random(n).randint(20, 200) for n in range(333)]


def padding(order: list[int], batch: int) -> int:
    groups = [[LENGTHS[i] for i in order[at : at + batch]] for at in range(0, len(order), batch)]
    return sum(max(group) * len(group) - sum(group) for group in groups)


def test_every_sample_is_seen_once_and_little_of_a_batch_is_padding() -> None:
    order = list(LengthGroupedSampler(LENGTHS, 8, seed=0))
    assert sorted(order) == list(range(len(LENGTHS)))
    assert padding(order, 8) < padding(list(range(len(LENGTHS))), 8) / 3


def test_each_epoch_has_its_own_order_and_the_same_one_again() -> None:
    sampler = LengthGroupedSampler(LENGTHS, 8, seed=0)
    first = list(sampler)
    sampler.set_epoch(1)
    assert list(sampler) != first
    sampler.set_epoch(0)
    assert list(sampler) == first
    assert list(LengthGroupedSampler(LENGTHS, 8, seed=1)) != first


def test_long_and_short_batches_are_mixed() -> None:
    order = list(LengthGroupedSampler(LENGTHS, 8, seed=0))
    means = [sum(LENGTHS[i] for i in order[at : at + 8]) / 8 for at in range(0, 64, 8)]
    assert means != sorted(means)
    assert means != sorted(means, reverse=True)


def test_fewer_samples_than_a_batch_and_none() -> None:
    assert sorted(LengthGroupedSampler([3, 1, 2], 8, seed=0)) == [0, 1, 2]
    assert list(LengthGroupedSampler([], 8, seed=0)) == []
    assert padded_share([], 8, seed=0) == 0
    assert padded_share([5] * 20, 8, seed=0) == 0
    assert padded_share(LENGTHS, 8, seed=0) > 0.2


def test_lengths_are_those_of_the_model_input_but_for_the_template(tmp_path: Path) -> None:
    processor = build_processor(taxonomy(), PIXELS)
    samples, examples = [], []
    for place, (size, scope) in enumerate((((160, 120), None), ((90, 300), ["knife"]), ((400, 380), None))):
        image = picture(size=size)
        image.save(tmp_path / f"{place}.png")
        asked, said = instruction(scope, taxonomy()), format_report({"knife": place + 1}, taxonomy())
        examples.append(Example(image, asked, said))
        samples.append(
            Sample(
                image=tmp_path / f"{place}.png",
                instruction=asked,
                response=said,
                width=size[0],
                height=size[1],
                boxes=(),
                labelled_classes=scope,
                bag_id=str(place),
            )
        )
    encoded, responses = Collator(processor).encode(examples)
    true = [len(ids) + len(said) for ids, said in zip(encoded.ids, responses, strict=True)]
    template = {there - told for there, told in zip(true, token_counts(processor, samples), strict=True)}
    assert max(template) - min(template) <= 1
