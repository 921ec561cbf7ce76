"""Three people at once, with reloads, lost lines and a desk that falls: nothing lost, nothing doubled."""

from __future__ import annotations

from typing import Any

import pytest

from tests.benchmarks.shift import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_half_a_minute_of_three_people(chromium: Any) -> None:
    found, wrong = run(minutes=0.5, patience=240)
    assert wrong == []
    assert found["uploads"] > 0
    assert found["corrections"] > 0
    assert found["kills"] == 1
