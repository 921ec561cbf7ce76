"""Imports: an export comes back as it was, others' data sets come in; broken is named, hostile is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import MakeAnalysis, png
from tests.exchange.conftest import LIMITS, Export, said, zipped
from xray_app.analysis import facts_of
from xray_app.errors import BadDataset, Stopped, UnknownLabel
from xray_app.exchange import source
from xray_app.exchange.bag_names import BagNaming
from xray_app.exchange.export import Progress
from xray_app.exchange.formats import IMPORTED
from xray_app.exchange.import_dataset import Imported, import_dataset
from xray_app.exchange.label_map import LabelMap
from xray_app.exchange.readers import format_of, read_dataset
from xray_app.scan.read import Scan
from xray_app.store import analyses, corrections
from xray_app.store.database import Database
from xray_app.store.standing import documents, of_scans
from xray_app.taxonomy import Taxonomy
from xray_app.types import Analysis, Correction, CorrectionIn

BringIn = Callable[..., Imported]


@pytest.fixture
def analysed() -> list[Scan]:
    """The scans that were shown to the models."""
    return []


@pytest.fixture
def other(tmp_path: Path, database_url: Callable[[Path], str]) -> Iterator[Database]:
    """Another desk's store."""
    opened = Database.open(database_url(tmp_path / "other"), tmp_path / "other")
    yield opened
    opened.close()


@pytest.fixture
def bring_in(make_analysis: MakeAnalysis, taxonomy: Taxonomy, analysed: list[Scan]) -> BringIn:
    def make(db: Database, root: Path, **options: Any) -> Imported:
        def take_in(scan: Scan) -> Analysis:
            analysed.append(scan)
            made = make_analysis(scan=facts_of(scan))
            return analyses.save_views(db, [analyses.NewView(made, scan.content, scan.media_type)], "root")[0]

        progress, format_name = options.pop("progress", None), options.pop("format_name", None)
        naming = options.pop("naming", None)
        with source.opened(root) as folder:
            found = read_dataset(folder, LabelMap(taxonomy, **options), format_name)
            return import_dataset(
                found, folder, db, taxonomy, take_in, LIMITS, "root", naming=naming, progress=progress
            )  # fmt: skip

    return make


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize("format_name", IMPORTED)
def test_an_export_comes_back_as_it_was(
    filled: list[Correction], db: Database, other: Database, export: Export, bring_in: BringIn, format_name: str,
    as_zip: bool, analysed: list[Scan],
) -> None:  # fmt: skip
    folder = export(format_name)
    done = bring_in(other, zipped(folder) if as_zip else folder)
    assert done == Imported(format_name, len(filled), 0, ())
    assert said(other) == said(db)
    assert len(analysed) == len(filled)  # a prediction of this desk's models lies beneath each
    for analysis, correction in documents(other, of_scans(other)):
        assert correction is not None
        assert (correction.author, correction.status, correction.revision) == ("root", "accepted", 1)
        assert [box.source for box in correction.boxes] == ["human"] * len(correction.boxes)
        assert analysis.boxes  # the prediction is untouched
    again = bring_in(other, folder)
    assert again == Imported(format_name, 0, len(filled), ())
    assert len(analysed) == len(filled)
    assert bring_in(db, folder) == Imported(format_name, 0, len(filled), ())


def test_predictions_do_not_come_back_as_truth(
    filled: list[Correction], other: Database, export: Export, bring_in: BringIn
) -> None:
    done = bring_in(other, export("coco", corrected=False))
    assert done.added == len(filled)
    assert len(done.problems) == 1
    assert "is a prediction, which nobody has confirmed" in done.problems[0]


def test_another_persons_word_is_left_and_listed(
    filled: list[Correction], db: Database, export: Export, bring_in: BringIn, taxonomy: Taxonomy
) -> None:
    folder = export("yolo")
    amended = CorrectionIn(items=[{"label": "gun", "count": 9}], boxes=[], base_revision=1)
    corrections.add(db, filled[0].analysis_id, amended, "dora", taxonomy, review_required=False)
    done = bring_in(db, folder)
    assert (done.added, done.already, len(done.problems)) == (0, len(filled) - 1, 1)
    assert "labelled otherwise by dora (revision 2)" in done.problems[0]
    assert len(corrections.history(db, filled[0].analysis_id)) == 2


def test_a_scan_that_is_here_is_not_analysed_again(
    stored: MakeAnalysis, db: Database, bring_in: BringIn, tmp_path: Path, analysed: list[Scan]
) -> None:
    analysis = stored(5, bag_id="five")
    yolo(tmp_path / "set", {"five": (png(5), "0 0.5 0.5 0.5 0.5\n")})
    assert bring_in(db, tmp_path / "set").added == 1
    assert analysed == []
    (revision,) = corrections.history(db, analysis.id)
    assert [box.xyxy for box in revision.boxes] == [(80, 60, 240, 180)]


def yolo(root: Path, files: dict[str, tuple[bytes, str]], names: str = "[knife, Phone, gun]") -> Path:
    for kind in ("images", "labels"):
        (root / kind / "train").mkdir(parents=True, exist_ok=True)
    (root / "data.yaml").write_text(f"train: images/train\nnames: {names}\n")
    for stem, (content, label) in files.items():
        (root / f"images/train/{stem}.png").write_bytes(content)
        (root / f"labels/train/{stem}.txt").write_text(label)
    return root


def test_of_500_files_one_broken_is_listed_and_the_others_come_in(
    other: Database, bring_in: BringIn, tmp_path: Path
) -> None:
    files = {f"b{n}": (png(n, 32, 32), "0 0.5 0.5 0.5 0.5\n1 0.2 0.2 0.1 0.1\n") for n in range(24)}
    files["broken"] = (png(900)[:60], "")
    files["beyond"] = (png(901), "0 0.5 0.5 0.5 0.5\n9 0.5 0.5 0.5 0.5\n0 1.5 0.5 0.5 0.5\n")
    done = bring_in(other, yolo(tmp_path / "set", files))
    assert done.added == 24
    assert sorted(problem.partition(" ")[0] for problem in done.problems) == [
        "images/train/broken.png:", "labels/train/beyond.txt:2:", "labels/train/beyond.txt:3:",
    ]  # fmt: skip
    bags = said(other)
    assert bags["b3"][0] == {"knife": 1, "phone": 1}
    # A bag is a file's stem; what data.yaml names is what was looked for.
    assert set(bags["b3"][2]) == {"knife", "gun", "phone"}


def test_unknown_labels_stop_it_or_are_left_out(other: Database, bring_in: BringIn, tmp_path: Path) -> None:
    root = yolo(tmp_path / "set", {"a": (png(1), "0 0.5 0.5 0.5 0.5\n1 0.2 0.2 0.1 0.1\n")}, "[knife, unicorn]")
    with pytest.raises(UnknownLabel, match="unicorn"):
        bring_in(other, root)
    assert bring_in(other, root, skip_unknown=True).added == 1
    assert said(other)["a"][0] == {"knife": 1}


def coco(root: Path, **changes: Any) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "a.png").write_bytes(png(1))
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 320, "height": 240}],
        "categories": [{"id": 0, "name": "objects"}, {"id": 3, "name": "Knife"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [10, 20, 30, 40]}],
    }
    (root / "_annotations.coco.json").write_text(json.dumps(document | changes))
    return root


def test_a_coco_set_of_roboflow(other: Database, bring_in: BringIn, tmp_path: Path) -> None:
    assert bring_in(other, coco(tmp_path / "set" / "train")).added == 1
    assert said(other)["a"][:3] == ({"knife": 1}, [("knife", (10, 20, 40, 60))], ("knife",))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"images": [{"id": 1, "file_name": "../../a.png", "width": 320, "height": 240}]}, None),
        ({"images": [{"id": 1, "file_name": "b.png", "width": 320, "height": 240}]}, "'b.png' is missing"),
        ({"images": [{"id": 1, "file_name": "a.png", "width": 32, "height": 24}]}, "a picture of 32 x 24 pixels"),
        ({"images": [{"id": 1, "file_name": "a.png", "width": 420, "height": 240}]}, "labels a picture of 420 x 240"),
        ({"images": [7]}, "image 1 needs an id"),
        ({"annotations": [{"image_id": 1, "category_id": 3, "bbox": [1, 2, "x", 4]}]}, "annotation 1 of a.png: bbox"),
        ({"annotations": [{"image_id": 1, "category_id": 3, "bbox": [1, 2, float("nan"), 4]}]}, "annotation 1"),
        ({"annotations": [{"image_id": 1, "category_id": 8, "bbox": [1, 2, 3, 4]}]}, "category 8 is not in"),
        ({"annotations": [{"image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 0]}]}, "has no area"),
        ({"annotations": [{"image_id": 5, "category_id": 3, "bbox": [1, 2, 3, 4]}]}, "(image_id '5')"),
        ({"annotations": [{"image_id": [], "category_id": 3, "bbox": [1, 2, 3, 4]}]}, "no usable image_id"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_coco_is_named(
    other: Database, bring_in: BringIn, tmp_path: Path, changes: dict[str, Any], told: str | None
) -> None:
    (tmp_path / "a.png").write_bytes(png(1))
    done = bring_in(other, coco(tmp_path / "up" / "set", **changes))
    if told is None:  # the name leads outside: the file of that name within is taken instead, or nothing
        assert done.added + len(done.problems) == 1
        return
    assert told in done.problems[0]
    assert "_annotations.coco.json" in done.problems[0]


@pytest.mark.parametrize(
    "text", ["{", '{"images": []}', '{"images": 1, "annotations": [], "categories": []}', "[" * 99999]
)
def test_no_coco_file(other: Database, bring_in: BringIn, tmp_path: Path, text: str) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "x.json").write_text(text)
    with pytest.raises(BadDataset):
        bring_in(other, tmp_path / "set", format_name="coco")


def voc(root: Path, inner: str, head: str = "") -> Path:
    for folder in ("Annotations", "JPEGImages"):
        (root / folder).mkdir(parents=True)
    (root / "JPEGImages" / "a.png").write_bytes(png(1))
    (root / "JPEGImages" / "fine.png").write_bytes(png(2))
    (root / "Annotations" / "fine.xml").write_text("<annotation><filename>fine.png</filename></annotation>")
    (root / "Annotations" / "a.xml").write_text(f"{head}<annotation>\n<filename>a.png</filename>\n{inner}</annotation>")
    return root


def voc_box(name: str, *corners: object) -> str:
    inner = "".join(
        f"<{tag}>{value}</{tag}>" for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    )
    return f"<object>\n<name>{name}</name><bndbox>{inner}</bndbox></object>\n"


def test_voc_counts_from_one(other: Database, bring_in: BringIn, tmp_path: Path) -> None:
    root = voc(tmp_path / "set", voc_box("Knife", 1, 1, 320, 240) + voc_box("gun", 11, 21, 40, 60))
    assert bring_in(other, root).added == 2
    assert said(other)["a"][1] == [("gun", (10, 20, 40, 60)), ("knife", (0, 0, 320, 240))]
    assert said(other)["fine"][0] == {}
    assert set(said(other)["fine"][2]) == {"knife", "gun"}


@pytest.mark.parametrize(
    ("inner", "head", "told"),
    [
        (voc_box("knife", 1, 1, 2, "x"), "", "Annotations/a.xml:3: 'knife'"),
        (voc_box("knife", 1, 1, 9, 9) + voc_box("knife", 1, 1, 999, 9), "", "a.xml:5: 'knife': the box reaches"),
        (voc_box("knife", 9, 9, 1, 1), "", "Annotations/a.xml:3: 'knife': the box has no area"),
        ("<object>", "", "Annotations/a.xml: not valid XML"),
        (voc_box("&x;", 1, 1, 9, 9), '<!DOCTYPE a [<!ENTITY x "knife">]>', "declares a document type"),
        (voc_box("knife", 1, 1, 9, 9), '<!DOCTYPE a SYSTEM "file:///etc/passwd">', "declares a document type"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_voc_is_named(
    other: Database, bring_in: BringIn, tmp_path: Path, inner: str, head: str, told: str
) -> None:
    done = bring_in(other, voc(tmp_path / "set", inner, head), looked_for=("knife",))
    assert done.added == 1
    assert told in done.problems[0]


def test_a_data_set_reads_nothing_outside_itself(other: Database, bring_in: BringIn, tmp_path: Path) -> None:
    yolo(tmp_path / "secret", {"s": (png(1), "0 0.5 0.5 0.5 0.5\n")})
    root = yolo(tmp_path / "set", {"a": (png(2), "")})
    (root / "labels/train/a.txt").unlink()
    (root / "labels/train/a.txt").symlink_to(tmp_path / "secret" / "labels" / "train" / "s.txt")
    done = bring_in(other, root)
    assert done.added == 0
    assert "lies outside the data set" in done.problems[0]
    (root / "data.yaml").write_text("path: ../secret\ntrain: images/train\nnames: [knife]\n")
    with pytest.raises(BadDataset, match="outside the data set"):
        bring_in(other, root)


def test_what_comes_in_can_be_stopped_and_repeated(
    other: Database, bring_in: BringIn, tmp_path: Path, analysed: list[Scan]
) -> None:
    root = yolo(tmp_path / "set", {f"b{n}": (png(n, 32, 32), "0 0.5 0.5 0.5 0.5\n") for n in range(5)})
    progress = Progress()

    class AfterTwo:
        def is_set(self) -> bool:
            return progress.done >= 2

    progress.stop = AfterTwo()  # type: ignore[assignment]
    with pytest.raises(Stopped):
        bring_in(other, root, progress=progress)
    assert len(said(other)) == 2
    done = bring_in(other, root)
    assert (done.added, done.already) == (3, 2)
    assert len(analysed) == 5


def test_a_sidecar_is_not_believed_against_the_boxes(
    filled: list[Correction], other: Database, export: Export, bring_in: BringIn
) -> None:
    folder = export("yolo")
    label = next(path for path in (folder / "labels").rglob("*.txt") if len(path.read_text().splitlines()) == 1)
    label.write_text(label.read_text() + "1 0.5 0.5 0.25 0.25\n")
    assert bring_in(other, folder).added == len(filled)
    changed = [one for one in said(other).values() if len(one[1]) == 2 and sum(one[0].values()) == 2]
    assert changed
    (folder / "scans.jsonl").write_text('{"image": 7}\n')
    with pytest.raises(BadDataset, match=r"scans\.jsonl:1: image"):
        bring_in(other, folder)


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "set" / "a.png")
    with pytest.raises(BadDataset, match=r"Read are YOLO: a data\.yaml"):
        format_of(tmp_path / "set")


def test_copies_in_two_parts_of_a_set_are_one_bag_on_one_side(db: Database, tmp_path: Path, bring_in: BringIn) -> None:
    root = tmp_path / "set"
    for n, (part, tail) in enumerate([("train", "a1"), ("valid", "b2"), ("train", "c3")] * 6):
        stem = f"b{n // 3}_jpg.rf.{tail * 16}"
        for kind, content in (("images", png(n)), ("labels", b"")):
            file = root / part / kind / f"{stem}.{'png' if content else 'txt'}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    (root / "data.yaml").write_text("train: ../train/images\nval: ../valid/images\nnames: [knife]\n")
    assert bring_in(db, root, naming=BagNaming("rf"), looked_for=("knife",)).added == 18
    sides: dict[str, list[str]] = {}
    for analysis, correction in documents(db, of_scans(db)):
        assert correction is not None
        sides.setdefault(analysis.scan.bag_id, []).append(correction.split)
    assert {bag: len(of_bag) for bag, of_bag in sides.items()} == {f"rf:b{n}": 3 for n in range(6)}
    assert all(len(set(of_bag)) == 1 for of_bag in sides.values())
    # A second time the pictures are here, whatever the set is called now.
    again = bring_in(db, root, naming=BagNaming("other name"), looked_for=("knife",))
    assert (again.added, again.already) == (0, 18)


def test_pictures_numbered_alike_in_two_parts_are_two_bags_and_stored_ones_keep_theirs(
    db: Database, tmp_path: Path, bring_in: BringIn
) -> None:
    """Train and valid both begin at 12; 13 is the same picture in both. Train alone came in before."""
    root = tmp_path / "set"

    def put(part: str, name: str, shade: int, label: str) -> None:
        (root / part).mkdir(parents=True, exist_ok=True)
        (root / part / f"{name}.png").write_bytes(png(shade))
        box = f"<object><name>{label}</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>6</xmax><ymax>6</ymax></bndbox>"
        text = f"<annotation><filename>{name}.png</filename>{box}</object></annotation>"
        (root / part / f"{name}.xml").write_text(text)

    def bags() -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for analysis, correction in documents(db, of_scans(db)):
            assert correction is not None
            found.setdefault(analysis.scan.bag_id, []).extend(item.label for item in correction.items)
        return found

    put("train", "12", 1, "knife")
    assert bring_in(db, root, naming=BagNaming("v"), looked_for=("knife", "gun")).added == 1
    assert bags() == {"v:12": ["knife"]}
    put("valid", "12", 2, "gun")
    put("train", "13", 3, "gun")
    put("valid", "13", 3, "gun")
    done = bring_in(db, root, naming=BagNaming("v"), looked_for=("knife", "gun"))
    assert (done.added, done.already) == (2, 2)
    assert bags() == {"v:12": ["knife"], "v:valid:12": ["gun"], "v:13": ["gun"]}
