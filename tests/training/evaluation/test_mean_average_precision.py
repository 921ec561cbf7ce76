"""mAP against cases one can work out by hand, and against COCO's own library."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest

from training.data.samples import SampleBox
from training.evaluation.mean_average_precision import map50
from xray_app.detector.base import Detection


def true(label: str, *xyxy: float) -> SampleBox:
    return SampleBox(label=label, xyxy=xyxy)  # type: ignore[arg-type]


def said(label: str, confidence: float, *xyxy: float) -> Detection:
    return Detection(label, confidence, xyxy)  # type: ignore[arg-type]


def test_everything_right_is_one_and_nothing_is_zero() -> None:
    truths = [[true("knife", 0, 0, 10, 10)], [], [true("gun", 5, 5, 50, 40), true("gun", 60, 5, 90, 40)]]
    right = [[said(box.label, 0.9, *box.xyxy) for box in scan] for scan in truths]
    assert map50(right, truths) == (pytest.approx(1), pytest.approx(1))
    assert map50([[], [], []], truths) == (0, 0)
    assert map50([[], []], [[], []]) == (0, 0)


def test_a_second_box_on_one_item_is_a_false_alarm() -> None:
    truths = [[true("knife", 0, 0, 10, 10)], [true("knife", 0, 0, 10, 10)]]
    twice = [[said("knife", 0.9, 0, 0, 10, 10), said("knife", 0.8, 0, 0, 10, 9)], [said("knife", 0.7, 0, 0, 10, 10)]]
    # Precision 1 up to a recall of one half (51 of 101 points), two thirds above.
    assert map50(twice, truths)[0] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_a_loose_box_counts_at_half_overlap_only() -> None:
    truths = [[true("knife", 0, 0, 10, 10)]]
    loose = [[said("knife", 0.9, 0, 0, 10, 7.2)]]  # overlap 0.72: right at 0.5 … 0.7, five of ten
    assert map50(loose, truths) == (pytest.approx(1), pytest.approx(0.5))


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_coco(seed: int) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(seed)
    labels = ["knife", "gun", "laptop", "tin"]
    truths, predictions = [], []
    for _ in range(40):
        corners = rng.uniform(0, 200, (rng.integers(0, 6), 2))
        boxes = np.concatenate([corners, corners + rng.uniform(10, 90, corners.shape)], 1)
        scan = [true(labels[rng.integers(0, 3)], *box) for box in boxes.tolist()]
        found = []
        for box in scan:
            for _ in range(rng.integers(0, 3)):
                x0, y0, x1, y1 = np.array(box.xyxy) + rng.normal(0, 4, 4)
                label = box.label if rng.random() < 0.8 else labels[rng.integers(0, 4)]
                found.append(said(label, float(rng.random()), x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)))
        truths.append(scan)
        predictions.append(found)

    def row(number: int, label: str, xyxy: tuple[float, ...]) -> dict[str, object]:
        sides = [xyxy[2] - xyxy[0], xyxy[3] - xyxy[1]]
        return {
            "image_id": number,
            "category_id": labels.index(label) + 1,
            "bbox": [*xyxy[:2], *sides],
            "area": sides[0] * sides[1],
            "iscrowd": 0,
        }

    theirs = coco.COCO()
    theirs.dataset = {
        "images": [{"id": number} for number in range(len(truths))],
        "categories": [{"id": number + 1, "name": label} for number, label in enumerate(labels)],
        "annotations": [row(n, box.label, box.xyxy) for n, scan in enumerate(truths) for box in scan],
    }
    for number, annotation in enumerate(theirs.dataset["annotations"]):
        annotation["id"] = number + 1
    with contextlib.redirect_stdout(io.StringIO()):
        theirs.createIndex()
        guesses = theirs.loadRes(
            [
                row(n, box.label, box.xyxy) | {"score": box.confidence}
                for n, scan in enumerate(predictions)
                for box in scan
            ]
        )
        run = COCOeval(theirs, guesses, "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    assert map50(predictions, truths) == (
        pytest.approx(run.stats[1], abs=1e-3),
        pytest.approx(run.stats[0], abs=1e-3),
    )
