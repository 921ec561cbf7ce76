"""From a model's answer to a report: parsed words plus a confidence for each item."""

from __future__ import annotations

import math

from xray_app.report import parse_entries, parse_report
from xray_app.taxonomy import Taxonomy
from xray_app.types import Box, Report
from xray_app.vlm.base import Answer
from xray_app.vlm.coordinates import from_frame

MOST_BOXES = 100
"""Of one answer. A model that loops writes the same box for ever."""


def read_answer(answer: Answer, taxonomy: Taxonomy) -> Report:
    """Parses an answer; an item's confidence is the product of its tokens' probabilities.

    The product runs over the tokens of the entry's name: the probability that the model would name
    this class, having said what stands before it. Items of an answer without token
    probabilities have confidence None.
    """
    confidences: dict[int, float] | None = None
    if answer.spans:
        confidences = {}
        for index, entry in enumerate(parse_entries(answer.text, taxonomy).entries):
            chosen = [p for start, end, p in answer.spans if start < entry.end and end > entry.start]
            confidences[index] = min(1.0, max(0.0, math.prod(chosen))) if chosen else 0.0
    return parse_report(answer.text, taxonomy, confidences, finished=answer.finished, problem=answer.problem)


def read_boxes(answer: Answer, report: Report, size: tuple[int, int], taxonomy: Taxonomy) -> tuple[Box, ...]:
    """The boxes that an answer names, with ids `v1`, `v2`, …; each is as sure as its item.

    Args:
        answer: says in which frame the model writes coordinates. Where that is not known nothing is drawn: a box in
            the wrong place is worse than none, and the item is in the list all the same.
        report: the same answer, read.
        size: width and height of the picture.
        taxonomy: the classes.
    """
    if answer.frame is None:
        return ()
    confidences = {item.label: item.confidence for item in report.items}
    boxes: list[Box] = []
    for label, written in dict.fromkeys(parse_entries(answer.text, taxonomy).boxes):
        x0, y0, x1, y1 = xyxy = from_frame(written, answer.frame, size)
        if x0 < x1 and y0 < y1 and len(boxes) < MOST_BOXES:  # one outside the picture has no width left
            boxes.append(taxonomy.box(f"v{len(boxes) + 1}", "vlm", label, xyxy, confidences.get(label)))
    return tuple(boxes)
