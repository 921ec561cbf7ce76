"""Drafts: what an unsaved correction says, and two people's work put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from xray_app.correction.labels import Labels
from xray_app.correction.merging import Version, merge
from xray_app.correction.revision import read_boxes, read_counts, read_items, read_labelled_classes, standing
from xray_app.errors import BadInput
from xray_app.taxonomy import Taxonomy
from xray_app.types import MAX_COUNT, Analysis, Correction, CorrectionBox, CorrectionIn, ItemCount


def base_of(draft: CorrectionIn, revisions: Sequence[Correction]) -> Correction | None:
    """The revision a draft was begun on, or the one before that stands if it was rejected; None for the prediction.

    Raises:
        BadInput: there is no such revision.
    """
    earlier = [one for one in revisions if one.revision <= draft.base_revision]
    if draft.base_revision and not (earlier and earlier[-1].revision == draft.base_revision):
        raise BadInput("This draft is of a revision that does not exist.")
    return standing(earlier)


def version_of(analysis: Analysis, revision: Correction | None) -> Version:
    """A revision, or the prediction where it is None."""
    if revision is None:
        return Version(analysis.report.items, analysis.boxes)
    return Version(revision.items, revision.boxes, revision.labelled_classes)


def read_draft(draft: CorrectionIn, analysis: Analysis, revisions: Sequence[Correction], taxonomy: Taxonomy) -> Version:
    """What a draft says, checked as a correction is.

    Raises:
        UnknownLabel, BadInput: as when it would be saved.
    """
    begun_on = [one for one in revisions if one.revision == draft.base_revision]  # it may have been rejected since
    return Version(
        read_items(draft, taxonomy),
        read_boxes(draft, analysis, (*begun_on, base_of(draft, revisions)), taxonomy),
        read_labelled_classes(draft, taxonomy),
    )


@dataclass(frozen=True)
class Proposal:
    """Two people's changes put together: the draft to go on with, and what to look at."""

    draft: CorrectionIn
    clashes: tuple[str, ...]


def merge_onto(
    draft: CorrectionIn, analysis: Analysis, revisions: Sequence[Correction], taxonomy: Taxonomy
) -> Proposal:
    """A draft of an older revision, brought on top of the newest one, and put together with the one that stands.

    Raises:
        BadInput: the draft cannot be read.
    """
    mine = read_draft(draft, analysis, revisions, taxonomy)
    theirs = version_of(analysis, standing(revisions))
    merged = merge(version_of(analysis, base_of(draft, revisions)), mine, theirs)
    known = {box.id for box in (*analysis.boxes, *theirs.boxes)}
    labels = sorted(merged.counts, key=taxonomy.rank)
    return Proposal(
        CorrectionIn(
            items=tuple(ItemCount(label=label, count=merged.counts[label]) for label in labels),
            boxes=tuple(
                # A box of the older revision that the newest lacks cannot keep its id: it is drawn anew.
                CorrectionBox(
                    id=box.id if box.id in known else None,
                    label=box.label,
                    xyxy=box.xyxy,
                    polygon=box.polygon,
                    polygons=box.polygons,
                )
                for box in merged.boxes
            ),
            labelled_classes=_together(mine.looked_for, theirs.looked_for, taxonomy),
            comment=draft.comment,
            base_revision=revisions[-1].revision,
        ),
        merged.clashes,
    )


def _together(
    mine: tuple[str, ...] | None, theirs: tuple[str, ...] | None, taxonomy: Taxonomy
) -> tuple[str, ...] | None:
    """What two people looked for between them; None: everything."""
    if mine is None or theirs is None:
        return None
    return tuple(sorted({*mine, *theirs}, key=taxonomy.rank))


def unlisted(sent: CorrectionIn, labels: Labels) -> dict[str, int]:
    """How many boxes there are of each class that the list does not name: both cannot be right.

    What was not looked for need not be listed.

    Raises:
        UnknownLabel: a label that is neither a class nor an alias.
        BadInput: a count over 99.
    """
    listed = read_counts(sent.items, labels)
    return {label: count for label, count in _looked_for_boxes(sent, labels).items() if label not in listed}


def with_counts_from_boxes(sent: CorrectionIn, labels: Labels) -> CorrectionIn:
    """The list raised to what the boxes show. Nothing is lowered: what a person typed may have no box.

    Raises:
        UnknownLabel: a label that is neither a class nor an alias.
        BadInput: a count over 99.
    """
    counts = read_counts(sent.items, labels)
    for label, count in _looked_for_boxes(sent, labels).items():
        counts[label] = max(counts.get(label, 0), min(count, MAX_COUNT))
    items = tuple(ItemCount(label=label, count=count) for label, count in counts.items())
    return sent.model_copy(update={"items": items})


def _looked_for_boxes(sent: CorrectionIn, labels: Labels) -> Counter[str]:
    scope = read_labelled_classes(sent, labels)
    boxes = Counter(labels.item(box.label, 1).label for box in sent.boxes)
    return Counter({label: count for label, count in boxes.items() if scope is None or label in scope})
