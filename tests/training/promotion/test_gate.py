"""The gate: what is worse is refused with its reason, what is as good passes, too little says so."""

from __future__ import annotations

import pytest

from tests.training.conftest import MakeTable
from training.data.samples import SampleBox
from training.evaluation.bag_table import BagTable, ScanOutcome
from training.evaluation.map_interval import MapDraws
from training.promotion.gate import CLASS_SUPPORT, SITE_THREATS_NEEDED, HoldoutResult, run_gate
from training.promotion.paired import bags_to_decide, paired_lower_bound, sign_test
from xray_app.adapter import Gate, GateCheck
from xray_app.detector.base import Detection
from xray_app.taxonomy import Policy, Taxonomy


def gate_of(
    taxonomy: Taxonomy,
    active: BagTable,
    candidate: BagTable,
    site: tuple[BagTable, BagTable] | None = None,
    differ: bool = True,
    problem: str | None = None,
    policy: Policy | None = None,
    scanners: dict[str, str] | None = None,
) -> Gate:
    nothing = BagTable.of([], taxonomy.rules())
    before, after = site or (nothing, nothing)
    return run_gate(
        HoldoutResult(active, before),
        HoldoutResult(candidate, after),
        policy or taxonomy.policy(),
        differ,
        problem,
        scanners or {},
    )


def check(gate: Gate, name: str) -> GateCheck:
    return next(check for check in gate.checks if check.name == name)


def detail(gate: Gate, name: str) -> str:
    return check(gate, name).detail


def refused(gate: Gate) -> list[str]:
    return [check.name for check in gate.checks if check.answer == "refused"]


def unshown(gate: Gate) -> list[str]:
    return [check.name for check in gate.checks if check.answer == "not shown yet"]


def test_an_equal_candidate_passes_and_the_lack_of_site_evidence_is_said_without_a_tick(
    taxonomy: Taxonomy, make_table: MakeTable
) -> None:
    gate = gate_of(taxonomy, make_table(found=145), make_table(found=145))
    assert (gate.answer, gate.passed) == ("passed", True)
    evidence = check(gate, "site evidence")
    assert (evidence.answer, evidence.passed, evidence.needs) == ("reported", False, SITE_THREATS_NEEDED)
    assert evidence.detail.startswith("Not enough site evidence yet: 0 held-out bags of the 50")


def test_a_worse_candidate_is_refused_with_the_figures(taxonomy: Taxonomy, make_table: MakeTable) -> None:
    gate = gate_of(taxonomy, make_table(found=145), make_table(found=130))
    assert (gate.answer, gate.passed) == ("refused", False)
    assert "simulated: threat recall" in refused(gate)
    text = detail(gate, "simulated: threat recall")
    assert text.startswith("130 of 150 threat bags found, 145 by the active model.")
    assert "more than -0.05 is needed" in text
    assert "Plainly worse: 15 against 0 bags" in text


@pytest.mark.parametrize(
    ("lost", "answer"), [(3, "passed"), (4, "not shown yet"), (7, "not shown yet"), (8, "refused")]
)
def test_of_150_threat_bags_three_may_be_lost_seven_may_be_chance_and_eight_are_plain(
    taxonomy: Taxonomy, make_table: MakeTable, lost: int, answer: str
) -> None:
    assert paired_lower_bound(0, 3, 150) == pytest.approx(-0.049, abs=5e-4)
    assert paired_lower_bound(0, 4, 150) == pytest.approx(-0.058, abs=5e-4)
    gate = gate_of(taxonomy, make_table(found=145), make_table(found=145 - lost))
    assert (gate.answer, check(gate, "simulated: threat recall").answer) == (answer, answer)
    assert (refused(gate) == []) == (answer != "refused"), "7 of 150 is within the margin, 8 beyond it"


def test_what_is_not_shown_says_how_many_bags_would_decide(taxonomy: Taxonomy, make_table: MakeTable) -> None:
    gate = gate_of(taxonomy, make_table(found=145), make_table(found=141))
    assert unshown(gate) == ["simulated: threat recall"]
    found = check(gate, "simulated: threat recall")
    assert found.needs == bags_to_decide(0, 4, 150, 0.05)
    assert f"About {found.needs} threat bags would decide" in found.detail
    assert "The difference is at least -0.058" in found.detail


@pytest.mark.parametrize(("count", "answer"), [(20, "not shown yet"), (51, "not shown yet"), (52, "passed")])
def test_with_few_threat_bags_nothing_is_shown_though_the_models_agree_on_all(
    taxonomy: Taxonomy, make_table: MakeTable, count: int, answer: str
) -> None:
    same = make_table(threats=count, found=count, clear=150)
    found = check(gate_of(taxonomy, same, same), "simulated: threat recall")
    assert found.answer == answer
    assert found.needs == (52 if answer == "not shown yet" else None)


@pytest.mark.parametrize(("lost", "answer"), [(5, "not shown yet"), (6, "refused")])
def test_of_few_threat_bags_five_lost_may_be_chance_and_six_are_plain(
    taxonomy: Taxonomy, make_table: MakeTable, lost: int, answer: str
) -> None:
    assert sign_test(5, 0) == pytest.approx(0.03125)
    assert sign_test(6, 0) == pytest.approx(0.015625)
    gate = gate_of(taxonomy, make_table(threats=20), make_table(threats=20, found=20 - lost))
    assert check(gate, "simulated: threat recall").answer == answer


def test_without_bags_nothing_is_shown(taxonomy: Taxonomy, make_table: MakeTable) -> None:
    for threats, clear in ((0, 150), (150, 0)):
        same = make_table(threats=threats, clear=clear)
        gate = gate_of(taxonomy, same, same)
        assert gate.answer == "not shown yet"
        assert "simulated: threat recall at equal false alarms" in unshown(gate)


@pytest.mark.parametrize(
    ("more", "answer"), [(3, "passed"), (4, "not shown yet"), (7, "not shown yet"), (8, "refused")]
)
def test_false_alarms_are_judged_by_their_bound(
    taxonomy: Taxonomy, make_table: MakeTable, more: int, answer: str
) -> None:
    assert taxonomy.policy().false_alarm_budget == 0.05
    gate = gate_of(taxonomy, make_table(alarms=3), make_table(alarms=3 + more))
    found = check(gate, "simulated: false alarms")
    assert (found.answer, gate.answer) == (answer, answer)
    assert found.detail.startswith(f"{3 + more} of 150 clear bags flagged, 3 by the active model.")
    assert f"at most {-paired_lower_bound(0, more, 150):+.3f} (one-sided 95 %); less than +0.05 is" in found.detail
    if answer == "not shown yet":
        assert f"About {found.needs} clear bags would decide" in found.detail
    assert gate_of(taxonomy, make_table(alarms=3 + more), make_table(alarms=3)).passed, "fewer are no matter"


def graded(taxonomy: Taxonomy, threats: int, found: int, near: float, alarms: int) -> BagTable:
    """150 clear bags, and threat bags of which the first are found and the rest are scored just below the threshold."""
    outcomes = [
        ScanOutcome.scoped(f"t{i:04}", None, {"knife": 1}, {"knife": 1}, {"knife": 0.9 if i < found else near})
        for i in range(threats)
    ]
    for number in range(150):
        sure = {"knife": 0.9} if number < alarms else {"knife": 0.3}
        outcomes.append(ScanOutcome.scoped(f"c{number:04}", None, {}, {}, sure))
    return BagTable.of(outcomes, taxonomy.rules())


def test_to_flag_more_of_everything_is_seen_at_equal_false_alarms(taxonomy: Taxonomy) -> None:
    name = "simulated: threat recall at equal false alarms"
    # At the threshold both find 120 of 150. With as many false alarms the active model would find them all.
    active, candidate = graded(taxonomy, 150, 120, 0.4, 0), graded(taxonomy, 150, 120, 0.4, 7)
    gate = gate_of(taxonomy, active, candidate)
    assert check(gate, "simulated: threat recall").answer == "passed"
    assert check(gate, "simulated: false alarms").answer == "not shown yet"
    assert check(gate, name).answer == "refused"
    assert gate.answer == "refused"
    text = detail(gate, name)
    assert text.startswith("With both at 7 of 150 false alarms, it finds 0 threat bags more and 30 fewer than")
    assert "more than -0.10 is needed" in text, "twice the margin"
    assert check(gate_of(taxonomy, active, active), name).answer == "passed"
    assert check(gate_of(taxonomy, candidate, active), name).answer == "passed", "a gain"


def test_an_adapter_that_changes_nothing_or_does_not_load_is_refused(taxonomy: Taxonomy, make_table: MakeTable) -> None:
    same = make_table()
    assert refused(gate_of(taxonomy, same, same, differ=False)) == ["answers differ"]
    gate = run_gate(HoldoutResult(same, same), None, taxonomy.policy(), False, "3 keys do not match")
    assert gate.answer == "refused"
    assert [(check.name, check.detail) for check in gate.checks] == [("loads", "3 keys do not match")]
    left_over = gate_of(taxonomy, same, same, problem="2 keys are left over")
    assert refused(left_over) == ["loads"]
    assert detail(left_over, "loads") == "2 keys are left over"


def test_a_forgotten_class_is_refused_though_the_pooled_figures_hide_it(taxonomy: Taxonomy) -> None:
    def bags(says_tin: bool) -> BagTable:
        outcomes = []
        for number in range(400):
            true = {"laptop": 1} | ({"tin": 1} if number < 40 else {}) | ({"saw": 1} if number < 3 else {})
            said = {label: 1 for label in true if label != "tin" or says_tin}
            outcomes.append(ScanOutcome.scoped(f"{number}", None, true, said, dict.fromkeys(said, 0.9)))
        return BagTable.of(outcomes, taxonomy.rules())

    gate = gate_of(taxonomy, bags(True), bags(False))
    assert refused(gate) == ["simulated: classes"]
    assert "tin (0 of 40 found, 40 before)" in detail(gate, "simulated: classes")
    rare = check(gate, "simulated: rare classes")
    assert (rare.answer, rare.needs) == ("reported", CLASS_SUPPORT), "no tick for what nothing is said of"
    assert "Insufficient: saw." in rare.detail


def listing(taxonomy: Taxonomy, support: int, missed: range, labels: tuple[str, ...] = ("tin",)) -> BagTable:
    """200 bags; each label is in the first `support` of them, and named there but in those `missed`."""
    outcomes = []
    for number in range(200):
        true = dict.fromkeys(labels, 1) if number < support else {}
        said = {} if number in missed else true
        outcomes.append(ScanOutcome.scoped(f"{number:03d}", None, true, said, dict.fromkeys(said, 0.9)))
    return BagTable.of(outcomes, taxonomy.rules())


@pytest.mark.parametrize(("support", "tested"), [(29, False), (30, True)])
def test_nothing_is_said_of_a_class_of_29_items_and_of_one_of_30_it_is(
    taxonomy: Taxonomy, support: int, tested: bool
) -> None:
    assert CLASS_SUPPORT == 30
    every, forgotten = listing(taxonomy, support, range(0)), listing(taxonomy, support, range(support))
    gate = gate_of(taxonomy, every, forgotten)
    assert ("simulated: classes" in refused(gate)) == tested
    assert ("simulated: classes" in [one.name for one in gate.checks]) == tested, "and no tick for it"
    assert ("simulated: rare classes" in [one.name for one in gate.checks]) != tested


def test_a_loss_that_is_plain_of_one_class_alone_may_be_chance_where_two_are_tested(taxonomy: Taxonomy) -> None:
    def gate(*labels: str) -> Gate:
        # The candidate misses twelve that the active model named, and names four that it missed.
        active, candidate = (listing(taxonomy, 100, missed, labels) for missed in (range(4), range(4, 16)))
        return gate_of(taxonomy, active, candidate)

    assert sign_test(12, 4) == pytest.approx(0.038, abs=5e-4)
    assert refused(gate("tin")) == ["simulated: classes"]
    assert check(gate("tin", "laptop"), "simulated: classes").answer == "passed"


@pytest.mark.parametrize(
    ("invented", "answer"), [(54, "passed"), (57, "not shown yet"), (66, "not shown yet"), (67, "refused")]
)
def test_an_item_list_may_lose_two_margins_and_no_more(taxonomy: Taxonomy, invented: int, answer: str) -> None:
    outcomes = [
        [
            ScanOutcome.scoped(f"{number:03d}", None, {"laptop": 1}, said, dict.fromkeys(said, 0.9))
            for number in range(300)
            for said in [{"laptop": 1} | ({"phone": 1} if number < count else {})]
        ]
        for count in (0, invented)
    ]
    active, candidate = (BagTable.of(of_one, taxonomy.rules()) for of_one in outcomes)
    found = check(gate_of(taxonomy, active, candidate), "simulated: item list")
    bound = float(found.detail.split("at least ")[1].split()[0])
    assert found.answer == answer
    assert (bound > -0.1) == (answer == "passed")
    assert (600 / (600 + invented) < 0.9) == (answer == "refused"), "F1 itself has to be below"
    assert "more than -0.10 is needed" in found.detail


@pytest.mark.parametrize(("items", "answer"), [(49, "not shown yet"), (50, "passed")])
def test_of_49_items_nothing_is_said_of_the_list(taxonomy: Taxonomy, items: int, answer: str) -> None:
    same = listing(taxonomy, items, range(0))
    found = check(gate_of(taxonomy, same, same), "simulated: item list")
    assert (found.answer, found.needs) == (answer, 50 if answer == "not shown yet" else None)
    nothing = check(gate_of(taxonomy, *[listing(taxonomy, 0, range(0))] * 2), "simulated: item list")
    assert nothing.answer == "reported"


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
    assert "simulated: item list" in refused(gate_of(taxonomy, good, silent))


def test_unpaired_tables_are_a_bug_not_a_verdict(taxonomy: Taxonomy, make_table: MakeTable) -> None:
    with pytest.raises(ValueError, match="same bags"):
        gate_of(taxonomy, make_table(threats=150), make_table(threats=149))


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
    assert refused(worse) == ["simulated: mAP50"]
    text = detail(worse, "simulated: mAP50")
    assert "over 300 boxes" in text
    assert "more than -0.05 is needed" in text
    assert unshown(gate(boxes(300, 240), boxes(300, 228))) == ["simulated: mAP50"]
    few = gate(boxes(49, 49), boxes(49, 1))
    assert few.answer == "not shown yet"
    assert detail(few, "simulated: mAP50") == "Insufficient: 49 of the 50 boxes needed are held out."
    assert refused(gate(boxes(50, 50), boxes(50, 1))) == ["simulated: mAP50"]


def test_a_detectors_figures_hold_its_map(taxonomy: Taxonomy, make_table: MakeTable) -> None:
    table, nothing = make_table(), BagTable.of([], taxonomy.rules())
    figures = HoldoutResult(table, nothing, boxes(100, 100), boxes(0, 0)).metrics()
    assert figures.simulated.map50 == pytest.approx(1.0)
    assert figures.site.map50 is None
    assert "map50" not in HoldoutResult(table, nothing).metrics().model_dump()["simulated"], "the contract's words"
