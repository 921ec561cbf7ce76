"""Rules that see nothing of what is in a bag: what a model must beat before its figures show that it sees anything.

The constant says one list of every scan. The group rule says one list a group (mostly the scanner), the constant of a
group it does not know. The thumbnail rule goes by size and mean colours. Each is chosen on training scans, or, without
them, for each fifth of the bags on the other four.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training.data.samples import Sample
from training.evaluation.bag_table import ScanOutcome
from training.evaluation.bootstrap import Floats
from training.evaluation.logistic import logistic_weights, sigmoid
from xray_app.taxonomy import Taxonomy, prohibited_labels
from xray_app.types import MAX_COUNT

FOLDS = 5
RIDGE = 1.0
"""On standardised features: with a handful of scans of a class it keeps the weights small."""
THUMBNAIL = (32, 32)

RULES: Mapping[str, str] = {
    "constant": "one list for all scans",
    "group": "the scanner alone",
    "thumbnail": "size and mean colours alone",
}
"""By name, what a table calls them."""


@dataclass(frozen=True)
class Ruled:
    """What a rule says of N scans, in their order.

    Attributes:
        outcomes: its lists; what it says, it says for certain.
        threat: N probabilities of a prohibited item.
        presence: N times the probability of each class.
    """

    outcomes: tuple[ScanOutcome, ...]
    threat: tuple[float, ...]
    presence: tuple[Mapping[str, float], ...]


@dataclass(frozen=True, eq=False)
class _Scans:
    """N scans as a rule sees them, over K entries: a class with at least this many of it.

    Attributes:
        entries: the K classes with their counts.
        there: (N, K) the entry is true.
        sought: (N, K) somebody looked for the class.
        threat, threat_sought: (N,) the same of any prohibited class.
        groups: N group names.
        features: (N, 5) of the thumbnail.
    """

    entries: tuple[tuple[str, int], ...]
    there: Floats
    sought: Floats
    threat: Floats
    threat_sought: Floats
    groups: tuple[str, ...]
    features: Floats

    @classmethod
    def of(cls, samples: Sequence[Sample], entries: Sequence[tuple[str, int]], taxonomy: Taxonomy) -> _Scans:
        counts = [sample.counts(taxonomy) for sample in samples]
        prohibited = set(prohibited_labels(taxonomy))
        shape = len(samples), len(entries)

        def sought(sample: Sample, label: str) -> bool:
            return sample.labelled_classes is None or label in sample.labelled_classes

        return cls(
            tuple(entries),
            np.array([[one[label] >= count for label, count in entries] for one in counts], float).reshape(shape),
            np.array([[sought(sample, label) for label, _ in entries] for sample in samples], float).reshape(shape),
            np.array([not prohibited.isdisjoint(one) for one in counts], float),
            np.array([bool(prohibited_labels(taxonomy, one.labelled_classes)) for one in samples], float),
            tuple(sample.group or "" for sample in samples),
            np.array([thumbnail_features(sample) for sample in samples]).reshape(len(samples), 5),
        )

    def rows(self, chosen: Sequence[int]) -> _Scans:
        at = np.array(chosen, int)
        return _Scans(
            self.entries,
            self.there[at],
            self.sought[at],
            self.threat[at],
            self.threat_sought[at],
            tuple(self.groups[place] for place in chosen),
            self.features[at],
        )


def thumbnail_features(sample: Sample) -> tuple[float, ...]:
    """Log of width and height in pixels, and the mean of red, green and blue, 0 to 1."""
    pixels = np.asarray(sample.open().resize(THUMBNAIL), float) / 255
    return (float(np.log(sample.width)), float(np.log(sample.height)), *pixels.mean((0, 1)).tolist())


def rules_of(samples: Sequence[Sample], train: Sequence[Sample] | None, taxonomy: Taxonomy) -> dict[str, Ruled]:
    """What each rule says of the scans.

    Args:
        samples: N scans to answer.
        train: to choose the rules on, none of `samples` among them; None: for each fifth of the bags of `samples`,
            picked by a hash, the other four.
        taxonomy: names the classes, and which are prohibited.
    """
    chosen_on = samples if train is None else train
    most: dict[str, int] = {}
    for sample in chosen_on:
        for label, count in sample.counts(taxonomy).items():
            most[label] = max(most.get(label, 0), count)
    entries = [
        (label, n) for label in sorted(most, key=taxonomy.rank) for n in range(1, min(most[label], MAX_COUNT) + 1)
    ]
    scans = _Scans.of(samples, entries, taxonomy)
    if train is not None:
        parts = [(_Scans.of(train, entries, taxonomy), list(range(len(samples))))]
    else:
        folds = [int(hashlib.sha256(sample.bag_id.encode()).hexdigest(), 16) % FOLDS for sample in samples]
        parts = []
        for fold in sorted(set(folds)):
            others = [place for place, its in enumerate(folds) if its != fold]
            parts.append((scans.rows(others), [place for place, its in enumerate(folds) if its == fold]))
    found: dict[str, Ruled] = {}
    constant = np.zeros((len(samples), len(entries)), bool)
    for name in RULES:
        said = np.zeros((len(samples), len(entries)), bool)
        shares = np.zeros((len(samples), len(entries) + 1))
        for learned, places in parts:
            own, shares[places] = _PREDICT[name](learned, learned), _PREDICT[name](learned, scans.rows(places))
            said[places] = shares[places, :-1] > _cut(own[:, :-1], learned)
            if name == "constant":
                constant[places] = said[places]
            elif name == "group":
                unknown = [place for place in places if scans.groups[place] not in learned.groups]
                said[unknown] = constant[unknown]
        found[name] = _ruled(samples, scans.entries, said, shares, taxonomy)
    return found


def _share(there: Floats, sought: Floats) -> Floats:
    """(K,) how often each entry is true where it was looked for; 0 where nobody did."""
    return np.asarray((there * sought).sum(0) / np.maximum(sought.sum(0), 1))


def _with_threat(scans: _Scans) -> tuple[Floats, Floats]:
    """(N, K + 1) truth and scope of the entries, and of any threat behind them."""
    return np.column_stack([scans.there, scans.threat]), np.column_stack([scans.sought, scans.threat_sought])


def _constant(learned: _Scans, asked: _Scans) -> Floats:
    return np.tile(_share(*_with_threat(learned)), (len(asked.groups), 1))


def _group(learned: _Scans, asked: _Scans) -> Floats:
    there, sought = _with_threat(learned)
    own = np.array(learned.groups)
    shares = {group: _share(there[own == group], sought[own == group]) for group in set(learned.groups)}
    constant = _share(there, sought)
    return np.array([shares.get(group, constant) for group in asked.groups]).reshape(len(asked.groups), -1)


def _thumbnail(learned: _Scans, asked: _Scans) -> Floats:
    there, sought = _with_threat(learned)
    if not len(there):
        return np.zeros((len(asked.groups), there.shape[1]))
    mean, spread = learned.features.mean(0), learned.features.std(0) + 1e-9
    seen, new = (learned.features - mean) / spread, (asked.features - mean) / spread
    shares = np.zeros((len(new), there.shape[1]))
    for place in range(there.shape[1]):
        weights = logistic_weights(seen, there[:, place], RIDGE, sought[:, place])
        shares[:, place] = sigmoid(weights[0] + new @ weights[1:])
    return shares


_PREDICT = {"constant": _constant, "group": _group, "thumbnail": _thumbnail}


def _cut(shares: Floats, learned: _Scans) -> float:
    """The share above which an entry is said, so that item F1 over the learned scans is largest.

    An entry that is true with a share p raises 2 hits / (said + true) = F just where p > F / 2, so F and the cut are
    found by turns (W. Dinkelbach, "On nonlinear fractional programming", Management Science 13, 1967).
    """
    true = float((learned.there * learned.sought).sum())
    cut = 0.0
    for _ in range(100):
        said = (shares > cut) * learned.sought
        hits, count = float((said * learned.there).sum()), float(said.sum())
        better = hits / (count + true) if count + true else 0.0
        if better <= cut + 1e-12:
            break
        cut = better
    return cut


def _ruled(
    samples: Sequence[Sample], entries: Sequence[tuple[str, int]], said: np.ndarray, shares: Floats, taxonomy: Taxonomy
) -> Ruled:
    outcomes, presence = [], []
    for row, sample in enumerate(samples):
        chances = {label: float(shares[row, k]) for k, (label, count) in enumerate(entries) if count == 1}
        counts: dict[str, int] = {}
        for k, (label, count) in enumerate(entries):
            if said[row, k]:
                counts[label] = max(counts.get(label, 0), count)
        # Of labels said for certain the first counts as the surest: the likeliest.
        ordered = {label: counts[label] for label in sorted(counts, key=lambda label: -chances[label])}
        outcomes.append(
            ScanOutcome.scoped(
                sample.bag_id, sample.labelled_classes, sample.counts(taxonomy), ordered, dict.fromkeys(ordered, 1.0)
            )
        )
        presence.append(chances)
    return Ruled(tuple(outcomes), tuple(shares[:, -1].tolist()), tuple(presence))
