"""Detectors exported to ONNX, run by ONNX Runtime: no PyTorch, no OpenCV.

A file says itself what it is: LibreYOLO and Ultralytics both write class names, input size and family into the
ONNX metadata, and everything here is read from there.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from xray_app.detector.base import Detection
from xray_app.detector.boxes import Floats, keep_best, letterbox
from xray_app.errors import BadModel
from xray_app.settings import BUNDLED_DETECTOR, Settings
from xray_app.taxonomy import Taxonomy

OVERLAP = 0.5
"""Two boxes of a class that share more than this are one item."""
MOST_BOXES = 100
MOST_CANDIDATES = 3000
"""Boxes looked at per scan, the strongest: bounds the time of a scan at a threshold of nearly nothing."""
THREADS = 2
"""A detector of a few million parameters gains nothing from more, and the language model needs the rest."""


@dataclass(frozen=True)
class _Facts:
    """How to feed the network and read its answer."""

    family: Literal["yolox", "ultralytics"]
    labels: tuple[str, ...]  # canonical, by class index
    size: int


class OnnxDetector:
    """An exported YOLO model. One instance serves all threads.

    Attributes:
        name: file name without suffix, or the metadata's own `detector_name`.
        sha256: hash of the file.
        labels: canonical class names by class index.
        size: side of the square the picture is scaled into, pixels.
    """

    def __init__(self, session: Any, facts: _Facts, name: str, sha256: str) -> None:
        self._session = session
        self._facts = facts
        self._input = session.get_inputs()[0].name
        self.name = name
        self.sha256 = sha256

    @property
    def labels(self) -> tuple[str, ...]:
        return self._facts.labels

    @property
    def size(self) -> int:
        return self._facts.size

    @classmethod
    def load(cls, path: Path, taxonomy: Taxonomy) -> OnnxDetector:
        """Loads an `.onnx` file.

        Args:
            path: the exported model.
            taxonomy: gives canonical names to the model's class names.

        Raises:
            BadModel: no such file, not ONNX, of a family we do not read, or with a class the taxonomy
                does not know.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BadModel(f"The detector {path} cannot be read: {error.strerror or error}.") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.inter_op_num_threads = 1
        # Spinning threads would eat the cores the language model is using.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises a dozen unrelated types; each means the file is bad
            raise BadModel(f"The detector {path} is not an ONNX model that can be run: {error}") from error
        metadata = dict(session.get_modelmeta().custom_metadata_map)
        facts = _facts(path, metadata, session, taxonomy)
        return cls(session, facts, metadata.get("detector_name") or path.stem, hashlib.sha256(content).hexdigest())

    def detect(self, image: Image.Image, threshold: float = 0.05) -> list[Detection]:
        """Finds items in a scan.

        Args:
            image: an RGB picture of any size.
            threshold: boxes below this confidence are left out.

        Returns:
            Boxes in pixels of `image`, within its edges, the most confident first; at most 100.
        """
        framed = letterbox(image, self.size, centred=self._facts.family == "ultralytics")
        boxes, scores = self._run(framed.pixels)
        best = scores.max(axis=1)
        candidates = np.flatnonzero((best >= threshold) & np.isfinite(boxes).all(axis=1))
        if candidates.size > MOST_CANDIDATES:
            candidates = candidates[np.argsort(-best[candidates], kind="stable")[:MOST_CANDIDATES]]
        boxes, best = boxes[candidates], best[candidates]
        classes = scores[candidates].argmax(axis=1).astype(np.int64)
        kept = keep_best(boxes, best, classes, OVERLAP)[:MOST_BOXES]
        placed = framed.to_picture(boxes[kept], image.size)
        return [
            Detection(self.labels[classes[index]], float(min(best[index], 1.0)), (x0, y0, x1, y1))
            for index, (x0, y0, x1, y1) in zip(kept, placed.tolist(), strict=True)
            if x0 < x1 and y0 < y1
        ]

    def _run(self, pixels: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """Boxes (N, 4) as corners in the square, and scores (N, classes)."""
        channels_first = pixels.transpose(2, 0, 1)[None].astype(np.float32)
        if self._facts.family == "yolox":
            # YOLOX is trained on blue-green-red from 0 to 255 and answers (1, N, 5 + classes):
            # centre, sides, objectness, class probabilities.
            output = self._session.run(None, {self._input: np.ascontiguousarray(channels_first[:, ::-1])})[0][0]
            middle_and_sides, scores = output[:, :4], output[:, 4:5] * output[:, 5:]
        else:
            # Ultralytics: red-green-blue from 0 to 1, answers (1, 4 + classes, N).
            output = self._session.run(None, {self._input: channels_first / np.float32(255)})[0][0].T
            middle_and_sides, scores = output[:, :4], output[:, 4:]
        middle, half = middle_and_sides[:, :2], middle_and_sides[:, 2:] / 2
        return np.concatenate([middle - half, middle + half], axis=1), scores


def load_detector(settings: Settings, taxonomy: Taxonomy) -> OnnxDetector:
    """The detector `XRAY_DETECTOR` names.

    Raises:
        BadModel: the weights are missing, cannot be run here, or know a class the taxonomy does not.
    """
    if settings.detector == "bundled":
        return OnnxDetector.load(BUNDLED_DETECTOR, taxonomy)
    path = Path(settings.detector)
    if path.suffix.lower() == ".pt":
        if not settings.detector_sha256:
            raise BadModel(
                f"{path} is a pickle, which can run any code when it is opened. Set XRAY_DETECTOR_SHA256 to "
                "the hash of the file you trust, or export it to .onnx (`yolo export model=... format=onnx`)."
            )
        raise BadModel(
            f"{path}: .pt weights need the optional Ultralytics backend, which this version does not have yet. "
            "Export them to .onnx (`yolo export model=... format=onnx`) and name that file."
        )
    if path.suffix.lower() != ".onnx":
        raise BadModel(f"XRAY_DETECTOR is {settings.detector!r}: give `bundled` or the path of an .onnx file.")
    return OnnxDetector.load(path, taxonomy)


def _facts(path: Path, metadata: Mapping[str, str], session: Any, taxonomy: Taxonomy) -> _Facts:
    """Reads the metadata, and checks that the network's shapes agree with it."""
    family: Literal["yolox", "ultralytics"]
    if metadata.get("model_family") == "yolox":
        family = "yolox"
    elif "model_family" not in metadata and {"stride", "names", "task"} <= metadata.keys():
        family = "ultralytics"
    else:
        known = metadata.get("model_family", "none named in its metadata")
        raise BadModel(f"{path}: detectors of the family {known} cannot be read; export YOLOX or YOLOv8/11.")
    if metadata.get("task", "detect") != "detect":
        raise BadModel(f"{path}: a model for {metadata['task']}, not for detection.")
    labels = _labels(path, metadata.get("names", ""), taxonomy)
    shape = session.get_inputs()[0].shape
    fixed = [side for side in shape[2:] if isinstance(side, int)]
    size = fixed[0] if fixed else _declared_size(path, metadata)
    if len(shape) != 4 or any(side != size for side in fixed):
        raise BadModel(f"{path}: the input must be a square, not {shape}.")
    outputs = session.get_outputs()[0].shape
    channels = outputs[2 if family == "yolox" else 1] if len(outputs) == 3 else None
    wanted = len(labels) + (5 if family == "yolox" else 4)
    if channels is None or (isinstance(channels, int) and channels != wanted):
        raise BadModel(f"{path}: the output {outputs} does not fit its {len(labels)} class names.")
    return _Facts(family, labels, size)


def _labels(path: Path, names: str, taxonomy: Taxonomy) -> tuple[str, ...]:
    try:
        # LibreYOLO writes JSON, Ultralytics a Python dict.
        parsed = json.loads(names) if names.lstrip().startswith('{"') else ast.literal_eval(names)
        by_index = {int(index): str(name) for index, name in parsed.items()}
    except (ValueError, SyntaxError, AttributeError, TypeError) as error:
        raise BadModel(f"{path}: its metadata holds no class names.") from error
    if not by_index or sorted(by_index) != list(range(len(by_index))):
        raise BadModel(f"{path}: its class names are not numbered from 0.")
    found = {index: taxonomy.find(name) for index, name in by_index.items()}
    unknown = [by_index[index] for index, item in found.items() if item is None]
    if unknown:
        raise BadModel(
            f"{path}: the taxonomy does not know its classes {', '.join(unknown)}. "
            "Add them to the taxonomy as classes or aliases.",
            details={"labels": unknown},
        )
    return tuple(item.name for _, item in sorted(found.items()) if item)


def _declared_size(path: Path, metadata: Mapping[str, str]) -> int:
    try:
        declared = ast.literal_eval(metadata["imgsz"])
        size = int(declared[0] if isinstance(declared, list | tuple) else declared)
    except (KeyError, ValueError, SyntaxError, TypeError, IndexError) as error:
        raise BadModel(f"{path}: its metadata holds no input size.") from error
    if not 32 <= size <= 4096 or size % 32:
        raise BadModel(f"{path}: an input size of {size} pixels is not a multiple of 32 from 32 to 4096.")
    return size
