"""Two people's changes of the same revision, put together: what only one of them touched is theirs.

Nothing is overwritten by it: what comes out is a proposal that the second person looks at and saves as the
next revision.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from xray_app.correction.agreement import SAME_OBJECT
from xray_app.correction.revision import same_box
from xray_app.overlap import iou
from xray_app.types import MAX_COUNT, Box, Item


@dataclass(frozen=True)
class Version:
    """Items and boxes as somebody, or the prediction, has them. `looked_for` None: all classes."""

    items: tuple[Item, ...]
    boxes: tuple[Box, ...]
    looked_for: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Merged:
    """The proposal. Counts are by label, in no order; each clash is a sentence for the person who merges."""

    counts: dict[str, int]
    boxes: tuple[Box, ...]
    clashes: tuple[str, ...]


def merge(base: Version, mine: Version, theirs: Version) -> Merged:
    """Both changes of `base`. Where both changed the same thing differently, nothing seen is lost and it is said.

    Of such a box mine is kept, or theirs where I deleted it; of such a count the higher. A class that somebody
    did not look for counts as untouched by them. A box both drew at the same place is one box.
    """
    clashes: list[str] = []
    boxes = _boxes(base, mine, theirs, clashes)
    return Merged(_counts(base, mine, theirs, boxes, clashes), boxes, tuple(clashes))


def _boxes(base: Version, mine: Version, theirs: Version, clashes: list[str]) -> tuple[Box, ...]:
    before = {box.id: box for box in base.boxes}
    ours, others = _within_scope(mine, before), _within_scope(theirs, before)
    found: list[Box] = []
    for id in dict.fromkeys([*before, *others, *ours]):
        old, my, their = before.get(id), ours.get(id), others.get(id)
        if old is None:
            drawn = my or their
            if drawn is not None and not (my and _also_drawn(my, others.values(), before)):
                found.append(drawn)
        elif _unchanged(old, my):
            found += [their] if their else []
        elif _unchanged(old, their) or (my and their and same_box(my, their)) or my is their is None:
            found += [my] if my else []
        else:
            found.append(my or their or old)
            clashes.append(_clash(old, my, their))
    return tuple(found)


def _within_scope(version: Version, before: dict[str, Box]) -> dict[str, Box]:
    boxes = {box.id: box for box in version.boxes}
    if version.looked_for is not None:
        boxes |= {id: box for id, box in before.items() if id not in boxes and box.label not in version.looked_for}
    return boxes


def _unchanged(old: Box, now: Box | None) -> bool:
    return now is not None and same_box(old, now)


def _also_drawn(box: Box, others: Iterable[Box], before: dict[str, Box]) -> bool:
    alike = [other.xyxy for other in others if other.id not in before and other.label == box.label]
    return bool((iou(box.xyxy, alike) >= SAME_OBJECT).any())


def _clash(old: Box, mine: Box | None, theirs: Box | None) -> str:
    if mine is None:
        return f"You deleted a box of {old.label} that they changed: it is shown as they have it."
    if theirs is None:
        return f"They deleted a box of {old.label} that you changed: it is shown as you have it."
    if mine.label != theirs.label:
        return f"A box is {mine.label} to you and {theirs.label} to them: yours is shown."
    return f"Both of you moved the box of {old.label}: yours is shown."


def _counts(
    base: Version, mine: Version, theirs: Version, boxes: tuple[Box, ...], clashes: list[str]
) -> dict[str, int]:
    before, ours, others = (_listed(version) for version in (base, mine, theirs))
    drawn_before, drawn_mine, drawn_theirs, drawn = (
        Counter(box.label for box in of) for of in (base.boxes, mine.boxes, theirs.boxes, boxes)
    )
    counts: dict[str, int] = {}
    for label in dict.fromkeys([*before, *ours, *others, *drawn]):
        old = before[label]
        # What somebody did not look for, they did not change.
        my = ours[label] if _looked(mine, label) or label in ours else old
        their = others[label] if _looked(theirs, label) or label in others else old
        my_boxes = drawn_mine[label] if _looked(mine, label) else drawn_before[label]
        their_boxes = drawn_theirs[label] if _looked(theirs, label) else drawn_before[label]
        if my == my_boxes and their == their_boxes:
            count = drawn[label]  # both counted what is drawn, so the merged count does too
        elif my in (old, their):
            count = their
        elif their == old:
            count = my
        else:
            count = max(my, their)
            clashes.append(f"You count {my} of {label}, they count {their}: the higher is shown.")
        if count:
            counts[label] = min(count, MAX_COUNT)
    return counts


def _listed(version: Version) -> Counter[str]:
    return Counter({item.label: item.count for item in version.items})


def _looked(version: Version, label: str) -> bool:
    return version.looked_for is None or label in version.looked_for
