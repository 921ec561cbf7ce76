"""Sums up the experiment's cells: its tables, the learning curve, and the differences that answer its question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from training.evaluation.bag_table import BagTable
from training.evaluation.beside_rules import caption, won_by_rules
from training.evaluation.bootstrap import Rate, difference_over_seeds
from training.experiment.held_out import Scans
from training.experiment.rows import TableRow, left_out, out_of_fold, own_split
from training.experiment.trial import Result
from xray_app.html import charts
from xray_app.taxonomy import Taxonomy

WITHIN = {"threat": "threat, AUROC within groups", "presence": "classes, AUROC within groups"}
LISTS = {"item_f1": "item F1", "top1": "top-1", "exact_list": "exact list"}
RECALL = {"0.05": "recall at 5 % false alarms", "0.10": "at 10 %"}
COSTS = ("flagged of the clear", "mAP50", "s per scan", "training min", "epochs")


def markdown_table(results: Mapping[str, Result], planned: Sequence[str], scans: Scans, taxonomy: Taxonomy) -> str:
    """Markdown: the tables, what differs from what, what failed and what has not been run yet.

    Args:
        results: by cell name.
        planned: names of all cells.
        scans: the experiment's.
        taxonomy: names the classes.
    """
    lines = [
        "95 % intervals by bootstrap over bags and seeds. Within groups, pairs of bags of one scanner are compared, so "
        "that knowing the scanner gains nothing (0.5 is blind), and recall is told at equal false alarms in each.",
        "",
        f"## Trained on {len(scans.train)} scans, judged on {len(scans.val)} others of the same groups",
        "",
    ]
    rows = own_split(results, scans, taxonomy)
    figures = [row.figures(taxonomy) for row in rows]
    lines += _table(rows, figures, costs=True) if rows else ["Nothing measured yet."]
    lines += _differences({row.title: row for row in rows}, taxonomy)
    if folds := out_of_fold(results, scans, taxonomy):
        lines += ["", f"## Out of fold: each of {len(folds[0].samples)} scans by a model that has not seen it", ""]
        lines += _table(folds, [row.figures(taxonomy) for row in folds])
    for group, of_group in left_out(results, scans, taxonomy).items():
        lines += ["", f"## {group}, left out of the training: {len(of_group[0].samples)} scans", ""]
        lines += _table(of_group, [row.figures(taxonomy) for row in of_group])
    for name, one in results.items():
        if one.failed is not None:
            lines += ["", f"{name} failed: {one.failed}"]
    if missing := [name for name in planned if name not in results]:
        lines += ["", f"Not run yet: {', '.join(missing)}."]
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[TableRow], figures: Sequence[Mapping[str, Any]], costs: bool = False) -> list[str]:
    pairs = f"{figures[0]['pairs']:,} pairs", f"{figures[0]['presence_pairs']:,} pairs"
    within = [f"{title} ({count})" for title, count in zip(WITHIN.values(), pairs, strict=True)]
    titles = ["", "seeds", *within, *RECALL.values(), *LISTS.values(), *(COSTS if costs else ())]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for row, one in zip(rows, figures, strict=True):
        cells = [_shown(one, name) for name in WITHIN]
        cells += [_shown(one["recall_at"], level) for level in RECALL]
        cells += [_shown(one, name) for name in LISTS]
        cells += _costs(row, one) if costs else []
        lines.append(f"| {row.title} | {'–' if row.is_rule else len(row.seeds)} | {' | '.join(cells)} |")
    rules, models = (
        {row.title: one for row, one in zip(rows, figures, strict=True) if row.is_rule == kind}
        for kind in (True, False)
    )
    return [*lines, "", caption(won_by_rules(rules, models))] if models else lines


def _costs(row: TableRow, figures: Mapping[str, Any]) -> list[str]:
    maps = [one.map50.value for one in row.results if one.map50.value is not None]
    trainings = [one.training for one in row.results if one.training is not None]
    seconds = [one.seconds_per_scan for one in row.results if one.seconds_per_scan]
    least = "≥ " if any(one.resumed for one in trainings) else ""
    return [
        _shown(figures, "clear_flagged"),
        f"{np.mean(maps):.2f}" if maps else "–",
        f"{np.mean(seconds):.3f}" if seconds else "–",
        f"{least}{np.mean([one.seconds for one in trainings]) / 60:.1f}" if trainings else "–",
        f"{np.mean([one.epochs for one in trainings]):.0f}" if trainings else "–",
    ]


def _differences(rows: Mapping[str, TableRow], taxonomy: Taxonomy) -> list[str]:
    """LoRA against the untuned model and against the detector, on the same bags."""
    lora = next((title for title in rows if title.startswith("VLM, LoRA")), None)
    lines: list[str] = []
    for other in ("VLM, untuned", "detector, fine-tuned"):
        if lora is not None and other in rows:
            first, second = rows[other].parts(taxonomy), rows[lora].parts(taxonomy)
            told = [
                f"{title} {_signed(difference_over_seeds(first[name], second[name]))}" for name, title in LISTS.items()
            ]
            lines += ["", f"{lora} minus {other}, same bags: {'; '.join(told)}."]
    return lines


def _shown(figures: Mapping[str, Any], name: str) -> str:
    value, ci = figures.get(name), figures.get(f"{name}_ci")
    return "–" if value is None or ci is None else f"{value:.2f} ({ci[0]:.2f}–{ci[1]:.2f})"


def _signed(rate: Rate) -> str:
    if rate.value is None or rate.ci is None:
        return "–"
    return f"{rate.value:+.3f} ({rate.ci[0]:+.3f} to {rate.ci[1]:+.3f})"


def curve(results: Mapping[str, Result], taxonomy: Taxonomy) -> str:
    """SVG: item F1 against labelled scans, of both contenders, from the untuned model on."""
    points: dict[str, list[tuple[int, charts.Point]]] = {}
    for one in results.values():
        name = one.cell.name
        of_curve = one.cell.method == "untuned" or name.split("-")[-1].isdigit() or name.endswith("seed0")
        if one.failed is None and of_curve and one.cell.in_main_table:
            rate = BagTable.of(one.val, taxonomy.rules()).item_f1()
            point = None if rate.value is None or rate.ci is None else (rate.value, *rate.ci)
            points.setdefault(one.cell.kind, []).append((one.cell.images, point))
    sorted_points = {kind: sorted(of_kind, key=lambda point: point[0]) for kind, of_kind in points.items()}
    return charts.learning_curve(sorted_points, "Item F1 by labelled scans", "labelled scans", "item F1")
