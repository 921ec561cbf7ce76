"""Sums up the experiment's cells: one table, the learning curve, and the differences that answer its question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from training.evaluation.bag_table import BagTable, ScanOutcome
from training.evaluation.bootstrap import Parts, Rate, paired_difference, ratio
from training.evaluation.evaluate import fuse
from training.experiment.trial import Result
from xray_app.html import charts
from xray_app.taxonomy import Taxonomy

COLUMNS = {
    "top1": "top-1",
    "item_f1": "item F1",
    "exact_list": "exact list",
    "threat_bag_recall": "threat-bag recall",
}


@dataclass(frozen=True)
class TableRow:
    """A row of the table: one cell, or the seeds of one, pooled.

    Attributes:
        title: what to call it.
        results: of at least one seed.
    """

    title: str
    results: tuple[Result, ...]

    def parts(self, taxonomy: Taxonomy) -> dict[str, Parts]:
        """Of each rate, numerator and denominator of every bag, summed over the seeds; also the clear scans'."""
        rules = taxonomy.rules()
        found: dict[str, list[Parts]] = {}
        for result in self.results:
            measured = BagTable.of(result.val, rules).parts()
            clear = BagTable.of(result.clear, rules)
            measured["clear_flagged"] = (clear.flagged.astype(np.int64), clear.sought.astype(np.int64))
            for name, pair in measured.items():
                found.setdefault(name, []).append(pair)
        return {
            name: (np.sum([pair[0] for pair in pairs], 0), np.sum([pair[1] for pair in pairs], 0))
            for name, pairs in found.items()
        }


def rows(results: Mapping[str, Result], labels: Sequence[str]) -> list[TableRow]:
    """The table's rows of those cells that are there.

    Args:
        results: by cell name; failed ones among them.
        labels: the classes of the data set, the commonest first.
    """
    done = {name: one for name, one in results.items() if one.failed is None}

    def seeds(kind: str) -> tuple[Result, ...]:
        return tuple(one for name, one in done.items() if name.startswith(f"{kind}-seed"))

    found = []
    if done:
        found.append(TableRow(f'always "1 {labels[0]}"', (_constant_answer(labels[0], next(iter(done.values()))),)))
    scope = next((one.cell.scope for one in seeds("lora")), None)
    for title, chosen in (
        ("VLM, untuned", tuple(done[name] for name in ("vlm-untuned",) if name in done)),
        (f"VLM, LoRA ({scope})", seeds("lora")),
        *((f"VLM, LoRA ({one.cell.scope})", (one,)) for name, one in done.items() if name.startswith("lora-lang")),
        ("VLM, QLoRA", tuple(done[name] for name in ("qlora",) if name in done)),
        ("VLM, full", tuple(done[name] for name in ("full",) if name in done)),
        ("detector, untuned", tuple(done[name] for name in ("detector-untuned",) if name in done)),
        ("detector, fine-tuned", seeds("detector")),
        ("VLM with LoRA and fine-tuned detector together", _fused(seeds("lora"), seeds("detector"))),
    ):
        if chosen:
            found.append(TableRow(title, chosen))
    return found


def _constant_answer(label: str, one: Result) -> Result:
    def said(outcomes: Sequence[ScanOutcome]) -> tuple[ScanOutcome, ...]:
        return tuple(replace(scan, said={label: 1}, confidence={label: 1.0}) for scan in outcomes)

    return Result(one.cell, said(one.val), said(one.clear))


def _fused(vlms: Sequence[Result], detectors: Sequence[Result]) -> tuple[Result, ...]:
    return tuple(
        Result(one.cell, fuse(one.val, other.val), fuse(one.clear, other.clear))
        for one, other in zip(vlms, detectors, strict=False)
    )


def markdown_table(
    results: Mapping[str, Result], planned: Sequence[str], labels: Sequence[str], taxonomy: Taxonomy
) -> str:
    """Markdown: the table, what differs from what, what failed and what has not been run yet.

    Args:
        results: by cell name.
        planned: names of all cells.
        labels: the classes of the data set, the commonest first.
        taxonomy: names the classes.
    """
    table = rows(results, labels)
    parts = {row.title: row.parts(taxonomy) for row in table}
    some = next((one for one in results.values() if one.failed is None), None)
    counted = f"{len(some.val)} scans, {len(some.clear)} clear ones" if some else "nothing measured yet"
    titles = [
        "model",
        "seeds",
        *COLUMNS.values(),
        "flagged of the clear",
        "mAP50",
        "s per scan",
        "training min",
        "epochs",
    ]
    lines = [f"On {counted}; 95 % intervals by bootstrap over bags, seeds pooled.", ""]
    lines += [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for row in table:
        pairs = parts[row.title]
        figures = [_shown(ratio(*pairs[name])) for name in (*COLUMNS, "clear_flagged")]
        maps = [one.map50.value for one in row.results if one.map50.value is not None]
        trainings = [one.training for one in row.results if one.training is not None]
        seconds = [one.seconds_per_scan for one in row.results if one.seconds_per_scan]
        figures += [
            f"{np.mean(maps):.2f}" if maps else "–",
            f"{np.mean(seconds):.3f}" if seconds else "–",
            ("≥ " if any(one.resumed for one in trainings) else "")
            + f"{np.mean([one.seconds for one in trainings]) / 60:.1f}"
            if trainings
            else "–",
            f"{np.mean([one.epochs for one in trainings]):.0f}" if trainings else "–",
        ]
        lines.append(f"| {row.title} | {len(row.results)} | {' | '.join(figures)} |")
    lines += _differences(parts)
    for name, one in results.items():
        if one.failed is not None:
            lines += ["", f"{name} failed: {one.failed}"]
    if missing := [name for name in planned if name not in results]:
        lines += ["", f"Not run yet: {', '.join(missing)}."]
    return "\n".join(lines) + "\n"


def _differences(parts: Mapping[str, Mapping[str, Parts]]) -> list[str]:
    """LoRA against the untuned model and against the detector, on the same bags."""
    lora = next((title for title in parts if title.startswith("VLM, LoRA")), None)
    lines: list[str] = []
    for other in ("VLM, untuned", "detector, fine-tuned"):
        if lora is not None and other in parts:
            names = {
                "item_f1": "item F1",
                "threat_bag_recall": "threat-bag recall",
                "clear_flagged": "flagged clear scans",
            }
            differences = [
                f"{title} {_signed(paired_difference(parts[other][n], parts[lora][n]))}" for n, title in names.items()
            ]
            lines += ["", f"{lora} minus {other}, same bags: {'; '.join(differences)}."]
    return lines


def _shown(rate: Rate) -> str:
    return "–" if rate.value is None or rate.ci is None else f"{rate.value:.2f} ({rate.ci[0]:.2f}–{rate.ci[1]:.2f})"


def _signed(rate: Rate) -> str:
    if rate.value is None or rate.ci is None:
        return "–"
    return f"{rate.value:+.3f} ({rate.ci[0]:+.3f} to {rate.ci[1]:+.3f})"


def curve(results: Mapping[str, Result], taxonomy: Taxonomy) -> str:
    """SVG: item F1 against labelled scans, of both contenders, from the untuned model on."""
    points: dict[str, list[tuple[int, charts.Point]]] = {}
    for one in results.values():
        of_curve = (
            one.cell.method == "untuned" or one.cell.name.split("-")[-1].isdigit() or one.cell.name.endswith("seed0")
        )
        if one.failed is None and of_curve:
            rate = ratio(*TableRow("", (one,)).parts(taxonomy)["item_f1"])
            point = None if rate.value is None or rate.ci is None else (rate.value, *rate.ci)
            points.setdefault(one.cell.kind, []).append((one.cell.images, point))
    sorted_points = {kind: sorted(of_kind, key=lambda point: point[0]) for kind, of_kind in points.items()}
    return charts.learning_curve(sorted_points, "Item F1 by labelled scans", "labelled scans", "item F1")
