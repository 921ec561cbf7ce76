"""The sets people have: each form read as its users mean it, and no label lost while its picture is kept."""

from __future__ import annotations

import json
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import png
from xray_app.errors import BadDataset, UnknownLabel
from xray_app.exchange import bounded_text, dataset, source, yolo_rows
from xray_app.exchange.dataset import Dataset
from xray_app.exchange.label_map import LabelMap
from xray_app.exchange.readers import read_dataset
from xray_app.taxonomy import Taxonomy

WIDTH, HEIGHT = 80, 40
Read = Callable[..., Dataset]
Taken = dict[str, tuple[list[tuple[str, tuple[float, ...]]], Any]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    folder.mkdir()
    return folder


@pytest.fixture
def read(root: Path, taxonomy: Taxonomy) -> Read:
    def reading(format_name: str | None = None, **said: Any) -> Dataset:
        return read_dataset(root, LabelMap(taxonomy, **said), format_name)

    return reading


def put(root: Path, files: dict[str, bytes | str]) -> Path:
    """Writes files below a folder; a picture's content may be left empty."""
    for number, (name, content) in enumerate(files.items()):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content == "" and path.suffix.lower() in dataset.IMAGE_SUFFIXES:
            content = png(number, WIDTH, HEIGHT)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def taken(found: Dataset, root: Path) -> Taken:
    return {
        one.image.relative_to(root).as_posix(): (
            sorted((box.label, tuple(round(x, 1) for x in box.xyxy)) for box in one.boxes),
            one.labelled_classes,
        )
        for one in found.images
    }


def coco(**changes: Any) -> str:
    document: dict[str, Any] = {
        "images": [{"id": 7, "file_name": "a.png"}, {"id": 8, "file_name": "b.png"}],
        "categories": [{"id": 3, "name": "scissors"}, {"id": 4, "name": "Hammer"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "bbox": [5, 6, 10, 8]},
            {"id": 2, "image_id": 8, "category_id": 4, "bbox": [1, 2, 30, 20]},
        ],
    }
    return json.dumps(document | changes)


def annotation(image: Any = 7, category: Any = 3, **said: Any) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": [5, 6, 10, 8]} | said


SCISSORS = ("scissors", (5.0, 6.0, 15.0, 14.0))


# --- a label is never lost while its picture is kept ---------------------------------------------------------------


@pytest.mark.parametrize(
    "one", [annotation("7"), annotation(7.0), annotation("7.0"), annotation(7, "3"), annotation(7, 3.0)]
)
def test_an_id_is_one_id_in_whatever_form(root: Path, read: Read, one: dict[str, Any]) -> None:
    put(root, {"a.png": "", "b.png": "", "x.json": coco(annotations=[one, annotation(8, 4)])})
    found = read()
    assert taken(found, root)["a.png"][0] == [SCISSORS]
    assert not found.problems


def test_ids_that_are_texts_are_not_bent(root: Path, read: Read) -> None:
    images = [{"id": "007", "file_name": "a.png"}, {"id": 7, "file_name": "b.png"}]
    put(root, {"a.png": "", "b.png": "", "x.json": coco(images=images, annotations=[annotation("007"), annotation(7)])})
    assert len(read().images) == 2


@pytest.mark.parametrize(
    "lost",
    [{"item_id": 7, "category_id": 3, "bbox": [1, 1, 9, 9]}, annotation(99), annotation(None), annotation(True), 5],
)
def test_a_box_of_no_known_picture_costs_the_pictures_without_any(root: Path, read: Read, lost: Any) -> None:
    put(root, {"a.png": "", "b.png": "", "x.json": coco(annotations=[lost, annotation(8, 4)])})
    found = read()
    assert list(taken(found, root)) == ["b.png"]
    assert "a.png has no box, but 1 annotations of this file are of no picture" in found.problems[-1]
    assert found.left_out.total() == 1


@pytest.mark.parametrize(
    ("one", "told"),
    [
        (annotation(category=None), "category None"),
        (annotation(category=77), "category 77"),
        (annotation(bbox=[1, 2, "wide", 4]), "bbox must be four numbers"),
        (annotation(bbox=None), "neither a bbox nor a segmentation"),
        (annotation(bbox=[1, 2, 0, 4]), "no area"),
        (annotation(bbox=[1, 2, 999, 4]), "past the edge"),
        (annotation(iscrowd=1), "a crowd"),
        (annotation(bbox=[], segmentation=[[1, 2, 3]]), "no polygon of numbers"),
        (annotation(bbox=[], segmentation={"size": [4, 4], "counts": [3, 1]}), "do not fill"),
    ],
)  # fmt: skip
def test_a_box_that_cannot_be_read_costs_its_own_picture(
    root: Path, read: Read, one: dict[str, Any], told: str
) -> None:
    put(root, {"a.png": "", "b.png": "", "x.json": coco(annotations=[annotation(), one, annotation(8, 4)])})
    found = read()
    assert list(taken(found, root)) == ["b.png"]
    assert told in found.problems[0]
    assert found.left_out.total() == 2  # the good box of that picture is lost with it


def test_doubled_ids_rows_and_pictures_are_left_out_by_name(root: Path, read: Read) -> None:
    images = [{"id": 7, "file_name": "a.png"}, {"id": "7", "file_name": "b.png"}, {"id": 9, "file_name": "c.png"}]
    images += [{"id": 10, "file_name": "d.png"}, {"id": 11, "file_name": "d.png"}, {"id": 12, "file_name": "e.png"}]
    rows = [annotation(7), annotation(9), annotation(9), annotation(10), annotation(11, 4), annotation(12)]
    put(root, {f"{name}.png": "" for name in "abcde"} | {"x.json": coco(images=images, annotations=rows)})
    found = read()
    assert list(taken(found, root)) == ["e.png"]
    assert sum("is used twice" in problem for problem in found.problems) == 2
    assert any("c.png: the very same box is there twice" in problem for problem in found.problems)
    assert any("d.png is labelled 2 times, and differently" in problem for problem in found.problems)
    assert found.left_out.total() == 5


def test_two_categories_of_one_id_are_nobodys(root: Path, read: Read) -> None:
    categories = [{"id": 3, "name": "scissors"}, {"id": "3", "name": "gun"}, {"id": 4, "name": "Hammer"}]
    put(root, {"a.png": "", "b.png": "", "x.json": coco(categories=categories)})
    assert list(taken(read(), root)) == ["b.png"]


def test_what_was_looked_for_is_each_files_own_and_only_what_has_a_box(root: Path, read: Read) -> None:
    two = coco(images=[{"id": 1, "file_name": "b.png"}], annotations=[annotation(1, 4)])
    one = coco(
        images=[{"id": 1, "file_name": "a.png"}],
        annotations=[annotation(1, 3)],
        categories=[{"id": 0, "name": "gun"}, {"id": 3, "name": "scissors"}],
    )
    put(root, {"one/a.png": "", "two/b.png": "", "one/x.json": one, "two/x.json": two})
    assert {name: scope for name, (_, scope) in taken(read(), root).items()} == {
        "one/a.png": ("scissors",), "two/b.png": ("hammer",),
    }  # fmt: skip
    wider = taken(read(looked_for=("gun",)), root)
    assert {name: scope for name, (_, scope) in wider.items()} == {
        "one/a.png": ("scissors", "gun"), "two/b.png": ("gun", "hammer"),
    }  # fmt: skip


def test_nobody_can_tell_what_was_looked_for_in_a_set_without_boxes(root: Path, read: Read) -> None:
    put(root, {"a.png": "", "b.png": "", "x.json": coco(annotations=[])})
    assert [scope for _, scope in taken(read(), root).values()] == [(), ()]
    assert [scope for _, scope in taken(read(looked_for=("gun",)), root).values()] == [("gun",), ("gun",)]


def test_of_yolo_it_is_what_data_yaml_names_unless_a_person_says_so(root: Path, read: Read) -> None:
    put(root, {"images/a.png": "", "labels/a.txt": "0 .5 .5 .2 .2", "data.yaml": "train: images\nnames: [saw, gun]\n"})
    assert taken(read(), root)["images/a.png"][1] == ("saw", "gun")
    assert taken(read(looked_for=("axe",)), root)["images/a.png"][1] == ("axe", "saw")


# --- names, sizes and encodings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("images/two bags.png", "images/two%20bags.png"),
        ("images/übung.png", unicodedata.normalize("NFD", "images/übung.png")),
        (unicodedata.normalize("NFD", "images/ñandú.png"), "images/ñandú.png"),
        ("images/BAG-7.PNG", "bag-7.png"),
        ("images/x.png", "images\\x.png"),
        ("images/x.png", "C:\\Users\\me\\set\\images\\x.png"),
        ("images/x.png", "/home/me/set/images/x.png"),
        ("images/x.png", "/data/local-files/?d=set/images/x.png"),
        ("images/x%20y.png", "images/x%20y.png"),
        ("images/刀.png", "images/%E5%88%80.png"),
    ],
)
def test_a_picture_is_found_by_the_name_it_was_given_elsewhere(root: Path, read: Read, file: str, name: str) -> None:
    put(root, {file: "", "x.json": coco(images=[{"id": 7, "file_name": name}], annotations=[annotation()])})
    assert list(taken(read(), root)) == [file]


def test_a_name_that_fits_two_pictures_fits_none(root: Path, read: Read) -> None:
    row = coco(images=[{"id": 7, "file_name": "c/x.png"}], annotations=[annotation()])
    put(root, {"a/x.png": "", "b/x.png": "", "x.json": row})
    assert "is there 2 times" in read().problems[0]
    put(root, {"deep/c/x.png": ""})
    assert list(taken(read(), root)) == ["deep/c/x.png"]


@pytest.mark.parametrize(
    ("size", "is_taken"),
    [
        ({"width": "80", "height": "40"}, True),
        ({"width": 80.0, "height": 40.0}, True),
        ({}, True),
        ({"width": None, "height": 40}, True),
        ({"width": 0, "height": 0}, True),
        ({"width": 79, "height": 40}, False),
        ({"width": "160", "height": "80"}, False),
    ],
)  # fmt: skip
def test_a_size_is_compared_with_the_picture(root: Path, read: Read, size: dict[str, Any], is_taken: bool) -> None:
    image = {"id": 7, "file_name": "a.png"} | size
    put(root, {"a.png": "", "x.json": coco(images=[image], annotations=[annotation()])})
    put(root, {"voc/b.png": ""})
    assert bool(read("coco").images) is is_taken
    side = "".join(f"<{name}>{value}</{name}>" for name, value in size.items() if value is not None)
    put(root, {"voc/b.xml": voc(f"<size>{side}</size>")})
    assert bool(read("voc").images) is is_taken


def test_numbers_as_text_polygons_and_masks_give_their_box(root: Path, read: Read) -> None:
    runs = {"size": [HEIGHT, WIDTH], "counts": [2 * HEIGHT + 5, 10, HEIGHT - 10, 10, 77 * HEIGHT - 25 + HEIGHT - 40]}
    runs["counts"][-1] = WIDTH * HEIGHT - sum(runs["counts"][:-1])
    rows = [
        annotation(bbox=["5", " 6", "10", "8.0"]),
        annotation(8, 4, bbox=[], segmentation=[[1, 2, 30, 2, 16, 22]]),
        annotation(8, 4, bbox=None, segmentation=runs),
        annotation(8, 4, bbox=None, segmentation={"size": [4, 4], "counts": "52203"}),
    ]
    put(root, {"a.png": "", "b.png": "", "x.json": coco(annotations=rows)})
    found = read()
    boxes = taken(found, root)
    assert boxes["a.png"][0] == [SCISSORS]
    assert [xyxy for _, xyxy in boxes["b.png"][0]] == [(1, 1, 3, 3), (1, 2, 30, 22), (2, 5, 4, 15)]
    polygons = [box.polygon for one in found.images for box in one.boxes if box.polygon]
    assert polygons == [(1, 2, 30, 2, 16, 22)]


def test_captions_and_lists_of_pictures_are_named_and_passed_over(root: Path, read: Read) -> None:
    captions = json.dumps({"images": [], "annotations": [{"image_id": 7, "caption": "a bag"}]})
    pictures = json.dumps({"images": [{"id": 1, "file_name": "b.png"}], "categories": []})
    put(root, {"a.png": "", "b.png": "", "x.json": coco(), "captions.json": captions, "info.json": pictures})
    put(root, {"empty.json": '{"images": [', "notes.json": '{"categories": []}'})
    found = read()
    assert len(found.images) == 2
    assert [note.partition(":")[0].rpartition("/")[2] for note in found.notes] == ["captions.json", "info.json"]
    assert ["empty.json" in problem for problem in found.problems] == [True]
    (root / "x.json").unlink()
    with pytest.raises(BadDataset, match="needs a list"):
        read()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "gb2312", "gbk"])
def test_label_files_come_in_the_encodings_people_have(root: Path, read: Read, encoding: str) -> None:
    row = (
        coco(images=[{"id": 7, "file_name": "刀具.png"}], annotations=[annotation()]).encode().decode("unicode_escape")
    )
    put(root, {"刀具.png": "", "x.json": row.encode(encoding)})
    assert list(taken(read(), root)) == ["刀具.png"]
    head = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>'
    xml = head + voc("", "<filename>刀具.png</filename>")
    (root / "x.json").unlink()
    put(root, {"other.xml": xml.encode(encoding)})
    assert list(taken(read(), root)) == ["刀具.png"]


# --- Pascal VOC -------------------------------------------------------------------------------------------------------


def voc(size: str = "", head: str = "", box: str = "") -> str:
    box = box or "<bndbox><xmin>6</xmin><ymin>7</ymin><xmax>15</xmax><ymax>14</ymax></bndbox>"
    return f"<annotation>{head}{size}<object><name>Scissors</name>{box}</object></annotation>"


def test_voc_masks_and_splits_of_the_same_numbers(root: Path, read: Read) -> None:
    put(root, {"train/1.png": "", "train/1.xml": voc(), "test/1.png": "", "test/1.xml": voc()})
    put(root, {"JPEGImages/2.png": "", "Annotations/2.xml": voc(), "SegmentationClass/2.png": "", "masks/2.png": ""})
    assert list(taken(read(), root)) == ["JPEGImages/2.png", "test/1.png", "train/1.png"]


def test_a_picture_that_is_not_there_does_not_take_another_splits(root: Path, read: Read) -> None:
    put(root, {"train/1.xml": voc(), "test/1.png": "", "test/1.xml": voc(box="<bndbox/>").replace("Sci", "sci")})
    assert not read().images


@pytest.mark.parametrize(
    ("box", "xyxy"),
    [
        ("<robndbox><cx>40</cx><cy>20</cy><w>20</w><h>10</h><angle>1.5707963</angle></robndbox>", (35, 10, 45, 30)),
        ("<robndbox><cx>3</cx><cy>20</cy><w>20</w><h>10</h><angle>0</angle></robndbox>", (0, 15, 13, 25)),
        ("<polygon><x1>4</x1><y1>5</y1><x2>9</x2><y2>5</y2><x3>7</x3><y3>12</y3></polygon>", (4, 5, 9, 12)),
        ("<robndbox><cx>99</cx><cy>20</cy><w>20</w><h>10</h><angle>0</angle></robndbox>", None),
        ("<robndbox><cx>40</cx><cy>20</cy><w>0</w><h>10</h><angle>0</angle></robndbox>", None),
        ("<pose>none</pose>", None),
    ],
)  # fmt: skip
def test_voc_turned_boxes_and_polygons_give_their_hull(
    root: Path, read: Read, box: str, xyxy: tuple[float, ...] | None
) -> None:
    put(root, {"a.png": "", "a.xml": voc(box=box)})
    assert [boxes for boxes, _ in taken(read(), root).values()] == ([[("scissors", xyxy)]] if xyxy else [])


# --- YOLO's kin -------------------------------------------------------------------------------------------------------

HALF = "1 0.5 0.5 0.5 0.5\n"
GUN = ("gun", (20.0, 10.0, 60.0, 30.0))


@pytest.mark.parametrize(
    "split",
    ["train.txt", "/content/set/images/train", "../images/train", "[images/train]", "C:\\me\\images\\train", "images/"],
)
def test_yolo_splits_are_lists_or_folders_of_any_machine(root: Path, read: Read, split: str) -> None:
    put(root, {"images/train/a.png": "", "labels/train/a.txt": HALF, "train.txt": "data/images/train/a.png\n\n"})
    put(
        root,
        {"data.yaml": f"path: /content/set\ntrain: {split}\nval: images/none\ntest:\nnames:\n  0: saw\n  1: gun\n"},
    )
    found = read()
    assert taken(found, root) == {"images/train/a.png": ([GUN], ("saw", "gun"))}
    assert not found.problems
    assert "`val` names images/none" in found.notes[0]


def test_a_listed_picture_that_is_missing_is_named_by_line(root: Path, read: Read) -> None:
    put(root, {"images/a.png": "", "labels/a.txt": HALF, "train.txt": "./images/a.png\n./images/b.png\n"})
    put(root, {"data.yaml": "train: train.txt\nnames: [saw, gun]\n"})
    found = read()
    assert len(found.images) == 1
    assert found.problems[0].endswith("train.txt:2: './images/b.png' is missing")


@pytest.mark.parametrize(
    ("row", "box"),
    [
        ("0 0.1 0.1 0.5 0.2 0.3 0.6", ("saw", (8, 4, 40, 24))),
        ("1.0 0.2 0.2 0.4 0.25 0.35 0.5 0.15 0.45", ("gun", (12, 8, 32, 20))),
        ("1 0.2 0.2 1.004 0.25 0.35 0.5", ("gun", (16, 8, 80, 20))),
        ("1 0.2 0.2 1.006 0.25 0.35 0.5", None),
        ("1 0.2 0.2 0.4 0.25 0.35", None),
        ("1 0.5 0.5 0.2 0.2 0.93", None),
        ("2 0.5 0.5 0.2 0.2", None),
        ("gun 0.5 0.5 0.2 0.2", None),
    ],
)
def test_yolo_polygons_and_turned_boxes_give_their_hull(
    root: Path, read: Read, row: str, box: tuple[str, tuple[float, ...]] | None
) -> None:
    put(root, {"images/a.png": "", "labels/a.txt": row, "data.yaml": "train: images\nnames: [saw, gun]\n"})
    assert [boxes for boxes, _ in taken(read(), root).values()] == ([[box]] if box else [])


def test_darknet_as_cvat_writes_it(root: Path, read: Read) -> None:
    put(root, {"obj.data": "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\n", "obj.names": "saw\ngun\n"})
    put(root, {"train.txt": "data/obj_train_data/a.png\n", "obj_train_data/a.png": "", "obj_train_data/a.txt": HALF})
    put(root, {"obj_train_data/stray.txt": HALF})
    found = read()
    assert found.format_name == "darknet"
    assert taken(found, root) == {"obj_train_data/a.png": ([GUN], ("saw", "gun"))}
    assert found.left_out == {("gun", "label without image"): 1}


@pytest.mark.parametrize("folders", [("", ""), ("images/", "labels/")])
def test_labelimg_and_label_studio(root: Path, read: Read, folders: tuple[str, str]) -> None:
    images, labels = folders
    put(root, {f"{images}a.png": "", f"{labels}a.txt": HALF, "classes.txt": "saw\ngun\n", f"{images}open.png": ""})
    if images:
        put(root, {"notes.json": '{"categories": [{"id": 0, "name": "saw"}], "info": {}}'})
    found = read()
    assert found.format_name == "classes-txt"
    assert taken(found, root) == {f"{images}a.png": ([GUN], ("saw", "gun"))}
    assert "open.png" in found.problems[0]


# --- others -----------------------------------------------------------------------------------------------------------


def test_opixray_and_hixray(root: Path, read: Read) -> None:
    put(root, {"train/train_image/1 a.png": "", "train/train_annotation/1 a.txt": "1 a.png Folding_Knife 5 6 15 14\n"})
    put(root, {"test/test_image/2.png": "", "test/test_annotation/2.txt": "2.png Scissor 0 0 80 40\r\n"})
    put(root, {"test/test_image/3.png": "", "test/test_annotation/3.txt": "", "test/test_image/4.png": ""})
    put(root, {"test/test_image/5.png": "", "test/test_annotation/5.txt": "5.png Scissor 0 0 99 40\n"})
    found = read()
    assert found.format_name == "opixray"
    scope = ("knife", "scissors")
    assert taken(found, root) == {
        "test/test_image/2.png": ([("scissors", (0, 0, 80, 40))], scope),
        "test/test_image/3.png": ([], scope),
        "train/train_image/1 a.png": ([("knife", (5, 6, 15, 14))], scope),
    }
    assert found.left_out == {("scissors", "bad box"): 1}
    assert any("4.png" in problem for problem in found.problems)


def test_gdxray_needs_a_word_for_its_series(root: Path, read: Read) -> None:
    rows = "  1.0000000e+00   5.0000000e+00   1.5000000e+01   6.0000000e+00   1.4000000e+01\n"
    put(root, {"B0099/ground_truth.txt": rows, "B0099/B0099_0001.png": "", "B0099/B0099_0002.png": ""})
    with pytest.raises(UnknownLabel, match="B0099"):
        read()
    found = read(said={"b0099": "gun"})
    assert taken(found, root) == {
        "B0099/B0099_0001.png": ([("gun", (5, 6, 15, 14))], ("gun",)),
        "B0099/B0099_0002.png": ([], ("gun",)),
    }
    put(root, {"B0099/ground_truth.txt": rows + "2 broken\n"})
    found = read(said={"b0099": "gun"})
    assert list(taken(found, root)) == ["B0099/B0099_0001.png"]
    put(root, {"B0099/ground_truth.txt": rows.replace("1.0000000e+00", "9")})
    assert "picture 9 is missing" in read(said={"b0099": "gun"}).problems[-1]


def shape(label: str = "gun", kind: str = "rectangle", points: Any = ((5, 6), (15, 14))) -> dict[str, Any]:
    return {"label": label, "shape_type": kind, "points": [list(point) for point in points]}


def test_labelme(root: Path, read: Read) -> None:
    shapes = [
        shape(), shape("knife", "polygon", ((1, 2), (9, 2), (5, 20))), shape("saw", "circle", ((40, 20), (40, 30))),
    ]  # fmt: skip
    document = {"shapes": shapes, "imagePath": "..\\pics\\a.png", "imageWidth": WIDTH, "imageHeight": HEIGHT}
    put(root, {"pics/a.png": "", "json/a.json": json.dumps(document)})
    line = {"shapes": [shape("saw", "linestrip")], "imagePath": "b.png", "imageHeight": HEIGHT, "imageWidth": WIDTH}
    put(root, {"pics/b.png": "", "json/b.json": json.dumps(line)})
    found = read()
    assert found.format_name == "labelme"
    boxes = [("gun", (5, 6, 15, 14)), ("knife", (1, 2, 9, 20)), ("saw", (30, 10, 50, 30))]
    assert taken(found, root) == {"pics/a.png": (boxes, ("knife", "saw", "gun"))}
    assert "a linestrip encloses nothing" in found.problems[0]


def test_cvat_for_images(root: Path, read: Read) -> None:
    xml = f"""<?xml version="1.0"?><annotations>
    <meta><task><labels><label><name>axe</name></label></labels></task></meta>
    <image id="0" name="sub/a.png" width="{WIDTH}" height="{HEIGHT}">
      <box label="gun" xtl="5" ytl="6" xbr="15" ybr="14"/>
      <box label="saw" xtl="30" ytl="15" xbr="50" ybr="25" rotation="90"/>
      <polygon label="knife" points="1,2;9,2;5,20"/>
      <ellipse label="gun" cx="40" cy="20" rx="8" ry="4"/>
      <mask label="knife" rle="1,2" left="60" top="3" width="10" height="12"/>
    </image>
    <image id="1" name="b.png" width="{WIDTH}" height="{HEIGHT}"><polyline label="gun" points="1,2;9,2"/></image>
    <image id="2" name="c.png" width="{WIDTH}" height="{HEIGHT}"/></annotations>"""
    put(root, {"images/sub/a.png": "", "images/b.png": "", "images/c.png": "", "annotations.xml": xml})
    found = read()
    assert found.format_name == "cvat"
    boxes = [
        ("gun", (5, 6, 15, 14)), ("gun", (32, 16, 48, 24)), ("knife", (1, 2, 9, 20)), ("knife", (60, 3, 70, 15)),
        ("saw", (35, 10, 45, 30)),
    ]  # fmt: skip
    scope = ("knife", "saw", "gun")
    assert taken(found, root) == {"images/sub/a.png": (boxes, scope), "images/c.png": ([], scope)}
    assert "a polyline: it encloses nothing" in found.problems[0]
    put(root, {"annotations.xml": "<annotations><track label='gun'/></annotations>"})
    with pytest.raises(BadDataset, match="tracks of a video"):
        read()


# --- bounds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x]\nb: [*a, *a]\ntrain: images\nnames: [gun]\n",
        "train: images\nnames: &n {0: gun}\nother: *n\n",
        "train: images\nnames: [gun, [saw]]\n",
        "train: {a: b}\nnames: [gun]\n",
        "train: [[images]]\nnames: [gun]\n",
        "train: images\nnames: {gun: 0}\n",
        "train: images\nnames: gun\n",
        "path: [images]\ntrain: images\nnames: [gun]\n",
        "train: images\nnames: [gun]\n" + "[" * 5000,
    ],
)
def test_a_data_yaml_of_another_kind_is_refused_at_once(root: Path, read: Read, text: str) -> None:
    put(root, {"images/a.png": "", "labels/a.txt": HALF, "data.yaml": text})
    with pytest.raises(BadDataset) as caught:
        read()
    assert len(caught.value.message) < 1500


def test_words_of_yaml_are_labels_as_they_stand(root: Path, read: Read) -> None:
    put(
        root,
        {"images/a.png": "", "labels/a.txt": "", "data.yaml": "train: images\nnames: [gun, no, 1_000, 2026-01-01]"},
    )
    with pytest.raises(UnknownLabel, match="'no', '1_000', '2026-01-01'"):
        read()


def test_files_rows_and_values_are_bounded(root: Path, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "".join(f"1 0.5 0.5 0.{n + 10} 0.2\n" for n in range(4))
    put(root, {"images/a.png": "", "labels/a.txt": rows, "data.yaml": "train: images\nnames: [saw, gun]\n"})
    monkeypatch.setattr(yolo_rows, "MAX_BOXES", 4)
    assert len(read().images) == 1
    monkeypatch.setattr(yolo_rows, "MAX_BOXES", 3)
    found = read()
    assert "4 boxes; at most 3" in found.problems[0]
    assert found.left_out == {("gun", "too many boxes"): 4}
    monkeypatch.setattr(yolo_rows, "MAX_LABEL_FILE", len(rows) - 1)
    assert f"larger than {len(rows) - 1} bytes" in read().problems[0]
    text = coco()
    put(root, {"x.json": text})
    values = text.count(",") + text.count("[") + text.count("{")
    monkeypatch.setattr(bounded_text, "MAX_JSON_VALUES", values - 1)
    with pytest.raises(BadDataset, match="more than"):
        read("coco")
    monkeypatch.setattr(bounded_text, "MAX_JSON_VALUES", values)
    assert read("coco").problems


def test_problems_are_counted_past_those_that_are_kept(root: Path, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    put(root, {f"images/{n}.png": "" for n in range(5)} | {"data.yaml": "train: images\nnames: [gun]\n"})
    monkeypatch.setattr(dataset, "MAX_PROBLEMS", 3)
    problems = read().problems
    assert len(problems) == 4
    assert problems[-1] == "… and 2 more problems"


# --- ZIPs -------------------------------------------------------------------------------------------------------------


def packed(path: Path, names: list[str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return path


def test_a_zip_of_an_old_windows_tool_has_folders(tmp_path: Path) -> None:
    path = packed(tmp_path / "w.zip", ["top\\labels\\a.txt", "top\\images\\b.png"])
    with source.opened(path, tmp_path) as folder:
        assert sorted(one.relative_to(folder).as_posix() for one in folder.rglob("*.*")) == [
            "images/b.png",
            "labels/a.txt",
        ]


def test_a_zip_with_names_in_gbk(tmp_path: Path) -> None:
    path = packed(tmp_path / "g.zip", ["aaaa.png", "other.txt"])
    path.write_bytes(path.read_bytes().replace(b"aaaa.png", "刀具".encode("gbk") + b".png"))
    with source.opened(path, tmp_path) as folder:
        assert (folder / "刀具.png").is_file()


def test_a_zips_folders_and_its_table_of_contents_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = packed(tmp_path / "deep.zip", ["/".join("a" * 29) + "/x", "y"])
    with source.opened(deep, tmp_path):
        pass
    with (
        pytest.raises(BadDataset, match="no plain path"),
        source.opened(packed(tmp_path / "deeper.zip", ["/".join("a" * 30) + "/x"]), tmp_path),
    ):
        pass
    wide = packed(tmp_path / "wide.zip", [f"{n}/x" for n in range(4)])
    monkeypatch.setattr(source, "MAX_FOLDERS", 5)  # the top is one of them
    with source.opened(wide, tmp_path):
        pass
    monkeypatch.setattr(source, "MAX_FOLDERS", 4)
    with pytest.raises(BadDataset, match="more than 4 folders"), source.opened(wide, tmp_path):
        pass
    monkeypatch.setattr(source, "MAX_DIRECTORY", 100)
    with pytest.raises(BadDataset, match="table of contents has"), source.opened(wide, tmp_path):
        pass
