"""A stranger's files are bounded in bytes, rows, values and folders, and every value's kind is checked."""

from __future__ import annotations

import json
import random
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.exchange.datasets import HALF, HEIGHT, WIDTH, Read, annotation, coco, put
from xray_app.errors import BadDataset, DeskError, UnknownLabel
from xray_app.exchange import bounded_text, dataset, source, yolo_rows
from xray_app.exchange.box_counts import BoxCounts
from xray_app.exchange.dataset import LabelledImage


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


ODD: list[Any] = [
    None, True, 0, -1, 1.5, 1e308, 10**30, "", "x", "1", [], {}, [[]], {"a": [1]}, "\0", "a" * 5000, "../../x.png",
    [None] * 4, ["1"] * 4, [[1, 2, 3, 4, 5, 6]], {"size": [4, 4], "counts": "abc"},
]  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_a_value_of_any_kind_anywhere_is_refused_or_left_out_and_never_a_fault(
    root: Path, read: Read, seed: int
) -> None:
    dice = random.Random(seed)

    def bent(value: Any) -> Any:
        if dice.random() < 0.12:
            return dice.choice(ODD)
        if isinstance(value, dict):
            return {key: bent(one) for key, one in value.items()}
        return [bent(one) for one in value] if isinstance(value, list) else value

    whole = json.loads(coco(annotations=[annotation(segmentation=[[1, 2, 3, 4, 5, 9]], iscrowd=0), annotation(8, 4)]))
    shapes = {"shapes": [{"label": "gun", "shape_type": "polygon", "points": [[1, 2], [9, 2], [5, 9]]}]}
    put(root, {"a.png": "", "b.png": ""})
    for name, document in (("coco", whole), ("labelme", shapes | {"imagePath": "a.png", "imageWidth": WIDTH})):
        for _ in range(10):
            put(root, {"x.json": json.dumps(bent(document))})
            with suppress(DeskError):
                for one in read(name, skip_unknown=True).images:
                    assert all(0 <= x0 < x1 <= WIDTH and 0 <= y0 < y1 <= HEIGHT for x0, y0, x1, y1 in corners(one))


def corners(image: LabelledImage) -> list[tuple[float, ...]]:
    return [box.xyxy for box in image.boxes]


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


def test_boxes_left_out_are_all_counted_though_their_labels_be_too_many_to_tell_apart(
    root: Path, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    categories = [{"id": 3, "name": "gun"}, *({"id": n, "name": f"odd {n}"} for n in range(10, 16))]
    boxes = [annotation(category=n, bbox=[n, 1, 5, 5]) for n in (3, *range(10, 16))]
    boxes.append(annotation(category=15, bbox=[1, 1, 7, 7]))
    put(root, {"a.png": "", "x.json": coco(categories=categories, annotations=boxes)})
    monkeypatch.setattr(dataset, "MAX_PROBLEMS", 3)
    left_out = read("coco", skip_unknown=True).left_out
    assert left_out.total() == 7
    assert left_out["other labels", "unknown label"] == 4
    lines = BoxCounts(left_out=left_out).lines()
    assert lines == [
        "odd 10: 0 boxes taken, 1 left out (unknown label 1)",
        "odd 11: 0 boxes taken, 1 left out (unknown label 1)",
        "odd 12: 0 boxes taken, 1 left out (unknown label 1)",
        "other labels: 0 boxes taken, 4 left out (unknown label 4)",
    ]


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
