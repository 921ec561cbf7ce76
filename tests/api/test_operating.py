"""Operating points over the API: measured on held-out bags, set with a reason, in force from the next scan on."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.api.conftest import PASSWORD, FixedDetector, FixedVlm, make_services
from xray_app import auth
from xray_app.analysis import Analyser
from xray_app.api.app import create_app
from xray_app.correction.revision import split_of
from xray_app.detector.base import Detection
from xray_app.services import Services
from xray_app.store import audit, operating_points
from xray_app.threat_score import Thresholds, thresholds_of
from xray_app.types import Role
from xray_app.vlm.base import Answer

CLEAR = "Items detected: none. Security risk: LOW - no threats detected."


class Seeing(FixedVlm):
    """Says nothing of a knife, but thinks of one the more, the redder a picture is."""

    def answer(self, images: Sequence[Image.Image], instructions: Sequence[str]) -> list[Answer]:
        return [Answer(CLEAR, True, threats={"knife": redness(image)}) for image in images]


class Hinting(FixedDetector):
    def detect(self, image: Image.Image, threshold: float = 0.05) -> list[Detection]:
        faint = Detection("knife", 0.2 * image.getpixel((5, 5))[2] / 255, (4.0, 5.0, 20.0, 30.0))
        return [faint] if faint.confidence >= threshold else []


def redness(image: Image.Image) -> float:
    return image.getpixel((5, 5))[0] / 255


def scan(red: int, number: int) -> bytes:
    blue = min(max(red + number * 37 % 101 - 50, 0), 255)  # the detector sees about as much, not the same
    image = Image.new("RGB", (64, 48), (red, 200, blue))
    image.putpixel((0, 0), (number % 256, number // 256, 7))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


class Site:
    """A desk with an admin, and held-out bags whose truth somebody has told."""

    def __init__(self, folder: Path) -> None:
        plain = make_services(folder)

        def thresholds(scanner_id: str | None, pair: str) -> Thresholds | None:
            point = operating_points.of_scanner(plain.db, scanner_id, pair, plain.rules.measured_sha256)
            return thresholds_of(point) if point else None

        analyser = Analyser(Seeing(), Hinting(), plain.rules, operating_point=thresholds)
        self.services = Services(plain.settings, plain.db, plain.rules, analyser, plain.launch)
        for name, role in (("boss", Role.ADMIN), ("eye", Role.ANALYST)):
            auth.add_user(plain.db, name, PASSWORD, role)
        self.client = TestClient(create_app(self.services))
        self.boss, self.eye = (self.signed_in(name) for name in ("boss", "eye"))
        self.numbers = itertools.count()

    def signed_in(self, name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {auth.sign_in(self.services.db, name, PASSWORD).token}"}

    def bag(self, red: int, scanner: str = "A", held_out: bool = True) -> dict[str, Any]:
        wanted = "holdout" if held_out else "train"
        number = next(n for n in self.numbers if split_of(f"bag{n}") == wanted)
        answer = self.client.post(
            "/v1/analyze",
            files={"file": ("a.png", scan(red, number))},
            data={"bag_id": f"bag{number}", "scanner_id": scanner},
            headers=self.eye,
        )
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def tell(self, analysis: dict[str, Any], items: Sequence[str], looked_for: Sequence[str] | None = None) -> None:
        told: dict[str, Any] = {"items": [{"label": label, "count": 1} for label in items], "boxes": []}
        if looked_for is not None:
            told["labelled_classes"] = list(looked_for)
        path = f"/v1/analyses/{analysis['id']}/corrections"
        assert self.client.post(path, json=told, headers=self.eye).status_code == 201

    def fill(self, threats: int, clear: int, scanner: str = "A") -> None:
        """Threats are red from 120 on, the clear ones up to 140."""
        for n in range(threats):
            self.tell(self.bag(120 + 3 * n, scanner), ["knife"])
        for n in range(clear):
            self.tell(self.bag(4 * n, scanner), [])

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(f"/v1/operating-points{path}", params=query, headers=self.boss).json()

    def post(self, path: str = "", **sent: Any) -> Any:
        return self.client.post(f"/v1/operating-points{path}", json=sent or None, headers=self.boss)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    yield (made := Site(tmp_path))
    made.services.db.close()


def test_a_point_is_set_on_held_out_bags_and_decides_from_the_next_scan_on(site: Site) -> None:
    site.fill(threats=35, clear=35)
    before = site.bag(230)
    assert (before["risk"]["level"], before["calibrated"]) == ("LOW", False)
    assert site.get("/held-out", scanner_id="A") == {"bags": 70, "threats": 35, "unscored": 0, "unknown": 0}
    proposed = site.get("/proposed", scanner_id="A", recall=0.9)
    assert 0 < proposed["threshold"] < 1
    assert proposed["review_recall"] == pytest.approx(0.95)
    assert (proposed["review_threshold"], proposed["review_missing"]) == (None, 59 - 35)
    assert proposed["limiting"] == "knife"
    low, high = proposed["false_alarms_ci"]
    assert low <= proposed["false_alarms"] <= high
    assert site.get("") == [], "looking changes nothing"

    made = site.post(scanner_id="A", recall=0.9, reason="first evidence")
    assert made.status_code == 201, made.text
    point = made.json()
    assert point["figures"] == proposed
    assert (point["by"], point["reason"]) == ("boss", "first evidence")
    after, elsewhere = site.bag(230), site.bag(230, scanner="B")
    assert (after["risk"]["level"], after["risk"]["action"]) == ("HIGH", "SEARCH")
    assert "threat score" in after["risk"]["reason"]
    assert after["calibrated"]
    assert after["score_evidence"]["operating_point"] == point["id"]
    assert (elsewhere["risk"]["level"], elsewhere["calibrated"]) == ("LOW", False)
    assert site.bag(0)["risk"]["level"] == "LOW"
    acts = [entry.what for entry in audit.newest(site.services.db)]
    assert "operating point set" in acts

    assert site.post(f"/{point['id']}/withdraw", reason="the belt was changed").status_code == 200
    assert site.get("") == []
    assert site.bag(230)["risk"]["level"] == "LOW"
    assert site.post(f"/{point['id']}/withdraw", reason="again").status_code == 404


def test_with_too_few_threats_it_says_how_many_more_and_sets_nothing(site: Site) -> None:
    site.fill(threats=20, clear=20)
    refused = site.post(scanner_id="A", recall=0.9, reason="try")
    assert refused.status_code == 409
    assert refused.json()["error"]["details"] == {"missing": 9, "threats": 20}
    assert "9 more held-out bags" in refused.json()["error"]["message"]
    assert site.get("") == []
    assert site.client.get("/v1/operating-points/proposed", headers=site.boss).json()["missing"] == 9
    blank = site.post(scanner_id="A", recall=0.9, reason="  ")
    assert (blank.status_code, blank.json()["error"]["code"]) == (422, "bad_input")
    assert site.post(recall=1.0, reason="all").status_code == 422


def test_only_bags_of_which_everything_is_known_count(site: Site) -> None:
    site.fill(threats=2, clear=2)
    site.tell(site.bag(50), [], looked_for=["knife"])  # a gun may be there
    site.tell(site.bag(150), ["knife"], looked_for=["knife"])  # a threat whatever else is there
    site.tell(site.bag(150, held_out=False), ["knife"])  # trained on
    site.tell(site.bag(150, scanner="B"), ["knife"])
    assert site.get("/held-out", scanner_id="A") == {"bags": 5, "threats": 3, "unscored": 0, "unknown": 1}
    assert site.get("/held-out")["bags"] == 6


def test_other_models_are_measured_before_anything_is_set_for_them(site: Site) -> None:
    site.fill(threats=3, clear=3)
    site.services.analyser.detector.sha256 = "2" * 64
    assert site.get("/held-out", scanner_id="A") == {"bags": 0, "threats": 0, "unscored": 6, "unknown": 0}
    first = site.post("/measure")
    assert first.json() == {"measured": 6, "left": 0}
    assert site.get("/held-out", scanner_id="A")["bags"] == 6
    assert site.post("/measure").json() == {"measured": 0, "left": 0}


def test_a_point_for_all_scanners_stands_back_where_one_has_its_own(site: Site) -> None:
    site.fill(threats=30, clear=20)
    everywhere = site.post(recall=0.9, reason="all of them").json()
    assert site.bag(230, scanner="new")["score_evidence"]["operating_point"] == everywhere["id"]
    site.fill(threats=30, clear=20, scanner="B")
    mine = site.post(scanner_id="B", recall=0.9, reason="enough here").json()
    assert site.bag(230, scanner="B")["score_evidence"]["operating_point"] == mine["id"]
    assert [one["scanner_id"] for one in site.get("")] == [None, "B"]


def test_a_point_sent_twice_is_set_once(site: Site) -> None:
    site.fill(threats=30, clear=20)
    key = {"Idempotency-Key": "one"}
    answers = [
        site.client.post("/v1/operating-points", json={"recall": 0.9, "reason": "once"}, headers=site.boss | key)
        for _ in range(2)
    ]
    assert answers[0].status_code == answers[1].status_code == 201
    assert answers[0].json() == answers[1].json()
    assert sum(entry.what == "operating point set" for entry in audit.newest(site.services.db)) == 1
