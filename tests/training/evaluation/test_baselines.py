"""The rules that see nothing of the content: chosen on other scans, and beside every model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from training.data.samples import Sample, make_sample
from training.evaluation.bag_table import BagTable, ScanOutcome
from training.evaluation.baselines import RULES, rules_of
from training.evaluation.beside_rules import Judged, beside_rules, caption, won_by_rules
from xray_app.taxonomy import Taxonomy


class Site:
    """Scans of scanners: `add("red", {"knife": 1}, 8)` makes eight bags of one content."""

    def __init__(self, folder: Path, taxonomy: Taxonomy) -> None:
        self.folder, self.taxonomy = folder, taxonomy
        self.samples: list[Sample] = []

    def add(
        self,
        group: str | None,
        counts: dict[str, int],
        bags: int,
        shade: tuple[int, int, int] = (90, 90, 90),
        size: tuple[int, int] = (40, 30),
        looked_for: Sequence[str] | None = None,
    ) -> Site:
        for _ in range(bags):
            number = len(self.samples)
            path = self.folder / f"{self.folder.name}{number}.png"
            Image.new("RGB", size, shade).save(path)
            scope = None if looked_for is None else tuple(looked_for)
            self.samples.append(
                make_sample(path, size, counts, (), scope, f"{self.folder.name}:{number}", self.taxonomy, group)
            )
        return self


@pytest.fixture
def train(tmp_path: Path, taxonomy: Taxonomy) -> Site:
    (folder := tmp_path / "train").mkdir()
    return Site(folder, taxonomy)


@pytest.fixture
def val(tmp_path: Path, taxonomy: Taxonomy) -> Site:
    (folder := tmp_path / "val").mkdir()
    return Site(folder, taxonomy)


def said(outcomes: Sequence[ScanOutcome]) -> list[dict[str, int]]:
    return [dict(one.said) for one in outcomes]


def test_the_group_rule_says_what_each_scanner_mostly_holds(train: Site, val: Site, taxonomy: Taxonomy) -> None:
    train.add("one", {"knife": 2}, 7).add("one", {"laptop": 1}, 3).add("other", {"lighter": 1}, 9).add("other", {}, 1)
    val.add("one", {"knife": 2}, 1).add("other", {"lighter": 1}, 1).add("never seen", {"lighter": 1}, 1)
    rule = rules_of(val.samples, train.samples, taxonomy)
    *known, unknown = said(rule["group"].outcomes)
    assert known == [{"knife": 2}, {"lighter": 1}]
    assert unknown == said(rule["constant"].outcomes)[0], "a scanner nobody has seen gets the constant"
    assert rule["group"].threat == pytest.approx((0.7, 0.0, 7 / 20))
    assert rule["group"].presence[1]["lighter"] == pytest.approx(0.9)


def test_the_constant_is_the_list_with_the_best_item_f1(train: Site, val: Site, taxonomy: Taxonomy) -> None:
    train.add("one", {"knife": 1}, 6).add("one", {"scissors": 1, "knife": 1}, 3).add("one", {"nail polish": 1}, 1)
    val.add("one", {"knife": 1}, 2)
    (answer, again) = said(rules_of(val.samples, train.samples, taxonomy)["constant"].outcomes)
    assert answer == again == {"knife": 1}
    best = 0.0
    for given in ({"knife": 1}, {"scissors": 1}, {"knife": 1, "scissors": 1}, {"knife": 1, "nail polish": 1}):
        outcomes = [
            ScanOutcome.scoped(one.bag_id, None, one.counts(taxonomy), given, dict.fromkeys(given, 1.0))
            for one in train.samples
        ]
        value = BagTable.of(outcomes, taxonomy.rules()).item_f1().value
        assert value is not None
        best = max(best, value)
        if given == answer:
            chosen = value
    assert chosen == best


def test_of_two_classes_that_it_says_the_likelier_counts_as_the_surest(
    train: Site, val: Site, taxonomy: Taxonomy
) -> None:
    last, first = taxonomy.names[-1], taxonomy.names[0]
    train.add("one", {first: 1, last: 1}, 6).add("one", {last: 1}, 3).add("one", {first: 1}, 1)
    val.add("one", {last: 1}, 1)
    rule = rules_of(val.samples, train.samples, taxonomy)["constant"]
    assert list(rule.outcomes[0].said) == [last, first]
    assert BagTable.of(rule.outcomes, taxonomy.rules()).top_one().value == 1


def test_a_class_nobody_looked_for_says_nothing_of_its_absence(train: Site, val: Site, taxonomy: Taxonomy) -> None:
    train.add("one", {"knife": 1}, 3, looked_for=("knife",)).add("one", {"scissors": 1}, 9, looked_for=("scissors",))
    val.add("one", {"knife": 1, "scissors": 1}, 1)
    rule = rules_of(val.samples, train.samples, taxonomy)["group"]
    assert rule.presence[0] == {"knife": 1.0, "scissors": 1.0}
    assert said(rule.outcomes) == [{"knife": 1, "scissors": 1}]


def test_the_thumbnail_rule_goes_by_colour_and_size(train: Site, val: Site, taxonomy: Taxonomy) -> None:
    dark, light = (40, 40, 40), (220, 220, 220)
    train.add("one", {"gun": 1}, 12, dark).add("one", {}, 12, light)
    train.add("one", {"laptop": 1}, 12, light, (400, 30))
    val.add("one", {"gun": 1}, 1, dark).add("one", {}, 1, light).add("one", {"laptop": 1}, 1, light, (400, 30))
    rule = rules_of(val.samples, train.samples, taxonomy)["thumbnail"]
    assert said(rule.outcomes) == [{"gun": 1}, {}, {"laptop": 1}]
    assert rule.threat[0] > 0.7 > 0.3 > max(rule.threat[1:])


def test_without_training_scans_no_bag_chooses_the_rule_it_is_judged_by(val: Site, taxonomy: Taxonomy) -> None:
    """Each bag has a class of its own: a rule that saw it would say it."""
    labels = [name for name in taxonomy.names if taxonomy.resolve(name).status == "allowed"][:12]
    for label in labels:
        val.add(label, {label: 1}, 1)
    for name, rule in rules_of(val.samples, None, taxonomy).items():
        for label, one in zip(labels, rule.outcomes, strict=True):
            assert label not in one.said, name


def test_a_report_has_the_rules_beside_the_models_and_says_what_they_win(
    train: Site, val: Site, taxonomy: Taxonomy
) -> None:
    for site, times in ((train, 8), (val, 4)):
        site.add("one", {"knife": 1}, times).add("other", {"lighter": 1}, times)

    def model(right: int) -> Judged:
        outcomes = []
        for place, sample in enumerate(val.samples):
            answer = dict(sample.counts(taxonomy)) if place < right else {"laptop": 1}
            outcomes.append(
                ScanOutcome.scoped(sample.bag_id, None, sample.counts(taxonomy), answer, dict.fromkeys(answer, 0.9))
            )
        return Judged(outcomes)

    found = beside_rules(val.samples, taxonomy.rules(), {"vlm": model(6)}, train.samples)
    assert found["baselines"]["group"]["item_f1"] == 1
    assert found["baselines"]["constant"]["item_f1"] < 1
    assert found["baselines"]["groups"] == 2
    assert found["stratified_auroc"]["group"]["threat"] is None, "no scanner holds both kinds of bags"
    assert [one["figure"] for one in found["won_by_rules"]] == ["item_f1", "top1", "exact_list"]
    assert {one["rule"] for one in found["won_by_rules"]} <= {"group", "thumbnail"}
    text = caption(found["won_by_rules"], RULES)
    assert "sees nothing of the content does at least as well" in text
    assert "item F1 (the scanner alone 1.000, the best model, vlm, 0.750)" in text


def test_a_model_that_beats_every_rule_is_said_to() -> None:
    rules = {"constant": {"item_f1": 0.3, "top1": 0.5, "exact_list": None}}
    assert won_by_rules(rules, {"vlm": {"item_f1": 0.31, "top1": 0.51, "exact_list": 0.1}}) == []
    (tie,) = won_by_rules(rules, {"vlm": {"item_f1": 0.3, "top1": 0.51, "exact_list": 0.1}})
    assert tie["figure"] == "item_f1"
    assert caption([]).startswith("No rule")
