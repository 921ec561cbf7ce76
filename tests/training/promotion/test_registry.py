"""Adapters on disk and the pointer to the one in use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import update
from typer.testing import CliRunner

from tests.tiny import picture
from tests.vlm.gated import Gated
from training.__main__ import app
from training.promotion import registry
from training.promotion.examination import Examined
from training.promotion.registry import Manifest, new_manifest
from xray_app.adapter import Adapter, CheckAnswer, Gate, GateCheck
from xray_app.errors import BadInput, BadModel, Conflict, NotFound
from xray_app.store import adapters, audit
from xray_app.store.database import Database
from xray_app.store.tables import AdapterRow
from xray_app.types import RunMetrics
from xray_app.vlm.kept_answers import keep_answers, open_kept_scan, read_kept_answers

BASE = "b" * 64


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    folder = tmp_path / "trained"
    (folder / "processor").mkdir(parents=True)
    (folder / "checkpoint-3").mkdir()
    (folder / "checkpoint-3" / "model.safetensors").write_bytes(b"old")
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    (folder / "processor" / "tokenizer.json").write_text("{}")
    return folder


def manifest(adapter_id: str, passed: bool = True, base: str = BASE, answer: CheckAnswer | None = None) -> Manifest:
    return new_manifest(
        id=adapter_id,
        kind="vlm-adapter",
        base="bundled",
        base_sha256=base,
        taxonomy_sha256="t" * 64,
        metrics=RunMetrics(),
        gate=Gate.of(
            [
                GateCheck(
                    name="simulated: threat recall",
                    answer=answer or ("passed" if passed else "refused"),
                    detail="130 of 150",
                )
            ]
        ),
    )


def add(db: Database, trained: Path, adapter_id: str, passed: bool = True, base: str = BASE) -> Adapter:
    return registry.register(db, trained, manifest(adapter_id, passed, base))


def test_the_scans_of_kept_answers_stay_with_the_adapter(db: Database, trained: Path) -> None:
    answers, pictures = keep_answers(Gated(), [picture(3)], ["x"])
    registry.register(db, trained, manifest("one").model_copy(update={"probe": answers}), pictures)
    folder = adapters.folder(db, "one")
    assert read_kept_answers(folder) == answers == registry.read_manifest(folder).probe
    assert open_kept_scan(folder, answers[0]).tobytes() == picture(3).tobytes()
    assert f"probe/{answers[0].scan}.png" in registry.read_manifest(folder).files
    assert not (trained / "probe").exists(), "the folder it was trained in stays as it is"
    registry.register(db, folder, manifest("two"))
    assert read_kept_answers(adapters.folder(db, "two")) == (), "examined again, it has answers of its own"
    assert not (adapters.folder(db, "two") / "probe").exists()


def test_a_registered_adapter_is_a_plain_folder_with_a_manifest(db: Database, trained: Path) -> None:
    adapter = add(db, trained, "one")
    folder = adapters.folder(db, "one")
    assert folder == db.data_dir / "adapters" / "one"
    assert not adapter.active
    kept = registry.read_manifest(folder)
    assert set(kept.files) == {"adapter_config.json", "adapter_model.safetensors", "processor/tokenizer.json"}
    assert {"torch", "transformers", "peft"} <= set(kept.versions)
    assert (trained / "adapter_model.safetensors").exists()


def test_what_is_no_adapter_is_not_registered(db: Database, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadModel, match=r"holds no adapter_model\.safetensors"):
        add(db, tmp_path / "empty", "one")
    (trained / "adapter_model.bin").write_bytes(b"pickle")
    with pytest.raises(BadModel, match="pickles are not taken"):
        add(db, trained, "one")
    assert not (db.data_dir / "adapters" / "one").exists()
    assert adapters.page(db)[0] == []


def test_a_failed_registration_leaves_nothing_behind(
    db: Database, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise Conflict("no")

    monkeypatch.setattr(adapters, "add", full)
    with pytest.raises(Conflict):
        add(db, trained, "one")
    assert list((db.data_dir / "adapters").iterdir()) == []


def test_promote_and_roll_back(db: Database, trained: Path) -> None:
    for name in ("one", "two"):
        add(db, trained, name)
        assert registry.promote(db, name, "root").active
    assert registry.promote(db, "two", "root").active  # again: no second entry
    back = registry.rollback(db, "vlm-adapter", BASE, "root")
    assert back is not None
    assert (back.id, back.active) == ("one", True)
    assert registry.rollback(db, "vlm-adapter", BASE, "root") is None
    assert registry.rollback(db, "vlm-adapter", BASE, "root") is None
    assert not adapters.get(db, "one").active


@pytest.mark.parametrize(("more", "meant"), [((), "served"), (("--vlm", "other"), "other")])
def test_the_command_line_means_the_served_base_model_and_says_so(
    db: Database, trained: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...], meant: str
) -> None:
    bases = {"served": BASE, "other": "c" * 64}
    for name, sha256 in bases.items():
        add(db, trained, f"of-{name}", base=sha256)
        registry.promote(db, f"of-{name}", "root")
    monkeypatch.setenv("XRAY_VLM", "served")
    monkeypatch.setattr("training.commands.promote.open_database", lambda _: db)
    monkeypatch.setattr("xray_app.vlm.load.base_sha256", bases.__getitem__)
    done = CliRunner().invoke(app, ["rollback", *more])
    assert (done.stdout, done.stderr) == ("null\n", f"base model: {meant}\n")
    assert [name for name in bases if not adapters.get(db, f"of-{name}").active] == [meant]


def test_an_adapter_is_registered_for_the_served_base_model(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str, dtype: str, **_: object) -> None:
        raise BadModel(f"asked for {name}")

    monkeypatch.setenv("XRAY_VLM", "openai:m@http://127.0.0.1:1/v1")
    monkeypatch.setenv("XRAY_VLM_BASE", "org/base")
    monkeypatch.setenv("XRAY_DATA_DIR", str(trained.parent / "data"))
    monkeypatch.setattr("xray_app.vlm.load.load_local", load)
    done = CliRunner().invoke(app, ["register", str(trained)])
    assert isinstance(done.exception, BadModel)
    assert done.exception.message == "asked for org/base"
    assert done.stderr == "base model: org/base\n"


def test_another_base_model_has_its_own_pointer(db: Database, trained: Path) -> None:
    add(db, trained, "one")
    add(db, trained, "other", base="c" * 64)
    registry.promote(db, "one", "root")
    registry.promote(db, "other", "root")
    assert adapters.get(db, "one").active
    assert adapters.get(db, "other").active


def test_the_gate_refuses_and_force_needs_a_reason_and_is_audited(db: Database, trained: Path) -> None:
    add(db, trained, "bad", passed=False)
    with pytest.raises(Conflict, match="simulated: threat recall") as caught:
        registry.promote(db, "bad", "root")
    assert caught.value.details == {
        "checks": [{"name": "simulated: threat recall", "answer": "refused", "passed": False, "detail": "130 of 150"}]
    }
    for reason in (None, "  "):
        with pytest.raises(BadInput, match="needs a reason"):
            registry.promote(db, "bad", "root", force=True, reason=reason)
    assert not adapters.get(db, "bad").active
    assert registry.promote(db, "bad", "root", force=True, reason="exercise").active
    (entry,) = audit.newest(db)
    assert entry.who == "root"
    assert entry.details["forced"] is True
    assert entry.details["reason"] == "exercise"


def undecided(db: Database, trained: Path, adapter_id: str = "open") -> Adapter:
    return registry.register(db, trained, manifest(adapter_id, answer="not shown yet"))


def test_what_is_not_shown_yet_is_promoted_as_a_trial_with_a_reason_alone(db: Database, trained: Path) -> None:
    assert not undecided(db, trained).trial
    for ways in ({}, {"reason": "let us see"}, {"force": True, "reason": "let us see"}):
        with pytest.raises(Conflict, match="Not enough is shown of this adapter yet: simulated: threat recall") as said:
            registry.promote(db, "open", "root", **ways)
        assert said.value.details["checks"][0]["answer"] == "not shown yet"
    for reason in (None, "  "):
        with pytest.raises(BadInput, match="as a trial needs a reason"):
            registry.promote(db, "open", "root", reason=reason, trial=True)
    assert not adapters.get(db, "open").active
    promoted = registry.promote(db, "open", "root", reason="lane 2, a week", trial=True)
    assert (promoted.active, promoted.trial) == (True, True)
    active = adapters.active(db, "vlm-adapter", BASE)
    assert active is not None
    assert active.trial
    (entry,) = audit.newest(db)
    assert (entry.details["trial"], entry.details["forced"]) == (True, False)
    assert entry.details["reason"] == "lane 2, a week"
    registry.rollback(db, "vlm-adapter", BASE, "root")
    assert not adapters.get(db, "open").trial, "it is not in use any more"


def test_a_trial_is_no_way_round_a_refusal_and_nothing_for_what_passed(db: Database, trained: Path) -> None:
    add(db, trained, "bad", passed=False)
    with pytest.raises(Conflict, match="The gate refuses"):
        registry.promote(db, "bad", "root", reason="please", trial=True)
    add(db, trained, "one")
    promoted = registry.promote(db, "one", "root", trial=True)
    assert (promoted.active, promoted.trial) == (True, False)
    assert audit.newest(db)[0].details["trial"] is False
    forced = registry.promote(db, "bad", "root", force=True, reason="exercise")
    assert not forced.trial, "against the gate is not without its evidence"


def test_a_later_examination_ends_a_trial(db: Database, trained: Path) -> None:
    answers, pictures = keep_answers(Gated(), [picture(3)], ["x"])
    first = manifest("open", answer="not shown yet").model_copy(update={"probe": answers, "seed": 5})
    registry.register(db, trained, first, pictures)
    registry.promote(db, "open", "root", reason="let us see", trial=True)
    before = registry.read_manifest(adapters.folder(db, "open"))
    again = manifest("open").model_copy(update={"holdouts": {"site": "s" * 64}})
    ended = registry.reexamined(db, "open", again, "boss")
    assert (ended.active, ended.trial, ended.gate.answer) == (True, False, "passed")
    kept = registry.read_manifest(adapters.folder(db, "open"))
    assert (kept.gate, kept.holdouts) == (again.gate, again.holdouts)
    assert (kept.files, kept.probe, kept.seed) == (before.files, before.probe, 5), "the rest stays as it is"
    entry = audit.newest(db)[0]
    assert (entry.who, entry.what, entry.details["answer"]) == ("boss", "examined", "passed")
    with pytest.raises(NotFound):
        registry.reexamined(db, "nobody", again, "boss")


def test_one_in_use_is_measured_against_what_was_in_use_before_it(db: Database, trained: Path) -> None:
    def other(adapter_id: str) -> str | None:
        found = adapters.active(db, "vlm-adapter", BASE, besides=adapter_id)
        return found.id if found else None

    for name in ("one", "two", "three"):
        add(db, trained, name)
    assert other("one") is None
    registry.promote(db, "one", "root")
    assert (other("one"), other("two")) == (None, "one")
    registry.promote(db, "two", "root")
    assert (other("two"), other("one"), other("three")) == ("one", "two", "two")


def test_the_command_line_promotes_a_trial(db: Database, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    undecided(db, trained)
    monkeypatch.setattr("training.commands.promote.open_database", lambda _: db)
    refused = CliRunner().invoke(app, ["promote", "open", "--trial"])
    assert isinstance(refused.exception, BadInput)
    done = CliRunner().invoke(app, ["promote", "open", "--trial", "--reason", "lane 2"])
    assert done.exception is None
    assert Adapter.model_validate_json(done.stdout).trial


def test_the_command_line_examines_again(db: Database, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    undecided(db, trained)
    registry.promote(db, "open", "root", reason="let us see", trial=True)
    asked: list[tuple[Path, str]] = []

    def examine_adapter(_: object, __: object, vlm: str, folder: Path, adapter_id: str, *rest: object) -> Examined:
        asked.append((folder, adapter_id))
        return Examined(manifest(adapter_id, base=vlm), {})

    monkeypatch.setattr("training.commands.promote.open_database", lambda _: db)
    monkeypatch.setattr("xray_app.vlm.load.load_local", lambda name, *_, **__: {"bundled": BASE}.get(name, "c" * 64))
    monkeypatch.setattr("training.promotion.examination.examine_adapter", examine_adapter)
    other = CliRunner().invoke(app, ["examine", "open", "--vlm", "other"])
    assert isinstance(other.exception, BadInput)
    assert adapters.get(db, "open").trial, "measured with another base, it says nothing"
    done = CliRunner().invoke(app, ["examine", "open", "--vlm", "bundled"])
    assert done.exception is None
    assert not Adapter.model_validate_json(done.stdout).trial
    assert asked[-1] == (adapters.folder(db, "open"), "open")


def test_what_was_stored_with_passed_alone_still_reads(db: Database, trained: Path) -> None:
    add(db, trained, "old")
    path = adapters.folder(db, "old") / "manifest.json"
    document = json.loads(path.read_text())
    for passed, answer in ((True, "passed"), (False, "refused")):
        checks = [{"name": "loads", "passed": True, "detail": "whole"}, {"name": "x", "passed": passed, "detail": "y"}]
        document["gate"] = {"passed": passed, "checks": checks}
        path.write_text(json.dumps(document))
        gate = registry.read_manifest(adapters.folder(db, "old")).gate
        assert (gate.answer, gate.passed) == (answer, passed)
        assert [check.answer for check in gate.checks] == ["passed", answer]
        with db.write() as session:
            session.execute(update(AdapterRow).values(gate=json.dumps(document["gate"])))
        assert adapters.get(db, "old").gate == gate


def test_force_on_a_passed_adapter_is_an_ordinary_promotion(db: Database, trained: Path) -> None:
    add(db, trained, "one")
    registry.promote(db, "one", "root", force=True)
    assert audit.newest(db)[0].details["forced"] is False


def test_files_changed_after_the_gate_are_not_promoted(db: Database, trained: Path) -> None:
    add(db, trained, "one")
    (adapters.folder(db, "one") / "adapter_model.safetensors").write_bytes(b"other weights")
    with pytest.raises(BadModel, match="not the file that passed the gate"):
        registry.promote(db, "one", "root")
    with pytest.raises(NotFound):
        registry.promote(db, "nobody", "root")


def test_what_no_server_takes_is_not_promoted(db: Database, trained: Path) -> None:
    add(db, trained, "one")
    add(db, trained, "refused", passed=False)
    given: list[tuple[str, Path]] = []

    def take(adapter: Adapter, folder: Path) -> None:
        assert not adapters.get(db, adapter.id).active
        given.append((adapter.id, folder))

    def full(adapter: Adapter, folder: Path) -> None:
        raise BadModel("no room")

    with pytest.raises(BadModel, match="no room"):
        registry.promote(db, "one", "boss", hand_over=full)
    assert not adapters.get(db, "one").active
    with pytest.raises(Conflict):
        registry.promote(db, "refused", "boss", hand_over=take)
    assert registry.promote(db, "one", "boss", hand_over=take).active
    assert given == [("one", adapters.folder(db, "one"))]
