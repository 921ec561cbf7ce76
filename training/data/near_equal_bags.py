"""Scans of a data set whose pictures are nearly the same, so that a split does not part them."""

from __future__ import annotations

from collections.abc import Sequence

from training.data.samples import Sample
from xray_app.scan.appearance import appearance_of
from xray_app.scan.near_equal import NearEquals


def like_bags(samples: Sequence[Sample]) -> dict[str, str]:
    """The bags that must be on the side of another bag, and which that is: their pictures are nearly the same.

    One hop alone: a bag whose side is another's gives it to nobody else.
    """
    pictures = NearEquals()
    bags: dict[str, str] = {}
    like: dict[str, str] = {}
    for number, sample in enumerate(sorted(samples, key=lambda one: (one.bag_id, one.image))):
        perceptual_hash, own = _hash(sample), sample.bag_id
        if perceptual_hash is None:
            continue
        if own not in like:
            others = {bags[name] for name in pictures.of(perceptual_hash)} - {own}
            free = sorted(other for other in others if other not in like)
            if free and own not in like.values():
                like[own] = free[0]
        pictures.add(str(number), perceptual_hash)
        bags[str(number)] = own
    return like


def near_each_other(train: Sequence[Sample], val: Sequence[Sample]) -> list[tuple[Sample, Sample]]:
    """Each training sample whose picture is near one of `val`, with that one."""
    pictures = NearEquals()
    by_name = {str(number): sample for number, sample in enumerate(val)}
    for name, sample in by_name.items():
        if (perceptual_hash := _hash(sample)) is not None:
            pictures.add(name, perceptual_hash)
    found = []
    for sample in train:
        perceptual_hash = _hash(sample)
        names = pictures.of(perceptual_hash) if perceptual_hash is not None else []
        if names:
            found.append((sample, by_name[names[0]]))
    return found


def _hash(sample: Sample) -> str | None:
    return appearance_of(sample.open()).perceptual_hash
