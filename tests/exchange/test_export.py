"""Exports, opened by the readers others wrote: the same scans, the same counts, the same pixels."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import MakeAnalysis, png, save_analysis, scan_facts
from tests.exchange.conftest import LIMITS, Correct, Export
from training.data.samples import from_corrections, read_jsonl
from xray_app.errors import BadInput, Stopped, UnknownLabel
from xray_app.exchange.csv_text import csv_row
from xray_app.exchange.export import Filter, Progress, export_zip, select_scans
from xray_app.exchange.formats import FORMATS, IMPORTED
from xray_app.store import corrections, scans
from xray_app.store.database import Database
from xray_app.taxonomy import Taxonomy
from xray_app.types import Correction, CorrectionIn

Boxes = Counter[tuple[str, tuple[float, ...]]]


def truth(made: list[Correction], split: str) -> Boxes:
    """All boxes of a split, to a hundredth of a pixel."""
    return Counter(
        (box.label, tuple(round(x, 2) for x in box.xyxy)) for one in made if one.split == split for box in one.boxes
    )


def supervised(dataset: Any) -> Boxes:
    return Counter(
        (dataset.classes[label], tuple(round(float(x), 2) for x in xyxy))
        for _, _, found in dataset
        for xyxy, label in zip(found.xyxy, found.class_id, strict=True)
    )


def test_the_split_of_the_example(filled: list[Correction]) -> None:
    assert Counter(one.split for one in filled)["holdout"] >= 1
    assert Counter(one.split for one in filled)["train"] >= 3


@pytest.mark.parametrize(("part", "split"), [("train", "train"), ("val", "holdout")])
def test_pycocotools_and_supervision_read_coco(filled: list[Correction], export: Export, part: str, split: str) -> None:
    import supervision
    from pycocotools.coco import COCO

    folder = export("coco")
    file = folder / "annotations" / f"instances_{part}.json"
    coco = COCO(str(file))
    wanted = [one for one in filled if one.split == split]
    assert len(coco.getImgIds()) == len(wanted)
    read: Boxes = Counter()
    for one in coco.loadAnns(coco.getAnnIds()):
        x, y, w, h = one["bbox"]
        name = coco.loadCats(one["category_id"])[0]["name"]
        read[name, tuple(round(v, 2) for v in (x, y, x + w, y + h))] += 1
    assert read == truth(filled, split)
    for one in coco.loadImgs(coco.getImgIds()):
        assert Image.open(folder / part / one["file_name"]).size == (one["width"], one["height"]) == (320, 240)
    dataset = supervision.DetectionDataset.from_coco(str(folder / part), str(file))
    assert len(dataset) == len(wanted)
    assert supervised(dataset) == truth(filled, split)


@pytest.mark.parametrize(("part", "split"), [("train", "train"), ("val", "holdout")])
def test_supervision_reads_yolo(filled: list[Correction], export: Export, part: str, split: str) -> None:
    import supervision

    folder = export("yolo")
    dataset = supervision.DetectionDataset.from_yolo(
        str(folder / "images" / part), str(folder / "labels" / part), str(folder / "data.yaml")
    )
    assert supervised(dataset) == truth(filled, split)


def test_libreyolo_reads_yolo(filled: list[Correction], export: Export, taxonomy: Taxonomy) -> None:
    pytest.importorskip("cv2", exc_type=ImportError, reason="OpenCV needs libGL: apt-get install libgl1 libglib2.0-0")
    from libreyolo.data import load_data_config
    from libreyolo.data.dataset import YOLODataset

    folder = export("yolo")
    config = load_data_config(str(folder / "data.yaml"))
    assert list(dict(config["names"]).values()) == list(taxonomy.names)
    read: Boxes = Counter()
    data = YOLODataset(str(folder), "train", img_size=(320, 320))
    for index in range(len(data)):
        _, target, (height, width), _ = data.pull_item(index)
        ratio = min(320 / width, 320 / height)
        for *xyxy, label in target[:, :5]:
            read[taxonomy.names[int(label)], tuple(round(float(x) / ratio, 2) for x in xyxy)] += 1
    assert read == truth(filled, "train")


def test_supervision_reads_voc(filled: list[Correction], export: Export) -> None:
    import supervision

    folder = export("voc")
    dataset = supervision.DetectionDataset.from_pascal_voc(str(folder / "JPEGImages"), str(folder / "Annotations"))
    assert len(dataset) == len(filled)
    assert supervised(dataset) == truth(filled, "train") + truth(filled, "holdout")
    listed = {part: (folder / f"ImageSets/Main/{part}.txt").read_text().split() for part in ("train", "val")}
    assert len(listed["train"]) == sum(one.split == "train" for one in filled)
    assert {path.stem for path in (folder / "Annotations").iterdir()} == {*listed["train"], *listed["val"]}


@pytest.mark.usefixtures("sides_by_hash_alone")
def test_a_picture_of_the_hold_out_is_in_val_whatever_bag_it_lies_in(correct: Correct, export: Export) -> None:
    for shade, bag in ((1, "bag 2"), (2, "bag 3"), (2, "bag 5")):  # bag 5 is of the hold-out
        correct(shade, {"knife": 1}, [("knife", (10, 20, 110, 90))], bag=bag)
    folder = export("jsonl")
    read = {part: [one.bag_id for one in read_jsonl(folder / f"{part}.jsonl")] for part in ("train", "val")}
    assert read == {"train": ["bag 2"], "val": ["bag 3", "bag 5"]}


def test_jsonl_is_what_the_desk_trains_on(
    filled: list[Correction], export: Export, db: Database, taxonomy: Taxonomy
) -> None:
    folder = export("jsonl")
    own = from_corrections(db, taxonomy)

    def without_place(samples: list[Any]) -> list[dict[str, Any]]:
        return sorted((one.model_dump(exclude={"image"}) for one in samples), key=lambda one: one["bag_id"])

    assert without_place(read_jsonl(folder / "train.jsonl")) == without_place(own["train"])
    assert without_place(read_jsonl(folder / "val.jsonl")) == without_place(own["holdout"])
    for sample in read_jsonl(folder / "train.jsonl"):
        assert sample.open().size == (320, 240)


@pytest.mark.parametrize("format_name", ["jsonl", "sharegpt", "llava", "csv"])
def test_datasets_reads_texts_and_tables(
    filled: list[Correction], export: Export, format_name: str, tmp_path: Path
) -> None:
    datasets = pytest.importorskip("datasets")
    folder = export(format_name)
    file = {"csv": "scans.csv", "jsonl": "train.jsonl"}.get(format_name, "train.json")
    kind = "csv" if format_name == "csv" else "json"
    read = datasets.load_dataset(kind, data_files=str(folder / file), split="train", cache_dir=str(tmp_path / "cache"))
    trained = [one for one in filled if one.split == "train"]
    assert len(read) == (len(filled) if format_name == "csv" else len(trained))
    answers = {
        "jsonl": lambda one: one["response"],
        "sharegpt": lambda one: one["conversations"][1]["value"],
        "llava": lambda one: one["conversations"][1]["value"],
        "csv": lambda one: one["items"],
    }[format_name]
    assert sum("gun" in str(answers(one)) for one in read) == 1
    if format_name == "sharegpt":
        assert all((folder / path).is_file() for one in read for path in one["images"])
        assert json.loads((folder / "dataset_info.json").read_text())["xray_train"]["file_name"] == "train.json"
    if format_name == "llava":
        assert all((folder / "images" / one["image"]).is_file() for one in read)
        assert all(one["conversations"][0]["value"].startswith("<image>\nAnalyze this") for one in read)


def test_a_class_nobody_looked_for_is_asked_about_nowhere(filled: list[Correction], export: Export) -> None:
    turns = json.loads((export("llava") / "train.json").read_text())
    scoped = [one for one in turns if "Report only: knife, gun." in one["conversations"][0]["value"]]
    assert [one["conversations"][1]["value"] for one in scoped] == [
        "Items detected: 3 knives (threat). Security risk: HIGH - knife detected."
    ]


@pytest.mark.parametrize("format_name", list(FORMATS))
def test_predictions_come_only_when_asked_for_and_are_kept_apart(
    filled: list[Correction], export: Export, format_name: str
) -> None:
    without, with_them = export(format_name), export(format_name, corrected=False)
    assert "predictions: 0 scans" in (without / "README.txt").read_text()
    assert "predictions: 1 scans" in (with_them / "README.txt").read_text()
    if format_name == "csv":
        rows = list(csv.DictReader((with_them / "scans.csv").open(encoding="utf-8-sig")))
        assert Counter(one["source"] for one in rows) == {"correction": len(filled), "prediction": 1}
        return
    new = {str(path.relative_to(with_them)) for path in with_them.rglob("*") if path.is_file()} - {
        str(path.relative_to(without)) for path in without.rglob("*") if path.is_file()
    }
    apart = [name for name in new if "predictions" in name]
    assert apart
    if format_name in IMPORTED:
        lines = [json.loads(line) for line in (with_them / "scans.jsonl").read_text().splitlines()]
        assert Counter(line["source"] for line in lines) == {"correction": len(filled), "prediction": 1}
    if format_name == "voc":
        xml = next(path for path in (with_them / "Annotations").iterdir() if "confirmed by nobody" in path.read_text())
        assert xml.stem in (with_them / "ImageSets/Main/predictions.txt").read_text()


def test_the_filter(filled: list[Correction], stored: MakeAnalysis, db: Database) -> None:
    def bags(**chosen: Any) -> int:
        return len(select_scans(db, Filter(**chosen)))

    today = datetime.now().astimezone().date()
    assert bags() == 6
    assert bags(corrected=False) == 7
    assert bags(analyst="carl") == 1
    assert bags(analyst="anna") == 0
    assert bags(analyst="anna", corrected=False) == 1
    assert bags(risk="HIGH") == 6
    assert bags(risk="LOW") == 0
    assert bags(since=today, until=today) == 6
    assert bags(until=today - timedelta(days=1)) == 0
    assert bags(since=today + timedelta(days=1)) == 0
    assert bags(until=date.max) == 6
    with pytest.raises(BadInput, match="wrong way round"):
        bags(since=today, until=today - timedelta(days=1))


def test_a_label_or_alias_filters_by_item_and_box(
    filled: list[Correction], export: Export, db: Database, taxonomy: Taxonomy
) -> None:
    rows = list(csv.DictReader((export("csv", label="pistol") / "scans.csv").open(encoding="utf-8-sig")))
    assert [one["bag_id"] for one in rows] == ["bag 2"]
    with pytest.raises(UnknownLabel):
        export_zip(db, taxonomy, LIMITS, "csv", Filter(label="unicorn"))
    with pytest.raises(BadInput, match="no format 'docx'"):
        export_zip(db, taxonomy, LIMITS, "docx", Filter())


def test_the_newest_accepted_word_counts(
    correct: Correct, db: Database, taxonomy: Taxonomy, export: Export, stored: MakeAnalysis
) -> None:
    first = correct(20, {"knife": 1}, [], bag="b")

    def amend(analysis: str, base: int, count: int, pending: bool) -> Correction:
        said = CorrectionIn(items=[{"label": "gun", "count": count}], boxes=[], base_revision=base)
        return corrections.add(db, analysis, said, "dora", taxonomy, review_required=pending)

    second = amend(first.analysis_id, 1, 2, pending=True)
    assert exported_items(export) == ["1 knife"]
    corrections.review(db, second.id, "accepted", None, "eve")
    assert exported_items(export) == ["2 gun"]
    # The same scan of the same bag, analysed and corrected once more: one line, the later word.
    again = stored(20, bag_id="b")
    assert exported_items(export, corrected=False) == ["2 gun"]
    amend(again.id, 0, 3, pending=False)
    assert exported_items(export, corrected=False) == ["3 gun"]


def exported_items(export: Export, **chosen: Any) -> list[str]:
    rows = csv.DictReader((export("csv", **chosen) / "scans.csv").open(encoding="utf-8-sig"))
    return [one["items"] for one in rows]


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1+1", "＝1"])
def test_no_cell_is_a_formula(start: str) -> None:
    (read,) = csv.reader(io.StringIO(csv_row([start, 1.5, -3.25, None, "knife"]), newline=""))
    assert read == ["'" + start, "1.5", "-3.25", "", "knife"]


def test_hostile_names_and_comments_stay_text(
    correct: Correct, stored: MakeAnalysis, db: Database, export: Export
) -> None:
    content = png(99)
    facts = scan_facts(content, filename='=cmd|"&<b>.png', bag_id="@bag\u202e")
    analysis = stored(98).model_copy(update={"scan": facts, "id": "f" * 32})
    save_analysis(db, analysis, content, "=anna")
    rows = list(csv.DictReader((export("csv", corrected=False) / "scans.csv").open(encoding="utf-8-sig")))
    odd = next(one for one in rows if one["analysis_id"] == "f" * 32)
    assert [odd["filename"][0], odd["bag_id"][0], odd["author"][0]] == ["'", "'", "'"]
    for format_name in ("voc", "yolo", "coco"):
        folder = export(format_name, corrected=False)
        names = [path.name for path in folder.rglob("*") if "cmd" in path.name]
        assert names
        assert all(
            set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") for name in names
        )


def test_what_no_browser_shows_goes_out_as_png_of_the_same_pixels(
    db: Database, stored: MakeAnalysis, export: Export
) -> None:
    turned = Image.new("RGB", (240, 320), "white")
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    turned.save(out, "TIFF", exif=exif)
    sha256 = hashlib.sha256(out.getvalue()).hexdigest()
    facts = scan_facts(out.getvalue(), id=sha256, sha256=sha256, filename="deep.tif")
    analysis = stored(97).model_copy(update={"scan": facts, "id": "e" * 32})
    save_analysis(db, analysis, out.getvalue(), "anna", media_type="image/tiff")
    folder = export("yolo", corrected=False)
    (picture,) = folder.rglob("deep-*.png")
    with Image.open(picture) as opened:
        assert opened.size == (320, 240)
        assert opened.getexif().get(0x0112, 1) == 1


def test_a_missing_file_is_named_and_the_rest_go_out(filled: list[Correction], db: Database, export: Export) -> None:
    gone, _ = scans.scan_path(db, scan_facts(png(2)).id)
    gone.unlink()
    progress = Progress()
    folder = export("yolo", progress)
    assert len(list((folder / "images").rglob("*.png"))) == 5
    assert "is missing from the data folder" in (folder / "left-out.txt").read_text()
    assert (progress.total, progress.done, len(progress.problems), progress.ended) == (6, 6, 1, True)


def test_a_cancelled_export_ends_at_once(filled: list[Correction], db: Database, taxonomy: Taxonomy) -> None:
    progress = Progress()
    pieces = export_zip(db, taxonomy, LIMITS, "yolo", Filter(), progress)
    next(pieces)
    progress.stop.set()
    with pytest.raises(Stopped):
        list(pieces)
    assert progress.ended
    assert progress.done < 6


def test_the_zip_is_streamed(filled: list[Correction], db: Database, taxonomy: Taxonomy) -> None:
    progress = Progress()
    pieces = export_zip(db, taxonomy, LIMITS, "coco", Filter(), progress)
    first = next(pieces)
    assert first.startswith(b"PK")
    assert progress.done == 1
    rest = b"".join(pieces)
    with zipfile.ZipFile(io.BytesIO(first + rest)) as opened:
        assert len([name for name in opened.namelist() if name.endswith(".png")]) == 6
        assert all(one.date_time[0] >= datetime.now(UTC).year - 1 for one in opened.infolist())


def test_an_empty_desk_exports_an_empty_set(export: Export) -> None:
    for format_name in FORMATS:
        folder = export(format_name)
        assert "train: 0 corrected scans" in (folder / "README.txt").read_text()
        assert not [path for path in folder.rglob("*") if path.suffix == ".png"]
