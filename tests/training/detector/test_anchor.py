"""Anchoring: boxes have their best F1 from one confidence on, whatever a training made of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("cv2", reason="LibreYOLO needs OpenCV, which needs libGL", exc_type=ImportError)

import torch

from training.data.samples import Sample, SampleBox, make_sample
from training.detector.anchor import ANCHOR, anchor_confidence, best_f1_confidence
from training.detector.network import DetectorNetwork
from xray_app.detector.base import Detection
from xray_app.detector.onnx import OnnxDetector
from xray_app.taxonomy import Taxonomy, load_taxonomy

LEFT, RIGHT = (0.0, 0.0, 20.0, 20.0), (40.0, 0.0, 60.0, 20.0)


@pytest.fixture(scope="module")
def taxonomy() -> Taxonomy:
    return load_taxonomy()


def box(label: str, xyxy: tuple[float, float, float, float], confidence: float = 1.0) -> Detection:
    return Detection(label=label, confidence=confidence, xyxy=xyxy)


@pytest.mark.parametrize(
    ("predicted", "best"),
    [
        ([box("gun", LEFT, 0.3), box("gun", RIGHT, 0.7)], 0.3),  # both right: the weaker is worth having
        ([box("gun", LEFT, 0.6), box("gun", (20, 30, 40, 50), 0.2)], 0.6),  # the weaker is nowhere
        ([box("gun", LEFT, 0.6), box("laptop", RIGHT, 0.5)], 0.6),  # of another class
        ([box("gun", LEFT, 0.6), box("gun", LEFT, 0.5)], 0.6),  # one thing is found once
        ([box("laptop", LEFT, 0.9)], None),
        ([], None),
    ],
)
def test_the_best_confidence(predicted: Sequence[Detection], best: float | None) -> None:
    assert best_f1_confidence([predicted], [[box("gun", LEFT), box("gun", RIGHT)]]) == best


def test_wrong_boxes_above_the_right_ones_cost_precision() -> None:
    wrong = [box("gun", (0, 40 + 9 * i, 8, 48 + 9 * i), 0.9 - 0.01 * i) for i in range(3)]
    assert best_f1_confidence([[*wrong, box("gun", LEFT, 0.2)]], [[box("gun", LEFT)]]) == 0.2


class Scripted:
    """A detector whose confidence of the truth is what objectness makes of it, and of a wrong box a tenth of that."""

    def __init__(self, network: DetectorNetwork) -> None:
        bias = float(network.model.head.obj_preds[0].bias.detach().mean())
        self.sure = float(torch.sigmoid(torch.tensor(bias)))

    def detect(self, image: Image.Image, floor: float) -> list[Detection]:
        return [box("gun", LEFT, self.sure), box("gun", RIGHT, self.sure * 0.1)]


@pytest.mark.parametrize("bias", [-3.0, -1.0, 0.0, 2.0])
def test_objectness_is_shifted_until_the_best_confidence_is_the_anchor(
    bias: float, taxonomy: Taxonomy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = DetectorNetwork(("gun", "laptop"), "n")
    with torch.no_grad():
        for predictor in network.model.head.obj_preds:
            predictor.bias.fill_(bias)
    before = [p.bias.clone() for p in network.model.head.cls_preds]
    monkeypatch.setattr(DetectorNetwork, "export", lambda self, path, size, name: None)
    monkeypatch.setattr(OnnxDetector, "load", lambda path, taxonomy: Scripted(network))
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    truth = [SampleBox(label="gun", xyxy=LEFT)]
    sample: Sample = make_sample(tmp_path / "a.png", (64, 64), {"gun": 1}, truth, None, "a", taxonomy)
    moved = anchor_confidence(network, [sample], 64, taxonomy)
    assert Scripted(network).sure == pytest.approx(ANCHOR, abs=0.011)
    assert moved == pytest.approx(float(network.model.head.obj_preds[1].bias[0].detach()) - bias, abs=1e-4)
    assert all(torch.equal(old, new.bias) for old, new in zip(before, network.model.head.cls_preds, strict=True))


def test_without_a_box_nothing_is_shifted(taxonomy: Taxonomy, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    sample = make_sample(tmp_path / "a.png", (64, 64), {}, [], None, "a", taxonomy)
    network = DetectorNetwork(("gun",), "n")
    before = network.model.head.obj_preds[0].bias.clone()
    assert anchor_confidence(network, [sample], 64, taxonomy) == 0.0
    assert torch.equal(before, network.model.head.obj_preds[0].bias)
