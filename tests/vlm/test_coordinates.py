from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_app.errors import BadInput
from xray_app.vlm.coordinates import from_model_coordinates, to_model_coordinates

FAMILIES = ["qwen2-vl", "qwen3-vl", "qwen2.5-vl", "internvl"]


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(FAMILIES),
    st.tuples(st.integers(16, 4000), st.integers(16, 4000)),
    st.tuples(st.integers(1, 80), st.integers(1, 80)),
    st.tuples(*[st.floats(0, 1)] * 4),
)
def test_boxes_survive_the_way_to_the_model_and_back(
    family: str, size: tuple[int, int], patches: tuple[int, int], box: tuple[float, float, float, float]
) -> None:
    resized = (patches[0] * 28, patches[1] * 28)
    xyxy = (box[0] * size[0], box[1] * size[1], box[2] * size[0], box[3] * size[1])
    there = to_model_coordinates(xyxy, size, family, resized)
    back = from_model_coordinates(there, size, family, resized)
    frame = resized if family == "qwen2.5-vl" else (1000, 1000)
    for index, (before, after) in enumerate(zip(xyxy, back, strict=True)):
        assert abs(before - after) <= 0.5 * size[index % 2] / frame[index % 2] + 1e-6


def test_each_family_writes_its_own_numbers() -> None:
    box, size = (100.0, 50.0, 200.0, 100.0), (400, 200)
    assert to_model_coordinates(box, size, "qwen2-vl") == (250, 250, 500, 500)
    assert to_model_coordinates(box, size, "qwen3-vl") == (250, 250, 500, 500)
    assert to_model_coordinates(box, size, "internvl") == (250, 250, 500, 500)
    assert to_model_coordinates(box, size, "qwen2.5-vl", (392, 196)) == (98, 49, 196, 98)
    assert from_model_coordinates((-5, 0, 2000, 1000), size, "qwen2-vl") == (0, 0, 400, 200)
    for family, resized in (("qwen2.5-vl", None), ("llava", (10, 10))):
        with pytest.raises(BadInput):
            to_model_coordinates(box, size, family, resized)
    with pytest.raises(BadInput):
        from_model_coordinates((0, 0, float("nan"), 1), size, "qwen2-vl")
