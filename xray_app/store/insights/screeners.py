"""How well people find threats: from test images alone, whose truth is known, and never from traffic.

Rates come with Wilson's 95 % interval. d′ is z(hit rate) − z(false-alarm rate), and c, the bias, is minus half
their sum: above 0 somebody tends to let bags go. Both rates have the log-linear correction, (x + 0.5) / (n + 1), so
that all or none is no infinity (Hautus 1995, "Corrections for extreme proportions and their biasing effects on
estimated values of d′", Behavior Research Methods 27, 46-51). The interval of d′ is normal, with the variance
H(1 − H) / (n φ(z(H))²) of either rate (Gourevitch & Galanter 1967, "A significance test for one parameter
isosensitivity functions", Psychometrika 32, 25-33).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from math import sqrt
from statistics import NormalDist

from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.orm import aliased

from xray_app.store.database import Database
from xray_app.store.decisions import has_mark
from xray_app.store.fact_tables import FactsRow
from xray_app.store.insights.reports import Asked, Table, TableCell, rate
from xray_app.store.search import BASE
from xray_app.store.tables import AnalysisRow, DecisionRow, TrialRow
from xray_app.store.tip import is_trial, result_of

EVERYBODY = "everybody"
SEEN = {None: "all", False: "models shown", True: "blind"}
_NORMAL = NormalDist()
_Z = _NORMAL.inv_cdf(0.975)
"""Two-sided 95 % of the normal distribution."""


@dataclass(frozen=True)
class Answer:
    """How one test image was answered. `label` is the threat in it, "" of a clear bag."""

    analyst: str
    label: str
    decision: str
    blind: bool

    @property
    def alarm(self) -> bool:
        return result_of(self.label, self.decision) in ("hit", "false alarm")


@dataclass(frozen=True)
class BlindCount:
    """One person's decisions about blind bags of the traffic.

    Attributes:
        analyst: who decided.
        decisions: how many, and of these `clear`, `review` and `search`.
        revised: made anew once the models were shown.
        searched, found: of the bags sent to search: a hand search is on record, and found something.
    """

    analyst: str
    decisions: int
    clear: int
    review: int
    search: int
    revised: int
    searched: int
    found: int


@dataclass(frozen=True)
class ScreenerPerformance:
    """What was answered in the days asked for."""

    answers: tuple[Answer, ...]
    blind: tuple[BlindCount, ...]


def read(db: Database, asked: Asked, analyst: str | None = None) -> ScreenerPerformance:
    """Everybody's answers, or one person's.

    Args:
        db: the store.
        asked: days of the decisions (UTC); scanner and adapter of the analyses.
        analyst: whose; None: everybody's.
    """
    within = _within(asked, analyst)
    answers = (
        select(DecisionRow.author, TrialRow.label, DecisionRow.decision, has_mark("blind"))
        .join(AnalysisRow, AnalysisRow.id == DecisionRow.analysis_id)
        .join(TrialRow, TrialRow.analysis_id == DecisionRow.analysis_id)
        .where(*within)
        .order_by(DecisionRow.created_at, DecisionRow.id)
    )
    later = aliased(DecisionRow)
    revised = select(later.id).where(later.analysis_id == DecisionRow.analysis_id, has_mark("revised", later)).exists()
    words = [func.sum(case((DecisionRow.decision == word, 1), else_=0)) for word in ("CLEAR", "REVIEW", "SEARCH")]
    sent = DecisionRow.decision == "SEARCH"
    searches = [
        func.sum(case((sent & FactsRow.outcome.in_(outcomes), 1), else_=0))
        for outcomes in (("found", "nothing"), ("found",))
    ]
    blind = (
        select(DecisionRow.author, func.count(), *words, func.sum(case((revised, 1), else_=0)), *searches)
        .join(AnalysisRow, AnalysisRow.id == DecisionRow.analysis_id)
        .outerjoin(FactsRow, FactsRow.id == DecisionRow.analysis_id)
        .where(has_mark("blind"), ~is_trial(DecisionRow.analysis_id), *within)
        .group_by(DecisionRow.author)
        .order_by(DecisionRow.author)
    )
    with db.read() as session:
        return ScreenerPerformance(
            tuple(Answer(*row) for row in session.execute(answers)),
            tuple(BlindCount(str(row[0]), *(int(n) for n in row[1:])) for row in session.execute(blind).all()),
        )


def tables(found: ScreenerPerformance) -> list[Table]:
    """All tables, by name: vigilance, vigilance-classes, vigilance-blind."""
    return [by_analyst(found), by_class(found), blind(found)]


RATES = ("hit rate", "hit rate from", "hit rate to")
ALARMS = ("false-alarm rate", "false-alarm rate from", "false-alarm rate to")
D_PRIME = ("d′", "d′ from", "d′ to")


def by_analyst(found: ScreenerPerformance) -> Table:
    """Of each person and of everybody: hits, false alarms and d′; in all, with the models shown, and blind."""
    columns = (
        "analyst", "seen", "threat bags", "hits", *RATES, "clear bags", "false alarms", *ALARMS, *D_PRIME, "bias c",
    )  # fmt: skip
    rows: list[tuple[TableCell, ...]] = []
    for analyst, answers in _by_person(found):
        for blind, words in SEEN.items():
            some = [one for one in answers if blind is None or one.blind is blind]
            if not some or (blind is not None and len(some) == len(answers)):
                continue  # would say the same as "all"
            hits, threats = _alarms(some, lambda one: bool(one.label))
            alarms, clear = _alarms(some, lambda one: not one.label)
            rows.append(
                (
                    analyst, words, threats, hits, *rate(hits, threats), clear, alarms, *rate(alarms, clear),
                    *d_prime(hits, threats, alarms, clear), _bias(hits, threats, alarms, clear),
                )
            )  # fmt: skip
    return Table("vigilance", columns, tuple(rows))


def by_class(found: ScreenerPerformance) -> Table:
    """Of each person and class of threat: hits, and d′ against the false alarms of all of that person's clear bags."""
    rows: list[tuple[TableCell, ...]] = []
    for analyst, answers in _by_person(found):
        alarms, clear = _alarms(answers, lambda one: not one.label)
        for label in sorted({one.label for one in answers if one.label}):
            of_class = [one for one in answers if one.label == label]
            hits, threats = _alarms(of_class, lambda one: True)
            row = (*rate(hits, threats), *d_prime(hits, threats, alarms, clear))
            rows.append((analyst, label, threats, hits, *row))
    return Table("vigilance-classes", ("analyst", "class", "threat bags", "hits", *RATES, *D_PRIME), tuple(rows))


def blind(found: ScreenerPerformance) -> Table:
    """Decisions about real bags made before the models were shown: the share made anew after that, and how often a
    hand search bore out the eye alone."""
    rows = tuple(
        (
            one.analyst, one.decisions, one.clear, one.review, one.search, one.revised,
            *rate(one.revised, one.decisions), one.searched, one.found, *rate(one.found, one.searched),
        )
        for one in found.blind
    )  # fmt: skip
    columns = (
        "analyst", "blind decisions", "CLEAR", "REVIEW", "SEARCH", "decided anew", "rate", "low", "high",
        "searched by hand", "something found", "found rate", "found from", "found to",
    )  # fmt: skip
    return Table("vigilance-blind", columns, rows)


def d_prime(hits: int, threats: int, alarms: int, clear: int) -> tuple[TableCell, ...]:
    """d′ and its 95 % interval (low, high); None each where no threat bag or no clear bag was answered."""
    if threats <= 0 or clear <= 0:
        return (None, None, None)
    variance, z = 0.0, []
    for x, n in ((hits, threats), (alarms, clear)):
        share = (x + 0.5) / (n + 1)
        z.append(_NORMAL.inv_cdf(share))
        variance += share * (1 - share) / (n * _NORMAL.pdf(z[-1]) ** 2)
    value, half = z[0] - z[1], _Z * sqrt(variance)
    return (round(value, 3), round(value - half, 3), round(value + half, 3))


def _bias(hits: int, threats: int, alarms: int, clear: int) -> float | None:
    if threats <= 0 or clear <= 0:
        return None
    z = [_NORMAL.inv_cdf((x + 0.5) / (n + 1)) for x, n in ((hits, threats), (alarms, clear))]
    return round(-sum(z) / 2, 3)


def _alarms(answers: Sequence[Answer], among: Callable[[Answer], bool]) -> tuple[int, int]:
    some = [one for one in answers if among(one)]
    return sum(one.alarm for one in some), len(some)


def _by_person(found: ScreenerPerformance) -> list[tuple[str, list[Answer]]]:
    """Everybody first where there are several, then each by name."""
    people = sorted({one.analyst for one in found.answers})
    groups = [(name, [one for one in found.answers if one.analyst == name]) for name in people]
    return [(EVERYBODY, list(found.answers)), *groups] if len(people) > 1 else groups


def _within(asked: Asked, analyst: str | None) -> list[ColumnElement[bool]]:
    first = datetime.combine(asked.first, time(), UTC)
    last = first + timedelta(days=(asked.last - asked.first).days + 1)
    found: list[ColumnElement[bool]] = [DecisionRow.created_at >= first, DecisionRow.created_at < last]
    if analyst is not None:
        found.append(DecisionRow.author == analyst)
    if asked.scanner is not None:
        found.append(AnalysisRow.scanner_id == asked.scanner)
    if asked.adapter is not None:
        base = asked.adapter == BASE
        found.append(AnalysisRow.adapter.is_(None) if base else AnalysisRow.adapter == asked.adapter)
    return found
