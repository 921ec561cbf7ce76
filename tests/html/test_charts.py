"""The charts that are files of their own; the desk's are tested where they are shown."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from xray_app.html import charts

SVG = "{http://www.w3.org/2000/svg}"


def _read(drawn: str) -> ElementTree.Element:
    return ElementTree.fromstring(drawn)  # noqa: S314 - our own text


def test_a_point_lies_where_its_axes_say() -> None:
    """A rate of 0.5 at 100 of 200 scans is the middle of the square."""
    points: list[tuple[int, charts.Point]] = [(100, (0.5, 0.25, 0.75)), (200, None)]
    drawn = _read(charts.learning_curve({"vlm": points}, "title", "scans", "item F1"))
    (dot,) = drawn.iter(f"{SVG}circle")
    assert (float(dot.attrib["cx"]), float(dot.attrib["cy"])) == (charts.SQUARE.x(0.5), charts.SQUARE.y(0.5))
    whisker = next(path.attrib["d"] for path in drawn.iter(f"{SVG}path"))
    assert whisker == f"M{charts.SQUARE.x(0.5):.1f} {charts.SQUARE.y(0.25):.1f}V{charts.SQUARE.y(0.75):.1f}"
    axis = [text.text for text in drawn.iter(f"{SVG}text")]
    assert {"scans", "item F1", "200", "VLM"} <= set(axis)


def test_a_label_cannot_become_markup() -> None:
    label = '"><script>alert(1)</script>'
    matrix = {"labels": [label, "nothing"], "rows": [[1, 0], [0, 0]]}
    figures = {label: {"support": 1, "recall": 1.0, "recall_ci": [0.2, 1.0], "precision": None}}
    for drawn in (charts.confusion_matrix(matrix, label), charts.class_recall(figures, label)):
        assert "<script" not in drawn
        assert label in {text.text for text in _read(drawn).iter(f"{SVG}text")}


def test_a_threshold_that_was_not_found_has_no_dot() -> None:
    scores = {"vlm": {"curve": [[0, 0], [1, 1]]}, "detector": {"curve": [[0, 0], [0.1, 0.9], [1, 1]]}}
    assert "<circle" not in charts.roc_curve(scores, "title")
    scores["detector"] |= {"false_alarm_rate": 0.1, "threat_bag_recall": 0.9}
    assert charts.roc_curve(scores, "title").count("<circle") == 1
