"""Is what nobody looked for forgotten? Item F1 of full answers before and after a run on partly labelled scans.

    python -m tests.benchmarks.retention [--tiny]

Simulated scans on which three classes alone were labelled train the bundled model, with the replay of its recipe;
other scans are asked for everything. `f1_absent` is what is left where the other classes are taught as absent, which
a scan that is only partly labelled must never do. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from training.data.samples import Sample, make_sample, write_jsonl
from training.data.snapshot import with_replay
from training.data.yolo import read_yolo
from training.evaluation.bag_table import BagTable
from training.evaluation.evaluate import evaluate_vlm
from training.recipes.recipe import load_recipe
from training.vlm.finetune import finetune
from xray_app.simulate import write_dataset
from xray_app.taxonomy import Taxonomy, load_taxonomy
from xray_app.vlm.load import load_local
from xray_app.vlm.local import LocalVlm

LABELLED = ("knife", "scissors", "lighter")
TRAINED, MEASURED = 24, 40
EPOCHS = 4
SEED = 31


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--tiny", action="store_true", help="a quick look: one epoch, eight scans measured")
    epochs, measured = (1, 8) if asked.parse_args().tiny else (EPOCHS, MEASURED)
    taxonomy = load_taxonomy()
    with tempfile.TemporaryDirectory(prefix="retention-") as name:
        folder = Path(name)
        seen = scans(folder / "seen", TRAINED, SEED, taxonomy)
        unseen = scans(folder / "unseen", measured, SEED + 1, taxonomy)
        vlm = load_local("bundled", taxonomy=taxonomy)
        figures = {"f1_before": item_f1(vlm, unseen, taxonomy)}
        for key, absent in (("f1_after", False), ("f1_absent", True)):
            vlm.use_adapter(trained([partly(one, taxonomy, absent) for one in seen], folder / key, epochs, taxonomy))
            figures[key] = item_f1(vlm, unseen, taxonomy)
    print(json.dumps(figures))


def scans(folder: Path, count: int, seed: int, taxonomy: Taxonomy) -> list[Sample]:
    write_dataset(folder, count, seed, taxonomy, items=(2, 5), workers=1)
    return list(read_yolo(folder, taxonomy).splits["train"])


def partly(one: Sample, taxonomy: Taxonomy, absent: bool = False) -> Sample:
    """The scan as labelled by who looked for `LABELLED` alone; `absent`: and says that nothing else is there."""
    size = (one.width, one.height)
    if not absent:
        return make_sample(one.image, size, one.counts(taxonomy), one.boxes, LABELLED, one.bag_id, taxonomy)
    counts = {label: count for label, count in one.counts(taxonomy).items() if label in LABELLED}
    boxes = [box for box in one.boxes if box.label in LABELLED]
    return make_sample(one.image, size, counts, boxes, None, one.bag_id, taxonomy)


def trained(samples: list[Sample], folder: Path, epochs: float, taxonomy: Taxonomy) -> Path:
    """The adapter of a run on these samples and the recipe's replay."""
    folder.mkdir()
    write_jsonl(samples, folder / "train.jsonl")
    recipe = load_recipe("bundled")
    with_replay(folder / "train.jsonl", recipe, folder / "snapshot", taxonomy)
    return finetune(folder / "snapshot", recipe, "lora", folder / "out", taxonomy=taxonomy, epochs=epochs)


def item_f1(vlm: LocalVlm, samples: list[Sample], taxonomy: Taxonomy) -> float | None:
    outcomes = evaluate_vlm(vlm, samples, taxonomy).outcomes
    return BagTable.of(outcomes, taxonomy.rules()).item_f1().value


if __name__ == "__main__":
    main()
