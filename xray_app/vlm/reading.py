"""From a model's answer to a report: parsed words plus a confidence for each item."""

from __future__ import annotations

import math

from xray_app.report import parse_entries, parse_report
from xray_app.taxonomy import Taxonomy
from xray_app.types import Report
from xray_app.vlm.base import Answer


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
    return parse_report(answer.text, taxonomy, confidences, finished=answer.finished)
