"""A site from end to end: from "not validated" to advice to clear, and its withdrawal when it stops being true.

    python -m tests.benchmarks.site [--tiny] [--out FOLDER]

Beside other work set OMP_NUM_THREADS=1: threads waiting for each other cost six times the CPU. Half an hour of a core.

Two scanners, `A` and `B`, each of its own palettes; bags of known truth; the bundled models, named as a folder and a
file as a site names its own. By script: A's bags are labelled and a threshold set, a campaign is opened and its bags
labelled by two people, test images among them, and it is signed. Further bags of both then show what is advised; and
at last A takes the palettes of B and holds nothing but thin threats, with test images in twenty.

The last line is one JSON object. `promised_lower` is what the signed evidence says of recall at least, `recall` what it
was over `further_threats` further bags; `clear_elsewhere` counts advice to clear on B. `told_after` are the bags of A
after the shift, and `known_after` the threats of known truth among them, until the validation was `withdrawn`, and by
what. `kept`, by the wanted share: in how many draws the threshold set on some bags found it among the threats of
`further` ones, all drawn anew from one pool of scored bags. `ece` and `brier_skill` of the calibrated score are of
those; the skill is over the rule that knows the palette alone. `fall_told_after`: threats of known truth until the
watch tells a fall of recall from 0.95 to 0.80; `false_by_recall_a_year` and `false_by_drift_a_year`: withdrawals in a
year in which recall is 0.95 and the scans stay as they are.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path

from tests.benchmarks.site_promises import Pool, drift_figures, promises, watch_figures
from xray_app import auth
from xray_app.correction.revision import split_of
from xray_app.operating import OperatingPointIn, set_operating_point
from xray_app.services import Services
from xray_app.settings import BUNDLED_DETECTOR, BUNDLED_VLM, Settings
from xray_app.simulate.scanner import STYLES
from xray_app.simulate.scene import Simulated, choose_items, simulate_scan
from xray_app.store import corrections
from xray_app.store.tip import Truth
from xray_app.taxonomy import prohibited_labels
from xray_app.types import Analysis, CorrectionIn, ItemCount, Role
from xray_app.validating import CampaignIn, all_validations, open_campaign, sign, status
from xray_app.validation import ValidationStatus
from xray_app.wiring import wire

SEED = 20_261_129
NAMES = [style.name for style in STYLES]
PALETTES = {"A": frozenset(NAMES[: len(NAMES) // 2]), "B": frozenset(NAMES[len(NAMES) // 2 :])}
MOST_SHIFTED = 2000
ITEMS, THREAT_RATE = (1, 8), 0.5
WANTED = (0.90, 0.95)
THIN = frozenset({"knife", "scissors", "screwdriver", "razor blade"})
"""What the shifted scanner's bags hold."""


@dataclass(frozen=True)
class Sizes:
    """How much is done: bags of each kind, and the wanted detection of the threshold."""

    held_out: int
    recall: float
    campaign: int
    further: int
    pool: int
    draws: int
    years: int
    campaigns: int


@dataclass
class Advised:
    """What was advised of bags: threats, threats to be searched, bags to be cleared, and threats to be cleared."""

    threats: int = 0
    found: int = 0
    cleared: int = 0
    cleared_threats: int = 0


FULL = Sizes(held_out=320, recall=0.97, campaign=400, further=400, pool=3000, draws=200, years=400, campaigns=20)
TINY = Sizes(held_out=120, recall=0.95, campaign=200, further=40, pool=300, draws=5, years=20, campaigns=1)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--tiny", action="store_true")
    asked.add_argument("--out", type=Path, help="keeps the scored pool, so that another run needs not score it anew")
    options = asked.parse_args()
    sizes = TINY if options.tiny else FULL
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        out = options.out or folder
        out.mkdir(parents=True, exist_ok=True)
        found: dict[str, object] = {}
        with desk_of(folder) as services:
            site = SimulatedSite(services, sizes)
            found |= site.through_its_life()
            pool = Pool.scored(services.analyser, site.threats, site.bags("A"), sizes.pool, out / "pool.json")
        found |= promises(pool, sizes.held_out, WANTED, sizes.draws, SEED)
        found |= watch_figures(sizes.years, SEED) | drift_figures(pool, sizes.campaigns, SEED)
    print(json.dumps(found))


@contextmanager
def desk_of(folder: Path) -> Iterator[Services]:
    """A desk with the bundled models, under other names: it takes them for a site's own."""
    vlm = Path(shutil.copytree(BUNDLED_VLM, folder / "vlm"))
    detector = Path(shutil.copy(BUNDLED_DETECTOR, folder / "site.onnx"))
    settings = Settings(
        _env_file=None, data_dir=folder / "data", vlm=str(vlm), detector=str(detector), admin_password="site of its own"
    )  # type: ignore[call-arg]
    services = wire(settings)
    for name, role in (("eye", Role.ANALYST), ("second", Role.ANNOTATOR)):
        auth.add_user(services.db, name, "site of its own", role)
    yield services
    services.db.close()


class SimulatedSite:
    """The site and its life; every bag is drawn once."""

    def __init__(self, services: Services, sizes: Sizes) -> None:
        self.services, self.sizes = services, sizes
        self.threats = set(prohibited_labels(services.taxonomy))
        self._seeds, self._names = count(SEED), count()

    def bags(self, scanner: str | None = None, threat: bool | None = None, thin: bool = False) -> Iterator[Simulated]:
        """Further bags, of a scanner's palettes or all; with a threat or without; thin: of threats thin ones alone."""
        for seed in self._seeds:
            # What the simulator draws first, so that no bag is rendered in vain.
            draws = random.Random(seed)
            held = set(choose_items(draws, self.services.taxonomy, ITEMS, THREAT_RATE)) & self.threats
            if scanner is not None and draws.choice(STYLES).name not in PALETTES[scanner]:
                continue
            if (threat is None or bool(held) is threat) and (not thin or not held or held <= THIN):
                yield simulate_scan(seed, self.services.taxonomy, items=ITEMS, threat_rate=THREAT_RATE)

    def take_in(self, bag: Simulated, scanner: str, *, held_out: bool = False, test: bool = False) -> Analysis:
        """A bag comes in at a scanner, as a real one or as a test image."""
        name = next(one for one in (f"bag{n}" for n in self._names) if not held_out or split_of(one) == "holdout")
        file = io.BytesIO()
        bag.image.save(file, "PNG")
        intake = self.services.intake
        (scan,) = intake.read(file.getvalue(), f"{name}.png", bag_id=name, scanner_id=scanner)
        threats = [(label, box) for label, box in bag.boxes if label in self.threats]
        truth = None
        if test:
            label, box = threats[0] if threats else (None, None)
            truth = Truth(label=label, xyxy=box)
        drawn = self.services.test_images.draw_control
        return intake.take_in([scan], "eye", drawn=None if held_out else drawn, truth=truth)[0]

    def label(self, analysis: Analysis, bag: Simulated, twice: bool) -> None:
        """What is in a bag, said by one person or by two."""
        labels = [label for label, _ in bag.boxes]
        items = tuple(ItemCount(label=label, count=labels.count(label)) for label in dict.fromkeys(labels))
        said = CorrectionIn(items=items, boxes=())
        one = corrections.add(self.services.db, analysis.id, said, "eye", self.services.taxonomy, False)
        if twice:
            corrections.review(self.services.db, one.id, "accepted", None, "second")

    def through_its_life(self) -> dict[str, object]:
        """From the first labelled bag to the withdrawal."""
        before = self.advised("A", 10)
        self.threshold()
        validation = self.validate()
        further = {scanner: self.advised(scanner, self.sizes.further) for scanner in ("A", "B")}
        shifted = self.shift()
        threats, found = further["A"].threats, further["A"].found
        return {
            "validated_scanners": [one.validation.scanner_id for one in validation],
            "clear_before": before.cleared,
            "clear_there": further["A"].cleared,
            "clear_elsewhere": further["B"].cleared,
            "cleared_threats": further["A"].cleared_threats,
            "promised_lower": round(validation[0].validation.evidence.recall_low or 0.0, 4),
            "recall": round(found / threats, 4),
            "further_threats": threats,
            **shifted,
        }

    def threshold(self) -> None:
        """Held-out bags of A are labelled, and a threshold is set on them."""
        for threat in (True, False):
            for bag in islice(self.bags("A", threat), self.sizes.held_out // 2):
                self.label(self.take_in(bag, "A", held_out=True), bag, twice=False)
        asked = OperatingPointIn(scanner_id="A", recall=self.sizes.recall)
        set_operating_point(self.services, asked, "admin", "held-out bags of A")

    def validate(self) -> tuple[ValidationStatus, ...]:
        """A campaign on A, three in ten of its bags test images with a threat; signed if it can be."""
        ends = datetime.now(UTC) + timedelta(days=30)
        asked = CampaignIn(scanner_id="A", bags=self.sizes.campaign, test_share=0.3, ends_at=ends)
        campaign = open_campaign(self.services, asked, "admin", "the site is ready")
        tests = round(0.3 * self.sizes.campaign)
        for bag in islice(self.bags("A", threat=True), tests):
            self.take_in(bag, "A", test=True)
        for bag in islice(self.bags("A"), self.sizes.campaign - tests):
            self.label(self.take_in(bag, "A"), bag, twice=True)
        print(status(self.services, campaign.id).model_dump_json(), flush=True)
        sign(self.services, campaign.id, "admin", "all labelled by two")
        return all_validations(self.services).signed

    def advised(self, scanner: str, bags: int) -> Advised:
        """What is advised of further bags of a scanner."""
        found = Advised()
        for bag in islice(self.bags(scanner), bags):
            risk = self.take_in(bag, scanner).risk
            threat = not bag.clear
            found.threats += threat
            found.found += threat and risk.level == "HIGH"
            found.cleared += risk.action == "CLEAR"
            found.cleared_threats += threat and risk.action == "CLEAR"
        return found

    def shift(self) -> dict[str, object]:
        """A's scans get the palettes of B, and of threats thin ones alone; until the validation is gone."""
        known = 0
        for told, bag in enumerate(self.bags("B", thin=True)):
            if gone := all_validations(self.services).withdrawn:
                return {
                    "withdrawn": gone[0].by == "policy", "why": gone[0].reason, "told_after": told,
                    "known_after": known, "clear_afterwards": self.advised("A", 40).cleared,
                }  # fmt: skip
            if told == MOST_SHIFTED:
                break
            test = told % 20 == 0 and not bag.clear
            known += test
            self.take_in(bag, "A", test=test)
        return {"withdrawn": False, "why": "", "told_after": MOST_SHIFTED, "known_after": known}


if __name__ == "__main__":
    main()
