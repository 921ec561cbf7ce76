"""The Train and Users tabs' handlers: counts, runs, promotion against and with the gate, users."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import gradio as gr
import pytest

from tests.conftest import MakeAnalysis
from training.promotion import registry
from xray_app import auth
from xray_app.adapter import Adapter, CheckAnswer, Gate, GateCheck
from xray_app.auth import Identity
from xray_app.errors import BadInput, BadRecipe, Conflict, NotFound
from xray_app.services import Services
from xray_app.store import adapters, corrections, runs, users
from xray_app.types import CorrectionIn, Metrics, MetricSet, Role, Run, RunMetrics
from xray_app.ui.guard import Guard
from xray_app.ui.train import KIND, TrainTab
from xray_app.ui.users import UsersTab

pytestmark = pytest.mark.usefixtures("said")
MEASURED = Metrics(simulated=MetricSet(n=300, item_f1=0.6), site=MetricSet(n=0))


@pytest.fixture
def tab(services: Services) -> TrainTab:
    with gr.Blocks(), gr.Tab("Train") as holder:
        return TrainTab(Guard(services), holder)


@pytest.fixture
def people(services: Services) -> UsersTab:
    auth.ensure_admin(services.db, "an admin's password")
    with gr.Blocks(), gr.Tab("Users") as holder:
        return UsersTab(Guard(services), holder)


@pytest.fixture
def correct(services: Services, stored: MakeAnalysis) -> Any:
    """Stores an analysis of a bag and a correction of it; says whether it trains or tests."""

    def make(shade: int) -> str:
        analysis = stored(shade=shade)
        saved = corrections.add(
            services.db, analysis.id, CorrectionIn(items=(), boxes=()), "ana", services.taxonomy, review_required=False
        )
        return saved.split

    return make


@pytest.fixture
def registered(services: Services, tmp_path: Path) -> Any:
    """Registers an adapter of the served base, passed by the gate or refused, or of that answer."""

    def make(passed: bool, answer: CheckAnswer | None = None) -> Adapter:
        answer = answer or ("passed" if passed else "refused")
        folder = tmp_path / f"trained-{answer}"
        folder.mkdir(exist_ok=True)
        (folder / "adapter_model.safetensors").write_bytes(b"weights")
        vlm = services.analyser.vlm
        manifest = registry.new_manifest(
            id=uuid4().hex,
            kind=KIND, base=vlm.name, base_sha256=vlm.weights_sha256, taxonomy_sha256=services.taxonomy.sha256,
            metrics=RunMetrics(active=MEASURED, candidate=MEASURED),
            gate=Gate.of([GateCheck(name="threat recall", answer=answer, detail="bound -0.07")]),
        )  # fmt: skip
        return registry.register(services.db, folder, manifest)

    return make


@pytest.fixture
def registered_detector(services: Services, tmp_path: Path) -> Adapter:
    """A detector of the served base that passed the gate."""
    folder = tmp_path / "trained-detector"
    folder.mkdir()
    (folder / "detector.onnx").write_bytes(b"weights")
    detector = services.analyser.detector
    figures = Metrics(simulated=MetricSet(n=300, item_f1=0.6, map50=0.71), site=MetricSet(n=0))
    manifest = registry.new_manifest(
        id=uuid4().hex,
        kind="detector", base=detector.name, base_sha256=detector.sha256, taxonomy_sha256=services.taxonomy.sha256,
        metrics=RunMetrics(active=figures, candidate=figures),
        gate=Gate(answer="passed", checks=(GateCheck(name="simulated: mAP50", answer="passed", detail="bound -0.01"),)),
    )  # fmt: skip
    return registry.register(services.db, folder, manifest)


def begun(services: Services) -> Run:
    """A run at work, as its own process would leave it."""
    run = runs.create(services.db, KIND, "bundled", "lora", 2.0, "root")
    runs.claim(services.db, run.id, host="h", boot_id="b", pid=1, pid_started=1.0, lease_seconds=60)
    return run


def test_what_is_new_what_trains_and_what_is_kept_for_testing(
    tab: TrainTab, admin: Identity, services: Services, correct: Any
) -> None:
    splits = [correct(shade) for shade in range(12)]
    page = tab.refresh(admin, None, None)
    train, holdout = splits.count("train"), splits.count("holdout")
    assert f'id="count-new"><b>{len(splits)}</b>' in page[tab.counts]
    assert f'id="count-train"><b>{train}</b>' in page[tab.counts]
    assert f'id="count-holdout"><b>{holdout}</b>' in page[tab.counts]

    at_work = begun(services)
    assert 'id="count-new"><b>0</b>' in tab.refresh(admin, None, None)[tab.counts]
    runs.finish(services.db, at_work.id, "failed", error="killed")
    assert f'id="count-new"><b>{len(splits)}</b>' in tab.refresh(admin, None, None)[tab.counts]
    runs.finish(services.db, begun(services).id, "succeeded")
    correct(99)
    assert 'id="count-new"><b>1</b>' in tab.refresh(admin, None, None)[tab.counts]


def test_a_run_is_queued_and_launched_never_trained_in_here(
    tab: TrainTab, admin: Identity, correct: Any, launched: list[Run]
) -> None:
    with pytest.raises(Conflict):
        tab.start_run(admin, "bundled", "lora", 0, None, None)
    assert launched == []
    for shade in range(5):
        correct(shade)
    page = tab.start_run(admin, "bundled", "lora", 1.5, None, None)
    (run,) = launched
    assert (run.recipe, run.method, run.epochs, run.created_by) == ("bundled", "lora", 1.5, "root")
    assert page[tab.timer]["active"] is True, "the page follows it"
    assert "queued" in page[tab.status]


@pytest.mark.parametrize(
    ("recipe", "method", "epochs"),
    [("bundled", "magic", 1), ("bundled", "lora", -1), ("bundled", "lora", float("nan")), ("bundled", "lora", 1e9),
     ("../../etc/passwd", "lora", 1), (["bundled"], "lora", 1)],
)  # fmt: skip
def test_a_run_nobody_could_do_is_refused(
    tab: TrainTab, admin: Identity, correct: Any, launched: list[Run], recipe: Any, method: Any, epochs: Any
) -> None:
    for shade in range(5):
        correct(shade)
    with pytest.raises((BadInput, BadRecipe), match=r"Epochs|recipe"):
        tab.start_run(admin, recipe, method, epochs, None, None)
    assert launched == []


def test_progress_and_loss_come_from_the_runs_own_files(tab: TrainTab, admin: Identity, services: Services) -> None:
    run = begun(services)
    folder = services.settings.data_dir / "runs" / run.id
    folder.mkdir(parents=True)
    rows = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.5}, {"eval_loss": 3.0}]
    (folder / "progress.jsonl").write_text("\n".join(map(json.dumps, rows)) + '\n{"step": 3, "lo')
    runs.heartbeat(services.db, run.id, 0.4, 60)
    page = tab.refresh(admin, None, None)
    assert "40 %" in page[tab.status]
    assert page[tab.curve]["value"].to_dict("list") == {"step": [1.0, 2.0], "loss": [2.0, 1.5]}
    assert page[tab.cancel]["visible"] is True
    assert tab.curve not in tab.refresh(admin, None, page[tab.seen]), "an unchanged curve is not drawn again"


def test_a_tick_sends_what_a_run_changes_and_everything_at_its_end(
    tab: TrainTab, admin: Identity, services: Services, registered: Any
) -> None:
    run = begun(services)
    registered(True)
    opened = tab.open(admin, None, None)
    runs.heartbeat(services.db, run.id, 0.4, 60)
    page = tab.tick(admin, None, opened[tab.seen])
    assert "40 %" in page[tab.status]
    assert not {tab.counts, tab.adapter, tab.comparison, tab.timer} & page.keys()
    fresh = registered(True)
    page = tab.tick(admin, None, page[tab.seen])
    assert fresh.id in [id for _, id in page[tab.adapter]["choices"]]
    runs.finish(services.db, run.id, "failed", error="killed")
    page = tab.tick(admin, None, page[tab.seen])
    assert page[tab.timer]["active"] is False
    assert tab.counts in page


def test_a_run_that_waits_for_none_is_starting_and_one_at_work_is_shown_before_it(
    tab: TrainTab, admin: Identity, services: Services
) -> None:
    runs.create(services.db, KIND, "bundled", "lora", 2.0, "root")
    assert "starting" in tab.refresh(admin, None, None)[tab.status]
    at_work = begun(services)
    runs.create(services.db, KIND, "bundled", "lora", 2.0, "root")
    status = tab.refresh(admin, None, None)[tab.status]
    assert at_work.id[:8] in status
    assert "starting" not in status


def test_a_run_is_cancelled_and_its_end_is_shown(tab: TrainTab, admin: Identity, services: Services) -> None:
    with pytest.raises(NotFound):
        tab.cancel_run(admin, None, None)
    run = begun(services)
    tab.cancel_run(admin, None, None)
    assert runs.heartbeat(services.db, run.id, 0.5, 60) is True, "the run is told to stop"
    runs.finish(services.db, run.id, "failed", error="<b>killed</b>")
    page = tab.refresh(admin, None, None)
    assert "&lt;b&gt;killed" in page[tab.status]
    assert "&lt;b&gt;killed" in page[tab.table]
    assert page[tab.timer]["active"] is False


def test_the_gate_decides_unless_an_admin_says_why(
    tab: TrainTab, admin: Identity, services: Services, registered: Any
) -> None:
    sha256 = services.analyser.vlm.weights_sha256
    refused = registered(False)
    page = tab.refresh(admin, refused.id, None)
    assert "The gate refuses it" in page[tab.comparison]
    assert "bound -0.07" in page[tab.comparison]
    for shown in (page, tab.choose(admin, refused.id)):
        assert shown[tab.promote]["interactive"] is False
        assert "The gate refuses it: threat recall" in shown[tab.unpromoted]
    with pytest.raises(Conflict, match="threat recall"):
        tab.promote_adapter(admin, refused.id, None)
    with pytest.raises(BadInput, match="why"):
        tab.force_adapter(admin, "  ", refused.id, None)
    assert adapters.active(services.db, KIND, sha256) is None

    good = registered(True)
    shown = tab.choose(admin, good.id)
    assert (shown[tab.promote]["interactive"], shown[tab.unpromoted]) == (True, "")
    page = tab.promote_adapter(admin, good.id, None)
    assert good.id[:8] in page[tab.counts]
    assert page[tab.promote]["interactive"] is False
    assert "It is in use" in page[tab.unpromoted]
    tab.force_adapter(admin, "tried on the lane", refused.id, None)
    active = adapters.active(services.db, KIND, sha256)
    assert active is not None
    assert active.id == refused.id
    tab.roll_back(admin, refused.id, None)
    active = adapters.active(services.db, KIND, sha256)
    assert active is not None
    assert active.id == good.id


def test_what_is_not_shown_yet_is_promoted_as_a_trial_and_shown_as_one(
    tab: TrainTab, admin: Identity, services: Services, registered: Any
) -> None:
    undecided = registered(False, "not shown yet")
    page = tab.refresh(admin, undecided.id, None)
    assert (page[tab.promote]["interactive"], page[tab.trial_form]["visible"]) == (False, True)
    assert page[tab.force_form]["visible"] is False
    assert "? not shown yet" in page[tab.comparison]
    assert "✓" not in page[tab.comparison], "not enough evidence is no green tick"
    assert "Not shown yet: threat recall" in page[tab.unpromoted]
    with pytest.raises(BadInput, match="say why"):
        tab.try_adapter(admin, "  ", undecided.id, None)
    with pytest.raises(Conflict, match="as a trial"):
        tab.promote_adapter(admin, undecided.id, None)
    page = tab.try_adapter(admin, "a week on lane 2", undecided.id, None)
    assert page[tab.trial_reason] == ""
    assert page[tab.trial_form]["visible"] is False
    assert "on trial" in page[tab.counts]
    assert "on trial" in page[tab.unpromoted]
    assert [name for name, _ in page[tab.adapter]["choices"] if "in use on trial" in name] != []
    shown = tab.choose(admin, registered(False).id)
    assert (shown[tab.trial_form]["visible"], shown[tab.force_form]["visible"]) == (False, True)
    shown = tab.choose(admin, registered(True).id)
    assert (shown[tab.trial_form]["visible"], shown[tab.force_form]["visible"]) == (False, False)


def test_each_kind_has_its_own_candidates_pointer_and_figures(
    tab: TrainTab, admin: Identity, services: Services, registered: Any, registered_detector: Adapter
) -> None:
    adapter, detector = registered(True), registered_detector
    sha256 = services.analyser.detector.sha256
    page = tab.choose_kind(admin, "detector")
    assert [value for _, value in page[tab.adapter]["choices"]] == [detector.id]
    assert "Box mAP50" in page[tab.comparison]
    assert "0.710" in page[tab.comparison]
    assert (page[tab.recipe]["visible"], page[tab.method]["visible"]) == (False, False)
    assert services.analyser.detector.name in page[tab.counts]
    page = tab.promote_adapter(admin, detector.id, None, "detector")
    assert f"detector {detector.id[:8]}" in page[tab.counts]
    active = adapters.active(services.db, "detector", sha256)
    assert active is not None
    assert active.id == detector.id

    page = tab.choose_kind(admin, KIND)
    assert [value for _, value in page[tab.adapter]["choices"]] == [adapter.id]
    assert "Box mAP50" not in page[tab.comparison], "a language model draws no boxes"
    assert (page[tab.recipe]["visible"], page[tab.method]["visible"]) == (True, True)
    assert page[tab.rollback]["interactive"] is False
    tab.roll_back(admin, detector.id, None, "detector")
    assert adapters.active(services.db, "detector", sha256) is None


def test_a_detector_run_is_launched_once_a_box_was_drawn(
    tab: TrainTab, admin: Identity, services: Services, stored: MakeAnalysis, correct: Any, launched: list[Run]
) -> None:
    for shade in range(5):
        correct(shade)
    with pytest.raises(Conflict, match="with a box"):
        tab.start_run(admin, "bundled", "lora", 0, None, None, "detector")
    box = {"label": "knife", "xyxy": (10, 10, 50, 60)}
    drawn = CorrectionIn.model_validate({"items": [{"label": "knife", "count": 1}], "boxes": [box]})
    splits = [
        corrections.add(services.db, stored(shade=shade).id, drawn, "ana", services.taxonomy, False).split
        for shade in range(20, 26)
    ]
    page = tab.choose_kind(admin, "detector")
    assert f'id="count-train"><b>{splits.count("train")}</b>' in page[tab.counts]
    tab.start_run(admin, "bundled", "lora", 2, None, None, "detector")
    (run,) = launched
    assert (run.kind, run.recipe, run.method, run.epochs) == ("detector", "bundled", "full", 2)


@pytest.mark.parametrize("kind", [None, "", "toaster", 3, ["detector"]])
def test_a_kind_nobody_offers_is_refused(tab: TrainTab, admin: Identity, kind: Any) -> None:
    for ask in (
        lambda: tab.choose_kind(admin, kind),
        lambda: tab.start_run(admin, "bundled", "lora", 1, None, None, kind),
        lambda: tab.roll_back(admin, None, None, kind),
    ):
        with pytest.raises(BadInput, match="what to train"):
            ask()


@pytest.mark.parametrize("chosen", [None, "", 3, "unknown", ["a"]])
def test_an_adapter_that_is_none_is_refused(tab: TrainTab, admin: Identity, chosen: Any) -> None:
    with pytest.raises((BadInput, NotFound)):
        tab.promote_adapter(admin, chosen, None)
    with pytest.raises((BadInput, NotFound)):
        tab.choose(admin, chosen)


def test_users_are_added_given_passwords_and_disabled(people: UsersTab, admin: Identity, services: Services) -> None:
    page = people.add_user(admin, "nora", "annotator", "nora's password")
    assert "nora" in page[people.table]
    assert (page[people.name], page[people.password]) == ("", "")
    token = auth.sign_in(services.db, "nora", "nora's password").token
    people.set_password(admin, "nora", "another password")
    with pytest.raises(auth.NotSignedIn):
        auth.identify(services.db, token)
    people.disable_user(admin, "nora")
    assert [user.disabled for user in users.all_users(services.db) if user.username == "nora"] == [True]


def test_users_that_will_not_do_are_refused(people: UsersTab, admin: Identity) -> None:
    for name, role, password in (
        ("", "analyst", "long enough"), ("x", "emperor", "long enough"), ("x", None, "long enough"),
        ("x", "analyst", "short"), (None, "analyst", None),
    ):  # fmt: skip
        with pytest.raises(BadInput):
            people.add_user(admin, name, role, password)
    for nobody in (None, "", ["admin"]):
        with pytest.raises(BadInput):
            people.disable_user(admin, nobody)
    with pytest.raises(BadInput, match="yourself"):
        people.disable_user(Identity("admin", Role.ADMIN), "admin")
