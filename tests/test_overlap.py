"""Intersection over union."""

from __future__ import annotations

import numpy as np
import pytest

from xray_app.overlap import iou


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ((0, 0, 10, 10), 1),
        ((5, 0, 15, 10), 50 / 150),
        ((10, 0, 20, 10), 0),  # edge on edge
        ((2, 2, 4, 4), 4 / 100),
        ((50, 50, 60, 60), 0),
        ((3, 3, 3, 3), 0),  # without an area
    ],
)
def test_two_boxes(other: tuple[float, ...], expected: float) -> None:
    assert iou((0, 0, 10, 10), other) == pytest.approx(expected)
    assert iou(other, (0, 0, 10, 10)) == pytest.approx(expected)


def test_every_box_with_every_other() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]], np.float32)
    found = iou(boxes[:2], boxes)
    assert found.dtype == np.float32
    assert found == pytest.approx(np.array([[1, 90 / 110, 0], [90 / 110, 1, 0]]))


def test_no_boxes_and_no_area() -> None:
    assert iou([], [(0, 0, 1, 1)]).shape == (0, 1)
    assert iou([(0, 0, 1, 1)], []).shape == (1, 0)
    assert iou((0, 0, 0, 0), (0, 0, 0, 0)).tolist() == [[0]]


def test_half_shared_is_exactly_half() -> None:
    """Two boxes are one object from 0.5 on, so the boundary must not be missed by rounding."""
    assert iou((0, 0, 10, 10), (0, 0, 10, 5)).item() == 0.5
