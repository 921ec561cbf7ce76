"""The threat score: what it promises comes true on other bags, and it is never judged on its own."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.tiny import save_tiny_vlm
from training.data.samples import Sample, make_sample
from training.evaluation import compare
from training.evaluation.bag_table import ScanOutcome
from training.evaluation.bootstrap import calibration_error
from training.evaluation.compare import evaluate_models
from training.evaluation.confusion import NOTHING, Confusion
from training.evaluation.report_page import headline, write_report
from training.evaluation.stratified import stratified_auroc
from training.evaluation.threat_score import (
    BagEvidence,
    binned,
    brier_skill,
    by_bags,
    curve,
    evidence_of_boxes,
    fit_calibration,
    group_rates,
    probabilities,
    threat_scores,
    with_calibration,
)
from xray_app.detector.base import Detection
from xray_app.errors import BadCalibration, BadInput
from xray_app.settings import Settings
from xray_app.taxonomy import Taxonomy
from xray_app.threat_score import NO_SIGN

SVG = "{http://www.w3.org/2000/svg}"


def drawn_evidence(bags: int, seed: int) -> BagEvidence:
    """Two models' evidence, and threats drawn with the probability sigmoid(0.5 + 1·vlm + 2·detector)."""
    draws = np.random.default_rng(seed)
    odds = draws.normal(0, 1.5, (bags, 2))
    threat = draws.random(bags) < 1 / (1 + np.exp(-(0.5 + odds @ [1.0, 2.0])))
    shares = 1 / (1 + np.exp(-odds))
    return BagEvidence(threat, {"vlm": shares[:, 0], "detector": shares[:, 1]})


def test_the_fit_finds_what_the_evidence_is_worth() -> None:
    fitted = fit_calibration(drawn_evidence(4000, 0), ["vlm", "detector"])
    assert fitted.bias == pytest.approx(0.5, abs=0.15)
    assert fitted.weights == pytest.approx((1.0, 2.0), abs=0.2)
    fresh = drawn_evidence(4000, 1)
    error = calibration_error(binned(probabilities(fitted, fresh), fresh.threat)).value
    assert error is not None
    assert error < 0.03


def test_evidence_that_separates_perfectly_gives_finite_weights() -> None:
    evidence = BagEvidence(np.array([True, True, False, False]), {"detector": np.array([0.9, 1.0, NO_SIGN, 0.1])})
    scores = probabilities(fit_calibration(evidence, ["detector"]), evidence)
    assert np.isfinite(scores).all()
    assert scores[:2].min() > scores[2:].max()


def test_evidence_that_speaks_against_itself_is_refused() -> None:
    one = drawn_evidence(500, 5)
    backwards = BagEvidence(one.threat, {**one.by_model, "detector": 1 - one.by_model["detector"]})
    with pytest.raises(BadCalibration, match="more evidence of the detector means less threat"):
        fit_calibration(backwards, ["vlm", "detector"])
    found = threat_scores(backwards, drawn_evidence(200, 6), 0.9)
    assert "means less" in found["detector"]["reason"]
    assert found["vlm"]["auroc"] > 0.5, "the other model's score stands"


def test_skill_is_over_what_the_group_alone_says() -> None:
    groups = ("armoury",) * 200 + ("nursery",) * 200
    draws = np.random.default_rng(7)
    threat = draws.random(400) < np.array([0.9] * 200 + [0.1] * 200)
    bags = BagEvidence(threat, {"vlm": np.full(400, 0.5)}, groups)
    known = group_rates(bags, bags)
    assert set(np.round(known, 1)) == {0.9, 0.1}
    assert brier_skill(known, threat, known).value == 0
    assert brier_skill(threat.astype(float), threat, known).value == 1
    worse = brier_skill(np.full(400, threat.mean()), threat, known)
    assert worse.ci is not None
    assert worse.ci[1] < 0, "a score that knows less than the scanner has less than no skill"
    elsewhere = BagEvidence(threat[:3], {"vlm": np.full(3, 0.5)}, ("school", "armoury", ""))
    assert group_rates(bags, elsewhere) == pytest.approx([threat.mean(), known[0], threat.mean()])


def test_too_few_threat_bags_promise_nothing() -> None:
    found = threat_scores(drawn_evidence(60, 3), drawn_evidence(200, 4), 0.99)
    assert found["together"]["threshold"] is None
    assert "fewer than 299 threat bags" in found["together"]["reason"]


def test_the_area_is_the_chance_that_a_threat_bag_scores_higher() -> None:
    scores = np.array([0.1, 0.4, 0.4, 0.8, 0.8, 0.9])
    threat = np.array([False, False, True, False, True, True])
    pairs = [(a > b) + (a == b) / 2 for a in scores[threat] for b in scores[~threat]]
    area = stratified_auroc(scores, threat, [np.ones(len(scores), bool)])[0]
    assert area.value == pytest.approx(np.mean(pairs))
    assert area.ci is not None
    assert area.ci[0] <= np.mean(pairs) <= area.ci[1]
    assert curve(scores, threat) == pytest.approx(np.array([[0, 0], [0, 1 / 3], [1 / 3, 2 / 3], [2 / 3, 1], [1, 1]]))


def test_both_models_together_are_worth_more_than_either_and_find_what_was_asked() -> None:
    found = threat_scores(drawn_evidence(2000, 5), drawn_evidence(2000, 6), 0.9)
    assert found["together"]["auroc"] > max(found["vlm"]["auroc"], found["detector"]["auroc"])
    assert 0.9 <= found["together"]["threat_bag_recall"] < 0.94, "promised, not hoped for"
    assert found["together"]["false_alarm_rate"] < found["vlm"]["false_alarm_rate"]


def test_bags_of_one_kind_alone_are_said_to_tell_nothing() -> None:
    clear = BagEvidence(np.zeros(5, np.bool_), {"vlm": np.full(5, 0.3)})
    found = threat_scores(clear, clear, 0.9)
    assert "no threat bag" in found["reason"]
    assert "vlm" not in found


def sample(folder: Path, taxonomy: Taxonomy, shade: int, bag: str, scope: tuple[str, ...] | None = None) -> Sample:
    """A bag with a knife where `shade` is odd."""
    path = folder / f"{shade}.png"
    Image.new("RGB", (60, 40), (shade, 255 - shade, 90)).save(path)
    return make_sample(path, (60, 40), {"knife": 1} if shade % 2 else {}, [], scope, bag, taxonomy)


def test_views_of_a_bag_give_their_strongest_word_and_unsought_threats_no_word(
    tmp_path: Path, taxonomy: Taxonomy
) -> None:
    samples = [
        sample(tmp_path, taxonomy, 1, "knife"),
        sample(tmp_path, taxonomy, 2, "knife"),
        sample(tmp_path, taxonomy, 4, "clear", ("knife", "laptop")),
        sample(tmp_path, taxonomy, 6, "nobody looked", ("laptop",)),
    ]
    boxes = [
        [Detection("knife", 0.2, (0, 0, 5, 5))],
        [Detection("gun", 0.7, (0, 0, 5, 5)), Detection("laptop", 0.9, (0, 0, 5, 5))],
        [Detection("gun", 0.8, (0, 0, 5, 5))],
        [Detection("knife", 0.9, (0, 0, 5, 5))],
    ]
    found = evidence_of_boxes(boxes, samples, taxonomy)
    assert found == [0.2, 0.7, NO_SIGN, NO_SIGN]
    bags = BagEvidence.of(samples, {"detector": found}, taxonomy)
    assert bags.threat.tolist() == [False, True]
    assert bags.by_model["detector"].tolist() == [NO_SIGN, 0.7]


def test_no_bag_is_both_calibrated_on_and_reported(tmp_path: Path, taxonomy: Taxonomy) -> None:
    samples = [sample(tmp_path, taxonomy, shade, f"bag {shade // 2}") for shade in range(20)]
    everything, kept = with_calibration(samples, None)
    assert len(kept) == 5
    first, second = by_bags(everything, {"vlm": [0.5] * 20}, kept, taxonomy)
    assert len(first.threat) + len(second.threat) == 10
    with pytest.raises(BadInput, match="both in the calibration scans"):
        with_calibration(samples, [sample(tmp_path, taxonomy, 30, "bag 3")])
    with pytest.raises(BadInput, match="both in the calibration scans"):  # another name, the same picture
        with_calibration(samples, [samples[0].model_copy(update={"bag_id": "another"})])
    others = [sample(tmp_path, taxonomy, 31, "other")]
    assert with_calibration(samples, others) == ([*samples, *others], frozenset({"other"}))


def test_evaluation_writes_the_score_and_a_page_with_pictures(
    tmp_path: Path, taxonomy: Taxonomy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the models say of plain pictures is chance, which a calibration may refuse; so they say something here."""

    def plausible(_: Any, asked: Sequence[Sample], *more: Any) -> list[float]:
        return [(0.6 if one.counts(taxonomy) else 0.3) + 0.2 * (place % 3 - 1) for place, one in enumerate(asked)]

    monkeypatch.setattr(compare, "evidence_of_answers", plausible)
    monkeypatch.setattr(compare, "evidence_of_boxes", plausible)
    samples = [sample(tmp_path, taxonomy, shade, f"bag {shade}") for shade in range(10, 22)]
    others = [sample(tmp_path, taxonomy, shade, f"bag {shade}") for shade in range(30, 40)]
    strict = {"vlm": str(save_tiny_vlm(tmp_path / "vlm")), "policy": "prison", "data_dir": tmp_path / "data"}
    settings = Settings(**strict, detector="bundled")
    with pytest.raises(BadInput, match="between 0 and 1"):
        evaluate_models(samples, settings, taxonomy, recall=1.0)
    result = evaluate_models(samples, settings, taxonomy, calibration=others, recall=0.5)
    default = taxonomy.policy()
    assert default != taxonomy.policy("prison")
    flagging = {"profile": default.name, "prohibited_threshold": default.prohibited_threshold}
    assert result["policy"] == flagging, "the contract's, whatever the desk's own is"
    score = result["threat_score"]
    assert score["calibration"] == {"bags": 10, "threat_bags": 5}
    assert score["reported"] == {"bags": 12, "threat_bags": 6}
    assert {"vlm", "detector", "together"} <= score.keys()
    assert score["together"]["weights"].keys() == {"vlm", "detector"}
    for name in ("auroc", "ece", "threat_bag_recall", "false_alarm_rate"):
        assert score["together"][f"{name}_ci"]
    json.dumps(result, allow_nan=False)
    assert "curve" not in json.dumps(headline(result))
    page = write_report(result, tmp_path / "out.json").read_text()
    assert "to find 50% of the threat bags" in page
    assert f"(profile {default.name})" in page
    pictures = sorted(tmp_path.glob("out-*.svg"))
    assert {path.name for path in pictures} >= {"out-trade-off.svg", "out-reliability.svg", "out-confusion-vlm.svg"}
    for path in pictures:
        assert f"({path.name})" in page
        assert ET.parse(path).getroot().tag == f"{SVG}svg"  # noqa: S314 - our own file


def test_what_was_missed_is_set_against_what_was_wrongly_said(taxonomy: Taxonomy) -> None:
    def outcome(true: dict[str, int], said: dict[str, int]) -> ScanOutcome:
        return ScanOutcome("bag", true, said, dict.fromkeys(said, 0.9))

    found = Confusion.of(
        [
            outcome({"knife": 1, "laptop": 1}, {"dagger": 1, "laptop": 1}),
            outcome({"knife": 2}, {}),
            outcome({}, {"gun": 1}),
            outcome({"knife": 1}, {"dagger": 1, "gun": 1}),
        ],
        taxonomy,
    )
    assert found.labels == ("knife", "dagger", "gun", "laptop", NOTHING)
    row = dict(zip(found.labels, found.table[0].tolist(), strict=True))
    assert row == {"knife": 0, "dagger": 1.5, "gun": 0.5, "laptop": 0, NOTHING: 2}
    assert found.table[-1].tolist() == [0, 0.5, 1.5, 0, 0]
    assert found.table[3, 3] == 1
