"""The gate's answer: what it says as a whole, and that it reads what was stored before it had three answers."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from xray_app.adapter import CheckAnswer, Gate, GateCheck


def a_check(answer: CheckAnswer, needs: int | None = None) -> GateCheck:
    return GateCheck(name=f"is {answer}", answer=answer, detail="figures", needs=needs)


@pytest.mark.parametrize(
    ("answers", "whole"),
    [
        ((), "passed"),
        (("passed", "reported"), "passed"),
        (("reported",), "passed"),
        (("passed", "not shown yet", "reported"), "not shown yet"),
        (("not shown yet", "passed", "refused"), "refused"),
        (("refused", "not shown yet"), "refused"),
    ],
)
def test_one_refusal_refuses_and_one_open_check_leaves_it_open(answers: tuple[CheckAnswer, ...], whole: str) -> None:
    gate = Gate.of(map(a_check, answers))
    assert (gate.answer, gate.passed) == (whole, whole == "passed")
    assert [check.answer for check in gate.open_checks] == [
        one for one in answers if one in ("refused", "not shown yet")
    ]


def test_passed_is_true_of_passed_alone() -> None:
    answers: tuple[CheckAnswer, ...] = ("passed", "refused", "not shown yet", "reported")
    assert [a_check(one).passed for one in answers] == [True, False, False, False]
    lying = GateCheck.model_validate({"name": "x", "answer": "not shown yet", "passed": True, "detail": ""})
    assert not lying.passed


def test_the_stored_form_reads_back_and_so_does_that_of_before() -> None:
    gate = Gate.of([a_check("passed"), a_check("not shown yet", needs=247)])
    stored = gate.model_dump(mode="json")
    assert stored == {
        "answer": "not shown yet",
        "passed": False,
        "checks": [
            {"name": "is passed", "answer": "passed", "passed": True, "detail": "figures"},
            {"name": "is not shown yet", "answer": "not shown yet", "passed": False, "detail": "figures", "needs": 247},
        ],
    }
    assert Gate.model_validate_json(json.dumps(stored)) == gate
    before = {"passed": False, "checks": [{"name": "x", "passed": False, "detail": "y"}]}
    assert Gate.model_validate(before).answer == Gate.model_validate(before).checks[0].answer == "refused"


@pytest.mark.parametrize(
    "value", [{"name": "x", "detail": "y"}, {"name": "x", "answer": "maybe", "detail": "y"}, [], 3]
)
def test_a_check_without_an_answer_is_none(value: object) -> None:
    with pytest.raises(ValidationError):
        GateCheck.model_validate(value)
