"""Corrections: each a new revision, appended; a review is a row of its own."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from xray_app.correction.labels import Labels
from xray_app.correction.revision import (
    difference,
    read_boxes,
    read_items,
    read_labelled_classes,
    refuse_own_review,
    standing,
)
from xray_app.correction.statements import lowers, of_correction
from xray_app.errors import BadInput, Conflict, Forbidden, NotFound
from xray_app.store import (
    analyses,
    audit,
    bags,
    campaigns,
    drafts,
    facts,
    idempotency,
    known_truths,
    queue,
    runs,
    tip,
)
from xray_app.store.database import Database
from xray_app.store.paging import newest_first
from xray_app.store.standing import correction_of, counted, said_of
from xray_app.store.tables import AnalysisRow, CorrectionReviewRow, CorrectionRow
from xray_app.types import Correction, CorrectionIn, ReviewStatus


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
        review_required: whether somebody else must accept it before it trains. One that lowers what another person
            found waits for that in any case, and so does one of a bag of an open campaign.

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
                split=bags.settle(session, analysis.scan),
            )
            if campaigns.awaits_second_person(session, analysis.scan.bag_id) or lowers(
                said_of(session, analysis.scan), of_correction(value, second=False)
            ):
                value = value.model_copy(update={"status": "pending"})
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
            idempotency.answer(session, value)
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


def history(db: Database, analysis_id: str) -> list[Correction]:
    """All revisions of an analysis, oldest first.

    Raises:
        NotFound: no analysis has this id.
    """
    with db.read() as session:
        if session.get(AnalysisRow, analysis_id) is None:
            raise NotFound("There is no analysis with this id.")
        return _revisions(session, analysis_id)


def review(db: Database, correction_id: str, status: ReviewStatus, comment: str | None, reviewer: str) -> Correction:
    """Accept or reject somebody else's correction, once; again where the review was taken back.

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
            refuse_own_review(correction, reviewer)
            earlier = _last_review(session, correction_id)
            if earlier is not None and earlier.status != "withdrawn":
                raise Conflict(
                    f"{earlier.reviewer} has reviewed this correction already ({correction.status}). "
                    "To amend it, save a new revision.",
                    details={"status": correction.status},
                )
            reviewed = _append_review(session, correction, earlier, status, comment, reviewer)
            if status == "rejected":
                queue.rejected(session, correction.analysis_id, correction.revision, reviewer, comment)
            idempotency.answer(session, reviewed)
            return reviewed
    except IntegrityError as error:
        raise Conflict("Somebody else reviewed this correction at the same moment.") from error


def take_back_review(db: Database, correction_id: str, username: str, of_anybody: bool) -> Correction:
    """Take back an acceptance or a rejection: the correction waits for a review again.

    Args:
        db: the store.
        correction_id: what was reviewed.
        username: who takes it back; it is audited.
        of_anybody: whether this person may take back what somebody else said.

    Raises:
        NotFound: no correction has this id.
        Conflict: no review of it holds, or a run has frozen what was accepted.
        Forbidden: somebody else reviewed it.
    """
    with db.write() as session:
        correction = _read(session, correction_id)
        holding = _last_review(session, correction_id)
        if holding is None or holding.status == "withdrawn":
            raise Conflict("Nobody has reviewed this correction, so there is nothing to take back.")
        if holding.reviewer != username and not of_anybody:
            raise Forbidden(
                f"{holding.reviewer} reviewed this correction; {holding.reviewer} or an admin may take it back."
            )
        if holding.status == "accepted" and runs.froze_since(session, holding.created_at):
            raise Conflict("A run has learned from this correction. To amend it, save a new revision.")
        what = {"correction_id": correction_id, "status": holding.status, "reviewer": holding.reviewer}
        audit.write(session, username, "took back a review", what)
        if holding.status == "rejected":
            queue.rejection_taken_back(session, correction.analysis_id, correction.revision)
        value = _append_review(session, correction, holding, "withdrawn", None, username)
        idempotency.answer(session, value)
        return value


def pending(db: Database, limit: int = 50, after: str | None = None) -> tuple[list[Correction], str | None]:
    """Corrections that wait for a review, newest first, and the cursor of the next page.

    Raises:
        BadInput: a limit outside 1 to 500, or a cursor that no page gave.
    """
    query = select(CorrectionRow).where(CorrectionRow.status == "pending", counted(CorrectionRow.analysis_id))
    with db.read() as session:
        rows, following = newest_first(session, query, CorrectionRow.created_at, CorrectionRow.id, limit, after)
    return [correction_of(row) for row in rows], following


def _read(session: Session, correction_id: str) -> Correction:
    row = session.get(CorrectionRow, correction_id)
    if row is None:
        raise NotFound("There is no correction with this id.")
    return correction_of(row)


def _last_review(session: Session, correction_id: str) -> CorrectionReviewRow | None:
    of_this = select(CorrectionReviewRow).where(CorrectionReviewRow.correction_id == correction_id)
    return session.scalar(of_this.order_by(CorrectionReviewRow.number.desc()).limit(1))


def _append_review(
    session: Session,
    correction: Correction,
    earlier: CorrectionReviewRow | None,
    status: str,
    comment: str | None,
    reviewer: str,
) -> Correction:
    """The correction, with the status it has by this review."""
    session.add(
        CorrectionReviewRow(
            id=uuid4().hex,
            correction_id=correction.id,
            number=1 if earlier is None else earlier.number + 1,
            status=status,
            comment=comment,
            reviewer=reviewer,
            created_at=datetime.now(UTC),
        )
    )
    session.flush()
    session.expire_all()  # the correction's row was read with the status it had before
    facts.follow(session, correction.analysis_id)
    known_truths.follow(session, correction.analysis_id)
    return _read(session, correction.id)


def _revisions(session: Session, analysis_id: str) -> list[Correction]:
    query = select(CorrectionRow).where(CorrectionRow.analysis_id == analysis_id).order_by(CorrectionRow.revision)
    return [correction_of(row) for row in session.scalars(query)]


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
