"""From "not validated" to advice to clear, and back: a campaign, a signature, and what withdraws it by itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.operating_site import Hinting, scan
from tests.validation_site import CLEAR_REDS, PLAIN_REDS, ValidatingSite
from training.commands import validate
from xray_app.errors import BadInput, NotFound
from xray_app.store import audit, campaigns
from xray_app.store.insights import validated_drift


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a site that has a threshold."""
    return ValidatingSite.begin(tmp_path_factory.mktemp("begun"))


@pytest.fixture(scope="module")
def gathered(begun: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a site whose campaign can be signed."""
    folder = tmp_path_factory.mktemp("gathered") / "data"
    site = ValidatingSite(shutil.copytree(begun, folder))
    site.gather()
    site.services.db.close()
    return folder


@pytest.fixture
def site(begun: Path, tmp_path: Path) -> Iterator[ValidatingSite]:
    yield (made := ValidatingSite(shutil.copytree(begun, tmp_path / "data")))
    made.services.db.close()


@pytest.fixture
def validated(gathered: Path, tmp_path: Path) -> Iterator[ValidatingSite]:
    made = ValidatingSite(shutil.copytree(gathered, tmp_path / "data"))
    made.sign()
    yield made
    made.services.db.close()


NOT_VALIDATED = ("REVIEW", "model not validated on this scanner")


def test_validated_for_one_scanner_it_advises_to_clear_there_and_nowhere_else(validated: ValidatingSite) -> None:
    assert validated.advice() == ("CLEAR", "no threats detected")
    assert validated.advice("B") == NOT_VALIDATED
    assert validated.bag(200)["risk"]["action"] == "SEARCH"
    assert validated.bag(5)["models"]["vlm"]["validated"]
    (one,) = validated.validations()["signed"]
    assert one["in_force"]
    evidence = one["validation"]["evidence"]
    assert (evidence["bags"], evidence["threats"], evidence["found"], evidence["test_threats"]) == (200, 60, 60, 60)
    assert evidence["recall_low"] == pytest.approx(0.05 ** (1 / 60))
    assert "validation signed" in [entry.what for entry in audit.newest(validated.services.db)]


def test_it_lapses_when_the_threshold_or_a_model_changes(validated: ValidatingSite) -> None:
    validated.services.analyser.detector.sha256 = "3" * 64
    assert validated.advice()[0] == "REVIEW"
    assert not validated.validations()["signed"][0]["in_force"]
    validated.services.analyser.detector.sha256 = Hinting().sha256
    assert validated.advice()[0] == "CLEAR", "what it was signed for holds"
    (point,) = validated.get("")
    assert validated.post(f"/{point['id']}/withdraw", reason="the belt was changed").status_code == 200
    assert validated.advice()[0] == "REVIEW"


def test_missed_test_images_withdraw_it_and_say_why(validated: ValidatingSite) -> None:
    (signed,) = validated.validations()["signed"]
    for n in range(8):
        validated.test_image(PLAIN_REDS[n])
    assert validated.advice()[0] == "CLEAR"
    watch = validated.validations()["signed"][0]["watch"]
    assert (watch["threats"], watch["found"], watch["sum"]) == (8, 8, 0.0)
    missed = 0
    while validated.validations()["signed"]:
        validated.test_image(0)
        missed += 1
        assert missed < 40, "a scanner that finds nothing any more is not told"
    assert missed > 8, "a few misses are chance"
    assert validated.advice() == NOT_VALIDATED
    (gone,) = validated.validations()["withdrawn"]
    assert (gone["validation"]["id"], gone["by"]) == (signed["validation"]["id"], "policy")
    assert f"{missed} of {missed + 8} since it was signed" in gone["reason"]
    assert validated.send(f"/validations/{signed['validation']['id']}/withdraw", reason="again").status_code == 404


def test_scans_of_another_look_withdraw_it(validated: ValidatingSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validated_drift, "ONE_IN", 1)
    monkeypatch.setattr(validated_drift, "RECENT", 60)
    for n in range(60):
        validated.bag(CLEAR_REDS[n % 90])
    assert validated.advice()[0] == "CLEAR", "the same scans go on"
    for n in range(60):
        validated.bag(140 + n % 9)
    (gone,) = validated.validations()["withdrawn"]
    assert gone["by"] == "policy"
    assert "do not look like those of its campaign any more" in gone["reason"]
    assert validated.advice() == NOT_VALIDATED


def test_a_bag_drawn_by_lot_tells_once_its_truth_is_known(validated: ValidatingSite) -> None:
    validated.change(control_search_share=1.0, review="required")
    searched, read_twice, by_one, clear = (validated.bag(red) for red in (7, 9, 11, 13))
    answer = validated.client.get(f"/v1/analyses/{searched['id']}", headers=validated.eye).json()
    assert searched["control_search"]
    assert answer["control_search"]
    validated.search(searched, "knife")
    validated.search(searched, "gun")  # one bag is one bag
    validated.tell(by_one, ["gun"])
    assert validated.review(validated.tell(read_twice, ["gun"])) == 200
    assert validated.review(validated.tell(clear, [])) == 200
    watch = validated.validations()["signed"][0]["watch"]
    assert watch["by_kind"] == {"hand search": [1, 0], "double reading": [1, 0]}


def test_what_the_models_had_searched_says_nothing_of_what_they_miss(validated: ValidatingSite) -> None:
    validated.search(validated.bag(200), "knife")
    assert validated.validations()["signed"][0]["watch"]["threats"] == 0


def test_a_campaign_is_signed_once_all_of_its_bags_are_labelled_by_two(site: ValidatingSite) -> None:
    assert site.advice() == NOT_VALIDATED
    campaign = site.open()
    sign = f"/campaigns/{campaign['id']}/sign"
    known = site.bag(5)
    assert site.status(campaign)["enrolled"] == 1
    picture = site.client.get(f"/v1/scans/{known['scan']['id']}/image", headers=site.eye).content
    copy = {"files": {"file": ("a.png", picture)}, "data": {"bag_id": "again", "scanner_id": "A"}}
    assert site.client.post("/v1/analyze", headers=site.eye, **copy).status_code == 200
    assert site.status(campaign)["enrolled"] == 1, "a picture that was here before is no new bag"
    site.bag(5, "B")
    assert site.status(campaign)["enrolled"] == 1
    refused = site.send(sign, reason="now")
    assert refused.status_code == 409
    assert refused.json()["error"]["details"]["objections"] == [
        "1 of 200 bags have come in: the number was fixed before the first one.",
        "1 bags are not labelled by two people yet.",
    ]
    correction = site.tell(known, [])
    assert (correction["status"], correction["split"]) == ("pending", "holdout")
    assert site.status(campaign)["evidence"]["waiting"] == 1
    assert site.review(correction) == 200
    assert site.status(campaign)["evidence"]["waiting"] == 0
    late = site.bag(6, held_out=False)
    first = site.client.get("/v1/queue", headers=site.second).json()["items"][0]
    asked = "validation campaign: to be labelled by two people"
    assert (first["analysis_id"], first["reasons"][0]) == (late["id"], asked)


def test_a_campaign_whose_models_miss_too_much_is_not_signed(site: ValidatingSite) -> None:
    refused = site.send(f"/campaigns/{site.gather(missed=3)['id']}/sign", reason="close enough")
    assert refused.status_code == 409
    assert "Of 60 bags with a threat 57 were advised to be searched" in refused.json()["error"]["message"]
    assert site.advice()[0] == "REVIEW"


def test_another_model_makes_a_campaign_void_and_cancelling_ends_it(site: ValidatingSite) -> None:
    site.advice()
    campaign = site.open(test_share=0.3)
    site.taken(5)
    again = site.send("/campaigns", scanner_id="A", ends_at=campaign["ends_at"], reason="twice")
    assert again.status_code == 409
    assert campaigns.test_share(site.services.db, "A") == 0.3
    site.services.analyser.detector.sha256 = "4" * 64
    site.bag(6)
    status = site.status(campaign)
    assert (status["enrolled"], status["campaign"]["end"]["kind"]) == (1, "void")
    assert campaigns.test_share(site.services.db, "A") == 0.0
    other = site.open()
    path = f"/campaigns/{other['id']}/cancel"
    assert site.send(path, reason="wrong scanner").json()["end"]["kind"] == "cancelled"
    assert site.send(path, reason="again").status_code == 409
    assert site.send(f"/campaigns/{other['id']}/sign", reason="x").status_code == 409


def test_the_bundled_models_are_never_validated(site: ValidatingSite) -> None:
    site.change(detector="bundled")
    end = datetime.now(UTC) + timedelta(days=3)
    refused = site.send("/campaigns", scanner_id="A", ends_at=end.isoformat(), reason="try")
    assert refused.status_code == 409
    assert "demonstration" in refused.json()["error"]["message"]


def test_what_cannot_be_a_campaign_is_refused(site: ValidatingSite) -> None:
    end = datetime.now(UTC) + timedelta(days=3)
    for sent in (
        {"bags": 199}, {"test_share": 0.6}, {"ends_at": "2020-01-01T00:00:00Z"}, {"ends_at": "2099-01-01T00:00:00Z"},
        {"scanner_id": ""}, {"reason": "  "}, {"ends_at": "2026-12-31T00:00:00"},
    ):  # fmt: skip
        wanted = {"scanner_id": "A", "bags": 200, "ends_at": end.isoformat(), "reason": "try"} | sent
        assert site.send("/campaigns", **wanted).status_code == 422, sent


def test_a_campaign_mixes_test_images_in_whose_truth_nobody_labels(site: ValidatingSite) -> None:
    like = site.services.intake.read(scan(5, next(site.numbers)), "b.png", scanner_id="A")[0]
    assert site.services.test_images.maybe(like, "eye") is None, "none is asked for"
    campaign = site.open(test_share=0.5)
    assert site.services.test_images.maybe(replace(like, scanner_id="B"), "eye") is None
    assert site.services.test_images.maybe(like, "eye") is not None, "one after each real scan is half of all"
    status = site.status(campaign)
    assert (status["enrolled"], status["evidence"]["bags"], status["evidence"]["waiting"]) == (1, 1, 0)


def test_the_command_says_how_a_campaign_stands_and_signs_it(
    gathered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XRAY_DATA_DIR", str(shutil.copytree(gathered, tmp_path / "data")))
    run = CliRunner()
    said = run.invoke(validate.app, ["--scanner", "A"])
    assert said.exit_code == 0, said.output
    assert '"objections":[]' in said.output
    unknown = run.invoke(validate.app, ["--scanner", "B"])
    assert isinstance(unknown.exception, NotFound)
    assert isinstance(run.invoke(validate.app, ["--scanner", "A", "--sign"]).exception, BadInput)
    signed = run.invoke(validate.app, ["--scanner", "A", "--sign", "--by", "eve", "--reason", "all labelled"])
    assert '"by":"eve"' in signed.output
    ended = run.invoke(validate.app, ["--scanner", "A"])
    assert ended.exit_code == 1
    assert "signed, all labelled" in ended.output
    site = ValidatingSite(tmp_path / "data")
    assert site.advice()[0] == "CLEAR"
    site.services.db.close()


def test_a_blind_bag_of_a_campaign_is_asked_for_once_its_prediction_may_be_seen(site: ValidatingSite) -> None:
    site.open()
    (one,) = site.services.intake.read(scan(5, number := site.number(True)), "a.png", bag_id=f"bag{number}")
    (blind,) = site.services.intake.take_in(
        [replace(one, scanner_id="A")], "eye", blind=lambda: True, drawn=lambda: False
    )
    site.taken(7)
    asked = "validation campaign: to be labelled by two people"

    def waiting() -> list[str]:
        items = site.client.get("/v1/queue", headers=site.second).json()["items"]
        return [item["analysis_id"] for item in items if asked in item["reasons"]]

    assert blind.id not in waiting()
    assert len(waiting()) == 1
    path = f"/v1/analyses/{blind.id}/decision"
    assert site.client.post(path, json={"decision": "REVIEW"}, headers=site.eye).status_code == 201
    assert blind.id in waiting()
