"""Test images: of known truth, out of this site's own scans where it has any, and like the scans they stand between."""

from __future__ import annotations

import io
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.ui.scripted import ScriptedDetector, ScriptedVlm
from xray_app.analysis import Analyser
from xray_app.errors import Busy
from xray_app.intake import Intake
from xray_app.scan.read import Limits, Scan, read_scan
from xray_app.simulate.projection import cut
from xray_app.simulate.scene import Simulated, simulate_scan
from xray_app.store import corrections, recent, scans, search, tip
from xray_app.store.database import Database
from xray_app.store.search import Filter
from xray_app.store.tables import AnalysisRow, TrialRow
from xray_app.store.tip import SIMULATED, Truth
from xray_app.taxonomy import Taxonomy
from xray_app.tip import TipMaker
from xray_app.types import Analysis, CorrectionBox, CorrectionIn, ItemCount, Status

LIMITS = Limits(10_000_000, 10_000_000)


@pytest.fixture
def maker(db: Database, taxonomy: Taxonomy) -> TipMaker:
    analyser = Analyser(ScriptedVlm(), ScriptedDetector(), taxonomy.rules())
    return TipMaker(db, Intake(db, analyser, LIMITS).take_in, taxonomy, LIMITS, 0.5, 0.0, chance=random.Random(3))


def scan_of(image: Image.Image, name: str = "lane-0412.jpg", **told: Any) -> Scan:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=92)
    return read_scan(file.getvalue(), name, LIMITS, **told)


@pytest.fixture
def like() -> Scan:
    return scan_of(Image.new("RGB", (300, 200), (240, 200, 90)), scanner_id="lane 3")


def truth_of(db: Database, analysis: Analysis) -> Truth:
    with db.read() as session:
        return Truth.model_validate_json(session.get_one(TrialRow, analysis.id).document)


def picture_of(db: Database, analysis: Analysis) -> Any:
    with Image.open(scans.scan_path(db, analysis.scan.id)[0]) as image:
        return np.asarray(image.convert("RGB"), np.int16)


def test_without_any_scan_of_its_own_a_site_gets_simulated_ones(
    maker: TipMaker, db: Database, taxonomy: Taxonomy, like: Scan
) -> None:
    made = [maker.make(like, "ana") for _ in range(6)]
    truths = [truth_of(db, one) for one in made]
    threats = [truth for truth in truths if truth.label]
    assert 0 < len(threats) < 6, "some hold a threat, some are clear"
    for analysis, truth in zip(made, truths, strict=True):
        assert truth.host == SIMULATED
        assert analysis.scan.scanner_id == "lane 3"
        assert analysis.scan.filename != like.filename
        assert analysis.scan.filename.startswith("lane-")
        assert len(analysis.scan.filename) == len(like.filename)
        assert scans.scan_path(db, analysis.scan.id)[1] == "image/jpeg", "as the real ones come"
    for truth in threats:
        assert truth.xyxy is not None
        assert taxonomy.resolve(str(truth.label)).status is Status.PROHIBITED
    assert search.count(db, Filter()) == 0


def test_a_run_of_bags_with_something_restricted_in_them_is_drawn_past(
    maker: TipMaker, db: Database, like: Scan
) -> None:
    unlucky = replace(maker, chance=random.Random(2629))  # the first seventeen hold a lighter or the like
    truth = truth_of(db, unlucky.make(like, "ana"))
    assert truth.host == SIMULATED
    assert truth.label is None


def test_threats_and_bags_come_from_accepted_corrections(
    maker: TipMaker, db: Database, taxonomy: Taxonomy, like: Scan
) -> None:
    bag = _simulated(taxonomy, lambda one: len(one.boxes) > 4 and _harmless(one, taxonomy), (5, 8), 0)
    threat = _simulated(taxonomy, lambda one: cut(one.image, one.boxes[0][1], one.boxes[0][0]) is not None, (1, 1), 1)
    clear_id, threat_id = (_corrected(maker, db, taxonomy, one) for one in (bag, threat))
    assert tip.clear_scans(db, "ana") == [clear_id]
    another = _simulated(taxonomy, lambda one: _harmless(one, taxonomy), (2, 3), 0)
    pending = _corrected(maker, db, taxonomy, another, review_required=True)
    assert pending not in tip.clear_scans(db, "ana"), "nobody has accepted it"

    made = next(one for one in (maker.make(like, f"user {n}") for n in range(20)) if truth_of(db, one).label)
    truth = truth_of(db, made)
    assert (truth.host, truth.cut_from, truth.label) == (clear_id, threat_id, threat.boxes[0][0])
    assert truth.xyxy is not None
    x0, y0, x1, y1 = (round(value) for value in truth.xyxy)
    mirrored = np.asarray(bag.image, np.int16)[:, ::-1]
    darker = (mirrored - picture_of(db, made)).mean(2) > 30
    assert darker[y0:y1, x0:x1].sum() > 0.9 * darker.sum() > 20, "the threat lies in its box; all else is as it was"
    with db.read() as session:
        had_it = session.get_one(AnalysisRow, made.id).created_by
    assert tip.clear_scans(db, had_it) == [], "nobody gets the same bag twice"


def test_a_named_bag_gets_a_name_of_the_same_form(maker: TipMaker, like: Scan) -> None:
    made = maker.make(replace(like, bag_id="flight 88-14", filename="bag.png"), "ana")
    assert made.scan.filename != "bag.png", "two of one name would be compared"
    assert made.scan.bag_id != "flight 88-14"
    assert made.scan.bag_id.startswith("flight ")
    unnamed = maker.make(replace(like, bag_id="red suitcase"), "ana")
    assert unnamed.scan.bag_id == unnamed.scan.sha256, "a view of somebody's bag it must never become"


def test_as_many_come_as_the_share_says(maker: TipMaker, like: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TipMaker, "make", lambda self, like, username: "one")
    tenth = replace(maker, share=0.1)
    tests = sum(tenth.maybe(like, "ana") is not None for _ in range(9000))
    assert tests / (9000 + tests) == pytest.approx(0.1, abs=0.01)
    off = replace(maker, share=0)
    assert not any(off.maybe(like, "ana") for _ in range(100))
    assert sum(replace(maker, blind_share=0.25).draw_blind() for _ in range(4000)) == pytest.approx(1000, abs=120)


def test_a_test_image_that_cannot_be_made_disturbs_nobody(
    maker: TipMaker, db: Database, like: Scan, caplog: pytest.LogCaptureFixture
) -> None:
    def busy(*_: Any, **__: Any) -> list[Analysis]:
        raise Busy("Too many scans are waiting.")

    assert replace(maker, take_in=busy).maybe(like, "ana") is None
    assert "no test image could be made" in caplog.text
    assert recent.of_user(db, "ana", datetime.now(UTC) - timedelta(hours=1)).waiting == []


def _harmless(one: Simulated, taxonomy: Taxonomy) -> bool:
    return all(taxonomy.resolve(label).status is Status.ALLOWED for label, _ in one.boxes)


def _simulated(taxonomy: Taxonomy, wanted: Any, items: tuple[int, int], threats: float) -> Simulated:
    found = (simulate_scan(seed, taxonomy, items=items, threat_rate=threats) for seed in range(200))
    return next(one for one in found if wanted(one))


def _corrected(maker: TipMaker, db: Database, taxonomy: Taxonomy, one: Simulated, review_required: bool = False) -> str:
    scan = scan_of(one.image)
    (analysis,) = maker.take_in([scan], "ana")
    labels = [label for label, _ in one.boxes]
    sent = CorrectionIn(
        items=tuple(ItemCount(label=label, count=labels.count(label)) for label in dict.fromkeys(labels)),
        boxes=tuple(CorrectionBox(label=label, xyxy=box) for label, box in one.boxes),
    )
    corrections.add(db, analysis.id, sent, "ana", taxonomy, review_required)
    return scan.sha256
