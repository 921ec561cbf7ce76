"""The export formats: what each makes of a labelled scan.

Of every format the hold-out is a part of its own (`val`), so that nobody trains on it unknowingly, and so are
predictions, which nobody has confirmed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, Protocol
from xml.sax.saxutils import escape

import yaml

from xray_app import report
from xray_app.exchange.archive import Gathered
from xray_app.exchange.class_ids import ClassIds, class_ids
from xray_app.exchange.labelled import PARTS, LabelledScan, OutBox, Part
from xray_app.exchange.outline import polygon_area
from xray_app.exchange.table import Table
from xray_app.taxonomy import Taxonomy

Files = Iterator[tuple[str, Iterable[str]]]


class Format(Protocol):
    """What an export writes: pictures where `folder` says, a few files a scan, and the rest at the end.

    Where classes have numbers these are `ids`; without them, by the order of the taxonomy's file.
    A new format is a class as this one and a line in `FORMATS`; the desk, the command line and the API follow.

    Attributes:
        title: in a list to choose from.
        about: in the export's README.txt: which files it holds.
    """

    title: ClassVar[str]
    about: ClassVar[str]

    def __init__(self, taxonomy: Taxonomy, ids: ClassIds | None = None) -> None: ...

    def folder(self, part: Part) -> str | None:
        """Where the pictures of a part go; None: no pictures are exported."""

    def add(self, scan: LabelledScan, image: str) -> Files:
        """The files that go with one scan, whose picture is `image`."""

    def end(self) -> Files:
        """The files that hold something of every scan."""


class _ByPart:
    """A text for each part that has any scan."""

    def __init__(self) -> None:
        self.parts: dict[Part, Gathered] = {}

    def add(self, part: Part, text: str) -> None:
        self.parts.setdefault(part, Gathered()).add(text)

    def add_json(self, part: Part, value: Any) -> None:
        """As an element of a JSON list."""
        first = part not in self.parts
        self.add(part, ("\n" if first else ",\n") + json.dumps(value, ensure_ascii=False))

    def __iter__(self) -> Iterator[tuple[Part, Gathered]]:
        return ((part, self.parts[part]) for part in PARTS if part in self.parts)

    def count(self, part: Part) -> int:
        return self.parts[part].count if part in self.parts else 0


class Coco:
    """COCO detection: `annotations/instances_PART.json`, boxes as [x, y, width, height]."""

    title: ClassVar[str] = "COCO (boxes)"
    about: ClassVar[str] = "COCO: annotations/instances_train.json and so on, pictures in folders beside it."

    def __init__(self, taxonomy: Taxonomy, ids: ClassIds | None = None) -> None:
        ids = ids or class_ids(taxonomy)
        self._ids = {name: id + 1 for name, id in ids.of.items()}
        self._categories = [
            {"id": id, "name": name, "supercategory": item.status.value if (item := taxonomy.find(name)) else "gone"}
            for id, name in enumerate(ids.names, start=1)
        ]
        self._images, self._annotations = _ByPart(), _ByPart()

    def folder(self, part: Part) -> str:
        return part

    def add(self, scan: LabelledScan, image: str) -> Files:
        facts, part = scan.analysis.scan, scan.part
        number = self._images.count(part) + 1
        name = image.removeprefix(f"{part}/")
        size = {"width": facts.width, "height": facts.height}
        self._images.add_json(part, {"id": number, "file_name": name, **size})
        for box in scan.boxes:
            x0, y0, x1, y1 = box.xyxy
            annotation = {
                "id": self._annotations.count(part) + 1,
                "image_id": number,
                "category_id": self._ids[box.label],
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": sum(map(polygon_area, box.rings)) if box.rings else (x1 - x0) * (y1 - y0),
                "segmentation": box.rings,
                "iscrowd": 0,
            }
            if scan.correction is None and box.confidence is not None:
                annotation["score"] = box.confidence
            self._annotations.add_json(part, annotation)
        return iter(())

    def end(self) -> Files:
        for part, images in self._images:
            annotations = self._annotations.parts.get(part, Gathered())
            yield f"annotations/instances_{part}.json", self._document(images, annotations)

    def _document(self, images: Gathered, annotations: Gathered) -> Iterator[str]:
        yield '{"info": {"description": "X-ray screening desk"}, "licenses": [],\n"categories": '
        yield json.dumps(self._categories, ensure_ascii=False) + ',\n"images": ['
        yield from images.pieces()
        yield '],\n"annotations": ['
        yield from annotations.pieces()
        yield "]}\n"


class Yolo:
    """YOLO detection: `data.yaml`, `images/PART`, `labels/PART`; rows `class cx cy w h`, normalised."""

    title: ClassVar[str] = "YOLO (boxes)"
    about: ClassVar[str] = "YOLO: data.yaml, images/ and labels/. Items without a box are in scans.jsonl alone."

    def __init__(self, taxonomy: Taxonomy, ids: ClassIds | None = None) -> None:
        ids = ids or class_ids(taxonomy)
        self._names, self._index = ids.names, ids.of
        self._parts: set[Part] = set()

    def folder(self, part: Part) -> str:
        return f"images/{part}"

    def add(self, scan: LabelledScan, image: str) -> Files:
        self._parts.add(scan.part)
        facts = scan.analysis.scan
        rows = (self._row(box, facts.width, facts.height) for box in scan.boxes)
        yield f"labels/{scan.part}/{scan.stem}.txt", rows

    def _row(self, box: OutBox, width: int, height: int) -> str:
        x0, y0, x1, y1 = box.xyxy
        shares = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height)
        return f"{self._index[box.label]} " + " ".join(f"{share:.10f}" for share in shares) + "\n"

    def end(self) -> Files:
        # `train` is asked for by every reader, and `val` by none of ours.
        config: dict[str, Any] = {"train": "images/train"}
        if "val" in self._parts:
            config["val"] = "images/val"
        config["names"] = dict(enumerate(self._names))
        yield "data.yaml", [yaml.safe_dump(config, sort_keys=False, allow_unicode=True)]
        if "train" not in self._parts:
            yield "images/train/", []


class Voc:
    """Pascal VOC: `Annotations/*.xml`, `JPEGImages`, `ImageSets/Main/PART.txt`.

    As the devkit has it, pixels count from 1 and the maximum is the last one covered. Parts of a pixel are kept
    as decimals.
    """

    title: ClassVar[str] = "Pascal VOC (boxes)"
    about: ClassVar[str] = "Pascal VOC: Annotations/, JPEGImages/ and ImageSets/Main/. Pixels count from 1."

    def __init__(self, taxonomy: Taxonomy, ids: ClassIds | None = None) -> None:
        self._sets = _ByPart()

    def folder(self, part: Part) -> str:
        return "JPEGImages"

    def add(self, scan: LabelledScan, image: str) -> Files:
        self._sets.add(scan.part, f"{scan.stem}\n")
        facts = scan.analysis.scan
        said = "a prediction, confirmed by nobody" if scan.correction is None else "a person's correction"
        lines = [
            "<annotation>",
            f"  <folder>JPEGImages</folder><filename>{escape(image.rpartition('/')[2])}</filename>",
            f"  <source><database>X-ray screening desk</database><annotation>{said}</annotation></source>",
            f"  <size><width>{facts.width}</width><height>{facts.height}</height><depth>3</depth></size>",
            "  <segmented>0</segmented>",
            *(_voc_object(box) for box in scan.boxes),
            "</annotation>",
        ]
        yield f"Annotations/{scan.stem}.xml", ["\n".join(lines) + "\n"]

    def end(self) -> Files:
        for part, names in self._sets:
            yield f"ImageSets/Main/{part}.txt", names.pieces()


def _voc_object(box: OutBox) -> str:
    x0, y0, x1, y1 = box.xyxy
    corners = (("xmin", x0 + 1), ("ymin", y0 + 1), ("xmax", x1), ("ymax", y1))
    inner = "".join(f"<{name}>{_decimal(value)}</{name}>" for name, value in corners)
    return (
        f"  <object><name>{escape(box.label)}</name><pose>Unspecified</pose><truncated>0</truncated>"
        f"<difficult>0</difficult><bndbox>{inner}</bndbox></object>"
    )


def _decimal(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".")


class Jsonl:
    """The desk's own training samples: `PART.jsonl`, as `python -m training prepare` writes them."""

    title: ClassVar[str] = "VLM samples (JSONL)"
    about: ClassVar[str] = "VLM samples: train.jsonl and val.jsonl, as `python -m training finetune --data` reads them."

    def __init__(self, taxonomy: Taxonomy, ids: ClassIds | None = None) -> None:
        self._taxonomy = taxonomy
        self._lines = _ByPart()

    def folder(self, part: Part) -> str:
        return "images"

    def add(self, scan: LabelledScan, image: str) -> Files:
        facts = scan.analysis.scan
        sample = {
            "image": image,
            "instruction": report.instruction(scan.labelled_classes, self._taxonomy),
            "response": scan.response(self._taxonomy),
            "width": facts.width,
            "height": facts.height,
            "boxes": [{"label": box.label, "xyxy": box.xyxy} for box in scan.in_scope()],
            "labelled_classes": scan.labelled_classes,
            "bag_id": facts.bag_id,
        }
        self._lines.add(scan.part, json.dumps(sample, ensure_ascii=False) + "\n")
        return iter(())

    def end(self) -> Files:
        for part, lines in self._lines:
            yield f"{part}.jsonl", lines.pieces()


class _Chat:
    """Conversations of one turn each: a JSON list a part."""

    def __init__(self, taxonomy: Taxonomy, ids: ClassIds | None = None) -> None:
        self._taxonomy = taxonomy
        self._turns = _ByPart()

    def folder(self, part: Part) -> str:
        return "images"

    def add(self, scan: LabelledScan, image: str) -> Files:
        asked = report.instruction(scan.labelled_classes, self._taxonomy)
        turns = [
            {"from": "human", "value": f"<image>\n{asked}"},
            {"from": "gpt", "value": scan.response(self._taxonomy)},
        ]
        self._turns.add_json(scan.part, self._entry(scan.stem, image, turns))
        return iter(())

    def _entry(self, stem: str, image: str, turns: Sequence[dict[str, str]]) -> dict[str, Any]:
        raise NotImplementedError

    def end(self) -> Files:
        for part, turns in self._turns:
            yield f"{part}.json", _listed(turns)


def _listed(elements: Gathered) -> Iterator[str]:
    yield "["
    yield from elements.pieces()
    yield "\n]\n"


class ShareGpt(_Chat):
    """ShareGPT conversations with `images`, and the `dataset_info.json` that LLaMA-Factory asks for."""

    title: ClassVar[str] = "ShareGPT chat"
    about: ClassVar[str] = "ShareGPT: train.json and so on; dataset_info.json is for LLaMA-Factory."

    def _entry(self, stem: str, image: str, turns: Sequence[dict[str, str]]) -> dict[str, Any]:
        return {"conversations": turns, "images": [image]}

    def end(self) -> Files:
        columns = {"messages": "conversations", "images": "images"}
        info = {
            f"xray_{part}": {"file_name": f"{part}.json", "formatting": "sharegpt", "columns": columns}
            for part, _ in self._turns
        }
        yield from super().end()
        yield "dataset_info.json", [json.dumps(info, indent=1)]


class Llava(_Chat):
    """LLaVA conversations: `id`, `image` below `images/`, `conversations`."""

    title: ClassVar[str] = "LLaVA chat"
    about: ClassVar[str] = "LLaVA: train.json and so on; picture paths are relative to images/ (--image_folder images)."

    def _entry(self, stem: str, image: str, turns: Sequence[dict[str, str]]) -> dict[str, Any]:
        return {"id": stem, "image": image.removeprefix("images/"), "conversations": turns}


FORMATS: dict[str, type[Format]] = {
    "coco": Coco,
    "yolo": Yolo,
    "voc": Voc,
    "jsonl": Jsonl,
    "sharegpt": ShareGpt,
    "llava": Llava,
    "csv": Table,
}
IMPORTED = ("coco", "yolo", "voc")
"""The formats that can come back; they carry `scans.jsonl`, which holds what the format cannot say."""
