"""Operating points over the API: measured on held-out bags, set with a reason, in force from the next scan on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.operating_site import Site
from xray_app.store import audit


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
