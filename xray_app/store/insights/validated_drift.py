"""Whether the scans of a validated scanner still look like those of its campaign; else its validation is withdrawn.

Compared are the newest scans with the campaign's own, feature by feature as in `drift`. One counts as changed where its
stability index says so and chance alone would hardly do it: a chi-square test of the bins of both (K. Pearson, 1900),
at a level that a year of looking at every feature leaves under `ERROR` in all.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from xray_app.errors import NotFound
from xray_app.store import validations
from xray_app.store.database import Database
from xray_app.store.fact_tables import AppearanceRow, FactsRow, LabelFactRow
from xray_app.store.insights import drift
from xray_app.store.insights.daily_sums import Counts, Figures, bins_of
from xray_app.store.insights.drift import Feature
from xray_app.store.tables import ScanRow
from xray_app.store.validation_tables import CampaignBagRow
from xray_app.types import NOT_ANALYSED, POLICY, Analysis
from xray_app.validation import Validation

logger = logging.getLogger(__name__)

RECENT = 200
"""Newest scans that are compared."""
ONE_IN = 16
"""Scans of which one leads to a look, by a hash of its id."""
YEAR = 1000 * 365
"""Scans a year, over which the error is stated."""
ERROR = 0.02
LOOKS_A_YEAR = 4 * YEAR / RECENT
"""Windows overlap: a look at every sixteenth scan counts for no more than four at new ones."""
LEAST_OF_BIN = 10


def look(db: Database, analysis: Analysis) -> None:
    """After a scan of a validated scanner, now and then: withdraws the validation where the scans have changed.

    Never fails: the scan is stored, whatever is wrong with the look.
    """
    evidence, scanner = analysis.score_evidence, analysis.scan.scanner_id
    if evidence is None or scanner is None or hashlib.sha256(analysis.id.encode()).digest()[0] % ONE_IN:
        return
    try:
        with db.read() as session:
            holding = validations.in_force(session, scanner, evidence.rests_on)
        if holding is None:
            return
        if changed := changes(db, holding):
            validations.withdraw(db, holding.id, POLICY, reason(scanner, changed))
    except NotFound:  # withdrawn a moment ago
        return
    except Exception:
        logger.exception("it could not be seen whether the scans of a validated scanner have changed")


def reason(scanner: str, changed: Sequence[Feature]) -> str:
    """Why a validation is withdrawn, in words."""
    told = "; ".join(f"{one.name} was {one.before}, is {one.now}" for one in changed[:3])
    return f"The scans of {scanner} do not look like those of its campaign any more: {told}."


def changes(db: Database, validation: Validation) -> list[Feature]:
    """The features in which the newest scans since a validation differ from its campaign's, the furthest first."""
    bags = select(CampaignBagRow.bag_id).where(CampaignBagRow.campaign_id == validation.campaign_id)
    of_scanner = (FactsRow.scanner_id == validation.scanner_id) & (FactsRow.adapter != NOT_ANALYSED)
    newest = (
        select(FactsRow.id)
        .where(of_scanner, FactsRow.created_at > validation.signed_at)
        .order_by(FactsRow.created_at.desc(), FactsRow.id.desc())
        .limit(RECENT)
    )
    of_campaign = FactsRow.bag_id.in_(bags) & (FactsRow.created_at <= validation.signed_at)
    campaign = select(FactsRow.id).where(of_scanner, of_campaign)
    with db.read() as session:
        recent = list(session.scalars(newest))
        if len(recent) < RECENT:
            return []
        return changed(_figures(session, list(session.scalars(campaign))), _figures(session, recent))


def changed(before: Figures, now: Figures) -> list[Feature]:
    """The features that differ plainly and hardly by chance, the least likely first."""
    level = ERROR / LOOKS_A_YEAR / len(drift.NAMES)
    found = [
        (feature, p)
        for name, feature in zip(drift.NAMES, drift.features_of(before, now), strict=True)
        if feature.change == "changed" and (p := _chance(*drift.counts_of(name, before, now)[:2])) < level
    ]
    return [feature for feature, _ in sorted(found, key=lambda one: one[1])]


def _figures(session: Session, ids: Sequence[str]) -> Figures:
    looks: Counter[str] = Counter()
    query = (
        select(FactsRow.opaque_fraction, ScanRow.width, ScanRow.height, AppearanceRow)
        .join(ScanRow, ScanRow.id == FactsRow.scan_id)
        .outerjoin(AppearanceRow, AppearanceRow.scan_id == FactsRow.scan_id)
    )
    labels: Counter[str] = Counter()
    scans = 0
    for start in range(0, len(ids), 500):
        some = ids[start : start + 500]
        for opaque, width, height, appearance in session.execute(query.where(FactsRow.id.in_(some))):
            scans += 1
            looks.update(bins_of(width, height, opaque, appearance))
        named = (
            select(LabelFactRow.label, func.count())
            .where(LabelFactRow.analysis_id.in_(some), or_(LabelFactRow.by_vlm, LabelFactRow.by_detector))
            .group_by(LabelFactRow.label)
        )
        for label, n in session.execute(named):
            labels[label] += n
    return Figures(scans=scans, looks=dict(looks), labels=dict(labels))


def _chance(before: Counts, now: Counts) -> float:
    """P value of the chi-square test that both counts are of one distribution; rare bins are put together."""
    from scipy.stats import chi2_contingency  # takes a second to import: not at the desk's start

    rows: list[tuple[float, float]] = []
    rare = [0.0, 0.0]
    for key in sorted({*before, *now}):
        pair = (before.get(key, 0.0), now.get(key, 0.0))
        if sum(pair) < LEAST_OF_BIN:
            rare = [rare[0] + pair[0], rare[1] + pair[1]]
        else:
            rows.append(pair)
    if sum(rare):
        rows.append((rare[0], rare[1]))
    if len(rows) < 2:
        return 1.0
    return float(chi2_contingency(list(zip(*rows, strict=True)), correction=False).pvalue)
