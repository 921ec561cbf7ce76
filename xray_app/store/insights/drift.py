"""Whether the scans that come in still look like those of the beginning.

The reference is the first whole days with at least `REFERENCE_SCANS` scans, of the chosen scanner or of all: what
the site looked like when the models were set up, and known for every site, however little was trained on there.
Each feature's distribution is compared by the population stability index, the sum over bins of
(p - q) ln(p / q), as in credit scoring (Siddiqi, "Credit Risk Scorecards", 2006: below 0.1 stable, above 0.25
changed). What chance alone gives, about (bins - 1)(1/n + 1/m), is taken off first, so that few scans raise no alarm.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from math import log
from typing import Literal

from xray_app.store.database import Database
from xray_app.store.insights import daily_sums
from xray_app.store.insights.daily_sums import LOOKS, Counts, Figures
from xray_app.store.insights.reports import Table

REFERENCE_SCANS = 300
RECENT_DAYS = 7
LEAST_SCANS = 50
"""Fewer scans than this, before or now, say nothing."""
NOTICE = 0.1
ALARM = 0.25
FLOOR = 0.5
"""Added to every bin, so that an empty one has a logarithm."""

Change = Literal["stable", "shifting", "changed", "too few scans"]

NAMES = {
    "organic": "organic (orange) share",
    "mixed": "mixed (green) share",
    "metal": "metal (blue) share",
    "opaque": "opaque share",
    "brightness": "brightness",
    "side": "longest side",
    "shape": "width over height",
    "labels": "what the models name",
}
SHARES = ("organic", "mixed", "metal", "opaque", "brightness")


@dataclass(frozen=True)
class Feature:
    """One thing watched: how far it moved and, in words, from where to where."""

    name: str
    psi: float | None
    change: Change
    before: str
    now: str


@dataclass(frozen=True)
class Drift:
    """All that is watched, against the reference."""

    features: tuple[Feature, ...]
    reference_scans: int
    reference_until: date | None
    recent_scans: int
    recent_from: date

    @property
    def alarms(self) -> tuple[Feature, ...]:
        """What changed plainly, the furthest first."""
        changed = [feature for feature in self.features if feature.change == "changed"]
        return tuple(sorted(changed, key=lambda one: -(one.psi or 0)))

    def table(self) -> Table:
        """One row a feature."""
        rows = tuple((one.name, one.psi, one.change, one.before, one.now) for one in self.features)
        return Table("drift", ("feature", "stability index", "verdict", "at the beginning", "now"), rows)


def read(db: Database, today: date, scanner: str | None = None) -> Drift:
    """The last seven days, or as many of them as came after the reference, against the reference."""
    before, until = daily_sums.first_days(db, scanner, REFERENCE_SCANS)
    since = today - timedelta(days=RECENT_DAYS - 1)
    if until is not None:
        since = max(since, until + timedelta(days=1))  # scans compared with themselves are always stable
    recent = daily_sums.read(db, since, today) if since <= today else []
    now = daily_sums.total(part for _, name, _, part in recent if scanner is None or name == scanner)
    return Drift(features_of(before, now), before.scans, until, now.scans, since)


def features_of(before: Figures, now: Figures) -> tuple[Feature, ...]:
    """How far each thing watched has moved between two sums."""
    return tuple(_compare(name, *counts_of(name, before, now)) for name in (*LOOKS, "labels"))


def counts_of(name: str, before: Figures, now: Figures) -> tuple[Counts, Counts, int, int]:
    """The counts of one feature by bin or label, before and now, and of how many scans each."""
    if name == "labels":
        return before.labels, now.labels, before.scans, now.scans
    old, new = _bins(name, before), _bins(name, now)
    return old, new, int(sum(old.values())), int(sum(new.values()))


def stability(before: Counts, now: Counts) -> float:
    """The population stability index of two distributions, less what chance alone gives; 0 or more."""
    keys = sorted({*before, *now})
    n, m = sum(before.values()), sum(now.values())
    if len(keys) < 2 or not n or not m:
        return 0.0
    total = 0.0
    for key in keys:
        p = (before.get(key, 0) + FLOOR) / (n + FLOOR * len(keys))
        q = (now.get(key, 0) + FLOOR) / (m + FLOOR * len(keys))
        total += (q - p) * log(q / p)
    return max(total - (len(keys) - 1) * (1 / n + 1 / m), 0.0)


def _bins(name: str, sums: Figures) -> Counts:
    return {key.split("|")[1]: n for key, n in sums.looks.items() if key.split("|")[0] == name}


def _compare(name: str, before: Counts, now: Counts, n: int, m: int) -> Feature:
    shown = (_typical(name, before), _typical(name, now))
    if min(n, m) < LEAST_SCANS:
        return Feature(NAMES[name], None, "too few scans", *shown)
    psi = stability(before, now)
    change: Change = "changed" if psi > ALARM else "shifting" if psi > NOTICE else "stable"
    return Feature(NAMES[name], round(psi, 3), change, *shown)


def _typical(name: str, counts: Counts) -> str:
    """Where the middle half lies, in words; of labels, the commonest three."""
    n = sum(counts.values())
    if not n:
        return "–"
    if name == "labels":
        common = sorted(counts, key=lambda label: (-counts[label], label))[:3]
        return ", ".join(f"{label} {counts[label] / n:.0%}" for label in common)
    low, high = _quantile(counts, 0.25), _quantile(counts, 0.75)
    edges = LOOKS[name]
    bottom = edges[low - 1] if low else 0.0
    if high >= len(edges):
        return f"half of them over {_value(name, bottom)}"
    return f"half of them {_value(name, bottom)} to {_value(name, edges[high])}"


def _quantile(counts: Counts, share: float) -> int:
    left = share * sum(counts.values())
    bins = sorted(int(key) for key in counts)
    for number in bins:
        left -= counts[str(number)]
        if left <= 0:
            return number
    return bins[-1]


def _value(name: str, value: float) -> str:
    return f"{value:.0%}" if name in SHARES else f"{value:g} px" if name == "side" else f"{value:g}"
