"""The paired tests behind the gate: their bounds, their error at every size, and false alarms held equal."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.training.conftest import MakeTable
from training.evaluation.bag_table import BagTable, ScanOutcome
from training.promotion.paired import (
    PLAIN,
    Difference,
    at_equal_alarms,
    bags_to_decide,
    paired_lower_bound,
    sign_test,
)
from xray_app.taxonomy import Taxonomy

SIZES = (20, 30, 40, 51, 52, 60, 80, 100, 150, 200, 300, 400, 600, 800)


def passing(count: int, loss: float, different: float, margin: float = 0.05) -> float:
    """Exact chance that the lower bound clears the margin: every trinomial outcome weighed.

    The bound rises with each bag gained and falls with each lost, so for each number gained the most that may be lost
    is sought, starting from that of one fewer.
    """
    lost_share, gained_share = (different + loss) / 2, (different - loss) / 2
    alike = 1 - lost_share - gained_share
    log = [math.lgamma(number + 1) for number in range(count + 1)]

    def chance(gained: int, lost: int) -> float:
        total = log[count] - log[gained] - log[lost] - log[count - gained - lost]
        for number, share in ((gained, gained_share), (lost, lost_share), (count - gained - lost, alike)):
            if number and share <= 0:
                return 0.0
            total += number * math.log(share) if number else 0.0
        return math.exp(total)

    most, found = -1, 0.0
    for gained in range(count + 1):
        if gained > 8 + gained_share * count + 8 * math.sqrt(gained_share * count):
            break  # the rest has no weight
        while gained + most < count and paired_lower_bound(gained, most + 1, count) > -margin:
            most += 1
        found += math.fsum(chance(gained, lost) for lost in range(min(most, count - gained) + 1))
    return found


@pytest.mark.parametrize("different", [0.10, 0.16, 0.30])
def test_a_candidate_ten_points_worse_hardly_passes_at_any_size(different: float) -> None:
    chances = [passing(count, 0.10, different) for count in SIZES]
    assert max(chances) < (0.01 if different == 0.10 else 0.05)
    assert max(chances[SIZES.index(100) :]) <= max(chances[: SIZES.index(100)]), "and with more bags it gets harder"


def test_the_error_at_the_margin_itself_is_near_the_five_per_cent_that_are_stated() -> None:
    assert max(passing(count, 0.05, 0.10) for count in SIZES) < 0.06
    assert passing(400, 0.05, 0.10) == pytest.approx(0.05, abs=0.005)


def test_an_equal_candidate_passes_the_more_often_the_more_bags_there_are_without_a_cliff() -> None:
    chances = [passing(count, 0.0, 0.10) for count in SIZES]
    assert chances[SIZES.index(400)] > 0.9
    assert chances[0] > 0.05, "the same test at twenty bags"
    best = np.maximum.accumulate(chances)
    assert max(best - chances) < 0.03, "no more than the steps of a count"
    assert abs(chances[SIZES.index(52)] - chances[SIZES.index(51)]) < 0.01, "where the old gate fell off"


def test_an_equal_candidate_is_plainly_worse_in_fewer_than_one_of_forty_at_any_size() -> None:
    for count in range(1, 60):
        # Of `count` disagreements, each as likely a loss: the most likely to err of all hold-outs.
        refused = [lost for lost in range(count + 1) if sign_test(lost, count - lost) < PLAIN]
        assert math.fsum(math.comb(count, lost) for lost in refused) / 2**count < 0.025


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
    assert paired_lower_bound(0, 0, 52) > -0.05 > paired_lower_bound(0, 0, 51)
    assert sign_test(0, 0) == 1
    assert sign_test(5, 0) == pytest.approx(1 / 32)
    assert sign_test(0, 5) == 1


def test_a_difference_has_both_bounds_and_says_what_is_plain() -> None:
    first = np.array([True] * 6 + [False] * 94)
    second = np.array([False] * 5 + [True] + [False] * 90 + [True] * 4)
    found = Difference.of(first, second)
    assert (found.lost, found.gained, found.count) == (5, 4, 100)
    assert found.estimate == pytest.approx(-0.01)
    assert found.low == paired_lower_bound(4, 5, 100) < found.estimate < found.high
    back = Difference.of(second, first)
    assert (back.low, back.high) == (-found.high, -found.low)
    assert not found.plain_loss
    assert not found.plain_gain
    assert not Difference.of(np.arange(9) < 5, np.zeros(9, bool)).plain_loss
    assert Difference.of(np.arange(9) < 6, np.zeros(9, bool)).plain_loss
    assert Difference.of(np.zeros(9, bool), np.arange(9) < 6).plain_gain


def test_how_many_bags_would_decide() -> None:
    assert bags_to_decide(0, 0, 20, 0.05) == 52, "where the models agree on all"
    assert bags_to_decide(0, 0, 20, 0.03) == 88
    planned = bags_to_decide(2, 2, 40, 0.05)
    assert planned is not None
    assert planned == pytest.approx(6.18 * 0.10 / 0.05**2, rel=0.15), "(1.645 + 0.842)² · share / margin²"
    assert passing(planned, 0.0, 0.10) == pytest.approx(0.8, abs=0.05), "four in five"
    behind = bags_to_decide(1, 3, 40, 0.05)
    assert behind is not None
    assert behind > planned, "what was lost has to be made up for"
    assert bags_to_decide(10, 0, 100, 0.05) == 100, "it is shown already"
    assert bags_to_decide(20, 20, 40, 0.001) is None, "no hold-out is as large"


def graded(taxonomy: Taxonomy, threats: list[float], clear: list[float]) -> BagTable:
    """Bags with a knife and without one, each called one with the confidence given (0: not at all)."""
    outcomes = []
    for kind, scores in (("t", threats), ("c", clear)):
        for number, score in enumerate(scores):
            said = {"knife": 1} if score >= taxonomy.policy().prohibited_threshold else {}
            sure = {"knife": score} if score else {}
            true = {"knife": 1} if kind == "t" else {}
            outcomes.append(ScanOutcome.scoped(f"{kind}{number:04}", None, true, said, sure))
    return BagTable.of(outcomes, taxonomy.rules())


def test_the_model_that_flags_fewer_clear_bags_has_its_threshold_lowered(taxonomy: Taxonomy) -> None:
    assert taxonomy.policy().prohibited_threshold == 0.5
    clear = [0.9, 0.8, 0.45, 0.35, 0.2, *[0.0] * 15]
    active = graded(taxonomy, [0.9, 0.8, 0.7, 0.6, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3], [0.7, 0.6, 0.6, *[0.0] * 17])
    # It flags two clear bags where the active model flags three; down to 0.45 it flags three too, and finds two more.
    candidate = graded(taxonomy, [0.9, 0.8, 0.7, 0.6, 0.48, 0.46, 0.44, 0.3, 0.3, 0.3], clear)
    found = at_equal_alarms(active, candidate)
    assert (found.gained, found.lost, found.count) == (2, 0, 10)
    assert found.estimate == pytest.approx(0.2)
    assert found.low < 0.2 < found.high
    back = at_equal_alarms(candidate, active)
    assert back.estimate == pytest.approx(-0.2), "whichever of the two it is"
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low))


def test_where_scores_tie_bags_are_flagged_by_lot(taxonomy: Taxonomy) -> None:
    active = graded(taxonomy, [0.9] * 6 + [0.0] * 4, [0.9] * 6 + [0.0] * 14)
    # Two more of its eighteen clear bags without a score are flagged: a ninth, and so of the threat bags.
    quiet = graded(taxonomy, [0.9] * 1 + [0.0] * 9, [0.9] * 4 + [0.0] * 16)
    assert at_equal_alarms(active, quiet).estimate == pytest.approx((1 + 9 * 2 / 16 - 6) / 10)


def test_a_model_without_probabilities_is_not_told_to_say_less(taxonomy: Taxonomy) -> None:
    active = graded(taxonomy, [1.0] * 90 + [0.0] * 10, [1.0] * 3 + [0.0] * 97)
    candidate = graded(taxonomy, [1.0] * 90 + [0.0] * 10, [1.0] * 5 + [0.0] * 95)
    found = at_equal_alarms(active, candidate)
    assert found.estimate == pytest.approx(-10 * 2 / 97 / 100)
    assert found.low > -0.05, "in the resamples too it is by lot"
    assert not found.plain_loss


def test_equal_models_are_equal_there_and_the_bound_is_never_narrower_than_tangos(
    taxonomy: Taxonomy, make_table: MakeTable
) -> None:
    table = make_table(found=120, alarms=9)
    found = at_equal_alarms(table, table)
    assert (found.estimate, found.lost, found.gained) == (0.0, 0, 0)
    assert found.low == pytest.approx(paired_lower_bound(0, 0, 150))
    draws = np.random.default_rng(3)
    noise = draws.normal(0, 0.2, (2, 400))
    threats, clear = np.clip(0.7 + noise, 0.01, 1), np.clip(0.35 + draws.normal(0, 0.2, (2, 400)), 0.01, 1)
    one, other = (graded(taxonomy, list(t), list(c)) for t, c in zip(threats, clear, strict=True))
    found = at_equal_alarms(one, other)
    assert found.low < paired_lower_bound(found.gained, found.lost, 400) + 1e-9, "the threshold is uncertain too"


def test_the_uncertain_threshold_is_in_the_bound(taxonomy: Taxonomy) -> None:
    """At the same figures, few clear bags say less than many do."""
    draws = np.random.default_rng(8)
    threats = np.clip(0.6 + draws.normal(0, 0.25, (2, 200)), 0.01, 1)
    few, many = 30, 600
    clear = np.clip(0.4 + draws.normal(0, 0.25, (2, many)), 0.01, 1)

    def width(count: int) -> float:
        first, second = (graded(taxonomy, list(t), list(c[:count])) for t, c in zip(threats, clear, strict=True))
        found = at_equal_alarms(first, second)
        return found.estimate - found.low

    assert width(few) > 1.2 * width(many)


def test_a_resample_without_any_threat_bag_says_nothing(taxonomy: Taxonomy) -> None:
    table = graded(taxonomy, [0.9], [0.0] * 3)
    found = at_equal_alarms(table, replace(table))
    assert math.isfinite(found.low)
    assert math.isfinite(found.high)
