"""Tables as CSV that a spreadsheet opens as what it says."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

Cell = str | int | float | None

# What a spreadsheet takes for the start of a formula, some the wide signs too; tab and return come before one unseen.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

_AFTER_SEMICOLON = re.compile(rf"(;[ \"]*)(?=[{re.escape(''.join(_FORMULA))}])")


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """CSV (RFC 4180) with a heading."""
    return "".join(csv_row(row) for row in (columns, *rows))


def csv_row(values: Sequence[Cell]) -> str:
    """One line of CSV. Numbers stay numbers; text that could be a formula gets a `'` in front."""
    out = io.StringIO()
    csv.writer(out).writerow([_harmless(value) for value in values])
    return out.getvalue()


def _harmless(value: Cell) -> Cell:
    if not isinstance(value, str):
        return value
    # Where the decimal sign is a comma, a spreadsheet takes a semicolon for the end of the cell.
    value = _AFTER_SEMICOLON.sub(r"\1'", value)
    return "'" + value if value.lstrip(" ").startswith(_FORMULA) else value
