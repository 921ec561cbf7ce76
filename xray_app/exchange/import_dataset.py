"""A labelled data set → accepted corrections: each picture is analysed first, so that there is something to correct."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from pydantic import Field, ValidationError

from xray_app.correction.equality import says_the_same
from xray_app.correction.revision import standing
from xray_app.errors import BadDataset, BadInput, BadScan, Busy, DeskError, ScanTooLarge, Stopped
from xray_app.exchange import read_coco, read_voc, read_yolo
from xray_app.exchange.export import SIDECAR, Progress
from xray_app.exchange.labelled import Dataset, LabelledImage, inside
from xray_app.scan.read import Limits, Scan, read_scan
from xray_app.store import analyses, audit, corrections
from xray_app.store.database import Database
from xray_app.taxonomy import Taxonomy
from xray_app.types import MAX_COUNT, Analysis, Correction, CorrectionIn, ItemCount, Value

MAX_SIDECAR = 512 * 2**20


class Reader(Protocol):
    """Reads a data set of one format."""

    def __call__(self, root: Path, taxonomy: Taxonomy, skip_unknown: bool = False) -> Dataset: ...


READERS: Mapping[str, Reader] = {"yolo": read_yolo.read, "coco": read_coco.read, "voc": read_voc.read}


@dataclass(frozen=True)
class Imported:
    """What became of a data set: corrections added, those that were there already, and what was wrong."""

    format_name: str
    added: int
    already: int
    problems: tuple[str, ...]


class _Line(Value):
    """What `scans.jsonl` says of a picture. It comes from outside, so nothing in it is taken unchecked."""

    model_config = Value.model_config | {"extra": "ignore"}

    image: str = Field(max_length=1000)
    filename: str | None = Field(default=None, max_length=1000)
    bag_id: str | None = None
    view: str | None = None
    scanner_id: str | None = None
    source: str = "correction"
    items: tuple[ItemCount, ...] | None = None
    boxes: dict[str, int] | None = None
    labelled_classes: tuple[str, ...] | None = None
    comment: str | None = Field(default=None, max_length=2000)


def format_of(root: Path) -> str:
    """The format of a folder, by what lies in it.

    Raises:
        BadDataset: none that is read here.
    """
    if (root / "data.yaml").is_file():
        return "yolo"
    if read_coco.annotation_files(root):
        return "coco"
    if next(root.rglob("*.xml"), None) is not None:
        return "voc"
    raise BadDataset(
        "This is no data set that is read here. YOLO has a data.yaml, COCO a JSON file with images, annotations and "
        "categories, Pascal VOC an XML file for each picture."
    )


def import_dataset(
    root: Path,
    db: Database,
    taxonomy: Taxonomy,
    take_in: Callable[[Scan], Analysis],
    limits: Limits,
    author: str,
    *,
    format_name: str | None = None,
    skip_unknown: bool = False,
    progress: Progress | None = None,
) -> Imported:
    """Takes a data set in as accepted corrections. What is wrong is listed by file and line, the rest go on.

    A picture that is here already and labelled alike is left as it is, so a broken-off import is simply repeated.
    One that somebody labelled otherwise is listed and not touched. `scans.jsonl`, where there is one, says bag, view,
    scanner, item counts and what was looked for; without it a bag is a file's stem, items are counted from the boxes,
    and the classes looked for are the data set's.

    Args:
        root: the folder of the data set (`source.opened`).
        db: the store.
        taxonomy: brings labels to canonical names.
        take_in: analyses a scan and stores both.
        limits: bytes and pixels of a picture.
        author: who vouches for the labels.
        format_name: one of `READERS`; found out without it.
        skip_unknown: leave out boxes of labels the taxonomy does not know.
        progress: is kept up to date, and may be told to stop.

    Raises:
        BadDataset, UnknownLabel: the data set as a whole cannot be read.
        Stopped: `progress.stop` was set; what was added stays.
    """
    progress = progress or Progress()
    name = format_name or format_of(root)
    if name not in READERS:
        raise BadInput(f"There is no import of {name!r}; choose one of {', '.join(READERS)}.")
    found = READERS[name](root, taxonomy, skip_unknown)
    progress.problems += [_relative(str(problem), root) for problem in found.problems]
    sidecar = _sidecar(root)
    progress.total = len(found.images)
    counts = Counter[str]()
    taking = _Taken(db, taxonomy, take_in, replace(limits, patient=True), author, progress.stop)
    try:
        for image in found.images:
            if progress.stop.is_set():
                raise Stopped
            try:
                line = sidecar.get(_key(image.image, root)) if sidecar is not None else None
                taken = taking.take(image, line, found.labelled_classes)
                counts[taken] += 1
            except DeskError as error:
                if error.http_status >= 500:  # disk full, models away: the next one would fare no better
                    raise
                progress.problems.append(_relative(f"{image.labels}: {image.image.name}: {error.message}", root))
            progress.done += 1
    finally:
        if counts["added"]:
            audit.add(db, author, "import", {"format": name, "added": counts["added"]})
    return Imported(name, counts["added"], counts["already"], tuple(progress.problems))


@dataclass(frozen=True)
class _Taken:
    db: Database
    taxonomy: Taxonomy
    take_in: Callable[[Scan], Analysis]
    limits: Limits
    author: str
    stop: threading.Event

    def take(self, image: LabelledImage, line: _Line | None, scope: tuple[str, ...] | None) -> str:
        """ "added" or "already"; whatever else is an error."""
        if line is not None and line.source != "correction":
            raise BadInput("is a prediction, which nobody has confirmed. It is not taken in.")
        content = self._bytes(image.image)
        scan = read_scan(
            content,
            (line and line.filename) or image.image.name,
            self.limits,
            bag_id=line.bag_id if line else _bag(image.image),
            view=line.view if line else None,
            scanner_id=line.scanner_id if line else None,
        )
        if (scan.width, scan.height) != (image.width, image.height):
            raise BadScan(
                f"The labels are of a picture of {image.width} x {image.height} pixels; "
                f"this one has {scan.width} x {scan.height}."
            )
        wanted = self._correction(image, line, scope)
        analysis, revisions = self._here(scan)
        if revisions:
            newest = standing(revisions) or revisions[-1]
            if newest.status == "accepted" and says_the_same(wanted, newest, self.taxonomy):
                return "already"
            raise BadInput(
                f"is here already, labelled otherwise by {newest.author} (revision {newest.revision}). "
                "Theirs was left as it is."
            )
        if analysis is None:
            analysis = self._taken_in(scan)
        corrections.add(self.db, analysis.id, wanted, self.author, self.taxonomy, review_required=False)
        return "added"

    def _taken_in(self, scan: Scan) -> Analysis:
        while True:
            try:
                return self.take_in(scan)
            except Busy as error:  # analysts go first
                if self.stop.wait(1):
                    raise Stopped from error

    def _bytes(self, path: Path) -> bytes:
        try:
            if path.stat().st_size > self.limits.max_bytes:
                raise ScanTooLarge(f"larger than {self.limits.max_bytes // 2**20} MB.")
            return path.read_bytes()
        except OSError as error:
            raise BadScan(f"cannot be read: {error.strerror or error}.") from error

    def _correction(self, image: LabelledImage, line: _Line | None, scope: tuple[str, ...] | None) -> CorrectionIn:
        counts = Counter(box.label for box in image.boxes)
        items = [ItemCount(label=label, count=min(count, MAX_COUNT)) for label, count in counts.items()]
        if line is not None:
            scope = line.labelled_classes
            # Its counts hold as long as the boxes are those it was written with.
            if line.items is not None and line.boxes is not None and self._counted(line.boxes) == counts:
                items = list(line.items)
        try:
            return CorrectionIn.model_validate(
                {
                    "items": [item.model_dump() for item in items],
                    "boxes": [{"label": box.label, "xyxy": box.xyxy} for box in image.boxes],
                    "labelled_classes": scope,
                    "comment": line.comment if line else None,
                }
            )
        except ValidationError as error:
            raise BadInput(f"cannot be a correction: {error.errors()[0]['msg']}.") from error

    def _counted(self, boxes: Mapping[str, int]) -> Counter[str]:
        counted: Counter[str] = Counter()
        for label, count in boxes.items():
            item = self.taxonomy.find(label)
            counted[item.name if item else label] += count
        return counted

    def _here(self, scan: Scan) -> tuple[Analysis | None, list[Correction]]:
        """The analysis of this scan of this bag to correct: one that has corrections, or else the newest."""
        here = [one for one in analyses.of_bag(self.db, scan.bag_id) if one.scan.id == scan.sha256]
        revised = [(one, corrections.history(self.db, one.id)) for one in here]
        with_any = [pair for pair in revised if pair[1]]
        if with_any:
            return max(with_any, key=lambda pair: pair[1][-1].created_at)
        return (here[-1], []) if here else (None, [])


def _bag(image: Path) -> str | None:
    """A YOLO picture's bag is its file stem; where that is no name for a bag, the scan's own hash."""
    stem = image.stem
    return stem if len(stem) <= 64 and stem.isprintable() and "\\" not in stem and stem.strip(". ") else None


def _sidecar(root: Path) -> dict[str, _Line] | None:
    """What `scans.jsonl` says, by picture; None where there is none.

    Raises:
        BadDataset: a line of it is wrong.
    """
    path = root / SIDECAR
    if not path.is_file():
        return None
    if inside(path, root).stat().st_size > MAX_SIDECAR:
        raise BadDataset(f"{SIDECAR}: larger than {MAX_SIDECAR // 2**20} MB.")
    lines: dict[str, _Line] = {}
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                line = _Line.model_validate_json(text)
            except ValidationError as error:
                first: Any = error.errors()[0]
                where = ".".join(str(part) for part in first["loc"]) or "line"
                raise BadDataset(f"{SIDECAR}:{number}: {where}: {first['msg']}") from error
            lines[line.image] = line
    return lines


def _key(image: Path, root: Path) -> str:
    return image.relative_to(root).as_posix()


def _relative(text: str, root: Path) -> str:
    return text.replace(f"{root}/", "")
