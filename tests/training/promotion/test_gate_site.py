"""What the site's own bags decide: they refuse, they forgive, and once there are enough they have to show it too."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.training.conftest import MakeTable
from tests.training.promotion.test_gate import check, detail, gate_of, listing, refused, unshown
from training.evaluation.bag_table import BagTable, ScanOutcome
from training.promotion.gate import SITE_THREATS_NEEDED
from xray_app.taxonomy import Taxonomy


@pytest.mark.parametrize(
    ("threats", "clear", "words"),
    [(20, 29, "Not enough site evidence yet: 49 held-out bags of the 50"), (20, 30, "The site holds 20 of 300 threat")],
)
def test_few_bags_of_the_site_leave_it_to_the_simulated_ones_but_refuse_what_is_plainly_worse(
    taxonomy: Taxonomy, make_table: MakeTable, threats: int, clear: int, words: str
) -> None:
    good, before = make_table(), make_table(threats=threats, clear=clear)
    equal = gate_of(taxonomy, good, good, (before, before))
    assert equal.answer == "passed"
    assert detail(equal, "site evidence").startswith(words)
    assert check(equal, "site: threat recall").answer == "reported", "no tick for what is not shown"
    assert check(equal, "site: threat recall").needs == 52
    lost = gate_of(taxonomy, good, good, (before, make_table(threats=threats, clear=clear, found=10)))
    assert "site: threat recall" in refused(lost)


@pytest.mark.parametrize(("threats", "answer"), [(299, "passed"), (300, "not shown yet")])
def test_from_300_threat_bags_on_the_site_has_to_show_it_too(
    taxonomy: Taxonomy, make_table: MakeTable, threats: int, answer: str
) -> None:
    assert SITE_THREATS_NEEDED == 300
    good, before = make_table(), make_table(threats=threats, found=290)
    gate = gate_of(taxonomy, good, good, (before, make_table(threats=threats, found=278)))
    assert gate.answer == answer
    assert check(gate, "site: threat recall").answer == ("reported" if answer == "passed" else "not shown yet")
    assert (unshown(gate) == []) == (answer == "passed")
    assert ("site evidence" in [check.name for check in gate.checks]) == (answer == "passed")
    assert gate_of(taxonomy, good, good, (before, before)).passed


def test_bags_in_which_nobody_looked_for_threats_are_no_evidence_of_them(taxonomy: Taxonomy) -> None:
    def bags(alarms: int) -> BagTable:
        outcomes = [ScanOutcome.scoped(f"u{n}", ("laptop",), {"laptop": 1}, {}, {}) for n in range(60)]
        outcomes += [ScanOutcome.scoped(f"c{n}", None, {}, {}, {"knife": 0.9} if n < alarms else {}) for n in range(40)]
        return BagTable.of(outcomes, taxonomy.rules())

    before, after = bags(0), bags(6)
    gate = gate_of(taxonomy, before, after, (before, after))
    assert refused(gate) == ["simulated: false alarms", "site: false alarms"]
    assert "6 of 40 clear bags flagged" in detail(gate, "simulated: false alarms")
    assert detail(gate, "site evidence").startswith("Not enough site evidence yet: 40 held-out bags of the 50 needed")


@pytest.mark.parametrize(("budget", "answer"), [(0.10, "not shown yet"), (0.09, "refused"), (0.0, "refused")])
def test_a_plain_gain_on_the_site_leaves_a_simulated_loss_within_budget_open(
    taxonomy: Taxonomy, make_table: MakeTable, budget: float, answer: str
) -> None:
    policy = replace(taxonomy.policy(), collapse_budget=budget)
    before, after = make_table(found=150), make_table(found=135)
    site = make_table(threats=60, clear=60, found=30), make_table(threats=60, clear=60, found=40)
    gate = gate_of(taxonomy, before, after, site, policy=policy)
    found = check(gate, "simulated: threat recall")
    assert found.answer == answer
    if answer == "not shown yet":
        assert "a plain gain (10 threat bags more found and 0 fewer, at equal false alarms)" in found.detail
    assert gate.answer == ("refused" if answer == "refused" else "not shown yet")


@pytest.mark.parametrize(("gained", "alarms", "forgiven"), [(6, 0, True), (5, 0, False), (10, 40, False)])
def test_a_gain_that_may_be_chance_or_comes_of_flagging_more_forgives_nothing(
    taxonomy: Taxonomy, make_table: MakeTable, gained: int, alarms: int, forgiven: bool
) -> None:
    site = (
        make_table(threats=60, clear=60, found=30),
        make_table(threats=60, clear=60, found=30 + gained, alarms=alarms),
    )
    gate = gate_of(taxonomy, make_table(found=150), make_table(found=135), site)
    assert (check(gate, "simulated: threat recall").answer == "not shown yet") == forgiven


def test_a_forgotten_class_or_no_effect_is_not_forgiven(taxonomy: Taxonomy, make_table: MakeTable) -> None:
    site = make_table(threats=60, clear=60, found=30), make_table(threats=60, clear=60, found=40)
    every, forgotten = listing(taxonomy, 60, range(0)), listing(taxonomy, 60, range(60))
    assert "simulated: classes" in refused(gate_of(taxonomy, every, forgotten, site))
    assert refused(gate_of(taxonomy, make_table(), make_table(), site, differ=False)) == ["answers differ"]


def test_each_scanner_of_the_site_is_reported_and_decides_nothing(taxonomy: Taxonomy, make_table: MakeTable) -> None:
    good = make_table()
    before = make_table(threats=4, clear=2, found=4)
    after = make_table(threats=4, clear=2, found=2, alarms=1)
    scanners = dict.fromkeys(before.bags, "lane 2") | {"t0003": "lane 1", "c0001": ""}
    gate = gate_of(taxonomy, good, good, (before, after), scanners=scanners)
    found = check(gate, "site: by scanner")
    assert (gate.answer, found.answer) == ("passed", "reported")
    assert found.detail == (
        "unknown: 0 of 0 threat bags found, 0 by the active model; 0 of 1 clear bags flagged, 0 by the active model. "
        "lane 1: 0 of 1 threat bags found, 1 by the active model; 0 of 0 clear bags flagged, 0 by the active model. "
        "lane 2: 2 of 3 threat bags found, 3 by the active model; 1 of 1 clear bags flagged, 0 by the active model."
    )
    assert "site: by scanner" not in [one.name for one in gate_of(taxonomy, good, good).checks]
