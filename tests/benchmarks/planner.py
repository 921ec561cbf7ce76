"""The planner's word against what a training then took, on this machine.

    python -m tests.benchmarks.planner [--tiny]

A rehearsal (a few steps in a process of its own) is made before and after the training itself, and the two forecasts
averaged, so that whatever else the machine does hits both alike. `time_ratio` and `memory_ratio` are predicted over
measured: wall seconds of the training's process, and its peak resident memory. The worst of the methods is given,
each one's own under `methods`. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import get_args

from training.data.samples import Sample, write_jsonl
from training.data.yolo import read_yolo
from training.plan.rehearsal import Forecast, follow, forecast, rehearse
from training.recipes.recipe import Recipe, load_recipe
from training.vlm.finetune import split_for_stopping
from xray_app.simulate.dataset import write_dataset
from xray_app.taxonomy import load_taxonomy
from xray_app.types import Method

SEED = 20_261_126


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--tiny", action="store_true", help="a quick look: LoRA alone, fewer scans")
    tiny = asked.parse_args().tiny
    taxonomy = load_taxonomy()
    recipe = load_recipe("bundled").model_copy(update={"batch": 8} if tiny else {})
    methods: tuple[Method, ...] = ("lora",) if tiny else get_args(Method)
    with tempfile.TemporaryDirectory(prefix="planner-") as name:
        folder = Path(name)
        write_dataset(folder / "scans", 60 if tiny else 240, SEED, taxonomy, 0.5, (0, 8), 1)
        samples = list(read_yolo(folder / "scans", taxonomy).splits["train"])
        write_jsonl(samples, folder / "train.jsonl")
        found = {}
        for method in methods:
            found[method] = ratios(samples, recipe, method, folder, 2 if tiny else 3)
            print(f"{method}: {found[method]}", flush=True)
    result = {
        name: round(max((one[name] for one in found.values()), key=lambda ratio: max(ratio, 1 / ratio)), 3)
        for name in ("time_ratio", "memory_ratio")
    }
    print(json.dumps({**result, "methods": found}))


def ratios(samples: list[Sample], recipe: Recipe, method: Method, folder: Path, epochs: float) -> dict[str, float]:
    trained, stopping = map(len, split_for_stopping(samples))

    def predicted(when: str) -> Forecast:
        part = folder / method / when
        part.mkdir(parents=True)
        return forecast(rehearse(samples, recipe, method, part), recipe, trained, stopping, epochs)

    before = predicted("before")
    took = follow(folder / "train.jsonl", recipe, method, folder / method / "whole", epochs)
    after = predicted("after")
    return {
        "time_ratio": round(statistics.fmean((before.seconds, after.seconds)) / took.ended, 3),
        "memory_ratio": round(statistics.fmean((before.peak_bytes, after.peak_bytes)) / took.peak_bytes, 3),
        "seconds": round(took.ended, 1),
        "peak_mb": round(took.peak_bytes / 1024**2),
    }


if __name__ == "__main__":
    main()
