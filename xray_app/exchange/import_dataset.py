"""A labelled data set → accepted corrections. Each picture is analysed first, or its labels alone are kept."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import ValidationError

from xray_app.correction.equality import says_the_same
from xray_app.correction.revision import standing
from xray_app.errors import BadInput, BadScan, Busy, DeskError, ScanTooLarge, Stopped
from xray_app.exchange.bag_names import BagNaming, BagView
from xray_app.exchange.box_counts import BoxCounts
from xray_app.exchange.dataset import MAX_PROBLEMS, Dataset, LabelledImage
from xray_app.exchange.export import Progress
from xray_app.exchange.sidecar import SidecarLine, read_sidecar
from xray_app.scan.read import Limits, Scan, read_scan
from xray_app.store import analyses, audit, corrections
from xray_app.store.database import Database
from xray_app.taxonomy import Taxonomy
from xray_app.types import MAX_COUNT, MAX_OUTLINE, Analysis, Correction, CorrectionIn, ItemCount


@dataclass(frozen=True)
class Imported:
    """What became of a data set: corrections added, those that were there already, what was wrong, and its boxes."""

    format_name: str
    added: int
    already: int
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()
    boxes: BoxCounts = field(default_factory=BoxCounts, compare=False)

    @property
    def whole(self) -> bool:
        """Whether nothing was left out."""
        return not self.problems and not self.boxes.lost


def import_dataset(
    found: Dataset,
    root: Path,
    db: Database,
    taxonomy: Taxonomy,
    take_in: Callable[[Scan], Analysis],
    limits: Limits,
    author: str,
    *,
    naming: BagNaming | None = None,
    progress: Progress | None = None,
) -> Imported:
    """Takes a data set in as accepted corrections. What is wrong is listed by file and line, the rest go on.

    A picture that is here already and labelled alike is left as it is, so a broken-off import is simply repeated.
    One that somebody labelled otherwise is listed and not touched. `scans.jsonl`, where there is one, says bag, view,
    scanner, item counts and what was looked for; without it `naming` says the bag, items are counted from the boxes,
    and the classes looked for are the data set's.

    Args:
        found: what `read_dataset` found.
        root: the folder it was found in.
        db: the store.
        taxonomy: brings labels to canonical names.
        take_in: analyses a scan and stores both, or stores it for its labels alone.
        limits: bytes and pixels of a picture.
        author: who vouches for the labels.
        naming: of the bags; None: folder and file name, less what tools put behind a copy's.
        progress: is kept up to date, and may be told to stop.

    Raises:
        BadDataset: `scans.jsonl` cannot be read.
        BadInput: the pattern of `naming` does not fit the pictures' paths.
        Stopped: `progress.stop` was set; what was added stays.
    """
    progress = progress or Progress()
    problems = _Problems(root, progress.problems)
    for problem in found.problems:
        problems.add(problem)
    boxes = BoxCounts(left_out=found.left_out.copy())
    sidecar = read_sidecar(root)
    bags = (naming or BagNaming()).of(_key(image.image, root) for image in found.images)
    progress.total = len(found.images)
    counts = Counter[str]()
    taking = _Taken(db, taxonomy, take_in, replace(limits, patient=True), author, progress.stop)
    try:
        for image in found.images:
            if progress.stop.is_set():
                raise Stopped
            labels = [box.label for box in image.boxes]
            try:
                key = _key(image.image, root)
                line = sidecar.get(key) if sidecar is not None else None
                taken = taking.take(image, line, bags[key])
                counts[taken] += 1
                (boxes.taken if taken == "added" else boxes.here).update(labels)
            except DeskError as error:
                if error.http_status >= 500:  # disk full, models away: the next one would fare no better
                    raise
                problems.add(f"{image.labels}: {image.image.name}: {error.message}")
                boxes.lose(labels, error.code.replace("_", " "))
            progress.done += 1
    finally:
        problems.end()
        if counts["added"]:
            audit.add(db, author, "import", {"format": found.format_name, "added": counts["added"]})
    notes = tuple(_relative(note, root) for note in found.notes)
    if fine := sum(len(box.polygon) > 2 * MAX_OUTLINE for image in found.images for box in image.boxes):
        notes += (f"the outlines of {fine:,} boxes, of more than {MAX_OUTLINE:,} points each; their boxes are taken",)
    return Imported(found.format_name, counts["added"], counts["already"], tuple(progress.problems), notes, boxes)


class _Problems:
    """The first thousand problems, relative to the data set; the others are counted."""

    def __init__(self, root: Path, into: list[str]) -> None:
        self._root, self._into, self._count = root, into, 0

    def add(self, problem: str) -> None:
        self._count += 1
        if self._count <= MAX_PROBLEMS:
            self._into.append(_relative(problem, self._root))

    def end(self) -> None:
        if self._count > MAX_PROBLEMS:
            self._into.append(f"… and {self._count - MAX_PROBLEMS:,} more problems")


@dataclass(frozen=True)
class _Taken:
    db: Database
    taxonomy: Taxonomy
    take_in: Callable[[Scan], Analysis]
    limits: Limits
    author: str
    stop: threading.Event

    def take(self, image: LabelledImage, line: SidecarLine | None, bag: BagView) -> str:
        """ "added" or "already"; whatever else is an error."""
        if line is not None and line.source != "correction":
            raise BadInput("is a prediction, which nobody has confirmed. It is not taken in.")
        content = self._bytes(image.image)
        scan = read_scan(
            content,
            (line and line.filename) or image.image.name,
            self.limits,
            bag_id=line.bag_id if line else bag.bag_id,
            view=line.view if line else bag.view,
            scanner_id=line.scanner_id if line else None,
        )
        if (scan.width, scan.height) != (image.width, image.height):
            raise BadScan(
                f"The labels are of a picture of {image.width} x {image.height} pixels; "
                f"this one has {scan.width} x {scan.height}."
            )
        wanted = self._correction(image, line)
        analysis, revisions = self._here(scan, by_hash=line is None)
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

    def _correction(self, image: LabelledImage, line: SidecarLine | None) -> CorrectionIn:
        scope = image.labelled_classes
        counts = Counter(box.label for box in image.boxes)
        items = [ItemCount(label=label, count=min(count, MAX_COUNT)) for label, count in counts.items()]
        if line is not None:
            scope = line.labelled_classes
            # Its counts hold as long as the boxes are those it was written with.
            if line.items is not None and line.boxes is not None and self._counted(line.boxes) == counts:
                items = list(line.items)
        if scope == ():
            raise BadInput(
                "has no box, and nobody said what was looked for in this data set (--looked-for LABELS, or all). "
                "It is not taken for a clear bag."
            )
        try:
            return CorrectionIn.model_validate(
                {
                    "items": [item.model_dump() for item in items],
                    "boxes": [
                        {"label": box.label, "xyxy": box.xyxy, "polygon": _kept(box.polygon)} for box in image.boxes
                    ],
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

    def _here(self, scan: Scan, by_hash: bool) -> tuple[Analysis | None, list[Correction]]:
        """The analysis of this scan to correct: one that has corrections, or else the newest.

        Of this bag first; a picture that is here under another bag's name is the same one, unless the data set says
        which bag it means.
        """
        here = [one for one in analyses.of_bag(self.db, scan.bag_id) if one.scan.id == scan.sha256]
        if not here and by_hash:
            here = analyses.of_scan(self.db, scan.sha256)
        revised = [(one, corrections.history(self.db, one.id)) for one in here]
        with_any = [pair for pair in revised if pair[1]]
        if with_any:
            return max(with_any, key=lambda pair: pair[1][-1].created_at)
        return (here[-1], []) if here else (None, [])


def _kept(polygon: tuple[float, ...]) -> tuple[float, ...]:
    """The outline as it is kept; a finer one is said among the notes, and a line or a point is none."""
    return polygon if 6 <= len(polygon) <= 2 * MAX_OUTLINE else ()


def _key(image: Path, root: Path) -> str:
    return image.relative_to(root).as_posix()


def _relative(text: str, root: Path) -> str:
    return text.replace(f"{root}/", "")
