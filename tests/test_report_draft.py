"""A draft of a report: what the detector found, gone on with from whatever the answer has said."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from tests.tiny import taxonomy
from xray_app.detector.base import Detection
from xray_app.report import format_report
from xray_app.report_draft import DRAFT_CONFIDENCE, DetectorDraft, ReportDraft, draft_of


def found(*boxes: tuple[str, float]) -> list[Detection]:
    return [Detection(label, confidence, (1, 1, 9, 9)) for label, confidence in boxes]


@pytest.mark.parametrize(
    ("said", "counts", "whole"),
    [
        ("", {"knife": 1, "laptop": 2}, {"knife": 1, "laptop": 2}),
        ("Items det", {"laptop": 1}, {"laptop": 1}),
        ("", {}, {}),
        ("Items detected: n", {"knife": 1}, {}),
        ("Items detected: 2", {"knife": 1, "laptop": 1}, {"knife": 2, "laptop": 1}),
        ("Items detected: 1 gun", {"knife": 1, "laptop": 1}, {"gun": 1, "laptop": 1}),
        ("Items detected: 1 lap", {"knife": 1}, {"laptop": 1}),
        ("Items detected: 1 knife (threat).", {"knife": 1, "laptop": 1}, {"knife": 1}),
        ("Items detected: 1 knife (threat), 3 lap", {"knife": 1}, {"knife": 1, "laptop": 3}),
        ("Items detected: 1 knife (threat). Security risk: HIGH - ", {"laptop": 1}, {"knife": 1}),
    ],
)
def test_a_draft_goes_on_from_what_was_said(said: str, counts: dict[str, int], whole: dict[str, int]) -> None:
    assert ReportDraft(counts, taxonomy())(said) == format_report(whole, taxonomy())


@pytest.mark.parametrize(
    "said",
    ["I see a knife", "Items detected: 1 teapot", "Items detected: 100 knives", "Items detected: 1 laptop, 1 kn"],
)
def test_nothing_is_expected_of_what_is_no_report_in_order(said: str) -> None:
    assert ReportDraft({"knife": 1}, taxonomy())(said) is None


def test_where_the_answer_differs_the_likelier_classes_come_first() -> None:
    draft = ReportDraft({"laptop": 1}, taxonomy(), others=["gun", "knife"])
    assert draft("Items detected: 2") == format_report({"laptop": 2}, taxonomy())
    assert draft("Items detected: 1 gu") == format_report({"gun": 1, "laptop": 1}, taxonomy())


def test_sure_boxes_are_counted_and_the_others_come_next_into_question() -> None:
    below = DRAFT_CONFIDENCE - 0.01
    draft = draft_of(found(("laptop", 0.9), ("knife", 0.5), ("knife", DRAFT_CONFIDENCE), ("gun", below)), taxonomy())
    assert draft("") == format_report({"knife": 2, "laptop": 1}, taxonomy())
    assert draft("Items detected: 1 g") == format_report({"gun": 1, "laptop": 1}, taxonomy())


def test_a_hundred_boxes_of_a_class_are_as_many_as_a_report_can_say() -> None:
    assert draft_of(found(*[("laptop", 0.9)] * 120), taxonomy())("") == format_report({"laptop": 99}, taxonomy())


def test_the_detector_is_waited_for_once_and_its_fault_is_not_hidden() -> None:
    detecting: Future[tuple[list[Detection], float]] = Future()
    draft = DetectorDraft(detecting, taxonomy())
    detecting.set_result((found(("laptop", 0.9)), 0.1))
    assert draft("") == draft("Items") == format_report({"laptop": 1}, taxonomy())
    failed: Future[tuple[list[Detection], float]] = Future()
    failed.set_exception(MemoryError())
    with pytest.raises(MemoryError):
        DetectorDraft(failed, taxonomy())("")
