"""A label is never lost while its picture is kept: what cannot be read costs its picture, by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.exchange.datasets import SCISSORS, Read, annotation, coco, put, taken


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
