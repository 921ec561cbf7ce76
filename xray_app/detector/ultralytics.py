"""Ultralytics' own weights (`yolov8n.pt`, `yolov8x.pt` and later), run by Ultralytics' model and PyTorch.

Optional: `ultralytics` is AGPL-3.0 and brings OpenCV, so it is imported only when such weights are named.
"""

from __future__ import annotations

import hashlib
import hmac
import importlib
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from xray_app.detector.base import Detection
from xray_app.detector.boxes import detections, letterbox, ultralytics_rows
from xray_app.detector.classes import canonical_labels
from xray_app.errors import BadModel
from xray_app.taxonomy import Taxonomy


class UltralyticsDetector:
    """An Ultralytics detection model. One instance serves all threads, one scan at a time.

    Attributes:
        name: file name without suffix.
        sha256: hash of the file.
        labels: canonical class names by class index.
        size: side of the square the picture is scaled into, pixels.
        trainable: never; Ultralytics trains its own weights.
    """

    trainable = False

    def __init__(self, model: Any, labels: tuple[str, ...], size: int, name: str, sha256: str) -> None:
        self._model = model
        self._turn = threading.Lock()  # the head keeps its anchors on itself
        self.labels = labels
        self.size = size
        self.name = name
        self.sha256 = sha256

    @classmethod
    def load(cls, path: Path, sha256: str, taxonomy: Taxonomy) -> UltralyticsDetector:
        """Opens a `.pt` file whose hash is the one trusted.

        A pickle is code. The bytes that were hashed are the bytes that are opened, from a copy nobody else can
        write to, so that a file exchanged in between is not.

        Args:
            path: the weights.
            sha256: of the file an admin trusts, 64 hexadecimal digits in either case.
            taxonomy: gives canonical names to the model's class names.

        Raises:
            BadModel: no such file, another hash, Ultralytics is not installed, the file is no detection model,
                or the taxonomy does not know one of its classes.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BadModel(f"The detector {path} cannot be read: {error.strerror or error}.") from error
        found = hashlib.sha256(content).hexdigest()
        if not hmac.compare_digest(found.encode(), sha256.strip().lower().encode()):
            raise BadModel(
                f"{path} is not the file XRAY_DETECTOR_SHA256 trusts, so it was not opened: its SHA-256 is {found}. "
                "Set that only if you know where the file comes from."
            )
        model = _open(path, content)
        if getattr(model, "task", None) != "detect":
            raise BadModel(f"{path}: a model for {getattr(model, 'task', 'something else')}, not for detection.")
        labels = canonical_labels(path, {int(index): str(name) for index, name in model.names.items()}, taxonomy)
        size = int(np.max(model.overrides.get("imgsz") or 640))
        network = model.model.float().eval()
        return cls(network, labels, -(-size // 32) * 32, path.stem, found)

    def detect(self, image: Image.Image, threshold: float = 0.05) -> list[Detection]:
        """Finds items in a scan.

        Args:
            image: an RGB picture of any size.
            threshold: boxes below this confidence are left out.

        Returns:
            Boxes in pixels of `image`, within its edges, the most confident first; at most 100.
        """
        import torch

        framed = letterbox(image, self.size, centred=True)
        pixels = torch.from_numpy(framed.pixels).permute(2, 0, 1)[None].float() / 255
        with self._turn, torch.inference_mode():
            answer = self._model(pixels)
        output = (answer[0] if isinstance(answer, tuple | list) else answer)[0].numpy()
        ranked = bool(getattr(self._model.model[-1], "end2end", False))
        boxes, scores = ultralytics_rows(output, len(self.labels), ranked)
        return detections(boxes, scores, self.labels, framed, image.size, threshold)


def _open(path: Path, content: bytes) -> Any:
    """Ultralytics' `YOLO` over these bytes."""
    # Read when it is imported: no download, no package installed because a pickle asks for it.
    for name, value in (("YOLO_AUTOINSTALL", "false"), ("YOLO_OFFLINE", "true"), ("YOLO_VERBOSE", "false")):
        os.environ.setdefault(name, value)
    try:
        library = importlib.import_module("ultralytics")
    except ImportError as error:
        raise BadModel(
            f"{path}: .pt weights need Ultralytics ({error}): pip install 'ultralytics>=8.4' (AGPL-3.0), and on a slim "
            "image apt-get install libgl1 libglib2.0-0. Or export them where you have it "
            "(`yolo export model=... format=onnx`) and name the .onnx file."
        ) from error
    with tempfile.TemporaryDirectory(prefix="xray-detector-") as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(content)
        try:
            return library.YOLO(str(copy))
        except Exception as error:  # unpickling raises whatever it likes
            raise BadModel(f"{path} holds no Ultralytics model that can be opened: {error}") from error
