"""The training data set: how often each sample is shown, and how it is varied.

Everything random follows from seed, epoch and place in the list alone, so that a resumed run sees what it would
have seen undisturbed.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence

from torch.utils.data import Dataset

from training.data.augment import other_contrast, other_palette, turned
from training.data.collate import Example
from training.data.threat_projection import Projector
from training.recipes.recipe import Recipe
from training.data.samples import Sample
from xray_app.taxonomy import Taxonomy


class Samples(Dataset[Example]):
    """Samples as the collator wants them, opened when they are needed.

    Args:
        samples: in their order.
        recipe: says how they are varied; None shows them as they are.
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
            image = turned(image, rng)
        if recipe.contrast:
            image = other_contrast(image, recipe.contrast, rng)
        if recipe.palette:
            image = other_palette(image, recipe.palette, rng)
        return Example(image, sample.instruction, response)


def balanced(samples: Sequence[Sample], rare: float, taxonomy: Taxonomy, seed: int) -> list[Sample]:
    """The samples of an epoch, those with a rare class more than once.

    A scan is repeated max over its classes of sqrt(`rare` / share of the class) times, a fraction by chance
    (the rule of LVIS: Gupta et al. 2019, section 4.2). The square root is a compromise: in full proportion, the
    few scans of the rarest class would be learned by heart.

    Args:
        samples: each holds its items in its answer.
        rare: the share of samples below which a class is rare; 0 repeats none.
        taxonomy: reads the answers.
        seed: of the chance.
    """
    of_sample = [set(sample.counts(taxonomy)) for sample in samples]
    holding = Counter(label for labels in of_sample for label in labels)
    times = {label: math.sqrt(rare * len(samples) / count) for label, count in holding.items()}
    rng = random.Random(f"{seed}/balance")
    shown: list[Sample] = []
    for sample, labels in zip(samples, of_sample, strict=True):
        wanted = max([1.0, *(times[label] for label in labels)])
        shown += [sample] * math.floor(wanted + rng.random())
    return shown
