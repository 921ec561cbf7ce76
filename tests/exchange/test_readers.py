"""The sets people have: each form, name, size and encoding read as its users mean it."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from tests.exchange.datasets import GUN, HALF, HEIGHT, SCISSORS, WIDTH, Read, annotation, coco, put, taken, voc
from xray_app.errors import BadDataset, UnknownLabel
from xray_app.exchange.outline import polygon_area


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
        annotation(8, 4, bbox=None, segmentation={"size": [HEIGHT, WIDTH], "counts": "Y12V10WP3"}),
    ]
    put(root, {"a.png": "", "b.png": "", "x.json": coco(annotations=rows)})
    found = read()
    boxes = taken(found, root)
    assert boxes["a.png"][0] == [SCISSORS]
    assert [xyxy for _, xyxy in boxes["b.png"][0]] == [(1, 1, 3, 3), (1, 2, 30, 22), (2, 5, 4, 15)]
    outlines = [box.outline.rings for one in found.images for box in one.boxes if box.outline.rings]
    assert outlines == [
        ((1, 2, 30, 2, 16, 22),), ((2, 5, 4, 5, 4, 15, 2, 15),), ((1, 1, 3, 1, 3, 3, 1, 3),),
    ]  # fmt: skip


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
      <mask label="axe" rle="1, 2, 1, 3, 1, 1, 3" left="70" top="30" width="4" height="3"/>
    </image>
    <image id="1" name="b.png" width="{WIDTH}" height="{HEIGHT}"><polyline label="gun" points="1,2;9,2"/></image>
    <image id="2" name="c.png" width="{WIDTH}" height="{HEIGHT}"/></annotations>"""
    put(root, {"images/sub/a.png": "", "images/b.png": "", "images/c.png": "", "annotations.xml": xml})
    found = read()
    assert found.format_name == "cvat"
    boxes = [
        ("axe", (70, 30, 74, 33)), ("gun", (5, 6, 15, 14)), ("gun", (32, 16, 48, 24)), ("knife", (1, 2, 9, 20)),
        ("knife", (60, 3, 70, 15)), ("saw", (35, 10, 45, 30)),
    ]  # fmt: skip
    scope = ("knife", "axe", "saw", "gun")
    assert taken(found, root) == {"images/sub/a.png": (boxes, scope), "images/c.png": ([], scope)}
    outlines = {box.label: box.outline for one in found.images for box in one.boxes if box.xyxy[0] >= 60}
    assert outlines["knife"].lost, "its runs do not fill it"
    # .XX. / XXX. / X... by rows
    (ring,) = outlines["axe"].rings
    corners = [(70, 31), (70, 33), (71, 30), (71, 31), (71, 32), (71, 33), (73, 30), (73, 32)]
    assert (sorted(zip(ring[::2], ring[1::2], strict=True)), polygon_area(ring)) == (corners, 6)
    assert "a polyline: it encloses nothing" in found.problems[0]
    put(root, {"annotations.xml": "<annotations><track label='gun'/></annotations>"})
    with pytest.raises(BadDataset, match="tracks of a video"):
        read()
