"""An operating point on a page: the promise in words, and nothing that is not promised."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from xray_app.html import operating
from xray_app.threat_score import OperatingPoint, OperatingPointFigures


def figures(**changed: Any) -> OperatingPointFigures:
    known: dict[str, Any] = {
        "calibration": {"models": ["vlm"], "bias": 0.0, "weights": [1.0]}, "bags": 90, "threats": 40,
        "recall": 0.9, "review_recall": 0.95, "threshold": 0.41, "review_threshold": 0.2, "missing": 0,
        "review_missing": 0, "false_alarms": 0.08, "false_alarms_ci": (0.05, 0.13), "reviewed": 0.2,
        "reviewed_ci": (0.1, 0.3), "by_class": {"<knife>": {"bags": 20, "found": 15}, "gun": {"bags": 20, "found": 20}},
        "limiting": "<knife>",
        "curve": [
            {"recall": r, "threshold": 1 - r, "false_alarms": r / 4, "false_alarms_ci": [r / 8, r / 2]}
            for r in (0.5, 0.8, 0.9)
        ],
    }  # fmt: skip
    return OperatingPointFigures.model_validate(known | changed)


def test_the_promise_is_said_in_words() -> None:
    said = operating.words(figures(), 0.1)
    assert "Alarms at 0.41</b>: finds at least 90% of threats (95 % sure), stops 8% of clear bags (5–13)." in said
    assert "Asks for a review at 0.20</b>" in said
    assert "about 12 searches an hour for nothing (8–20)" in operating.searches(figures(), 150)


def test_what_is_not_possible_is_said_with_how_many_more() -> None:
    none = figures(threshold=None, false_alarms=None, false_alarms_ci=None, missing=9, limiting=None)
    assert "it takes 9 more held-out bags with a threat: there are 40" in operating.words(none, 0.1)
    assert operating.searches(none, 150) == ""
    assert operating.classes(none) == ""
    later = operating.words(figures(review_threshold=None, reviewed=None, reviewed_ci=None, review_missing=19), 0.1)
    assert "takes 19 more" in later


def test_the_curve_marks_what_is_chosen_and_holds_its_band() -> None:
    drawn = operating.curve(figures())
    assert drawn.count("<circle") == 3
    assert 'class="band"' in drawn
    assert 'class="chosen"' in drawn
    assert 'class="chosen"' not in operating.curve(figures(threshold=None))
    assert operating.curve(figures(curve=[])) == ""


def test_names_are_escaped_and_the_class_that_limits_is_named() -> None:
    point = OperatingPoint(
        id="x", scanner_id="<b>", pair="p", policy_sha256="q", created_at=datetime.now(UTC), by="<i>",
        reason="<script>", figures=figures(),
    )  # fmt: skip
    shown = operating.in_force([point]) + operating.classes(figures()) + operating.impossible("<u>")
    assert "Found worst: <b>&lt;knife&gt;</b>" in shown
    assert "15 of 20" in shown
    for raw in ("<script>", "<i>", "<u>", "<knife>"):
        assert raw not in shown
    assert "decides nothing" in operating.in_force([])


@pytest.mark.parametrize(("budget", "over"), [(0.06, True), (0.0799, True), (0.08, False), (0.2, False)])
def test_a_threshold_over_the_policys_budget_is_told(budget: float, over: bool) -> None:
    said = operating.words(figures(false_alarms=0.08), budget)
    assert ("Over the policy’s budget" in said) is over
    assert ("Within the policy’s budget" in said) is not over
