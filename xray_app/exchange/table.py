"""Labelled scans as tables for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar

from xray_app.exchange.archive import Gathered
from xray_app.exchange.class_ids import ClassIds
from xray_app.exchange.labelled import LabelledScan, Part
from xray_app.taxonomy import Taxonomy

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a spreadsheet takes for the start of a formula; the wide ones by some."""
_BOM = "\ufeff"
"""Without it Excel reads UTF-8 as the local code page."""

SCANS = (
    "analysis_id", "scan_id", "filename", "bag_id", "view", "scanner_id", "width", "height", "analysed_at", "risk",
    "action", "source", "part", "author", "labelled_at", "revision", "items", "labelled_classes", "comment",
)  # fmt: skip
BOXES = ("analysis_id", "label", "x0", "y0", "x1", "y1", "confidence")


class Table:
    """CSV: `scans.csv`, a row a scan, and `boxes.csv`, a row a box; no pictures."""

    about: ClassVar[str] = "CSV: scans.csv, a row a scan, and boxes.csv, a row a box; without pictures."

    def __init__(self, taxonomy: Taxonomy, ids: ClassIds | None = None) -> None:
        self._scans, self._boxes = Gathered(), Gathered()
        self._scans.add(_BOM + row(SCANS))
        self._boxes.add(_BOM + row(BOXES))

    def folder(self, part: Part) -> None:
        return None

    def add(self, scan: LabelledScan, image: str) -> Iterator[tuple[str, Iterable[str]]]:
        analysis, correction = scan.analysis, scan.correction
        facts = analysis.scan
        self._scans.add(
            row(
                (
                    analysis.id, facts.id, facts.filename, facts.bag_id, facts.view, facts.scanner_id,
                    facts.width, facts.height, analysis.created_at.isoformat(), analysis.risk.level,
                    analysis.risk.action, "prediction" if correction is None else "correction", scan.part,
                    scan.author, scan.labelled_at.isoformat(), None if correction is None else correction.revision,
                    "; ".join(f"{count} {label}" for label, count in scan.counts.items()),
                    "all" if scan.labelled_classes is None else "; ".join(scan.labelled_classes),
                    None if correction is None else correction.comment,
                )
            )
        )  # fmt: skip
        for box in scan.boxes:
            self._boxes.add(row((analysis.id, box.label, *box.xyxy, box.confidence)))
        return iter(())

    def end(self) -> Iterator[tuple[str, Iterable[str]]]:
        yield "scans.csv", self._scans.pieces()
        yield "boxes.csv", self._boxes.pieces()


def row(values: Sequence[str | float | None]) -> str:
    """One line of CSV; a text that a spreadsheet would take for a formula begins with an apostrophe."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow([_harmless(value) for value in values])
    return out.getvalue()


def _harmless(value: str | float | None) -> str | float | None:
    if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA):
        return "'" + value
    return value
