"""Days at both ends of the calendar: an answer or a refusal, never a fault."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

DAYS = ["0001-01-01", "0001-01-02", "1969-12-31", "9999-12-30", "9999-12-31"]


@pytest.mark.parametrize("day", DAYS)
@pytest.mark.parametrize(
    "path",
    [
        "/v1/insights/drift.csv?first={day}&last={day}",
        "/v1/insights/decisions.csv?first={day}&last={day}",
        "/v1/vigilance/screeners.csv?first={day}&last={day}",
        "/v1/export?format=csv&since={day}&until={day}",
        "/v1/export?format=csv&since={day}",
        "/v1/export?format=csv&until={day}",
    ],
)
def test_the_ends_of_the_calendar_are_no_fault(
    client: TestClient, admin: dict[str, str], caplog: pytest.LogCaptureFixture, path: str, day: str
) -> None:
    answer = client.get(path.format(day=day), headers=admin)
    assert answer.status_code in (200, 404, 422), answer.text
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("day", ["10000-01-01", "0000-01-01", "2026-02-30", "1e400", "253402300800"])
def test_what_is_no_day_is_refused(client: TestClient, admin: dict[str, str], day: str) -> None:
    answer = client.get(f"/v1/insights/drift.csv?first={day}&last={day}", headers=admin)
    assert answer.status_code == 422
