"""What counts as the same answer on the hold-out: how near, and on how many scans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from training.data.samples import Sample, make_sample
from training.promotion.holdout import Holdout, answers_differ, detections_differ
from xray_app.detector.base import Detection
from xray_app.taxonomy import Taxonomy
from xray_app.types import XYXY
from xray_app.vlm.base import Answer

ADAPTER = Path("adapter")


def test_figures_are_kept_for_the_same_pictures_labels_taxonomy_and_policy_alone(
    samples: list[Sample], taxonomy: Taxonomy
) -> None:
    rules = taxonomy.rules()

    def key(held_out: list[Sample], taxonomy: Taxonomy = taxonomy, policy: str = "") -> str:
        return Holdout.of(held_out, [], taxonomy.rules(policy)).simulated_sha256

    known = key(samples[:2])
    assert known == key(samples[:2], policy=rules.policy.name) == Holdout.of([], samples[:2], rules).site_sha256
    knife = samples[1].model_copy(update={"response": "Items detected: 1 knife (threat)."})
    others = {
        key(samples[:1]),
        key([samples[0], knife]),
        key(samples[:2], replace(taxonomy, sha256="t" * 64)),
        key(samples[:2], policy="prison"),
    }
    assert len(others | {known}) == 5


@pytest.fixture
def samples(tmp_path: Path, taxonomy: Taxonomy) -> list[Sample]:
    path = tmp_path / "scan.png"
    Image.new("RGB", (16, 16)).save(path)
    return [make_sample(path, (16, 16), {}, [], None, f"bag {number}", taxonomy) for number in range(33)]


class Adapted:
    """Says "none" with probability 0.5, and with an adapter another answer from scan `begins` on."""

    name, weights_sha256 = "adapted", "b" * 64
    form = None

    def __init__(self, changed: Answer, begins: int = 0) -> None:
        self.changed, self.begins = changed, begins
        self.adapter: Path | None = None
        self.answered = 0

    def use_adapter(self, folder: Path | None) -> None:
        self.adapter, self.answered = folder, 0

    def answer(self, images: Sequence[Image.Image], instructions: Sequence[str]) -> list[Answer]:
        answers = []
        for _ in images:
            answers.append(self.changed if self.adapter and self.answered >= self.begins else said(0.5))
            self.answered += 1
        return answers


def said(probability: float, text: str = "none") -> Answer:
    return Answer(text, True, ((0, 4, probability),))


@pytest.mark.parametrize(
    ("changed", "differs"),
    [
        (said(0.5), False),
        (said(0.50009), False),
        (said(0.50011), True),
        (said(0.49989), True),
        (said(0.5, "gun."), True),
        (Answer("none", True), True),
    ],
)
def test_a_probability_changed_by_more_than_a_ten_thousandth_is_another_answer(
    samples: list[Sample], changed: Answer, differs: bool
) -> None:
    vlm = Adapted(changed)
    assert answers_differ(vlm, ADAPTER, samples[:2]) == differs
    assert vlm.adapter == ADAPTER, "what follows is measured with the adapter"


@pytest.mark.parametrize(("begins", "differs"), [(31, True), (32, False)])
def test_thirty_two_scans_are_asked(samples: list[Sample], begins: int, differs: bool) -> None:
    assert answers_differ(Adapted(said(0.9), begins), ADAPTER, samples, batch=5) == differs


class Draws:
    name, sha256, trainable = "draws", "d" * 64, False

    def __init__(self, *boxes: Detection) -> None:
        self.boxes = list(boxes)

    def detect(self, image: Image.Image, threshold: float = 0.05) -> list[Detection]:
        return self.boxes


def knife(confidence: float = 0.5, xyxy: XYXY = (1, 1, 5, 5), label: str = "knife") -> Detection:
    return Detection(label, confidence, xyxy)


@pytest.mark.parametrize(
    ("drawn", "differs"),
    [
        ([knife()], False),
        ([knife(0.50009)], False),
        ([knife(0.50011)], True),
        ([knife(xyxy=(1, 1, 5, 5.09))], False),
        ([knife(xyxy=(1, 1, 5, 5.11))], True),
        ([knife(label="gun")], True),
        ([], True),
        ([knife(), knife()], True),
    ],
)
def test_a_box_moved_by_more_than_a_tenth_of_a_pixel_is_another_box(
    samples: list[Sample], drawn: list[Detection], differs: bool
) -> None:
    assert detections_differ(Draws(knife()), Draws(*drawn), samples[:1]) == differs
