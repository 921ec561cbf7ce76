"""Days at both ends of the calendar: an answer or a refusal, never a fault."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from fastapi.testclient import TestClient

from xray_app.store.insights.reports import MOST_DAYS

DAYS = ["0001-01-01", "0001-01-02", "1969-12-31", "9999-12-30", "9999-12-31"]


@pytest.mark.parametrize("day", DAYS)
@pytest.mark.parametrize(
    "path",
    [
        "/v1/insights/drift.csv?first={day}&last={day}",
        "/v1/insights/decisions.csv?first={day}&last={day}",
        "/v1/vigilance/vigilance.csv?first={day}&last={day}",
        "/v1/export?format=csv&since={day}&until={day}",
        "/v1/export?format=csv&since={day}",
        "/v1/export?format=csv&until={day}",
    ],
)
def test_the_ends_of_the_calendar_are_no_fault(
    client: TestClient, admin: dict[str, str], caplog: pytest.LogCaptureFixture, path: str, day: str
) -> None:
    answer = client.get(path.format(day=day), headers=admin)
    assert answer.status_code in (200, 422), answer.text
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("table", ["/v1/insights/decisions", "/v1/insights/drift", "/v1/vigilance/vigilance"])
def test_so_many_days_are_asked_for_at_once_and_no_more(client: TestClient, admin: dict[str, str], table: str) -> None:
    last = date(2026, 11, 29)
    for days, status in ((1, 200), (MOST_DAYS, 200), (MOST_DAYS + 1, 422), (0, 422)):
        first = last - timedelta(days=days - 1)
        assert client.get(f"{table}.csv?first={first}&last={last}", headers=admin).status_code == status, days


@pytest.mark.parametrize("day", ["10000-01-01", "0000-01-01", "2026-02-30", "1e400", "253402300800"])
def test_what_is_no_day_is_refused(client: TestClient, admin: dict[str, str], day: str) -> None:
    answer = client.get(f"/v1/insights/drift.csv?first={day}&last={day}", headers=admin)
    assert answer.status_code == 422
