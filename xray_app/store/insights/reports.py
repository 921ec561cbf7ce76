"""What the sums say: tables, each with what it is a table of. The charts and the CSV files are made from these.

Rates come with their number and Wilson's 95 % interval, which is honest where all or none came true.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from typing import TypeVar

from pydantic import model_validator

from xray_app.store.database import Database
from xray_app.store.insights import daily_sums
from xray_app.store.insights.daily_sums import Bag, Figures
from xray_app.store.search import BASE
from xray_app.taxonomy import Taxonomy
from xray_app.types import Value
from xray_app.wilson import wilson_interval

LEVELS = ("HIGH", "MEDIUM", "LOW")
DECISIONS = ("CLEAR", "REVIEW", "SEARCH")
MOST_DAYS = 731
FIRST_DAY, LAST_DAY = date(1970, 1, 1), date(9000, 1, 1)
"""The days that can be asked for: past them the calendar ends within a window around the day."""

TableCell = str | int | float | None
IsThreat = Callable[[str], bool]
Key = TypeVar("Key")


class Asked(Value):
    """Which analyses: days (UTC, both included), and one scanner or adapter ("base": none) where given."""

    first: date
    last: date
    scanner: str | None = None
    adapter: str | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Asked:
        if not self.first <= self.last or (self.last - self.first).days >= MOST_DAYS:
            raise ValueError(f"from the first day to the last are 1 to {MOST_DAYS} days")
        if self.first < FIRST_DAY or self.last > LAST_DAY:
            raise ValueError(f"days are from {FIRST_DAY} to {LAST_DAY}")
        return self

    def takes(self, scanner: str, adapter: str) -> bool:
        """Whether analyses of this scanner and adapter are among those asked for."""
        return self.scanner in (None, scanner) and self.adapter in (None, adapter or BASE)


@dataclass(frozen=True)
class Table:
    """A table to show, draw or save. A cell of None is empty: there is nothing to say.

    Attributes:
        name: short, without spaces; the CSV's file name.
        columns: their headings.
        rows: as many cells as columns each; rates are fractions.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[TableCell, ...], ...]


@dataclass(frozen=True)
class Insights:
    """The sums of what was asked for, by day and adapter."""

    asked: Asked
    parts: tuple[tuple[date, str, str, Figures], ...]
    """Day, scanner, adapter ("base": none), sums."""

    def by(self, key: Callable[[date, str, str], Key]) -> dict[Key, Figures]:
        """The sums by day, scanner and adapter, or anything made of them, in order."""
        groups: dict[Key, list[Figures]] = defaultdict(list)
        for day, scanner, adapter, part in self.parts:
            groups[key(day, scanner, adapter)].append(part)
        return {name: daily_sums.total(group) for name, group in groups.items()}

    @property
    def all(self) -> Figures:
        """The sums of everything."""
        return daily_sums.total(part for *_, part in self.parts)


def read(db: Database, asked: Asked) -> Insights:
    """The sums, up to date with this moment."""
    parts = daily_sums.read(db, asked.first, asked.last)
    return Insights(
        asked,
        tuple(
            (day, scanner, adapter or BASE, part)
            for day, scanner, adapter, part in parts
            if asked.takes(scanner, adapter)
        ),
    )


def rate(hits: float, n: float) -> tuple[TableCell, ...]:
    """Rate and its 95 % interval (low, high) of `hits` in `n`, both whole numbers; None each where n is 0."""
    return (hits / n, *wilson_interval(int(hits), int(n))) if n > 0 else (None, None, None)


def traffic(insights: Insights) -> Table:
    """Scans a day by risk, what was decided, and how fast. Every day of the period has a row."""
    days = insights.by(lambda day, scanner, adapter: day)
    columns = (
        "day", "scans", "HIGH", "MEDIUM", "LOW", "decided", "searched", "median seconds", "busiest hour (UTC)",
        "scans in that hour",
    )  # fmt: skip
    rows: list[tuple[TableCell, ...]] = []
    for day in _days(insights.asked):
        sums = days.get(day, Figures())
        hour = max(sums.hours, key=lambda one: (sums.hours[one], -int(one)), default=None)
        rows.append(
            (
                day.isoformat(),
                sums.scans,
                *(int(sums.risk.get(level, 0)) for level in LEVELS),
                _decided(sums),
                int(sum(n for key, n in sums.decided.items() if key.endswith("|SEARCH"))),
                median_seconds(sums),
                f"{int(hour):02}:00" if hour is not None else None,
                int(sums.hours[hour]) if hour is not None else None,
            )
        )
    return Table("traffic", columns, tuple(rows))


def decisions(insights: Insights) -> Table:
    """What people decided, by the models' risk."""
    sums = insights.all
    rows: list[tuple[TableCell, ...]] = []
    for level in LEVELS:
        made = [int(sums.decided.get(f"{level}|{word}", 0)) for word in DECISIONS]
        rows.append((level, *made, int(sums.risk.get(level, 0)) - sum(made)))
    return Table("decisions", ("risk", *DECISIONS, "not decided"), tuple(rows))


def analysts(insights: Insights) -> Table:
    """Decisions by who made them, the busiest first."""
    made = insights.all.analysts
    rows = tuple((name, int(made[name])) for name in sorted(made, key=lambda one: (-made[one], one)))
    return Table("analysts", ("analyst", "decisions"), rows)


def corrections(insights: Insights) -> Table:
    """Of each class, adapter and week: in how many corrected scans it was named or there, and changed by a person."""
    columns = (
        "week from", "adapter", "class", "corrected scans", "changed", "missed", "wrongly named", "miscounted",
        "correction rate", "low", "high",
    )  # fmt: skip
    rows: list[tuple[TableCell, ...]] = []
    weeks = insights.by(lambda day, scanner, adapter: (monday(day), adapter))
    for (week, adapter), sums in weeks.items():
        rows += [(week.isoformat(), adapter, *row) for row in _of_classes(sums)]
    return Table("corrections", columns, tuple(rows))


def corrections_by_adapter(insights: Insights) -> Table:
    """The same over the whole period: is a later adapter corrected less?"""
    columns = (
        "adapter", "class", "corrected scans", "changed", "missed", "wrongly named", "miscounted", "correction rate",
        "low", "high",
    )  # fmt: skip
    rows: list[tuple[TableCell, ...]] = []
    for adapter, sums in insights.by(lambda day, scanner, adapter: adapter).items():
        rows += [(str(adapter), *row) for row in _of_classes(sums)]
    return Table("corrections-by-adapter", columns, tuple(rows))


ALL_CLASSES = "all classes"


def _of_classes(sums: Figures) -> list[tuple[TableCell, ...]]:
    classes = sorted(sums.checked, key=lambda label: (-sums.checked[label], label))
    rows = [_correction_row(label, [label], sums) for label in classes]
    return [_correction_row(ALL_CLASSES, classes, sums), *rows] if rows else []


def _correction_row(name: str, labels: Sequence[str], sums: Figures) -> tuple[TableCell, ...]:
    checked = int(sum(sums.checked[label] for label in labels))
    kinds = [int(sum(of.get(label, 0) for label in labels)) for of in (sums.missed, sums.wrong, sums.miscounted)]
    return (name, checked, sum(kinds), *kinds, *rate(sum(kinds), checked))


def confusion(insights: Insights, of: str) -> Table:
    """What was taken for what, most frequent mistakes first; `of` is "items" (VLM) or "boxes" (detector)."""
    counts: daily_sums.Counts = getattr(insights.all, of)
    rows: list[tuple[str, str, float]] = []
    for pair, n in counts.items():
        there, _, said = pair.partition("|")
        rows.append((there, said, round(n, 2)))
    rows.sort(key=lambda row: (row[0] == row[1], -row[2], row))
    return Table(f"confusion-{of}", ("a person says", "the model said", "times"), tuple(rows))


def detection(insights: Insights, is_threat: IsThreat) -> Table:
    """Probability of detection and false alarms, from hand searches alone; each bag once.

    Bags drawn by lot stand first: the others were searched on suspicion, mostly the models' own, which cannot show what
    the models miss.
    """

    def holds_threat(bag: Bag) -> bool:
        return any(is_threat(label) for label in bag.found)

    drawn, bags = ([bag for bag in insights.all.bags if bag.by_lot is lot] for lot in (True, False))
    threat = [bag for bag in bags if holds_threat(bag)]
    clean = [bag for bag in bags if not holds_threat(bag)]

    def row(what: str, of: Iterable[Bag], hit: Callable[[Bag], bool]) -> tuple[TableCell, ...]:
        listed = list(of)
        hits, n = sum(bag.n for bag in listed if hit(bag)), sum(bag.n for bag in listed)
        return (what, hits, n, *rate(hits, n))

    by_lot = [
        row("drawn by lot: threat bags the models rated HIGH", filter(holds_threat, drawn), lambda bag: bag.high),
        row(
            "drawn by lot: no threat, rated HIGH", (bag for bag in drawn if not holds_threat(bag)), lambda bag: bag.high
        ),
    ]
    rows = [
        *(by_lot if drawn else []),
        row("detection: threat bags the models rated HIGH", threat, lambda bag: bag.high),
        row("detection: threat bags people sent to search", threat, lambda bag: bag.searched),
        row("false alarm: searched, no threat, rated HIGH", clean, lambda bag: bag.high),
    ]
    threat += filter(holds_threat, drawn)
    labels = sorted({label for bag in threat for label in bag.found if is_threat(label)})
    for label in labels:
        having = [bag for bag in threat if label in bag.found]
        rows.append(row(f"{label}: found by hand, named by a model", having, partial(_names, label)))
    return Table("detection", ("measure", "hits", "bags", "rate", "low", "high"), tuple(rows))


def _names(label: str, bag: Bag) -> bool:
    return label in bag.named


def median_seconds(sums: Figures) -> int | None:
    """The median whole seconds to a decision; None where nobody's time was taken."""
    times = sorted((int(second), n) for second, n in sums.seconds.items())
    half = sum(n for _, n in times) / 2
    for second, n in times:
        half -= n
        if half <= 0:
            return second
    return None


def monday(day: date) -> date:
    """The first day of a day's week."""
    return day - timedelta(days=day.weekday())


def _decided(sums: Figures) -> int:
    return int(sum(sums.decided.values()))


def _days(asked: Asked) -> list[date]:
    return [asked.first + timedelta(days=n) for n in range((asked.last - asked.first).days + 1)]


def tables(found: Insights, taxonomy: Taxonomy) -> list[Table]:
    """All tables of what was asked for."""

    def is_threat(label: str) -> bool:
        known = taxonomy.find(label)
        return known is not None and known.status == "prohibited"

    return [
        traffic(found),
        decisions(found),
        analysts(found),
        corrections(found),
        corrections_by_adapter(found),
        confusion(found, "items"),
        confusion(found, "boxes"),
        detection(found, is_threat),
    ]
