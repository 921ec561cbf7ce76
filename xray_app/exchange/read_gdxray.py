"""Reading GDXray: a series folder with `ground_truth.txt`, a line a box: picture number, x1, x2, y1, y2."""

from __future__ import annotations

import re
from pathlib import Path

from xray_app.errors import BadDataset
from xray_app.exchange.bounded_text import number, read_text
from xray_app.exchange.dataset import Dataset, Findings, Problem, Unusable, inside
from xray_app.exchange.drawn import DrawnBox, labelled_image
from xray_app.exchange.label_map import LabelMap
from xray_app.exchange.pictures import Pictures

ABOUT = "GDXray: series folders with ground_truth.txt; say what each series shows (--map B0046=gun)"
TRUTH = "ground_truth.txt"
MAX_TRUTH = 16 * 2**20
_NUMBER = re.compile(r"_(\d{1,9})$")


def is_here(root: Path) -> bool:
    """Whether a folder holds series of GDXray."""
    return next(root.rglob(TRUTH), None) is not None


def read(root: Path, labels: LabelMap) -> Dataset:
    """All series; no file outside `root` is read.

    A series has one object of interest and no word for it: its label is the folder's name (`B0046`), which a person
    says what it is. A picture without a line holds none.

    Raises:
        BadDataset: there is no series.
        UnknownLabel: nobody said what a series shows.
    """
    files = sorted(path for path in root.rglob(TRUTH) if path.is_file())
    if not files:
        raise BadDataset(f"{root}: holds no {TRUTH}.")
    labels.refuse_unknown([file.resolve().parent.name for file in files], root)
    found = Findings(labels)
    for file in files:
        _read_series(inside(file, root), labels, found)
    return found.dataset()


def _read_series(file: Path, labels: LabelMap, found: Findings) -> None:
    series = file.resolve().parent.name
    scope = labels.scope([label] if (label := labels.find(series)) else [])
    boxes: dict[int, list[DrawnBox]] = {}
    unknown = 0
    for place, line in enumerate(read_text(file, MAX_TRUTH).splitlines(), 1):
        if not line.strip():
            continue
        columns = [number(text) for text in line.split()]
        values = [value for value in columns if value is not None]
        if len(columns) != 5 or len(values) != 5 or not values[0].is_integer():
            reason = f"needs picture number, x1, x2, y1, y2: {line.strip()[:200]!r}"
            found.leave_out(Unusable(Problem(file, "bad line", reason, place), labels=[series]))
            unknown += 1
            continue
        picture, x1, x2, y1, y2 = values
        box = DrawnBox(series, (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)), line=place)
        boxes.setdefault(int(picture), []).append(box)
    for image in Pictures(file.parent).all:
        number_of = _NUMBER.search(image.stem)
        drawn = boxes.pop(int(number_of[1]), []) if number_of else []
        try:
            if number_of is None:
                raise Unusable(Problem(image, "picture without number", "its name does not end in _ and a number"))
            one = labelled_image(image, file, drawn, labels, scope=scope)
            if unknown and not drawn:
                reason = f"{image.name} has no box, but {unknown} lines cannot be read: one of them may be its own"
                raise Unusable(Problem(file, "perhaps unlabelled", reason))
            found.take(one)
        except Unusable as error:
            found.leave_out(error)
    for picture, drawn in boxes.items():
        problem = Problem(file, "missing image", f"picture {picture} is missing", drawn[0].line)
        found.leave_out(Unusable(problem, labels=[series] * len(drawn)))
