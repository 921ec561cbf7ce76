"""Corrections: each a new revision, appended; a review is a row of its own."""

from __future__ import annotations

import builtins
from datetime import UTC, datetime
from uuid import uuid4

from sqlalchemy import Row, Select, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from xray_app.correction.labels import Labels
from xray_app.correction.revision import difference, read_boxes, read_items, read_labelled_classes, split_of, standing
from xray_app.errors import BadInput, Conflict, Forbidden, NotFound
from xray_app.store import analyses, drafts, facts, queue, tip
from xray_app.store.database import Database
from xray_app.store.paging import newest_first
from xray_app.store.tables import AnalysisRow, CorrectionReviewRow, CorrectionRow
from xray_app.types import Analysis, Correction, CorrectionIn, ReviewStatus

_status = func.coalesce(CorrectionReviewRow.status, CorrectionRow.first_status)


def add(
    db: Database,
    analysis_id: str,
    correction: CorrectionIn,
    author: str,
    taxonomy: Labels,
    review_required: bool,
) -> Correction:
    """Append a person's correction as the next revision.

    Args:
        db: the store.
        analysis_id: what is corrected.
        correction: as sent; labels may be aliases.
        author: who says so.
        taxonomy: resolves the labels.
        review_required: whether somebody else must accept it before it trains.

    Raises:
        NotFound: no analysis has this id.
        UnknownLabel: a label that is neither a class nor an alias.
        BadInput: a box outside the picture, an unknown box id, a count over 99 (nothing is stored).
        Conflict: `base_revision` is not the newest one, which is in `details["newest"]`; or it is a test image
            that was answered.
    """
    try:
        with db.write() as session:
            analysis = analyses.read(session, analysis_id)
            tip.refuse_correction(session, analysis_id)
            revisions = _revisions(session, analysis_id)
            newest, base = revisions[-1] if revisions else None, standing(revisions)
            _refuse_stale(newest, correction.base_revision)
            items = read_items(correction, taxonomy)
            boxes = read_boxes(correction, analysis, (newest, base), taxonomy)
            labelled_classes = read_labelled_classes(correction, taxonomy)
            value = Correction(
                id=uuid4().hex,
                analysis_id=analysis_id,
                revision=correction.base_revision + 1,
                status="pending" if review_required else "accepted",
                author=author,
                created_at=datetime.now(UTC),
                items=items,
                boxes=boxes,
                labelled_classes=labelled_classes,
                comment=correction.comment,
                diff=difference(analysis, base, items, boxes, labelled_classes),
                split=split_of(analysis.scan.bag_id),
            )
            session.add(
                CorrectionRow(
                    id=value.id,
                    analysis_id=analysis_id,
                    revision=value.revision,
                    base_revision=correction.base_revision,
                    author=author,
                    created_at=value.created_at,
                    first_status=value.status,
                    split=value.split,
                    taxonomy_sha256=taxonomy.sha256,
                    document=value.model_dump_json(),
                )
            )
            session.flush()
            facts.follow(session, analysis_id)
            drafts.forget(session, analysis_id, author)
            queue.corrected(session, analysis_id, newest is None, [item.label for item in items])
    except IntegrityError as error:  # somebody's revision of the same number came first
        with db.read() as session:
            _refuse_stale(next(reversed(_revisions(session, analysis_id)), None), correction.base_revision)
        raise Conflict("Somebody else saved a correction at the same moment. Try again.") from error
    return value


def get(db: Database, correction_id: str) -> Correction:
    """One correction, with its present status.

    Raises:
        NotFound: no correction has this id.
    """
    with db.read() as session:
        return _read(session, correction_id)


def review(db: Database, correction_id: str, status: ReviewStatus, comment: str | None, reviewer: str) -> Correction:
    """Accept or reject somebody else's correction, once.

    Raises:
        NotFound: no correction has this id.
        BadInput: a status other than accepted or rejected.
        Forbidden: the reviewer is its author.
        Conflict: it has been reviewed already.
    """
    if status not in ("accepted", "rejected"):
        raise BadInput("A review says accepted or rejected.")
    try:
        with db.write() as session:
            correction = _read(session, correction_id)
            if correction.author == reviewer:
                raise Forbidden("Somebody other than its author reviews a correction.")
            reviewed = select(CorrectionReviewRow.reviewer).where(CorrectionReviewRow.correction_id == correction_id)
            if (earlier := session.scalar(reviewed)) is not None:
                raise Conflict(
                    f"{earlier} has reviewed this correction already ({correction.status}). "
                    "To amend it, save a new revision.",
                    details={"status": correction.status},
                )
            session.add(
                CorrectionReviewRow(
                    id=uuid4().hex,
                    correction_id=correction_id,
                    status=status,
                    comment=comment,
                    reviewer=reviewer,
                    created_at=datetime.now(UTC),
                )
            )
            session.flush()
            facts.follow(session, correction.analysis_id)
            if status == "rejected":
                queue.rejected(session, correction.analysis_id, correction.revision, reviewer, comment)
            return _read(session, correction_id)
    except IntegrityError as error:
        raise Conflict("Somebody else reviewed this correction at the same moment.") from error


def pending(db: Database, limit: int = 50, after: str | None = None) -> tuple[builtins.list[Correction], str | None]:
    """Corrections that wait for a review, newest first, and the cursor of the next page.

    Raises:
        BadInput: a limit outside 1 to 500, or a cursor that no page gave.
    """
    query = (
        select(CorrectionRow)
        .outerjoin(CorrectionReviewRow, CorrectionReviewRow.correction_id == CorrectionRow.id)
        .where(_status == "pending", facts.counted(CorrectionRow.analysis_id))
    )
    with db.read() as session:
        rows, following = newest_first(session, query, CorrectionRow.created_at, CorrectionRow.id, limit, after)
    return [_value(row, "pending") for row in rows], following


def accepted(db: Database) -> builtins.list[tuple[Analysis, Correction]]:
    """The newest accepted revision of every analysis that has one, of both splits, oldest first.

    This is what may train (`split` "train") or test (`split` "holdout").
    """
    later, later_review = aliased(CorrectionRow), aliased(CorrectionReviewRow)
    newer_accepted = (
        select(later.id)
        .outerjoin(later_review, later_review.correction_id == later.id)
        .where(
            later.analysis_id == CorrectionRow.analysis_id,
            later.revision > CorrectionRow.revision,
            func.coalesce(later_review.status, later.first_status) == "accepted",
        )
        .exists()
    )
    query = (
        select(AnalysisRow.document, CorrectionRow)
        .join(CorrectionRow, CorrectionRow.analysis_id == AnalysisRow.id)
        .outerjoin(CorrectionReviewRow, CorrectionReviewRow.correction_id == CorrectionRow.id)
        .where(_status == "accepted", ~newer_accepted, facts.counted(CorrectionRow.analysis_id))
        .order_by(CorrectionRow.created_at, CorrectionRow.id)
    )
    with db.read() as session:
        return [
            (Analysis.model_validate_json(document), _value(row, "accepted"))
            for document, row in session.execute(query)
        ]


def _with_status() -> Select[CorrectionRow, str]:
    return select(CorrectionRow, _status).outerjoin(
        CorrectionReviewRow, CorrectionReviewRow.correction_id == CorrectionRow.id
    )


def _value(row: CorrectionRow, status: str) -> Correction:
    # The document holds the status it was saved with; a review since then is the newer word.
    return Correction.model_validate_json(row.document).model_copy(update={"status": status})


def _read(session: Session, correction_id: str) -> Correction:
    found: Row[CorrectionRow, str] | None = session.execute(
        _with_status().where(CorrectionRow.id == correction_id)
    ).one_or_none()
    if found is None:
        raise NotFound("There is no correction with this id.")
    return _value(*found)


def _revisions(session: Session, analysis_id: str) -> builtins.list[Correction]:
    query = _with_status().where(CorrectionRow.analysis_id == analysis_id).order_by(CorrectionRow.revision)
    return [_value(row, status) for row, status in session.execute(query)]


def _refuse_stale(newest: Correction | None, base_revision: int) -> None:
    if base_revision == (newest.revision if newest else 0):
        return
    if newest is None:
        raise Conflict(
            f"There is no revision {base_revision} of this analysis; the first correction is based on 0.",
            details={"newest": None},
        )
    raise Conflict(
        f"{newest.author} has saved revision {newest.revision} meanwhile. Look at it, then save yours on top.",
        details={"newest": newest.model_dump(mode="json")},
    )


# Last, because below it `list` is this function.
def list(db: Database, analysis_id: str) -> builtins.list[Correction]:
    """All revisions of an analysis, oldest first.

    Raises:
        NotFound: no analysis has this id.
    """
    with db.read() as session:
        if session.get(AnalysisRow, analysis_id) is None:
            raise NotFound("There is no analysis with this id.")
        return _revisions(session, analysis_id)
