"""The training data set: how often each sample is shown, and how it is varied.

Everything random follows from seed, epoch and place in the list alone, so that a resumed run sees what it would
have seen undisturbed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from torch.utils.data import Dataset

from training.data.augment import random_contrast, random_palette, random_turn
from training.data.collate import Example
from training.data.repeat_factor import repeat_factors
from training.data.samples import Sample
from training.data.threat_projection import Projector
from training.recipes.recipe import Recipe
from xray_app.taxonomy import Taxonomy


class SampleDataset(Dataset[Example]):
    """Samples as a torch data set; each picture is opened when it is asked for.

    Args:
        samples: in their order.
        recipe: says how they are augmented; None shows them as they are.
        projector: puts threats into scans, where the recipe asks for that.
    """

    def __init__(
        self, samples: Sequence[Sample], recipe: Recipe | None = None, projector: Projector | None = None
    ) -> None:
        self.samples = samples
        self.recipe = recipe
        self.projector = projector
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer's loader before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Example:
        sample = self.samples[index]
        image, response = sample.open(), sample.response
        if (recipe := self.recipe) is None:
            return Example(image, sample.instruction, response)
        rng = random.Random(f"{recipe.seed}/{self.epoch}/{index}")
        if self.projector is not None and rng.random() < recipe.threat_projection:
            image, response = self.projector.into(image, sample, rng)
        if recipe.turns:
            image = random_turn(image, rng)
        if recipe.contrast:
            image = random_contrast(image, recipe.contrast, rng)
        if recipe.palette:
            image = random_palette(image, recipe.palette, rng)
        return Example(image, sample.instruction, response)


def repeat_rare(samples: Sequence[Sample], rare: float, taxonomy: Taxonomy, seed: int) -> list[Sample]:
    """The samples of an epoch, those with a rare class more than once; a fraction of a repeat goes by chance.

    Args:
        samples: each holds its items in its answer.
        rare: the share of samples below which a class is rare; 0 repeats none. See `repeat_factors`.
        taxonomy: reads the answers.
        seed: of the chance.
    """
    factors = repeat_factors([set(sample.counts(taxonomy)) for sample in samples], rare)
    rng = random.Random(f"{seed}/balance")
    shown: list[Sample] = []
    for sample, factor in zip(samples, factors, strict=True):
        shown += [sample] * int(factor + rng.random())
    return shown
