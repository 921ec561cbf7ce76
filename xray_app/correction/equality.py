"""Whether two corrections say the same: a second click on Save, or a data set that is imported again."""

from __future__ import annotations

from collections.abc import Sequence

from xray_app.correction.labels import Labels
from xray_app.correction.revision import read_items, read_labelled_classes
from xray_app.types import XYXY, Correction, CorrectionIn

SAME_PLACE = 0.01
"""Edges nearer than this are at the same place (pixels): a browser and every exchange format round coordinates."""


def says_the_same(sent: CorrectionIn, saved: Correction, labels: Labels) -> bool:
    """Whether a revision says what was sent: the same items, boxes and classes looked for, in whatever order.

    Ids of boxes, the comment and the base revision say nothing about what is in the scan, so they are not compared.

    Raises:
        UnknownLabel, BadInput: as when it would be saved.
    """
    items = {item.label: item.count for item in read_items(sent, labels)}
    if items != {item.label: item.count for item in saved.items}:
        return False
    looked_for = read_labelled_classes(sent, labels)
    if (looked_for is None) != (saved.labelled_classes is None):
        return False
    if set(looked_for or ()) != set(saved.labelled_classes or ()):
        return False
    drawn = [(labels.item(box.label, 1).label, box.xyxy) for box in sent.boxes]
    return _same_boxes(drawn, [(box.label, box.xyxy) for box in saved.boxes])


def is_sent_twice(sent: CorrectionIn, saved: Correction, author: str, labels: Labels) -> bool:
    """Whether this person has saved just that already.

    Raises:
        UnknownLabel, BadInput: as when it would be saved.
    """
    return saved.author == author and says_the_same(sent, saved, labels)


def _same_boxes(some: Sequence[tuple[str, XYXY]], others: Sequence[tuple[str, XYXY]]) -> bool:
    """Whether the boxes pair off one to one, each with one of its label at the same place."""
    left = list(others)
    for label, xyxy in some:
        partner = next((one for one in left if one[0] == label and _same_place(one[1], xyxy)), None)
        if partner is None:
            return False
        left.remove(partner)
    return not left


def _same_place(one: XYXY, other: XYXY) -> bool:
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) < SAME_PLACE
