"""When two corrections say the same."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from xray_app.correction.equality import SAME_PLACE, is_sent_twice, says_the_same
from xray_app.errors import UnknownLabel
from xray_app.taxonomy import Taxonomy
from xray_app.types import XYXY, Correction, CorrectionBox, CorrectionIn, Diff, ItemCount

Drawn = tuple[tuple[str, XYXY], ...]
BOX: XYXY = (0, 20, 30, 40)
KNIFE: Drawn = (("knife", BOX),)


def saved(
    taxonomy: Taxonomy, boxes: Drawn = KNIFE, looked_for: tuple[str, ...] | None = None, **counts: int
) -> Correction:
    return Correction(
        id="c",
        analysis_id="a",
        revision=1,
        status="accepted",
        author="anna",
        created_at=datetime.now(UTC),
        items=tuple(taxonomy.item(label, count) for label, count in (counts or {"knife": 1}).items()),
        boxes=tuple(taxonomy.box(str(n), "human", label, xyxy) for n, (label, xyxy) in enumerate(boxes)),
        labelled_classes=looked_for,
        comment=None,
        diff=Diff(),
        split="train",
    )


def sent(boxes: Drawn = KNIFE, **more: Any) -> CorrectionIn:
    return CorrectionIn(
        items=more.pop("items", (ItemCount(label="knife", count=1),)),
        boxes=tuple(CorrectionBox(label=label, xyxy=xyxy) for label, xyxy in boxes),
        **more,
    )


def moved(by: float) -> Drawn:
    return (("knife", (by, *BOX[1:])),)


@pytest.mark.parametrize(("by", "same"), [(0.0, True), (0.009, True), (SAME_PLACE, False), (1.0, False)])
def test_a_box_is_at_the_same_place_within_a_hundredth_of_a_pixel(taxonomy: Taxonomy, by: float, same: bool) -> None:
    assert says_the_same(sent(moved(by)), saved(taxonomy), taxonomy) is same


def test_order_ids_comment_and_base_do_not_matter(taxonomy: Taxonomy) -> None:
    boxes: Drawn = (("knife", BOX), ("laptop", (1, 1, 9, 9)))
    again = CorrectionIn(
        items=(ItemCount(label="laptop", count=2), ItemCount(label="knife", count=1)),
        boxes=tuple(CorrectionBox(id=label, label=label, xyxy=xyxy) for label, xyxy in reversed(boxes)),
        comment="again",
        base_revision=7,
    )
    assert says_the_same(again, saved(taxonomy, boxes, knife=1, laptop=2), taxonomy)


def test_boxes_that_rounding_puts_in_another_order_still_pair_off(taxonomy: Taxonomy) -> None:
    there: Drawn = (("knife", (0.001, 0, 9, 9)), ("knife", (0.002, 50, 9, 60)))
    back: Drawn = (("knife", (0.002, 0, 9, 9)), ("knife", (0.001, 50, 9, 60)))
    assert says_the_same(sent(back), saved(taxonomy, there), taxonomy)


def test_one_box_does_not_stand_for_two(taxonomy: Taxonomy) -> None:
    other: Drawn = (*KNIFE, ("knife", (50, 50, 60, 60)))
    assert not says_the_same(sent(KNIFE * 2), saved(taxonomy, other), taxonomy)
    assert not says_the_same(sent(), saved(taxonomy, other), taxonomy)
    assert not says_the_same(sent(other), saved(taxonomy), taxonomy)


@pytest.mark.parametrize(
    "items",
    [(), (ItemCount(label="knife", count=2),), (ItemCount(label="knife", count=1), ItemCount(label="axe", count=1))],
)
def test_another_list_is_another_correction(taxonomy: Taxonomy, items: tuple[ItemCount, ...]) -> None:
    assert not says_the_same(sent(items=items), saved(taxonomy), taxonomy)


def test_another_label_of_a_box_is_another_correction(taxonomy: Taxonomy) -> None:
    assert not says_the_same(sent((("axe", BOX),)), saved(taxonomy), taxonomy)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (None, None, True),
        (("knife", "axe"), ("axe", "knife"), True),
        (("knife",), None, False),
        (None, ("knife",), False),
        (("knife",), ("knife", "axe"), False),
    ],
)
def test_what_was_looked_for_is_part_of_it(
    taxonomy: Taxonomy, first: tuple[str, ...] | None, second: tuple[str, ...] | None, same: bool
) -> None:
    assert says_the_same(sent(labelled_classes=first), saved(taxonomy, looked_for=second), taxonomy) is same


def test_an_alias_is_the_label_it_stands_for(taxonomy: Taxonomy) -> None:
    alias = next(alias for alias in taxonomy.resolve("knife").aliases if alias != "knife")
    again = sent(((alias, BOX),), items=(ItemCount(label=alias, count=1),), labelled_classes=(alias,))
    assert says_the_same(again, saved(taxonomy, looked_for=("knife",)), taxonomy)
    with pytest.raises(UnknownLabel):
        says_the_same(sent(items=(ItemCount(label="flurb", count=1),)), saved(taxonomy), taxonomy)


def test_only_its_author_sends_it_twice(taxonomy: Taxonomy) -> None:
    assert is_sent_twice(sent(), saved(taxonomy), "anna", taxonomy)
    assert not is_sent_twice(sent(), saved(taxonomy), "ben", taxonomy)
