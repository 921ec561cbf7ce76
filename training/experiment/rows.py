"""The rows of the experiment's tables: one cell, or several seeds of one, and the rules beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from training.data.samples import Sample
from training.evaluation.bag_table import BagTable, ScanOutcome
from training.evaluation.baselines import RULES, rules_of
from training.evaluation.beside_rules import Judged
from training.evaluation.bootstrap import Parts, rates, ratio_over_seeds
from training.evaluation.evaluate import fuse
from training.evaluation.stratified import BagScores, recall_at, scores_of, within_groups
from training.experiment.cells import FOLDS
from training.experiment.held_out import Scans
from training.experiment.trial import Result
from xray_app.taxonomy import Taxonomy


@dataclass(frozen=True)
class TableRow:
    """A row: a model's answers about one set of scans, of each of its seeds.

    Attributes:
        title: what to call it.
        samples: N scans it is judged on.
        seeds: of at least one seed, what it said of them.
        presence: N times the probability of each class, where confidences do not say it; a rule's.
        clear: of each seed, outcomes of the clear scans; of a rule none.
        results: the cells behind it; of a rule none.
    """

    title: str
    samples: Sequence[Sample]
    seeds: tuple[Judged, ...]
    presence: Sequence[Mapping[str, float]] | None = None
    clear: tuple[Sequence[ScanOutcome], ...] = ()
    results: tuple[Result, ...] = ()

    @property
    def is_rule(self) -> bool:
        return self.presence is not None

    def parts(self, taxonomy: Taxonomy) -> dict[str, list[Parts]]:
        """Of each rate, numerator and denominator of every bag, of each seed; also of the clear scans."""
        rules = taxonomy.rules()
        found: dict[str, list[Parts]] = {}
        for judged in self.seeds:
            for name, pair in BagTable.of(judged.outcomes, rules).parts().items():
                found.setdefault(name, []).append(pair)
        for outcomes in self.clear:
            clear = BagTable.of(outcomes, rules)
            pair = (clear.flagged.astype(np.int64), clear.sought.astype(np.int64))
            found.setdefault("clear_flagged", []).append(pair)
        return found

    def figures(self, taxonomy: Taxonomy) -> dict[str, Any]:
        """Rates by name, each with its `…_ci` over bags and seeds; `threat`, `presence`, `recall_at` within groups."""
        scores = [
            scores_of(self.samples, one.outcomes, one.threat, taxonomy)
            if self.presence is None
            else BagScores.of(self.samples, self.presence, one.threat, taxonomy)
            for one in self.seeds
        ]
        return {
            **rates(**{name: ratio_over_seeds(seeds) for name, seeds in self.parts(taxonomy).items()}),
            **within_groups(*scores),
            "recall_at": recall_at(*scores),
        }


def _row(title: str, samples: Sequence[Sample], results: Sequence[Result]) -> TableRow:
    """Results carry numbers in place of bag ids, in the order of the scans."""
    seeds, clear = [], []
    for one in results:
        seeds.append(
            Judged(
                [replace(seen, bag_id=sample.bag_id) for seen, sample in zip(one.val, samples, strict=True)],
                one.threat or None,
            )
        )
        clear.append(one.clear)
    return TableRow(title, samples, tuple(seeds), None, tuple(clear), tuple(results))


def rule_rows(samples: Sequence[Sample], train: Sequence[Sample] | None, taxonomy: Taxonomy) -> list[TableRow]:
    """The rules that see nothing of the content, chosen on `train` (see `rules_of`)."""
    return [
        TableRow(RULES[name], samples, (Judged(one.outcomes, one.threat),), one.presence)
        for name, one in rules_of(samples, train, taxonomy).items()
    ]


def own_split(results: Mapping[str, Result], scans: Scans, taxonomy: Taxonomy) -> list[TableRow]:
    """The data set's own split: the rules, and every method that has been run.

    Args:
        results: by cell name; failed ones among them.
        scans: the experiment's.
        taxonomy: names the classes.
    """
    done = _done(results)
    if not done:
        return []
    found = rule_rows(scans.val, scans.train, taxonomy)
    scope = next((one.cell.scope for one in _seeds(done, "lora")), None)
    for title, chosen in (
        ("VLM, untuned", _named(done, "vlm-untuned")),
        (f"VLM, LoRA ({scope})", _seeds(done, "lora")),
        *((f"VLM, LoRA ({one.cell.scope})", (one,)) for name, one in done.items() if name.startswith("lora-lang")),
        ("VLM, QLoRA", _named(done, "qlora")),
        ("VLM, full", _named(done, "full")),
        ("detector, untuned", _named(done, "detector-untuned")),
        ("detector, fine-tuned", _seeds(done, "detector")),
    ):
        if chosen:
            found.append(_row(title, scans.val, chosen))
    pairs = list(zip(_seeds(done, "lora"), _seeds(done, "detector"), strict=False))
    if pairs:
        fused = [Result(one.cell, fuse(one.val, other.val), fuse(one.clear, other.clear)) for one, other in pairs]
        found.append(_row("VLM with LoRA and fine-tuned detector together", scans.val, fused))
    return found


def out_of_fold(results: Mapping[str, Result], scans: Scans, taxonomy: Taxonomy) -> list[TableRow]:
    """Every scan judged by a model that has not seen it, one seed; none where a fold is missing."""
    done, samples, found = _done(results), list(scans.val), []
    parts: dict[str, list[Result]] = {}
    for kind in ("lora", "detector"):
        names = [f"{kind}-seed0", *(f"{kind}-fold{fold}" for fold in range(1, FOLDS))]
        if all(name in done for name in names):
            parts[kind] = [done[name] for name in names]
    if not parts:
        return []
    for fold in range(1, FOLDS):
        samples += [sample for sample in scans.train if scans.fold_of[sample.bag_id] == fold]
    titles = {"lora": "VLM, LoRA", "detector": "detector, fine-tuned"}
    for kind, folds in parts.items():
        val = tuple(outcome for one in folds for outcome in one.val)
        # The first fold's results may be of before probabilities were kept: then confidences say it in all.
        threat = tuple(p for one in folds for p in one.threat) if all(one.threat for one in folds) else ()
        found.append(_row(titles[kind], samples, [replace(folds[0], val=val, clear=(), threat=threat)]))
    return [*rule_rows(samples, None, taxonomy), *found]


def left_out(results: Mapping[str, Result], scans: Scans, taxonomy: Taxonomy) -> dict[str, list[TableRow]]:
    """Of each group that was left out: the rules that need not know it, and the models trained without it."""
    found: dict[str, list[TableRow]] = {}
    for name, one in _done(results).items():
        group = one.cell.left_out
        if group is None:
            continue
        part = scans.of(one.cell)
        if group not in found:
            # The group rule knows nothing of a new group: it is the constant.
            found[group] = [row for row in rule_rows(part.val, part.train, taxonomy) if row.title != RULES["group"]]
        title = "VLM, LoRA" if name.startswith("lora") else "detector, fine-tuned"
        found[group].append(_row(title, part.val, [one]))
    return found


def _done(results: Mapping[str, Result]) -> dict[str, Result]:
    return {name: one for name, one in results.items() if one.failed is None}


def _named(done: Mapping[str, Result], name: str) -> tuple[Result, ...]:
    return (done[name],) if name in done else ()


def _seeds(done: Mapping[str, Result], kind: str) -> tuple[Result, ...]:
    return tuple(one for name, one in done.items() if name.startswith(f"{kind}-seed"))
