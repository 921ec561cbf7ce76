"""Finding analyses: a filter, pages newest first, and the filters people keep."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator
from sqlalchemy import ColumnElement, Select, false, func, select, true
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from xray_app.errors import BadInput, Conflict, NotFound
from xray_app.store.database import Database
from xray_app.store.fact_tables import FactsRow, LabelFactRow
from xray_app.store.paging import newest_first
from xray_app.store.standing import stands_over
from xray_app.store.tables import AnalysisRow, SavedFilterRow
from xray_app.types import Action, Analysis, Level, StandingRisk, Value

NamedBy = Literal["vlm", "detector", "person", "search"]
Word = Annotated[str, Field(max_length=200)]

BASE = "base"
"""Stands for the base model, without an adapter, in a filter."""
MOST_COUNTED = 1000
MOST_CHOICES = 200
MOST_SAVED = 50
MAX_NAME = 60


class Filter(Value):
    """What to look for; all that is given must hold.

    Attributes:
        label: a canonical label somebody or something named.
        named_by: who named it; None: anybody.
        missed: a person or a search named it (or, without a label, anything) and neither model did.
        risk: the level that stands over it, by the models and by people.
        decision: the newest decision, or "none".
        outcome: what the newest hand search found: "found", "nothing", or "none" where nobody told.
        disagree: whether the two models differ.
        corrected: whether there is a correction; "pending": one that waits for a review.
        analyst: who decided, or had it analysed where nobody did.
        scanner: the scanner's id.
        adapter: the VLM adapter's id, or "base".
        first, last: days (UTC), both included.
    """

    label: Word | None = None
    named_by: NamedBy | None = None
    missed: bool = False
    risk: Level | None = None
    decision: Action | Literal["none"] | None = None
    outcome: Literal["found", "nothing", "none"] | None = None
    disagree: bool | None = None
    corrected: Literal["yes", "no", "pending"] | None = None
    analyst: Word | None = None
    scanner: Word | None = None
    adapter: Word | None = None
    first: date | None = None
    last: date | None = None

    @field_validator("label", "analyst", "scanner", "adapter")
    @classmethod
    def _storable(cls, value: str | None) -> str | None:
        if value is not None and "\0" in value:
            raise ValueError("a NUL cannot be looked for")
        return value


@dataclass(frozen=True)
class Found:
    """An analysis and what became of it; "" where nothing did. `standing` is the one verdict over it."""

    analysis: Analysis
    standing: StandingRisk
    decision: str
    outcome: str
    correction: str
    analyst: str
    labels: tuple[tuple[str, str], ...]
    """Label and who named it, such as ("knife", "vlm search")."""


@dataclass(frozen=True)
class Choices:
    """The values there are to filter by."""

    analysts: tuple[str, ...]
    scanners: tuple[str, ...]
    adapters: tuple[str, ...]


def page(db: Database, wanted: Filter, limit: int = 48, after: str | None = None) -> tuple[list[Found], str | None]:
    """What fits, newest first, and the cursor of the next page (None at the end).

    Raises:
        BadInput: a limit outside 1 to 500, or a cursor that no page gave.
    """
    # Pages of one label go along that label's own index: a rare one is found at once, however many analyses.
    order = (FactsRow, FactsRow.id) if wanted.label is None else (LabelFactRow, LabelFactRow.analysis_id)
    with db.read() as session:
        rows, following = newest_first(session, _query(wanted), order[0].created_at, order[1], limit, after)
        ids = [row.id for row in rows]
        query = select(AnalysisRow.id, AnalysisRow.document).where(AnalysisRow.id.in_(ids))
        documents = dict(session.execute(query).all())
        labels: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for one in session.scalars(
            select(LabelFactRow).where(LabelFactRow.analysis_id.in_(ids)).order_by(LabelFactRow.label)
        ):
            named = [by for by in ("vlm", "detector", "person", "search") if getattr(one, f"by_{by}")]
            if named:
                labels[one.analysis_id].append((one.label, " ".join(named)))
    found = [
        Found(
            Analysis.model_validate_json(documents[row.id]),
            stands_over(row),
            row.decision,
            row.outcome,
            row.correction,
            row.analyst,
            tuple(labels[row.id]),
        )
        for row in rows
    ]
    return found, following


def count(db: Database, wanted: Filter) -> int:
    """How many fit, counted up to `MOST_COUNTED` + 1."""
    some = _query(wanted).with_only_columns(FactsRow.id).limit(MOST_COUNTED + 1).subquery()
    with db.read() as session:
        return session.scalar(select(func.count()).select_from(some)) or 0


def choices(db: Database) -> Choices:
    """The analysts, scanners and adapters that occur, at most 200 of each; the base model is "base"."""
    with db.read() as session:
        return Choices(
            tuple(_distinct(session, FactsRow.analyst)),
            tuple(_distinct(session, FactsRow.scanner_id)),
            (BASE, *_distinct(session, FactsRow.adapter)),
        )


def _distinct(session: Session, column: InstrumentedAttribute[str]) -> list[str]:
    # One look into the index for each value, where DISTINCT would go through all rows.
    found: list[str] = []
    last = ""
    while len(found) < MOST_CHOICES:
        following = session.scalar(select(func.min(column)).where(column > last))
        if following is None:
            break
        found.append(following)
        last = following
    return found


def _query(wanted: Filter) -> Select[FactsRow]:
    query = select(FactsRow)
    if wanted.label is not None:
        query = query.join(LabelFactRow, LabelFactRow.analysis_id == FactsRow.id)
        query = query.where(LabelFactRow.label == wanted.label)
        if wanted.named_by is not None:
            query = query.where(getattr(LabelFactRow, f"by_{wanted.named_by}"))
        if wanted.missed:
            query = query.where(LabelFactRow.by_vlm == false(), LabelFactRow.by_detector == false())
    elif wanted.named_by is not None:
        query = query.where(_named_something(wanted))
    if wanted.missed:
        query = query.where(FactsRow.missed == true())
    for column, value in (
        (FactsRow.standing_level, wanted.risk),
        (FactsRow.analyst, wanted.analyst),
        (FactsRow.scanner_id, wanted.scanner),
        (FactsRow.decision, "" if wanted.decision == "none" else wanted.decision),
        (FactsRow.outcome, "" if wanted.outcome == "none" else wanted.outcome),
        (FactsRow.adapter, "" if wanted.adapter == BASE else wanted.adapter),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.disagree is not None:
        query = query.where(FactsRow.disagree == wanted.disagree)
    if wanted.corrected == "pending":
        query = query.where(FactsRow.correction == "pending")
    elif wanted.corrected is not None:
        has = FactsRow.correction.in_(("pending", "accepted", "rejected"))
        query = query.where(has if wanted.corrected == "yes" else FactsRow.correction == "")
    if wanted.first is not None:
        query = query.where(FactsRow.created_at >= _midnight(wanted.first))
    if wanted.last is not None and wanted.last < date.max:
        query = query.where(FactsRow.created_at < _midnight(wanted.last + timedelta(days=1)))
    return query


def _named_something(wanted: Filter) -> ColumnElement[bool]:
    """Some label, whichever, was named by `named_by`, and by neither model where those missed it."""
    one = aliased(LabelFactRow)
    named = select(one.label).where(one.analysis_id == FactsRow.id, getattr(one, f"by_{wanted.named_by}"))
    if wanted.missed:
        named = named.where(one.by_vlm == false(), one.by_detector == false())
    return named.exists()


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


# --- filters people keep ----------------------------------------------------------------------------------


def saved(db: Database, username: str) -> dict[str, Filter]:
    """A user's own filters by name, in the order of the names."""
    query = select(SavedFilterRow).where(SavedFilterRow.username == username).order_by(SavedFilterRow.name)
    with db.read() as session:
        return {row.name: Filter.model_validate_json(row.document) for row in session.scalars(query)}


def save(db: Database, username: str, name: str, wanted: Filter) -> None:
    """Keep a filter under a name; one of the same name is replaced.

    Raises:
        BadInput: an empty, overlong or unprintable name.
        Conflict: the user has fifty already.
    """
    name = name.strip()
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise BadInput(f"Give the filter a name of up to {MAX_NAME} printable characters.")
    with db.write() as session:
        row = session.get(SavedFilterRow, (username, name))
        if row is not None:
            row.document = wanted.model_dump_json()
            return
        if len(session.scalars(select(SavedFilterRow.name).filter_by(username=username)).all()) >= MOST_SAVED:
            raise Conflict(f"You have {MOST_SAVED} saved filters. Delete one first.")
        session.add(
            SavedFilterRow(
                username=username, name=name, document=wanted.model_dump_json(), created_at=datetime.now(UTC)
            )
        )


def forget(db: Database, username: str, name: str) -> None:
    """Delete a user's own filter.

    Raises:
        NotFound: the user has none of this name.
    """
    with db.write() as session:
        row = session.get(SavedFilterRow, (username, name)) if "\0" not in name else None
        if row is None:
            raise NotFound("There is no saved filter of this name.")
        session.delete(row)


def read_filter(values: dict[str, object]) -> Filter:
    """A filter from what a page sent.

    Raises:
        BadInput: a value that no filter has.
    """
    try:
        return Filter.model_validate(values)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise BadInput(f"This cannot be looked for ({where}). Choose from the lists; a day is YYYY-MM-DD.") from error
