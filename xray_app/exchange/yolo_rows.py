"""YOLO's label files: a line a box, `class cx cy w h`, or `class x1 y1 x2 y2 x3 y3 …` for an outline; all in shares."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from xray_app.errors import BadDataset
from xray_app.exchange.bounded_text import number, plain_id, read_text
from xray_app.exchange.dataset import MAX_BOXES, PAST_THE_EDGE, InBox, LabelledImage, Problem, Unusable, inside
from xray_app.exchange.label_map import LabelMap
from xray_app.exchange.outline import Outline, hull_box
from xray_app.exchange.pictures import picture_size

MAX_LABEL_FILE = 4 * 2**20


@dataclass(frozen=True)
class Names:
    """What the class numbers of a data set mean.

    Attributes:
        by_index: the set's own labels.
        labels: what these are here.
    """

    by_index: dict[int, str]
    labels: LabelMap

    def scope(self, annotated: Iterable[str] = ()) -> tuple[str, ...] | None:
        """What was looked for, as `labelled_classes`: the set says it labels all of its names."""
        listed = [found for label in self.by_index.values() if (found := self.labels.find(label))]
        return self.labels.scope(annotated, listed)


def names_of(by_index: dict[int, str], labels: LabelMap, where: Path) -> Names:
    """The names of a set.

    Raises:
        UnknownLabel: some are no class.
        BadDataset: none of them is one.
    """
    labels.refuse_unknown(by_index.values(), where)
    if not any(labels.find(label) for label in by_index.values()):
        raise BadDataset(f"{where}: none of its labels is in the taxonomy")
    return Names(by_index, labels)


class _BadLine(ValueError):
    """A label row that cannot be used."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind, self.reason = kind, reason


def labels_of(label_path: Path, names: Names) -> list[str]:
    """The set's labels in a label file, for what is lost with it; a row that cannot be read is "unknown"."""
    try:
        text = read_text(label_path, MAX_LABEL_FILE)
    except BadDataset:
        return []
    rows = [line.split(None, 1)[0] for line in text.splitlines() if line.strip()]
    return [names.by_index.get(_index(row), "unknown") for row in rows]


def read_labels(image: Path, label_path: Path, names: Names, within: Path | None = None) -> LabelledImage:
    """One picture and the boxes of its label file.

    Args:
        image: the picture.
        label_path: its label file; an empty one says that nothing is there.
        names: what the class numbers mean.
        within: the folder outside which nothing is read; None: no matter where.

    Raises:
        Unusable: with everything that is wrong.
    """
    try:
        if within is not None:
            inside(image, within)
            inside(label_path, within)
    except BadDataset as error:
        raise Unusable(Problem(image, "outside the data set", error.message)) from error
    if not label_path.is_file():
        reason = f"its label file {label_path} is missing"
        raise Unusable(Problem(image, "image without label", reason))
    try:
        text = read_text(label_path, MAX_LABEL_FILE)
    except BadDataset as error:
        reason = error.message.removeprefix(f"{label_path}: ")
        raise Unusable(Problem(label_path, "unreadable file", reason)) from error
    lines = [(place, line) for place, line in enumerate(text.splitlines(), 1) if line.strip()]
    if len(lines) > MAX_BOXES:
        reason = f"{len(lines)} boxes; at most {MAX_BOXES} are taken"
        raise Unusable(Problem(label_path, "too many boxes", reason), labels=labels_of(label_path, names))
    lost = [names.by_index.get(_index(line.split(None, 1)[0]), "unknown") for _, line in lines]
    try:
        width, height = picture_size(image)
    except Unusable as error:
        raise Unusable(*error.problems, labels=lost) from error
    boxes: list[InBox] = []
    skipped: list[str] = []
    bad: list[Problem] = []
    seen: set[tuple[str, ...]] = set()
    for place, line in lines:
        try:
            if tuple(line.split()) in seen:
                raise _BadLine("row twice", f"this row is there twice: {line.strip()[:200]!r}")
            seen.add(tuple(line.split()))
            box = _read_line(line, names, width, height)
        except _BadLine as error:
            bad.append(Problem(label_path, error.kind, error.reason, place))
            continue
        if (label := names.labels.find(box.label)) is None:
            skipped.append(box.label)
        else:
            boxes.append(InBox(label, box.xyxy, box.outline))
    if bad:
        raise Unusable(*bad, labels=lost)
    return LabelledImage(image, label_path, width, height, tuple(boxes), skipped=tuple(skipped))


def _index(text: str) -> int:
    """A class number, also as 0.0; -1 where it is none."""
    index = plain_id(text)
    return index if isinstance(index, int) else -1


def _read_line(line: str, names: Names, width: int, height: int) -> InBox:
    """One row, with the set's own label."""
    columns = line.split()
    numbers = [number(column) for column in columns]
    if len(columns) == 6:
        raise _BadLine(
            "not five columns",
            "needs five columns (class, centre x, centre y, width, height), or seven and more for an outline; "
            "has 6, as a prediction with its confidence",
        )
    if len(columns) != 5 and (len(columns) < 7 or len(columns) % 2 == 0):
        raise _BadLine(
            "not five columns", f"needs five columns (class, centre x, centre y, width, height), has {len(columns)}"
        )
    index = _index(columns[0])
    shares = [value for value in numbers[1:] if value is not None]
    shown = line.strip()[:200]
    if index < 0 or len(shares) != len(columns) - 1:
        nan = any(column.lower().lstrip("+-") in ("nan", "inf", "infinity") for column in columns[1:])
        if index < 0 or not nan:
            raise _BadLine("not numbers", f"not numbers: {shown!r}")
        raise _BadLine("coordinates outside 0 to 1", f"coordinates must be between 0 and 1: {shown!r}")
    if index not in names.by_index:
        raise _BadLine("class outside names", f"class {index} is not in `names`")
    read: Callable[..., tuple[float, float, float, float]] = _centred if len(columns) == 5 else _outlined
    x0, y0, x1, y1 = read(shares, shown)
    x0, x1 = max(x0, 0) * width, min(x1, 1) * width
    y0, y1 = max(y0, 0) * height, min(y1, 1) * height
    if not (x0 < x1 and y0 < y1):
        raise _BadLine("box without area", f"the box has no area: {shown!r}")
    if len(columns) == 5:
        return InBox(names.by_index[index], (x0, y0, x1, y1))
    points = [share * (height if place % 2 else width) for place, share in enumerate(shares)]
    return InBox(names.by_index[index], (x0, y0, x1, y1), Outline.of([points]))


def _centred(shares: list[float], shown: str) -> tuple[float, float, float, float]:
    cx, cy, w, h = shares
    if not all(0 <= value <= 1 for value in shares):
        raise _BadLine("coordinates outside 0 to 1", f"coordinates must be between 0 and 1: {shown!r}")
    if max(w / 2 - cx, cx + w / 2 - 1, h / 2 - cy, cy + h / 2 - 1) > PAST_THE_EDGE:
        raise _BadLine("box past the edge", f"the box reaches past the edge of the picture: {shown!r}")
    return cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2


def _outlined(shares: list[float], shown: str) -> tuple[float, float, float, float]:
    """The box around an outline; a turned box is one of four corners."""
    if not all(-PAST_THE_EDGE <= value <= 1 + PAST_THE_EDGE for value in shares):
        raise _BadLine("coordinates outside 0 to 1", f"coordinates must be between 0 and 1: {shown!r}")
    return hull_box(shares)
