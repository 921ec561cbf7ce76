"""Every model's figures beside those of rules that see nothing of what is in a bag; and which figures a rule wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from training.data.samples import Sample
from training.evaluation.bag_table import BagTable, ScanOutcome
from training.evaluation.baselines import RULES, rules_of
from training.evaluation.bootstrap import rates
from training.evaluation.stratified import BagScores, recall_at, scores_of, within_groups
from xray_app.taxonomy import SiteRules

COMPARED = {"item_f1": "item F1", "top1": "top-1", "exact_list": "exact list"}
"""Figures of a list, of which a rule's may be as good as a model's."""


class Judged(NamedTuple):
    """One model's answers: the outcomes of N scans, and its probability of a threat in each where it was asked."""

    outcomes: Sequence[ScanOutcome]
    threat: Sequence[float] | None = None


def beside_rules(
    samples: Sequence[Sample], rules: SiteRules, models: Mapping[str, Judged], train: Sequence[Sample] | None
) -> dict[str, Any]:
    """`baselines`, `stratified_auroc`, `recall_at` and `won_by_rules` of `report.json`.

    Args:
        samples: N labelled scans.
        rules: name the classes; the policy's prohibited threshold flags a bag.
        models: what each said of them.
        train: scans to choose the rules on, as in `rules_of`.
    """
    ruled = rules_of(samples, train, rules.taxonomy)
    scored = {
        **{name: scores_of(samples, one.outcomes, one.threat, rules.taxonomy) for name, one in models.items()},
        **{name: BagScores.of(samples, one.presence, one.threat, rules.taxonomy) for name, one in ruled.items()},
    }
    out: dict[str, Any] = {
        "baselines": {
            "chosen_on": "training scans" if train is not None else "the other four fifths of the bags",
            "groups": len({sample.group for sample in samples}),
            **{name: list_rates(BagTable.of(one.outcomes, rules)) for name, one in ruled.items()},
        },
        "stratified_auroc": {name: within_groups(one) for name, one in scored.items()},
        "recall_at": {name: recall_at(one) for name, one in scored.items()},
    }
    measured = {name: list_rates(BagTable.of(one.outcomes, rules)) for name, one in models.items()}
    return {**out, "won_by_rules": won_by_rules({name: out["baselines"][name] for name in RULES}, measured)}


def list_rates(table: BagTable) -> dict[str, Any]:
    """The rates that rules and models are both measured by, each with its `…_ci`."""
    return rates(
        item_f1=table.item_f1(),
        top1=table.top_one(),
        exact_list=table.exact_list(),
        threat_bag_recall=table.threat_bag_recall(),
        false_alarm_rate=table.false_alarm_rate(),
    )


def won_by_rules(
    rules: Mapping[str, Mapping[str, Any]], models: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The figures in which a rule does at least as well as every model.

    Args:
        rules, models: figures of each by name, `item_f1` and so on.

    Returns:
        Of each such figure the best rule and the best model: `figure`, `rule`, `rule_value`, `model`, `model_value`.
    """
    won = []
    for figure in COMPARED:
        best_rule, best_model = (
            max(
                ((one[figure], name) for name, one in of.items() if one.get(figure) is not None),
                default=None,
                key=lambda pair: pair[0],
            )
            for of in (rules, models)
        )
        if best_rule and best_model and best_rule[0] >= best_model[0]:
            won.append(
                {
                    "figure": figure,
                    "rule": best_rule[1],
                    "rule_value": best_rule[0],
                    "model": best_model[1],
                    "model_value": best_model[0],
                }
            )
    return won


def caption(won: Sequence[Mapping[str, Any]], names: Mapping[str, str] | None = None) -> str:
    """One sentence for a table: which of its figures a rule wins.

    Args:
        won: as `won_by_rules` gives it.
        names: what the rules and models are called in the table, where that differs.
    """
    called = names or {}
    if not won:
        return (
            "No rule that sees nothing of the content does as well as the best model in item F1, top-1 or exact list."
        )
    told = [
        f"{COMPARED[one['figure']]} ({called.get(one['rule'], one['rule'])} {one['rule_value']:.3f}, the best model, "
        f"{called.get(one['model'], one['model'])}, {one['model_value']:.3f})"
        for one in won
    ]
    return (
        "**A rule that sees nothing of the content does at least as well as every model** in "
        + "; ".join(told)
        + ". There the figures do not show that a model sees items."
    )
