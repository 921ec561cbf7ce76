"""How often the promotion gate decides rightly, on models whose true difference is known.

    python -m tests.benchmarks.gate [--tiny]

Pairs of models are drawn bag by bag on a hold-out of the usual size: half of the bags with a threat, most
bags easy or hard for both models, as one retraining changes few answers. A worse candidate truly loses ten
points of threat recall, raises more false alarms by fifteen points, or forgets one class in ten; a better one
gains a little of everything. `mistakes` is the share of wrong decisions. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from training.evaluation.bag_table import BagTable, ScanOutcome
from training.promotion.gate import HoldoutResult, run_gate
from training.promotion.holdout import SIMULATED_BAGS
from xray_app.taxonomy import Taxonomy, load_taxonomy

SEED = 20_260_201
THREATS = ("knife", "gun", "scissors", "axe", "saw", "hammer", "pliers", "baton", "blade", "dagger")
OTHERS = ("laptop", "phone", "plastic bottle", "can", "umbrella")


@dataclass(frozen=True)
class Model:
    """True rates of a model; `forgets` names a class it never says."""

    recall: float
    false_alarms: float
    items: float
    forgets: str | None = None


ACTIVE = Model(recall=0.93, false_alarms=0.06, items=0.85)
WORSE: Mapping[str, Model] = {
    "recall": Model(recall=0.83, false_alarms=0.06, items=0.85),
    "false alarms": Model(recall=0.93, false_alarms=0.21, items=0.85),
    "forgotten class": Model(recall=0.93, false_alarms=0.06, items=0.85, forgets="knife"),
}
BETTER: Mapping[str, Model] = {"better": Model(recall=0.96, false_alarms=0.05, items=0.90)}
STABLE = 0.85
"""Share of bags that are as easy or hard for the candidate as for the active model."""


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--tiny", action="store_true", help="a quick look: fewer pairs")
    pairs = 20 if asked.parse_args().tiny else 150
    taxonomy = load_taxonomy()
    draws = np.random.default_rng(SEED)

    def passed(candidate: Model) -> int:
        return sum(decide(draws, candidate, taxonomy) for _ in range(pairs))

    refused = {name: 1 - passed(model) / pairs for name, model in WORSE.items()}
    accepted = {name: passed(model) / pairs for name, model in BETTER.items()}
    wrong = [1 - share for share in (*refused.values(), *accepted.values())]
    result = {
        "refused_worse": round(float(np.mean(list(refused.values()))), 3),
        "accepted_better": round(float(np.mean(list(accepted.values()))), 3),
        "mistakes": round(float(np.mean(wrong)), 3),
        "refused": {name: round(share, 3) for name, share in refused.items()},
        "pairs": pairs,
    }
    print(json.dumps(result))


def decide(draws: np.random.Generator, candidate: Model, taxonomy: Taxonomy) -> bool:
    """Draws both models on the same bags and asks the gate."""
    luck = {name: draws.random((SIMULATED_BAGS, 3)) for name in ("active", "own")}
    same = draws.random((SIMULATED_BAGS, 1)) < STABLE
    shared = np.where(same, luck["active"], luck["own"])
    nothing = BagTable.of([], taxonomy.rules())
    gate = run_gate(
        HoldoutResult(bags(ACTIVE, luck["active"], taxonomy), nothing),
        HoldoutResult(bags(candidate, shared, taxonomy), nothing),
        taxonomy.policy(),
        answers_differ=True,
    )
    return gate.passed


def bags(model: Model, luck: np.ndarray, taxonomy: Taxonomy) -> BagTable:
    """What a model says of each bag; `luck` (bags, 3) decides threat, false alarm and other items."""
    outcomes = []
    for number, (threat_luck, alarm_luck, item_luck) in enumerate(luck.tolist()):
        threat = THREATS[number // 2 % len(THREATS)] if number % 2 else None
        other = OTHERS[number % len(OTHERS)]
        true = {other: 1} | ({threat: 1} if threat else {})
        said = {other: 1} if item_luck < model.items else {}
        if threat and threat != model.forgets and threat_luck < model.recall:
            said[threat] = 1
        if not threat and alarm_luck < model.false_alarms:
            said[THREATS[number // 2 % len(THREATS)]] = 1
        outcomes.append(ScanOutcome.scoped(f"{number:04d}", None, true, said, dict.fromkeys(said, 0.9)))
    return BagTable.of(outcomes, taxonomy.rules())


if __name__ == "__main__":
    main()
