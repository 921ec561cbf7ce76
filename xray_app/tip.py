"""Threat image projection at the desk: test images of known truth between real scans.

The bag is a scan of this site that is known to be clear, mirrored and a little lighter or darker, so that nobody
knows it again; into every second one a threat is laid, cut from an accepted correction. Where the store has none of
either, both are simulated. Everything is drawn from the operating system's own source of chance: neither a browser
nor whoever knows the code can tell which scan will be one.
"""

from __future__ import annotations

import io
import logging
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

from PIL import Image, ImageOps

from xray_app.errors import BadInput, DeskError
from xray_app.scan.read import Limits, Scan, read_scan, read_scans
from xray_app.simulate.projection import Threat, cut, project
from xray_app.simulate.scene import Simulated, simulate_scan
from xray_app.store import analyses, campaigns, scans, tip, validations
from xray_app.store.database import Database
from xray_app.store.tip import SIMULATED, Truth
from xray_app.taxonomy import Taxonomy
from xray_app.types import XYXY, Analysis, Status

logger = logging.getLogger(__name__)

CHANCE = random.SystemRandom()
THREAT_SHARE = 0.5
"""Of the test images; the others are clear bags, without which nobody's false alarms would be known."""
ATTEMPTS = 12
"""Cuts and places tried before a simulated one is taken."""
ITEMS = (3, 8)
SHADES = (0.94, 1.06)
_FORMATS: dict[str, dict[str, Any]] = {
    "image/jpeg": {"format": "JPEG", "quality": 92},
    "image/webp": {"format": "WEBP", "quality": 92},
    "image/bmp": {"format": "BMP"},
    "image/tiff": {"format": "TIFF"},
}


class TakeIn(Protocol):
    """Analyses scans and stores them, as `Intake.take_in`."""

    def __call__(
        self, scans: Sequence[Scan], username: str, *, blind: Callable[[], bool], truth: Truth | None
    ) -> Sequence[Analysis]: ...


@dataclass(frozen=True)
class TipMaker:
    """Makes test images for the people of one desk.

    Attributes:
        db: gives clear scans and threats, and keeps the test images.
        take_in: as `Intake.take_in`: analyses and stores them as any scan.
        taxonomy: says what a threat is.
        limits: of an upload.
        share: of all scans a person sees, 0 to 0.5; an open campaign may ask for more.
        blind_share: the share of bags whose prediction is hidden, 0 to 1.
        control_share: the share of bags to be searched by hand by lot, 0 to 1.
        chance: draws.
    """

    db: Database
    take_in: TakeIn
    taxonomy: Taxonomy
    limits: Limits
    share: float
    blind_share: float
    control_share: float = 0.0
    chance: random.Random = CHANCE

    def draw_blind(self) -> bool:
        """Whether the next bag is to be decided blind."""
        return self.chance.random() < self.blind_share

    def draw_control(self) -> bool:
        """Whether the next bag is to be searched by hand, whatever the models say of it."""
        return self.chance.random() < self.control_share

    def maybe(self, like: Scan, username: str) -> Analysis | None:
        """After a real scan: now and then a test image joins this person's queue. Never fails.

        Args:
            like: the real scan; the test image looks to come from the same source.
            username: whose queue.
        """
        share = max(self.share, campaigns.test_share(self.db, like.scanner_id))
        # So many after each real one that they are `share` of all.
        if share <= 0 or self.chance.random() >= share / (1 - share):
            return None
        try:
            return self.make(like, username)
        except Exception:
            # A real scan has just been analysed: whatever is wrong with a test image is no reason to say it was not.
            logger.exception("no test image could be made")
            return None

    def make(self, like: Scan, username: str) -> Analysis:
        """A test image, analysed and stored.

        Raises:
            BadInput: no picture could be made.
            Busy, BadModel, ModelUnavailable: as `Analyser.analyse`.
            StorageFailed: disk full or read-only.
        """
        picture, truth = self._picture(username, validations.gathers_truth(self.db, like.scanner_id))
        content = _bytes(picture, like.media_type)
        scan = read_scan(
            content, self._as_if(like.filename) or self._numbered(like.filename), self.limits,
            bag_id=self._bag(like), view=like.view, scanner_id=like.scanner_id,
        )  # fmt: skip
        if analyses.of_bag(self.db, scan.bag_id, with_hidden=True):
            raise BadInput("The test image's bag is known already.")
        return self.take_in([scan], username, blind=self.draw_blind, truth=truth)[0]

    # --- the picture --------------------------------------------------------------------------------------

    def _picture(self, username: str, held_out: bool) -> tuple[Image.Image, Truth]:
        """`held_out`: the models are judged by it too, so nothing of it may have trained them."""
        hosts = tip.clear_scans(self.db, username, held_out)
        self.chance.shuffle(hosts)
        threat = self.chance.random() < THREAT_SHARE
        for host in hosts[:ATTEMPTS]:
            made = self._with(self._disguised(self._open(host)), host, threat, held_out)
            if made is not None:
                return made
        for bag in islice(self._harmless_bags(), ATTEMPTS):
            made = self._with(bag.image, SIMULATED, threat, held_out, bag.style)
            if made is not None:
                return made
        raise BadInput("No threat could be laid into a clear scan.")

    def _harmless_bags(self) -> Iterator[Simulated]:
        """Simulated bags; only about one in three drawn holds nothing restricted, so that many more are drawn."""
        for _ in range(20 * ATTEMPTS):
            bag = simulate_scan(self.chance.getrandbits(32), self.taxonomy, items=ITEMS, threat_rate=0)
            if all(self.taxonomy.resolve(label).status is Status.ALLOWED for label, _ in bag.boxes):
                yield bag

    def _with(
        self, bag: Image.Image | None, host: str, threat: bool, held_out: bool, style: str | None = None
    ) -> tuple[Image.Image, Truth] | None:
        if bag is None:
            return None
        if not threat:
            return bag, Truth(host=host)
        for cutting, source in self._threats(host, held_out, style):
            done = project(bag, cutting, self.chance)
            if done is not None:
                return done.image, Truth(label=done.label, xyxy=done.xyxy, host=host, cut_from=source)
        return None

    def _threats(self, host: str, held_out: bool, style: str | None) -> Iterator[tuple[Threat, str]]:
        """Cuts and where they are from; into a simulated bag goes nothing but what has its colours."""
        for source, label, xyxy in self._threat_boxes(held_out) if host != SIMULATED else ():
            image = self._open(source)
            found = cut(image, xyxy, label) if image is not None else None
            if found is not None:
                yield found, source
        for _ in range(5 * ATTEMPTS):
            scan = simulate_scan(self.chance.getrandbits(32), self.taxonomy, items=(1, 1), threat_rate=1)
            label, box = scan.boxes[0]
            if style in (None, scan.style) and self.taxonomy.resolve(label).status is Status.PROHIBITED:
                found = cut(scan.image, box, label)
                if found is not None:
                    yield found, SIMULATED

    def _threat_boxes(self, held_out: bool) -> Sequence[tuple[str, str, XYXY]]:
        """Some boxes of threats; classes come as often as each other, however often they were labelled."""
        names = [name for name in self.taxonomy.names if self.taxonomy.resolve(name).status is Status.PROHIBITED]
        by_label: dict[str, list[tuple[str, str, XYXY]]] = {}
        for box in tip.threat_boxes(self.db, names, held_out):
            by_label.setdefault(box[1], []).append(box)
        labels = list(by_label)
        return [self.chance.choice(by_label[self.chance.choice(labels)]) for _ in range(ATTEMPTS)] if labels else []

    def _open(self, scan_id: str) -> Image.Image | None:
        try:
            path, _ = scans.scan_path(self.db, scan_id)
            return read_scans(path.read_bytes(), path.name, self.limits)[0].image
        except (DeskError, OSError) as error:
            logger.warning("scan %s cannot be used for a test image: %s", scan_id[:12], error)
            return None

    def _disguised(self, image: Image.Image | None) -> Image.Image | None:
        if image is None:
            return None
        shade = self.chance.uniform(*SHADES)
        return ImageOps.mirror(image).point([min(255, round(255 * (value / 255) ** shade)) for value in range(256)] * 3)

    # --- what else would give it away -----------------------------------------------------------------------

    def _as_if(self, name: str) -> str | None:
        """A name of the same form with other digits; None where it has none."""
        digits = re.compile(r"\d")
        if not digits.search(name):
            return None
        return digits.sub(lambda _: str(self.chance.randrange(10)), name)

    def _numbered(self, name: str) -> str:
        """Two scans of one name beside each other would ask to be compared."""
        stem, dot, ending = name.rpartition(".")
        number = self.chance.randrange(2, 10)
        return f"{stem}-{number}.{ending}" if dot else f"{name}-{number}"

    def _bag(self, like: Scan) -> str | None:
        """None where real bags have no names either."""
        if like.bag_id == like.sha256:
            return None
        for _ in range(ATTEMPTS):
            name = self._as_if(like.bag_id)
            if name is None:
                return None
            if not analyses.of_bag(self.db, name, with_hidden=True):
                return name
        return None


def _bytes(picture: Image.Image, media_type: str) -> bytes:
    """The picture in the format real ones come in; what has no such form is PNG."""
    file = io.BytesIO()
    picture.save(file, **_FORMATS.get(media_type, {"format": "PNG"}))
    return file.getvalue()
