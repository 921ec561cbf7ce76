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
from xray_app.detector.boxes import Floats, detections, letterbox, ultralytics_rows
from xray_app.detector.classes import canonical_labels
from xray_app.errors import BadModel
from xray_app.taxonomy import Taxonomy

THREADS = 2
"""A detector of a few million parameters gains nothing from more, and the language model needs the rest."""


@dataclass(frozen=True)
class _Facts:
    """How to feed the network and read its answer."""

    family: Literal["yolox", "ultralytics"]
    labels: tuple[str, ...]  # canonical, by class index
    size: int
    ranked: bool = False  # an Ultralytics network that suppresses overlapping boxes itself


class OnnxDetector:
    """An exported YOLO model. One instance serves all threads.

    Attributes:
        name: file name without suffix, or the metadata's own `detector_name`.
        sha256: hash of the file.
        labels: canonical class names by class index.
        size: side of the square the picture is scaled into, pixels.
        trainable: a YOLOX, which the desk can fine-tune.
    """

    def __init__(self, session: Any, facts: _Facts, name: str, sha256: str) -> None:
        self._session = session
        self._facts = facts
        self._input = session.get_inputs()[0].name
        self.name = name
        self.sha256 = sha256
        self.trainable = facts.family == "yolox"

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
        return detections(boxes, scores, self.labels, framed, image.size, threshold)

    def _run(self, pixels: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """Boxes (N, 4) as corners in the square, and scores (N, classes)."""
        channels_first = pixels.transpose(2, 0, 1)[None].astype(np.float32)
        if self._facts.family == "yolox":
            # YOLOX is trained on blue-green-red from 0 to 255 and answers (1, N, 5 + classes):
            # centre, sides, objectness, class probabilities.
            output = self._session.run(None, {self._input: np.ascontiguousarray(channels_first[:, ::-1])})[0][0]
            middle, half = output[:, :2], output[:, 2:4] / 2
            return np.concatenate([middle - half, middle + half], axis=1), output[:, 4:5] * output[:, 5:]
        # Ultralytics: red-green-blue from 0 to 1.
        output = self._session.run(None, {self._input: channels_first / np.float32(255)})[0][0]
        return ultralytics_rows(output, len(self.labels), self._facts.ranked)


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
    ranked = family == "ultralytics" and metadata.get("end2end", "").lower() == "true"
    outputs = session.get_outputs()[0].shape
    channels = outputs[1 if family == "ultralytics" and not ranked else 2] if len(outputs) == 3 else None
    wanted = 6 if ranked else len(labels) + (5 if family == "yolox" else 4)
    if channels is None or (isinstance(channels, int) and channels != wanted):
        raise BadModel(f"{path}: the output {outputs} does not fit its {len(labels)} class names.")
    return _Facts(family, labels, size, ranked)


def _labels(path: Path, names: str, taxonomy: Taxonomy) -> tuple[str, ...]:
    try:
        # LibreYOLO writes JSON, Ultralytics a Python dict.
        parsed = json.loads(names) if names.lstrip().startswith('{"') else ast.literal_eval(names)
        by_index = {int(index): str(name) for index, name in parsed.items()}
    except (ValueError, SyntaxError, AttributeError, TypeError) as error:
        raise BadModel(f"{path}: its metadata holds no class names.") from error
    return canonical_labels(path, by_index, taxonomy)


def _declared_size(path: Path, metadata: Mapping[str, str]) -> int:
    try:
        declared = ast.literal_eval(metadata["imgsz"])
        size = int(declared[0] if isinstance(declared, list | tuple) else declared)
    except (KeyError, ValueError, SyntaxError, TypeError, IndexError) as error:
        raise BadModel(f"{path}: its metadata holds no input size.") from error
    if not 32 <= size <= 4096 or size % 32:
        raise BadModel(f"{path}: an input size of {size} pixels is not a multiple of 32 from 32 to 4096.")
    return size
