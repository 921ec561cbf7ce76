"""What each setting of a recipe does, by hand: to new scans, and to what the base knew.

    python -m tests.benchmarks.recipes --data YOLO_DIR --out DIR [--recipe bundled] [--train 200] [--epochs 4]

Only the `train` part of the data set is touched: some of its scans are trained on, all others are the new ones, so
that `val` stays unseen by every choice. All variants make the same passes over the labelled scans and start from the
same seed; replayed scans come on top, in more steps. Figures are item F1 with intervals over scans: of new scans
asked for the labelled classes, of the same asked for everything (as the desk asks), and of simulated ones (what was
forgotten). A variant that is measured is kept in `--out` and skipped from then on.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from training.data.samples import Sample, with_full_instruction, write_jsonl
from training.data.snapshot import samples_sha256, with_replay
from training.data.training_record import read_training_record
from training.data.yolo import read_yolo
from training.evaluation.bag_table import BagTable
from training.evaluation.evaluate import evaluate_vlm
from training.experiment.cells import nested_subset
from training.recipes.recipe import Recipe, load_recipe
from training.vlm.finetune import finetune
from xray_app.simulate.dataset import write_dataset
from xray_app.taxonomy import Taxonomy, load_taxonomy
from xray_app.vlm.load import base_sha256, load_local
from xray_app.vlm.local import LocalVlm

SIMULATED = 300
SEED = 20_270_001

VARIANTS: dict[str, dict[str, Any]] = {
    "replay 0": {"replay": 0.0},
    "replay 0.25": {"replay": 0.25},
    "replay 0.5": {"replay": 0.5},
    "replay 1": {"replay": 1.0},
    "no turns": {"turns": False},
    "half the rate": {"learning_rate": 6e-4},
    "contrast 0.5": {"contrast": 0.5},
    "palette 0.5": {"palette": 0.5},
    "class balance 0.2": {"class_balance": 0.2},
    "threat projection 0.5": {"threat_projection": 0.5},
}
"""Against `replay 0.5`, which all but the first four share."""


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--data", type=Path, required=True)
    asked.add_argument("--out", type=Path, required=True)
    asked.add_argument("--recipe", default="bundled")
    asked.add_argument("--train", type=int, default=200)
    asked.add_argument("--epochs", type=float, default=4)
    arguments = asked.parse_args()
    taxonomy = load_taxonomy()
    train = list(read_yolo(arguments.data, taxonomy).splits["train"])
    labelled = nested_subset(train, len(train))
    learned, new = labelled[: arguments.train], labelled[arguments.train :]
    recipe = load_recipe(arguments.recipe).model_copy(update={"replay": 0.5, "replay_minimum": 0})
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        write_dataset(Path(folder), SIMULATED, SEED, taxonomy, items=(0, 6))
        simulated = list(read_yolo(Path(folder), taxonomy).splits["train"])
        rows = {"untuned": kept(arguments.out / "untuned", recipe, [], new, simulated, 0, taxonomy)}
        for name, changes in VARIANTS.items():
            changed = recipe.model_copy(update=changes)
            target = arguments.out / name.replace(" ", "-")
            rows[name] = kept(target, changed, learned, new, simulated, arguments.epochs, taxonomy)
    print(f"{len(learned)} scans learned from, {len(new)} new, {SIMULATED} simulated; {arguments.epochs:g} passes\n")
    print("| variant | new scans | new, asked for everything | simulated | steps' time |\n|---|---|---|---|---|")
    for name, row in rows.items():
        print(f"| {name} | {row['new']} | {row['new_unscoped']} | {row['simulated']} | {row['seconds']:.0f} s |")


def kept(
    target: Path,
    recipe: Recipe,
    learned: list[Sample],
    new: list[Sample],
    simulated: list[Sample],
    epochs: float,
    taxonomy: Taxonomy,
) -> dict[str, Any]:
    """The row of a variant: measured once, then read. One of other settings, scans or another base is not."""
    scans = {"learned": learned, "new": new, "simulated": simulated}
    asked = {"recipe": recipe.model_dump(mode="json"), "epochs": epochs, "base_sha256": base_sha256(recipe.base)}
    asked |= {f"{name}_sha256": samples_sha256(samples) for name, samples in scans.items()}
    found = target.with_name(f"{target.name}.json")  # names hold points
    if found.is_file() and (row := json.loads(found.read_text()))["of"] == asked:
        return dict(row)
    shutil.rmtree(target, ignore_errors=True)
    vlm, seconds = load_local(recipe.base), 0.0
    if learned:
        write_jsonl(learned, target / "train.jsonl")
        with_replay(target / "train.jsonl", recipe, target / "snapshot", taxonomy)
        adapter = finetune(target / "snapshot", recipe, "lora", target, taxonomy=taxonomy, epochs=epochs)
        vlm.use_adapter(adapter)
        facts = read_training_record(adapter)
        seconds = facts.seconds if facts else 0.0
    row = {
        "new": f1(vlm, new, taxonomy),
        "new_unscoped": f1(vlm, with_full_instruction(new), taxonomy),
        "simulated": f1(vlm, simulated, taxonomy),
        "seconds": seconds,
        "of": asked,
    }
    found.write_text(json.dumps(row) + "\n")
    shutil.rmtree(target, ignore_errors=True)
    print(target.name, row["new"], row["new_unscoped"], row["simulated"], file=sys.stderr, flush=True)
    return row


def f1(vlm: LocalVlm, samples: list[Sample], taxonomy: Taxonomy) -> str:
    """Item F1 with its interval, as text."""
    outcomes = evaluate_vlm(vlm, samples, taxonomy).outcomes
    rate = BagTable.of(outcomes, taxonomy.rules()).item_f1()
    if rate.value is None or rate.ci is None:
        return "-"
    return f"{rate.value:.3f} ({rate.ci[0]:.3f}-{rate.ci[1]:.3f})"


if __name__ == "__main__":
    main()
