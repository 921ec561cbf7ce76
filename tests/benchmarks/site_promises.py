"""What the site benchmark asks of evidence alone: whether promises are kept, and how often a good one is withdrawn."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from training.evaluation.bootstrap import calibration_error
from training.evaluation.operating_point import HeldOut, operating_point
from training.evaluation.threat_score import BagEvidence, binned, brier_skill, group_rates, probabilities
from xray_app.analysis import BATCH, Analyser
from xray_app.scan.appearance import appearance_of
from xray_app.scan.read import Limits, Scan, read_scan
from xray_app.simulate.scene import Simulated
from xray_app.store import known_truths
from xray_app.store.fact_tables import AppearanceRow
from xray_app.store.insights import validated_drift
from xray_app.store.insights.daily_sums import LOOKS, Figures, bins_of
from xray_app.threat_score import Calibration
from xray_app.types import Analysis

CAMPAIGN = 200
"""Bags that are compared with: the fewest that can be validated."""


@dataclass(frozen=True)
class Pool:
    """Scored bags: what both models say most surely of a threat in each, whether there is one, and of which palette."""

    evidence: BagEvidence
    labels: tuple[frozenset[str], ...]
    looks: tuple[tuple[str, ...], ...]

    @classmethod
    def scored(cls, analyser: Analyser, threats: set[str], bags: Iterator[Simulated], n: int, file: Path) -> Pool:
        """Scores `n` bags, a batch at a time; what is in the file is not scored again."""
        kept = json.loads(file.read_text()) if file.is_file() else []
        while len(kept) < n:
            batch = list(islice(bags, min(BATCH, n - len(kept))))
            scans = [_read(bag) for bag in batch]
            answers = zip(batch, scans, analyser.analyse_together(scans), strict=True)
            kept += [_row(bag, scan, analysis, threats) for bag, scan, analysis in answers]
            file.write_text(json.dumps(kept))
        file.write_text(json.dumps(kept))
        kept = kept[:n]
        evidence = BagEvidence(
            np.array([bool(one["labels"]) for one in kept]),
            {name: np.array([one[name] for one in kept], float) for name in ("vlm", "detector")},
            tuple(one["style"] for one in kept),
        )
        looks = tuple((*one["looks"], *(f"labels|{label}" for label in one["named"])) for one in kept)
        return cls(evidence, tuple(frozenset(one["labels"]) for one in kept), looks)

    def rows(self, chosen: np.ndarray) -> HeldOut:
        """Bags of the pool, by place."""
        mask = np.zeros(len(self.labels), bool)
        mask[chosen] = True
        places = np.flatnonzero(mask)
        return HeldOut(
            tuple(f"bag{place}" for place in places),
            self.evidence.rows(mask),
            tuple(self.labels[place] for place in places),
        )


def _read(bag: Simulated) -> Scan:
    content = io.BytesIO()
    bag.image.save(content, "PNG")
    return read_scan(content.getvalue(), "bag.png", Limits(2**25, 5 * 10**7))


def _row(bag: Simulated, scan: Scan, analysis: Analysis, threats: set[str]) -> dict[str, Any]:
    look, evidence = appearance_of(scan.image), analysis.score_evidence
    row = AppearanceRow(
        scan_id="", organic=look.organic, mixed=look.mixed, metal=look.metal, brightness=look.brightness
    )
    named = {item.label for item in analysis.report.items} | {box.label for box in analysis.boxes}
    return {
        "vlm": evidence.vlm if evidence else 0.0,
        "detector": evidence.detector if evidence else 0.0,
        "labels": sorted({label for label, _ in bag.boxes} & threats),
        "style": bag.style,
        "looks": bins_of(scan.width, scan.height, analysis.opaque_fraction, row),
        "named": sorted(named),
    }


def promises(pool: Pool, held_out: int, wanted: Sequence[float], draws: int, seed: int) -> dict[str, object]:
    """Sets a threshold on some bags and looks at the further ones, as often as `draws` says, for each wanted share."""
    kept: dict[str, str] = {}
    stopped: dict[str, float] = {}
    told: dict[str, float] = {}
    errors, skills = [], []
    for recall in wanted:
        rng = np.random.Generator(np.random.PCG64(seed))
        held, shown, said = 0, [], []
        for _ in range(draws):
            order = rng.permutation(len(pool.labels))
            known, further = pool.rows(order[:held_out]), pool.rows(order[held_out:])
            point = operating_point(known, recall, 1 - (1 - recall) / 2)
            fitted = Calibration(**{**point["calibration"], "models": tuple(point["calibration"]["models"])})
            scores, threat = probabilities(fitted, further.evidence), further.evidence.threat
            held += point["threshold"] is not None and float((scores >= point["threshold"])[threat].mean()) >= recall
            shown.append(float((scores >= point["threshold"])[~threat].mean()))
            said.append(point["false_alarms"])
            errors.append(calibration_error(binned(scores, threat)).value or 0.0)
            skills.append(brier_skill(scores, threat, group_rates(known.evidence, further.evidence)).value or 0.0)
        name = f"{recall:.2f}"
        kept[name] = f"{held} of {draws}"
        stopped[name], told[name] = round(float(np.mean(shown)), 4), round(float(np.mean(said)), 4)
    return {
        "kept": kept,
        "further": len(pool.labels) - held_out,
        "false_alarms": stopped,
        "false_alarms_told": told,
        "ece": round(float(np.mean(errors)), 4),
        "ece_worst": round(max(errors), 4),
        "brier_skill": round(float(np.mean(skills)), 4),
        "brier_skill_worst": round(min(skills), 4),
    }


def watch_figures(years: int, seed: int) -> dict[str, object]:
    """How soon the watch tells a fall of recall from 0.95 to 0.80, and how often a year it tells one that is none."""
    rng = np.random.Generator(np.random.PCG64(seed))
    told = []
    for _ in range(years):
        watch = known_truths.watch_of(0.95)
        watch = watch.after(rng.random(200) < 0.95)
        before = watch.seen
        while not watch.told:
            watch = watch.after([bool(rng.random() < 0.80)])
        told.append(watch.seen - before)
    false = sum(known_truths.watch_of(0.95).after(rng.random(known_truths.YEAR) < 0.95).told for _ in range(years))
    return {
        "fall_told_after": round(float(np.mean(told)), 1),
        "fall_told_after_worst_in_20": int(np.quantile(told, 0.95)),
        "false_by_recall_a_year": false / years,
    }


def drift_figures(pool: Pool, years: int, seed: int) -> dict[str, object]:
    """How often a year the scans of a scanner that stays as it is are taken for others, by the pool drawn anew.

    A campaign of the fewest bags, then a year of thousand scans a day; looked at as the desk does, every sixteenth.
    """
    rng = np.random.Generator(np.random.PCG64(seed + 1))
    names = sorted({key for one in pool.looks for key in one})
    places = {name: place for place, name in enumerate(names)}
    table = np.zeros((len(pool.looks), len(names)), np.int32)
    for row, keys in enumerate(pool.looks):
        for key in keys:
            table[row, places[key]] += 1

    def figures(rows: np.ndarray) -> Figures:
        sums = dict(zip(names, table[rows].sum(axis=0).tolist(), strict=True))
        looks = {key: n for key, n in sums.items() if key.split("|")[0] in LOOKS}
        labels = {key.split("|")[1]: n for key, n in sums.items() if key.startswith("labels|")}
        return Figures(scans=len(rows), looks=looks, labels=labels)

    false = 0
    looks = validated_drift.YEAR // validated_drift.RECENT  # windows that share no scan
    for _ in range(years):
        before = figures(rng.integers(len(table), size=CAMPAIGN))
        for _ in range(looks):
            now = figures(rng.integers(len(table), size=validated_drift.RECENT))
            if validated_drift.changed(before, now):
                false += 1
                break
    return {"false_by_drift_a_year": false / years, "drift_looks_a_year": looks}
