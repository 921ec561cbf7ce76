"""Within groups: how well scores tell bags apart that come from one scanner, so that knowing the scanner gains nothing.

Pairs of bags are compared within a group alone, as a stratified Mann-Whitney statistic compares them (Ph. van Elteren,
1960), and false alarms are held equal in each group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.data.groups import bag_groups
from training.data.samples import Sample
from training.evaluation.bag_table import Bools, ScanOutcome
from training.evaluation.bootstrap import RESAMPLES, Floats, Rate, draws_of, rates, seed_draws_of
from xray_app.taxonomy import Taxonomy, prohibited_labels

FALSE_ALARMS = (0.01, 0.05, 0.10)
"""At which recall is told."""


@dataclass(frozen=True, eq=False)
class BagScores:
    """A model's scores of B bags, in order of bag id, over L classes; of each bag the largest of its views.

    Attributes:
        groups: (B,) group of each bag.
        labels: the L classes that were looked for anywhere.
        threat: (B,) the bag holds a prohibited item.
        threat_sought: (B,) somebody looked for one.
        threat_score: (B,) larger is more of a threat.
        present: (B, L) the class is there.
        sought: (B, L) somebody looked for it.
        presence: (B, L) larger is surer of it.
    """

    groups: np.ndarray
    labels: tuple[str, ...]
    threat: Bools
    threat_sought: Bools
    threat_score: Floats
    present: Bools
    sought: Bools
    presence: Floats

    @classmethod
    def of(
        cls,
        samples: Sequence[Sample],
        presence: Sequence[Mapping[str, float]],
        threat: Sequence[float] | None,
        taxonomy: Taxonomy,
    ) -> BagScores:
        """Gathers scans into bags.

        Args:
            samples: N labelled scans.
            presence: N times the score of each class; one that is not named scores 0.
            threat: N scores of a prohibited item; None takes that of the surest prohibited class looked for.
            taxonomy: names the classes, and which are prohibited.
        """
        groups = bag_groups(samples)
        bags = sorted(groups)
        row = {bag: place for place, bag in enumerate(bags)}
        everywhere = any(sample.labelled_classes is None for sample in samples)
        looked_for = {label for sample in samples for label in sample.labelled_classes or ()}
        labels = tuple(name for name in taxonomy.names if everywhere or name in looked_for)
        column = {label: place for place, label in enumerate(labels)}
        prohibited = set(prohibited_labels(taxonomy))
        shape = len(bags), len(labels)
        there, sought, sure = np.zeros(shape, bool), np.zeros(shape, bool), np.zeros(shape)
        is_threat, threat_sought, score = np.zeros(len(bags), bool), np.zeros(len(bags), bool), np.zeros(len(bags))
        for place, sample in enumerate(samples):
            at = row[sample.bag_id]
            scope = labels if sample.labelled_classes is None else sample.labelled_classes
            for label in scope:
                sought[at, column[label]] = True
                sure[at, column[label]] = max(sure[at, column[label]], presence[place].get(label, 0.0))
            for label in sample.counts(taxonomy):
                there[at, column[label]] = True
                is_threat[at] |= label in prohibited
            wanted = prohibited.intersection(scope)
            threat_sought[at] |= bool(wanted)
            own = max((presence[place].get(label, 0.0) for label in wanted), default=0.0)
            score[at] = max(score[at], own if threat is None else threat[place])
        return cls(
            np.array([groups[bag] for bag in bags], object),
            labels,
            is_threat,
            threat_sought,
            score,
            there,
            sought,
            sure,
        )

    def strata(self) -> list[Bools]:
        """Of each group, (B,) which bags are of it and were looked at for threats."""
        return [(self.groups == group) & self.threat_sought for group in sorted(set(self.groups))]


def scores_of(
    samples: Sequence[Sample], outcomes: Sequence[ScanOutcome], threat: Sequence[float] | None, taxonomy: Taxonomy
) -> BagScores:
    """A model's scores, from the confidences of what it said and, where it was asked, its probability of a threat."""
    return BagScores.of(samples, [one.confidence for one in outcomes], threat, taxonomy)


def stratified_auroc(scores: Floats, positive: Bools, strata: Sequence[Bools]) -> tuple[Rate, int]:
    """Chance that a positive bag scores above a negative one of its own group, ties counting half, and the pairs.

    Pairs of all groups weigh alike. The interval is over bags, by bootstrap; there is none without a pair.

    Args:
        scores, positive: (B,).
        strata: which bags are of each group, (B,) each; a bag of none is left out.
    """
    wins, pairs = _wins(scores, positive, strata)
    return _share(wins, pairs), int(pairs[0])


def within_groups(*seeds: BagScores) -> dict[str, Any]:
    """`stratified_auroc` of `report.json` for one model: threat and class presence, each with its interval and pairs.

    `presence` takes the pairs of all classes together.

    Args:
        seeds: scores of the same bags, of each seed of the model; the intervals are over bags and seeds.
    """
    threat = [_wins(one.threat_score, one.threat, one.strata()) for one in seeds]
    bags = seeds[0]
    per_class: dict[str, Any] = {}
    presence = [(np.zeros(1 + RESAMPLES), np.zeros(1 + RESAMPLES)) for _ in seeds]
    for place, label in enumerate(bags.labels):
        strata = [(bags.groups == group) & bags.sought[:, place] for group in sorted(set(bags.groups))]
        of_class = [_wins(one.presence[:, place], one.present[:, place], strata) for one in seeds]
        if count := int(of_class[0][1][0]):
            per_class[label] = {**rates(auroc=_share_over_seeds(of_class)), "pairs": count}
            presence = [(won + more, of + out_of) for (won, of), (more, out_of) in zip(presence, of_class, strict=True)]
    return {
        **rates(threat=_share_over_seeds(threat), presence=_share_over_seeds(presence)),
        "pairs": int(threat[0][1][0]),
        "presence_pairs": int(presence[0][1][0]),
        "per_class": per_class,
    }


def recall_at(*seeds: BagScores) -> dict[str, Any]:
    """`recall_at` of `report.json` for one model: threat-bag recall at each of `FALSE_ALARMS`, as "0.05" and "0.05_ci".

    Each group has a threshold of its own, at which just this share of its clear bags is flagged (between two scores by
    lot). Groups without a clear bag have none, and their threat bags do not count.

    Args:
        seeds: as in `within_groups`.
    """
    found = [_found_at(one) for one in seeds]
    out: dict[str, Any] = {}
    for place, level in enumerate(FALSE_ALARMS):
        out |= rates(**{f"{level:.2f}": _share_over_seeds([(hits[place], threats) for hits, threats in found])})
    return out


def _wins(scores: Floats, positive: Bools, strata: Sequence[Bools]) -> tuple[Floats, Floats]:
    """(1 + RESAMPLES,) pairs won and pairs in all: of the bags as they are, then of each resample."""
    weights = _weights(len(scores))
    wins, pairs = np.zeros(len(weights)), np.zeros(len(weights))
    for stratum in strata:
        if (positive & stratum).any() and (~positive & stratum).any():
            above, below = _by_score(scores[stratum], positive[stratum], weights[:, stratum])
            wins += (below * (above.sum(1, keepdims=True) - above.cumsum(1) + above / 2)).sum(1)
            pairs += above.sum(1) * below.sum(1)
    return wins, pairs


def _found_at(scores: BagScores) -> tuple[Floats, Floats]:
    """(levels, 1 + RESAMPLES) threat bags found at each of `FALSE_ALARMS`, and (1 + RESAMPLES,) threat bags in all."""
    weights = _weights(len(scores.threat))
    found, threats = np.zeros((len(FALSE_ALARMS), len(weights))), np.zeros(len(weights))
    for stratum in scores.strata():
        if not (scores.threat & stratum).any() or not (~scores.threat & stratum).any():
            continue
        hits, alarms = _by_score(-scores.threat_score[stratum], scores.threat[stratum], weights[:, stratum])
        hits, alarms = hits.cumsum(1), alarms.cumsum(1)
        for row in np.flatnonzero(alarms[:, -1]):
            share = np.append(0.0, alarms[row] / alarms[row, -1])
            found[:, row] += np.interp(FALSE_ALARMS, share, np.append(0.0, hits[row]))
            threats[row] += hits[row, -1]
    return found, threats


def _by_score(scores: Floats, positive: Bools, weights: Floats) -> tuple[Floats, Floats]:
    """(draws, U) positive and negative bags at each of the U scores there are, from the lowest."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(scores[order]) != 0))
    drawn = weights[:, order]
    return (
        np.add.reduceat(drawn * positive[order], starts, axis=1),
        np.add.reduceat(drawn * ~positive[order], starts, axis=1),
    )


def _weights(count: int) -> Floats:
    """(1 + RESAMPLES, count) how often each bag is taken: once, then as in each resample."""
    return np.vstack([np.ones(count), draws_of(count)]) if count else np.zeros((1 + RESAMPLES, 0))


def _share_over_seeds(seeds: Sequence[tuple[Floats, Floats]]) -> Rate:
    drawn = np.vstack([np.ones(len(seeds)), seed_draws_of(len(seeds))])
    above, under = ((drawn * np.stack([one[side] for one in seeds], axis=1)).sum(1) for side in (0, 1))
    return _share(above, under)


def _share(above: Floats, under: Floats) -> Rate:
    """The first by the first, with its interval over the others; both (1 + RESAMPLES,)."""
    if not under[0]:
        return Rate(None, None)
    usable = under > 0
    shares = above[usable] / under[usable]
    low, high = np.percentile(shares[1:], [2.5, 97.5])
    return Rate(float(shares[0]), (float(low), float(high)))
