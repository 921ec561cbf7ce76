"""A registered adapter, and what the gate says of it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from pydantic import Field, computed_field, model_validator

from xray_app.types import AdapterKind, RunMetrics, Value

GateAnswer = Literal["passed", "refused", "not shown yet"]
CheckAnswer = Literal["passed", "refused", "not shown yet", "reported"]


def _answered(values: object) -> object:
    """Fills in `answer` of what was stored when there was `passed` alone; `passed` follows from it."""
    if not isinstance(values, dict) or "passed" not in values:
        return values
    rest = {name: value for name, value in values.items() if name != "passed"}
    return {"answer": "passed" if values["passed"] is True else "refused"} | rest


class GateCheck(Value):
    """One check of the gate.

    Attributes:
        name: what is checked, and on which hold-out.
        answer: "reported" is for information and decides nothing.
        detail: the figures it rests on, in words.
        needs: how many bags (or items, or boxes) would decide, where those held out do not.
    """

    name: str
    answer: CheckAnswer
    detail: str
    needs: int | None = Field(default=None, ge=0, exclude_if=lambda value: value is None)

    _of_before = model_validator(mode="before")(_answered)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def passed(self) -> bool:
        """Whether the answer is "passed"."""
        return self.answer == "passed"


class Gate(Value):
    """What the gate says of a candidate: refused where a check refuses, else not shown yet where one cannot tell.

    `passed` is true of the answer "passed" alone.
    """

    answer: GateAnswer
    checks: tuple[GateCheck, ...]

    _of_before = model_validator(mode="before")(_answered)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def passed(self) -> bool:
        """Whether the answer is "passed"."""
        return self.answer == "passed"

    @classmethod
    def of(cls, checks: Iterable[GateCheck]) -> Gate:
        """The answer that follows from the checks."""
        found = tuple(checks)
        answers = {check.answer for check in found}
        answer = next((one for one in ("refused", "not shown yet") if one in answers), "passed")
        return cls.model_validate({"answer": answer, "checks": found})

    @property
    def open_checks(self) -> tuple[GateCheck, ...]:
        """The checks that keep it from passing."""
        return tuple(check for check in self.checks if check.answer in ("refused", "not shown yet"))


class Adapter(Value):
    """A registered candidate. `base` is the base model's name, `base_sha256` its weights' hash.

    `trial`: it is in use though the gate's answer is "not shown yet", until an examination passes.
    """

    id: str
    kind: AdapterKind
    base: str
    base_sha256: str
    run_id: str | None
    active: bool
    trial: bool = False
    created_at: datetime
    metrics: RunMetrics
    gate: Gate
