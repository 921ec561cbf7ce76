"""The promotion gate: may this candidate take the active model's place?

A candidate must be shown to be no worse than the active model by more than a stated margin. "Not
significantly worse" would not do: with a handful of positives, a candidate truly five points worse passes
that check nearly always. So threat bags are pooled over classes, both models are measured on the same bags,
and the gate has three answers, by the same tests at every size:

    passed         every one-sided 95 % bound lies within its margin
    refused        something is plainly worse: by more than its margin, and beyond chance (2.5 %; classes: 5 % together)
    not shown yet  neither; it may go on trial

A candidate truly worse by twice the margin passes in less than 5 of 100 cases, at any number of bags
(`python -m tests.benchmarks.gate`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from training.evaluation.bag_table import BagTable, Bools
from training.evaluation.bootstrap import bootstrap_difference
from training.evaluation.map_interval import MapDraws
from training.promotion.paired import Difference, at_equal_alarms, bags_to_decide, sign_test
from xray_app.adapter import CheckAnswer, Gate, GateCheck
from xray_app.taxonomy import Policy
from xray_app.types import Metrics, MetricSet

SITE_BAGS_NEEDED = 50
"""The contract's: below this there is "not enough site evidence yet"."""
SITE_THREATS_NEEDED = 300
"""Threat bags from which the site's own hold-out has to show what the simulated one has to. Before, it can refuse."""
CLASS_SUPPORT = 30
"""Items of a class below which nothing is said about it."""
ITEMS_NEEDED = 50
"""Items, and true boxes, below which nothing is said about the item list, and about mean average precision."""
COLLAPSE_LEVEL = 0.05
"""Family-wise error of the check that no single class was forgotten."""


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


@dataclass(frozen=True)
class _Finding:
    """A check on one hold-out; `loss` is by how much the candidate is worse there, as far as is seen."""

    name: str
    answer: CheckAnswer
    detail: str
    loss: float = 0.0
    needs: int | None = None

    def on(self, holdout: str) -> GateCheck:
        return GateCheck(name=f"{holdout}: {self.name}", answer=self.answer, detail=self.detail, needs=self.needs)


def run_gate(
    active: HoldoutResult,
    candidate: HoldoutResult | None,
    policy: Policy,
    answers_differ: bool,
    load_problem: str | None = None,
    scanners: Mapping[str, str] = MappingProxyType({}),
) -> Gate:
    """All checks, passed or not, each with the figures it rests on.

    Args:
        active: the model in use now (the base model where nothing was promoted).
        candidate: on the same bags; None where it did not load.
        policy: sets margin and budgets.
        answers_differ: some answer on the hold-outs differs from the base model's. An adapter whose keys
            match nothing answers exactly like its base.
        load_problem: why the candidate did not load cleanly, if it did not.
        scanners: of the site's held-out bags, by bag id; "" where it is unknown.

    Raises:
        ValueError: the models were measured on different bags.
    """
    if candidate is None:
        reason = load_problem or "it could not be loaded"
        return Gate.of([GateCheck(name="loads", answer="refused", detail=reason)])
    if (active.simulated.bags, active.site.bags) != (candidate.simulated.bags, candidate.site.bags):
        raise ValueError("a paired comparison needs the same bags in the same order")
    simulated = _findings(active.simulated, candidate.simulated, policy)
    simulated += _boxes(active.simulated_map, candidate.simulated_map, policy)
    site = _findings(active.site, candidate.site, policy) if active.site.bags else []
    site += _boxes(active.site_map, candidate.site_map, policy) if active.site.bags else []
    simulated = _forgiven(simulated, active.site, candidate.site, policy)
    threats = int(candidate.site.threat.sum())
    if threats < SITE_THREATS_NEEDED:
        site = [replace(one, answer="reported") if one.answer == "not shown yet" else one for one in site]
    return Gate.of(
        [
            GateCheck(
                name="loads",
                answer="passed" if load_problem is None else "refused",
                detail=load_problem or "It loads whole: nothing is missing, nothing is left over.",
            ),
            GateCheck(
                name="answers differ",
                answer="passed" if answers_differ else "refused",
                detail="It answers differently from the base model."
                if answers_differ
                else "It gives the base model's very answers on every hold-out bag: the training had no effect.",
            ),
            *(one.on("simulated") for one in simulated),
            *_site_evidence(candidate.site),
            *(one.on("site") for one in site),
            *_by_scanner(active.site, candidate.site, scanners),
        ]
    )


def _findings(active: BagTable, candidate: BagTable, policy: Policy) -> list[_Finding]:
    return [
        _threat_recall(active, candidate, policy),
        _at_equal_alarms(active, candidate, policy),
        _false_alarms(active, candidate, policy),
        _item_list(active, candidate, policy),
        *_classes(active, candidate, policy),
    ]


def _site_evidence(site: BagTable) -> Iterator[GateCheck]:
    """Says who decides, while the site has too few bags to."""
    bags, threats = int(site.sought.sum()), int(site.threat.sum())
    if threats >= SITE_THREATS_NEEDED:
        return
    few = (
        f"Not enough site evidence yet: {bags} held-out bag{'s' * (bags != 1)} of the {SITE_BAGS_NEEDED} needed, "
        "counting those in which threats were looked for. "
        if bags < SITE_BAGS_NEEDED
        else ""
    )
    yield GateCheck(
        name="site evidence",
        answer="reported",
        detail=f"{few}The site holds {threats} of {SITE_THREATS_NEEDED} threat bags: until then the simulated bags "
        "decide, and what is plainly worse on the site is refused.",
        needs=SITE_THREATS_NEEDED,
    )


def _forgiven(findings: Iterable[_Finding], active: BagTable, candidate: BagTable, policy: Policy) -> list[_Finding]:
    """What the simulated bags refuse, left open where the site's own show a plain gain and the loss is within budget.

    Args:
        findings: on the simulated bags.
        active, candidate: on the site's.
        policy: sets the budget.
    """
    if not (active.threat.any() and active.clear.any()):
        return list(findings)
    # At equal false alarms: to flag more of everything is no gain.
    gain = at_equal_alarms(active, candidate)
    if not gain.plain_gain:
        return list(findings)
    words = (
        f" But the site's own bags show a plain gain ({gain.gained} threat bags more found and {gain.lost} fewer, at "
        f"equal false alarms): up to {policy.collapse_budget:.2f} may be lost here on trial."
    )
    return [
        replace(one, answer="not shown yet", detail=one.detail + words)
        if one.answer == "refused" and one.loss <= policy.collapse_budget
        else one
        for one in findings
    ]


def _answer(low: float, estimate: float, plain_loss: bool, allowed: float) -> CheckAnswer:
    if low > -allowed:
        return "passed"
    return "refused" if estimate < -allowed and plain_loss else "not shown yet"


def _threat_recall(active: BagTable, candidate: BagTable, policy: Policy) -> _Finding:
    name, threat = "threat recall", candidate.threat
    if not threat.any():
        return _Finding(name, "not shown yet", "No bag with a prohibited item is held out.")
    found = active.flagged[threat], candidate.flagged[threat]
    figures = f"{found[1].sum()} of {threat.sum()} threat bags found, {found[0].sum()} by the active model."
    return _compared(name, figures, Difference.of(*found), policy.margin, "threat bags")


def _at_equal_alarms(active: BagTable, candidate: BagTable, policy: Policy) -> _Finding:
    """Twice the margin: here the threshold too is drawn from the bags, which doubles what chance does."""
    name, threat, clear = "threat recall at equal false alarms", candidate.threat, candidate.clear
    if not threat.any() or not clear.any():
        return _Finding(name, "not shown yet", "No bag with a prohibited item, or none without, is held out.")
    change = at_equal_alarms(active, candidate)
    alarms = max(int((table.flagged & clear).sum()) for table in (active, candidate))
    figures = (
        f"With both at {alarms} of {clear.sum()} false alarms, it finds {change.gained} threat bags more and "
        f"{change.lost} fewer than the active model, of {change.count}."
    )
    return _compared(name, figures, change, 2 * policy.margin, "threat bags")


def _false_alarms(active: BagTable, candidate: BagTable, policy: Policy) -> _Finding:
    name, clear = "false alarms", candidate.clear
    if not clear.any():
        return _Finding(name, "not shown yet", "No bag without a prohibited item is held out.")
    alarms = active.flagged[clear], candidate.flagged[clear]
    figures = f"{alarms[1].sum()} of {clear.sum()} clear bags flagged, {alarms[0].sum()} by the active model."
    quiet = Difference.of(~alarms[0], ~alarms[1])
    return _compared(name, figures, quiet, policy.false_alarm_budget, "clear bags", rise=True)


def _compared(name: str, figures: str, change: Difference, allowed: float, unit: str, rise: bool = False) -> _Finding:
    """A rate of bags by its bound.

    Args:
        name: of the check.
        figures: what was counted.
        change: of the bags that are right.
        allowed: how much of it may be lost.
        unit: the bags, in words.
        rise: the figures are of bags that are wrong, so that a loss is a rise of them.
    """
    answer = _answer(change.low, change.estimate, change.plain_loss, allowed)
    bound = f"at most {-change.low:+.3f}" if rise else f"at least {change.low:+.3f}"
    limit = f"less than {allowed:+.2f}" if rise else f"more than {-allowed:+.2f}"
    detail = f"{figures} The difference is {bound} (one-sided 95 %); {limit} is needed."
    needs = None
    if answer == "refused":
        chance = sign_test(change.lost, change.gained)
        detail += f" Plainly worse: {change.lost} against {change.gained} bags (sign test p={chance:.3f})."
    elif answer == "not shown yet":
        wanted = bags_to_decide(change.gained, change.lost, change.count, allowed)
        needs = wanted if wanted and wanted > change.count else None
        if needs:
            detail += f" About {needs} {unit} would decide, if the models go on to differ as often."
    return _Finding(name, answer, detail, -change.estimate, needs)


def _item_list(active: BagTable, candidate: BagTable, policy: Policy) -> _Finding:
    """Twice the margin: a list that got a little worse is a price, a list that broke is not."""
    name, allowed, items = "item list", 2 * policy.margin, int(candidate.true.sum())
    was, now = active.item_f1().value, candidate.item_f1().value
    if was is None:
        return _Finding(name, "reported", "There is no item, and the active model named none.")
    figures = f"Item F1 {now or 0.0:.3f}, {was:.3f} by the active model."
    if items < ITEMS_NEEDED:
        return _few(name, figures, items, "items")
    parts = active.parts()["item_f1"], candidate.parts()["item_f1"]
    low, high = bootstrap_difference(*parts), bootstrap_difference(*parts, level=0.05)
    return _bounded(name, figures, low, (now or 0.0) - was, high, allowed)


def _boxes(active: MapDraws | None, candidate: MapDraws | None, policy: Policy) -> Iterator[_Finding]:
    """Boxes in the right place, over all classes. Nothing for a model that draws none."""
    if active is None or candidate is None:
        return
    name = "mAP50"
    if candidate.boxes < ITEMS_NEEDED:
        yield _few(name, "", candidate.boxes, "boxes")
        return
    was, now = active.map50 or 0.0, candidate.map50 or 0.0
    figures = f"{now:.3f} over {candidate.boxes} boxes, {was:.3f} by the active model."
    low, high = active.gain_of(candidate), -candidate.gain_of(active)
    yield _bounded(name, figures, low, now - was, high, policy.margin)


def _few(name: str, figures: str, count: int, unit: str) -> _Finding:
    detail = f"{figures} Insufficient: {count} of the {ITEMS_NEEDED} {unit} needed are held out.".strip()
    return _Finding(name, "not shown yet", detail, needs=ITEMS_NEEDED)


def _bounded(name: str, figures: str, low: float, estimate: float, high: float, allowed: float) -> _Finding:
    """A figure by its bootstrap bounds, one-sided 95 % each."""
    answer = _answer(low, estimate, high < 0, allowed)
    detail = (
        f"{figures} The difference is at least {low:+.3f} (one-sided 95 %); more than {-allowed:+.2f} is needed."
        + (f" Plainly worse: it is at most {high:+.3f}." if answer == "refused" else "")
    )
    return _Finding(name, answer, detail, -estimate)


def _classes(active: BagTable, candidate: BagTable, policy: Policy) -> Iterator[_Finding]:
    """No class with enough positives may be forgotten, even where the pooled figures hide it.

    Bags in which the class is there are compared by a sign test on which model found more of it, Bonferroni
    over the classes tested, and more than the margin has to be lost. This shows plain losses only; it does not show
    that there is none.
    """
    support = candidate.true.sum(0)
    tested = [place for place in range(len(candidate.labels)) if support[place] >= CLASS_SUPPORT]
    few = [candidate.labels[i] for i in range(len(candidate.labels)) if 0 < support[i] < CLASS_SUPPORT]
    forgotten, loss = [], 0.0
    for place in tested:
        lost = int((candidate.hit[:, place] < active.hit[:, place]).sum())
        gained = int((candidate.hit[:, place] > active.hit[:, place]).sum())
        total = int(support[place])
        was, now = int(active.hit[:, place].sum()), int(candidate.hit[:, place].sum())
        if sign_test(lost, gained) < COLLAPSE_LEVEL / len(tested) and was - now > policy.margin * total:
            forgotten.append(f"{candidate.labels[place]} ({now} of {total} found, {was} before)")
            loss = max(loss, (was - now) / total)
    if forgotten:
        yield _Finding("classes", "refused", f"Plainly worse: {', '.join(forgotten)}.", loss)
    elif tested:
        detail = f"No class of the {len(tested)} with {CLASS_SUPPORT} or more items is plainly worse."
        yield _Finding("classes", "passed", detail)
    if few:
        yield _Finding(
            "rare classes",
            "reported",
            f"Insufficient: {', '.join(few)}. Of a class with fewer than {CLASS_SUPPORT} items nothing is said.",
            needs=CLASS_SUPPORT,
        )


def _by_scanner(active: BagTable, candidate: BagTable, scanners: Mapping[str, str]) -> Iterator[GateCheck]:
    """Both models on each scanner of the site's held-out bags. Too few to test apart, so it decides nothing."""
    of_bag = np.array([scanners.get(bag, "") for bag in candidate.bags], object)

    def counted(what: str, rows: Bools) -> str:
        count = int(rows.sum())
        was, now = (int((table.flagged & rows).sum()) for table in (active, candidate))
        return f"{now} of {count} {what}, {was} by the active model"

    each = [
        f"{name or 'unknown'}: {counted('threat bags found', candidate.threat & (of_bag == name))}; "
        f"{counted('clear bags flagged', candidate.clear & (of_bag == name))}."
        for name in sorted(set(of_bag))
    ]
    if each:
        yield GateCheck(name="site: by scanner", answer="reported", detail=" ".join(each))
