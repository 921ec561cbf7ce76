"""A table of bags: what a model got right in each, and the rates that follow.

Every rate is a sum over bags divided by a sum over bags, so one table serves the figures, their bootstrap
intervals and the paired comparison of two models.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.samples import in_scope
from training.evaluation.bootstrap import BINS, Floats, Parts, Rate, calibration_error, ratio
from xray_app.taxonomy import SiteRules
from xray_app.types import MetricSet

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class ScanOutcome:
    """One scan: what was there and what a model said of it.

    Attributes:
        bag_id: the bag this scan is a view of.
        true: items by canonical label, of those looked for.
        said: the same.
        confidence: 0..1 of at least every label said, also of labels nobody looked for; a detector also has those too
            unsure to count as said.
        labelled_classes: canonical names somebody looked for; None means all.
    """

    bag_id: str
    true: Mapping[str, int]
    said: Mapping[str, int]
    confidence: Mapping[str, float]
    labelled_classes: tuple[str, ...] | None = None

    @classmethod
    def scoped(
        cls,
        bag_id: str,
        labelled_classes: Iterable[str] | None,
        true: Mapping[str, int],
        said: Mapping[str, int],
        confidence: Mapping[str, float],
    ) -> ScanOutcome:
        """An outcome whose lists are without the labels nobody looked for: they are neither right nor wrong."""
        scope = None if labelled_classes is None else tuple(labelled_classes)
        return cls(bag_id, in_scope(true, scope), in_scope(said, scope), confidence, scope)


@dataclass(frozen=True, eq=False)
class BagTable:
    """Outcomes of B bags over L classes. Rows are bags in the order of `bags`.

    Attributes:
        bags: bag ids.
        labels: canonical names of the classes, the columns of `true`, `said` and `hit`.
        scans: (B,) views of the bag.
        exact: (B,) views whose list is entirely right.
        top1: (B,) views with items of which the answer's surest label is among the true ones.
        top1_of: (B,) views with items.
        sought: (B,) somebody looked for a prohibited class in some view: only then can the bag be called clear.
        threat: (B,) the bag holds a prohibited item.
        flagged: (B,) some view was answered with a prohibited item at or above the policy's threshold.
        threat_score: (B,) confidence of the surest prohibited item over the views, which that threshold cuts; 0: none.
        true: (B, L) items there.
        said: (B, L) items said.
        hit: (B, L) items said that are there: the smaller of both counts, per view.
        calibration: (B, BINS, 3) of the entries said: how many, the sum of confidences, how many are right.
    """

    bags: tuple[str, ...]
    labels: tuple[str, ...]
    scans: Ints
    exact: Ints
    top1: Ints
    top1_of: Ints
    sought: Bools
    threat: Bools
    flagged: Bools
    threat_score: Floats
    true: Ints
    said: Ints
    hit: Ints
    calibration: Floats

    @classmethod
    def of(cls, outcomes: Iterable[ScanOutcome], rules: SiteRules, by_any_class: bool = False) -> BagTable:
        """Gathers scans into bags, in order of bag id.

        Args:
            outcomes: of scans.
            rules: name the classes; the policy's prohibited threshold flags a bag.
            by_any_class: a prohibited class nobody looked for flags a bag too, as it does at the desk.
        """
        views: dict[str, list[ScanOutcome]] = {}
        for outcome in outcomes:
            views.setdefault(outcome.bag_id, []).append(outcome)
        bags = tuple(sorted(views))
        labels = rules.taxonomy.names
        column = {label: place for place, label in enumerate(labels)}
        prohibited = {label for label in labels if rules.taxonomy.resolve(label).status == "prohibited"}
        count = len(bags)

        def zeros(*shape: int) -> Ints:
            return np.zeros((count, *shape), dtype=np.int64)

        def unset() -> Bools:
            return np.zeros(count, dtype=np.bool_)

        table = cls(
            bags, labels, zeros(), zeros(), zeros(), zeros(),
            unset(), unset(), unset(), np.zeros(count),
            zeros(len(labels)), zeros(len(labels)), zeros(len(labels)), np.zeros((count, BINS, 3)),
        )  # fmt: skip
        for row, bag in enumerate(bags):
            for view in views[bag]:
                table.scans[row] += 1
                table.exact[row] += dict(view.true) == dict(view.said)
                table.sought[row] |= view.labelled_classes is None or not prohibited.isdisjoint(view.labelled_classes)
                if view.true:
                    table.top1_of[row] += 1
                    surest = max(view.said, key=lambda label: view.confidence[label], default=None)
                    table.top1[row] += surest in view.true
                for label, number in view.true.items():
                    table.true[row, column[label]] += number
                    table.threat[row] |= label in prohibited
                for label, number in view.said.items():
                    confidence = view.confidence[label]
                    there = view.true.get(label, 0)
                    table.said[row, column[label]] += number
                    table.hit[row, column[label]] += min(number, there)
                    place = min(int(confidence * BINS), BINS - 1)
                    table.calibration[row, place] += (1, confidence, number == there)
                scope = None if by_any_class else view.labelled_classes
                for label in prohibited.intersection(view.confidence if scope is None else scope):
                    table.threat_score[row] = max(table.threat_score[row], view.confidence.get(label, 0.0))
        table.flagged[:] = table.threat_score >= rules.policy.prohibited_threshold
        return table

    @property
    def clear(self) -> Bools:
        """(B,) no prohibited item is there, and somebody looked."""
        return self.sought & ~self.threat

    def item_precision(self) -> Rate:
        return ratio(self.hit.sum(1), self.said.sum(1))

    def item_recall(self) -> Rate:
        return ratio(self.hit.sum(1), self.true.sum(1))

    def parts(self) -> dict[str, Parts]:
        """Of the rates two models are compared by: numerator and denominator, for a paired difference."""
        threat, clear, flagged = (part.astype(np.int64) for part in (self.threat, self.clear, self.flagged))
        return {
            "top1": (self.top1, self.top1_of),
            "item_f1": (2 * self.hit.sum(1), self.said.sum(1) + self.true.sum(1)),
            "exact_list": (self.exact, self.scans),
            "threat_bag_recall": (threat * flagged, threat),
            "false_alarm_rate": (clear * flagged, clear),
        }

    def item_f1(self) -> Rate:
        """Over item counts pooled over all scans: 2 hits / (said + true)."""
        return ratio(*self.parts()["item_f1"])

    def exact_list(self) -> Rate:
        return ratio(*self.parts()["exact_list"])

    def top_one(self) -> Rate:
        """Over scans that hold an item; an answer without items counts as wrong there."""
        return ratio(*self.parts()["top1"])

    def threat_bag_recall(self) -> Rate:
        return ratio(*self.parts()["threat_bag_recall"])

    def false_alarm_rate(self) -> Rate:
        return ratio(*self.parts()["false_alarm_rate"])

    def says_none(self) -> Rate:
        """Over clear bags: nothing prohibited was named in any view, however unsurely."""
        clear = self.clear.astype(np.int64)
        return ratio(clear * (self.threat_score == 0), clear)

    def ece(self) -> Rate:
        """Expected calibration error of the entries said (Naeini et al. 2015): count right or wrong too."""
        return calibration_error(self.calibration)

    def per_class(self) -> dict[str, tuple[int, Rate, Rate]]:
        """Support (items there), recall and precision of each class that was there or was said."""
        figures = {}
        for place, label in enumerate(self.labels):
            true, said, hit = self.true[:, place], self.said[:, place], self.hit[:, place]
            if true.any() or said.any():
                figures[label] = (int(true.sum()), ratio(hit, true), ratio(hit, said))
        return figures

    def metric_set(self) -> MetricSet:
        """The figures of a run; `n` counts bags."""
        return MetricSet(
            n=len(self.bags),
            item_f1=self.item_f1().value,
            exact_list=self.exact_list().value,
            threat_bag_recall=self.threat_bag_recall().value,
            false_alarm_rate=self.false_alarm_rate().value,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain lists, to be kept and read back by `from_json`."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else list(value) for name, value in values.items()
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> BagTable:
        """Reads what `to_json` gave. Raises KeyError or ValueError where it is something else."""
        count, classes = len(values["bags"]), len(values["labels"])

        def ints(name: str, *shape: int) -> Ints:
            return np.asarray(values[name], dtype=np.int64).reshape(count, *shape)

        def bools(name: str) -> Bools:
            return np.asarray(values[name], dtype=np.bool_).reshape(count)

        return cls(
            bags=tuple(values["bags"]),
            labels=tuple(values["labels"]),
            scans=ints("scans"),
            exact=ints("exact"),
            top1=ints("top1"),
            top1_of=ints("top1_of"),
            sought=bools("sought"),
            threat=bools("threat"),
            flagged=bools("flagged"),
            threat_score=np.asarray(values["threat_score"], dtype=np.float64).reshape(count),
            true=ints("true", classes),
            said=ints("said", classes),
            hit=ints("hit", classes),
            calibration=np.asarray(values["calibration"], dtype=np.float64).reshape(count, BINS, 3),
        )
