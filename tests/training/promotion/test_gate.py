"""The gate: what is worse is refused with its reason, what is as good passes, too little says so."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.training.conftest import MakeTable
from training.data.samples import SampleBox
from training.evaluation.bag_table import BagTable, ScanOutcome
from training.evaluation.map_interval import MapDraws
from training.promotion.gate import (
    CLASS_SUPPORT,
    HoldoutResult,
    paired_lower_bound,
    run_gate,
    sign_test,
    threats_needed,
)
from xray_app.detector.base import Detection
from xray_app.taxonomy import Taxonomy
from xray_app.types import Gate


def gate_of(
    taxonomy: Taxonomy,
    active: BagTable,
    candidate: BagTable,
    site: tuple[BagTable, BagTable] | None = None,
    differ: bool = True,
    problem: str | None = None,
) -> Gate:
    nothing = BagTable.of([], taxonomy.rules())
    before, after = site or (nothing, nothing)
    return run_gate(HoldoutResult(active, before), HoldoutResult(candidate, after), taxonomy.policy(), differ, problem)


def detail(gate: Gate, name: str) -> str:
    return next(check.detail for check in gate.checks if check.name == name)


def failed(gate: Gate) -> list[str]:
    return [check.name for check in gate.checks if not check.passed]


def test_an_equal_candidate_passes_and_the_lack_of_site_evidence_is_said(
    taxonomy: Taxonomy, make_table: MakeTable
) -> None:
    gate = gate_of(taxonomy, make_table(found=145), make_table(found=145))
    assert gate.passed
    assert detail(gate, "site evidence").startswith("Not enough site evidence yet: 0 held-out bags of the 50")


def test_a_worse_candidate_is_refused_with_the_figures(taxonomy: Taxonomy, make_table: MakeTable) -> None:
    gate = gate_of(taxonomy, make_table(found=145), make_table(found=130))
    assert not gate.passed
    assert "simulated: threat recall" in failed(gate)
    text = detail(gate, "simulated: threat recall")
    assert text.startswith("130 of 150 threat bags found, 145 by the active model.")
    assert "more than -0.05 is needed" in text


def test_three_threat_bags_of_150_may_be_lost_and_four_may_not(taxonomy: Taxonomy, make_table: MakeTable) -> None:
    active = make_table(found=145)
    assert paired_lower_bound(0, 3, 150) == pytest.approx(-0.049, abs=5e-4)
    assert gate_of(taxonomy, active, make_table(found=142)).passed
    assert paired_lower_bound(0, 4, 150) == pytest.approx(-0.058, abs=5e-4)
    refused = gate_of(taxonomy, active, make_table(found=141))
    assert failed(refused) == ["simulated: threat recall"]
    assert "The difference is at least -0.058" in detail(refused, "simulated: threat recall")


def test_five_points_worse_rarely_passes_and_an_equal_one_mostly_does(
    taxonomy: Taxonomy, make_table: MakeTable
) -> None:
    draws = np.random.default_rng(0)
    threat = make_table(found=150).threat

    def passes(loss: float) -> int:
        passed = 0
        for _ in range(200):
            active = draws.random(150) < 0.93
            # Most bags are easy or hard for both; a few change hands, as after a retraining.
            candidate = np.where(active, draws.random(150) > 0.03 + loss, draws.random(150) < 0.4)
            lost, gained = int((active & ~candidate).sum()), int((~active & candidate).sum())
            passed += paired_lower_bound(gained, lost, int(threat.sum())) > -0.05
        return passed

    assert passes(0.0) > 150
    assert passes(0.06) < 20


def test_false_alarms_over_budget_are_refused(taxonomy: Taxonomy, make_table: MakeTable) -> None:
    active = make_table(alarms=3)
    assert gate_of(taxonomy, active, make_table(alarms=10)).passed
    gate = gate_of(taxonomy, active, make_table(alarms=12))
    assert failed(gate) == ["simulated: false alarms"]
    assert "12 of 150 clear bags flagged, 3 by the active model: +0.060" in detail(gate, failed(gate)[0])


def test_false_alarms_may_rise_by_the_whole_budget_and_no_further(taxonomy: Taxonomy, make_table: MakeTable) -> None:
    assert taxonomy.policy().false_alarm_budget == 0.05
    active = make_table(clear=100, alarms=3)
    assert gate_of(taxonomy, active, make_table(clear=100, alarms=8)).passed
    assert failed(gate_of(taxonomy, active, make_table(clear=100, alarms=9))) == ["simulated: false alarms"]


def test_an_adapter_that_changes_nothing_or_does_not_load_is_refused(taxonomy: Taxonomy, make_table: MakeTable) -> None:
    same = make_table()
    assert failed(gate_of(taxonomy, same, same, differ=False)) == ["answers differ"]
    gate = run_gate(HoldoutResult(same, same), None, taxonomy.policy(), False, "3 keys do not match")
    assert not gate.passed
    assert [(check.name, check.detail) for check in gate.checks] == [("loads", "3 keys do not match")]
    left_over = gate_of(taxonomy, same, same, problem="2 keys are left over")
    assert failed(left_over) == ["loads"]
    assert detail(left_over, "loads") == "2 keys are left over"


def test_the_site_decides_too_once_it_has_fifty_bags(taxonomy: Taxonomy, make_table: MakeTable) -> None:
    good = make_table()
    site = make_table(threats=60, clear=10, found=55)
    lost = make_table(threats=60, clear=10, found=40)
    assert gate_of(taxonomy, good, good, (site, site)).passed
    assert "site: threat recall" in failed(gate_of(taxonomy, good, good, (site, lost)))


@pytest.mark.parametrize(("clear", "decides"), [(29, False), (30, True)])
def test_forty_nine_bags_of_the_site_decide_nothing_and_fifty_do(
    taxonomy: Taxonomy, make_table: MakeTable, clear: int, decides: bool
) -> None:
    good = make_table()
    before, after = make_table(threats=20, clear=clear), make_table(threats=20, clear=clear, found=0)
    gate = gate_of(taxonomy, good, good, (before, after))
    assert ("site: threat recall" in failed(gate)) == decides
    assert gate.passed != decides


@pytest.mark.parametrize(("lost", "passes"), [(4, True), (5, False)])
def test_of_few_threat_bags_four_may_be_lost_and_five_are_a_plain_loss(
    taxonomy: Taxonomy, make_table: MakeTable, lost: int, passes: bool
) -> None:
    assert sign_test(4, 0) == pytest.approx(0.0625)
    assert sign_test(5, 0) == pytest.approx(0.03125)
    good = make_table()
    site = make_table(threats=20, clear=40), make_table(threats=20, clear=40, found=20 - lost)
    gate = gate_of(taxonomy, good, good, site)
    assert ("site: threat recall" not in failed(gate)) == passes
    said = "no loss is evident" if passes else "but the loss is plain (sign test p=0.031)"
    assert said in detail(gate, "site: threat recall")


def test_bags_in_which_nobody_looked_for_threats_are_no_evidence_of_them(taxonomy: Taxonomy) -> None:
    def bags(alarms: int) -> BagTable:
        outcomes = [ScanOutcome.scoped(f"u{n}", ("laptop",), {"laptop": 1}, {}, {}) for n in range(60)]
        outcomes += [ScanOutcome.scoped(f"c{n}", None, {}, {}, {"knife": 0.9} if n < alarms else {}) for n in range(40)]
        return BagTable.of(outcomes, taxonomy.rules())

    before, after = bags(0), bags(4)
    gate = gate_of(taxonomy, before, after, (before, after))
    assert failed(gate) == ["simulated: false alarms"]
    assert "4 of 40 clear bags flagged" in detail(gate, "simulated: false alarms")
    assert detail(gate, "site evidence").startswith("Not enough site evidence yet: 40 held-out bags of the 50 needed")


def test_a_site_with_few_threat_bags_is_called_insufficient_but_a_plain_loss_is_refused(
    taxonomy: Taxonomy, make_table: MakeTable
) -> None:
    good = make_table()
    site = make_table(threats=20, clear=40, found=18)
    gate = gate_of(taxonomy, good, good, (site, site))
    assert gate.passed
    assert "Insufficient: 52 threat bags are needed" in detail(gate, "site: threat recall")
    assert "site: threat recall" in failed(
        gate_of(taxonomy, good, good, (site, make_table(threats=20, clear=40, found=8)))
    )


def test_a_forgotten_class_is_refused_though_the_pooled_figures_hide_it(taxonomy: Taxonomy) -> None:
    def bags(says_tin: bool) -> BagTable:
        outcomes = []
        for number in range(400):
            true = {"laptop": 1} | ({"tin": 1} if number < 40 else {}) | ({"saw": 1} if number < 3 else {})
            said = {label: 1 for label in true if label != "tin" or says_tin}
            outcomes.append(ScanOutcome.scoped(f"{number}", None, true, said, dict.fromkeys(said, 0.9)))
        return BagTable.of(outcomes, taxonomy.rules())

    gate = gate_of(taxonomy, bags(True), bags(False))
    assert failed(gate) == ["simulated: classes"]
    text = detail(gate, "simulated: classes")
    assert "tin (0 of 40 found, 40 before)" in text
    assert "Insufficient: saw." in text


def listing(taxonomy: Taxonomy, support: int, missed: range, labels: tuple[str, ...] = ("tin",)) -> BagTable:
    """200 bags; each label is in the first `support` of them, and named there but in those `missed`."""
    outcomes = []
    for number in range(200):
        true = dict.fromkeys(labels, 1) if number < support else {}
        said = {} if number in missed else true
        outcomes.append(ScanOutcome.scoped(f"{number:03d}", None, true, said, dict.fromkeys(said, 0.9)))
    return BagTable.of(outcomes, taxonomy.rules())


@pytest.mark.parametrize(("support", "refused"), [(29, False), (30, True)])
def test_nothing_is_said_of_a_class_of_29_items_and_of_one_of_30_it_is(
    taxonomy: Taxonomy, support: int, refused: bool
) -> None:
    assert CLASS_SUPPORT == 30
    every, forgotten = listing(taxonomy, support, range(0)), listing(taxonomy, support, range(support))
    gate = gate_of(taxonomy, every, forgotten)
    assert ("simulated: classes" in failed(gate)) == refused
    assert ("Insufficient: tin." in detail(gate, "simulated: classes")) != refused


def test_a_loss_that_is_plain_of_one_class_alone_may_be_chance_where_two_are_tested(taxonomy: Taxonomy) -> None:
    def gate(*labels: str) -> Gate:
        # The candidate misses twelve that the active model named, and names four that it missed.
        active, candidate = (listing(taxonomy, 200, missed, labels) for missed in (range(4), range(4, 16)))
        return gate_of(taxonomy, active, candidate)

    assert sign_test(12, 4) == pytest.approx(0.038, abs=5e-4)
    assert failed(gate("tin")) == ["simulated: classes"]
    assert gate("tin", "laptop").passed


def test_an_item_list_may_lose_two_margins_and_no_more(taxonomy: Taxonomy) -> None:
    def gate(invented: int) -> Gate:
        outcomes = [
            [
                ScanOutcome.scoped(f"{number:03d}", None, {"laptop": 1}, said, dict.fromkeys(said, 0.9))
                for number in range(300)
                for said in [{"laptop": 1} | ({"phone": 1} if number < count else {})]
            ]
            for count in (0, invented)
        ]
        active, candidate = (BagTable.of(of_one, taxonomy.rules()) for of_one in outcomes)
        return gate_of(taxonomy, active, candidate)

    def bound(gate: Gate) -> float:
        return float(detail(gate, "simulated: item list").split("at least ")[1].split()[0])

    within, beyond = gate(54), gate(57)
    assert within.passed
    assert -0.1 < bound(within) < -0.095
    assert failed(beyond) == ["simulated: item list"]
    assert -0.105 < bound(beyond) < -0.1
    assert "more than -0.10 is needed" in detail(beyond, "simulated: item list")


def test_a_ruined_item_list_is_refused(taxonomy: Taxonomy, make_table: MakeTable) -> None:
    good = make_table()
    silent = BagTable.of(
        [
            ScanOutcome.scoped(bag, None, {"knife": 1} if bag[0] == "t" else {"laptop": 1}, *says)
            for bag in good.bags
            for says in [({"knife": 1}, {"knife": 0.9}) if bag[0] == "t" else ({}, {})]
        ],
        taxonomy.rules(),
    )
    assert "simulated: item list" in failed(gate_of(taxonomy, good, silent))


def test_unpaired_tables_are_a_bug_not_a_verdict(taxonomy: Taxonomy, make_table: MakeTable) -> None:
    with pytest.raises(ValueError, match="same bags"):
        gate_of(taxonomy, make_table(threats=150), make_table(threats=149))


def test_tangos_bound_solves_his_equation() -> None:
    # With no disagreement the bound is known: -z² / (n + z²).
    assert paired_lower_bound(0, 0, 100) == pytest.approx(-(1.6448536**2) / (100 + 1.6448536**2), abs=1e-6)
    assert paired_lower_bound(0, 100, 100) == pytest.approx(-1.0, abs=1e-6)
    for gained, lost, count in [(3, 7, 80), (10, 2, 60), (0, 4, 52), (5, 0, 52)]:
        bound = paired_lower_bound(gained, lost, count)
        # The nuisance share by brute force instead of by the closed form.
        shares = np.linspace(max(0.0, -bound) + 1e-9, (1 - bound) / 2 - 1e-9, 400_001)
        agree = count - gained - lost
        likelihood = gained * np.log(shares + bound) + lost * np.log(shares) + agree * np.log(1 - 2 * shares - bound)
        share = shares[int(np.argmax(likelihood))]
        statistic = (gained - lost - count * bound) / math.sqrt(count * (2 * share + bound * (1 - bound)))
        assert statistic == pytest.approx(1.6448536, abs=2e-3)


def test_small_numbers() -> None:
    assert threats_needed(0.05) == 52
    assert paired_lower_bound(0, 0, 52) > -0.05 > paired_lower_bound(0, 0, 51)
    assert sign_test(0, 0) == 1
    assert sign_test(5, 0) == pytest.approx(1 / 32)
    assert sign_test(0, 5) == 1


Predicted = list[list[Detection]]


def boxes(count: int, found: int) -> MapDraws:
    """A knife in each of `count` bags, the first `found` of them drawn where they are and the rest elsewhere."""
    there, elsewhere = (10.0, 10.0, 30.0, 30.0), (50.0, 50.0, 60.0, 60.0)
    drawn: Predicted = [[Detection("knife", 0.9, there if n < found else elsewhere)] for n in range(count)]
    truths = [[SampleBox(label="knife", xyxy=there)] for _ in range(count)]
    return MapDraws.of(drawn, truths, [f"bag {n}" for n in range(count)])


def test_a_detector_that_draws_worse_is_refused_though_its_lists_are_as_good(
    taxonomy: Taxonomy, make_table: MakeTable
) -> None:
    same, nothing = make_table(), BagTable.of([], taxonomy.rules())

    def gate(before: MapDraws, after: MapDraws) -> Gate:
        active, candidate = (HoldoutResult(same, nothing, drawn, boxes(0, 0)) for drawn in (before, after))
        return run_gate(active, candidate, taxonomy.policy(), answers_differ=True)

    assert gate(boxes(300, 240), boxes(300, 240)).passed
    assert gate(boxes(300, 240), boxes(300, 290)).passed
    worse = gate(boxes(300, 240), boxes(300, 190))
    assert failed(worse) == ["simulated: mAP50"]
    text = detail(worse, "simulated: mAP50")
    assert "over 300 boxes" in text
    assert "more than -0.05 is needed" in text
    few = gate(boxes(49, 49), boxes(49, 1))
    assert few.passed
    assert detail(few, "simulated: mAP50") == "Insufficient: 49 of the 50 boxes needed are held out."
    assert failed(gate(boxes(50, 50), boxes(50, 1))) == ["simulated: mAP50"]


def test_a_detectors_figures_hold_its_map(taxonomy: Taxonomy, make_table: MakeTable) -> None:
    table, nothing = make_table(), BagTable.of([], taxonomy.rules())
    figures = HoldoutResult(table, nothing, boxes(100, 100), boxes(0, 0)).metrics()
    assert figures.simulated.map50 == pytest.approx(1.0)
    assert figures.site.map50 is None
    assert "map50" not in HoldoutResult(table, nothing).metrics().model_dump()["simulated"], "the contract's words"
