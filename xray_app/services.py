"""What the API's and the desk's handlers work with, wired once in `app.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from xray_app.analysis import Analyser
from xray_app.exchange.jobs import Jobs
from xray_app.intake import Intake
from xray_app.scan.decoding import Room
from xray_app.scan.read import Limits
from xray_app.settings import Settings
from xray_app.store.database import Database
from xray_app.store.site_taxonomy import rules_in_force
from xray_app.taxonomy import SiteRules, Taxonomy
from xray_app.tip import TipMaker
from xray_app.types import Run


@dataclass(frozen=True)
class Services:
    """The parts of one running desk.

    Attributes:
        settings: as read at start.
        db: the open database.
        file_rules: the classes of this site's taxonomy file, and the policy profile in force here.
        analyser: both models, loaded once; asks for the active adapter at every scan.
        launch: starts a queued run as a detached process, or leaves it queued behind another.
        jobs: exports and imports at work in this process.
        decoding: memory for decoded pictures, which all doors share.
    """

    settings: Settings
    db: Database
    file_rules: SiteRules
    analyser: Analyser
    launch: Callable[[Run], None]
    jobs: Jobs = field(default_factory=Jobs)
    decoding: Room = field(default_factory=Room)

    @property
    def rules(self) -> SiteRules:
        """The classes of this site by now, those added at the desk among them, and the policy profile in force."""
        return rules_in_force(self.db, self.file_rules)

    @property
    def taxonomy(self) -> Taxonomy:
        """The classes of this site by now."""
        return self.rules.taxonomy

    @property
    def limits(self) -> Limits:
        """Bytes and pixels an upload may have, and the memory its picture shares with the others."""
        return Limits(self.settings.max_upload_bytes, self.settings.max_pixels, self.decoding)

    @property
    def intake(self) -> Intake:
        """Takes scans in."""
        return Intake(self.db, self.analyser, self.limits)

    @property
    def test_images(self) -> TipMaker:
        """Makes test images, and draws which bags are to be decided blind."""
        settings = self.settings
        return TipMaker(
            self.db,
            self.intake.take_in,
            self.taxonomy,
            self.limits,
            settings.test_image_share,
            settings.blind_share,
            settings.control_search_share,
        )
