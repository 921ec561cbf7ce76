"""The site's held-out bags and what the models in use say of them: what an operating point is set on."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from training.data.samples import usable
from training.evaluation.operating_point import HeldOut
from training.evaluation.threat_score import BagEvidence
from xray_app.store import operating_points
from xray_app.store.database import Database
from xray_app.taxonomy import Taxonomy, prohibited_labels


@dataclass(frozen=True)
class SiteBags:
    """Held-out labelled bags of a scanner.

    Attributes:
        scored: those of which the models in use have seen every view.
        unscored: ids of the scans they have not seen yet.
        unknown: bags left out because not every prohibited class was looked for, and none was found.
    """

    scored: HeldOut
    unscored: tuple[str, ...]
    unknown: int


def site_bags(db: Database, taxonomy: Taxonomy, pair: str, scanner_id: str | None) -> SiteBags:
    """Gathers them from the accepted corrections of the hold-out, which nothing was trained on.

    Args:
        db: the desk's store.
        taxonomy: says what is prohibited.
        pair: of models, see `xray_app.threat_score.pair_key`.
        scanner_id: of this scanner alone; None: of all.
    """
    prohibited = set(prohibited_labels(taxonomy))
    found: dict[str, set[str]] = defaultdict(set)
    sought_all: dict[str, bool] = defaultdict(lambda: True)
    scans: dict[str, set[str]] = defaultdict(set)
    scanner: dict[str, str] = {}
    for analysis, correction in usable(db):
        bag = analysis.scan.bag_id
        if correction.split != "holdout" or (scanner_id is not None and analysis.scan.scanner_id != scanner_id):
            continue
        scope = None if correction.labelled_classes is None else set(taxonomy.scope(correction.labelled_classes) or ())
        labels = {taxonomy.resolve(label).name for label in correction.counts}
        found[bag] |= labels & prohibited
        sought_all[bag] &= scope is None or prohibited <= scope
        scans[bag].add(analysis.scan.id)
        scanner[bag] = analysis.scan.scanner_id or ""
    known = sorted(bag for bag in scans if found[bag] or sought_all[bag])
    said = operating_points.evidence(db, pair, (scan for bag in known for scan in scans[bag]))
    scored = [bag for bag in known if scans[bag] <= said.keys()]
    by_model = {
        name: np.array([max(said[scan][place] for scan in scans[bag]) for bag in scored], float)
        for place, name in enumerate(("vlm", "detector"))
    }
    evidence = BagEvidence(
        np.array([bool(found[bag]) for bag in scored], bool), by_model, tuple(scanner[bag] for bag in scored)
    )
    return SiteBags(
        HeldOut(tuple(scored), evidence, tuple(frozenset(found[bag]) for bag in scored)),
        tuple(sorted({scan for bag in known for scan in scans[bag] if scan not in said})),
        len(scans) - len(known),
    )
