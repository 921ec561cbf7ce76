"""Taking a scan in, for API, desk and import alike: read, analyse, store.

What comes afterwards, a test image beside the scan, is `tip.TipMaker.maybe`: nobody waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from xray_app.analysis import Analyser, facts_of
from xray_app.risk import agree
from xray_app.scan.appearance import appearance_of
from xray_app.scan.read import Limits, Scan, read_scans
from xray_app.store import analyses, recent
from xray_app.store.database import Database
from xray_app.store.insights import validated_drift
from xray_app.store.tip import Truth
from xray_app.taxonomy import SiteRules
from xray_app.types import (
    NOT_ANALYSED,
    Analysis,
    DetectorFacts,
    ModelFacts,
    Report,
    Risk,
    Timings,
    VlmFacts,
)

RESENT_WITHIN = timedelta(minutes=30)
"""A browser that lost its connection sends the same files again within this time."""


@dataclass(frozen=True)
class Intake:
    """Takes scans in at one desk.

    Attributes:
        db: keeps them.
        analyser: both models.
        limits: bytes and pixels a scan may have.
    """

    db: Database
    analyser: Analyser
    limits: Limits

    def read(
        self,
        content: bytes,
        filename: str,
        *,
        bag_id: str | None = None,
        view: str | None = None,
        scanner_id: str | None = None,
    ) -> list[Scan]:
        """The scan of a file, or all views of a DICOM file, within the site's limits.

        Raises:
            BadScan, ScanTooLarge, BadInput: as `read_scans`.
        """
        return read_scans(content, filename, self.limits, bag_id=bag_id, view=view, scanner_id=scanner_id)

    def take_in(
        self,
        scans: Sequence[Scan],
        username: str,
        *,
        blind: Callable[[], bool] = lambda: False,
        truth: Truth | None = None,
        drawn: Callable[[], bool] | None = None,
        resent: bool = False,
    ) -> list[Analysis]:
        """Analyses scans and stores them with their analyses, all or none; gives the analyses in their order.

        Args:
            scans: of one file; each a view of the bag.
            username: whose queue they join.
            blind: draws whether their prediction stays hidden until somebody decides; asked when one is stored.
            truth: of a test image; None: real scans.
            drawn: draws whether a bag is searched by hand by lot; None: it did not just come in, as in an import.
            resent: the file is sent again; a scan that came in the first time is not analysed and stored anew.

        Raises:
            Busy, BadModel, OutOfMemory, ModelUnavailable: as `Analyser.analyse`; nothing is stored.
            StorageFailed: disk full or read-only; nothing is stored.
        """
        found: list[Analysis] = []
        new: list[analyses.NewView] = []
        for scan in scans:
            before = self._came_before(scan, username) if resent else None
            analysis = before or self.analyser.analyse(scan)
            # The first sending may still have been read when this one came.
            before = before or (self._came_before(scan, username) if resent else None)
            found.append(before or analysis)
            if before is None:
                new.append(analyses.NewView(analysis, scan.content, scan.media_type, appearance_of(scan.image)))
        if new:
            analyses.save_views(self.db, new, username, blind=blind(), truth=truth, drawn=drawn() if drawn else None)
        if drawn is not None:
            for one in new:
                validated_drift.look(self.db, one.analysis)
        return found

    def _came_before(self, scan: Scan, username: str) -> Analysis | None:
        """What this person had analysed of the same bytes and bag a moment ago, and has not decided yet."""
        waiting = recent.of_user(self.db, username, datetime.now(UTC) - RESENT_WITHIN, limit=500).waiting
        sent = (scan.sha256, scan.bag_id, scan.view, scan.scanner_id)
        for one in reversed(waiting):
            facts = one.analysis.scan
            if (facts.sha256, facts.bag_id, facts.view, facts.scanner_id) == sent:
                return one.analysis
        return None


def keep_unanalysed(db: Database, scan: Scan, rules: SiteRules, username: str) -> Analysis:
    """Stores a scan for its labels alone: no model looks at it, so that its analysis names nothing and clears nothing.

    Args:
        db: keeps it.
        scan: to be kept.
        rules: this site's classes and policy.
        username: who brings the labels.

    Raises:
        StorageFailed: disk full or read-only; nothing is stored.
    """
    report = Report(items=(), text="", complete=False)
    analysis = Analysis(
        id=uuid4().hex,
        created_at=datetime.now(UTC),
        scan=facts_of(scan),
        report=report,
        risk=Risk(level="MEDIUM", reason="no model has analysed this scan", action="REVIEW", policy=rules.policy.name),
        boxes=(),
        agreement=agree(report, (), rules.policy),
        opaque_fraction=scan.opaque_fraction,
        models=ModelFacts(vlm=VlmFacts(name=NOT_ANALYSED), detector=DetectorFacts(name=NOT_ANALYSED, sha256="")),
        taxonomy_sha256=rules.taxonomy.sha256,
        timings_ms=Timings(vlm=0, detector=0, total=0),
    )
    view = analyses.NewView(analysis, scan.content, scan.media_type, appearance_of(scan.image))
    return analyses.save_views(db, [view], username)[0]
