"""A data set's pictures one after the other, each read and checked, with the correction it is to get. No SQL.

All that touches a stranger's bytes happens here and in what this calls, so that it can happen in another process
(`reader_process`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from xray_app.errors import BadInput, BadScan, DeskError, ScanTooLarge
from xray_app.exchange.bag_names import BagNaming, BagView
from xray_app.exchange.dataset import Dataset, LabelledImage
from xray_app.exchange.outline import Ring
from xray_app.exchange.sidecar import SidecarLine, read_sidecar
from xray_app.scan.read import Limits, Scan, read_scan
from xray_app.taxonomy import Taxonomy
from xray_app.types import MAX_COUNT, MAX_OUTLINE, CorrectionIn, ItemCount


@dataclass(frozen=True, eq=False)
class ReadPicture:
    """A picture that can be taken in.

    Attributes:
        scan: as it is to be analysed and stored.
        wanted: the correction it is to get; canonical labels.
        bag_said: the data set itself says which bag it means, so that the same picture in another bag is not it.
        where: its label file and its name, to name it in a problem.
    """

    scan: Scan
    wanted: CorrectionIn
    bag_said: bool
    where: str


@dataclass(frozen=True)
class UnusablePicture:
    """A picture that cannot be taken in.

    Attributes:
        labels: canonical labels of the boxes that are lost with it.
        why: the kind of reason, as it is counted.
        problem: which picture, and what is wrong with it.
    """

    labels: tuple[str, ...]
    why: str
    problem: str


@dataclass(frozen=True)
class Incoming:
    """A data set on its way in.

    Attributes:
        format_name: of `readers.READERS`.
        total: how many pictures there are.
        problems: what is wrong with others, a line each, with paths relative to the set.
        notes: what was passed over without any label being lost.
        left_out: boxes left out already, by class or the set's own label, and why.
        pictures: each once, in order; to be read once.
    """

    format_name: str
    total: int
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    left_out: Counter[tuple[str, str]]
    pictures: Iterator[ReadPicture | UnusablePicture]


def incoming(
    found: Dataset, root: Path, taxonomy: Taxonomy, limits: Limits, naming: BagNaming | None = None
) -> Incoming:
    """A data set as it is taken in; its pictures are read when they are asked for.

    Args:
        found: what `read_dataset` found.
        root: the folder it was found in.
        taxonomy: brings labels to canonical names.
        limits: bytes and pixels of a picture.
        naming: of the bags; None: folder and file name, less what tools put behind a copy's.

    Raises:
        BadDataset: `scans.jsonl` cannot be read.
        BadInput: the pattern of `naming` does not fit the pictures' paths.
    """
    sidecar = read_sidecar(root)
    bags = (naming or BagNaming()).of((_key(image.image, root) for image in found.images), root.joinpath)
    notes = [_relative(note, root) for note in found.notes]
    if lost := sum(box.outline.lost for image in found.images for box in image.boxes):
        notes.append(
            f"the outlines of {lost:,} boxes, of more than {MAX_OUTLINE:,} points each, of another picture's size, "
            "or no polygons; their boxes are taken"
        )
    reading = _Reading(root, taxonomy, limits, sidecar, bags)
    return Incoming(
        found.format_name,
        len(found.images),
        tuple(_relative(problem, root) for problem in found.problems),
        tuple(notes),
        found.left_out.copy(),
        (reading.read(image) for image in found.images),
    )


@dataclass(frozen=True)
class _Reading:
    root: Path
    taxonomy: Taxonomy
    limits: Limits
    sidecar: Mapping[str, SidecarLine] | None
    bags: Mapping[str, BagView]

    def read(self, image: LabelledImage) -> ReadPicture | UnusablePicture:
        where = _relative(f"{image.labels}: {image.image.name}", self.root)
        try:
            key = _key(image.image, self.root)
            line = self.sidecar.get(key) if self.sidecar is not None else None
            scan, wanted = self._scan(image, line, self.bags[key]), self._correction(image, line)
            return ReadPicture(scan, wanted, line is not None, where)
        except DeskError as error:
            if error.http_status >= 500:  # the next one would fare no better
                raise
            problem = _relative(f"{where}: {error.message}", self.root)
            return UnusablePicture(tuple(box.label for box in image.boxes), error.code.replace("_", " "), problem)

    def _scan(self, image: LabelledImage, line: SidecarLine | None, bag: BagView) -> Scan:
        if line is not None and line.source != "correction":
            raise BadInput("is a prediction, which nobody has confirmed. It is not taken in.")
        scan = read_scan(
            self._bytes(image.image),
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
        return scan

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
                        {"label": box.label, "xyxy": box.xyxy} | _polygons(box.outline.rings) for box in image.boxes
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


def _polygons(rings: tuple[Ring, ...]) -> dict[str, Any]:
    """An outline as a correction's box has it."""
    return {"polygon": rings[0]} if len(rings) == 1 else {"polygons": rings}


def _key(image: Path, root: Path) -> str:
    return image.relative_to(root).as_posix()


def _relative(text: str, root: Path) -> str:
    return text.replace(f"{root}/", "")
