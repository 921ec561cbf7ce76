"""Threat image projection as augmentation: threats of some samples laid into those that hold none."""

from __future__ import annotations

import logging
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from PIL import Image

from training.data.samples import Sample
from xray_app import report
from xray_app.simulate.projection import Threat, cut, project
from xray_app.taxonomy import Taxonomy
from xray_app.types import Status

logger = logging.getLogger(__name__)

MOST_OF_A_CLASS = 60
"""Cuts kept of a class: enough variety, and memory stays small."""
ATTEMPTS = 3


class Projector:
    """Cut-out threats by class."""

    def __init__(self, threats: Mapping[str, Sequence[Threat]], taxonomy: Taxonomy) -> None:
        self.threats = threats
        self.taxonomy = taxonomy

    @classmethod
    def of(cls, samples: Sequence[Sample], taxonomy: Taxonomy) -> Projector:
        """Cuts the prohibited items that have a box and stand out cleanly from their samples."""
        threats: dict[str, list[Threat]] = defaultdict(list)
        tried: Counter[str] = Counter()
        for sample in samples:
            boxes = [box for box in sample.boxes if taxonomy.resolve(box.label).status is Status.PROHIBITED]
            if all(len(threats[box.label]) >= MOST_OF_A_CLASS for box in boxes):
                continue
            image = sample.open()
            for box in boxes:
                tried[box.label] += 1
                threat = cut(image, box.xyxy, box.label)
                if threat is not None and len(threats[box.label]) < MOST_OF_A_CLASS:
                    threats[box.label].append(threat)
        found = {label: tuple(cuts) for label, cuts in sorted(threats.items()) if cuts}
        if found:
            logger.info("threats to project: %s", ", ".join(f"{len(cuts)} {label}" for label, cuts in found.items()))
        else:
            logger.warning(
                "No threat is projected: none of the %d boxed prohibited items stands out cleanly. "
                "Label some with tight boxes on light surroundings, or set threat_projection to 0.",
                tried.total(),
            )
        return cls(found, taxonomy)

    def into(self, image: Image.Image, sample: Sample, rng: random.Random) -> tuple[Image.Image, str]:
        """The scan and its wanted answer, with a threat more where that is possible.

        The class is drawn evenly from those somebody looked for in this sample, so that rare ones come as often as
        common ones. A scan that holds a prohibited item already is left alone, and so is one without a good place.

        Args:
            image: the sample's picture, RGB.
            sample: whose answer gets the threat as well.
            rng: draws.
        """
        # What the answer names counts, looked for or not: asked for everything, it keeps the model's own items.
        counts = Counter[str]()
        for entry in report.parse_entries(sample.response, self.taxonomy).entries:
            counts[entry.label] += entry.count
        scope = sample.labelled_classes
        labels = [label for label in self.threats if scope is None or label in scope]
        if not labels or any(self.taxonomy.resolve(label).status is Status.PROHIBITED for label in counts):
            return image, sample.response
        for _ in range(ATTEMPTS):
            threat = rng.choice(self.threats[rng.choice(labels)])
            done = project(image, threat, rng)
            if done is not None:
                counts[done.label] += 1
                return done.image, report.format_report(counts, self.taxonomy)
        return image, sample.response
