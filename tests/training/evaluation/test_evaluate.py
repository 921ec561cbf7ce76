"""The figures: what counts as right, within what was looked for, by bag, with intervals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.tiny import save_tiny_vlm
from tests.training.conftest import MakeTable, ScriptedVlm, report_of
from training.data.samples import Sample, SampleBox, make_sample
from training.data.training_record import TrainingRecord
from training.evaluation.bag_table import BagTable, ScanOutcome
from training.evaluation.baselines import RULES
from training.evaluation.bootstrap import bootstrap_difference
from training.evaluation.compare import ComparedModel, Prices, as_json, comparison, detector_map, table
from training.evaluation.evaluate import (
    DetectorEvaluated,
    Evaluated,
    as_items,
    evaluate_detector,
    evaluate_vlm,
    fuse,
    report,
)
from training.evaluation.map_interval import map_rates
from training.evaluation.report_page import write_report
from training.evaluation.stratified import BagScores
from xray_app.detector.base import Detection
from xray_app.errors import BadModel
from xray_app.taxonomy import Taxonomy


def outcome(
    true: dict[str, int],
    said: dict[str, int],
    confidence: float | dict[str, float] = 0.9,
    bag: str = "bag",
    looked_for: Sequence[str] | None = None,
) -> ScanOutcome:
    sure = confidence if isinstance(confidence, dict) else dict.fromkeys(said, confidence)
    return ScanOutcome.scoped(bag, looked_for, true, said, sure)


def compared(model: str, table: BagTable, seconds: float, *more: Any, **named: Any) -> ComparedModel:
    """A row whose scores are what the table says was flagged."""
    count = len(table.bags)
    groups = np.full(count, "one scanner", dtype=object)
    none = np.zeros((count, 0), dtype=bool)
    flagged = table.flagged.astype(float)
    scores = BagScores(groups, (), table.threat, table.sought, flagged, none, none, none.astype(float))
    return ComparedModel(model, table, scores, seconds, *more, **named)


def of(taxonomy: Taxonomy, *outcomes: ScanOutcome) -> BagTable:
    return BagTable.of(outcomes, taxonomy.rules())


def test_items_are_counted_as_multisets(taxonomy: Taxonomy) -> None:
    found = of(taxonomy, outcome({"knife": 2, "laptop": 1}, {"knife": 3, "phone": 1}))
    assert found.item_precision().value == pytest.approx(2 / 4)
    assert found.item_recall().value == pytest.approx(2 / 3)
    assert found.item_f1().value == pytest.approx(4 / 7)
    assert found.exact_list().value == 0
    assert of(taxonomy, outcome({"knife": 2}, {"knife": 1})).exact_list().value == 0, "the right label, once too few"
    assert found.per_class()["knife"][0] == 2


def test_what_nobody_looked_for_is_neither_right_nor_wrong(taxonomy: Taxonomy) -> None:
    found = of(
        taxonomy,
        outcome({"knife": 1}, {"knife": 1, "gun": 1, "laptop": 2}, looked_for=("knife", "scissors")),
        outcome({}, {"gun": 1}, looked_for=("knife", "scissors"), bag="clear"),
    )
    assert found.item_f1().value == 1
    assert found.exact_list().value == 1
    assert found.false_alarm_rate().value == 0


def test_a_bag_in_which_nobody_looked_for_threats_is_not_a_clear_one(taxonomy: Taxonomy) -> None:
    unsought = [outcome({"laptop": 1}, {"knife": 1}, bag=f"{n}", looked_for=("laptop",)) for n in range(9)]
    alarm = outcome({}, {"knife": 1}, bag="alarm", looked_for=("knife", "laptop"))
    for outcomes in ([*unsought, alarm], fuse([*unsought, alarm], [*unsought, alarm])):
        found = of(taxonomy, *outcomes)
        assert found.clear.sum() == 1
        assert found.false_alarm_rate().value == 1
        assert found.metric_set().n == 10


def test_a_bag_is_flagged_by_any_view_at_the_policys_threshold(taxonomy: Taxonomy) -> None:
    threshold = taxonomy.policy().prohibited_threshold
    found = of(
        taxonomy,
        outcome({"knife": 1}, {}, bag="two views"),
        outcome({}, {"knife": 1}, threshold, bag="two views"),
        outcome({"gun": 1}, {"gun": 1}, threshold - 0.01, bag="unsure"),
        outcome({"axe": 1}, {"axe": 1}, threshold, bag="first view"),
        outcome({}, {"laptop": 1}, bag="first view"),
        outcome({"saw": 1}, {}, bag="missed"),
        outcome({"laptop": 1}, {"laptop": 1}, bag="clear"),
        outcome({}, {"blade": 1}, bag="alarm"),
    )
    assert found.threat_bag_recall().value == 0.5
    assert found.false_alarm_rate().value == 0.5
    assert found.metric_set().n == 6


def test_a_model_that_never_says_none_is_told_so(taxonomy: Taxonomy, samples: list[Sample], tmp_path: Path) -> None:
    clear = [outcome({"laptop": 1}, {"laptop": 1}, bag=f"clear{n}") for n in range(3)]
    sure = outcome({"laptop": 1}, {"knife": 1}, bag="sure")
    unsure = outcome({"laptop": 1}, {"gun": 1}, 0.02, bag="unsure")
    threat = outcome({"knife": 1}, {"knife": 1}, bag="threat")
    assert of(taxonomy, *clear, sure, unsure, threat).says_none().value == 3 / 5
    assert of(taxonomy, sure, unsure, threat).says_none().value == 0
    assert of(taxonomy, threat).says_none().value is None
    for word, never in (("knife", True), ("laptop", False)):
        vlm = evaluate_vlm(ScriptedVlm(lambda *_, word=word: report_of(taxonomy, **{word: 1})), samples, taxonomy)
        page = write_report(report(samples, taxonomy.rules(), vlm, None), tmp_path / f"{word}.json").read_text()
        assert ("never says “none”" in page) is never


def test_top1_is_the_surest_label_over_scans_that_hold_something(taxonomy: Taxonomy) -> None:
    found = of(
        taxonomy,
        outcome({"knife": 1}, {"knife": 2, "laptop": 1}, {"knife": 0.8, "laptop": 0.6}, bag="hit"),
        outcome({"knife": 1}, {"knife": 1, "laptop": 1}, {"knife": 0.6, "laptop": 0.8}, bag="miss"),
        outcome({"knife": 1}, {}, bag="silent"),
        outcome({}, {}, bag="empty"),
    )
    assert dict(zip(found.bags, found.top1.tolist(), strict=True)) == {"hit": 1, "miss": 0, "silent": 0, "empty": 0}
    assert found.top_one().value == pytest.approx(1 / 3)


def test_nothing_to_measure_is_none_not_zero(taxonomy: Taxonomy) -> None:
    empty = of(taxonomy)
    assert empty.metric_set().model_dump() == {
        "n": 0, "item_f1": None, "exact_list": None, "threat_bag_recall": None, "false_alarm_rate": None,
    }  # fmt: skip
    assert of(taxonomy, outcome({"knife": 1}, {"knife": 1})).false_alarm_rate().value is None


def test_calibration_error(taxonomy: Taxonomy) -> None:
    sure_and_wrong = of(taxonomy, outcome({"knife": 1}, {"knife": 2}, 0.95))
    assert sure_and_wrong.ece().value == pytest.approx(0.95)
    honest = of(taxonomy, *[outcome({"knife": 1 + (i >= 3)}, {"knife": 1}, 0.75, f"{i}") for i in range(4)])
    assert honest.ece().value == pytest.approx(0.0)


def test_the_interval_covers_the_truth_as_often_as_it_says(make_table: MakeTable) -> None:
    truth, covered = 0.8, 0
    draws = np.random.default_rng(1)
    for trial in range(100):
        found = int(draws.binomial(150, truth))
        interval = make_table(threats=150, clear=0, found=found, seed=trial).threat_bag_recall().ci
        assert interval is not None
        covered += interval[0] <= truth <= interval[1]
    assert 88 <= covered <= 100


def test_a_kept_table_reads_back(taxonomy: Taxonomy, make_table: MakeTable) -> None:
    kept = make_table(threats=5, clear=3, found=4, alarms=1)
    back = BagTable.from_json(json.loads(json.dumps(kept.to_json())))
    assert back.metric_set() == kept.metric_set()
    assert back.bags == kept.bags
    assert back.ece() == kept.ece()
    assert BagTable.from_json(json.loads(json.dumps(of(taxonomy).to_json()))).bags == ()


def test_paired_bootstrap_bounds_the_difference(make_table: MakeTable) -> None:
    one, other = make_table(found=150), make_table(found=120)

    def parts(found: BagTable) -> tuple[np.ndarray, np.ndarray]:
        return (found.flagged & found.threat).astype(int), found.threat.astype(int)

    assert bootstrap_difference(parts(one), parts(one)) == 0
    assert -0.27 < bootstrap_difference(parts(one), parts(other)) < -0.2


@pytest.fixture
def samples(tmp_path: Path, taxonomy: Taxonomy) -> list[Sample]:
    made = []
    for number in range(5):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (30, 20), (number, 0, 0)).save(path)
        counts = {"knife": 1} if number < 3 else {}
        boxes = [SampleBox(label="knife", xyxy=(2, 2, 12, 12))] if counts else []
        made.append(make_sample(path, (30, 20), counts, boxes, None, f"bag{number}", taxonomy))
    return made


def as_items_at(confidence: float, boxes: list[Detection], taxonomy: Taxonomy) -> tuple[ScanOutcome, ...]:
    sample = make_sample(Path("a.png"), (30, 20), {"knife": 1}, (), None, "bag", taxonomy)
    return as_items([sample], [boxes], taxonomy, confidence)


class ScriptedDetector:
    name, sha256 = "scripted", "d" * 64

    def __init__(self, *boxes: Detection) -> None:
        self.boxes = list(boxes)

    def detect(self, image: Image.Image, threshold: float = 0.05) -> list[Detection]:
        return [box for box in self.boxes if box.confidence >= threshold]


def test_answers_are_asked_in_batches_and_the_progress_told(samples: list[Sample], taxonomy: Taxonomy) -> None:
    vlm = ScriptedVlm(lambda number, _: report_of(taxonomy, knife=1) if number != 1 else "gibberish")
    told: list[tuple[int, int]] = []
    result = evaluate_vlm(vlm, samples, taxonomy, batch=2, progress=lambda *at: told.append(at))
    assert vlm.batches == [2, 2, 1]
    assert told == [(2, 5), (4, 5), (5, 5)]
    assert [dict(one.said) for one in result.outcomes] == [{"knife": 1}, {}] + [{"knife": 1}] * 3


def test_a_confident_box_is_an_item_and_an_unsure_one_only_a_suspicion(
    samples: list[Sample], taxonomy: Taxonomy
) -> None:
    detector = ScriptedDetector(
        Detection("knife", 0.6, (2, 2, 12, 12)),
        Detection("knife", 0.4, (20, 2, 28, 12)),
        Detection("gun", 0.1, (0, 0, 5, 5)),
        Detection("scissors", 0.25, (0, 0, 5, 5)),
        Detection("axe", 0.249, (0, 0, 5, 5)),
    )
    result = evaluate_detector(detector, samples[:1], taxonomy)
    assert dict(result.outcomes[0].said) == {"knife": 2, "scissors": 1}
    assert result.outcomes[0].confidence["gun"] == 0.1
    assert len(result.detections[0]) == 5


def test_report_json_has_the_contracts_keys(samples: list[Sample], taxonomy: Taxonomy) -> None:
    silent = ScriptedVlm(lambda *_: report_of(taxonomy))
    vlm = evaluate_vlm(silent, samples, taxonomy)
    detector = evaluate_detector(ScriptedDetector(Detection("knife", 0.9, (2, 2, 12, 12))), samples, taxonomy)
    result = report(samples, taxonomy.rules(), vlm, detector, lambda: detector_map(samples, detector, taxonomy))
    assert result["n"] == 5
    rates = {
        "vlm": {
            "item_precision", "item_recall", "item_f1", "exact_list", "top1", "threat_bag_recall",
            "false_alarm_rate", "ece",
        },
        "detector": {"map50", "map50_95"},
        "by_fusion": {"threat_bag_recall", "false_alarm_rate"},
    }  # fmt: skip
    for part, names in rates.items():
        assert names | {f"{name}_ci" for name in names} <= set(result[part])
    assert result["vlm"]["seconds_per_scan"] >= 0
    assert result["detector"]["seconds_per_scan"] >= 0
    assert set(RULES) <= set(result["baselines"])
    for rule in RULES:
        assert {"item_f1", "item_f1_ci", "top1", "exact_list", "threat_bag_recall", "false_alarm_rate"} <= set(
            result["baselines"][rule]
        )
    for part in ("stratified_auroc", "recall_at"):
        assert set(result[part]) == {"vlm", "detector", "by_fusion", *RULES}
    assert {"threat", "threat_ci", "presence", "presence_ci", "per_class", "pairs"} <= set(
        result["stratified_auroc"]["vlm"]
    )
    assert {"0.01", "0.05", "0.10", "0.10_ci"} <= set(result["recall_at"]["by_fusion"])
    assert set(result["per_class"]["knife"]) >= {"support", "recall", "precision"}
    assert result["vlm"]["threat_bag_recall"] == 0
    assert result["by_fusion"]["threat_bag_recall"] == 1
    assert result["by_fusion"]["false_alarm_rate"] == 1
    low, high = result["detector"]["map50_ci"]
    assert low <= result["detector"]["map50"] <= high
    json.dumps(result, allow_nan=False)


def test_one_model_alone_gives_a_report_without_the_other(samples: list[Sample], taxonomy: Taxonomy) -> None:
    vlm = Evaluated(tuple(outcome({"knife": 1}, {"knife": 1}, bag=s.bag_id) for s in samples), 0.1)
    result = report(samples, taxonomy.rules(), vlm=vlm)
    assert "detector" not in result
    assert "by_fusion" not in result


def test_fusion_takes_the_larger_count_and_confidence() -> None:
    (both,) = fuse([outcome({"knife": 2}, {"knife": 1}, 0.3)], [outcome({"knife": 2}, {"knife": 2, "gun": 1}, 0.6)])
    assert dict(both.said) == {"knife": 2, "gun": 1}
    assert dict(both.confidence) == {"knife": 0.6, "gun": 0.6}


def test_fusion_keeps_an_alarm_of_the_detector_that_is_no_item_yet(taxonomy: Taxonomy) -> None:
    seen = as_items_at(0.8, [Detection("knife", 0.7, (2, 2, 12, 12))], taxonomy)
    both = of(taxonomy, *fuse([outcome({"knife": 1}, {})], seen))
    assert both.threat_bag_recall().value == 1
    assert both.said.sum() == 0


def test_boxes_out_of_scope_do_not_cost_the_detector(tmp_path: Path, taxonomy: Taxonomy) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (30, 20)).save(path)
    box = SampleBox(label="knife", xyxy=(2, 2, 12, 12))
    sample = make_sample(path, (30, 20), {"knife": 1}, [box], ("knife",), "a", taxonomy)
    found = DetectorEvaluated(
        (), 0.0, ((Detection("gun", 0.99, (2, 2, 12, 12)), Detection("knife", 0.5, (2, 2, 12, 12))),)
    )
    assert detector_map([sample], found, taxonomy)[0].value == pytest.approx(1.0)


def test_a_right_box_of_an_item_listed_without_one_does_not_cost_the_detector(
    tmp_path: Path, taxonomy: Taxonomy
) -> None:
    drawn = SampleBox(label="gun", xyxy=(2, 2, 12, 12))
    sample = make_sample(tmp_path / "a.png", (30, 20), {"knife": 1, "gun": 1}, [drawn], None, "a", taxonomy)
    other = make_sample(
        tmp_path / "b.png", (30, 20), {"knife": 1}, [SampleBox(label="knife", xyxy=(2, 2, 9, 9))], None, "b", taxonomy
    )
    seen = [Detection("knife", 0.99, (15, 2, 25, 12)), Detection("gun", 0.9, (2, 2, 12, 12))]
    found = DetectorEvaluated((), 0.0, (tuple(seen), (Detection("knife", 0.5, (2, 2, 9, 9)),)))
    assert detector_map([sample, other], found, taxonomy)[0].value == pytest.approx(1.0)


def test_the_comparison_is_a_table_with_a_row_a_model(make_table: MakeTable) -> None:
    text = table([compared("one", make_table(found=75, clear=0), 0.5), compared("other", make_table(clear=0), 0.25)])
    header, _, first, second, *_ = text.splitlines()
    assert header.startswith("| model | top-1 | item F1")
    assert first.startswith("| one | 0.500 (")
    assert "| – | 0.250 |" in second


def test_the_comparison_sets_each_row_against_the_first_with_paired_intervals(make_table: MakeTable) -> None:
    took = TrainingRecord(method="lora", samples=100, epochs=3, seconds=720)
    rows = [
        compared("untuned", make_table(found=90, alarms=15), 0.5),
        compared("tuned", make_table(found=120, alarms=15), 0.5, (took,)),
        compared("elsewhere", make_table(found=150), 2.0, (took.model_copy(update={"resumed": True}),), remote=True),
    ]
    text = table(rows, Prices(machine_hour=2.0, remote_scan=0.01))
    assert "| 0.500 | 12.0 | 0.40 | 0.28 |" in text
    assert "| 2.000 | ≥ 12.0 | 0.40 | 10.00 |" in text
    tuned = next(line for line in text.splitlines() if line.startswith("| tuned") and "+0.200" in line)
    assert "+0.000 (+0.00 to +0.00)" in tuned
    found = as_json(rows, Prices())
    low, high = found[1]["difference"]["threat_bag_recall_ci"]
    assert 0.1 < low < 0.2 < high < 0.3
    unpaired = [found[1]["threat_bag_recall_ci"][end] - found[0]["threat_bag_recall_ci"][1 - end] for end in (0, 1)]
    assert high - low < unpaired[1] - unpaired[0]  # what pairing is for
    assert found[0]["training_dollars"] is None
    with pytest.raises(ValueError, match="same bags"):
        as_json([rows[0], compared("other bags", make_table(clear=10), 1.0)], Prices())


def test_every_kind_of_model_gets_a_row_and_those_before_a_failure_are_kept(
    samples: list[Sample], taxonomy: Taxonomy, tmp_path: Path
) -> None:
    tiny = save_tiny_vlm(tmp_path / "tuned")
    TrainingRecord(method="full", samples=5, epochs=1, seconds=60).write(tiny)
    given: list[ComparedModel] = []
    with pytest.raises(BadModel, match="nowhere"):
        given.extend(comparison(samples, taxonomy, [str(tiny)], [], ["bundled", str(tmp_path / "nowhere.onnx")]))
    assert [row.model for row in given] == [str(tiny), "yolox-lite0-simulated (detector)"]
    rows = list(comparison(samples, taxonomy, [str(tiny)], [], ["bundled"]))
    assert [row.model for row in rows if row.rule] == list(RULES.values())
    assert all(f"| {name} | " in table(rows) for name in RULES.values())
    rows = [row for row in rows if not row.rule]
    assert rows[-1].model == f"{tiny}, together with {rows[1].model}"
    assert rows[-1].seconds_per_scan == pytest.approx(rows[0].seconds_per_scan + rows[1].seconds_per_scan)
    assert [row.trained[0].seconds for row in (rows[0], rows[2])] == [60, 60]
    apart = comparison(samples, taxonomy, [str(tiny)], [], ["bundled"], together=False)
    assert sum(not row.rule for row in apart) == 2


def test_the_interval_of_map_holds_it_and_shrinks_with_more_bags() -> None:
    draws = np.random.default_rng(0)
    truth = [[SampleBox(label="knife", xyxy=(0, 0, 10, 10))] for _ in range(200)]
    said = []
    for _ in truth:
        right = Detection("knife", float(draws.uniform(0.3, 1)), (0, 0, 10, 10))
        wrong = Detection("knife", float(draws.uniform(0, 0.8)), (20, 20, 30, 30))
        said.append([right, wrong] if draws.random() < 0.7 else [wrong])
    widths = []
    for count in (40, 200):
        at50, at50_95 = map_rates(said[:count], truth[:count], [f"{i}" for i in range(count)])
        assert at50.value is not None
        assert at50.ci is not None
        assert at50.ci[0] < at50.value < at50.ci[1]
        assert at50_95.value == pytest.approx(at50.value)
        widths.append(at50.ci[1] - at50.ci[0])
    assert widths[1] < widths[0]
