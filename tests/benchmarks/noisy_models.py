"""Adapters and detectors that were never trained, but answer in another way than the bundled models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from training.promotion import registry
from training.recipes.recipe import load_recipe
from training.vlm.finetune import add_lora, load_base
from xray_app.adapter import Gate
from xray_app.analysis import DETECTOR_FILE
from xray_app.services import Services
from xray_app.settings import BUNDLED_DETECTOR
from xray_app.types import AdapterKind, RunMetrics
from xray_app.vlm.local import write_base

SEED = 20_261_127


def register_noisy(services: Services, folder: Path, kind: AdapterKind, spread: float) -> str:
    """Registers the base model of a kind with noise on its weights, as one that passed the gate.

    Args:
        services: their database and data folder take it.
        folder: for the files that are registered.
        kind: of adapter.
        spread: of the noise: standard deviation of LoRA's B, or of the detector's weights as a share of their own.

    Returns:
        Its id.
    """
    name = f"{kind}-{spread:g}"
    trained = folder / name
    trained.mkdir()
    base = services.analyser.vlm.weights_sha256
    if kind == "detector":
        base = services.analyser.detector.sha256
        _noisy_detector(spread, trained / DETECTOR_FILE)
    else:
        _noisy_adapter(spread, trained)
    manifest = registry.new_manifest(
        id=name,
        kind=kind,
        base="bundled",
        base_sha256=base,
        taxonomy_sha256=services.taxonomy.sha256,
        metrics=RunMetrics(),
        gate=Gate.of([]),
    )
    return registry.register(services.db, trained, manifest).id


def _noisy_adapter(spread: float, folder: Path) -> None:
    recipe = load_recipe("bundled")
    vlm = load_base(recipe, "lora")
    model = add_lora(vlm.model, recipe, "lora")
    torch.manual_seed(SEED)
    with torch.no_grad():
        for weights in (value for name, value in model.named_parameters() if "lora_B" in name):
            weights.normal_(std=spread)
    model.save_pretrained(folder)
    vlm.processor.save_pretrained(folder / "processor")
    write_base(folder, vlm)


def _noisy_detector(spread: float, file: Path) -> None:
    network = onnx.load(BUNDLED_DETECTOR)
    draws = np.random.default_rng(SEED)
    for tensor in network.graph.initializer:
        weights = numpy_helper.to_array(tensor)
        if weights.dtype == np.float32 and weights.ndim == 4:
            noisy = weights + draws.normal(0, spread * weights.std(), weights.shape).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(noisy, tensor.name))
    onnx.save(network, file)
