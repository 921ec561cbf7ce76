"""Does the annotators' queue teach more than the lot? Rounds of labels in four orders, a detector trained after each.

    python -m tests.benchmarks.queue --data YOLO_DIR --out DIR [--rounds 3] [--batch 50] [--seeds 2] [--group REGEX]

From the bundled detector, a batch of scans a round is labelled (their labels come from the data set), chosen from those
that are left: by lot; in the order of the desk's queue; by how unsure the detector is; or diverse, the queue's best
three batches thinned out to those that lie farthest from each other and from what is labelled (k-center greedy on the
detector's pooled features). After each round the bundled detector is trained on all that is labelled, and judged on
YOLO_DIR's val: class presence within scanners, and mAP50. The VLM's part of the queue's points is asked once.
What was measured stays in DIR and is not measured again. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from training.data.samples import Sample
from training.data.yolo import read_yolo
from training.detector.finetune import FROM_BUNDLED, train_detector
from training.detector.network import DetectorNetwork
from training.evaluation.evaluate import evaluate_detector
from training.evaluation.mean_average_precision import in_labelled_classes, map50
from training.evaluation.stratified import scores_of, within_groups
from xray_app.analysis import BATCH, Analyser
from xray_app.correction.usefulness import RARE, rarest, reasons_of, sightings
from xray_app.detector.base import Detection
from xray_app.detector.boxes import letterbox
from xray_app.detector.onnx import OnnxDetector
from xray_app.scan.decoding import Limits
from xray_app.scan.read import read_scan
from xray_app.settings import BUNDLED_DETECTOR, Settings
from xray_app.taxonomy import Taxonomy, load_taxonomy
from xray_app.vlm.base import Answer
from xray_app.vlm.load import load_vlm

RECIPE = FROM_BUNDLED.model_copy(update={"epochs": 8, "sizes": (320,), "batch": 8})
CANDIDATES = 3
"""Batches of the queue's best that the diverse order thins out."""


@dataclass(frozen=True)
class Left:
    """Scans that nobody has labelled yet, as the models see them now; all in one order.

    Attributes:
        points: (N,) of the queue.
        doubt: (N,) how unsure the detector is of its surest doubtful class, 0 to 1.
        embedding: (N, K), each of length 1.
        labelled: (M, K) the same of what is labelled.
    """

    points: NDArray[np.float64]
    doubt: NDArray[np.float64]
    embedding: NDArray[np.float32]
    labelled: NDArray[np.float32]


Order = Callable[[Left, int, random.Random], list[int]]


def by_queue(left: Left, count: int, rng: random.Random) -> list[int]:
    return _largest(left.points, count, rng)


def by_doubt(left: Left, count: int, rng: random.Random) -> list[int]:
    return _largest(left.doubt, count, rng)


def by_diversity(left: Left, count: int, rng: random.Random) -> list[int]:
    """k-center greedy among the queue's best: next is whatever lies farthest from all that is chosen or labelled."""
    best = _largest(left.points, min(count * CANDIDATES, len(left.points)), rng)
    candidates = left.embedding[best]
    away = np.full(len(best), np.inf, np.float32)
    for one in left.labelled:
        away = np.minimum(away, 1 - candidates @ one)
    chosen: list[int] = []
    while len(chosen) < count:
        next_one = int(away.argmax()) if np.isfinite(away).all() else 0
        chosen.append(best[next_one])
        away = np.minimum(away, 1 - candidates @ candidates[next_one])
        away[next_one] = -1.0
    return chosen


def _largest(values: NDArray[np.float64], count: int, rng: random.Random) -> list[int]:
    tied = list(range(len(values)))
    rng.shuffle(tied)
    return sorted(tied, key=lambda place: -values[place])[:count]


ORDERS: dict[str, Order] = {"queue": by_queue, "doubt": by_doubt, "diverse": by_diversity}
"""Beside the lot, which looks at nothing."""


class Remembering:
    """A VLM that answers about a picture once: it is not trained here, so its answers stay what they are."""

    def __init__(self, vlm: Any) -> None:
        self._vlm = vlm
        self._answers: dict[str, Answer] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._vlm, name)

    def answer(
        self, images: Sequence[Image.Image], instructions: Sequence[str], drafts: Sequence[Any] | None = None
    ) -> list[Answer]:
        keys = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
        new = [place for place, key in enumerate(keys) if key not in self._answers]
        if new:
            found = self._vlm.answer(
                [images[place] for place in new],
                [instructions[place] for place in new],
                None if drafts is None else [drafts[place] for place in new],
            )
            self._answers.update(zip((keys[place] for place in new), found, strict=True))
        return [self._answers[key] for key in keys]


def look(
    pool: Sequence[Sample], labelled: Sequence[Sample], weights: Path, vlm: Remembering, taxonomy: Taxonomy
) -> Left:
    """What the queue would know of these scans with this detector."""
    detector = OnnxDetector.load(weights, taxonomy)
    analyser = Analyser(vlm, detector, taxonomy.rules())
    corrected = Counter(label for sample in labelled for label in sample.counts(taxonomy))
    points, doubt = [], []
    limits = Limits(50_000_000, 50_000_000)
    for start in range(0, len(pool), BATCH):
        part = pool[start : start + BATCH]
        scans = [read_scan(sample.image.read_bytes(), sample.image.name, limits) for sample in part]
        for analysis in analyser.analyse_together(scans):
            reasons = reasons_of(analysis)
            rare = rarest(sightings(analysis), corrected)
            points.append(sum(value for value, _ in reasons.values()) + (RARE if rare else 0.0))
        for sample in part:
            doubt.append(_doubt(detector.detect(sample.open(), 0.01)))
    network = DetectorNetwork.from_onnx(weights)
    embedded = embed(network, [*pool, *labelled])  # together: they are centred on what they have in common
    return Left(np.array(points), np.array(doubt), embedded[: len(pool)], embedded[len(pool) :])


def _doubt(found: Sequence[Detection]) -> float:
    surest: dict[str, float] = {}
    for box in found:
        surest[box.label] = max(surest.get(box.label, 0.0), box.confidence)
    return max((4 * sure * (1 - sure) for sure in surest.values()), default=0.0)


@torch.no_grad()
def embed(network: DetectorNetwork, samples: Sequence[Sample]) -> NDArray[np.float32]:
    """(N, K) pooled features of the detector's neck, each of length 1."""
    network.model.eval()
    rows = []
    for start in range(0, len(samples), 16):
        squares = np.stack([letterbox(s.open(), 320).pixels[..., ::-1] for s in samples[start : start + 16]])
        maps = network.model.backbone(torch.from_numpy(squares.copy()).permute(0, 3, 1, 2).float())
        rows.append(torch.cat([one.mean((2, 3)) for one in maps], 1))
    features = torch.cat(rows)
    return np.asarray(torch.nn.functional.normalize(features - features.mean(0), dim=1))


def judged(weights: Path, val: Sequence[Sample], taxonomy: Taxonomy) -> dict[str, float]:
    """Class presence within groups, and mAP50."""
    found = evaluate_detector(OnnxDetector.load(weights, taxonomy), val, taxonomy)
    within = within_groups(scores_of(val, found.outcomes, None, taxonomy))
    return {
        "presence": within["presence"],
        "threat": within["threat"],
        "map50": map50(*in_labelled_classes(val, found.detections))[0],
    }


def curve(
    name: str, seed: int, train: Sequence[Sample], val: Sequence[Sample], out: Path, vlm: Remembering,
    taxonomy: Taxonomy, rounds: int, batch: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """Figures after each round, none labelled first."""
    kept = out / f"{name}-{seed}.json"
    done: list[dict[str, Any]] = json.loads(kept.read_text()) if kept.is_file() else []
    by_bag = {sample.bag_id: sample for sample in train}
    weights = BUNDLED_DETECTOR
    for number in range(rounds + 1):
        if number < len(done):
            folder = out / f"{name}-{seed}-{number}"
            weights = folder / "detector.onnx" if number else BUNDLED_DETECTOR
            continue
        chosen: list[str] = list(done[-1]["bags"]) if done else []
        if number:
            labelled = [by_bag[bag] for bag in chosen]
            pool = [sample for bag, sample in sorted(by_bag.items()) if bag not in set(chosen)]
            rng = random.Random(f"{name}-{seed}-{number}")
            if name == "lot":
                picked = rng.sample(range(len(pool)), batch)
            else:
                picked = ORDERS[name](look(pool, labelled, weights, vlm, taxonomy), batch, rng)
            chosen += [pool[place].bag_id for place in picked]
            folder = out / f"{name}-{seed}-{number}"
            recipe = RECIPE.model_copy(update={"seed": seed})
            learned = [by_bag[bag] for bag in chosen]
            weights = train_detector(
                learned, [], folder, taxonomy, weights=BUNDLED_DETECTOR, recipe=recipe, resume=True
            )
        done.append({"labels": len(chosen), **judged(weights, val, taxonomy), "bags": chosen})
        kept.write_text(json.dumps(done))
        print(name, seed, {key: value for key, value in done[-1].items() if key != "bags"}, flush=True)
    return done


def saved(lot: Sequence[tuple[float, float]], other: Sequence[tuple[float, float]]) -> float | None:
    """Share of labels that an order saves: those it needs to reach what the lot reaches at its end.

    Args:
        lot, other: (labels, figure) after each round; figures are taken to rise from round to round.

    Returns:
        0.3 where 70 labels do what 100 by lot do, below 0 where it takes more; None where the order never gets there.
    """
    goal, most = max(figure for _, figure in lot), lot[-1][0]
    before = other[0]
    for labels, figure in other:
        if figure >= goal:
            rise = figure - before[1]
            needed = labels if rise <= 0 else before[0] + (labels - before[0]) * (goal - before[1]) / rise
            return 1 - needed / most
        before = (labels, figure)
    return None


def main() -> None:
    """Runs it."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--data", type=Path, required=True)
    asked.add_argument("--out", type=Path, required=True)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--batch", type=int, default=50)
    asked.add_argument("--seeds", type=int, default=2)
    asked.add_argument("--group", default=r"^(\d)", help="over a file name: its scanner")
    asked.add_argument("--orders", default=",".join(("lot", *ORDERS)))
    arguments = asked.parse_args()
    taxonomy = load_taxonomy()
    splits = read_yolo(arguments.data, taxonomy, group=arguments.group).splits
    arguments.out.mkdir(parents=True, exist_ok=True)
    vlm = Remembering(load_vlm(bundled(), taxonomy))
    curves = {
        name: [
            curve(name, seed, splits["train"], splits["val"], arguments.out, vlm, taxonomy, arguments.rounds,
                  arguments.batch)
            for seed in range(arguments.seeds)
        ]
        for name in arguments.orders.split(",")
    }  # fmt: skip
    means = {
        name: [
            (rows[0]["labels"], float(np.mean([row["presence"] for row in rows]))) for rows in zip(*seeds, strict=True)
        ]
        for name, seeds in curves.items()
    }
    figures = {
        name: {
            "presence": [[labels, round(value, 3)] for labels, value in points],
            "saved": saved(means["lot"], points) if "lot" in means else None,
        }
        for name, points in means.items()
    }
    print(json.dumps(figures))


def bundled() -> Settings:
    """Those of the bundled models, whatever the environment says."""
    return Settings().model_copy(update={"vlm": "bundled", "detector": "bundled"})


if __name__ == "__main__":
    main()
