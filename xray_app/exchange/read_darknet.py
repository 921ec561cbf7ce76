"""Reading Darknet's layout, CVAT's "YOLO 1.1": `obj.data`, `obj.names`, list files, txt beside the pictures."""

from __future__ import annotations

from pathlib import Path

from xray_app.errors import BadDataset
from xray_app.exchange.bounded_text import read_text
from xray_app.exchange.dataset import Dataset, Findings, Problem, Unusable, inside
from xray_app.exchange.label_map import LabelMap
from xray_app.exchange.pictures import NotFound, Pictures
from xray_app.exchange.yolo_layout import MAX_CLASSES, MAX_LIST, label_file
from xray_app.exchange.yolo_rows import labels_of, names_of, read_labels

ABOUT = "Darknet: an obj.data (CVAT's YOLO 1.1)"
CONFIG = "obj.data"
MAX_CONFIG = 2**20


def is_here(root: Path) -> bool:
    """Whether a folder holds a data set of this layout."""
    return (root / CONFIG).is_file()


def read(root: Path, labels: LabelMap) -> Dataset:
    """All list files that obj.data names; no file outside `root` is read.

    What was looked for is what obj.names lists. A label file that no list file names is left out by name.

    Raises:
        BadDataset: obj.data or a file it names is missing or wrong.
        UnknownLabel: a name is no class.
    """
    config = dict(_pairs(read_text(inside(root / CONFIG, root), MAX_CONFIG)))
    names_path = _file(config.get("names", "obj.names"), root)
    listed = [line.strip() for line in read_text(names_path, MAX_CONFIG).splitlines()]
    if len(listed) > MAX_CLASSES:
        raise BadDataset(f"{names_path}: more than {MAX_CLASSES:,} labels.")
    names = names_of({place: name for place, name in enumerate(listed) if name}, labels, names_path)
    pictures = Pictures(root)
    found = Findings(labels)
    images: dict[Path, None] = {}
    lists = [config[key] for key in ("train", "valid", "val", "test") if key in config]
    for name in lists:
        file = _file(name, root)
        for place, line in enumerate(read_text(file, MAX_LIST).splitlines(), 1):
            if not line.strip():
                continue
            try:
                images[pictures.find(line.strip(), (root, file.parent))] = None
            except NotFound as error:
                found.problems.add(Problem(file, "missing image", str(error), place))
            except BadDataset as error:
                found.problems.add(Problem(file, "outside the data set", error.message, place))
    if not lists:
        images = dict.fromkeys(pictures.all)
    read_files = set()
    for image in images:
        read_files.add(label_file(image))
        try:
            found.take(read_labels(image, label_file(image), names, within=root))
        except Unusable as error:
            found.leave_out(error)
    for path in sorted(root.glob("*/**/*.txt")):
        if path not in read_files and path.is_file():
            stray = Problem(path, "label without image", "no list file names its image")
            found.leave_out(Unusable(stray, labels=labels_of(path, names)))
    return found.dataset(names.scope(found.classes()))


def _pairs(text: str) -> list[tuple[str, str]]:
    rows = (line.partition("=") for line in text.splitlines())
    return [(key.strip(), value.strip()) for key, sign, value in rows if sign and value.strip()]


def _file(name: str, root: Path) -> Path:
    """A file that obj.data names, below `root`; CVAT writes `data/` before it, where it would lie on its own server."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    for start in range(len(parts)):
        path = root.joinpath(*parts[start:])
        if path.is_file():
            return inside(path, root)
    raise BadDataset(f"{root / CONFIG}: names {name[:200]}, which is not here")
