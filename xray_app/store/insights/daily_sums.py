"""The sums that insights are made of: one document a day, scanner and adapter, made anew when that day changes.

Reading a month of 100,000 analyses so means reading some hundred small documents. What the sums leave out
(names, notes, pictures) no chart shows.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from pydantic import Field
from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from xray_app.store.database import Database
from xray_app.store.fact_tables import AppearanceRow, DayFiguresRow, FactsRow, LabelFactRow, StaleDayRow
from xray_app.store.standing import correction_of, newest_accepted
from xray_app.store.tables import AnalysisRow, CorrectionRow, ScanRow
from xray_app.store.validation_tables import ControlDrawRow
from xray_app.types import NOT_ANALYSED, Analysis, Correction, Value

NOTHING = "nothing"
"""In a confusion: nothing was there, or nothing was said."""
MOST_SECONDS = 600
SHARE_EDGES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8)
BRIGHTNESS_EDGES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SIDE_EDGES = (200.0, 300.0, 450.0, 700.0, 1000.0, 1500.0, 2200.0, 3200.0)
SHAPE_EDGES = (0.5, 0.75, 0.95, 1.05, 1.35, 1.8, 2.5)
LOOKS = {
    "organic": SHARE_EDGES,
    "mixed": SHARE_EDGES,
    "metal": SHARE_EDGES,
    "opaque": SHARE_EDGES,
    "brightness": BRIGHTNESS_EDGES,
    "side": SIDE_EDGES,
    "shape": SHAPE_EDGES,
}
"""What is watched of incoming scans, and the edges of its bins; a value on an edge is in the upper bin."""

Counts = dict[str, float]
Cell = tuple[str, str]
Sums = defaultdict[str, defaultdict[str, float]]


class Bag(Value):
    """Bags whose hand search is on record, alike in all of this.

    Attributes:
        found: labels the search found.
        named: those of them that a model had named in any view.
        high: whether the models' risk was HIGH in any view.
        searched: whether somebody decided SEARCH.
        by_lot: whether it was drawn for a search, whatever the models said.
        n: how many such bags.
    """

    found: tuple[str, ...]
    named: tuple[str, ...]
    high: bool
    searched: bool
    by_lot: bool = False
    n: int = 1


class Figures(Value):
    """Sums over analyses. Keys of the counts are labels, words, bins ("0" is the lowest) or two joined by "|".

    Attributes:
        scans: analyses.
        risk: by level.
        decided: by level and newest decision.
        seconds: newest decisions by whole seconds taken, the longest in one.
        hours: analyses by hour of the day (UTC).
        analysts: newest decisions by who made them.
        labels: analyses in which a model named a label.
        looks: analyses by feature of `LOOKS` and bin.
        corrected: analyses with an accepted correction.
        confirmed: those in which the newest one changed neither items nor boxes.
        checked: corrected analyses in which a label was named or was there, and was looked for.
        missed, wrong, miscounted: those in which it was there and not named, named and not there, or counted wrong.
        items: items there by what the VLM called them, "there|said".
        boxes: boxes there by what the detector called them, "there|said".
        bags: bags whose hand search is on record.
    """

    scans: int = 0
    risk: Counts = Field(default_factory=dict)
    decided: Counts = Field(default_factory=dict)
    seconds: Counts = Field(default_factory=dict)
    hours: Counts = Field(default_factory=dict)
    analysts: Counts = Field(default_factory=dict)
    labels: Counts = Field(default_factory=dict)
    looks: Counts = Field(default_factory=dict)
    corrected: int = 0
    confirmed: int = 0
    checked: Counts = Field(default_factory=dict)
    missed: Counts = Field(default_factory=dict)
    wrong: Counts = Field(default_factory=dict)
    miscounted: Counts = Field(default_factory=dict)
    items: Counts = Field(default_factory=dict)
    boxes: Counts = Field(default_factory=dict)
    bags: tuple[Bag, ...] = ()


COUNTS = tuple(name for name, field in Figures.model_fields.items() if field.annotation == Counts)
NUMBERS = ("scans", "corrected", "confirmed")


def total(parts: Iterable[Figures]) -> Figures:
    """The sums of several sums."""
    # Any: mypy takes a first dict for `model_construct`'s own first argument.
    numbers: dict[str, Any] = dict.fromkeys(NUMBERS, 0)
    counts: dict[str, Any] = {name: {} for name in COUNTS}
    bags: list[Bag] = []
    for part in parts:
        for name in NUMBERS:
            numbers[name] += getattr(part, name)
        for name, sums in counts.items():
            for key, value in getattr(part, name).items():
                sums[key] = sums.get(key, 0) + value
        bags += part.bags
    return Figures.model_construct(**numbers, **counts, bags=tuple(bags))


def read(db: Database, first: date, last: date) -> list[tuple[date, str, str, Figures]]:
    """Day, scanner, adapter and their sums, oldest first; both days included. Brings the sums up to date."""
    bring_up_to_date(db)
    query = (
        select(DayFiguresRow.day, DayFiguresRow.scanner_id, DayFiguresRow.adapter, DayFiguresRow.document)
        .where(DayFiguresRow.day >= first, DayFiguresRow.day <= last)
        .order_by(DayFiguresRow.day, DayFiguresRow.scanner_id, DayFiguresRow.adapter)
    )
    with db.read() as session:
        rows = session.execute(query).all()
    return [(day, scanner, adapter, Figures.model_validate_json(text)) for day, scanner, adapter, text in rows]


def first_days(db: Database, scanner: str | None, scans: int) -> tuple[Figures, date | None]:
    """The earliest whole days with at least this many scans together, and the last of these days."""
    query = select(DayFiguresRow.day, DayFiguresRow.document).order_by(DayFiguresRow.day)
    if scanner is not None:
        query = query.where(DayFiguresRow.scanner_id == scanner)
    parts: list[Figures] = []
    reached: date | None = None
    with db.read() as session:
        for day, text in session.execute(query.execution_options(yield_per=50)):
            if day != reached and sum(part.scans for part in parts) >= scans:
                break
            reached = day
            parts.append(Figures.model_validate_json(text))
    return total(parts), reached


def bring_up_to_date(db: Database) -> None:
    """Makes the sums of every day anew of which something changed; a transaction a day, so that nobody waits long."""
    # Read once: a day that becomes stale meanwhile is for the next reader, or scans coming in would keep this one.
    with db.read() as session:
        days = session.scalars(select(StaleDayRow.day).order_by(StaleDayRow.day.desc())).all()
    for day in days:
        with db.write() as session:
            session.execute(delete(StaleDayRow).where(StaleDayRow.day == day))
            session.execute(delete(DayFiguresRow).where(DayFiguresRow.day == day))
            for (scanner, adapter), figures in of_day(session, day).items():
                session.add(
                    DayFiguresRow(day=day, scanner_id=scanner, adapter=adapter, document=figures.model_dump_json())
                )


def of_day(session: Session, day: date) -> dict[Cell, Figures]:
    """The sums of one day by scanner and adapter."""
    counts: dict[Cell, Sums] = defaultdict(lambda: defaultdict(lambda: defaultdict(float)))
    scans: Counter[Cell] = Counter()
    query = (
        select(FactsRow, ScanRow.width, ScanRow.height, AppearanceRow)
        .join(ScanRow, ScanRow.id == FactsRow.scan_id)
        .outerjoin(AppearanceRow, AppearanceRow.scan_id == FactsRow.scan_id)
        # What no model analysed says nothing of the models; its cell is in no sums.
        .where(FactsRow.day == day, FactsRow.adapter != NOT_ANALYSED)
    )
    with_outcome: list[FactsRow] = []
    for facts, width, height, look in session.execute(query):
        cell = (facts.scanner_id, facts.adapter)
        scans[cell] += 1
        sums = counts[cell]
        sums["risk"][facts.risk_level] += 1
        sums["hours"][str(facts.created_at.hour)] += 1
        for place in bins_of(width, height, facts.opaque_fraction, look):
            sums["looks"][place] += 1
        if facts.decision:
            sums["decided"][f"{facts.risk_level}|{facts.decision}"] += 1
            sums["analysts"][facts.analyst] += 1
            if facts.seconds is not None:
                sums["seconds"][str(min(int(facts.seconds), MOST_SECONDS))] += 1
        if facts.outcome:
            with_outcome.append(facts)
    for cell, label, n in _labels(session, day):
        counts[cell]["labels"][label] += n
    corrected: Counter[Cell] = Counter()
    confirmed: Counter[Cell] = Counter()
    for cell, analysis, correction in _corrections(session, day):
        corrected[cell] += 1
        confirmed[cell] += _add_correction(counts[cell], analysis, correction)
    bags: dict[Cell, list[Bag]] = defaultdict(list)
    for facts, bag in _bags(session, with_outcome):
        bags[facts.scanner_id, facts.adapter].append(bag)
    return {
        cell: Figures(
            scans=n, corrected=corrected[cell], confirmed=confirmed[cell], bags=_alike(bags[cell]),
            **{name: dict(sums) for name, sums in counts[cell].items()},
        )
        for cell, n in scans.items()
    }  # fmt: skip


def bins_of(width: int, height: int, opaque: float, look: AppearanceRow | None) -> list[str]:
    """The bin of each thing watched of one scan, "feature|bin"."""
    values = {"opaque": opaque, "side": float(max(width, height)), "shape": width / height}
    if look is not None:
        values |= {name: getattr(look, name) for name in ("organic", "mixed", "metal", "brightness")}
    return [f"{name}|{bisect_right(LOOKS[name], value)}" for name, value in values.items()]


def _labels(session: Session, day: date) -> Iterable[tuple[Cell, str, int]]:
    query = (
        select(FactsRow.scanner_id, FactsRow.adapter, LabelFactRow.label, func.count())
        .join(LabelFactRow, LabelFactRow.analysis_id == FactsRow.id)
        .where(FactsRow.day == day, or_(LabelFactRow.by_vlm, LabelFactRow.by_detector))
        .group_by(FactsRow.scanner_id, FactsRow.adapter, LabelFactRow.label)
    )
    for scanner, adapter, label, n in session.execute(query):
        yield (scanner, adapter), label, n


def _corrections(session: Session, day: date) -> Iterable[tuple[Cell, Analysis, Correction]]:
    """The newest accepted revision of every analysis of the day that has one."""
    query = (
        select(FactsRow.scanner_id, FactsRow.adapter, AnalysisRow.document, CorrectionRow)
        .join(AnalysisRow, AnalysisRow.id == FactsRow.id)
        .join(CorrectionRow, CorrectionRow.analysis_id == FactsRow.id)
        .where(FactsRow.day == day, FactsRow.correction != "", newest_accepted())
        .order_by(FactsRow.id)
    )
    for scanner, adapter, predicted, corrected in session.execute(query):
        yield (scanner, adapter), Analysis.model_validate_json(predicted), correction_of(corrected)


def _add_correction(sums: Sums, analysis: Analysis, correction: Correction) -> bool:
    """Adds what a person changed of a prediction, as far as they looked; returns whether that was nothing."""

    def looked_for(label: str) -> bool:
        return correction.labelled_classes is None or label in correction.labelled_classes

    said = {item.label: item.count for item in analysis.report.items if looked_for(item.label)}
    there = {label: count for label, count in correction.counts.items() if looked_for(label)}
    for label in {*said, *there}:
        sums["checked"][label] += 1
        if said.get(label) != there.get(label):
            kind = "missed" if label not in said else "wrong" if label not in there else "miscounted"
            sums[kind][label] += 1
    for pair, weight in item_confusion(there, said).items():
        sums["items"][pair] += weight
    before = {box.id: box.label for box in analysis.boxes}
    after = {box.id: box.label for box in correction.boxes}
    pairs = [(label, before.get(id, NOTHING)) for id, label in after.items()]
    pairs += [(NOTHING, label) for id, label in before.items() if id not in after and looked_for(label)]
    for one, other in pairs:
        sums["boxes"][f"{one}|{other}"] += 1
    return (
        said == there
        and all(one == other for one, other in pairs)
        and not any(box.source == "human" for box in correction.boxes)
    )


def item_confusion(there: Counts | dict[str, int], said: Counts | dict[str, int]) -> Counts:
    """Items there by what they were called, "there|said".

    A list does not say which entry stands for which item. What agrees is paired with itself; then the items missed
    and those wrongly said are paired off evenly, and what is left over pairs with nothing. (As in M. Heydarian et
    al., "MLCM: Multi-label confusion matrix", IEEE Access 2022, and `training.evaluation.confusion`.)
    """
    table: Counts = {}
    labels = sorted({*there, *said})
    missed = {label: there.get(label, 0) - said.get(label, 0) for label in labels}
    lost = sum(n for n in missed.values() if n > 0)
    extra = -sum(n for n in missed.values() if n < 0)
    for label in labels:
        if both := min(there.get(label, 0), said.get(label, 0)):
            table[f"{label}|{label}"] = both
        if missed[label] > 0:
            for other in labels:
                if missed[other] < 0:
                    table[f"{label}|{other}"] = missed[label] * -missed[other] / max(lost, extra)
            if lost > extra:
                table[f"{label}|{NOTHING}"] = missed[label] * (1 - extra / lost)
        elif missed[label] < 0 and extra > lost:
            table[f"{NOTHING}|{label}"] = -missed[label] * (1 - lost / extra)
    return table


def _bags(session: Session, with_outcome: Sequence[FactsRow]) -> Iterable[tuple[FactsRow, Bag]]:
    """Each bag once, with the analysis that holds its newest outcome; of the models counts what they said before."""
    if not with_outcome:
        return
    views: dict[str, list[FactsRow]] = defaultdict(list)
    bag_ids = sorted({facts.bag_id for facts in with_outcome})
    for facts in session.scalars(
        select(FactsRow).where(FactsRow.bag_id.in_(bag_ids)).order_by(FactsRow.created_at, FactsRow.id)
    ):
        views[facts.bag_id].append(facts)
    ids = [facts.id for of_bag in views.values() for facts in of_bag]
    found, named = defaultdict(set), defaultdict(set)
    for row in session.scalars(select(LabelFactRow).where(LabelFactRow.analysis_id.in_(ids))):
        if row.by_search:
            found[row.analysis_id].add(row.label)
        if row.by_vlm or row.by_detector:
            named[row.analysis_id].add(row.label)
    drawn = set(session.scalars(select(ControlDrawRow.bag_id).where(ControlDrawRow.bag_id.in_(bag_ids))))
    for holder in with_outcome:
        of_bag, until = views[holder.bag_id], holder.outcome_at
        if until is None or any(
            one.outcome_at is not None and (one.outcome_at, one.id) > (until, holder.id) for one in of_bag
        ):
            continue  # another view's outcome is newer, and counts
        # Of a scan analysed twice, the last answer before the search counts.
        judged = {one.scan_id: one for one in of_bag if one.created_at <= until}
        said = set().union(*(named[one.id] for one in judged.values()))
        yield (
            holder,
            Bag(
                found=tuple(sorted(found[holder.id])),
                named=tuple(sorted(found[holder.id] & said)),
                high=any(one.risk_level == "HIGH" for one in judged.values()),
                searched=any(one.decision == "SEARCH" for one in of_bag),
                by_lot=holder.bag_id in drawn,
            ),
        )


def _alike(bags: Sequence[Bag]) -> tuple[Bag, ...]:
    return tuple(bag.model_copy(update={"n": n}) for bag, n in Counter(bags).items())
