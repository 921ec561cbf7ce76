"""The promotion gate: may this candidate take the active model's place?

A candidate must be shown to be no worse than the active model by more than a stated margin. "Not
significantly worse" would not do: with a handful of positives, a candidate truly five points worse passes
that check nearly always. So threat bags are pooled over classes, both models are measured on the same bags,
and what the hold-out is too small to show is said, not guessed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from training.evaluation.bag_table import BagTable
from training.evaluation.bootstrap import bootstrap_difference
from training.evaluation.map_interval import MapDraws
from xray_app.taxonomy import Policy
from xray_app.types import Gate, GateCheck, Metrics, MetricSet

SITE_BAGS_NEEDED = 50
"""The contract's: below this the site's own hold-out is reported, but decides nothing."""
CLASS_SUPPORT = 30
"""Items of a class below which nothing is said about it."""
BOXES_NEEDED = 50
"""True boxes below which nothing is said about mean average precision."""
COLLAPSE_LEVEL = 0.05
"""Family-wise error of the check that no single class was forgotten."""
Z95 = 1.6448536269514722
"""One-sided 95 % quantile of the normal distribution."""


@dataclass(frozen=True, eq=False)
class HoldoutResult:
    """One model on both hold-outs; `site` has no rows where the site has no held-out bags yet.

    A detector has the average precision of its boxes besides.
    """

    simulated: BagTable
    site: BagTable
    simulated_map: MapDraws | None = None
    site_map: MapDraws | None = None

    def metrics(self) -> Metrics:
        return Metrics(
            simulated=_with_map(self.simulated.metric_set(), self.simulated_map),
            site=_with_map(self.site.metric_set(), self.site_map),
        )


def _with_map(figures: MetricSet, boxes: MapDraws | None) -> MetricSet:
    return figures if boxes is None else figures.model_copy(update={"map50": boxes.map50})


def run_gate(
    active: HoldoutResult,
    candidate: HoldoutResult | None,
    policy: Policy,
    answers_differ: bool,
    load_problem: str | None = None,
) -> Gate:
    """All checks, passed or not, each with the figures it rests on.

    Args:
        active: the model in use now (the base model where nothing was promoted).
        candidate: on the same bags; None where it did not load.
        policy: sets margin and false-alarm budget.
        answers_differ: some answer on the hold-outs differs from the base model's. An adapter whose keys
            match nothing answers exactly like its base.
        load_problem: why the candidate did not load cleanly, if it did not.
    """
    if candidate is None:
        reason = load_problem or "it could not be loaded"
        return _gate([GateCheck(name="loads", passed=False, detail=reason)])
    checks = [
        GateCheck(
            name="loads",
            passed=load_problem is None,
            detail=load_problem or "It loads whole: nothing is missing, nothing is left over.",
        ),
        GateCheck(
            name="answers differ",
            passed=answers_differ,
            detail="It answers differently from the base model."
            if answers_differ
            else "It gives the base model's very answers on every hold-out bag: the training had no effect.",
        ),
        *_holdout_checks("simulated", active.simulated, candidate.simulated, policy),
        *_map_check("simulated", active.simulated_map, candidate.simulated_map, policy),
        *_site_checks(active, candidate, policy),
    ]
    return _gate(checks)


def _gate(checks: list[GateCheck]) -> Gate:
    return Gate(passed=all(check.passed for check in checks), checks=tuple(checks))


def _site_checks(active: HoldoutResult, candidate: HoldoutResult, policy: Policy) -> Iterator[GateCheck]:
    bags = int(candidate.site.sought.sum())
    if bags < SITE_BAGS_NEEDED:
        yield GateCheck(
            name="site evidence",
            passed=True,
            detail=f"Not enough site evidence yet: {bags} held-out bag{'s' * (bags != 1)} of the "
            f"{SITE_BAGS_NEEDED} needed, counting those in which threats were looked for. The simulated hold-out alone "
            "decided.",
        )
        return
    yield from _holdout_checks("site", active.site, candidate.site, policy)
    yield from _map_check("site", active.site_map, candidate.site_map, policy)


def _holdout_checks(name: str, active: BagTable, candidate: BagTable, policy: Policy) -> Iterator[GateCheck]:
    if active.bags != candidate.bags:
        raise ValueError("a paired comparison needs the same bags in the same order")
    yield _threat_recall(name, active, candidate, policy)
    yield _false_alarms(name, active, candidate, policy)
    yield _item_f1(name, active, candidate, policy)
    yield from _classes(name, active, candidate)


def _map_check(name: str, active: MapDraws | None, candidate: MapDraws | None, policy: Policy) -> Iterator[GateCheck]:
    """Boxes in the right place, over all classes. Nothing for a model that draws none."""
    if active is None or candidate is None:
        return
    title = f"{name}: mAP50"
    if candidate.boxes < BOXES_NEEDED:
        yield GateCheck(
            name=title,
            passed=True,
            detail=f"Insufficient: {candidate.boxes} of the {BOXES_NEEDED} boxes needed are held out.",
        )
        return
    bound = active.gain_of(candidate)
    yield GateCheck(
        name=title,
        passed=bound > -policy.margin,
        detail=f"{candidate.map50:.3f} over {candidate.boxes} boxes, {active.map50:.3f} by the active model. The "
        f"difference is at least {bound:+.3f} (one-sided 95 %); more than {-policy.margin:+.2f} is needed.",
    )


def threats_needed(margin: float) -> int:
    """Threat bags with which two models that agree on every one are shown to be within `margin`.

    With no disagreement Tango's lower bound is -z²/(n + z²); fewer bags could refuse but never accept.
    """
    return math.ceil(Z95**2 * (1 - margin) / margin)


def _threat_recall(name: str, active: BagTable, candidate: BagTable, policy: Policy) -> GateCheck:
    title = f"{name}: threat recall"
    threat = candidate.threat
    count = int(threat.sum())
    was, now = int((active.flagged & threat).sum()), int((candidate.flagged & threat).sum())
    lost = int((active.flagged & ~candidate.flagged & threat).sum())
    gained = int((~active.flagged & candidate.flagged & threat).sum())
    figures = f"{now} of {count} threat bags found, {was} by the active model"
    needed = threats_needed(policy.margin)
    if count < needed:
        # Too few to show non-inferiority; a plain loss is still refused.
        chance = sign_test(lost, gained)
        passed = chance >= 0.05
        return GateCheck(
            name=title,
            passed=passed,
            detail=f"{figures}. Insufficient: {needed} threat bags are needed for a margin of "
            f"{policy.margin:.2f}; "
            + ("no loss is evident." if passed else f"but the loss is plain (sign test p={chance:.3f})."),
        )
    bound = paired_lower_bound(gained, lost, count)
    return GateCheck(
        name=title,
        passed=bound > -policy.margin,
        detail=f"{figures}. The difference is at least {bound:+.3f} (one-sided 95 %); "
        f"more than {-policy.margin:+.2f} is needed.",
    )


def _false_alarms(name: str, active: BagTable, candidate: BagTable, policy: Policy) -> GateCheck:
    title = f"{name}: false alarms"
    clear = candidate.clear
    count = int(clear.sum())
    if count == 0:
        return GateCheck(name=title, passed=True, detail="Insufficient: no bag without a prohibited item is held out.")
    was, now = int((active.flagged & clear).sum()), int((candidate.flagged & clear).sum())
    rise = (now - was) / count
    return GateCheck(
        name=title,
        passed=rise <= policy.false_alarm_budget + 1e-12,
        detail=f"{now} of {count} clear bags flagged, {was} by the active model: {rise:+.3f}; "
        f"up to {policy.false_alarm_budget:+.2f} is allowed.",
    )


def _item_f1(name: str, active: BagTable, candidate: BagTable, policy: Policy) -> GateCheck:
    """Twice the margin: a list that got a little worse is a price, a list that broke is not."""
    allowed = 2 * policy.margin

    def parts(table: BagTable) -> tuple[np.ndarray, np.ndarray]:
        return 2 * table.hit.sum(1), table.said.sum(1) + table.true.sum(1)

    was, now = active.item_f1().value, candidate.item_f1().value
    if was is None:
        return GateCheck(name=f"{name}: item list", passed=True, detail="The active model named no item.")
    bound = bootstrap_difference(parts(active), parts(candidate))
    return GateCheck(
        name=f"{name}: item list",
        passed=bound > -allowed,
        detail=f"Item F1 {now or 0.0:.3f}, {was:.3f} by the active model. The difference is at least "
        f"{bound:+.3f} (one-sided 95 %); more than {-allowed:+.2f} is needed.",
    )


def _classes(name: str, active: BagTable, candidate: BagTable) -> Iterator[GateCheck]:
    """No class with enough positives may be forgotten, even where the pooled figures hide it.

    Bags in which the class is there are compared by a sign test on which model found more of it, Bonferroni
    over the classes tested. This shows plain losses only; it does not show that there is none.
    """
    support = candidate.true.sum(0)
    tested = [place for place in range(len(candidate.labels)) if support[place] >= CLASS_SUPPORT]
    few = [candidate.labels[i] for i in range(len(candidate.labels)) if 0 < support[i] < CLASS_SUPPORT]
    forgotten = []
    for place in tested:
        lost = int((candidate.hit[:, place] < active.hit[:, place]).sum())
        gained = int((candidate.hit[:, place] > active.hit[:, place]).sum())
        chance = sign_test(lost, gained)
        if chance < COLLAPSE_LEVEL / len(tested):
            total = int(support[place])
            was, now = int(active.hit[:, place].sum()), int(candidate.hit[:, place].sum())
            forgotten.append(f"{candidate.labels[place]} ({now} of {total} found, {was} before)")
    detail = (
        f"Plainly worse: {', '.join(forgotten)}." if forgotten
        else f"No class of the {len(tested)} with {CLASS_SUPPORT} or more items is plainly worse."
    )  # fmt: skip
    if few:
        detail += f" Insufficient: {', '.join(few)}."
    yield GateCheck(name=f"{name}: classes", passed=not forgotten, detail=detail)


def sign_test(lost: int, gained: int) -> float:
    """Exact one-sided chance of `lost` or more losses among the disagreements, were both equally likely.

    McNemar's exact test on discordant pairs.
    """
    discordant = lost + gained
    return math.fsum(math.comb(discordant, k) for k in range(lost, discordant + 1)) / 2**discordant


def paired_lower_bound(gained: int, lost: int, count: int, z: float = Z95) -> float:
    """Lower bound of the difference of two proportions on the same `count` bags (score interval).

    T. Tango, "Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design", Statistics in Medicine 17 (1998) 891-908. Unlike the bootstrap it does not
    collapse to zero width where the models agree on every bag.

    Args:
        gained: bags only the second model gets right.
        lost: bags only the first gets right.
        count: all bags, agreeing ones included; at least 1.
        z: normal quantile of the one-sided level.
    """

    def statistic(difference: float) -> float:
        # The nuisance proportion's maximum-likelihood estimate under this difference (Tango's eq. 8).
        b = -gained - lost + (2 * count - gained + lost) * difference
        c = -lost * difference * (1 - difference)
        lost_share = (math.sqrt(max(b * b - 8 * count * c, 0.0)) - b) / (4 * count)
        variance = count * (2 * lost_share + difference * (1 - difference))
        excess = gained - lost - count * difference
        return excess / math.sqrt(variance) if variance > 1e-15 else math.copysign(math.inf, excess)

    low, high = -1.0, (gained - lost) / count
    for _ in range(60):
        middle = (low + high) / 2
        if statistic(middle) > z:
            low = middle
        else:
            high = middle
    return high
