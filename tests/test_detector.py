"""Serving an exported detector: on networks of three nodes, built here, whose answer is known."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from xray_app.detector.boxes import PAD_VALUE, keep_best, letterbox
from xray_app.detector.load import load_detector
from xray_app.detector.onnx import OnnxDetector
from xray_app.errors import BadModel
from xray_app.overlap import iou
from xray_app.settings import BUNDLED_DETECTOR, Settings
from xray_app.simulate import simulate_scan
from xray_app.taxonomy import Taxonomy, load_taxonomy

YOLOX = {"model_family": "yolox", "task": "detect", "imgsz": "64", "names": json.dumps({"0": "Knife", "1": "laptop"})}
ULTRALYTICS = {"stride": "32", "task": "detect", "imgsz": "[64, 64]", "names": "{0: 'knife', 1: 'laptop'}"}


@pytest.fixture(scope="module")
def taxonomy() -> Taxonomy:
    return load_taxonomy()


def write(path: Path, rows: Sequence[Sequence[float]], metadata: dict[str, str], size: int | str = 64) -> Path:
    """A network that answers `rows` whatever it sees, times the brightest value of its last input channel."""
    answer: NDArray[np.float32] = np.array(rows, np.float32)
    if "model_family" not in metadata:
        answer = answer.T
    kept = [
        ("every", np.array([0, 2, 3], np.int64)),
        ("answer", answer[None]),
        ("last", np.array([-1], np.int64)),
        ("end", np.array([9], np.int64)),
        ("channels", np.array([1], np.int64)),
        ("one", np.array(1e9, np.float32)),
    ]
    nodes = [
        helper.make_node("Slice", ["images", "last", "end", "channels"], ["channel"]),
        helper.make_node("ReduceMax", ["channel", "every"], ["brightest"], keepdims=0),
        helper.make_node("Min", ["brightest", "one"], ["level"]),
        helper.make_node("Mul", ["answer", "level"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "fixed",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, size, size])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, *answer.shape])],
        [numpy_helper.from_array(value, name) for name, value in kept],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, str(path))
    return path


def white(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), "white")


def test_boxes_come_back_in_pixels_of_the_picture(tmp_path: Path, taxonomy: Taxonomy) -> None:
    # 128 × 96 into 64: a scale of a half, from the top left corner. YOLOX sees values up to 255.
    rows = np.array([[16, 24, 16, 8, 0.9, 0.8, 0.1], [60, 40, 40, 30, 1, 0, 0.5]]) / 255
    path = write(tmp_path / "m.onnx", rows.tolist(), YOLOX)
    detector = OnnxDetector.load(path, taxonomy)
    found = detector.detect(white(128, 96))
    assert [(box.label, round(box.confidence, 3)) for box in found] == [("knife", 0.72), ("laptop", 0.5)]
    assert found[0].xyxy == pytest.approx((16, 40, 48, 56), abs=1e-3)
    assert found[1].xyxy == pytest.approx((80, 50, 128, 96), abs=1e-3), "cut at the picture's edge"
    assert detector.detect(white(128, 96), 0.6) == found[:1]
    assert detector.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (detector.name, detector.labels, detector.size) == ("m", ("knife", "laptop"), 64)


def test_ultralytics_exports_are_read_as_they_are(tmp_path: Path, taxonomy: Taxonomy) -> None:
    # Values up to 1, and the picture in the middle of the square: 8 grey rows above it.
    path = write(tmp_path / "m.onnx", [[16, 24, 16, 8, 0.8, 0.1]], ULTRALYTICS)
    found = OnnxDetector.load(path, taxonomy).detect(white(128, 96))
    assert [box.label for box in found] == ["knife"]
    assert found[0].xyxy == pytest.approx((16, 24, 48, 40), abs=1e-3)


def test_yolox_is_fed_blue_green_red(tmp_path: Path, taxonomy: Taxonomy) -> None:
    # The network looks at its last channel: red for YOLOX, blue for Ultralytics.
    for metadata, rows, colour in (
        (YOLOX, [[0.1, 0.1, 0.05, 0.05, 1 / 255, 0.9 / 255, 0]], (255, 0, 0)),
        (ULTRALYTICS, [[30, 30, 20, 20, 0.9, 0]], (0, 0, 255)),
    ):
        detector = OnnxDetector.load(write(tmp_path / "m.onnx", rows, metadata), taxonomy)
        assert len(detector.detect(Image.new("RGB", (64, 64), colour), 0.5)) == 1
        assert not detector.detect(Image.new("RGB", (64, 64), colour[::-1]), 0.5)


def test_any_size_and_shape_of_picture_works(tmp_path: Path, taxonomy: Taxonomy) -> None:
    rows = [[0.1, 0.1, 0.05, 0.05, 1 / 255, 0.9 / 255, 0], [float("nan")] * 7]
    detector = OnnxDetector.load(write(tmp_path / "m.onnx", rows, {**YOLOX, "imgsz": "64"}, "side"), taxonomy)
    for size in ((1, 1), (3000, 2), (2, 3000), (64, 64)):
        for box in detector.detect(white(*size), 0.0):
            x0, y0, x1, y1 = box.xyxy
            assert 0 <= x0 < x1 <= size[0]
            assert 0 <= y0 < y1 <= size[1]


def test_eight_threads_get_the_same_answer(tmp_path: Path, taxonomy: Taxonomy) -> None:
    rows = [[0.1, 0.1, 0.05, 0.05, 1 / 255, 0.9 / 255, 0]]
    detector = OnnxDetector.load(write(tmp_path / "m.onnx", rows, YOLOX), taxonomy)
    expected = detector.detect(white(200, 100))
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.extend(detector.detect(white(200, 100)) for _ in range(20)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [expected] * 160


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"names": '{"0": "knife", "1": "flux capacitor"}'}, "flux capacitor"),
        ({"names": '{"0": "knife"}'}, "does not fit"),
        ({"names": '{"1": "knife", "2": "laptop"}'}, "numbered from 0"),
        ({"names": "knife"}, "no class names"),
        ({"names": "__import__('os').abort()"}, "no class names"),
        ({"model_family": "rfdetr"}, "rfdetr"),
        ({"task": "segment"}, "not for detection"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_by_name(
    tmp_path: Path, taxonomy: Taxonomy, change: dict[str, str], said: str
) -> None:
    path = write(tmp_path / "m.onnx", [[0, 0, 0, 0, 1, 1, 0]], YOLOX | change)
    with pytest.raises(BadModel, match=said):
        OnnxDetector.load(path, taxonomy)


def test_files_that_are_no_model_are_refused(tmp_path: Path, taxonomy: Taxonomy) -> None:
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"PK\x03\x04 not a model")
    for path in (junk, tmp_path / "missing.onnx", tmp_path):
        with pytest.raises(BadModel):
            OnnxDetector.load(path, taxonomy)


@pytest.mark.parametrize(
    ("name", "sha256", "said"),
    [
        ("yolov8n.pt", None, "XRAY_DETECTOR_SHA256"),
        ("yolov8n.pt", "0" * 64, "not the file XRAY_DETECTOR_SHA256 trusts"),
        ("weights.bin", None, "bundled"),
    ],
)
def test_a_pickle_is_never_opened(tmp_path: Path, taxonomy: Taxonomy, name: str, sha256: str | None, said: str) -> None:
    (tmp_path / name).write_bytes(b"\x80\x04")
    settings = Settings(detector=str(tmp_path / name), detector_sha256=sha256)
    with pytest.raises(BadModel, match=said):
        load_detector(settings, taxonomy)


class Pickled:
    """What Ultralytics' `YOLO` gives for a file: it answers two rows whatever it sees."""

    task = "detect"
    names: ClassVar = {0: "Knife", 1: "cans"}
    overrides: ClassVar = {"imgsz": 60}
    opened: ClassVar[list[bytes]] = []

    def __init__(self, path: str) -> None:
        self.opened.append(Path(path).read_bytes())
        self.model = Network(self.ranked)

    ranked = False


class Network(torch.nn.Module):
    """YOLOv8's answer (1, 4 + classes, N) or, with `ranked`, YOLO26's (1, N, 6), each beside its raw maps."""

    def __init__(self, ranked: bool) -> None:
        super().__init__()
        head = torch.nn.Identity()
        head.end2end = ranked  # type: ignore[assignment]
        self.model = torch.nn.Sequential(head)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, None]:
        assert pixels.shape == (1, 3, 64, 64)
        level = pixels.max()
        if self.model[-1].end2end:
            return torch.tensor([[[8.0, 20, 24, 28, 0.8, 0], [0, 0, 9, 9, 0.7, 7]]]) * level, None
        return torch.tensor([[[16.0, 24, 16, 8, 0.8, 0.1], [40, 40, 8, 8, 0.0, 0.6]]]).permute(0, 2, 1) * level, None


@pytest.fixture
def pickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of 128 × 96 scans into 64, and an Ultralytics to open them."""
    monkeypatch.setitem(sys.modules, "ultralytics", SimpleNamespace(YOLO=Pickled))
    monkeypatch.setattr(Pickled, "opened", [])
    path = tmp_path / "yolov8x.pt"
    path.write_bytes(b"\x80\x04 weights")
    return path


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_ultralytics_weights_are_opened_when_their_hash_is_trusted(pickled: Path, taxonomy: Taxonomy) -> None:
    settings = Settings(detector=str(pickled), detector_sha256=sha256_of(pickled).upper())
    detector = load_detector(settings, taxonomy)
    assert Pickled.opened == [pickled.read_bytes()]
    assert (detector.name, detector.labels, detector.size) == ("yolov8x", ("knife", "can"), 64)
    assert (detector.sha256, detector.trainable) == (sha256_of(pickled), False)
    found = detector.detect(white(128, 96))
    assert [(box.label, round(box.confidence, 3)) for box in found] == [("knife", 0.8), ("can", 0.6)]
    assert found[0].xyxy == pytest.approx((16, 24, 48, 40), abs=1e-3)


def test_newer_networks_that_rank_their_boxes_are_read_too(
    pickled: Path, taxonomy: Taxonomy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pickled, "ranked", True)
    detector = load_detector(Settings(detector=str(pickled), detector_sha256=sha256_of(pickled)), taxonomy)
    (found,) = detector.detect(white(128, 96))
    assert (found.label, round(found.confidence, 3)) == ("knife", 0.8)
    assert found.xyxy == pytest.approx((16, 24, 48, 40), abs=1e-3)

    # `write` turns an Ultralytics answer; turned before, it comes out as (1, N, 6).
    rows = np.array([[8, 20, 24, 28, 0.8, 0], [0, 0, 9, 9, 0.1, 1]]).T
    exported = write(tmp_path / "m.onnx", rows.tolist(), ULTRALYTICS | {"end2end": "True"})
    assert OnnxDetector.load(exported, taxonomy).detect(white(128, 96), 0.5)[0].xyxy == pytest.approx(
        (16, 24, 48, 40), abs=1e-3
    )


def test_other_bytes_than_those_trusted_are_never_opened(pickled: Path, taxonomy: Taxonomy) -> None:
    settings = Settings(detector=str(pickled), detector_sha256=sha256_of(pickled))
    pickled.write_bytes(b"\x80\x04 exchanged")
    with pytest.raises(BadModel, match=sha256_of(pickled)):
        load_detector(settings, taxonomy)
    assert Pickled.opened == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"names": {0: "knife", 1: "flux capacitor"}}, "flux capacitor"),
        ({"names": {1: "knife"}}, "numbered from 0"),
        ({"task": "segment"}, "not for detection"),
        ({"__init__": lambda self, path: [][1]}, "can be opened"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(
    pickled: Path, taxonomy: Taxonomy, monkeypatch: pytest.MonkeyPatch, change: dict[str, object], said: str
) -> None:
    for name, value in change.items():
        monkeypatch.setattr(Pickled, name, value)
    with pytest.raises(BadModel, match=said):
        load_detector(Settings(detector=str(pickled), detector_sha256=sha256_of(pickled)), taxonomy)


def test_without_ultralytics_the_error_says_what_to_install(
    pickled: Path, taxonomy: Taxonomy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    with pytest.raises(BadModel, match="pip install 'ultralytics"):
        load_detector(Settings(detector=str(pickled), detector_sha256=sha256_of(pickled)), taxonomy)


@pytest.mark.parametrize("config", ["yolov8n.yaml", "yolo26n.yaml"])
def test_the_real_library_answers_as_its_own_export(
    tmp_path: Path, taxonomy: Taxonomy, monkeypatch: pytest.MonkeyPatch, config: str
) -> None:
    monkeypatch.setenv("YOLO_AUTOINSTALL", "false")
    monkeypatch.setenv("YOLO_OFFLINE", "true")
    library = pytest.importorskip("ultralytics", reason="optional, AGPL-3.0", exc_type=ImportError)
    tasks = pytest.importorskip("ultralytics.nn.tasks")
    torch.manual_seed(0)
    network = tasks.DetectionModel(config, nc=2, verbose=False)
    network.names = {0: "Knife", 1: "cans"}
    path = tmp_path / "own.pt"
    torch.save({"model": network, "train_args": {"imgsz": 128, "task": "detect"}}, path)
    weights = load_detector(Settings(detector=str(path), detector_sha256=sha256_of(path)), taxonomy)
    exported = OnnxDetector.load(Path(library.YOLO(str(path)).export(format="onnx", imgsz=128)), taxonomy)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 200, 3), np.uint8))
    ours, theirs = weights.detect(picture, 1e-6), exported.detect(picture, 1e-6)
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours[:5], theirs, strict=False):
        assert (one.label, one.confidence) == (other.label, pytest.approx(other.confidence, rel=1e-3))
        assert one.xyxy == pytest.approx(other.xyxy, abs=0.1)


def test_two_classes_of_a_model_that_are_one_of_the_taxonomy_are_one_item(tmp_path: Path, taxonomy: Taxonomy) -> None:
    names = ULTRALYTICS | {"names": "{0: 'can', 1: 'Cans'}"}
    path = write(tmp_path / "m.onnx", [[16, 24, 16, 8, 0.8, 0.1], [17, 24, 16, 8, 0.1, 0.7]], names)
    found = OnnxDetector.load(path, taxonomy).detect(white(128, 96))
    assert [(box.label, round(box.confidence, 3)) for box in found] == [("can", 0.8)]


def test_the_setting_takes_a_path(tmp_path: Path, taxonomy: Taxonomy) -> None:
    path = write(tmp_path / "mine.onnx", [[0, 0, 0, 0, 1, 1, 0]], YOLOX)
    assert load_detector(Settings(detector=str(path)), taxonomy).name == "mine"


def test_serving_needs_neither_opencv_nor_torch() -> None:
    check = (
        "import sys, xray_app.detector.onnx; "
        "sys.exit(any(name in sys.modules for name in ('cv2', 'torch', 'libreyolo')))"
    )
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_letterbox_keeps_the_shape_and_pads_with_grey() -> None:
    corner, centred = letterbox(white(100, 50), 64), letterbox(white(100, 50), 64, centred=True)
    assert (corner.width, corner.height, corner.scale) == (64, 32, 0.64)
    assert (corner.pixels[:32] == 255).all()
    assert (corner.pixels[32:] == PAD_VALUE).all()
    assert centred.top == 16
    assert (centred.pixels[16:48] == 255).all()


def test_only_boxes_of_a_class_suppress_each_other() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 10], [50, 50, 60, 60]], np.float32)
    scores = np.array([0.6, 0.9, 0.5, 0.4], np.float32)
    assert keep_best(boxes, scores, np.array([0, 0, 1, 0]), 0.5).tolist() == [1, 2, 3]
    assert keep_best(boxes[:0], scores[:0], np.array([], np.int64), 0.5).tolist() == []


# Two boxes of 20 × 10 beside each other by this many pixels: 13.5 / 26.5 = 0.51 and 13.2 / 26.8 = 0.49 is shared.
@pytest.mark.parametrize(("beside", "left"), [(6.5, 1), (6.8, 2)])
def test_boxes_that_share_more_than_half_are_one_item(
    tmp_path: Path, taxonomy: Taxonomy, beside: float, left: int
) -> None:
    rows = [[20, 20, 20, 10, 0.9, 0], [20 + beside, 20, 20, 10, 0.8, 0]]
    detector = OnnxDetector.load(write(tmp_path / "m.onnx", rows, ULTRALYTICS), taxonomy)
    assert [round(box.confidence, 3) for box in detector.detect(white(64, 64))] == [0.9, 0.8][:left]


def test_a_box_at_the_threshold_is_given_and_one_below_is_not(tmp_path: Path, taxonomy: Taxonomy) -> None:
    rows = [[20, 20, 8, 8, 0.5, 0], [40, 40, 8, 8, 0.05, 0]]
    detector = OnnxDetector.load(write(tmp_path / "m.onnx", rows, ULTRALYTICS), taxonomy)
    assert len(detector.detect(white(64, 64), 0.5)) == 1
    assert len(detector.detect(white(64, 64), 0.501)) == 0
    assert len(detector.detect(white(64, 64))) == 2, "a twentieth is the threshold unless another is given"


def test_the_hundred_surest_boxes_are_given(tmp_path: Path, taxonomy: Taxonomy) -> None:
    rows = [[4 * (n % 15) + 2, 4 * (n // 15) + 2, 2, 2, 0.9 - n / 1000, 0] for n in range(101)]
    found = OnnxDetector.load(write(tmp_path / "m.onnx", rows, ULTRALYTICS), taxonomy).detect(white(64, 64))
    assert [round(box.confidence, 3) for box in found] == [round(0.9 - n / 1000, 3) for n in range(100)]


def test_the_bundled_detector_knows_every_drawn_class_and_finds_most_items(taxonomy: Taxonomy) -> None:
    assert BUNDLED_DETECTOR.stat().st_size <= 30_000_000
    detector = OnnxDetector.load(BUNDLED_DETECTOR, taxonomy)
    assert set(detector.labels) == {item.name for item in taxonomy.drawn}
    wanted = found = 0
    for seed in range(20):
        scan = simulate_scan(900_000 + seed, taxonomy, items=(1, 4))
        said = detector.detect(scan.image, 0.25)
        for label, xyxy in scan.boxes:
            same = np.array([box.xyxy for box in said if box.label == label], np.float32).reshape(-1, 4)
            wanted += 1
            found += bool((iou(np.array([xyxy], np.float32), same) >= 0.5).any())
    # A smoke test: the figures proper are in the model card, with their command.
    assert found / wanted >= 0.6
