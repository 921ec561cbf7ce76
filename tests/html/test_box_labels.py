"""Labels of boxes: none on another, none cut off, however close the boxes are."""

from __future__ import annotations

import pytest

from xray_app.html.box_labels import label_places
from xray_app.taxonomy import Taxonomy
from xray_app.types import XYXY, Box


def boxes(taxonomy: Taxonomy, *places: tuple[str, XYXY]) -> list[tuple[Box, str]]:
    return [
        (taxonomy.box(f"b{n}", "model", label, place, 0.9), f"▲ {label} 90%") for n, (label, place) in enumerate(places)
    ]


@pytest.mark.parametrize(
    ("width", "height", "size"), [(400, 300, 400 / 26), (1200, 300, 36), (300, 900, 45), (64, 48, 3)]
)
def test_no_label_stands_on_another_nor_is_cut_off(taxonomy: Taxonomy, width: int, height: int, size: float) -> None:
    names = ("razor blade", "power bank", "scissors", "knife", "pressurised can", "gun")
    one = (width * 0.05, height * 0.4, width * 0.25, height * 0.6)
    right = (width * 0.9, height * 0.02, width * 0.99, height * 0.98)
    said = boxes(taxonomy, *((name, one) for name in names), ("folding knife", right))
    room = (-width, 0.0, width * 2.0, float(height)) if width < height else (0.0, 0.0, float(width), float(height))
    places = label_places(said, room, size)
    drawn = [
        (place.left, place.baseline - size * 0.8, place.left + size * 0.55 * len(words), place.baseline + size * 0.2)
        for place, (_, words) in zip(places, said, strict=True)
    ]
    for n, (left, top, over, under) in enumerate(drawn):
        assert room[0] <= left < over <= room[2], said[n][1]
        assert room[1] <= top < under <= room[3] + 0.01, said[n][1]
        for other in drawn[n + 1 :]:
            apart = left >= other[2] or other[0] >= over or top >= other[3] or other[1] >= under
            assert apart, f"{said[n][1]} at {drawn[n]} and {other}"


def test_a_label_stands_above_its_box_where_there_is_room(taxonomy: Taxonomy) -> None:
    (place,) = label_places(boxes(taxonomy, ("knife", (100, 100, 200, 150))), (0, 0, 400, 300), 12)
    assert (place.left, place.size) == (100, 12)
    assert 88 <= place.baseline < 100
