"""The bundled models on fresh simulated scans: what a careless change to weights, prompt or parser would cost."""

from __future__ import annotations

from pathlib import Path

from training.data.yolo import read_yolo
from training.evaluation.compare import evaluate_models
from xray_app.settings import Settings
from xray_app.simulate import write_dataset
from xray_app.taxonomy import load_taxonomy

SCANS = 50
# The cards' figures come from 1,000 scans; these floors leave room for the luck of fifty.
VLM_ITEM_F1 = 0.80
VLM_EXACT_LIST = 0.35
DETECTOR_ITEM_F1 = 0.80
DETECTOR_MAP50 = 0.80


def test_the_bundled_models_keep_their_floors(tmp_path: Path) -> None:
    taxonomy = load_taxonomy()
    write_dataset(tmp_path, SCANS, 424_242, taxonomy, items=(0, 8))
    samples = read_yolo(tmp_path, taxonomy).splits["train"]
    report = evaluate_models(samples, Settings(_env_file=None), taxonomy)
    assert report["vlm"]["item_f1"] >= VLM_ITEM_F1
    assert report["vlm"]["exact_list"] >= VLM_EXACT_LIST
    assert report["detector"]["item_f1"] >= DETECTOR_ITEM_F1
    assert report["detector"]["map50"] >= DETECTOR_MAP50
