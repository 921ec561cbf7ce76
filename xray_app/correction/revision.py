"""What becomes of a person's list and boxes: checked, in the taxonomy's words, compared with the base."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from uuid import uuid4

from xray_app.correction.labels import Labels
from xray_app.errors import BadInput, Forbidden
from xray_app.types import (
    MAX_COUNT,
    Analysis,
    Box,
    Correction,
    CorrectionBox,
    CorrectionIn,
    Diff,
    Item,
    ItemChange,
    ItemCount,
    Split,
)

# Less than this is rounding on the way through a browser, not a hand (pixels).
UNMOVED = 1e-3
HOLDOUT_ONE_IN = 5


def split_of(bag_id: str) -> Split:
    """One bag in five is kept for testing, by a hash: the same bag always falls on the same side."""
    digest = int.from_bytes(hashlib.sha256(bag_id.encode()).digest(), "big")
    return "holdout" if digest % HOLDOUT_ONE_IN == 0 else "train"


def standing(revisions: Sequence[Correction]) -> Correction | None:
    """The newest revision that nobody rejected; None where the prediction still stands.

    Args:
        revisions: of one analysis, oldest first.
    """
    return next((one for one in reversed(revisions) if one.status != "rejected"), None)


def may_review(correction: Correction, person: str) -> bool:
    """Whether a correction waits for a review that this person may give: nobody reviews their own."""
    return correction.status == "pending" and correction.author != person


def refuse_own_review(correction: Correction, reviewer: str) -> None:
    """Nobody reviews their own correction.

    Raises:
        Forbidden: the reviewer is its author.
    """
    if correction.author == reviewer:
        raise Forbidden("Somebody other than its author reviews a correction.")


def read_items(correction: CorrectionIn, labels: Labels) -> tuple[Item, ...]:
    """The items in canonical labels, as a person said them; a label named twice is counted together.

    Raises:
        UnknownLabel: a label that is neither a class nor an alias.
        BadInput: more than 99 of one class.
    """
    return tuple(labels.item(label, count) for label, count in read_counts(correction.items, labels).items())


def read_counts(items: Iterable[ItemCount], labels: Labels) -> dict[str, int]:
    """How many of each canonical label; a label named twice is counted together.

    Raises:
        UnknownLabel: a label that is neither a class nor an alias.
        BadInput: more than 99 of one class.
    """
    counts: dict[str, int] = {}
    for given in items:
        label = labels.item(given.label, 1).label
        counts[label] = counts.get(label, 0) + given.count
    for label, count in counts.items():
        if count > MAX_COUNT:
            raise BadInput(f"A count is 1 to {MAX_COUNT}, not {count} ({label}).", details={"label": label})
    return counts


def read_labelled_classes(correction: CorrectionIn, labels: Labels) -> tuple[str, ...] | None:
    """The canonical labels that were looked for; None: all.

    Raises:
        UnknownLabel: a label that is neither a class nor an alias.
        BadInput: an empty list.
    """
    if correction.labelled_classes is None:
        return None
    if not correction.labelled_classes:
        raise BadInput("labelled_classes names what you looked for; leave it out if that was everything.")
    return tuple(dict.fromkeys(labels.item(label, 1).label for label in correction.labelled_classes))


def read_boxes(
    correction: CorrectionIn, analysis: Analysis, bases: Iterable[Correction | None], labels: Labels
) -> tuple[Box, ...]:
    """The boxes in canonical labels. One that is as it was stays the model's; any edit makes it human.

    Args:
        correction: as sent.
        analysis: the prediction and the size of the picture.
        bases: the revisions it may have boxes of, the one whose word on a box counts last; None is no revision.
        labels: the taxonomy.

    Raises:
        UnknownLabel: a label that is neither a class nor an alias.
        BadInput: a box outside the picture, or with an id that is unknown or used twice.
    """
    known = {box.id: box for box in analysis.boxes}
    for base in bases:
        known |= {box.id: box for box in (base.boxes if base else ())}
    boxes: list[Box] = []
    seen: set[str] = set()
    for number, given in enumerate(correction.boxes, start=1):
        _check_within(given, number, analysis)
        if given.id is None:
            drawn = labels.box(uuid4().hex, "human", given.label, given.xyxy)
            boxes.append(drawn.model_copy(update={"polygon": given.polygon, "polygons": given.polygons}))
            continue
        if given.id in seen:
            raise BadInput(f"Box {number}: the id {given.id!r} is used twice.", details={"box": number})
        seen.add(given.id)
        before = known.get(given.id)
        if before is None:
            raise BadInput(
                f"Box {number}: the id {given.id!r} is of no box of this analysis; a new box has none.",
                details={"box": number},
            )
        after = labels.box(given.id, "human", given.label, given.xyxy)
        if same_box(before, after):
            after = labels.box(given.id, before.source, given.label, before.xyxy, before.confidence)
        if same_place(before, after):
            after = after.model_copy(update={"polygon": before.polygon, "polygons": before.polygons})
        boxes.append(after)
    return tuple(boxes)


def difference(
    analysis: Analysis,
    base: Correction | None,
    items: Iterable[Item],
    boxes: Iterable[Box],
    labelled_classes: tuple[str, ...] | None,
) -> Diff:
    """What a correction changed against its base revision, or against the prediction where it has none.

    What nobody looked for is not called removed because it was left out.
    """
    items_before = _counts(base.items if base else analysis.report.items)
    items_after = _counts(items)
    boxes_before = {box.id: box for box in (base.boxes if base else analysis.boxes)}
    boxes_after = {box.id: box for box in boxes}

    def looked_for(label: str) -> bool:
        return labelled_classes is None or label in labelled_classes

    return Diff(
        items=tuple(
            ItemChange(label=label, before=items_before.get(label, 0), after=items_after.get(label, 0))
            for label in dict.fromkeys([*items_before, *items_after])
            if items_before.get(label, 0) != items_after.get(label, 0) and (label in items_after or looked_for(label))
        ),
        boxes_added=tuple(id for id in boxes_after if id not in boxes_before),
        boxes_removed=tuple(id for id, box in boxes_before.items() if id not in boxes_after and looked_for(box.label)),
        boxes_changed=tuple(
            id for id, box in boxes_after.items() if id in boxes_before and not same_box(boxes_before[id], box)
        ),
    )


def _check_within(box: CorrectionBox, number: int, analysis: Analysis) -> None:
    x0, y0, x1, y1 = box.xyxy
    width, height = analysis.scan.width, analysis.scan.height
    # Written so that a NaN fails too.
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise BadInput(
            f"Box {number} ({box.label}) does not lie within the picture of {width} x {height} pixels.",
            details={"box": number},
        )


def same_box(before: Box, after: Box) -> bool:
    """Whether nobody moved or relabelled it."""
    return before.label == after.label and same_place(before, after)


def same_place(before: Box, after: Box) -> bool:
    """Whether nobody moved it."""
    return max(abs(old - new) for old, new in zip(before.xyxy, after.xyxy, strict=True)) < UNMOVED


def _counts(items: Iterable[Item]) -> Mapping[str, int]:
    return {item.label: item.count for item in items}
