"""How often the promotion gate decides rightly, on models whose true difference is known.

    python -m tests.benchmarks.gate [--tiny]

Pairs of models are drawn bag by bag, as many with a threat as without, so that of either kind one bag in ten is
answered differently by the two (more only where the loss itself is more), and so are one in ten of the other items.
`power` asks the whole gate, all checks together, at several sizes of the hold-out, of candidates truly as good or
worse by 5, 10 and 20 points of threat recall: how often it passes, and how often it is not shown yet.

At the usual size, a worse candidate truly loses ten points of threat recall, raises more false alarms by fifteen
points, or forgets one class in ten; a better one gains a little of everything. `mistakes` is the share of worse ones
not refused and of better ones not passed. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from training.evaluation.bag_table import BagTable, Bools
from training.evaluation.bootstrap import Floats
from training.promotion.gate import HoldoutResult, run_gate
from xray_app.settings import Settings
from xray_app.taxonomy import Taxonomy, load_taxonomy

SEED = 20_260_201
THREATS = ("knife", "gun", "scissors", "axe", "saw", "hammer", "pliers", "baton", "blade", "dagger")
OTHERS = ("laptop", "phone", "plastic bottle", "can", "umbrella")
DIFFERENT = 0.10
"""Share of bags that the two models answer differently."""
SIZES = (20, 52, 100, 200, 400, 800)
POINTS = (0, 5, 10, 20)


@dataclass(frozen=True)
class Model:
    """True rates of a model; `forgets` names a class it never says."""

    recall: float
    false_alarms: float
    items: float
    forgets: str | None = None


ACTIVE = Model(recall=0.90, false_alarms=0.10, items=0.85)
WORSE: Mapping[str, Model] = {
    "recall": Model(recall=0.80, false_alarms=0.10, items=0.85),
    "false alarms": Model(recall=0.90, false_alarms=0.25, items=0.85),
    "forgotten class": Model(recall=0.90, false_alarms=0.10, items=0.85, forgets="knife"),
}
BETTER: Mapping[str, Model] = {"better": Model(recall=0.93, false_alarms=0.08, items=0.90)}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--tiny", action="store_true", help="a quick look: fewer pairs and sizes")
    tiny = asked.parse_args().tiny
    pairs, sizes = (10, (20, 100)) if tiny else (400, SIZES)
    taxonomy = load_taxonomy()
    draws = np.random.default_rng(SEED)
    usual = 100 if tiny else Settings.model_fields["simulated_bags"].default // 2

    def answers(candidate: Model, count: int, pairs: int) -> Mapping[str, float]:
        found = Counter(answer(draws, candidate, count, taxonomy) for _ in range(pairs))
        return {name: round(found[name] / pairs, 3) for name in ("passed", "refused", "not shown yet")}

    refused = {name: answers(model, usual, pairs // 4)["refused"] for name, model in WORSE.items()}
    accepted = {name: answers(model, usual, pairs // 4)["passed"] for name, model in BETTER.items()}
    power = []
    for count in sizes:
        for points in POINTS:
            candidate = Model(ACTIVE.recall - points / 100, ACTIVE.false_alarms, ACTIVE.items)
            # What fails plainly needs no close look.
            found = answers(candidate, count, pairs if points in (0, 10) else pairs // 4)
            row = {"threat_bags": count, "points_worse": points, "pass": found["passed"]}
            power.append({**row, "not_shown": found["not shown yet"]})
            print(f"{count:4} threat bags, {points:2} points worse: {found}", flush=True)
    wrong = [1 - share for share in (*refused.values(), *accepted.values())]
    result = {
        "refused_worse": round(float(np.mean(list(refused.values()))), 3),
        "accepted_better": round(float(np.mean(list(accepted.values()))), 3),
        "mistakes": round(float(np.mean(wrong)), 3),
        "refused": refused,
        "power": power,
    }
    print(json.dumps(result))


def answer(draws: np.random.Generator, candidate: Model, count: int, taxonomy: Taxonomy) -> str:
    """Draws both models on the same bags, `count` with a threat and as many without, and asks the gate."""
    nothing = BagTable.of([], taxonomy.rules())
    models = ACTIVE, candidate
    found = both(draws, count, ACTIVE.recall, candidate.recall)
    alarmed = both(draws, count, ACTIVE.false_alarms, candidate.false_alarms)
    listed = both(draws, 2 * count, ACTIVE.items, candidate.items)
    bag_luck = draws.random(2 * count)
    tables = []
    for model, own_found, own_alarmed, own_listed in zip(models, found, alarmed, listed, strict=True):
        luck = 0.8 * bag_luck + 0.2 * draws.random(2 * count)
        tables.append(table(model, own_found, own_alarmed, own_listed, luck, taxonomy))
    results = [HoldoutResult(one, nothing) for one in tables]
    return run_gate(results[0], results[1], taxonomy.policy(), answers_differ=True).answer


def both(draws: np.random.Generator, count: int, first: float, second: float) -> tuple[Bools, Bools]:
    """(count,) of each of two models, whether it says so, at these rates and `DIFFERENT` on one bag in ten."""
    differ = max(DIFFERENT, abs(first - second))
    lost, gained = (differ + first - second) / 2, (differ - first + second) / 2
    luck = draws.random(count)
    alike = (luck >= lost + gained) & (luck < gained + first)
    return alike | (luck < lost), alike | ((luck >= lost) & (luck < lost + gained))


def table(model: Model, found: Bools, alarmed: Bools, listed: Bools, luck: Floats, taxonomy: Taxonomy) -> BagTable:
    """What a model makes of T bags with a threat and as many without.

    Args:
        model: names the class it forgets.
        found, alarmed: (T,) of the threat bags and of the clear ones, which it flags.
        listed: (2 T,) in which it names the other item.
        luck: (2 T,) 0 to 1, how sure it is on its side of the threshold.
        taxonomy: names the classes, and sets the threshold.
    """
    count, labels = len(found), taxonomy.names
    threat = np.arange(2 * count) < count
    item = np.array([labels.index(THREATS[number % len(THREATS)]) for number in range(2 * count)])
    other = np.array([labels.index(OTHERS[number % len(OTHERS)]) for number in range(2 * count)])
    flagged = np.append(found, alarmed)
    if model.forgets:
        flagged &= ~(threat & (item == labels.index(model.forgets)))
    limit = taxonomy.policy().prohibited_threshold
    rows, nothing = np.arange(2 * count), np.zeros((2 * count, len(labels)), np.int64)
    true, said, hit = nothing.copy(), nothing.copy(), nothing
    true[rows, other], said[rows, other] = 1, listed
    true[rows[threat], item[threat]] = 1
    said[rows, item] += flagged
    values = dict.fromkeys((field.name for field in fields(BagTable)), np.ones(2 * count, np.int64))
    return BagTable(
        **values
        | {
            "bags": tuple(map(str, rows)),
            "labels": labels,
            "sought": np.ones(2 * count, np.bool_),
            "threat": threat,
            "flagged": flagged,
            "threat_score": np.where(flagged, limit + (1 - limit) * luck, limit * luck),
            "true": true,
            "said": said,
            "hit": hit + np.minimum(true, said),
            "calibration": np.zeros((2 * count, 1, 3)),
        }
    )


if __name__ == "__main__":
    main()
