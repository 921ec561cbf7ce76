"""YOLO data sets to samples: every bad line named, scopes kept, splits by bag."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.training.conftest import YoloFolder
from training.__main__ import app
from training.data.samples import read_jsonl
from training.data.yolo import prepare, read_yolo
from xray_app.errors import BadDataset, UnknownLabel
from xray_app.exchange.bag_names import BagNaming
from xray_app.report import INSTRUCTION
from xray_app.taxonomy import Taxonomy

BOX = "0.5 0.5 0.5 0.5"


def test_a_yolo_scan_becomes_pixels_canonical_names_and_a_scoped_answer(yolo: YoloFolder, taxonomy: Taxonomy) -> None:
    yolo.add("train", {"bag7": f"1 {BOX}\n1 0.25 0.5 0.5 1.0\n0 {BOX}\n"}).names("zippooil", "SwissArmyKnife")
    (sample,) = read_yolo(yolo.root, taxonomy).splits["train"]
    assert sample.bag_id == "bag7"
    assert (sample.width, sample.height) == (40, 20)
    assert sample.labelled_classes == ("Swiss army knife", "lighter fuel")
    assert sample.instruction == f"{INSTRUCTION} Report only: Swiss army knife, lighter fuel."
    assert sample.response.startswith("Items detected: 2 Swiss army knives (threat), 1 lighter fuel (threat).")
    assert [box.label for box in sample.boxes] == ["Swiss army knife", "Swiss army knife", "lighter fuel"]
    assert sample.boxes[0].xyxy == pytest.approx((10, 5, 30, 15))
    assert sample.counts(taxonomy) == {"Swiss army knife": 2, "lighter fuel": 1}


def test_names_may_be_a_mapping_and_all_drawn_classes_make_a_full_instruction(
    yolo: YoloFolder, taxonomy: Taxonomy
) -> None:
    yolo.add("train", {"a": ""})
    names = "\n".join(f"  {i}: {item.name}" for i, item in enumerate(taxonomy.drawn))
    (yolo.root / "data.yaml").write_text(f"train: images/train\nnames:\n{names}\n")
    (sample,) = read_yolo(yolo.root, taxonomy).splits["train"]
    assert sample.labelled_classes is None
    assert sample.instruction == INSTRUCTION
    assert sample.response == "Items detected: none. Security risk: LOW - no threats detected."


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (f"2 {BOX}", "class 2 is not in `names`"),
        ("0 0.5 0.5 0.5", "needs five columns"),
        ("0 0.1 0.1 0.2 0.1 0.9", "needs five columns"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2 0.3", "needs five columns"),
        ("0 0.1 0.1 0.2 0.1 1.2 0.2", "coordinates must be between 0 and 1"),
        ("0 0.1 0.1 0.2 0.1 0.3 0.1", "the box has no area"),
        (f"0 {BOX}", "this row is there twice"),
        ("0 1.2 0.5 0.1 0.1", "coordinates must be between 0 and 1"),
        ("0 nan 0.5 0.1 0.1", "coordinates must be between 0 and 1"),
        ("0 0.5 -0.1 0.1 0.1", "coordinates must be between 0 and 1"),
        ("0 0.5 0.5 0 0.1", "the box has no area"),
        ("0 a 0.5 0.1 0.1", "not numbers"),
        ("0 0.9 0.5 0.4 0.1", "the box reaches past the edge"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(yolo: YoloFolder, taxonomy: Taxonomy, row: str, reason: str) -> None:
    yolo.add("train", {"good": f"0 {BOX}", "bad": f"0 {BOX}\n{row}\n"}).names("knife", "scissors")
    with pytest.raises(BadDataset) as caught:
        read_yolo(yolo.root, taxonomy)
    assert f"{yolo.root / 'labels/train/bad.txt'}:2: {reason}" in caught.value.message
    data = read_yolo(yolo.root, taxonomy, skip_bad=True)
    assert [sample.bag_id for sample in data.splits["train"]] == ["good"]
    assert len(data.left_out) == 1
    assert "bad.txt:2" in data.left_out[0]


def test_missing_files_broken_pictures_and_leaks_are_each_reported(yolo: YoloFolder, taxonomy: Taxonomy) -> None:
    yolo.add("train", {"a": "", "b": "", "c": "", "leak": ""}).add("val", {"v": ""}, start=3).names("knife")
    (yolo.root / "labels/train/a.txt").unlink()
    (yolo.root / "images/train/b.png").unlink()
    (yolo.root / "images/train/c.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(BadDataset) as caught:
        read_yolo(yolo.root, taxonomy)
    message = caught.value.message
    assert "4 problems" in message
    assert "a.txt is missing" in message
    assert "b.txt: its image is missing" in message
    assert "c.png: not a readable picture" in message
    assert "leak.png: the same picture is in val as v.png" in message
    with pytest.raises(BadDataset, match="no usable training scans"):
        read_yolo(yolo.root, taxonomy, skip_bad=True)


def test_a_bag_in_both_splits_is_a_leak_and_the_training_copy_goes(yolo: YoloFolder, taxonomy: Taxonomy) -> None:
    copies = [f"a_jpg.rf.{tail * 16}" for tail in ("a1", "b2")]
    yolo.add("train", {copies[0]: "", "b": ""}).add("val", {copies[1]: ""}, start=9).names("knife")
    with pytest.raises(BadDataset, match=r"images/train/a_jpg\.rf\.a1.*: the bag a is in val too"):
        read_yolo(yolo.root, taxonomy)
    splits = read_yolo(yolo.root, taxonomy, skip_bad=True).splits
    assert [sample.bag_id for sample in splits["train"]] == ["b"]
    assert [sample.bag_id for sample in splits["val"]] == ["a"]


def test_splits_that_number_their_pictures_anew_hold_different_bags(yolo: YoloFolder, taxonomy: Taxonomy) -> None:
    yolo.add("train", {"0007": "", "0008": ""}).add("val", {"0007": ""}, start=9).names("knife")
    splits = read_yolo(yolo.root, taxonomy).splits
    assert [sample.bag_id for sample in splits["train"]] == ["images:train:0007", "0008"]
    assert [sample.bag_id for sample in splits["val"]] == ["images:val:0007"]


def test_a_box_past_the_edge_by_rounding_alone_is_clipped(yolo: YoloFolder, taxonomy: Taxonomy) -> None:
    yolo.add("train", {"a": "0 0.9 0.5 0.2001 0.5"}).names("knife")
    (sample,) = read_yolo(yolo.root, taxonomy).splits["train"]
    assert sample.boxes[0].xyxy[2] == 40


def test_every_bad_row_of_a_file_is_reported_and_counted_by_kind(yolo: YoloFolder, taxonomy: Taxonomy) -> None:
    rows = f"7 {BOX}\n0 {BOX}\n8 {BOX}\n0 0.5 1.5 0.1 0.1\n"
    yolo.add("train", {"good": f"0 {BOX}", "bad": rows, "worse": f"9 {BOX}"}).names("knife")
    with pytest.raises(BadDataset) as caught:
        read_yolo(yolo.root, taxonomy)
    labels = yolo.root / "labels/train"
    assert [problem.split(": ")[0] for problem in (caught.value.details or {})["problems"]] == [
        f"{labels}/bad.txt:1", f"{labels}/bad.txt:3", f"{labels}/bad.txt:4", f"{labels}/worse.txt:1",
    ]  # fmt: skip
    counted = "4 problems in 2 files: class outside names (3), coordinates outside 0 to 1 (1)"
    assert counted in caught.value.message.splitlines()[-1]
    data = read_yolo(yolo.root, taxonomy, skip_bad=True)
    assert [sample.bag_id for sample in data.splits["train"]] == ["good"]
    assert data.summary == counted


def test_the_same_picture_twice_is_a_leak_waiting_unless_the_data_set_has_its_own_split(
    yolo: YoloFolder, taxonomy: Taxonomy
) -> None:
    yolo.add("train", {"a": "", "b": ""}).names("knife")
    yolo.image("train", "b", 0)  # as a
    with pytest.raises(BadDataset, match=r"b\.png: the same picture as a\.png; without a val of its own"):
        read_yolo(yolo.root, taxonomy)
    yolo.add("val", {"v": ""}, start=9).names("knife")
    assert len(read_yolo(yolo.root, taxonomy).splits["train"]) == 2


def test_two_images_for_one_label_are_not_both_taken(yolo: YoloFolder, taxonomy: Taxonomy) -> None:
    yolo.add("train", {"a": ""}).names("knife")
    (yolo.root / "images/train/a.bmp").write_bytes((yolo.root / "images/train/a.png").read_bytes())
    with pytest.raises(BadDataset, match=r"a\.png: shares its label file with a\.bmp"):
        read_yolo(yolo.root, taxonomy)
    data = read_yolo(yolo.root, taxonomy, skip_bad=True)
    assert len(data.splits["train"]) == 1


def test_prepare_lists_everything_writes_nothing_and_fails_or_goes_on_when_asked_to(
    yolo: YoloFolder, taxonomy: Taxonomy, tmp_path: Path
) -> None:
    bad = {f"bad{i:02d}": f"5 {BOX}" for i in range(30)}
    yolo.add("train", {"good": f"0 {BOX}", "fine": f"0 {BOX}", **bad}).names("knife")
    asked = ["prepare", "--yolo", str(yolo.root), "--out", str(tmp_path / "out")]
    refused = CliRunner().invoke(app, asked)
    assert refused.exit_code == 1
    lines = refused.stderr.splitlines()
    assert len(lines) == 31
    assert all("class 5 is not in `names`" in line for line in lines[:30])
    assert lines[-1].startswith("30 problems in 30 files: class outside names (30). Put them right, or leave")
    assert not (tmp_path / "out").exists()
    done = CliRunner().invoke(app, [*asked, "--skip-bad"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["left_out"] == 30
    assert sum(line.startswith("left out: ") for line in done.stderr.splitlines()) == 30
    assert done.stderr.splitlines()[-1] == "left out for 30 problems in 30 files: class outside names (30)"
    assert len(read_jsonl(tmp_path / "out" / "train.jsonl")) == 1


def test_an_unknown_label_is_named_and_can_be_skipped(yolo: YoloFolder, taxonomy: Taxonomy) -> None:
    yolo.add("train", {"a": f"0 {BOX}\n1 {BOX}\n"}).names("flux capacitor", "knife")
    with pytest.raises(UnknownLabel, match="flux capacitor"):
        read_yolo(yolo.root, taxonomy)
    data = read_yolo(yolo.root, taxonomy, skip_unknown=True)
    assert data.labelled_classes == ("knife",)
    assert [box.label for box in data.splits["train"][0].boxes] == ["knife"]


def test_data_yaml_itself_may_be_wrong(yolo: YoloFolder, taxonomy: Taxonomy, tmp_path: Path) -> None:
    with pytest.raises(BadDataset, match=r"needs a data\.yaml"):
        read_yolo(tmp_path, taxonomy)
    yolo.add("train", {"a": ""}).names("knife")
    config = yolo.root / "data.yaml"
    for text, reason in [
        ("names: [knife]", "`train` is missing"),
        ("train: images/train", "`names` is missing"),
        ("train: nowhere\nnames: [knife]", "which is no folder"),
        ("train: [", "not valid YAML"),
    ]:
        config.write_text(text)
        with pytest.raises(BadDataset, match=reason):
            read_yolo(yolo.root, taxonomy)


def test_prepare_keeps_an_own_split_and_else_splits_one_in_five_by_bag(
    yolo: YoloFolder, taxonomy: Taxonomy, tmp_path: Path
) -> None:
    yolo.add("train", {f"t{i}": f"0 {BOX}" for i in range(20)}).names("knife")
    done = prepare(yolo.root, tmp_path / "out", taxonomy)
    assert (done.train, done.val) == (16, 4)
    first = (tmp_path / "out" / "val.jsonl").read_text()
    prepare(yolo.root, tmp_path / "out", taxonomy)
    assert (tmp_path / "out" / "val.jsonl").read_text() == first
    assert prepare(yolo.root, tmp_path / "other", taxonomy, seed=1).val == 4
    assert {json.loads(line)["bag_id"] for line in first.splitlines()} != {
        sample.bag_id for sample in read_jsonl(tmp_path / "other" / "val.jsonl")
    }
    yolo.add("val", {"v": ""}, start=30).names("knife")
    done = prepare(yolo.root, tmp_path / "out", taxonomy)
    assert (done.train, done.val) == (20, 1)


def structured(path: Path, seed: int, size: tuple[int, int] = (160, 120)) -> None:
    """A picture with something in it, another for each seed."""
    image = Image.new("RGB", (160, 120), "white")
    for step in range(10):
        x, y = (seed * 71 + step * 53) % 130, (seed * 37 + step * step * 29) % 90
        image.paste((step * 20, 90, 250 - step * 20), (x, y, x + 12 + step * 2, y + 9 + (seed + step) % 20))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.resize(size).save(path)


def test_copies_and_views_of_a_bag_are_never_split(yolo: YoloFolder, taxonomy: Taxonomy, tmp_path: Path) -> None:
    for n in range(12):
        copies = [f"b{n}_jpg.rf.{tail * 16}" for tail in ("a1", "b2", "c3")]
        yolo.add("train", dict.fromkeys([*copies, f"d{n}_OL", f"d{n}_SD"], ""), start=n * 20)
    yolo.splits = ["train"]
    yolo.names("knife")
    done = prepare(yolo.root, tmp_path / "out", taxonomy, val=0.3)
    train, val = ({one.bag_id for one in read_jsonl(tmp_path / f"out/{name}.jsonl")} for name in ("train", "val"))
    assert train | val == {f"yolo:{kind}{n}" for kind in "bd" for n in range(12)}
    assert not train & val
    assert len(val) == 7
    assert done.train + done.val == 60


def test_near_equal_pictures_are_never_split(yolo: YoloFolder, taxonomy: Taxonomy, tmp_path: Path) -> None:
    stems = [f"a{n}" for n in range(8)] + [f"z{n}" for n in range(8)]
    yolo.add("train", dict.fromkeys(stems, "")).names("knife")
    for n in range(8):
        structured(yolo.root / f"images/train/a{n}.png", n)
        structured(yolo.root / f"images/train/z{n}.png", n, (200, 150))
    prepare(yolo.root, tmp_path / "out", taxonomy, val=0.5)
    sides = [{one.bag_id[-1] for one in read_jsonl(tmp_path / f"out/{name}.jsonl")} for name in ("train", "val")]
    assert (len(sides[0]), len(sides[1]), sides[0] & sides[1]) == (4, 4, set())


def test_a_training_scan_near_the_sets_own_val_gives_the_hold_out_away(
    yolo: YoloFolder, taxonomy: Taxonomy, tmp_path: Path
) -> None:
    yolo.add("train", {"a": "", "b": ""}).add("val", {"v": ""}).names("knife")
    structured(yolo.root / "images/train/a.png", 1)
    structured(yolo.root / "images/train/b.png", 2)
    structured(yolo.root / "images/val/v.png", 1, (320, 240))
    with pytest.raises(BadDataset, match=r"a\.png: nearly the same picture as v\.png, which is in val"):
        prepare(yolo.root, tmp_path / "out", taxonomy)
    done = prepare(yolo.root, tmp_path / "out", taxonomy, skip_bad=True)
    assert (done.train, done.val, len(done.left_out)) == (1, 1, 1)
    assert "near-equal picture in both train and val (1)" in done.summary


def test_a_pattern_or_a_column_file_says_the_bag(yolo: YoloFolder, taxonomy: Taxonomy, tmp_path: Path) -> None:
    yolo.add("train", {"s1-v1": "", "s1-v2": "", "s2-v1": ""}).names("knife")
    prepare(yolo.root, tmp_path / "out", taxonomy, val=0.5, naming=BagNaming("d", r"(s\d)-"))
    found = [one.bag_id for name in ("train", "val") for one in read_jsonl(tmp_path / f"out/{name}.jsonl")]
    assert sorted(found) == ["d:s1", "d:s1", "d:s2"]
    (yolo.root / "bags.csv").write_text("images/train/s2-v1.png,s1\n")
    (first, *others) = read_yolo(yolo.root, taxonomy, naming=BagNaming("d", r"(s\d)-")).splits["train"]
    assert {one.bag_id for one in others} == {first.bag_id} == {"d:s1"}
