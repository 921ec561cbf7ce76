"""Corrections to samples, and back from a file: scopes kept, no picture in both splits, snapshots repeatable."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from tests.conftest import MakeAnalysis
from tests.training.conftest import YoloFolder
from training.data.json_file import read_json, write_json
from training.data.samples import (
    Sample,
    from_clear_bags,
    from_corrections,
    make_sample,
    read_jsonl,
    split_by_bag,
    training_samples,
    with_full_instruction,
    write_jsonl,
)
from training.data.snapshot import random_scope, replay, samples_sha256, snapshot, with_replay
from training.data.yolo import prepare, read_yolo
from training.recipes.recipe import Recipe
from xray_app.correction.revision import split_of
from xray_app.errors import BadDataset
from xray_app.report import INSTRUCTION
from xray_app.store import clear_bags, corrections, decisions, outcomes, scans
from xray_app.store.database import Database
from xray_app.taxonomy import Taxonomy, prohibited_labels
from xray_app.types import Action, Analysis, CorrectionBox, CorrectionIn, ItemCount

BOX = "0.5 0.5 0.5 0.5"


def test_a_line_has_the_contracts_fields_and_reads_back(yolo: YoloFolder, taxonomy: Taxonomy, tmp_path: Path) -> None:
    yolo.add("train", {"a": f"0 {BOX}"}).names("knife")
    samples = read_yolo(yolo.root, taxonomy).splits["train"]
    path = tmp_path / "deep" / "train.jsonl"
    write_jsonl(samples, path)
    line = json.loads(path.read_text())
    assert list(line) == [
        "image", "instruction", "response", "width", "height", "boxes", "labelled_classes", "bag_id", "group",
    ]  # fmt: skip
    assert line["image"] == "../yolo/images/train/a.png"
    assert line["boxes"] == [{"label": "knife", "xyxy": [10.0, 5.0, 30.0, 15.0]}]
    assert [s.model_dump(exclude={"image"}) for s in read_jsonl(path)] == [
        s.model_dump(exclude={"image"}) for s in samples
    ]
    path.write_text(path.read_text() + '{"image": "a.png"}\n')
    with pytest.raises(BadDataset, match=r"train\.jsonl:2: instruction"):
        read_jsonl(path)


def test_views_of_a_bag_stay_together(taxonomy: Taxonomy, tmp_path: Path) -> None:
    samples = [
        make_sample(tmp_path / f"{bag}{view}.png", (4, 4), {}, [], None, f"bag{bag}", taxonomy)
        for bag in range(10)
        for view in range(2)
    ]
    train, test = split_by_bag(samples, 0.2, 0)
    assert (len(train), len(test)) == (16, 4)
    assert not {s.bag_id for s in train} & {s.bag_id for s in test}


def test_a_split_is_the_same_every_time_and_another_with_another_seed(taxonomy: Taxonomy, tmp_path: Path) -> None:
    def split_off(count: int, share: float, seed: int = 0) -> list[str]:
        samples = [make_sample(tmp_path / "a.png", (4, 4), {}, [], None, f"bag {n}", taxonomy) for n in range(count)]
        rest, chosen = split_by_bag(samples, share, seed)
        assert len(rest) + len(chosen) == count
        return [sample.bag_id for sample in chosen]

    assert split_off(10, 0.2) == ["bag 1", "bag 8"]
    assert split_off(10, 0.2, seed=1) == ["bag 5", "bag 7"]
    assert len(split_off(10, 0.01)) == 1, "some bag is split off"
    assert len(split_off(10, 0.99)) == 9, "and some bag is left"
    assert split_off(1, 0.5) == split_off(10, 0) == []


def test_scopes(taxonomy: Taxonomy) -> None:
    assert taxonomy.scope(["pressure", "Knife"]) == ("knife", "pressurised can")
    assert taxonomy.scope(item.name for item in taxonomy.drawn) is None


def correct(
    db: Database,
    taxonomy: Taxonomy,
    analysis_id: str,
    items: dict[str, int],
    looked_for: tuple[str, ...] | None = None,
    base: int = 0,
    review: bool = False,
) -> None:
    sent = CorrectionIn(
        items=tuple(ItemCount(label=label, count=count) for label, count in items.items()),
        boxes=(CorrectionBox(label="knife", xyxy=(10, 20, 110, 90)),) if "knife" in items else (),
        labelled_classes=looked_for,
        base_revision=base,
    )
    corrections.add(db, analysis_id, sent, "anna", taxonomy, review)


def test_corrections_become_samples_by_split_and_scope(db: Database, stored: MakeAnalysis, taxonomy: Taxonomy) -> None:
    for number in range(12):
        analysis = stored(shade=number, bag_id=f"bag {number}")
        correct(
            db,
            taxonomy,
            analysis.id,
            {"knife": 2, "laptop": 1},
            ("scissors", "knife") if number % 2 else None,
        )
    pending = stored(shade=99, bag_id="bag 99")
    correct(db, taxonomy, pending.id, {"knife": 1}, review=True)
    by_split = from_corrections(db, taxonomy)
    everything = by_split["train"] + by_split["holdout"]
    assert len(everything) == 12
    assert by_split["train"]
    assert by_split["holdout"]
    scoped = next(s for s in everything if s.labelled_classes is not None)
    assert scoped.instruction.endswith("Report only: knife, scissors.")
    assert scoped.response == "Items detected: 2 knives (threat). Security risk: HIGH - knife detected."
    full = next(s for s in everything if s.labelled_classes is None)
    assert full.instruction == INSTRUCTION
    assert full.counts(taxonomy) == {"knife": 2, "laptop": 1}
    assert full.open().size == (full.width, full.height)


def test_a_scoped_correction_also_trains_the_full_question_without_teaching_absence(
    db: Database, stored: MakeAnalysis, taxonomy: Taxonomy
) -> None:
    for number in range(6):  # the model said: 1 knife, 2 plastic bottles
        analysis = stored(shade=number, bag_id=f"bag {number}")
        correct(db, taxonomy, analysis.id, {"scissors": 1}, ("scissors", "knife") if number % 2 else None)
    samples = training_samples(db, taxonomy)
    made = from_corrections(db, taxonomy)["train"]
    assert len(samples) == len(made) + sum(sample.labelled_classes is not None for sample in made)
    full = [s for s in samples if s.labelled_classes is not None and s.instruction == INSTRUCTION]
    assert full
    for sample in full:
        # Scissors are the person's word, the knife is denied by it, and of bottles nobody spoke but the model.
        assert sample.response.startswith("Items detected: 1 scissors (threat), 2 plastic bottles.")
        assert sample.counts(taxonomy) == {"scissors": 1}


def test_a_search_that_found_nothing_teaches_a_clear_bag_and_no_more_than_that(
    db: Database, stored: MakeAnalysis, taxonomy: Taxonomy
) -> None:
    def searched(name: str, *found: str, shade: int = 1) -> Analysis:  # the model said: 1 knife, 2 plastic bottles
        analysis = stored(shade=shade, bag_id=name)
        items = [ItemCount(label=label, count=1) for label in found]
        outcomes.add(db, analysis.id, items, None, "anna", taxonomy)
        return analysis

    train = [f"b{n}" for n in range(60) if split_of(f"b{n}") == "train"]
    kept_back = next(f"b{n}" for n in range(60) if split_of(f"b{n}") == "holdout")
    empty = searched(train[0], shade=20)
    searched(train[1], "gun", shade=60)
    corrected = searched(train[2], shade=100)
    correct(db, taxonomy, corrected.id, {"knife": 1})
    searched(kept_back, shade=140)
    again = searched(train[3], shade=180)
    outcomes.add(db, again.id, [ItemCount(label="knife", count=1)], None, "anna", taxonomy)

    searched(train[4], shade=220)
    searched(train[4], "saw", shade=240)  # another view of the same bag

    assert [(one.scan.bag_id, side) for one, side in clear_bags.searched_in_vain(db)] == sorted(
        [(train[0], "train"), (kept_back, "holdout")]
    )
    scoped, full = from_clear_bags(db, taxonomy)
    assert scoped.bag_id == full.bag_id == empty.scan.bag_id
    assert scoped.labelled_classes == prohibited_labels(taxonomy)
    assert scoped.response == "Items detected: none. Security risk: LOW - no threats detected."
    # Of bottles nobody spoke but the model, whose word on them stays as it was.
    assert full.response.startswith("Items detected: 2 plastic bottles.")
    made = training_samples(db, taxonomy)
    assert {sample.bag_id for sample in made} == {train[0], train[2]}
    assert made[-2:] == [scoped, full]


def test_a_bag_that_two_people_cleared_unknown_to_each_other_teaches_half_as_much(
    db: Database, stored: MakeAnalysis, taxonomy: Taxonomy
) -> None:
    names = iter(f"b{n}" for n in range(90) if split_of(f"b{n}") == "train")

    def decided(bag: str, *by: tuple[str, Action], shade: int) -> Analysis:
        """Each has the bag analysed and decides about that."""
        for author, decision in by:
            analysis = stored(shade=shade, bag_id=bag, by=author)
            decisions.add(db, analysis.id, decision, None, "seen it", author)
        return analysis

    twice = next(names)
    last = decided(twice, ("anna", "CLEAR"), ("ben", "CLEAR"), shade=1)
    decided(next(names), ("anna", "CLEAR"), shade=20)
    decided(next(names), ("anna", "CLEAR"), ("anna", "CLEAR"), shade=40)
    decided(next(names), ("anna", "CLEAR"), ("ben", "REVIEW"), shade=60)
    told = decided(next(names), ("anna", "CLEAR"), shade=80)
    decisions.add(db, told.id, "CLEAR", None, "so do I", "ben")  # what anna said stood before him
    decided(next(names), ("anna", "CLEAR"), ("ben", "CLEAR"), ("eve", "REVIEW"), shade=85)
    of_another = next(names)
    decisions.add(db, stored(shade=90, bag_id=of_another, by="anna").id, "CLEAR", None, "seen it", "ben")
    decided(of_another, ("anna", "CLEAR"), shade=90)  # ben had asked for nothing: he may have seen anna at it
    searched = decided(next(names), ("anna", "CLEAR"), ("ben", "CLEAR"), shade=100)
    outcomes.add(db, searched.id, [ItemCount(label="knife", count=1)], None, "eve", taxonomy)
    corrected = decided(next(names), ("anna", "CLEAR"), ("ben", "CLEAR"), shade=120)
    correct(db, taxonomy, corrected.id, {"knife": 1})
    kept_back = next(f"b{n}" for n in range(90) if split_of(f"b{n}") == "holdout")
    decided(kept_back, ("anna", "CLEAR"), ("ben", "CLEAR"), shade=140)

    found = [(one.id, side) for one, side in clear_bags.cleared_twice(db)]
    assert (last.id, "train") in found
    assert {side for _, side in found} == {"train", "holdout"}
    assert len(found) == 2
    (sample,) = from_clear_bags(db, taxonomy)
    assert (sample.bag_id, sample.labelled_classes) == (twice, prohibited_labels(taxonomy))
    assert sample.response.startswith("Items detected: 2 plastic bottles."), "the models' word on bottles stays"


def test_a_scan_analysed_and_corrected_twice_trains_once_with_the_latest_word(
    db: Database, stored: MakeAnalysis, taxonomy: Taxonomy
) -> None:
    for items in ({"knife": 1}, {"scissors": 1}):
        analysis = stored(shade=1, bag_id="bag")
        correct(db, taxonomy, analysis.id, items)
    by_split = from_corrections(db, taxonomy)
    (sample,) = by_split["train"] + by_split["holdout"]
    assert sample.counts(taxonomy) == {"scissors": 1}


def test_a_knife_that_was_drawn_and_not_listed_is_not_taught_as_none(
    db: Database, stored: MakeAnalysis, taxonomy: Taxonomy
) -> None:
    drawn = CorrectionIn(items=(), boxes=(CorrectionBox(label="knife", xyxy=(10, 20, 110, 90)),))
    corrections.add(db, stored(shade=1, bag_id="bag").id, drawn, "anna", taxonomy, False)
    by_split = from_corrections(db, taxonomy)
    (sample,) = by_split["train"] + by_split["holdout"]
    assert sample.counts(taxonomy) == {"knife": 1}
    assert "HIGH" in sample.response


def test_a_scan_whose_file_is_gone_is_named(db: Database, stored: MakeAnalysis, taxonomy: Taxonomy) -> None:
    analysis = stored(shade=1, bag_id="bag 2")
    correct(db, taxonomy, analysis.id, {"knife": 1})
    scans.scan_path(db, analysis.scan.id)[0].unlink()
    for gather in (from_corrections, training_samples):
        with pytest.raises(
            BadDataset, match=rf"scan\.png \(bag bag 2, scan {analysis.scan.id}\) .*: The file of this scan is missing"
        ):
            gather(db, taxonomy)


@pytest.mark.usefixtures("sides_by_hash_alone")
def test_a_picture_that_is_held_out_in_one_bag_does_not_train_in_another(
    db: Database, stored: MakeAnalysis, taxonomy: Taxonomy, caplog: pytest.LogCaptureFixture
) -> None:
    for shade, bag in ((1, "bag 2"), (2, "bag 3"), (2, "bag 5")):  # bag 5 is of the hold-out
        correct(db, taxonomy, stored(shade=shade, bag_id=bag).id, {"knife": 1})
    with caplog.at_level("INFO"):
        by_split = from_corrections(db, taxonomy)
    assert [sample.bag_id for sample in by_split["train"]] == ["bag 2"]
    assert [sample.bag_id for sample in by_split["holdout"]] == ["bag 5"]
    assert "1 corrected scans do not train" in caplog.text
    assert [sample.bag_id for sample in training_samples(db, taxonomy)] == ["bag 2"]


def test_a_snapshot_stays_when_its_sources_go_and_any_change_changes_its_hash(
    yolo: YoloFolder, taxonomy: Taxonomy, tmp_path: Path
) -> None:
    yolo.add("train", {"a": f"0 {BOX}", "b": ""}).names("knife")
    samples = list(read_yolo(yolo.root, taxonomy).splits["train"])
    sha256 = snapshot(samples, tmp_path / "one")
    assert snapshot(samples, tmp_path / "two") == sha256
    relabelled = [samples[0].model_copy(update={"response": samples[1].response}), samples[1]]
    assert snapshot(relabelled, tmp_path / "three") != sha256
    yolo.image("train", "a", 77)
    assert snapshot(samples, tmp_path / "four") != sha256
    (yolo.root / "images/train/b.png").unlink()
    assert [s.bag_id for s in read_jsonl(tmp_path / "one" / "train.jsonl")] == ["a", "b"]
    listed = json.loads((tmp_path / "one" / "snapshot.json").read_text())
    assert listed["sha256"] == sha256
    assert len(listed["samples"]) == 2
    with pytest.raises(BadDataset, match=r"b\.png: the picture is gone"):
        snapshot(samples, tmp_path / "five")


def test_replay_repeats_itself_and_asks_both_ways(taxonomy: Taxonomy, tmp_path: Path) -> None:
    samples = replay(10, tmp_path / "a", taxonomy)
    again = replay(10, tmp_path / "b", taxonomy)
    assert snapshot(samples, tmp_path / "s1") == snapshot(again, tmp_path / "s2")
    assert [s.labelled_classes is None for s in samples] == [True, False] * 5
    for sample in samples[1::2]:
        assert sample.labelled_classes is not None
        assert 2 <= len(sample.labelled_classes) <= 8
        assert set(sample.counts(taxonomy)) <= set(sample.labelled_classes)
        assert "Report only: " in sample.instruction


def test_replay_beside_a_data_set_is_as_many_as_the_recipe_says(
    yolo: YoloFolder, taxonomy: Taxonomy, tmp_path: Path
) -> None:
    yolo.add("train", {"a": f"0 {BOX}", "b": ""}).names("knife")
    prepare(yolo.root, tmp_path / "data", taxonomy, val=0)
    for ratio, least, replayed in ((1.5, 0, 3), (0.0, 0, 0), (0.5, 2, 2)):
        recipe = Recipe(name="x", base="x", replay=ratio, replay_minimum=least)
        out = tmp_path / f"{ratio}"
        with_replay(tmp_path / "data" / "train.jsonl", recipe, out, taxonomy)
        frozen = read_jsonl(out / "train.jsonl")
        assert [one.bag_id for one in frozen[:2]] == ["yolo:a", "yolo:b"]
        assert sum(one.bag_id.startswith("replay_") for one in frozen) == len(frozen) - 2 == replayed
        assert json.loads((out / "snapshot.json").read_text())["sha256"] == samples_sha256(frozen)


def test_random_scopes_hold_present_and_absent_classes_and_sometimes_none(taxonomy: Taxonomy) -> None:
    import random

    scopes = [random_scope(("knife", "laptop"), taxonomy, random.Random(i)) for i in range(100)]
    assert all(2 <= len(scope) <= 8 and len(set(scope)) == len(scope) for scope in scopes)
    assert any(not {"knife", "laptop"} & set(scope) for scope in scopes)
    assert any({"knife", "laptop"} <= set(scope) for scope in scopes)
    assert all(set(scope) - {"knife", "laptop"} for scope in scopes)


def test_what_was_noted_is_written_whole_and_only_where_it_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "experiment.json"
    assert read_json(file) is None
    write_json(file, {"epochs": [12, 40]})

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr(Path, "write_text", full)
    write_json(file, {"epochs": [12, 40]})
    with pytest.raises(OSError, match="No space left"):
        write_json(file, {"epochs": [3, 4]})
    assert read_json(file) == {"epochs": [12, 40]}
    monkeypatch.undo()
    file.write_text("[]")
    with pytest.raises(BadDataset, match=r"experiment\.json does not hold"):
        read_json(file)


def test_the_full_instruction_is_still_scored_in_scope(taxonomy: Taxonomy, tmp_path: Path) -> None:
    sample: Sample = make_sample(tmp_path / "a.png", (4, 4), {"knife": 1}, [], ("knife",), "a", taxonomy)
    (full,) = with_full_instruction([sample])
    assert full.instruction == INSTRUCTION
    assert full.labelled_classes == ("knife",)
