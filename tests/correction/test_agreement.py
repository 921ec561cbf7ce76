"""Agreement between people, against values computed by hand."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from xray_app.correction.agreement import agreement, cohens_kappa, matched
from xray_app.taxonomy import Taxonomy
from xray_app.types import XYXY, Correction, Diff


@pytest.mark.parametrize(
    ("table", "kappa"),
    [
        # Po = 35/50 = 0.7; yes: 25/50 and 30/50, so Pe = 0.5 * 0.6 + 0.5 * 0.4 = 0.5; (0.7 - 0.5) / 0.5.
        ((20, 5, 10, 15), 0.4),
        # Po = 0.6; yes 0.6 and 0.7, Pe = 0.42 + 0.12 = 0.54; 0.06 / 0.46.
        ((45, 15, 25, 15), 0.06 / 0.46),
        # The same Po with other margins: Pe = 0.6 * 0.3 + 0.4 * 0.7 = 0.46; 0.14 / 0.54.
        ((25, 35, 5, 35), 0.14 / 0.54),
        ((3, 0, 0, 7), 1.0),
        ((0, 5, 5, 0), -1.0),
        ((0, 0, 0, 9), None),
        ((9, 0, 0, 0), None),
        ((0, 0, 0, 0), None),
    ],
)
def test_cohens_kappa(table: tuple[int, int, int, int], kappa: float | None) -> None:
    assert cohens_kappa(*table) == (None if kappa is None else pytest.approx(kappa))


def test_boxes_are_paired_one_to_one_within_their_label(taxonomy: Taxonomy) -> None:
    def boxes(*found: tuple[str, XYXY]) -> list:  # type: ignore[type-arg]
        return [taxonomy.box(str(n), "human", label, xyxy) for n, (label, xyxy) in enumerate(found)]

    first = boxes(("knife", (0, 0, 10, 10)), ("knife", (0, 0, 10, 8)), ("gun", (50, 50, 60, 60)))
    second = boxes(("knife", (0, 0, 10, 8)), ("scissors", (50, 50, 60, 60)), ("knife", (4, 0, 14, 10)))
    # The equal pair first (1.0); the other knives overlap by 60 / 140, which is too little; gun is no scissors.
    assert matched(first, second) == [1.0]
    assert matched(first, []) == []


def test_two_people_over_four_scans(taxonomy: Taxonomy) -> None:
    def says(labels: str, *boxes: XYXY, looked_for: tuple[str, ...] | None = None) -> Correction:
        return Correction(
            id="c", analysis_id="a", revision=1, status="accepted", author="x", created_at=datetime.now(UTC),
            items=tuple(taxonomy.item(label, 1) for label in labels.split()),
            boxes=tuple(taxonomy.box(str(n), "human", "knife", xyxy) for n, xyxy in enumerate(boxes)),
            labelled_classes=looked_for, comment=None, diff=Diff(), split="train",
        )  # fmt: skip

    found = agreement(
        "anna",
        "ben",
        [
            (says("knife", (0, 0, 10, 10)), says("knife", (0, 0, 10, 8))),  # overlap 0.8
            (says("knife", (0, 0, 10, 10)), says("gun")),
            (says(""), says("")),
            (says("gun"), says("", looked_for=("knife",))),  # ben did not look for guns
        ],
    )
    by_label = {one.label: one for one in found.classes}
    knife, gun = by_label["knife"], by_label["gun"]
    assert (knife.both, knife.only_first, knife.only_second, knife.neither) == (1, 1, 0, 2)
    # Po = 3/4; yes 2/4 and 1/4, Pe = 1/8 + 3/8 = 1/2.
    assert knife.kappa == pytest.approx(0.5)
    assert (gun.both, gun.only_first, gun.only_second, gun.neither) == (0, 0, 1, 2)
    assert gun.kappa == pytest.approx(0.0)
    # Pooled 1, 1, 1, 4: Po = 5/7, yes 2/7 each, Pe = 4/49 + 25/49 = 29/49; (35 - 29) / (49 - 29).
    assert found.kappa == pytest.approx(0.3)
    assert found.scans == 4
    assert found.mean_iou == pytest.approx(0.8)
    assert found.boxes_matched == pytest.approx(2 / 3)
    assert agreement("anna", "ben", []).kappa is None
