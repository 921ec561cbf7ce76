"""A labelled data set → accepted corrections. Each picture is analysed first, or its labels alone are kept."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from xray_app.correction.equality import says_the_same
from xray_app.correction.revision import standing
from xray_app.errors import BadInput, Busy, DeskError, Stopped
from xray_app.exchange.bag_names import BagNaming
from xray_app.exchange.box_counts import BoxCounts
from xray_app.exchange.dataset import MAX_PROBLEMS, Dataset
from xray_app.exchange.export import Progress
from xray_app.exchange.incoming import Incoming, ReadPicture, UnusablePicture, incoming
from xray_app.scan.read import Limits, Scan
from xray_app.store import analyses, audit, corrections
from xray_app.store.database import Database
from xray_app.taxonomy import Taxonomy
from xray_app.types import Analysis, Correction


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
    """Takes a data set in that is read in this process; arguments and errors are those of `incoming` and `store`."""
    coming = incoming(found, root, taxonomy, replace(limits, patient=True), naming)
    return store(coming, db, taxonomy, take_in, author, progress)


def store(
    coming: Incoming,
    db: Database,
    taxonomy: Taxonomy,
    take_in: Callable[[Scan], Analysis],
    author: str,
    progress: Progress | None = None,
) -> Imported:
    """Takes a data set in as accepted corrections. What is wrong is listed by file and line, the rest go on.

    A picture that is here already and labelled alike is left as it is, so a broken-off import is simply repeated.
    One that somebody labelled otherwise is listed and not touched. `scans.jsonl`, where there is one, says bag, view,
    scanner, item counts and what was looked for; without it items are counted from the boxes, and the classes looked
    for are the data set's.

    Args:
        coming: the data set.
        db: the store.
        taxonomy: brings labels to canonical names.
        take_in: analyses a scan and stores both, or stores it for its labels alone.
        author: who vouches for the labels.
        progress: is kept up to date, and may be told to stop.

    Raises:
        Stopped: `progress.stop` was set; what was added stays.
        DeskError: the set cannot be read on, or nothing can be stored; what was added stays.
    """
    progress = progress or Progress()
    problems = _Problems(progress.problems)
    for problem in coming.problems:
        problems.add(problem)
    boxes = BoxCounts(left_out=coming.left_out.copy())
    progress.total = coming.total
    counts = Counter[str]()
    storing = _Storing(db, taxonomy, take_in, author, progress.stop)
    try:
        for picture in coming.pictures:
            if progress.stop.is_set():
                raise Stopped
            if isinstance(picture, UnusablePicture):
                problems.add(picture.problem)
                boxes.lose(picture.labels, picture.why)
            else:
                labels = [box.label for box in picture.wanted.boxes]
                try:
                    kept = storing.store(picture)
                    counts[kept] += 1
                    (boxes.taken if kept == "added" else boxes.here).update(labels)
                except DeskError as error:
                    if error.http_status >= 500:  # disk full, models away: the next one would fare no better
                        raise
                    problems.add(f"{picture.where}: {error.message}")
                    boxes.lose(labels, error.code.replace("_", " "))
            progress.done += 1
            del picture  # its pixels, before those of the next are decoded
    finally:
        problems.end()
        if counts["added"]:
            audit.add(db, author, "import", {"format": coming.format_name, "added": counts["added"]})
    return Imported(
        coming.format_name, counts["added"], counts["already"], tuple(progress.problems), coming.notes, boxes
    )


class _Problems:
    """The first thousand problems; the others are counted."""

    def __init__(self, into: list[str]) -> None:
        self._into, self._count = into, 0

    def add(self, problem: str) -> None:
        self._count += 1
        if self._count <= MAX_PROBLEMS:
            self._into.append(problem)

    def end(self) -> None:
        if self._count > MAX_PROBLEMS:
            self._into.append(f"… and {self._count - MAX_PROBLEMS:,} more problems")


@dataclass(frozen=True)
class _Storing:
    db: Database
    taxonomy: Taxonomy
    take_in: Callable[[Scan], Analysis]
    author: str
    stop: threading.Event

    def store(self, picture: ReadPicture) -> str:
        """ "added" or "already"; whatever else is an error."""
        analysis, revisions = self._here(picture.scan, by_hash=not picture.bag_said)
        if revisions:
            newest = standing(revisions) or revisions[-1]
            if newest.status == "accepted" and says_the_same(picture.wanted, newest, self.taxonomy):
                return "already"
            raise BadInput(
                f"is here already, labelled otherwise by {newest.author} (revision {newest.revision}). "
                "Theirs was left as it is."
            )
        if analysis is None:
            analysis = self._taken_in(picture.scan)
        corrections.add(self.db, analysis.id, picture.wanted, self.author, self.taxonomy, review_required=False)
        return "added"

    def _taken_in(self, scan: Scan) -> Analysis:
        while True:
            try:
                return self.take_in(scan)
            except Busy as error:  # analysts go first
                if self.stop.wait(1):
                    raise Stopped from error

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
