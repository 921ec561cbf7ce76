"""Labelled scans as tables for a spreadsheet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

from xray_app.exchange.archive import Gathered
from xray_app.exchange.class_ids import ClassIds
from xray_app.exchange.csv_text import csv_row
from xray_app.exchange.labelled import LabelledScan, Part
from xray_app.taxonomy import Taxonomy

_BOM = "\ufeff"
"""Without it Excel reads UTF-8 as the local code page."""

SCANS = (
    "analysis_id", "scan_id", "filename", "bag_id", "view", "scanner_id", "width", "height", "analysed_at", "risk",
    "action", "source", "part", "author", "labelled_at", "revision", "items", "labelled_classes", "comment",
)  # fmt: skip
BOXES = ("analysis_id", "label", "x0", "y0", "x1", "y1", "confidence")


class Table:
    """CSV: `scans.csv`, a row a scan, and `boxes.csv`, a row a box; no pictures."""

    title: ClassVar[str] = "CSV tables, no pictures"
    about: ClassVar[str] = "CSV: scans.csv, a row a scan, and boxes.csv, a row a box; without pictures."

    def __init__(self, taxonomy: Taxonomy, ids: ClassIds | None = None) -> None:
        self._scans, self._boxes = Gathered(), Gathered()
        self._scans.add(_BOM + csv_row(SCANS))
        self._boxes.add(_BOM + csv_row(BOXES))

    def folder(self, part: Part) -> None:
        return None

    def add(self, scan: LabelledScan, image: str) -> Iterator[tuple[str, Iterable[str]]]:
        analysis, correction = scan.analysis, scan.correction
        facts = analysis.scan
        self._scans.add(
            csv_row(
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
            self._boxes.add(csv_row((analysis.id, box.label, *box.xyxy, box.confidence)))
        return iter(())

    def end(self) -> Iterator[tuple[str, Iterable[str]]]:
        yield "scans.csv", self._scans.pieces()
        yield "boxes.csv", self._boxes.pieces()
