"""One bag, one name: copies and views are told from other bags, by names, by a pattern, or by a column file."""

from __future__ import annotations

from pathlib import Path

import pytest

from xray_app.errors import BadDataset, BadInput
from xray_app.exchange import bag_names
from xray_app.exchange.bag_names import MAX_NAME, BagNaming, BagView, bag_name, read_column_file


def bags(*paths: str, **said: str) -> list[tuple[str, str | None]]:
    named = BagNaming(**said).of(paths)
    return [(named[path].bag_id, named[path].view) for path in paths]


def test_copies_that_tools_write_are_the_bag_they_are_copies_of() -> None:
    assert (
        bags(
            "train/images/b-7_jpg.rf.1ceafe293a030e677e4e3ee75f313af3.jpg",
            "valid/images/b-7_jpg.rf.2ef2a6ca9beccae6c435d2a2c3984caa.jpg",
            "test/images/b-7_png_jpg.rf.Xk29ef2a6ca9becc.jpg",
            "images/b-7.jpg",
        )
        == [("b-7", None)] * 4
    )


@pytest.mark.parametrize("suffix", [" (1)", " (12)", " - Copy", " - Copy (2)", " copy", " copy 3"])
def test_a_copy_by_hand_counts_beside_its_original_alone(suffix: str) -> None:
    assert bags("bag.png", f"bag{suffix}.png") == [("bag", None)] * 2
    # A folder renamed at once numbers its files so: these are bags of their own.
    assert bags(f"bag{suffix}.png", "other.png") == [(f"bag{suffix}", None), ("other", None)]
    assert bags("a/bag.png", f"b/bag{suffix}.png") == [("a:bag", None), (f"b:bag{suffix}", None)]


def test_folders_that_number_alike_are_different_bags_and_parts_of_a_set_are_none() -> None:
    assert bags("gate 1/0001.png", "gate 2/0001.png", dataset="site") == [
        ("site:gate 1:0001", None), ("site:gate 2:0001", None),
    ]  # fmt: skip
    parts = ("train/images", "images/val2017", "JPEGImages", "obj_test_data", "Training_image")
    assert {bag for bag, _ in bags(*(f"{part}/7.png" for part in parts))} == {"7"}


def lying(root: Path, **content: str) -> dict[str, str]:
    """The bag of each picture, and its view after a dash; `train__7` is a file 7.png in train, with these bytes."""
    paths = [name.replace("__", "/") + ".png" for name in content]
    for path, said in zip(paths, content.values(), strict=True):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(said)
    named = BagNaming("s").of(paths, root.joinpath)
    shown = {path: f"{named[path].bag_id.removeprefix('s:')}-{named[path].view or ''}".strip("-") for path in paths}
    return dict(zip(content, shown.values(), strict=True))


def test_parts_that_number_anew_have_bags_of_their_own_and_a_picture_in_both_is_one(tmp_path: Path) -> None:
    assert lying(tmp_path / "a", train__7="x", valid__7="y", test__7="x", train__8="z", valid__8="z", train__9="q") == {
        "train__7": "train:7", "valid__7": "valid:7", "test__7": "train:7", "train__8": "8", "valid__8": "8",
        "train__9": "9",
    }  # fmt: skip
    # Under the folder that is the bag's own name, and without a folder.
    assert lying(tmp_path / "b", gate__train__images__7="x", gate__val__images__7="y", gate__other__7="w") == {
        "gate__train__images__7": "gate:train:images:7", "gate__val__images__7": "gate:val:images:7",
        "gate__other__7": "gate:other:7",
    }  # fmt: skip
    # Copies of one original differ in their bytes, and in their names.
    copies = {f"{part}__b_jpg.rf.{tail * 16}": tail for part, tail in (("train", "a1"), ("valid", "b2"))}
    assert set(lying(tmp_path / "c", **copies).values()) == {"b"}
    # A picture and its copy as another kind of file lie in one folder.
    assert lying(tmp_path / "d", train__7="x", images__7="x") == {"train__7": "7", "images__7": "7"}


def test_views_and_copies_stay_with_their_bag_where_parts_number_anew(tmp_path: Path) -> None:
    found = lying(tmp_path, train__7_OL="a", train__7_SD="b", valid__7_OL="c", valid__7_SD="d", test__7_SD="b")
    assert found == {
        "train__7_OL": "train:7-OL", "train__7_SD": "train:7-SD", "valid__7_OL": "valid:7-OL",
        "valid__7_SD": "valid:7-SD", "test__7_SD": "train:7-SD",
    }  # fmt: skip
    # One view of a bag lies in one part alone: it stays with the other view there.
    found = lying(tmp_path / "more", train__5_OL="a", train__5_SD="b", valid__5_OL="c")
    assert found == {"train__5_OL": "train:5-OL", "train__5_SD": "train:5-SD", "valid__5_OL": "valid:5_OL"}
    other = f"train__3_jpg.rf.{'ab' * 8}"
    found = lying(tmp_path / "copy", **{"train__3": "a", "valid__3": "b", other: "c"})
    assert found == {"train__3": "train:3", "valid__3": "valid:3", other: "train:3"}


def test_a_picture_that_cannot_be_read_is_no_other(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "7.png").write_text("x")
    named = BagNaming().of(["train/7.png", "valid/7.png"], tmp_path.joinpath)
    assert [one.bag_id for one in named.values()] == ["train:7", "valid:7"]


def test_views_count_where_a_bag_has_two_of_them() -> None:
    assert bags("a_OL.png", "a_SD.png", "b-top.png", "b-side.png", "c_OL.png") == [
        ("a", "OL"), ("a", "SD"), ("b", "top"), ("b", "side"), ("c_OL", None),
    ]  # fmt: skip
    assert bags("x/a_OL.png", "y/a_SD.png") == [("x:a_OL", None), ("y:a_SD", None)]


def test_a_pattern_says_bag_and_view() -> None:
    asked = r"(?P<bag>[^/]+)-v(?P<view>\d)"
    assert bags("s1/q-v1.png", "s2/q-v2.png", pattern=asked, dataset="d") == [("d:q", "1"), ("d:q", "2")]
    assert bags("s1/77_a.png", "s2/77_b.png", pattern=r"(\d+)_") == [("77", None)] * 2
    assert bags("s1/77.png", pattern=r"s\d/\d") == [("s1:7", None)]
    with pytest.raises(BadInput, match=r"finds no bag in 'x.png' and 1 more paths"):
        bags("a7.png", "x.png", "y.png", pattern=r"\d")
    for wrong in ("(", "", "a" * 301):
        with pytest.raises(BadInput):
            BagNaming(pattern=wrong)


def test_a_pattern_that_takes_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bag_names, "PATTERN_SECONDS", 0.2)
    with pytest.raises(BadInput, match="takes too long"):
        bags("a" * 60 + ".png", pattern=r"(?:a|a)*(?:a|a)*[!?]")


def test_names_stay_apart_and_fit_an_address() -> None:
    long = ["x" * 90 + tail for tail in "ab"]
    made = [bag_name("set", name) for name in [*long, "a/b", "a\\b", "a\u200bb", "..", "ok"]]
    assert len(set(made)) == len(made)
    assert all(len(name) <= MAX_NAME and name.isprintable() and "/" not in name and "\\" not in name for name in made)
    assert made[-1] == "set:ok"
    assert bag_name("", "..") != ".."


def test_a_column_file_goes_before_all_else(tmp_path: Path) -> None:
    (tmp_path / "bags.csv").write_text("file,bag,view\nimages/a.png,B1,top\nimages\\b.png,B1,\n", encoding="utf-8-sig")
    naming = BagNaming("d", r"nothing", read_column_file(tmp_path))
    assert naming.of(["images/a.png", "images/b.png"]) == {
        "images/a.png": BagView("d:B1", "top"), "images/b.png": BagView("d:B1"),
    }  # fmt: skip
    for wrong in ("a.png\n", "a.png,x,y,z\n", "a.png,x\na.png,y\n", ",x\n"):
        (tmp_path / "bags.csv").write_text(wrong)
        with pytest.raises(BadDataset, match=r"bags\.csv:\d"):
            read_column_file(tmp_path)
    assert read_column_file(tmp_path / "none") is None
