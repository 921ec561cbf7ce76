"""Writes `report.json` as a page to read: Markdown with its charts beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.evaluation.baselines import RULES
from training.evaluation.beside_rules import caption
from xray_app.html import charts
from xray_app.html.charts import MODEL_NAMES

MODELS = ("vlm", "detector")
SCORED = (*MODELS, "together")
RATES = {
    "item_f1": "item F1",
    "item_precision": "item precision",
    "item_recall": "item recall",
    "exact_list": "exact list",
    "top1": "top-1",
    "threat_bag_recall": "threat-bag recall",
    "false_alarm_rate": "false-alarm rate",
    "ece": "calibration error of items",
    "says_none": "clear bags of which it names nothing prohibited",
    "map50": "mAP50",
    "map50_95": "mAP50-95",
}

SCORES = {
    "threat_bag_recall": RATES["threat_bag_recall"],
    "false_alarm_rate": RATES["false_alarm_rate"],
    "auroc": "area under the curve",
    "ece": "calibration error",
    "brier_skill": "Brier skill",
}


def write_report(report: Mapping[str, Any], out: Path) -> Path:
    """Writes `NAME.md` and `NAME-*.svg` beside `NAME.json`.

    Args:
        report: as `evaluate_models` gives it.
        out: where `report.json` goes.

    Returns:
        The Markdown file.
    """
    lines = [
        "# Evaluation",
        "",
        f"On {report['n']} labelled scans. In brackets: 95 % intervals, by bootstrap over bags. A bag is flagged by a "
        f"prohibited item at a confidence of {report['policy']['prohibited_threshold']:.2f} or more (profile "
        f"{report['policy']['profile']}).",
        "",
        *_rates(report),
        *_within_groups(report),
        *_threat_score(report.get("threat_score"), out),
    ]
    for model in MODELS:
        figures = report.get(model, {})
        if rows := figures.get("reliability"):
            drawn = charts.reliability_diagram(
                {model: rows}, "Items: confidence and truth", "confidence", "named with the right count"
            )
            lines += [
                f"## Confidence of items, {MODEL_NAMES[model]}",
                "",
                _picture(out, f"items-{model}", drawn),
                "",
            ]
        if per_class := figures.get("per_class"):
            drawn = charts.class_recall(per_class, f"Recall of each class, {MODEL_NAMES[model]}")
            lines += [f"## Classes, {MODEL_NAMES[model]}", "", _picture(out, f"classes-{model}", drawn), ""]
            lines += _classes(per_class)
        if matrix := figures.get("confusion"):
            drawn = charts.confusion_matrix(matrix, f"There (rows), called (columns), {MODEL_NAMES[model]}")
            lines += [
                f"## What is taken for what, {MODEL_NAMES[model]}",
                "",
                _picture(out, f"confusion-{model}", drawn),
                "",
            ]
            lines += _mistakes(matrix)
    lines += ["## Models", ""]
    for kind, facts in report.get("models", {}).items():
        lines.append(f"- {MODEL_NAMES[kind]}: " + ", ".join(f"{key} {value}" for key, value in facts.items() if value))
    path = out.with_suffix(".md")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def headline(report: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of `report.json` that fit on a line: without classes, matrices and curves."""
    bulky = {"per_class", "confusion", "reliability", "curve"}
    return {
        key: headline(value) if isinstance(value, Mapping) else value
        for key, value in report.items()
        if key not in bulky
    }


def _picture(out: Path, name: str, svg: str) -> str:
    path = out.with_name(f"{out.stem}-{name}.svg")
    path.write_text(svg, encoding="utf-8")
    return f"![{name}]({path.name})"


def cell(figures: Mapping[str, Any], name: str) -> str:
    """`0.570 (0.55–0.59)`, or a dash where it could not be measured."""
    value, ci = figures.get(name), figures.get(f"{name}_ci")
    if value is None:
        return "–"
    return f"{value:.3f}" + ("" if ci is None else f" ({ci[0]:.2f}–{ci[1]:.2f})")


def _rates(report: Mapping[str, Any]) -> list[str]:
    models = {name: report[name] for name in (*MODELS, "by_fusion") if name in report}
    rules = {name: report["baselines"][name] for name in RULES}
    columns = {**models, **rules}
    titles = {**MODEL_NAMES, "by_fusion": "either flags the bag", **RULES}
    lines = _table_head(["", *(titles[name] for name in columns)])
    for name, title in RATES.items():
        if any(name in column for column in columns.values()):
            lines.append(f"| {title} | " + " | ".join(cell(column, name) for column in columns.values()) + " |")
    seconds = [column.get("seconds_per_scan") for column in columns.values()]
    lines.append("| seconds a scan | " + " | ".join("–" if one is None else f"{one:.3f}" for one in seconds) + " |")
    lines += ["", caption(report["won_by_rules"], titles), ""]
    lines += [
        f"The rules see nothing of the content and were chosen on {report['baselines']['chosen_on']}; groups of scans: "
        f"{report['baselines']['groups']}.",
        "",
    ]
    for name in MODELS:
        if report.get(name, {}).get("says_none") == 0:
            lines += [f"The {titles[name]} never says “none”: it names something prohibited in every clear bag.", ""]
    if asked := report.get("as_desk"):
        lines += [
            "Asked for everything, as the desk asks; a bag is flagged by any prohibited class, looked for or not:",
            "",
        ]
        lines += _table_head(["", *(titles[name] for name in asked)])
        for name in ("item_f1", "exact_list", "top1", "threat_bag_recall", "false_alarm_rate"):
            lines.append(f"| {RATES[name]} | " + " | ".join(cell(one, name) for one in asked.values()) + " |")
        lines.append("")
    return lines


def _within_groups(report: Mapping[str, Any]) -> list[str]:
    """What is left when a scanner gives nothing away: pairs of bags of one group, false alarms equal in each."""
    stratified, recalls = report["stratified_auroc"], report["recall_at"]
    if not any(one["presence_pairs"] for one in stratified.values()):
        return []
    titles = {**MODEL_NAMES, "by_fusion": "the surer of both", **RULES}
    levels = {name: f"recall at {float(name):.0%}" for name in next(iter(recalls.values())) if not name.endswith("_ci")}
    lines = ["## Within groups", ""]
    lines += [
        "Chance that a bag with a threat (or a class) scores above one of the same group without; 0.5 is blind. Recall "
        "of threat bags where the named share of clear bags is flagged in each group.",
        "",
        *_table_head(["", "threat", "pairs", "class presence", "pairs", *levels.values()]),
    ]
    for name, one in stratified.items():
        cells = [cell(one, "threat"), f"{one['pairs']:,}", cell(one, "presence"), f"{one['presence_pairs']:,}"]
        cells += [cell(recalls[name], level) for level in levels]
        lines.append(f"| {titles[name]} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _table_head(titles: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]


def _threat_score(score: Mapping[str, Any] | None, out: Path) -> list[str]:
    if score is None:
        return []
    lines = ["## Threat score", ""]
    if "reason" in score:
        return [*lines, score["reason"], ""]
    scored = {name: score[name] for name in SCORED if name in score}
    models = {name: figures for name, figures in scored.items() if "auroc" in figures}
    fitted, reported = score["calibration"], score["reported"]
    lines += [
        f"One probability a bag, fitted and its threshold chosen on {fitted['bags']} bags ({fitted['threat_bags']} "
        f"with a threat) so as to find {score['recall_wanted']:.0%} of the threat bags; every figure below is of "
        f"{reported['bags']} other bags ({reported['threat_bags']} with a threat).",
        "",
        *_table_head(["", "threshold", *SCORES.values()]),
    ]
    for name, figures in models.items():
        threshold = "–" if figures["threshold"] is None else f"{figures['threshold']:.3f}"
        lines.append(
            f"| {MODEL_NAMES[name]} | {threshold} | " + " | ".join(cell(figures, rate) for rate in SCORES) + " |"
        )
    lines += [
        "",
        "Brier skill: how much smaller the squared error is than that of the scanner's own share of threats.",
        *(f"{MODEL_NAMES[name]}: {one['reason']}" for name, one in scored.items() if "reason" in one),
        "",
    ]
    drawn = {
        "trade-off": charts.roc_curve(models, "What a recall costs"),
        "reliability": charts.reliability_diagram(
            {name: figures["reliability"] for name, figures in models.items()},
            "Threat score and truth",
            "threat score",
            "share of bags with a threat",
        ),
    }
    return [*lines, *(_picture(out, name, svg) for name, svg in drawn.items()), ""]


def _classes(per_class: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = ["| class | items there | recall | precision |", "|---|---|---|---|"]
    for label, figures in per_class.items():
        lines.append(f"| {label} | {figures['support']} | {cell(figures, 'recall')} | {cell(figures, 'precision')} |")
    return [*lines, ""]


def _mistakes(matrix: Mapping[str, Any], most: int = 10) -> list[str]:
    """The commonest, in words: a picture of forty classes is hard to read off."""
    labels, rows = matrix["labels"], matrix["rows"]
    wrong = [
        (count, sum(counts), label, labels[column])
        for row, (label, counts) in enumerate(zip(labels[:-1], rows[:-1], strict=True))
        for column, count in enumerate(counts[:-1])
        if row != column and count
    ]
    wrong.sort(key=lambda one: -one[0])
    return [*(f"- {there} called {said}: {count:.1f} of {total:g}" for count, total, there, said in wrong[:most]), ""]
