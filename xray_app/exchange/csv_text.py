"""Tables as CSV that a spreadsheet opens as what it says."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

Cell = str | int | float | None

# What a spreadsheet takes for the start of a formula, some the wide signs too; tab and return come before one unseen.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """CSV (RFC 4180) with a heading."""
    return "".join(csv_row(row) for row in (columns, *rows))


def csv_row(values: Sequence[Cell]) -> str:
    """One line of CSV. Numbers stay numbers; text that could be a formula gets a `'` in front."""
    out = io.StringIO()
    csv.writer(out).writerow([_harmless(value) for value in values])
    return out.getvalue()


def _harmless(value: Cell) -> Cell:
    if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA):
        return "'" + value
    return value
