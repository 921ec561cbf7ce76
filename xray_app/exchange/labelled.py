"""A labelled scan as it leaves the desk or comes to it, whatever the format."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Literal

from xray_app import report
from xray_app.errors import BadDataset
from xray_app.taxonomy import Taxonomy
from xray_app.types import MAX_COUNT, XYXY, Analysis, Correction

Part = Literal["train", "val", "predictions"]
PARTS: tuple[Part, ...] = ("train", "val", "predictions")
_PLAIN = re.compile(r"[^A-Za-z0-9]+")
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


@dataclass(frozen=True)
class OutBox:
    """`xyxy` in pixels of the upright picture; `confidence` where a model said it."""

    label: str
    xyxy: XYXY
    confidence: float | None = None


@dataclass(frozen=True)
class LabelledScan:
    """One scan on its way out.

    Attributes:
        analysis: what it was analysed as.
        correction: the newest accepted correction; None: this is a prediction.
        part: "train", "val" (the hold-out, which must not be trained on) or "predictions".
        counts: items by canonical label.
        boxes: canonical labels.
        labelled_classes: what was looked for; None: all.
        author: who corrected it, or who had it analysed.
        labelled_at: when.
    """

    analysis: Analysis
    correction: Correction | None
    part: Part
    counts: Mapping[str, int]
    boxes: tuple[OutBox, ...]
    labelled_classes: tuple[str, ...] | None
    author: str
    labelled_at: datetime

    @property
    def stem(self) -> str:
        """A file name without its ending: readable, plain ASCII, one of its kind."""
        plain = _PLAIN.sub("-", PurePosixPath(self.analysis.scan.filename).stem).strip("-")[:40]
        return f"{plain or 'scan'}-{self.analysis.id[:16]}"

    def response(self, taxonomy: Taxonomy) -> str:
        """The wanted answer, of what was looked for alone."""
        scope = self.labelled_classes
        seen = {label: count for label, count in self.counts.items() if scope is None or label in scope}
        return report.format_report(seen, taxonomy)

    def in_scope(self) -> tuple[OutBox, ...]:
        """The boxes of what was looked for."""
        scope = self.labelled_classes
        return tuple(box for box in self.boxes if scope is None or box.label in scope)


def labelled(
    analysis: Analysis, correction: Correction | None, by: str, taxonomy: Taxonomy, held_out: Container[str] = ()
) -> LabelledScan:
    """What is known of a scan by now, in today's canonical labels.

    Args:
        analysis: of the scan.
        correction: the newest accepted one, if there is one.
        by: who corrected it, or who had it analysed.
        taxonomy: names the labels.
        held_out: ids of scans that are kept for testing in whatever bag they lie.

    Raises:
        UnknownLabel: a label of old that the taxonomy no longer has.
    """
    source = analysis if correction is None else correction
    predicted = [(item.label, item.count) for item in analysis.report.items]
    counts: Counter[str] = Counter()
    for label, count in predicted if correction is None else correction.counts.items():
        name = taxonomy.resolve(label).name
        counts[name] = min(counts[name] + count, MAX_COUNT)
    scope = None
    if correction is not None and correction.labelled_classes is not None:
        scope = taxonomy.scope(correction.labelled_classes)
    part: Part = "predictions"
    if correction is not None:
        part = "val" if correction.split == "holdout" or analysis.scan.id in held_out else "train"
    return LabelledScan(
        analysis=analysis,
        correction=correction,
        part=part,
        counts=dict(counts),
        boxes=tuple(
            OutBox(taxonomy.resolve(box.label).name, box.xyxy, box.confidence if box.source == "model" else None)
            for box in source.boxes
        ),
        labelled_classes=scope,
        author=by,
        labelled_at=source.created_at,
    )


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
    """A picture that cannot be used, and everything that is wrong with it."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self.problems = problems


@dataclass(frozen=True)
class InBox:
    """A box as a data set has it: canonical label, pixels of the upright picture."""

    label: str
    xyxy: XYXY


@dataclass(frozen=True)
class LabelledImage:
    """One picture of a data set on its way in.

    Attributes:
        image: its file.
        labels: the file that labels it.
        width: of the upright picture, pixels, as the labels say or as measured.
        height: likewise.
        boxes: canonical labels.
    """

    image: Path
    labels: Path
    width: int
    height: int
    boxes: tuple[InBox, ...]


@dataclass(frozen=True)
class Dataset:
    """What a reader found.

    Attributes:
        images: the usable pictures, in order.
        labelled_classes: canonical names the data set says it labels; None: all that are drawn.
        problems: what is wrong with the others.
    """

    images: tuple[LabelledImage, ...]
    labelled_classes: tuple[str, ...] | None
    problems: tuple[Problem, ...]


def inside(path: Path, root: Path) -> Path:
    """The path, which must lie below `root` once links are followed.

    Raises:
        BadDataset: it does not.
    """
    if not path.resolve().is_relative_to(root.resolve()):
        raise BadDataset(f"{path}: lies outside the data set; only files within it are read.")
    return path


PAST_THE_EDGE = 0.005
"""How far a box may reach past the picture, as a share of its side: exporters round. It is clipped then."""


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
