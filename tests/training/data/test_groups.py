"""Which group a scan is of, and holding one out whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.conftest import YoloFolder
from training.data.samples import read_jsonl
from training.data.snapshot import samples_sha256
from training.data.yolo import prepare, read_yolo
from xray_app.errors import BadDataset, BadInput
from xray_app.taxonomy import Taxonomy


@pytest.fixture
def scans(yolo: YoloFolder) -> YoloFolder:
    knife = "0 0.5 0.5 0.2 0.2\n"
    yolo.add("train", {"a1": knife, "a2": "", "b1": knife}).add("val", {"b2": "", "a3": ""}, start=60)
    return yolo.names("knife")


def groups(folder: Path, taxonomy: Taxonomy, pattern: str | None = None) -> dict[str, str | None]:
    found = read_yolo(folder, taxonomy, group=pattern)
    return {one.image.stem: one.group for split in found.splits.values() for one in split}


def test_the_file_says_the_group_and_a_pattern_goes_before_it(scans: YoloFolder, taxonomy: Taxonomy) -> None:
    assert set(groups(scans.root, taxonomy).values()) == {"yolo"}, "the data set, where nothing else is said"
    said = {"train/a1": "x", "train/a2": "y", "train/b1": "y", "val/b2": "x", "val/a3": "x"}
    lines = ["file,note,group", *(f"images\\{path.replace('/', chr(92))}.png,!,{name}" for path, name in said.items())]
    (scans.root / "groups.csv").write_text("\n".join(lines) + "\n")
    assert groups(scans.root, taxonomy) == {"a1": "x", "a2": "y", "b1": "y", "b2": "x", "a3": "x"}
    assert groups(scans.root, taxonomy, r"^(\w)\d") == {"a1": "a", "a2": "a", "b1": "b", "b2": "b", "a3": "a"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("file,scanner\nimages/train/a1.png,x\n", "has to name the columns"),
        ("file,group\nimages/train/a1.png,x\n", "names no group of 'images/.*' and 3 more"),
        ("file,group\nimages/train/a1.png,x\nimages/train/a1.png,y\n", "stands twice"),
        ("file,group\nimages/train/a1.png\n", "has a file and its group"),
        ("", "has to name the columns"),
    ],
)
def test_a_file_that_does_not_say_every_group_is_refused(
    scans: YoloFolder, taxonomy: Taxonomy, text: str, reason: str
) -> None:
    (scans.root / "groups.csv").write_text(text)
    with pytest.raises(BadDataset, match=reason):
        read_yolo(scans.root, taxonomy)


def test_a_pattern_that_finds_no_group_is_refused(scans: YoloFolder, taxonomy: Taxonomy) -> None:
    with pytest.raises(BadInput, match="finds no group in"):
        read_yolo(scans.root, taxonomy, group=r"(z)")


def test_a_group_left_out_is_held_out_whole(scans: YoloFolder, taxonomy: Taxonomy, tmp_path: Path) -> None:
    done = prepare(scans.root, tmp_path / "out", taxonomy, group=r"^(\w)", left_out_group="b")
    assert (done.train, done.val) == (3, 2)
    train, val = (read_jsonl(tmp_path / "out" / f"{part}.jsonl") for part in ("train", "val"))
    assert {one.group for one in train} == {"a"}
    assert {one.group for one in val} == {"b"}
    with pytest.raises(BadInput, match="the groups are a, b"):
        prepare(scans.root, tmp_path / "out", taxonomy, group=r"^(\w)", left_out_group="c")


def test_the_group_is_no_part_of_what_is_learned(scans: YoloFolder, taxonomy: Taxonomy) -> None:
    """Models never see it; kept figures and unfinished trainings of before it was known go on."""
    one, other = (read_yolo(scans.root, taxonomy, group=pattern).splits["train"] for pattern in (None, r"^(\w)"))
    assert one != other
    assert samples_sha256(one) == samples_sha256(other)
