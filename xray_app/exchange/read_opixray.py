"""Reading the text files of OPIXray and HiXray: `NAME.jpg Class xmin ymin xmax ymax`, a line a box, in pixels."""

from __future__ import annotations

from pathlib import Path

from xray_app.errors import BadDataset
from xray_app.exchange.bounded_text import number, read_text
from xray_app.exchange.dataset import (
    Dataset,
    Findings,
    LabelledImage,
    Problem,
    Unusable,
    inside,
)
from xray_app.exchange.drawn import DrawnBox, labelled_image
from xray_app.exchange.label_map import LabelMap
from xray_app.exchange.pictures import Pictures, found_for

ABOUT = "OPIXray, HiXray: train_image/ beside train_annotation/"
ENDING = "_annotation"
MAX_LABEL_FILE = 2**20


def is_here(root: Path) -> bool:
    """Whether a folder holds `train/train_annotation` or the like."""
    return bool(_folders(root))


def read(root: Path, labels: LabelMap) -> Dataset:
    """All folders of annotations; no file outside `root` is read.

    A file without a line is a scan without a box. What was looked for are the classes that occur in the set.

    Raises:
        BadDataset: there are no such folders.
        UnknownLabel: a class of theirs is none here.
    """
    folders = _folders(root)
    if not folders:
        raise BadDataset(f"{root}: holds no folder of annotations (train/train_annotation).")
    pictures = Pictures(root)
    found = Findings(labels)
    parsed: list[tuple[Path, list[_Line]]] = []
    for folder in folders:
        files = sorted(path for path in folder.rglob("*.txt") if path.is_file())
        images = folder.with_name(folder.name[: -len(ENDING)] + "_image")
        stems = {path.stem for path in files}
        for image in pictures.all:
            if image.is_relative_to(images) and image.stem not in stems:
                found.problems.add(Problem(image, "image without label", "its label file is missing"))
        for file in files:
            try:
                parsed.append((file, _lines(inside(file, root))))
            except Unusable as error:
                found.leave_out(error)
            except BadDataset as error:
                found.leave_out(Unusable(Problem(file, "unreadable file", error.message.removeprefix(f"{file}: "))))
    names = sorted({label for _, lines in parsed for _, label, _, _ in lines})
    labels.refuse_unknown(names, root)
    for file, lines in parsed:
        try:
            found.take(_image(file, lines, labels, pictures))
        except Unusable as error:
            found.leave_out(error)
    return found.dataset(labels.scope(label for name in names if (label := labels.find(name))))


def _folders(root: Path) -> list[Path]:
    folders = sorted(path for path in root.rglob(f"*{ENDING}") if path.is_dir())
    return [path for path in folders if path.with_name(path.name[: -len(ENDING)] + "_image").is_dir()]


_Line = tuple[str, str, list[float], int]
"""Picture, class, corners, line."""


def _lines(file: Path) -> list[_Line]:
    rows: list[_Line] = []
    bad: list[Problem] = []
    for place, line in enumerate(read_text(file, MAX_LABEL_FILE).splitlines(), 1):
        columns = line.rsplit(None, 5)  # the picture's name may hold spaces
        if not columns:
            continue
        corners = [value for text in columns[2:] if (value := number(text)) is not None]
        if len(columns) != 6 or len(corners) != 4:
            bad.append(Problem(file, "bad line", f"needs picture, class and four corners: {line[:200]!r}", place))
            continue
        rows.append((columns[0], columns[1], corners, place))
    if bad:
        raise Unusable(*bad, labels=[row[1] for row in rows] + ["unknown"] * len(bad))
    return rows


def _image(file: Path, lines: list[_Line], labels: LabelMap, pictures: Pictures) -> LabelledImage:
    lost = [label for _, label, _, _ in lines]
    images = file.parent.with_name(file.parent.name[: -len(ENDING)] + "_image")
    names = {name for name, _, _, _ in lines}
    if len(names) > 1:
        raise Unusable(Problem(file, "several pictures", f"names {len(names)} pictures"), labels=lost)
    if names:
        image = found_for(file, lost, lambda: pictures.find(names.pop(), (images,)))
    else:
        image = found_for(file, lost, lambda: pictures.of_stem(file.stem, images / "beside", alone=False))
    drawn = [DrawnBox(label, (x0, y0, x1, y1), line=place) for _, label, (x0, y0, x1, y1), place in lines]
    return labelled_image(image, file, drawn, labels)
