"""A detector's run from corrections to a candidate that draws the boxes, on twelve scans in seconds."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("cv2", reason="LibreYOLO needs OpenCV, which needs libGL", exc_type=ImportError)

from tests.conftest import MakeAnalysis, save_analysis, scan_facts
from training.data.samples import read_jsonl
from training.detector.finetune import DetectorRecipe
from training.promotion import examination
from training.promotion import holdout as held
from training.promotion.examination import OnShare, examine_detector
from training.promotion.registry import promote, read_manifest, rollback
from training.run import detector_pipeline, pipeline
from xray_app.analysis import ActiveAdapter, Analyser
from xray_app.detector.onnx import OnnxDetector
from xray_app.scan.read import Limits, read_scan
from xray_app.settings import BUNDLED_DETECTOR, Settings
from xray_app.simulate import simulate_scan
from xray_app.store import adapters, corrections, runs
from xray_app.store.database import Database
from xray_app.taxonomy import Taxonomy
from xray_app.types import CorrectionIn, Run
from xray_app.vlm.base import Answer

QUICK = DetectorRecipe(sizes=(96,), epochs=1, batch=4)
SCANS = 12


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("holdout")


@pytest.fixture
def settings(db: Database, bags: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A desk with a hold-out of six bags, four replayed scans and training at 96 pixels."""
    simulated = held.simulated_holdout
    monkeypatch.setattr(examination, "simulated_holdout", lambda _, taxonomy, *__, **___: simulated(bags, taxonomy, 6))
    monkeypatch.setattr(detector_pipeline, "REPLAYED_AT_LEAST", 4)
    quickly = detector_pipeline.run_detector
    monkeypatch.setattr(pipeline, "run_detector", lambda *given: quickly(*given, recipe=QUICK))
    return Settings(data_dir=db.data_dir, database_url=str(db.engine.url), _env_file=None)  # type: ignore[call-arg]


@pytest.fixture
def correct(db: Database, make_analysis: MakeAnalysis, taxonomy: Taxonomy) -> Callable[[int, bool], str]:
    """Stores a simulated scan and a correction with, or without, its boxes; says which split it is of."""

    def one(number: int, boxes: bool = True) -> str:
        scan = simulate_scan(40 + number, taxonomy, items=(1, 3))
        file = io.BytesIO()
        scan.image.save(file, "PNG")
        content = file.getvalue()
        facts = scan_facts(content, width=scan.image.width, height=scan.image.height, bag_id=f"bag {number}")
        stored = save_analysis(db, make_analysis(scan=facts, boxes=()), content, "anna")
        labels = [label for label, _ in scan.boxes]
        told = {
            "items": [{"label": label, "count": labels.count(label)} for label in sorted(set(labels))],
            "boxes": [{"label": label, "xyxy": xyxy} for label, xyxy in scan.boxes] if boxes else [],
        }
        asked = CorrectionIn.model_validate(told)
        return corrections.add(db, stored.id, asked, "anna", taxonomy, review_required=False).split

    return one


@pytest.fixture
def corrected(correct: Callable[[int, bool], str]) -> list[str]:
    return [correct(number, True) for number in range(SCANS)]


def queue(db: Database) -> Run:
    return runs.create(db, "detector", "bundled", "full", None, "root")


class Silent:
    name, weights_sha256 = "silent", "0" * 64

    def answer(self, images: list[object], instructions: list[str], drafts: object = None) -> list[Answer]:
        return [Answer("Items detected: none. Security risk: LOW - no threats detected.", True) for _ in images]

    def use_adapter(self, folder: Path | None) -> None:
        pass


def test_the_ring_turns_for_the_detector(
    db: Database, settings: Settings, corrected: list[str], taxonomy: Taxonomy
) -> None:
    assert {"train", "holdout"} == set(corrected), "else this shows nothing of the hold-out"
    run = queue(db)
    assert pipeline.run_pipeline(db, settings, run.id) == 0, runs.get(db, run.id).error
    done = runs.get(db, run.id)
    assert (done.status, done.error, done.progress) == ("succeeded", None, 1.0)
    assert (done.samples.train, done.samples.holdout) == (corrected.count("train"), corrected.count("holdout"))
    assert done.samples.replay == corrected.count("train"), "as many as were corrected, where those are more"
    assert done.metrics.active is not None
    assert done.metrics.candidate is not None
    for figures in (done.metrics.active, done.metrics.candidate):
        assert figures.simulated.n == 6
        assert figures.simulated.map50 is not None
        assert figures.site.n == corrected.count("holdout")

    adapter = adapters.get(db, str(done.adapter_id))
    assert (adapter.kind, adapter.active, adapter.run_id) == ("detector", False, run.id)
    names = {check.name: check.passed for check in adapter.gate.checks}
    assert names["loads"]
    assert names["answers differ"]
    assert {"simulated: threat recall", "simulated: false alarms", "simulated: mAP50", "site evidence"} <= set(names)
    folder = adapters.folder(db, adapter.id)
    manifest = read_manifest(folder)
    assert set(manifest.files) == {"detector.onnx"}
    assert (manifest.method, manifest.image_size) == ("full", {"height": 96, "width": 96})
    assert manifest.recipe is not None

    frozen = read_jsonl(settings.data_dir / "runs" / run.id / "snapshot" / "train.jsonl")
    bags = {sample.bag_id for sample in frozen}
    assert {f"bag {n}" for n, split in enumerate(corrected) if split == "train"} <= bags
    assert not {f"bag {n}" for n, split in enumerate(corrected) if split == "holdout"} & bags

    # Promoted it draws the boxes of the next scan, rolled back the bundled one does; the server goes on.
    base = OnnxDetector.load(BUNDLED_DETECTOR, taxonomy)

    def active() -> ActiveAdapter | None:
        found = adapters.active(db, "detector", base.sha256)
        return ActiveAdapter(found.id, adapters.folder(db, found.id)) if found else None

    desk = Analyser(Silent(), base, taxonomy.rules(), active_detector=active)  # type: ignore[arg-type]
    content = io.BytesIO()
    simulate_scan(7, taxonomy).image.save(content, "PNG")
    scan = read_scan(content.getvalue(), "bag.png", Limits(10**7, 10**7))
    assert desk.analyse(scan).models.detector.sha256 == base.sha256
    promote(db, adapter.id, "root", force=True, trial=True, reason="one epoch at 96 pixels cannot pass")
    assert desk.analyse(scan).models.detector.sha256 == manifest.files["detector.onnx"]
    assert desk.analyse(scan).models.detector.name == f"detector {adapter.id[:8]}"
    assert rollback(db, "detector", base.sha256, "root") is None
    assert desk.analyse(scan).models.detector.sha256 == base.sha256


def test_corrections_without_a_box_are_nothing_to_train_on(
    db: Database, settings: Settings, correct: Callable[[int, bool], str]
) -> None:
    assert "train" in [correct(number, False) for number in range(4)]
    run = queue(db)
    assert pipeline.run_pipeline(db, settings, run.id) == 1
    assert "Draw boxes on a few scans first" in str(runs.get(db, run.id).error)


@pytest.mark.usefixtures("corrected")
def test_a_detector_run_is_cancelled_between_steps(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = queue(db)
    steps: list[float] = []

    class Asked(pipeline.Heartbeat):
        stop_requested = property(lambda self: len(steps) > 1, lambda self, value: None)  # type: ignore[assignment]

    writing = pipeline._writing_progress

    def counting(folder: Path, on_share: OnShare):  # type: ignore[no-untyped-def]
        on_progress = writing(folder, on_share)

        def step(done: float, figures: dict[str, float]) -> bool:
            steps.append(done)
            return on_progress(done, figures)

        return step

    monkeypatch.setattr(pipeline, "Heartbeat", Asked)
    monkeypatch.setattr(pipeline, "_writing_progress", counting)
    assert pipeline.run_pipeline(db, settings, run.id) == 0
    assert runs.get(db, run.id).status == "cancelled"
    assert len(steps) == 2
    assert adapters.page(db)[0] == []


def test_a_detector_that_cannot_be_trained_on_fails_by_name(
    db: Database, settings: Settings, corrected: list[str], tmp_path: Path
) -> None:
    junk = tmp_path / "yolov8n.onnx"
    junk.write_bytes(b"no model")
    run = queue(db)
    assert pipeline.run_pipeline(db, settings.model_copy(update={"detector": str(junk)}), run.id) == 1
    assert str(junk) in str(runs.get(db, run.id).error)


def test_a_file_that_is_no_detector_is_refused_by_the_gate(
    db: Database, settings: Settings, taxonomy: Taxonomy, tmp_path: Path
) -> None:
    told: list[float] = []
    (tmp_path / "detector.onnx").write_bytes(b"no model")
    manifest = examine_detector(db, settings, tmp_path, "one", [], taxonomy.rules(settings.policy), told.append)
    (check,) = manifest.gate.checks
    assert (check.name, check.answer) == ("loads", "refused")
    assert "not an ONNX model" in check.detail
    assert manifest.metrics.candidate is None


def test_the_base_itself_as_candidate_changes_nothing_and_is_measured_once(
    db: Database, settings: Settings, taxonomy: Taxonomy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []
    evaluate = held.evaluate_detector

    def counting(detector, samples, *rest):  # type: ignore[no-untyped-def]
        measured.append(len(samples))
        return evaluate(detector, samples, *rest)

    monkeypatch.setattr(held, "evaluate_detector", counting)
    (tmp_path / "detector.onnx").write_bytes(BUNDLED_DETECTOR.read_bytes())
    manifest = examine_detector(db, settings, tmp_path, "one", [], taxonomy.rules(settings.policy), lambda done: None)
    assert [check.name for check in manifest.gate.checks if check.answer == "refused"] == ["answers differ"]
    assert [count for count in measured if count] == [6], "what is kept for this very file is not measured again"
