"""Groups samples by length, so that little of a batch is padding."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

from torch.utils.data import Sampler

from training.data.samples import Sample

POOL = 8
"""Batches that are sorted among themselves. The more, the less padding, but the more alike the samples of a batch."""
WORTHWHILE = 0.05
"""Share of padded places below which batches stay wholly random."""


class LengthGroupedSampler(Sampler[int]):
    """Orders samples so that those of a batch are of like length; the order differs in every epoch.

    The order follows from seed and epoch alone, so that a resumed run sees what it would have seen.

    Args:
        lengths: of all samples.
        batch: samples a batch.
        seed: of the order.
    """

    def __init__(self, lengths: Sequence[int], batch: int, seed: int) -> None:
        self.lengths = lengths
        self.batch = batch
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        rng = random.Random(f"{self.seed}/{self.epoch}/lengths")
        order = list(range(len(self.lengths)))
        rng.shuffle(order)
        batches: list[Sequence[int]] = []
        for pool in _cut(order, POOL * self.batch):
            alike = sorted(pool, key=lambda index: self.lengths[index])
            batches += _cut(alike, self.batch)
        # The loader cuts the order into batches again: only the last may be short.
        short = batches.pop() if batches and len(batches[-1]) < self.batch else []
        rng.shuffle(batches)
        return iter([index for group in batches for index in group] + list(short))


def padded_share(lengths: Sequence[int], batch: int, seed: int) -> float:
    """The share of places in random batches that would be padding, 0..1."""
    order = list(lengths)
    random.Random(seed).shuffle(order)
    groups = _cut(order, batch)
    places = sum(max(group) * len(group) for group in groups)
    return 1 - sum(order) / places if places else 0.0


def token_counts(processor: Any, samples: Sequence[Sample]) -> list[int]:
    """Tokens of each sample, picture, instruction and answer, without opening the pictures."""
    sizes = [[sample.height, sample.width] for sample in samples]
    pictures = processor._get_num_multimodal_tokens(image_sizes=sizes).num_image_tokens
    texts = [f"{sample.instruction} {sample.response}" for sample in samples]
    words = processor.tokenizer(texts, add_special_tokens=False)["input_ids"]
    return [picture + len(ids) for picture, ids in zip(pictures, words, strict=True)]


def _cut(order: Sequence[int], size: int) -> list[Sequence[int]]:
    return [order[start : start + size] for start in range(0, len(order), size)]
