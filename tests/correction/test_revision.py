"""A person's list and boxes, read and compared with what was there; and which side of the split a bag is on."""

from __future__ import annotations

import pytest

from tests.conftest import MakeAnalysis
from xray_app.correction.revision import difference, read_boxes, read_items, same_box, split_of, standing
from xray_app.errors import BadInput
from xray_app.taxonomy import Taxonomy
from xray_app.types import XYXY, Box, Correction, CorrectionBox, CorrectionIn, Diff, ItemCount


def test_a_bag_stays_on_the_side_it_was_ever_on() -> None:
    """Another hash would train on what was measured before."""
    held_out = [number for number in range(40) if split_of(f"bag {number}") == "holdout"]
    assert held_out == [1, 5, 12, 16, 18, 21, 22, 27, 30, 31, 32, 36]
    sides = {"": "train", "held-out-1": "holdout", "two-views": "train", "Gepäck 7": "train", "a" * 64: "holdout"}
    assert {bag: split_of(bag) for bag in sides} == sides


def test_one_bag_in_five_is_held_out() -> None:
    assert sum(split_of(f"bag {number}") == "holdout" for number in range(10_000)) == 2057


def drawn(taxonomy: Taxonomy, label: str, xyxy: XYXY) -> Box:
    return taxonomy.box("b1", "model", label, xyxy, 0.9)


def test_a_box_moved_by_more_than_a_thousandth_of_a_pixel_was_moved(taxonomy: Taxonomy) -> None:
    before = drawn(taxonomy, "knife", (0, 0, 10, 10))
    assert same_box(before, drawn(taxonomy, "knife", (0, 0, 10, 10.0009)))
    assert not same_box(before, drawn(taxonomy, "knife", (0, 0, 10, 10.0011)))
    assert not same_box(before, drawn(taxonomy, "knife", (0.001, 0, 10, 10)))
    assert not same_box(before, drawn(taxonomy, "gun", (0, 0, 10, 10)))


def sent(*boxes: CorrectionBox, **counts: int) -> CorrectionIn:
    return CorrectionIn(items=tuple(ItemCount(label=label, count=n) for label, n in counts.items()), boxes=boxes)


def test_of_a_class_99_are_counted_and_100_refused(taxonomy: Taxonomy) -> None:
    (item,) = read_items(sent(knife=98, knives=1), taxonomy)
    assert (item.label, item.count) == ("knife", 99)
    with pytest.raises(BadInput, match="not 100"):
        read_items(sent(knife=99, knives=1), taxonomy)


def test_a_box_reaches_to_the_edges_of_the_picture_and_not_past_them(
    make_analysis: MakeAnalysis, taxonomy: Taxonomy
) -> None:
    def read(xyxy: XYXY) -> tuple[Box, ...]:
        return read_boxes(sent(CorrectionBox(label="knife", xyxy=xyxy)), make_analysis(), (None,), taxonomy)

    assert read((0, 0, 320, 240))[0].xyxy == (0, 0, 320, 240)
    for past in ((0, 0, 320.01, 240), (0, 0, 320, 240.01)):
        with pytest.raises(BadInput, match="320 x 240"):
            read(past)


def revision(make_analysis: MakeAnalysis, number: int, status: str) -> Correction:
    analysis = make_analysis()
    return Correction.model_validate(
        {
            "id": f"c{number}",
            "analysis_id": analysis.id,
            "revision": number,
            "status": status,
            "author": "anna",
            "created_at": analysis.created_at,
            "items": (),
            "boxes": (),
            "labelled_classes": None,
            "comment": None,
            "diff": Diff(),
            "split": "train",
        }
    )


@pytest.mark.parametrize(
    ("statuses", "stands"),
    [
        ((), None),
        (("accepted", "pending"), 2),
        (("accepted", "rejected"), 1),
        (("pending", "rejected", "rejected"), 1),
        (("rejected",), None),
    ],
)
def test_the_newest_revision_nobody_rejected_stands(
    make_analysis: MakeAnalysis, statuses: tuple[str, ...], stands: int | None
) -> None:
    found = standing([revision(make_analysis, number, status) for number, status in enumerate(statuses, 1)])
    assert (found and found.revision) == stands


def test_a_box_of_what_was_not_looked_for_is_not_called_removed(
    make_analysis: MakeAnalysis, taxonomy: Taxonomy
) -> None:
    analysis = make_analysis()
    assert difference(analysis, None, (), (), ("gun",)) == Diff()
    looked_for = difference(analysis, None, (), (), ("knife",))
    assert looked_for.boxes_removed == ("b1",)
    assert [change.label for change in looked_for.items] == ["knife"]
