"""What the page shows is readable without colour, and never runs what somebody else wrote."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.conftest import MakeAnalysis, png, scan_facts
from xray_app.adapter import Adapter, CheckAnswer, Gate, GateCheck
from xray_app.correction.statements import BagStanding
from xray_app.html import panels, training
from xray_app.risk import by_policy
from xray_app.settings import Settings
from xray_app.taxonomy import Taxonomy
from xray_app.types import (
    Agreement,
    Correction,
    Decision,
    Diff,
    Metrics,
    MetricSet,
    Report,
    Risk,
    Run,
    RunMetrics,
    SampleCounts,
    StandingRisk,
)

HOSTILE = "<img src=x onerror=alert(1)>"
NOW = datetime.now(UTC)


@pytest.mark.parametrize("level", ["LOW", "MEDIUM", "HIGH"])
def test_the_risk_has_a_word_and_a_shape(make_analysis: MakeAnalysis, level: str) -> None:
    risk = Risk(level=level, reason="why", action="REVIEW", policy="airport")
    shown = panels.banner(make_analysis(risk=risk))
    assert f">{level}<" in shown
    assert "<svg" in shown
    assert "REVIEW" in shown
    shapes = {panels.icon(one, "REVIEW") for one in ("LOW", "MEDIUM", "HIGH")}
    assert len(shapes) == 3


TICK = "M28 52l15 16 29-34"
KNIFE = StandingRisk(level="HIGH", action="SEARCH", reason="knife, marked by nora", by="nora")


@pytest.mark.parametrize(("action", "ticked"), [("CLEAR", True), ("REVIEW", False), ("SEARCH", False)])
def test_there_is_a_tick_only_where_the_advice_is_to_clear(
    make_analysis: MakeAnalysis, action: str, ticked: bool
) -> None:
    low = make_analysis(risk=Risk(level="LOW", reason="why", action=action, policy="airport"))
    assert (TICK in panels.banner(low)) is ticked


def test_what_a_person_found_is_the_verdict_and_the_models_own_stands_beside(make_analysis: MakeAnalysis) -> None:
    low = make_analysis(risk=Risk(level="LOW", reason="no threats detected", action="CLEAR", policy="airport"))
    calm = panels.banner(low, bag=BagStanding(by_policy(low.risk), low.scan.id, {}))
    assert "risk-own" not in calm
    assert 'data-by="policy"' in calm
    shown = panels.banner(low, bag=BagStanding(KNIFE, low.scan.id, {low.scan.id: KNIFE}))
    assert 'class="risk high"' in shown
    assert 'data-level="HIGH" data-by="nora"' in shown
    assert "Knife, marked by nora" in shown
    assert "<b>SEARCH</b>" in shown
    assert "The models: no threats detected" in shown
    assert shown.index(">HIGH<") < shown.index(">LOW<")
    assert TICK not in shown
    assert "another view" not in shown
    assert "another view" in panels.banner(low, bag=BagStanding(KNIFE, "another", {"another": KNIFE}))


@pytest.mark.parametrize("stated", ["HIGH", None])
def test_the_vlms_own_level_is_marked_as_its_own_where_another_stands(
    taxonomy: Taxonomy, make_analysis: MakeAnalysis, stated: str | None
) -> None:
    text = "Items detected: 1 knife (threat). Security risk: HIGH - knife detected."
    report = Report(items=(), text=text, complete=True, claimed=stated)  # old answers have no `claimed`
    analysis = make_analysis(report=report)
    same = panels.opinions(analysis, taxonomy.rules(), by_policy(analysis.risk))
    assert "own-level" not in same
    low = StandingRisk(level="LOW", action="REVIEW", reason="why", by="policy")
    shown = panels.opinions(analysis, taxonomy.rules(), low)
    assert "“HIGH” is the VLM’s own word. What stands is <b>LOW</b>" in shown
    mute = make_analysis(report=report.model_copy(update={"text": "A bag.", "claimed": None}))
    assert "own-level" not in panels.opinions(mute, taxonomy.rules(), low)


def test_disagreement_is_told_apart_from_agreement(taxonomy: Taxonomy, make_analysis: MakeAnalysis) -> None:
    agreement = Agreement(both=("knife",), vlm_only=("laptop",), detector_only=("scissors",))
    shown = panels.opinions(make_analysis(agreement=agreement), taxonomy.rules())
    assert "The models disagree" in shown
    assert shown.index("VLM only") < shown.index("Detector only") < shown.index("Both")
    calm = Agreement(both=("knife",), vlm_only=(), detector_only=())
    assert "The models agree" in panels.opinions(make_analysis(agreement=calm), taxonomy.rules())


def test_an_opaque_picture_and_a_cut_off_answer_are_said(taxonomy: Taxonomy, make_analysis: MakeAnalysis) -> None:
    report = Report(items=(), text="Items detected: 1 kn", complete=False, unrecognised=("1 kn",))
    shown = panels.opinions(make_analysis(report=report, opaque_fraction=0.9), taxonomy.rules())
    assert "90.0%" in shown
    assert "past the hard limit" in shown
    assert "cut off" in shown
    refused = report.model_copy(update={"problem": "the model refused to answer"})
    assert "not whole: the model refused to answer." in panels.opinions(make_analysis(report=refused), taxonomy.rules())


def test_nothing_written_by_others_becomes_markup(taxonomy: Taxonomy, make_analysis: MakeAnalysis) -> None:
    facts = scan_facts(png(), filename=HOSTILE, bag_id=HOSTILE, view=HOSTILE, scanner_id=HOSTILE)
    analysis = make_analysis(
        scan=facts,
        report=Report(items=(), text=HOSTILE, complete=False, unrecognised=(HOSTILE,)),
        risk=Risk(level="LOW", reason=HOSTILE, action="REVIEW", policy=HOSTILE),
        agreement=Agreement(both=(HOSTILE,), vlm_only=(HOSTILE,), detector_only=(HOSTILE,)),
    )
    correction = Correction(
        id="c", analysis_id=analysis.id, revision=1, status="pending", author=HOSTILE, created_at=NOW, items=(),
        boxes=(), labelled_classes=(HOSTILE,), comment=HOSTILE, diff=Diff(), split="train",
    )  # fmt: skip
    decision = Decision(
        id="d", analysis_id=analysis.id, author=HOSTILE, created_at=NOW, decision="CLEAR", seconds=1.0, note=HOSTILE
    )
    run = Run(
        id=HOSTILE, kind="vlm-adapter", status="failed", progress=0.5, recipe=HOSTILE, method="lora",
        samples=SampleCounts(), metrics=RunMetrics(), error=HOSTILE, created_by=HOSTILE, created_at=NOW,
    )  # fmt: skip
    adapter = Adapter(
        id=HOSTILE, kind="vlm-adapter", base=HOSTILE, base_sha256="0", run_id=None, active=True, created_at=NOW,
        metrics=RunMetrics(), gate=Gate.of([GateCheck(name=HOSTILE, answer="refused", detail=HOSTILE)]),
    )  # fmt: skip
    for shown in (
        panels.banner(analysis, [decision]),
        panels.opinions(analysis, taxonomy.rules()),
        panels.history(analysis, [correction], decisions=[decision]),
        panels.flag(decision),
        panels.search_ordered(decision, []),
        panels.to_review(correction),
        panels.conflict(correction.model_dump(mode="json")),
        panels.said(HOSTILE),
        panels.decided(HOSTILE),
        panels.header(HOSTILE, "admin", True),
        training.run_table([run]),
        training.run_status(run),
        training.comparison(adapter),
        training.counts(training.CorrectionCounts(1, 1, 0, 0), adapter, HOSTILE),
    ):
        assert "<img" not in shown
        assert "&lt;img" in shown


def figures(recall: float, alarms: float, n: int) -> MetricSet:
    return MetricSet(n=n, item_f1=0.5, exact_list=0.2, threat_bag_recall=recall, false_alarm_rate=alarms)


def test_better_and_worse_depend_on_the_figure(make_analysis: MakeAnalysis) -> None:
    adapter = Adapter(
        id="a" * 32, kind="vlm-adapter", base="b", base_sha256="0", run_id=None, active=False, created_at=NOW,
        metrics=RunMetrics(
            active=Metrics(simulated=figures(0.8, 0.1, 300), site=MetricSet(n=0)),
            candidate=Metrics(simulated=figures(0.9, 0.2, 300), site=MetricSet(n=0)),
        ),
        gate=Gate.of([]),
    )  # fmt: skip
    shown = training.comparison(adapter)
    assert '<td class="better">+0.100 ↑ better</td>' in shown
    assert '<td class="worse">+0.100 ↑ worse</td>' in shown
    assert "not enough evidence yet" in shown


@pytest.mark.parametrize(("pending", "where"), [(0, "Analyse"), (7, "Review")])
def test_with_nothing_to_train_on_the_next_step_is_said(pending: int, where: str) -> None:
    said = training.counts(training.CorrectionCounts(0, 0, 0, pending), None, "base")
    assert f"<b>{where}</b> first" in said


def test_each_answer_of_the_gate_has_its_own_sign_and_not_enough_evidence_no_tick() -> None:
    answers: tuple[CheckAnswer, ...] = ("passed", "refused", "not shown yet", "reported")
    signs = {"passed": "✓", "refused": "✗", "not shown yet": "?", "reported": "·"}
    for answer in answers:
        gate = Gate.of([GateCheck(name="site: threat recall", answer=answer, detail="figures")])
        shown = training.comparison(candidate(gate))
        kind = answer.replace(" ", "-")
        assert f'<li class="{kind}"><b>{signs[answer]} {answer}</b> site: threat recall' in shown
        assert ("✓" in shown) == (answer == "passed")
        whole = gate.answer.replace(" ", "-")
        assert f'<div class="gate {whole}">' in shown


def candidate(gate: Gate, active: bool = False, trial: bool = False) -> Adapter:
    return Adapter(
        id="a" * 32, kind="vlm-adapter", base="b", base_sha256="0", run_id=None, active=active, trial=trial,
        created_at=NOW, metrics=RunMetrics(), gate=gate,
    )  # fmt: skip


def test_a_model_on_trial_is_shown_as_one_wherever_it_is_named(make_analysis: MakeAnalysis, taxonomy: Taxonomy) -> None:
    undecided = Gate.of([GateCheck(name="x", answer="not shown yet", detail="y")])
    for trial in (True, False):
        used = candidate(undecided, active=True, trial=trial)
        analysis = make_analysis()
        vlm = analysis.models.vlm.model_copy(update={"adapter": "a" * 32, "trial": trial})
        models = analysis.models.model_copy(update={"vlm": vlm})
        for shown in (
            training.adapter_name(used),
            training.counts(training.CorrectionCounts(1, 1, 0, 0), used, "base"),
            training.unpromoted(used),
            panels.header("ana", "analyst", False, trial=trial),
            panels.opinions(analysis.model_copy(update={"models": models}), taxonomy.rules()),
        ):
            assert ("on trial" in shown) == trial
    detector = make_analysis().models.detector.model_copy(update={"trial": True})
    analysis = make_analysis()
    models = analysis.models.model_copy(update={"detector": detector})
    assert "on trial" in panels.opinions(analysis.model_copy(update={"models": models}), taxonomy.rules())


def test_the_badge_is_there_while_a_bundled_model_serves(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, vlm="bundled", detector="bundled")
    assert settings.demonstration
    assert "demonstration model" in panels.header("ana", "analyst", True)
    own = settings.model_copy(update={"vlm": "reducto/RolmOCR", "detector": "site.onnx"})
    assert not own.demonstration


def test_there_is_no_way_out_for_whom_a_proxy_signs_in() -> None:
    assert "Sign out" in panels.header("ana", "analyst", False)
    assert "Sign out" not in panels.header("ana", "analyst", False, remote=True)


def test_a_bag_drawn_by_lot_says_so_whatever_the_models_say(make_analysis: MakeAnalysis) -> None:
    assert "Drawn by lot" not in panels.banner(make_analysis())
    said = panels.banner(make_analysis(), drawn=True)
    assert "Drawn by lot: search this bag by hand, whatever the models say." in said
    assert "HIGH" in said
