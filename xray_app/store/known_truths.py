"""Bags of known truth since a validation, and the watch over recall that withdraws it when it has fallen.

Truth is known of test images; and of bags drawn by lot once a hand search or two people have said what is in them.
Bags that the models themselves had searched are none of them: they cannot show what the models miss.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from xray_app.recall_watch import RecallWatch
from xray_app.risk import worst
from xray_app.store import campaigns, validations
from xray_app.store.database import Database
from xray_app.store.tables import AnalysisRow, OutcomeRow, TrialRow
from xray_app.store.validation_tables import ControlDrawRow, KnownTruthRow
from xray_app.types import POLICY, Analysis
from xray_app.validation import Validation

YEAR = 10_000
"""Threat bags of known truth a year, over which the error is stated: a busy scanner with one test image in twenty."""
ERROR = 0.02
"""Chance that within these a validation is withdrawn by the watch though recall holds."""
FALL = 0.15
"""A fall of recall by this is to be told soon."""
TEST_IMAGE, HAND_SEARCH, DOUBLE_READING = "test image", "hand search", "double reading"


@dataclass(frozen=True)
class Watched:
    """How the watch over a validation stands.

    Attributes:
        threats, found: bags of known truth with a threat since it was signed, and those advised to be searched.
        by_kind: the same by test image, hand search and double reading.
        sum, limit: of the watch; at the limit the validation is withdrawn.
    """

    threats: int
    found: int
    by_kind: dict[str, tuple[int, int]]
    sum: float
    limit: float


def watch_of(bound: float) -> RecallWatch:
    """The watch over a validation whose evidence has this lower bound of recall, before the first bag."""
    return RecallWatch.over(YEAR, ERROR, bound, bound - min(FALL, bound / 2))


def draw(session: Session, bag_id: str) -> None:
    """A bag is drawn by lot for a hand search; once, however many views it has."""
    if session.get(ControlDrawRow, bag_id) is None:
        session.add(ControlDrawRow(bag_id=bag_id, created_at=datetime.now(UTC)))
        session.flush()


def drawn(db: Database, bag_ids: Iterable[str]) -> frozenset[str]:
    """Those of these bags that were drawn by lot for a hand search."""
    with db.read() as session:
        query = select(ControlDrawRow.bag_id).where(ControlDrawRow.bag_id.in_(list(bag_ids)))
        return frozenset(session.scalars(query))


def is_drawn(db: Database, bag_id: str) -> bool:
    """As `drawn`, of one bag."""
    return bool(drawn(db, [bag_id]))


def enter_test_image(session: Session, analysis: Analysis) -> None:
    """A test image was analysed: whatever a person will say of it, what the models said is known."""
    trial = session.get(TrialRow, analysis.id)
    if trial is not None and trial.label:
        _add(session, analysis, TEST_IMAGE, [trial.label], found=analysis.risk.level == "HIGH")


def follow(session: Session, analysis_id: str) -> None:
    """A hand search or a review was kept: the truth of a bag drawn by lot may be known by it."""
    bag_id = session.scalar(select(AnalysisRow.bag_id).where(AnalysisRow.id == analysis_id))
    if bag_id is None or session.get(ControlDrawRow, bag_id) is None:
        return
    session.flush()
    documents = session.scalars(
        select(AnalysisRow.document)
        .where(AnalysisRow.bag_id == bag_id)
        .order_by(AnalysisRow.created_at, AnalysisRow.id)
    )
    views = {one.scan.id: one for one in reversed([Analysis.model_validate_json(text) for text in documents])}
    threats = campaigns.truths_of(session, {bag_id: set(views)})[bag_id]
    if not threats:
        return
    searched = select(OutcomeRow.id).join(AnalysisRow, AnalysisRow.id == OutcomeRow.analysis_id)
    by_search = session.scalar(searched.where(AnalysisRow.bag_id == bag_id).limit(1)) is not None
    shown = worst(views.values(), lambda one: one.risk)
    _add(session, shown, HAND_SEARCH if by_search else DOUBLE_READING, sorted(threats), shown.risk.level == "HIGH")


def _add(session: Session, analysis: Analysis, kind: str, labels: list[str], found: bool) -> None:
    """Keeps a threat bag of known truth beside the validation in force when it was analysed, and looks at the watch."""
    if analysis.score_evidence is None:
        return
    holding = validations.in_force(session, analysis.scan.scanner_id, analysis.score_evidence.rests_on)
    if holding is None or analysis.created_at < holding.signed_at:
        return
    known = select(KnownTruthRow).where(KnownTruthRow.validation_id == holding.id)
    if session.scalar(known.where(KnownTruthRow.bag_id == analysis.scan.bag_id).limit(1)) is not None:
        return
    last = session.scalar(known.order_by(KnownTruthRow.number.desc()).limit(1))
    watch = watch_of(_bound(holding)).resumed(last.watch if last else 0.0).after([found])
    session.add(
        KnownTruthRow(
            validation_id=holding.id,
            number=last.number + 1 if last else 1,
            bag_id=analysis.scan.bag_id,
            kind=kind,
            labels=", ".join(labels)[:500],
            found=found,
            created_at=datetime.now(UTC),
            watch=watch.sum,
        )
    )
    session.flush()
    if watch.told:
        validations.withdraw_within(session, holding.id, POLICY, _fallen(session, holding))


def _bound(validation: Validation) -> float:
    """Nothing is signed whose bound does not reach the policy's recall."""
    return validation.evidence.recall_low or validation.evidence.wanted


def _fallen(session: Session, holding: Validation) -> str:
    seen = _watched(session, holding)
    recent = list(
        session.scalars(
            select(KnownTruthRow.found)
            .where(KnownTruthRow.validation_id == holding.id)
            .order_by(KnownTruthRow.number.desc())
            .limit(50)
        )
    )
    missed = seen.threats - seen.found
    return (
        f"Recall has fallen below the {_bound(holding):.1%} that were signed: of the last {len(recent)} bags of known "
        f"truth with a threat {recent.count(False)} were not advised to be searched ({missed} of {seen.threats} since "
        "it was signed)."
    )


def watched(db: Database, validation: Validation) -> Watched:
    """How the watch over a validation stands."""
    with db.read() as session:
        return _watched(session, validation)


def _watched(session: Session, validation: Validation) -> Watched:
    of_it = KnownTruthRow.validation_id == validation.id
    by_kind: dict[str, tuple[int, int]] = {}
    query = select(KnownTruthRow.kind, KnownTruthRow.found, func.count()).where(of_it)
    for kind, found, n in session.execute(query.group_by(KnownTruthRow.kind, KnownTruthRow.found)):
        threats, hits = by_kind.get(kind, (0, 0))
        by_kind[kind] = (threats + n, hits + n * bool(found))
    last = session.scalar(select(KnownTruthRow.watch).where(of_it).order_by(KnownTruthRow.number.desc()).limit(1))
    return Watched(
        threats=sum(threats for threats, _ in by_kind.values()),
        found=sum(hits for _, hits in by_kind.values()),
        by_kind=by_kind,
        sum=last or 0.0,
        limit=watch_of(_bound(validation)).limit,
    )
