"""A labelled data set on its way in, whatever its format: the usable pictures, and what is wrong with the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from xray_app.errors import BadDataset
from xray_app.exchange.label_map import LabelMap
from xray_app.exchange.outline import NO_OUTLINE, Outline
from xray_app.types import XYXY

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
MAX_PROBLEMS = 1_000
"""Of a set with a million faults this many are shown by name; all are counted."""
OTHER_LABELS = "other labels"
"""What boxes count under that are left out, once so many labels are told apart."""
MAX_BOXES = 500
"""Boxes of one picture: a correction holds no more."""
PAST_THE_EDGE = 0.005
"""How far a box may reach past the picture, as a share of its side: exporters round. It is clipped then."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a data set: in which file, the kind of it, what exactly, and in which line."""

    file: Path
    kind: str
    reason: str
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}" if self.line is None else f"{self.file}:{self.line}: {self.reason}"


class Unusable(Exception):
    """A picture that cannot be used.

    Attributes:
        problems: everything that is wrong with it.
        labels: the set's labels of the boxes that are lost with it, as far as they can be known.
        image: the picture, where it was found: what else labels it says no more than a part.
    """

    def __init__(self, *problems: Problem, labels: Iterable[str] = (), image: Path | None = None) -> None:
        super().__init__(*problems)
        self.problems = problems
        self.labels = tuple(labels)
        self.image = image


class Problems:
    """The first thousand problems of a data set, and how many there are in all."""

    def __init__(self) -> None:
        self._kept: list[Problem] = []
        self.kinds: Counter[str] = Counter()
        self.files: set[Path] = set()

    def add(self, *problems: Problem) -> None:
        """Notes problems; those past the thousandth are counted alone."""
        for problem in problems:
            self.kinds[problem.kind] += 1
            self.files.add(problem.file)
            if len(self._kept) < MAX_PROBLEMS:
                self._kept.append(problem)

    def __len__(self) -> int:
        return self.kinds.total()

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._kept)

    def texts(self) -> list[str]:
        """A line a problem, and one for those that are only counted."""
        more = len(self) - len(self._kept)
        return [*map(str, self._kept), *([f"… and {more:,} more problems"] if more else [])]


@dataclass(frozen=True)
class InBox:
    """A box as a data set has it.

    Attributes:
        label: canonical.
        xyxy: pixels of the upright picture.
        outline: where the set has one.
    """

    label: str
    xyxy: XYXY
    outline: Outline = NO_OUTLINE


@dataclass(frozen=True)
class LabelledImage:
    """One picture of a data set on its way in.

    Attributes:
        image: its file.
        labels: the file that labels it.
        width: of the upright picture, pixels, as the labels say or as measured.
        height: likewise.
        boxes: canonical labels.
        labelled_classes: canonical names that were looked for; None: all that are drawn; (): nobody can tell.
        skipped: the set's labels of boxes that are left out on purpose: unknown ones, and those to be ignored.
    """

    image: Path
    labels: Path
    width: int
    height: int
    boxes: tuple[InBox, ...]
    labelled_classes: tuple[str, ...] | None = ()
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """What a reader found.

    Attributes:
        images: the usable pictures, in order.
        problems: what is wrong with the others, a line each, at most `MAX_PROBLEMS` of them.
        notes: what was passed over without any label being lost, such as a file of captions.
        left_out: boxes left out, by the class or the set's own label, and why.
        format_name: of `READERS`.
    """

    images: tuple[LabelledImage, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()
    left_out: Counter[tuple[str, str]] = field(default_factory=Counter)
    format_name: str = ""


class Findings:
    """What a reader has gathered so far: it may take a picture or leave it out, but not lose it."""

    def __init__(self, labels: LabelMap) -> None:
        self._labels = labels
        self._images: list[LabelledImage] = []
        self._notes: list[str] = []
        self._left_out: Counter[tuple[str, str]] = Counter()
        self._unusable: set[Path] = set()
        self.problems = Problems()

    def take(self, image: LabelledImage) -> None:
        """A usable picture; the boxes it skips are counted."""
        self._images.append(image)
        for label in image.skipped:
            self._count(shown(label), self._labels.why_not(label))

    def leave_out(self, error: Unusable) -> None:
        """A picture that is not taken, and the boxes that go with it."""
        self.problems.add(*error.problems)
        if error.image is not None:
            self._unusable.add(error.image)
        self.lose(error.labels, error.problems[0].kind)

    def lose(self, labels: Iterable[str], why: str) -> None:
        """Boxes of these labels are left out."""
        for label in labels:
            self._count(self._labels.find(label) or shown(label), why)

    def _count(self, label: str, why: str) -> None:
        key = (label, why)
        if key not in self._left_out and len(self._left_out) >= MAX_PROBLEMS:
            key = (OTHER_LABELS, why)
        self._left_out[key] += 1

    def note(self, text: str) -> None:
        """Something was passed over that costs no label."""
        if len(self._notes) < MAX_PROBLEMS:
            self._notes.append(text)

    def classes(self) -> set[str]:
        """The canonical names that have a box in a picture taken so far."""
        return {box.label for image in self._images for box in image.boxes}

    def dataset(self, scope: tuple[str, ...] | None = ()) -> Dataset:
        """All of it. A picture that two files label differently is left out: neither may be the whole truth.

        Args:
            scope: what was looked for in every picture that does not say so itself.
        """
        by_path: dict[Path, list[LabelledImage]] = {}
        for one in self._images:
            by_path.setdefault(one.image, []).append(one)
        images = []
        for image, claims in by_path.items():
            lost_claims = int(image in self._unusable)
            if len({(one.boxes, one.labelled_classes, one.skipped) for one in claims}) + lost_claims > 1:
                others = ", ".join(dict.fromkeys(one.labels.name for one in claims))
                reason = f"{image.name} is labelled {len(claims) + lost_claims} times, and differently ({others})"
                lost = [label for one in claims for label in (*(box.label for box in one.boxes), *one.skipped)]
                self.leave_out(Unusable(Problem(claims[0].labels, "labelled twice", reason), labels=lost))
                continue
            if len(claims) > 1:
                self.note(f"{claims[1].labels}: labels {image.name} a second time, alike")
            first = claims[0]
            images.append(replace(first, labelled_classes=scope) if first.labelled_classes == () else first)
        return Dataset(tuple(images), tuple(self.problems.texts()), tuple(self._notes), self._left_out)


def shown(label: str) -> str:
    """A label of a data set as it is shown: not longer than a line."""
    return label if len(label) <= 60 else label[:57] + "..."


def inside(path: Path, root: Path) -> Path:
    """The path, which must lie below `root` once links are followed.

    Raises:
        BadDataset: it does not.
    """
    if not path.resolve().is_relative_to(root.resolve()):
        raise BadDataset(f"{path}: lies outside the data set; only files within it are read.")
    return path


def clipped(xyxy: XYXY, width: int, height: int) -> XYXY:
    """The box within the picture.

    Raises:
        ValueError: it has no area, or reaches further past the edge than rounding explains.
    """
    x0, y0, x1, y1 = xyxy
    past_x, past_y = max(1.0, PAST_THE_EDGE * width), max(1.0, PAST_THE_EDGE * height)
    # Written so that a NaN fails too.
    if not (-past_x <= x0 and x1 <= width + past_x and -past_y <= y0 and y1 <= height + past_y):
        raise ValueError(f"the box reaches past the edge of the picture of {width} x {height} pixels")
    x0, y0, x1, y1 = max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
    if not (x0 < x1 and y0 < y1):
        raise ValueError("the box has no area")
    return (x0, y0, x1, y1)
