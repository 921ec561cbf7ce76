"""The detector a setting names."""

from __future__ import annotations

from pathlib import Path

from xray_app.detector.onnx import OnnxDetector
from xray_app.detector.ultralytics import UltralyticsDetector
from xray_app.errors import BadModel
from xray_app.settings import BUNDLED_DETECTOR, Settings
from xray_app.taxonomy import Taxonomy


def detector_file(settings: Settings) -> Path:
    """The weights `XRAY_DETECTOR` names."""
    return BUNDLED_DETECTOR if settings.detector == "bundled" else Path(settings.detector)


def load_detector(settings: Settings, taxonomy: Taxonomy) -> OnnxDetector | UltralyticsDetector:
    """The detector `XRAY_DETECTOR` names.

    Raises:
        BadModel: the weights are missing, are not those whose hash was set, cannot be run here, or know a class
            the taxonomy does not.
    """
    path = detector_file(settings)
    if path.suffix.lower() == ".onnx":
        return OnnxDetector.load(path, taxonomy)
    if path.suffix.lower() != ".pt":
        raise BadModel(
            f"XRAY_DETECTOR is {settings.detector!r}: give `bundled` or the path of an .onnx file, or of a .pt file "
            "with XRAY_DETECTOR_SHA256."
        )
    if not settings.detector_sha256:
        raise BadModel(
            f"{path} is a pickle, which can run any code when it is opened. Set XRAY_DETECTOR_SHA256 to "
            "the hash of the file you trust, or export it to .onnx (`yolo export model=... format=onnx`)."
        )
    return UltralyticsDetector.load(path, settings.detector_sha256, taxonomy)
