"""Training a detector: on a tiny data set of coloured squares, in seconds."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("cv2", reason="LibreYOLO needs OpenCV, which needs libGL", exc_type=ImportError)

import torch

from tests.training.detector.squares import LABELS, QUICK
from training.data.samples import Sample, SampleBox, make_sample
from training.data.yolo import prepare, read_yolo
from training.detector import finetune as finetuning
from training.detector.finetune import finetune_detector, train_detector
from training.detector.frames import Frames
from training.detector.network import DetectorNetwork, _without_unlabelled
from training.evaluation.mean_average_precision import ignore_unboxed_classes, in_labelled_classes, map50
from xray_app.detector.base import Detection
from xray_app.detector.onnx import OnnxDetector
from xray_app.errors import BadDataset, BadModel, StorageFailed, UnknownLabel
from xray_app.taxonomy import Taxonomy


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def trained(data: Path, taxonomy: Taxonomy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    before = contents(data)
    out = tmp_path_factory.mktemp("out")
    finetune_detector(data, out, taxonomy, weights=None, recipe=QUICK, name="squares")
    assert contents(data) == before, "training wrote into the user's data"
    return out


def test_the_export_serves_and_names_its_classes(trained: Path, taxonomy: Taxonomy) -> None:
    detector = OnnxDetector.load(trained / "detector.onnx", taxonomy)
    assert (detector.name, detector.labels, detector.size) == ("squares", LABELS, 64)
    assert {path.name for path in trained.iterdir()} == {"detector.onnx", "detector.pt", "best.json", "training.json"}


def test_libreyolo_opens_both_files_and_sees_the_same_boxes(trained: Path, data: Path, taxonomy: Taxonomy) -> None:
    libreyolo = pytest.importorskip("libreyolo")
    image = data / "images/train/01.png"
    ours = OnnxDetector.load(trained / "detector.onnx", taxonomy).detect(Image.open(image), 1e-6)
    assert ours
    for file in ("detector.pt", "detector.onnx"):
        theirs = libreyolo.LibreYOLO(str(trained / file), device="cpu")(str(image), conf=1e-6, imgsz=64)
        theirs = theirs[0] if isinstance(theirs, list) else theirs
        corners, best = np.asarray(theirs.boxes.xyxy[0]), float(theirs.boxes.conf[0])
        assert any(
            box.label == theirs.names[int(theirs.boxes.cls[0])]
            and box.confidence == pytest.approx(best, rel=1e-3)
            and np.allclose(box.xyxy, corners, atol=0.1)
            for box in ours
        )


def test_weights_come_back_from_onnx(trained: Path) -> None:
    again = DetectorNetwork.from_onnx(trained / "detector.onnx", ("knife",))
    held = torch.load(trained / "detector.pt", weights_only=True)["model"]
    assert again.labels == (*LABELS, "knife")
    for key, value in again.model.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(value[:2] if ".cls_preds." in key else value, held[key]), key


def test_fine_tuning_starts_where_the_weights_are(
    trained: Path, data: Path, taxonomy: Taxonomy, tmp_path: Path
) -> None:
    rows: list[dict[str, float]] = []

    def stop_at_once(done: float, row: dict[str, float]) -> bool:
        rows.append(row)
        return True

    onnx = finetune_detector(
        data,
        tmp_path,
        taxonomy,
        weights=trained / "detector.onnx",
        recipe=QUICK.model_copy(update={"epochs": 1, "learning_rate": 1e-9, "average": 0.0}),
        on_progress=stop_at_once,
    )
    assert onnx.exists()
    assert rows[0]["loss"] > 0
    before = DetectorNetwork.from_onnx(trained / "detector.onnx").model.state_dict()
    after = DetectorNetwork.from_onnx(onnx).model.state_dict()
    weight = "head.cls_preds.0.weight"
    assert torch.allclose(before[weight], after[weight], atol=1e-6)


def test_a_stopped_run_resumed_is_the_run_never_stopped(data: Path, taxonomy: Taxonomy, tmp_path: Path) -> None:
    def stop_after_the_first_epoch(done: float, row: dict[str, float]) -> bool:
        return done == 0.5

    for out in ("whole", "halves"):
        finetune_detector(
            data,
            tmp_path / out,
            taxonomy,
            weights=None,
            recipe=QUICK,
            on_progress=stop_after_the_first_epoch if out == "halves" else None,
        )
    assert (tmp_path / "halves/checkpoint.pt").exists()
    finetune_detector(data, tmp_path / "halves", taxonomy, weights=None, recipe=QUICK, resume=True)
    states = [torch.load(tmp_path / out / "detector.pt", weights_only=True)["model"] for out in ("whole", "halves")]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_what_a_finished_training_left_is_neither_repeated_nor_taken_for_another(
    trained: Path, data: Path, taxonomy: Taxonomy, tmp_path: Path
) -> None:
    samples = list(read_yolo(data, taxonomy).splits["train"])
    out = tmp_path / "out"

    def train(train: list[Sample], resume: bool = True, stop: bool = False) -> bool:
        """Whether a step was trained."""
        seen: list[float] = []

        def step(done: float, row: dict[str, float]) -> bool:
            seen.append(done)
            return stop

        train_detector(train, [], out, taxonomy, recipe=QUICK, resume=resume, on_progress=step)
        return bool(seen)

    assert train(samples)
    finished = contents(out)
    assert not train(samples)
    assert contents(out) == finished
    with pytest.raises(BadModel, match="another training, which has finished"):
        train(samples[:8])
    assert train(samples, resume=False, stop=True), "from the start, and stopped within the first epoch"
    assert contents(out)["detector.onnx"] != finished["detector.onnx"], "not the model of the training before"
    with pytest.raises(BadModel, match="another training"):
        train(samples[1:])  # as many steps, other scans
    assert train(samples)
    assert contents(out)["detector.pt"] == finished["detector.pt"]


def test_a_detectors_training_that_patience_ended_does_not_go_on_after_a_kill(
    data: Path, taxonomy: Taxonomy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = list(read_yolo(data, taxonomy).splits["train"])
    scores = iter([(0.9, 0.9), (0.5, 0.5)])
    monkeypatch.setattr(finetuning, "validate", lambda *_: next(scores))
    monkeypatch.setattr(finetuning, "CHECKPOINT_SECONDS", -1.0)
    recipe = QUICK.model_copy(update={"epochs": 3, "patience": 1})

    def train() -> Path:
        return train_detector(samples[:8], samples[8:], tmp_path, taxonomy, recipe=recipe, resume=True)

    with monkeypatch.context() as killed:
        killed.setattr(finetuning.TrainingRecord, "write", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train()
    best = (tmp_path / "detector.onnx").read_bytes()
    assert train().read_bytes() == best, "no third score is asked for"


def test_another_recipe_does_not_resume(data: Path, taxonomy: Taxonomy, tmp_path: Path) -> None:
    finetune_detector(data, tmp_path, taxonomy, weights=None, recipe=QUICK, on_progress=lambda done, row: True)
    other = QUICK.model_copy(update={"learning_rate": 1e-2})
    with pytest.raises(BadModel, match="another training"):
        finetune_detector(data, tmp_path, taxonomy, weights=None, recipe=other, resume=True)


def test_boxes_follow_the_mirrored_picture(data: Path, taxonomy: Taxonomy, tmp_path: Path) -> None:
    samples = [sample for sample in read_yolo(data, taxonomy).splits["train"] if sample.boxes]
    frames = Frames(samples, LABELS, 96, tmp_path)
    for seed in range(8):
        for size in (96, 64):
            batch = frames.batch(range(len(samples)), seed, size)
            assert batch.images.shape == (len(samples), 3, size, size)
            for image, targets in zip(batch.images, batch.targets, strict=True):
                label, cx, cy, _, h = targets[0].tolist()
                blue, _, red = image[:, int(cy), int(cx)].tolist()
                assert (blue > red) == (label == 0)
                # Just outside the box the belt is white.
                inside = image[:, max(0, int(cy - h / 2 + 3)), int(cx)]
                assert inside.min() < 150
    assert len(list(tmp_path.glob("frames-*.npy"))) == 1


def test_pixels_the_disk_has_no_room_for_are_refused_before_they_are_written(
    data: Path, taxonomy: Taxonomy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int, start: int, length: int) -> None:
        assert (start, length) == (0, 128 + 13 * 64 * 64 * 3)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StorageFailed, match="no room for"):
        Frames(read_yolo(data, taxonomy).splits["train"], LABELS, 64, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_nobody_looked_for_is_not_taught_as_absent() -> None:
    torch.manual_seed(0)
    network = DetectorNetwork(LABELS, "n")
    images = torch.rand(1, 3, 64, 64) * 255
    none = torch.zeros(1, 1, 5)

    def loss(looked_for_laptops: bool) -> float:
        unlabelled = torch.tensor([[False, not looked_for_laptops]])
        return float(network.loss(images, none, unlabelled, bf16=False).detach())

    # An untrained network names either class somewhere; only the guns among them may now be wrong.
    assert 0 < loss(looked_for_laptops=False) < loss(looked_for_laptops=True)


def test_a_true_box_still_counts_where_the_network_says_something_else() -> None:
    predicted = torch.tensor([[[0, 0, 0, 0, 1.0, 0.0, 9.0], [0, 0, 0, 0, 1.0, 0.0, 9.0]]])
    targets = torch.tensor([[[0, 12.0, 12.0, 8.0, 8.0]]])
    centres, strides = torch.tensor([[1.5, 1.5], [7.5, 7.5]]), torch.tensor([8.0, 8.0])
    freed = _without_unlabelled(predicted, targets, torch.tensor([[False, True]]), centres, strides)
    assert freed[0, 0, 4] == 1.0
    assert freed[0, 1, 4] < -20


def knives(taxonomy: Taxonomy, count: int, scope: tuple[str, ...] | None = None) -> Sample:
    """A scan with this many knives, one of them drawn."""
    box = SampleBox(label="knife", xyxy=(1, 1, 9, 9))
    return make_sample(Path("a.png"), (90, 60), {"knife": count, "laptop": 1}, [box], scope, "a", taxonomy)


def test_an_item_without_its_box_is_not_scored_and_not_taught_as_absent(taxonomy: Taxonomy) -> None:
    (two,) = ignore_unboxed_classes([knives(taxonomy, 2)], taxonomy)
    assert two.labelled_classes is not None
    assert not {"knife", "laptop"} & set(two.labelled_classes), "neither has all its boxes"
    assert "gun" in two.labelled_classes, "that no gun is there was seen"
    assert [box.label for box in two.boxes] == ["knife"], "what is drawn is still taught"
    (scoped,) = ignore_unboxed_classes([knives(taxonomy, 1, ("knife", "gun"))], taxonomy)
    assert scoped.labelled_classes == ("knife", "gun")

    said = [[Detection("laptop", 0.9, (1, 1, 9, 9)), Detection("knife", 0.9, (50, 1, 59, 9))]]
    assert in_labelled_classes([two], said) == ([[]], [[]])
    found, truths = in_labelled_classes([scoped], said)
    assert ([box.label for box in found[0]], [box.label for box in truths[0]]) == (["knife"], ["knife"])
    assert map50(found, truths) == (0.0, 0.0)


def test_prepared_samples_and_snapshots_train_too(data: Path, taxonomy: Taxonomy, tmp_path: Path) -> None:
    prepare(data, tmp_path / "samples", taxonomy, 0.2, 0)
    (tmp_path / "samples/val.jsonl").write_text("never opened")
    told: list[float] = []

    def stop_at_once(done: float, row: dict[str, float]) -> bool:
        told.append(done)
        return True

    out = tmp_path / "out"
    onnx = finetune_detector(tmp_path / "samples", out, taxonomy, weights=None, recipe=QUICK, on_progress=stop_at_once)
    assert OnnxDetector.load(onnx, taxonomy).labels == LABELS
    assert len(told) == 1, "a wish to stop is heard after every step"


def test_a_data_set_with_a_class_the_taxonomy_does_not_know_is_refused_by_name(
    data: Path, taxonomy: Taxonomy, tmp_path: Path
) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).symlink_to(data / folder)
    (tmp_path / "data.yaml").write_text("path: .\ntrain: images/train\nnames: [gun, flux capacitor]\n")
    with pytest.raises(UnknownLabel, match="flux capacitor"):
        finetune_detector(tmp_path, tmp_path / "out", taxonomy, weights=None, recipe=QUICK)


def test_scans_without_any_box_train_no_detector(data: Path, taxonomy: Taxonomy, tmp_path: Path) -> None:
    empty = [sample for sample in read_yolo(data, taxonomy).splits["train"] if not sample.boxes]
    with pytest.raises(BadDataset, match="no scan with a box"):
        train_detector(empty, [], tmp_path, taxonomy, recipe=QUICK)


def test_several_folders_are_trained_on_together(data: Path, taxonomy: Taxonomy, tmp_path: Path) -> None:
    more = tmp_path / "more"
    shutil.copytree(data, more)
    for path in [*more.glob("*/train/*")]:
        path.rename(path.with_stem(f"more-{path.stem}"))
    seen: list[dict[str, Any]] = []
    recipe = QUICK.model_copy(update={"epochs": 1})

    def note(done: float, row: dict[str, Any]) -> bool:
        seen.append(row)
        return False

    finetune_detector(data, tmp_path / "one", taxonomy, weights=None, recipe=recipe, on_progress=note)
    one = len(seen)
    finetune_detector(data, tmp_path / "two", taxonomy, also=[more], weights=None, recipe=recipe, on_progress=note)
    assert len(seen) - one > one > 0


def test_the_best_weights_are_anchored_though_later_ones_are_worse(
    data: Path, taxonomy: Taxonomy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(network: DetectorNetwork, *given: Any) -> float:
        for predictor in network.model.head.obj_preds:
            predictor.bias.data.fill_(7.0)
        return 7.0

    falling = iter((0.9, 0.5, 0.1))
    monkeypatch.setattr(finetuning, "anchor_confidence", fill)
    monkeypatch.setattr(finetuning, "validate", lambda *given: (next(falling), 0.0))
    recipe = QUICK.model_copy(update={"epochs": 3, "patience": 1})  # ended by patience, not by its last step
    onnx = finetune_detector(data, tmp_path / "scratch", taxonomy, weights=None, recipe=recipe)
    anchored = DetectorNetwork.from_onnx(onnx)
    assert all((predictor.bias == 7.0).all() for predictor in anchored.model.head.obj_preds)
    falling = iter((0.9, 0.5, 0.1))
    further = finetune_detector(data, tmp_path / "further", taxonomy, weights=onnx, recipe=recipe)
    biases = [predictor.bias for predictor in DetectorNetwork.from_onnx(further).model.head.obj_preds]
    assert not all((bias == 7.0).all() for bias in biases), "what goes on from a detector keeps its scale"
