"""A labelled scan as it leaves the desk, whatever the format."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Literal

from xray_app import report
from xray_app.taxonomy import Taxonomy
from xray_app.types import MAX_COUNT, XYXY, Analysis, Correction

Part = Literal["train", "val", "predictions"]
PARTS: tuple[Part, ...] = ("train", "val", "predictions")
_PLAIN = re.compile(r"[^A-Za-z0-9]+")


@dataclass(frozen=True)
class OutBox:
    """`xyxy` in pixels of the upright picture; `confidence` where a model said it; `rings`: the outline's parts."""

    label: str
    xyxy: XYXY
    confidence: float | None = None
    rings: tuple[tuple[float, ...], ...] = ()


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
            OutBox(
                taxonomy.resolve(box.label).name,
                box.xyxy,
                box.confidence if box.source != "human" else None,
                box.rings,
            )
            for box in source.boxes
        ),
        labelled_classes=scope,
        author=by,
        labelled_at=source.created_at,
    )
