from __future__ import annotations

import io
import math
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
from PIL import Image

from xray_app.analysis import ActiveAdapter, Analyser, boxes_of
from xray_app.detector.base import Detection
from xray_app.errors import BadModel, Busy, ModelUnavailable, OutOfMemory, UnknownLabel
from xray_app.report import format_report
from xray_app.scan.read import Limits, Scan, read_scan
from xray_app.taxonomy import ItemClass, SiteRules, Taxonomy
from xray_app.threat_score import Calibration, Thresholds
from xray_app.types import Status
from xray_app.vlm.base import Answer, Draft

KNIFE = "Items detected: 1 knife (threat), 1 laptop. Security risk: HIGH - knife detected."
CLEAR = "Items detected: none. Security risk: LOW - no threats detected."


class SaysThis:
    """A VLM with a fixed answer for each adapter, that notices when two threads are in it at once.

    With `falls_back` it answers with the base model after an adapter did not load, else as it did before.
    """

    name, weights_sha256 = "says-this", "0" * 64

    def __init__(self, base: Answer, adapted: Answer | None = None) -> None:
        self.base, self.adapted = base, adapted or base
        self.folder: Path | None = None
        self.falls_back = False
        self.entered = threading.Event()
        self.leave = threading.Event()
        self.leave.set()
        self.inside = self.most_inside = 0
        self.told: list[Taxonomy] = []
        self.drafts: list[str | None] = []

    def answer(
        self, images: Sequence[Image.Image], instructions: Sequence[str], drafts: Sequence[Draft]
    ) -> list[Answer]:
        self.drafts += [draft("") for draft in drafts]
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        self.entered.set()
        self.leave.wait(10)
        self.inside -= 1
        return [self.adapted if self.folder else self.base for _ in images]

    def use_adapter(self, folder: Path | None) -> None:
        if folder and not folder.exists():
            if self.falls_back:
                self.folder = None
            raise BadModel(f"The adapter in {folder} does not fit.")
        self.folder = folder

    def use_taxonomy(self, taxonomy: Taxonomy) -> None:
        self.told.append(taxonomy)


class SeesThis:
    name, sha256 = "sees-this", "1" * 64

    def __init__(self, *found: Detection) -> None:
        self.found = list(found)

    def detect(self, image: Image.Image, threshold: float = 0.05) -> list[Detection]:
        return [one for one in self.found if one.confidence >= threshold]


@pytest.fixture
def scan() -> Scan:
    out = io.BytesIO()
    Image.new("RGB", (200, 100), (240, 230, 220)).save(out, "PNG")
    return read_scan(out.getvalue(), "bag.png", Limits(10**6, 10**6), bag_id="bag 7", view="top", scanner_id="A")


def analyser(taxonomy: Taxonomy, vlm: SaysThis, detector: SeesThis, **more: object) -> Analyser:
    return Analyser(vlm, detector, taxonomy.rules(), **more)  # type: ignore[arg-type]


def said(text: str, *, finished: bool = True) -> Answer:
    return Answer(text, finished)


def test_an_analysis_holds_what_both_models_said_and_who_they_are(taxonomy: Taxonomy, scan: Scan) -> None:
    box = Detection("scissors", 0.8, (10, 10, 60, 40))
    analysis = analyser(taxonomy, SaysThis(said(KNIFE)), SeesThis(box)).analyse(scan)
    assert [item.label for item in analysis.report.items] == ["knife", "laptop"]
    assert [(b.label, b.xyxy, b.source, b.threat) for b in analysis.boxes] == [
        ("scissors", (10, 10, 60, 40), "model", True)
    ]
    assert (analysis.risk.level, analysis.risk.action) == ("HIGH", "SEARCH")
    assert analysis.agreement.vlm_only[0] == "knife"
    assert analysis.agreement.detector_only == ("scissors",)
    assert (analysis.models.vlm.name, analysis.models.vlm.adapter) == ("says-this", None)
    assert analysis.models.detector.sha256 == "1" * 64
    assert analysis.taxonomy_sha256 == taxonomy.sha256
    assert (analysis.scan.bag_id, analysis.scan.view, analysis.scan.scanner_id) == ("bag 7", "top", "A")
    assert analysis.scan.id == analysis.scan.sha256 == scan.sha256
    assert 0 <= analysis.timings_ms.vlm <= analysis.timings_ms.total


def test_the_detectors_boxes_are_the_draft_of_the_vlms_answer(taxonomy: Taxonomy, scan: Scan) -> None:
    vlm = SaysThis(said(CLEAR))
    analyser(taxonomy, vlm, SeesThis(Detection("laptop", 0.9, (1, 1, 9, 9)))).analyse(scan)
    analyser(taxonomy, vlm, SeesThis()).analyse_together([scan, scan])
    assert vlm.drafts == [format_report(counts, taxonomy) for counts in ({"laptop": 1}, {}, {})]


def test_a_model_not_validated_here_never_says_clear(taxonomy: Taxonomy, scan: Scan) -> None:
    desk = analyser(taxonomy, SaysThis(said(CLEAR)), SeesThis())
    assert (desk.analyse(scan).risk.level, desk.analyse(scan).risk.action) == ("LOW", "REVIEW")
    validated = analyser(
        taxonomy, SaysThis(said(CLEAR)), SeesThis(), validated=lambda scanner, adapter: scanner == "A"
    ).analyse(scan)
    assert validated.risk.action == "CLEAR"
    assert validated.models.vlm.validated


@pytest.mark.parametrize("answer", [said(CLEAR, finished=False), said("blah \x00 🙂"), said(""), said("9" * 10_000)])
def test_an_answer_cut_off_or_nonsense_is_kept_and_never_below_review(
    taxonomy: Taxonomy, scan: Scan, answer: Answer
) -> None:
    analysis = analyser(taxonomy, SaysThis(answer), SeesThis(), validated=lambda *_: True).analyse(scan)
    assert not analysis.report.complete
    assert analysis.risk.action in ("REVIEW", "SEARCH")
    assert len(analysis.report.text) == len(answer.text)


def test_a_box_that_counts_is_kept_down_to_the_lower_threshold_and_an_allowed_one_is_not(taxonomy: Taxonomy) -> None:
    policy = taxonomy.policy("prison")
    weak = policy.lower_threshold
    found = [Detection(label, weak, (0, 0, 9, 9)) for label in ("laptop", "gun", "lighter")]
    found.append(Detection("can", 0.9, (1, 1, 5, 5)))
    boxes = boxes_of(found, SiteRules(taxonomy, policy))
    assert [box.label for box in boxes] == ["can", "gun", "lighter"]
    assert [box.id for box in boxes] == ["m1", "m2", "m3"]
    higher = replace(policy, lower_threshold=0.4)
    shown = boxes_of([Detection("lighter", 0.3, (0, 0, 9, 9))], SiteRules(taxonomy, higher))
    assert [box.label for box in shown] == ["lighter"], "still on the screen"


def test_a_restricted_box_at_the_policys_lower_threshold_is_a_review(taxonomy: Taxonomy, scan: Scan) -> None:
    prison = taxonomy.policy("prison")
    lighter = Detection("lighter", prison.lower_threshold, (0, 0, 9, 9))
    desk = Analyser(SaysThis(said(CLEAR)), SeesThis(lighter), SiteRules(taxonomy, prison), validated=lambda *told: True)
    assert desk.analyse(scan).risk.level == "MEDIUM"


def test_the_next_analysis_uses_the_adapter_promoted_meanwhile(taxonomy: Taxonomy, scan: Scan, tmp_path: Path) -> None:
    active: list[ActiveAdapter | None] = [None]
    vlm = SaysThis(said(CLEAR), said(KNIFE))
    desk = analyser(taxonomy, vlm, SeesThis(), active_adapter=lambda: active[0])
    assert desk.analyse(scan).models.vlm.adapter is None
    active[0] = ActiveAdapter("a1", tmp_path)
    promoted = desk.analyse(scan)
    assert (promoted.models.vlm.adapter, promoted.risk.level) == ("a1", "HIGH")
    active[0] = None
    assert desk.analyse(scan).risk.level == "LOW"


def test_an_answer_given_on_trial_says_so_until_the_trial_ends(taxonomy: Taxonomy, scan: Scan, tmp_path: Path) -> None:
    active = [ActiveAdapter("a1", tmp_path, trial=True)]
    vlm = SaysThis(said(CLEAR), said(KNIFE))
    desk = analyser(taxonomy, vlm, SeesThis(), active_adapter=lambda: active[0])
    models = desk.analyse(scan).models
    assert (models.vlm.trial, models.detector.trial) == (True, False)
    assert models.model_dump(mode="json")["vlm"]["trial"] is True
    active[0] = ActiveAdapter("a1", tmp_path)
    models = desk.analyse(scan).models
    assert not models.vlm.trial
    assert "trial" not in models.model_dump(mode="json")["vlm"], "the contract's words"


def test_an_adapter_that_does_not_load_is_an_error_not_another_models_answer(
    taxonomy: Taxonomy, scan: Scan, tmp_path: Path
) -> None:
    desk = analyser(
        taxonomy,
        SaysThis(said(CLEAR)),
        SeesThis(),
        active_adapter=lambda: ActiveAdapter("gone", tmp_path / "gone"),
    )
    for _ in range(2):
        with pytest.raises(BadModel):
            desk.analyse(scan)


def test_after_a_switch_that_failed_the_next_analysis_switches_again(
    taxonomy: Taxonomy, scan: Scan, tmp_path: Path
) -> None:
    active: list[ActiveAdapter | None] = [ActiveAdapter("a1", tmp_path)]
    vlm = SaysThis(said(CLEAR), said(KNIFE))
    desk = analyser(taxonomy, vlm, SeesThis(), active_adapter=lambda: active[0])
    assert desk.analyse(scan).risk.level == "HIGH"
    active[0] = ActiveAdapter("gone", tmp_path / "gone")
    with pytest.raises(BadModel):
        desk.analyse(scan)
    active[0] = None  # rolled back, while the model still answers with the one before
    rolled_back = desk.analyse(scan)
    assert (rolled_back.models.vlm.adapter, rolled_back.risk.level) == (None, "LOW")


def test_after_a_switch_that_failed_the_former_adapter_is_loaded_anew_before_an_answer_bears_its_id(
    taxonomy: Taxonomy, scan: Scan, tmp_path: Path
) -> None:
    former = ActiveAdapter("a1", tmp_path)
    active = [former]
    vlm = SaysThis(said(CLEAR), said(KNIFE))
    vlm.falls_back = True
    desk = analyser(taxonomy, vlm, SeesThis(), active_adapter=lambda: active[0])
    assert desk.analyse(scan).risk.level == "HIGH"
    active[0] = ActiveAdapter("gone", tmp_path / "gone")
    with pytest.raises(BadModel):
        desk.analyse(scan)
    assert vlm.folder is None
    active[0] = former  # rolled back
    rolled_back = desk.analyse(scan)
    assert (rolled_back.models.vlm.adapter, rolled_back.risk.level) == ("a1", "HIGH")


def test_scans_analysed_together_get_the_answers_they_get_alone(taxonomy: Taxonomy, scan: Scan) -> None:
    other = replace(scan, bag_id="bag 8", image=Image.new("RGB", (50, 60), (1, 2, 3)))
    box = Detection("scissors", 0.8, (10, 10, 40, 40))
    vlm = SaysThis(said(KNIFE))
    desk = analyser(taxonomy, vlm, SeesThis(box), max_queue=0)
    together = desk.analyse_together([scan, other])
    changing = {"id", "created_at", "timings_ms"}
    for one, alone in zip(together, (desk.analyse(scan), desk.analyse(other)), strict=True):
        assert one.model_dump(exclude=changing) == alone.model_dump(exclude=changing)
    assert together[0].scan.bag_id == "bag 7"
    assert together[0].id != together[1].id
    assert desk.analyse_together([]) == []


def test_one_scan_at_a_time_and_past_the_queue_busy(taxonomy: Taxonomy, scan: Scan) -> None:
    vlm = SaysThis(said(CLEAR))
    vlm.leave.clear()
    desk = analyser(taxonomy, vlm, SeesThis(), max_queue=2)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(desk.analyse, scan)
        assert vlm.entered.wait(10)
        rest = [pool.submit(desk.analyse, scan) for _ in range(6)]
        refused = [one for one in rest if isinstance(one.exception(timeout=1) if one.done() else None, Busy)]
        while len(refused) < 4:
            refused = [one for one in rest if one.done() and isinstance(one.exception(), Busy)]
        vlm.leave.set()
        served = [one.result(10) for one in [first, *rest] if one not in refused]
    assert len(served) == 3
    assert vlm.most_inside == 1
    assert desk.analyse(scan).report.complete, "the queue is free again"


@pytest.mark.parametrize(
    "problem",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    ],
)
def test_too_little_memory_is_an_error_that_says_so(taxonomy: Taxonomy, scan: Scan, problem: Exception) -> None:
    def short(images: Sequence[Image.Image], instructions: Sequence[str], drafts: object = None) -> list[Answer]:
        raise problem

    vlm = SaysThis(said(CLEAR))
    desk = analyser(taxonomy, vlm, SeesThis())
    with mock.patch.object(vlm, "answer", short), pytest.raises(OutOfMemory, match="nothing was stored"):
        desk.analyse(scan)
    assert desk.analyse(scan).report.complete


def test_the_memory_of_another_server_is_not_ours(taxonomy: Taxonomy, scan: Scan) -> None:
    vlm = SaysThis(said(CLEAR))
    away = ModelUnavailable("The server answered 500: CUDA out of memory")
    with mock.patch.object(vlm, "answer", side_effect=away), pytest.raises(ModelUnavailable, match="server answered"):
        analyser(taxonomy, vlm, SeesThis()).analyse(scan)


def test_a_failing_model_frees_its_place_in_the_queue(taxonomy: Taxonomy, scan: Scan) -> None:
    vlm = SaysThis(said(CLEAR))
    desk = analyser(taxonomy, vlm, SeesThis(), max_queue=1)
    vlm.answer = lambda images, instructions, drafts: 1 / 0  # type: ignore[assignment,return-value]
    for _ in range(5):
        with pytest.raises(ZeroDivisionError):
            desk.analyse(scan)


def test_the_vlms_boxes_are_shown_as_its_own_and_count_as_what_it_said(taxonomy: Taxonomy, scan: Scan) -> None:
    """Thousandths of a picture of 200 × 100. A knife where the detector shows one too is not drawn twice."""
    text = (
        '{"items": [{"bbox_2d": [50, 100, 300, 400], "label": "knife"}, {"bbox_2d": [500, 0, 750, 500], "label": "gun"}'
        ', {"bbox_2d": [0, 500, 500, 1000], "label": "scissors"}], "risk": "HIGH"}'
    )
    detector = SeesThis(Detection("knife", 0.8, (10, 10, 60, 40)), Detection("scissors", 0.8, (100, 50, 200, 100)))
    desk = analyser(taxonomy, SaysThis(Answer(text, True, frame=(1000, 1000))), detector)
    analysis = desk.analyse(scan)
    drawn = [(box.id, box.source, box.label, box.xyxy) for box in analysis.boxes]
    assert drawn == [
        ("m1", "model", "knife", (10, 10, 60, 40)),
        ("m2", "model", "scissors", (100, 50, 200, 100)),
        ("v2", "vlm", "gun", (100, 0, 150, 50)),
        ("v3", "vlm", "scissors", (0, 50, 100, 100)),  # in another place
    ]
    assert (analysis.risk.level, analysis.risk.action) == ("HIGH", "SEARCH")
    assert "gun (VLM)" in analysis.risk.reason, "its box is not the detector's word"
    assert analysis.agreement.vlm_only == ("gun",)
    assert [box.source for box in desk.detect(scan)] == ["model", "model"]
    unplaced = analyser(taxonomy, SaysThis(Answer(text, True)), SeesThis()).analyse(scan)
    assert (unplaced.boxes, unplaced.risk.level) == ((), "HIGH")


def test_the_score_rests_on_what_each_model_hardly_believes(taxonomy: Taxonomy, scan: Scan) -> None:
    faint = Detection("scissors", 0.02, (10, 10, 60, 40))
    likely = Answer(CLEAR, True, threats={"knife": 0.3, "gun": 0.2})
    desk = analyser(taxonomy, SaysThis(likely), SeesThis(faint))
    analysis = desk.analyse(scan)
    assert analysis.boxes == (), "what is too faint to be shown still counts for the score"
    assert (analysis.threat_score, analysis.calibrated) == (0.5, False)
    assert analysis.score_evidence is not None
    assert (analysis.score_evidence.vlm, analysis.score_evidence.detector) == (0.5, 0.02)
    assert analysis.score_evidence.pair == desk.pair_in_use()


def test_an_operating_point_is_of_its_scanner_and_decides_there(taxonomy: Taxonomy, scan: Scan) -> None:
    asked = []
    score = 1 / (1 + math.exp(-(1 + math.log(0.2 / 0.8) + 0.5 * math.log(0.1 / 0.9))))
    calibration = Calibration(("vlm", "detector"), 1.0, (1.0, 0.5))
    acts = {
        "A": Thresholds("a", calibration, score - 0.01, 0.01),
        "B": Thresholds("b", calibration, score + 0.01, score),
        "C": Thresholds("c", calibration, score + 0.01, None),
    }

    def known(scanner_id: str | None, pair: str) -> Thresholds | None:
        asked.append(pair)
        return acts.get(scanner_id or "")

    answer, box = Answer(CLEAR, True, threats={"knife": 0.2}), Detection("knife", 0.1, (10, 10, 60, 40))
    desk = analyser(taxonomy, SaysThis(answer), SeesThis(box), operating_point=known)
    found = desk.analyse_together([replace(scan, scanner_id=name) for name in "ABCD"])
    assert [one.risk.level for one in found] == ["HIGH", "MEDIUM", "LOW", "LOW"]
    assert found[0].risk.reason == f"threat score {score:.0%}, searched from {score - 0.01:.0%} on"
    assert [one.calibrated for one in found] == [True, True, True, False]
    assert [one.threat_score for one in found] == pytest.approx([score, score, score, 0.2])
    assert [one.score_evidence and one.score_evidence.operating_point for one in found] == ["a", "b", "c", None]
    assert set(asked) == {desk.pair_in_use()}


@pytest.mark.parametrize(
    ("text", "least"), [(KNIFE, 1.0), ("The bag holds a knife beside a laptop.", 1.0), (CLEAR, 0.0), ("", 0.0)]
)
def test_a_model_that_gives_no_probabilities_counts_by_what_it_names(
    taxonomy: Taxonomy, scan: Scan, text: str, least: float
) -> None:
    """A threat that it names anywhere counts as certain: the safe side."""
    analysis = analyser(taxonomy, SaysThis(said(text)), SeesThis()).analyse(scan)
    assert analysis.threat_score is not None
    assert analysis.threat_score >= least
    assert (analysis.threat_score > 0.5) == (least == 1.0)


def test_a_class_that_is_added_counts_from_the_next_answer_on(taxonomy: Taxonomy, scan: Scan) -> None:
    rules = [taxonomy.rules()]
    vlm = SaysThis(said("Items detected: 1 katana (threat). Security risk: HIGH - katana detected."))
    asked: list[str] = []

    def thresholds(scanner: str | None, pair: str) -> None:
        asked.append(pair)

    desk = analyser(
        taxonomy, vlm, SeesThis(Detection("katana", 0.9, (0, 0, 9, 9))),
        current_rules=lambda: rules[-1], operating_point=thresholds,
    )  # fmt: skip
    with pytest.raises(UnknownLabel, match="katana"):
        desk.detect(scan)
    rules.append(taxonomy.with_classes([ItemClass.of_desk("katana", Status.PROHIBITED)]).rules())
    pair = desk.pair_in_use()
    for _ in range(2):
        analysis = desk.analyse(scan)
        assert [item.label for item in analysis.report.items] == ["katana"]
        assert [box.label for box in analysis.boxes if box.threat] == ["katana"]
        assert analysis.report.complete
        assert (analysis.risk.level, analysis.risk.action) == ("HIGH", "SEARCH")
        assert analysis.taxonomy_sha256 == rules[-1].taxonomy.sha256
    assert vlm.told == [rules[-1].taxonomy], "once, when it changed"
    assert set(asked) == {pair}
    assert pair != analyser(taxonomy, vlm, SeesThis()).pair_in_use(), "thresholds of before rest on other classes"
