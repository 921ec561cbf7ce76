"""The mutants can still be made: what they change is there, once, and so are the tests that have to notice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.mutants import __main__ as command
from tests.mutants.mutant import Mutant


def test_every_mutant_can_be_made() -> None:
    assert [(one.name, problem) for one in command.MUTANTS if (problem := one.problem(command.ROOT))] == []
    assert all(one.old != one.new for one in command.MUTANTS)


def test_there_are_enough_of_them_and_each_has_a_name_of_its_own() -> None:
    names = [one.name for one in command.MUTANTS]
    assert len(names) == len(set(names)) >= 60
    rooms = {"risk", "gate", "evaluation", "hold-out", "split", "masking", "parser", "revision", "merge", "roles",
             "idempotency", "append-only", "intake"}  # fmt: skip
    assert rooms <= {name.partition(":")[0] for name in names}


def test_at_most_three_may_survive_and_say_why() -> None:
    reasons = [one.reason for one in command.MUTANTS if one.reason is not None]
    assert len(reasons) <= 3
    assert all(reason.strip() for reason in reasons)


def test_a_mutant_that_went_stale_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stale = Mutant("risk: gone", "xray_app/risk.py", "no such words", "", ("tests/test_risk.py",))
    monkeypatch.setattr(command, "MUTANTS", (stale,))
    assert command.main([]) == 1
    assert "'no such words' occurs 0 times" in capsys.readouterr().err


def test_faults_are_put_into_copies_one_at_a_time_and_those_nobody_notices_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = "def lower(value):\n    return value - 1\n\n\ndef raised(value):\n    return value + 1\n"
    (tmp_path / "lowering.py").write_text(source)
    test = "from lowering import lower, raised\n\n\ndef test():\n    assert lower(2) == 1\n    raised(2)\n"
    (tmp_path / "test_lowering.py").write_text(test)
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr(command, "tracked_files", lambda: ["lowering.py", "test_lowering.py"])
    tests = ("test_lowering.py",)
    faults = [Mutant("lower", "lowering.py", "- 1", "- 2", tests), Mutant("raised", "lowering.py", "+ 1", "+ 2", tests)]
    monkeypatch.setattr(command, "MUTANTS", tuple(faults))
    assert command.main([]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["killed    lower", "SURVIVED  raised"]
    assert json.loads(said[-1]) == {"mutants": 2, "survived": 1}
    assert (tmp_path / "lowering.py").read_text() == source
