"""What is known of the scans, as one ZIP in somebody else's format."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from xray_app.atomic_write import atomic_write
from xray_app.errors import BadInput, BadScan, DeskError, NotFound, Stopped, StorageFailed
from xray_app.exchange.archive import Gathered, ZipStream
from xray_app.exchange.class_ids import class_ids
from xray_app.exchange.formats import FORMATS, IMPORTED
from xray_app.exchange.labelled import LabelledScan, labelled
from xray_app.exchange.sidecar import SIDECAR
from xray_app.scan.read import Limits, browser_picture
from xray_app.store import class_ids as stored_class_ids
from xray_app.store import scans
from xray_app.store.database import Database
from xray_app.store.standing import Standing, documents, held_out_scans, of_scans
from xray_app.taxonomy import Taxonomy
from xray_app.types import Level

ENDINGS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
LEFT_OUT = "left-out.txt"


@dataclass(frozen=True)
class Filter:
    """Which scans are exported.

    Attributes:
        since, until: days on which they were analysed, both included, in this machine's time zone.
        label: a class or alias that is among the items or boxes.
        risk: the level the desk gave.
        analyst: who corrected it; of a prediction, who had it analysed.
        corrected: leave predictions out.
    """

    since: date | None = None
    until: date | None = None
    label: str | None = None
    risk: Level | None = None
    analyst: str | None = None
    corrected: bool = True

    def __str__(self) -> str:
        said = [f"{name} {value}" for name, value in asdict(self).items() if name != "corrected" and value]
        said.append("corrections alone" if self.corrected else "corrections, and predictions where there is none")
        return ", ".join(said)


@dataclass
class Progress:
    """How far a long task is; written by the thread that does it, read by any other."""

    total: int = 0
    done: int = 0
    written: int = 0
    problems: list[str] = field(default_factory=list)
    ended: bool = False
    failed: str | None = None
    stop: threading.Event = field(default_factory=threading.Event)


def select_scans(db: Database, chosen: Filter) -> list[Standing]:
    """The scans a filter takes, oldest first; by label they are looked through while they are exported.

    Raises:
        BadInput: the days are the wrong way round.
    """
    if chosen.since and chosen.until and chosen.since > chosen.until:
        raise BadInput(f"The days are the wrong way round: from {chosen.since} until {chosen.until}.")
    since = _midnight(chosen.since) if chosen.since else None
    until = _midnight(chosen.until + timedelta(days=1)) if chosen.until and chosen.until < date.max else None
    return [
        one
        for one in of_scans(db)
        if (one.correction_id is not None or not chosen.corrected)
        and (since is None or one.at >= since)
        and (until is None or one.at < until)
        and (chosen.risk is None or one.level == chosen.risk)
        and (chosen.analyst is None or one.by == chosen.analyst)
    ]


def _midnight(day: date) -> datetime:
    try:
        return datetime.combine(day, time.min).astimezone(UTC)
    except (OverflowError, OSError, ValueError) as error:
        raise BadInput(f"{day} is no day this desk has seen.") from error


def export_zip(
    db: Database,
    taxonomy: Taxonomy,
    limits: Limits,
    format_name: str,
    chosen: Filter,
    progress: Progress | None = None,
) -> Iterator[bytes]:
    """The ZIP, piece by piece. A scan whose file is gone is left out and named in `left-out.txt`.

    Everything that can be refused is refused before the first piece.

    Args:
        db: the store.
        taxonomy: brings labels of old to today's names.
        limits: of pictures, to decode those no browser shows.
        format_name: one of `FORMATS`.
        chosen: which scans.
        progress: is kept up to date, and may be told to stop.

    Raises:
        BadInput: there is no such format, or the filter makes no sense.
        UnknownLabel: the filter's label is not in the taxonomy.
        Stopped: while pieces are taken, after `progress.stop` was set.
    """
    if format_name not in FORMATS:
        raise BadInput(f"There is no format {format_name!r}; choose one of {', '.join(FORMATS)}.")
    label = taxonomy.resolve(chosen.label).name if chosen.label else None
    wanted = select_scans(db, chosen)
    progress = progress or Progress()
    progress.total = len(wanted)
    return _Export(db, taxonomy, replace(limits, patient=True), format_name, chosen, progress).pieces(wanted, label)


def write_zip(
    out: Path,
    db: Database,
    taxonomy: Taxonomy,
    limits: Limits,
    format_name: str,
    chosen: Filter,
    progress: Progress | None = None,
) -> None:
    """`export_zip` into a file, which appears whole or not at all.

    Raises:
        StorageFailed: it cannot be written; besides what `export_zip` raises.
    """
    pieces = export_zip(db, taxonomy, limits, format_name, chosen, progress)
    try:
        with atomic_write(out) as part, part.open("wb") as file:
            file.writelines(pieces)
    except OSError as error:
        raise StorageFailed(f"{out} cannot be written: {error.strerror or error}.") from error


@dataclass(frozen=True)
class _Export:
    db: Database
    taxonomy: Taxonomy
    limits: Limits
    format_name: str
    chosen: Filter
    progress: Progress

    def pieces(self, wanted: Sequence[Standing], label: str | None) -> Iterator[bytes]:
        progress = self.progress
        try:
            yield from self._pieces(wanted, label)
        except Stopped:
            progress.failed = "cancelled"
            raise
        except GeneratorExit:
            progress.failed = "the download was broken off"
            raise
        except Exception:
            progress.failed = "a fault in the desk, which has been logged"
            raise
        finally:
            progress.ended = True

    def _pieces(self, wanted: Sequence[Standing], label: str | None) -> Iterator[bytes]:
        out = ZipStream()
        ids = class_ids(self.taxonomy, stored_class_ids.of_classes(self.db, self.taxonomy))
        made = FORMATS[self.format_name](self.taxonomy, ids)
        sidecar, counts = Gathered(), Counter[str]()
        held_out = held_out_scans(self.db)
        now = datetime.now(UTC)
        for one, (analysis, correction) in zip(wanted, documents(self.db, wanted), strict=True):
            if self.progress.stop.is_set():
                raise Stopped
            self.progress.done += 1
            name = analysis.scan.filename
            try:
                scan = labelled(analysis, correction, one.by, self.taxonomy, held_out)
                if label is not None and label not in {*scan.counts, *(box.label for box in scan.boxes)}:
                    continue
                image = ""
                if (folder := made.folder(scan.part)) is not None:
                    content, ending = self._picture(scan)
                    image = f"{folder}/{scan.stem}.{ending}"
            except DeskError as error:
                self.progress.problems.append(f"{name} (analysis {analysis.id}): {error.message}")
                continue
            if image:
                yield out.picture(image, content, scan.labelled_at)
            for file, texts in made.add(scan, image):
                yield from out.text(file, texts, scan.labelled_at)
            counts[scan.part] += 1
            self.progress.written += 1
            if self.format_name in IMPORTED:
                sidecar.add(json.dumps(_sidecar_line(scan, image), ensure_ascii=False) + "\n")
        for file, texts in made.end():
            yield from out.text(file, texts, now)
        if self.format_name in IMPORTED:
            yield from out.text(SIDECAR, sidecar.pieces(), now)
        if self.progress.problems:
            yield from out.text(LEFT_OUT, (f"{problem}\n" for problem in self.progress.problems), now)
        yield from out.text("README.txt", [self._about(counts, made.about, now)], now)
        yield out.end()

    def _picture(self, scan: LabelledScan) -> tuple[bytes, str]:
        path, _ = scans.scan_path(self.db, scan.analysis.scan.id)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise NotFound("The file of this scan is missing from the data folder.") from error
        shown, media_type = browser_picture(content, self.limits)
        if media_type not in ENDINGS:
            raise BadScan(f"A picture of the type {media_type} is not exported.")
        return shown, ENDINGS[media_type]

    def _about(self, counts: Counter[str], about: str, now: datetime) -> str:
        return (
            f"{about}\n\nExported {now:%Y-%m-%d %H:%M} UTC from the X-ray screening desk: {self.chosen}.\n"
            f"train: {counts['train']} corrected scans. "
            f"val: {counts['val']} corrected scans of the hold-out; never train on them.\n"
            f"predictions: {counts['predictions']} scans with what the models said, confirmed by nobody.\n"
            f"Left out: {len(self.progress.problems)}{f' (see {LEFT_OUT})' if self.progress.problems else ''}.\n"
            f"Taxonomy: {self.taxonomy.sha256}\n"
            + (
                f"{SIDECAR} holds what the format cannot say: bag, view, scanner, items without a box, and which "
                "classes were looked for (labelled_classes). A class that was not looked for may be in the picture "
                "unlabelled.\n"
                if self.format_name in IMPORTED
                else ""
            )
        )


def _sidecar_line(scan: LabelledScan, image: str) -> dict[str, object]:
    facts, correction = scan.analysis.scan, scan.correction
    return {
        "image": image,
        "scan_id": facts.id,
        "filename": facts.filename,
        "bag_id": facts.bag_id,
        "view": facts.view,
        "scanner_id": facts.scanner_id,
        "source": "prediction" if correction is None else "correction",
        "items": [{"label": label, "count": count} for label, count in scan.counts.items()],
        "boxes": Counter(box.label for box in scan.boxes),
        "labelled_classes": None if correction is None else correction.labelled_classes,
        "comment": None if correction is None else correction.comment,
        "author": scan.author,
        "labelled_at": scan.labelled_at.isoformat(),
    }
