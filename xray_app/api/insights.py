"""The insights' tables as CSV files."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import ValidationError

from xray_app.api.deps import Analyst, Annotator, Desk
from xray_app.api.openapi import answers
from xray_app.errors import BadInput, NotFound
from xray_app.exchange.csv_text import csv_text
from xray_app.store.insights import drift, reports, screeners
from xray_app.store.insights.reports import Asked, Table
from xray_app.types import Role

router = APIRouter(prefix="/v1")

Word = Annotated[str | None, Query(max_length=200)]


@router.get("/insights/{name}.csv", response_class=Response, responses={200: answers("text/csv")})
def insight(
    name: str, who: Annotator, desk: Desk, first: date, last: date, scanner: Word = None, adapter: Word = None
) -> Response:
    """One table for the days from `first` to `last` (UTC, both included)."""
    asked = _asked(first, last, scanner, adapter)
    if name == "drift":
        table = drift.read(desk.db, last, scanner).table()
    else:
        known = {table.name: table for table in reports.tables(reports.read(desk.db, asked), desk.taxonomy)}
        if name not in known:
            raise NotFound(f"There is no such table; there are {', '.join([*known, 'drift'])}.")
        table = known[name]
    return _csv(table, asked)


@router.get("/vigilance/{name}.csv", response_class=Response, responses={200: answers("text/csv")})
def screener_table(
    name: str, who: Analyst, desk: Desk, first: date, last: date, scanner: Word = None, adapter: Word = None
) -> Response:
    """One table of answers to test images: an analyst's own, or everybody's to an annotator."""
    asked = _asked(first, last, scanner, adapter)
    whose = None if who.role.includes(Role.ANNOTATOR) else who.username
    known = {table.name: table for table in screeners.tables(screeners.read(desk.db, asked, whose))}
    if name not in known:
        raise NotFound(f"There is no such table; there are {', '.join(known)}.")
    return _csv(known[name], asked)


def _asked(first: date, last: date, scanner: str | None, adapter: str | None) -> Asked:
    try:
        return Asked(first=first, last=last, scanner=scanner, adapter=adapter)
    except ValidationError as error:
        raise BadInput(
            f"first and last are days in order, at most {reports.MOST_DAYS} of them, "
            f"from {reports.FIRST_DAY} to {reports.LAST_DAY}."
        ) from error


def _csv(table: Table, asked: Asked) -> Response:
    return Response(
        csv_text(table.columns, table.rows),
        media_type="text/csv; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="{table.name}-{asked.first}-{asked.last}.csv"',
            "Cache-Control": "private, no-store",
        },
    )
