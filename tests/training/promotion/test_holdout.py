"""What counts as the same answer on the hold-out: how near, and on how many scans."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import delete

from training.data.samples import Sample, make_sample
from training.data.snapshot import samples_sha256
from training.promotion.holdout import (
    MEASURED_AS,
    Holdout,
    answers_differ,
    detections_differ,
    measure_detector,
    simulated_holdout,
)
from xray_app.detector.base import Detection
from xray_app.store import holdout_figures
from xray_app.store.database import Database
from xray_app.store.tables import HoldoutFigureRow
from xray_app.taxonomy import Taxonomy
from xray_app.types import XYXY, Status
from xray_app.vlm.base import Answer

ADAPTER = Path("adapter")


def test_figures_are_kept_for_the_same_pictures_labels_classes_and_thresholds_alone(
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
        key(samples[:2], with_class(taxonomy, name="dagger")),
        key(samples[:2], with_class(taxonomy, status=Status.RESTRICTED)),
        key(samples[:2], with_policy(taxonomy, prohibited_threshold=0.77)),
        key(samples[:2], with_policy(taxonomy, lower_threshold=0.01)),
        key(samples[:2], policy="prison"),
    }
    assert len(others | {known}) == 8
    assert known == key(samples[:2], with_class(taxonomy, aliases=("letter opener",)))
    assert known == key(samples[:2], with_policy(taxonomy, margin=0.03)), "the gate's own limit changes no figure"


def with_class(taxonomy: Taxonomy, **changed: Any) -> Taxonomy:
    """Another file, in which the first class differs."""
    return replace(taxonomy, sha256="t" * 64, classes=(replace(taxonomy.classes[0], **changed), *taxonomy.classes[1:]))


def with_policy(taxonomy: Taxonomy, **changed: Any) -> Taxonomy:
    policy = replace(taxonomy.policy(), **changed)
    return replace(taxonomy, sha256="t" * 64, policies={**taxonomy.policies, policy.name: policy})


def measured(samples: list[Sample], db: Database, taxonomy: Taxonomy) -> int:
    """How many scans had to be looked at."""
    asked: list[int] = []
    measure_detector(
        Draws(), Holdout.of(samples, [], taxonomy.rules()), db, taxonomy.rules(), lambda done, total: asked.append(done)
    )
    return max(0, len(asked) - 2)  # each half is said to be over once


def test_a_new_alias_keeps_figures_and_another_status_measures_again(
    samples: list[Sample], db: Database, taxonomy: Taxonomy
) -> None:
    assert measured(samples[:2], db, taxonomy)
    assert not measured(samples[:2], db, with_class(taxonomy, aliases=("letter opener",)))
    assert measured(samples[:2], db, with_class(taxonomy, status=Status.ALLOWED))


def test_figures_kept_under_the_whole_file_are_good_for_that_file_and_then_for_a_new_alias(
    samples: list[Sample], db: Database, taxonomy: Taxonomy
) -> None:
    rules, bags = taxonomy.rules(), samples[:2]
    facts = [samples_sha256(bags), taxonomy.sha256, rules.policy.name, str(MEASURED_AS)]
    old = hashlib.sha256("\n".join(facts).encode()).hexdigest()
    measured(bags, db, taxonomy)
    new = Holdout.of(bags, [], rules).simulated_sha256
    document = holdout_figures.get(db, new, "detector:" + Draws.sha256)
    assert document is not None
    with db.write() as session:
        session.execute(delete(HoldoutFigureRow))
    holdout_figures.put(db, old, "detector:" + Draws.sha256, document)
    alias = with_class(taxonomy, aliases=("letter opener",))
    assert measured(bags, db, alias), "nothing says what that file was"
    with db.write() as session:
        session.execute(delete(HoldoutFigureRow).where(HoldoutFigureRow.holdout_sha256 != old))
    assert not measured(bags, db, taxonomy)
    assert not measured(bags, db, alias)


def test_a_simulated_half_outlasts_a_new_alias_and_one_of_before_is_taken(
    tmp_path: Path, taxonomy: Taxonomy, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = simulated_holdout(tmp_path, taxonomy, count=1)
    again = simulated_holdout(tmp_path, with_class(taxonomy, aliases=("letter opener",)), count=1)
    assert [sample.image for sample in first] == [sample.image for sample in again]
    renamed = simulated_holdout(tmp_path, with_class(taxonomy, drawn=False), count=1)
    assert renamed[0].image != first[0].image
    monkeypatch.setattr(Taxonomy, "classes_sha256", taxonomy.sha256)  # as it was named before
    before = simulated_holdout(tmp_path / "old", taxonomy, count=1)
    monkeypatch.undo()
    assert simulated_holdout(tmp_path / "old", taxonomy, count=1)[0].image == before[0].image
    assert len(list((tmp_path / "old" / "holdout").iterdir())) == 1


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

    def answer(self, images: Sequence[Image.Image], instructions: Sequence[str], drafts: object = None) -> list[Answer]:
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
