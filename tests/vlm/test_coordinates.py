from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tiny import taxonomy
from xray_app.errors import BadInput
from xray_app.report import parse_report
from xray_app.types import XYXY
from xray_app.vlm.base import Answer
from xray_app.vlm.coordinates import coordinate_frame, family_of, from_frame
from xray_app.vlm.reading import MOST_BOXES, read_boxes


@pytest.mark.parametrize(
    ("name", "family"),
    [
        *[(name, "qwen2.5-vl") for name in ("reducto/RolmOCR", "Qwen/Qwen2.5-VL-7B-Instruct", "qwen2_5_vl")],
        *[(name, "qwen2-vl") for name in ("Qwen/Qwen2-VL-2B", "qwen2_vl")],
        *[(name, "qwen3-vl") for name in ("Qwen/Qwen3-VL-8B-Instruct", "qwen3_vl", "qwen3_vl_moe")],
        *[(name, "internvl") for name in ("OpenGVLab/InternVL3-1B-hf", "internvl")],
        *[(name, None) for name in ("gpt-4o", "llava_next", "Qwen/Qwen2.5-7B-Instruct", "org/m")],
    ],
)
def test_a_models_name_or_type_says_its_family(name: str, family: str | None) -> None:
    assert family_of(name) == family


def test_each_family_writes_its_own_numbers() -> None:
    """One box, 100, 50 to 200, 100 of a picture of 400 × 200, as each family writes it."""
    written: dict[str, XYXY] = {
        **dict.fromkeys(("qwen2-vl", "qwen3-vl", "internvl"), (250, 250, 500, 500)),
        "qwen2.5-vl": (98, 49, 196, 98),
    }
    for family, xyxy in written.items():
        frame = coordinate_frame(family, (392, 196))
        assert frame is not None
        assert from_frame(xyxy, frame, (400, 200)) == (100, 50, 200, 100)
    assert coordinate_frame(None, (392, 196)) is None


@settings(max_examples=100, deadline=None)
@given(st.tuples(*[st.floats(-1e9, 1e9)] * 4), st.tuples(st.integers(16, 4000), st.integers(16, 4000)))
def test_what_lies_outside_is_moved_to_the_edge(written: XYXY, size: tuple[int, int]) -> None:
    x0, y0, x1, y1 = from_frame(written, (1000, 1000), size)
    assert 0 <= min(x0, x1) <= max(x0, x1) <= size[0]
    assert 0 <= min(y0, y1) <= max(y0, y1) <= size[1]


def test_numbers_that_are_none_are_refused() -> None:
    for written, size in (((0, 0, float("nan"), 1), (400, 200)), ((0, 0, 1, 1), (0, 200))):
        with pytest.raises(BadInput):
            from_frame(written, (1000, 1000), size)  # type: ignore[arg-type]


def boxes_in(text: str, frame: tuple[int, int] | None = (1000, 1000)) -> list[tuple[str, str, XYXY]]:
    report = parse_report(text, taxonomy())
    found = read_boxes(Answer(text, True, frame=frame), report, (400, 200), taxonomy())
    return [(box.id, box.label, box.xyxy) for box in found]


def test_an_answers_boxes_are_placed_in_the_picture() -> None:
    text = (
        '[{"bbox_2d": [250, 250, 500, 500], "label": "pistol"}, {"bbox_2d": [900, 0, 1200, 100], "label": "laptop"}, '
        '{"bbox_2d": [10, 10, 20, 20], "label": "wallet"}, {"bbox_2d": [1100, 0, 1200, 100], "label": "gun"}]'
    )
    assert boxes_in(text) == [("v1", "gun", (100, 50, 200, 100)), ("v2", "laptop", (360, 0, 400, 20))]
    assert boxes_in(text, (500, 500))[0] == ("v1", "gun", (200, 100, 400, 200))
    assert boxes_in(text, None) == [], "nobody knows where they lie"
    assert boxes_in("Items detected: 1 knife (threat). Security risk: HIGH - knife detected.") == []


def test_a_model_that_loops_draws_a_box_once_and_not_thousands() -> None:
    same = '{"bbox_2d": [1, 1, 9, 9], "label": "knife"}'
    assert len(boxes_in(f"[{', '.join([same] * 50)}]")) == 1
    assert parse_report(f"[{', '.join([same] * 50)}]", taxonomy()).items[0].count == 1
    many = ", ".join(f'{{"bbox_2d": [{n}, 1, {n + 9}, 9], "label": "knife"}}' for n in range(300))
    assert len(boxes_in(f"[{many}]")) == MOST_BOXES
