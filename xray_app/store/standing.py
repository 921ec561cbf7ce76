"""What stands for a scan by now: which analyses count, which correction holds, what is held out, what a bag stands at.

Whoever counts, lists, exports or trains on corrections asks here, so that all of them mean the same ones.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from xray_app.correction.statements import BagStanding, Statement, of_correction, of_search, risk_of
from xray_app.risk import by_policy, standing, worst
from xray_app.store.database import Database
from xray_app.store.fact_tables import FactsRow, FoundItemRow
from xray_app.store.tables import AnalysisRow, CorrectionReviewRow, CorrectionRow, OutcomeRow
from xray_app.types import POLICY, Analysis, Correction, ReviewStatus, Risk, ScanFacts, StandingRisk, Status

BATCH = 200
"""Documents read in one query."""


# --- conditions of queries ----------------------------------------------------------------------------------


def counted(analysis_id: InstrumentedAttribute[str]) -> ColumnElement[bool]:
    """The condition that an analysis is traffic, for a query that names it in this column.

    A test image never is, and a blind scan is once its prediction may be seen: these have no facts before.
    """
    of_traffic = aliased(FactsRow)
    return select(of_traffic.id).where(of_traffic.id == analysis_id).exists()


def newest_accepted() -> ColumnElement[bool]:
    """The condition on `CorrectionRow` that it is the newest accepted revision of an analysis that counts.

    This is what trains, tests, is exported and summed up.
    """
    return _newest_of("accepted") & counted(CorrectionRow.analysis_id)


def newest_not_rejected() -> ColumnElement[bool]:
    """The condition on `CorrectionRow` that it is its analysis's newest revision, those rejected left out.

    This is what is shown, and what the next revision is compared with (`correction.revision.standing`).
    """
    return _newest_of("pending", "accepted")


def _newest_of(*wanted: ReviewStatus) -> ColumnElement[bool]:
    later = aliased(CorrectionRow)
    replaced = (
        select(later.id)
        .where(
            later.analysis_id == CorrectionRow.analysis_id,
            later.revision > CorrectionRow.revision,
            later.status.in_(wanted),
        )
        .exists()
    )
    return CorrectionRow.status.in_(wanted) & ~replaced


# --- answers ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Standing:
    """One scan of one bag, and where what is known of it stands.

    Attributes:
        analysis_id: the analysis that was corrected; without a correction, the newest.
        correction_id: the newest accepted correction of any of the scan's analyses; None: a prediction alone.
        at: when it was analysed.
        level: the risk of that analysis.
        by: who corrected it, or who had it analysed.
    """

    analysis_id: str
    correction_id: str | None
    at: datetime
    level: str
    by: str


def of_scans(db: Database) -> list[Standing]:
    """Every scan of every bag once, oldest analysis first; of several corrections the latest accepted counts."""
    corrected = (
        select(CorrectionRow.analysis_id, CorrectionRow.id, CorrectionRow.author, CorrectionRow.created_at)
        .where(newest_accepted())
        .subquery()
    )
    query = (
        select(
            AnalysisRow.id,
            AnalysisRow.scan_id,
            AnalysisRow.bag_id,
            AnalysisRow.created_at,
            AnalysisRow.risk_level,
            AnalysisRow.created_by,
            corrected.c.id,
            corrected.c.author,
            corrected.c.created_at,
        )
        .outerjoin(corrected, corrected.c.analysis_id == AnalysisRow.id)
        .where(counted(AnalysisRow.id))
        .order_by(AnalysisRow.created_at, AnalysisRow.id)
    )
    found: dict[tuple[str, str], tuple[tuple[bool, datetime], Standing]] = {}
    with db.read() as session:
        for id, scan, bag, at, level, analysed_by, correction, author, corrected_at in session.execute(query):
            # A correction before any prediction, then the later one.
            weight = (correction is not None, corrected_at or at)
            if (scan, bag) not in found or found[scan, bag][0] <= weight:
                found[scan, bag] = weight, Standing(id, correction, at, level, author or analysed_by)
    return sorted((one for _, one in found.values()), key=lambda one: (one.at, one.analysis_id))


def accepted(db: Database) -> list[tuple[Analysis, Correction]]:
    """The accepted correction of every scan of a bag that has one, of both splits, oldest analysis first.

    This is what may train (`split` "train") or test (`split` "holdout"). A scan that was analysed and corrected more
    than once would otherwise weigh double, and two people's answers could contradict each other.
    """
    wanted = [one for one in of_scans(db) if one.correction_id is not None]
    return [(analysis, correction) for analysis, correction in documents(db, wanted) if correction is not None]


def documents(db: Database, wanted: Sequence[Standing]) -> Iterator[tuple[Analysis, Correction | None]]:
    """The analyses and corrections of `wanted`, in its order, a few hundred at a time."""
    for start in range(0, len(wanted), BATCH):
        batch = wanted[start : start + BATCH]
        analysed = select(AnalysisRow).where(AnalysisRow.id.in_([one.analysis_id for one in batch]))
        corrected = select(CorrectionRow).where(
            CorrectionRow.id.in_([one.correction_id for one in batch if one.correction_id])
        )
        with db.read() as session:
            analyses = {row.id: row.document for row in session.scalars(analysed)}
            corrections = {row.id: correction_of(row) for row in session.scalars(corrected)}
        for one in batch:
            correction = None if one.correction_id is None else corrections[one.correction_id]
            yield Analysis.model_validate_json(analyses[one.analysis_id]), correction


def held_out_scans(db: Database) -> frozenset[str]:
    """Ids of scans with an accepted correction in a bag of the hold-out, whatever other bags they lie in.

    The split goes by bag, and one picture may lie in several: dropped at the desk its bag is its hash, imported
    it is its file's name. In any of them it is one the hold-out asks about.
    """
    query = (
        select(AnalysisRow.scan_id)
        .join(CorrectionRow, CorrectionRow.analysis_id == AnalysisRow.id)
        .where(CorrectionRow.side == "holdout", newest_accepted())
    )
    with db.read() as session:
        return frozenset(session.scalars(query))


# --- what a bag stands at -----------------------------------------------------------------------------------


def of_bag(db: Database, bag_id: str) -> BagStanding:
    """What a bag stands at, its hidden views included.

    Raises:
        KeyError: no scan of it was analysed.
    """
    return of_bags(db, [bag_id])[bag_id]


def of_bags(db: Database, bag_ids: Collection[str]) -> dict[str, BagStanding]:
    """As `of_bag`, of many in a few queries; bags of which no scan was analysed are left out."""
    found: dict[str, BagStanding] = {}
    wanted = list(dict.fromkeys(bag_ids))
    with db.read() as session:
        for start in range(0, len(wanted), BATCH):
            found |= read_bags(session, wanted[start : start + BATCH])
    return found


def read_bags(session: Session, bag_ids: Collection[str]) -> dict[str, BagStanding]:
    """As `of_bags`, within a transaction, of at most a few hundred bags."""
    people: dict[str, dict[str, StandingRisk]] = defaultdict(dict)
    for (bag_id, scan_id), said in statements(session, bag_ids).items():
        if (risk := risk_of(said)) is not None:
            people[bag_id][scan_id] = risk
    views: dict[str, dict[str, tuple[str, Risk]]] = defaultdict(dict)
    query = (
        select(AnalysisRow.bag_id, AnalysisRow.scan_id, AnalysisRow.id, AnalysisRow.risk_level, AnalysisRow.action)
        .where(AnalysisRow.bag_id.in_(bag_ids))
        .order_by(AnalysisRow.created_at, AnalysisRow.id)
    )
    for bag_id, scan_id, analysis_id, level, action in session.execute(query):
        views[bag_id][scan_id] = analysis_id, bare_risk(level, action)  # its reason is read where it is the worst
    stands = {
        bag_id: worst(
            ((scan, id, standing(rated, people[bag_id].get(scan))) for scan, (id, rated) in of_bag.items()),
            lambda view: view[2],
        )
        for bag_id, of_bag in views.items()
    }
    by_models = [id for _, id, risk in stands.values() if risk.by == POLICY]
    documents = select(AnalysisRow.id, AnalysisRow.document).where(AnalysisRow.id.in_(by_models))
    reasons = {id: str(json.loads(document)["risk"]["reason"]) for id, document in session.execute(documents)}
    return {
        bag_id: BagStanding(risk.model_copy(update={"reason": reasons.get(id, risk.reason)}), scan, people[bag_id])
        for bag_id, (scan, id, risk) in stands.items()
    }


def stands_over(row: FactsRow) -> StandingRisk:
    """What stands over an analysis, as it is kept with the facts of it."""
    kept = {"level": row.standing_level, "action": row.standing_action or "REVIEW", "reason": row.standing_reason}
    return StandingRisk.model_validate(kept | {"by": row.standing_by or POLICY})


def over_analyses(session: Session, ids: Collection[str]) -> dict[str, StandingRisk]:
    """What stands over each of these analyses, as it is kept; of one without facts what the models said."""
    rows = select(AnalysisRow.id, AnalysisRow.risk_level, AnalysisRow.action, FactsRow).outerjoin(
        FactsRow, FactsRow.id == AnalysisRow.id
    )
    return {
        id: stands_over(facts) if facts else by_policy(bare_risk(level, action))
        for id, level, action, facts in session.execute(rows.where(AnalysisRow.id.in_(ids)))
    }


def bare_risk(level: str, action: str) -> Risk:
    """The models' risk as a row's columns have it: without reason and policy, which are in the document."""
    return Risk.model_validate({"level": level, "action": action, "reason": "", "policy": ""})


def said_of(session: Session, scan: ScanFacts) -> list[Statement]:
    """What people said of one view, in the order of time."""
    return statements(session, [scan.bag_id]).get((scan.bag_id, scan.id), [])


def statements(session: Session, bag_ids: Collection[str]) -> dict[tuple[str, str], list[Statement]]:
    """What people said of bags, by bag and scan, in the order of time; of a scan analysed twice all of it."""
    found: dict[tuple[str, str], list[Statement]] = defaultdict(list)
    review, later = aliased(CorrectionReviewRow), aliased(CorrectionReviewRow)
    newer = exists().where(later.correction_id == review.correction_id, later.created_at > review.created_at)
    second = exists().where(review.correction_id == CorrectionRow.id, review.status == "accepted", ~newer)
    revisions = (
        select(CorrectionRow, second, AnalysisRow.bag_id, AnalysisRow.scan_id)
        .join(AnalysisRow, AnalysisRow.id == CorrectionRow.analysis_id)
        .where(AnalysisRow.bag_id.in_(bag_ids))
        .order_by(CorrectionRow.created_at, CorrectionRow.revision)
    )
    for row, accepted_by_second, bag_id, scan_id in session.execute(revisions):
        found[bag_id, scan_id].append(of_correction(correction_of(row), second=accepted_by_second))
    searches = (
        select(OutcomeRow, AnalysisRow.bag_id, AnalysisRow.scan_id, FoundItemRow.label, FoundItemRow.status)
        .join(AnalysisRow, AnalysisRow.id == OutcomeRow.analysis_id)
        .join(FoundItemRow, FoundItemRow.outcome_id == OutcomeRow.id)
        .where(AnalysisRow.bag_id.in_(bag_ids))
        .order_by(OutcomeRow.created_at, OutcomeRow.id, FoundItemRow.label)
    )
    searched: dict[str, tuple[OutcomeRow, tuple[str, str], dict[str, Status]]] = {}
    for outcome, bag_id, scan_id, label, status in session.execute(searches):
        # What was found before statuses were kept is prohibited until it is judged: the safe side.
        _, _, labels = searched.setdefault(outcome.id, (outcome, (bag_id, scan_id), {}))
        labels[label] = Status(status) if status else Status.PROHIBITED
    for outcome, view, labels in searched.values():
        found[view].append(of_search(outcome.author, outcome.created_at, labels))
    for said in found.values():
        said.sort(key=lambda one: one.at)  # stable: of one moment revisions stay in their order
    return dict(found)


def correction_of(row: CorrectionRow) -> Correction:
    """A stored correction. Its document holds the status and the side of its bag when it was saved; a review, or a
    bag's move to the other side, is the newer word."""
    return Correction.model_validate_json(row.document).model_copy(update={"status": row.status, "split": row.side})
