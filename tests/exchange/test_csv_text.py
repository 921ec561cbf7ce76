"""CSV that no spreadsheet takes for a formula."""

from __future__ import annotations

import pytest

from xray_app.exchange.csv_text import csv_row


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("=1+1", "'=1+1"),
        ("a;=1+1", "a;'=1+1"),
        ('a; "@x', '"a; ""\'@x"'),
        ("a;b;\t=c", "a;b;'\t=c"),
        ("a;b=c", "a;b=c"),
        ("a - b; c", "a - b; c"),
    ],
)
def test_a_semicolon_may_end_the_cell(text: str, written: str) -> None:
    assert csv_row([text, 3]) == f"{written},3\r\n"
