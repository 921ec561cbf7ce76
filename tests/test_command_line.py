"""`python -m xray_app`: what it prints, and how it ends."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL.Image import Image
from typer.testing import CliRunner

from tests.api.conftest import FixedDetector, FixedVlm
from tests.conftest import png
from tests.exchange.test_import import yolo
from xray_app import __main__ as command_line
from xray_app import auth
from xray_app.analysis import Analyser
from xray_app.errors import (
    BadInput,
    Forbidden,
    ModelUnavailable,
    NotFound,
    NotSignedIn,
    StorageFailed,
    UnknownLabel,
)
from xray_app.settings import Settings
from xray_app.site_classes import MEASURED_ANEW
from xray_app.store import analyses, standing, users
from xray_app.store.database import Database
from xray_app.taxonomy import load_taxonomy
from xray_app.types import Analysis, Role
from xray_app.vlm.base import Answer


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XRAY_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def run(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    def fixed(settings: Settings) -> Analyser:
        taxonomy = load_taxonomy()
        return Analyser(FixedVlm(), FixedDetector(), taxonomy.rules())

    monkeypatch.setattr(command_line, "_load_analyser", fixed)
    return CliRunner()


def test_a_line_for_each_scan_and_a_broken_one_does_not_stop_it(run: CliRunner, tmp_path: Path) -> None:
    paths = []
    for number, content in enumerate((png(1), b"broken", png(2), b"", png(3))):
        path = tmp_path / f"{number}.png"
        path.write_bytes(content)
        paths.append(str(path))
    paths += [str(tmp_path / "none.png"), str(tmp_path)]
    result = run.invoke(command_line.app, ["analyze", *paths])
    assert result.exit_code == 1
    analyses = [Analysis.model_validate_json(line) for line in result.stdout.splitlines()]
    assert [analysis.scan.filename for analysis in analyses] == ["0.png", "2.png", "4.png"]
    told = [json.loads(line) for line in result.stderr.splitlines()]
    assert [one["file"] for one in told] == [paths[1], paths[3], paths[5], paths[6]]
    assert [one["error"]["code"] for one in told] == ["bad_scan", "bad_scan", "unreadable", "bad_scan"]


def test_a_scan_a_remote_model_gives_no_answer_to_does_not_stop_the_rest(
    run: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = []
    for number in range(3):
        paths.append(str(tmp_path / f"{number}.png"))
        Path(paths[-1]).write_bytes(png(number + 40))
    answer = FixedVlm.answer

    def all_but_one(
        self: FixedVlm, images: Sequence[Image], instructions: Sequence[str], drafts: object = None
    ) -> list[Answer]:
        if any(image.getpixel((0, 0)) == (41, 0, 90) for image in images):
            raise ModelUnavailable("The model server is away.")
        return answer(self, images, instructions)

    monkeypatch.setattr(FixedVlm, "answer", all_but_one)
    result = run.invoke(command_line.app, ["analyze", *paths])
    assert result.exit_code == 1
    assert [json.loads(line)["scan"]["filename"] for line in result.stdout.splitlines()] == ["0.png", "2.png"]
    told = {"code": "model_unavailable", "message": "The model server is away."}
    assert json.loads(result.stderr) == {"file": paths[1], "error": told}


def test_scans_that_do_not_fit_into_memory_together_are_read_one_by_one(
    run: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [str(tmp_path / f"{number}.png") for number in range(3)]
    for number, path in enumerate(paths):
        Path(path).write_bytes(png(number + 40))
    answer = FixedVlm.answer

    def one_at_a_time(
        self: FixedVlm, images: Sequence[Image], instructions: Sequence[str], drafts: object = None
    ) -> list[Answer]:
        if len(images) > 1:
            raise MemoryError
        return answer(self, images, instructions)

    monkeypatch.setattr(FixedVlm, "answer", one_at_a_time)
    result = run.invoke(command_line.app, ["analyze", *paths])
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 3), result.stderr


def test_all_well_ends_with_nothing_to_say(run: CliRunner, tmp_path: Path, data_dir: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    result = run.invoke(command_line.app, ["analyze", str(tmp_path / "a.png")])
    assert (result.exit_code, result.stderr) == (0, "")
    assert not data_dir.exists()  # analysing alone stores nothing


def test_users_are_added_listed_changed_and_disabled(run: CliRunner, data_dir: Path) -> None:
    settings = Settings(_env_file=None)
    added = run.invoke(command_line.app, ["users", "add", "ann", "--role", "annotator"], input="a long word\n")
    assert added.exit_code == 0, added.output
    assert "a long word" not in added.output
    db = Database.open(settings.sqlalchemy_url, settings.data_dir)
    token = auth.sign_in(db, "ann", "a long word").token
    assert auth.identify(db, token).role is Role.ANNOTATOR

    changed = run.invoke(command_line.app, ["users", "passwd", "ann"], input="another word\n")
    assert changed.exit_code == 0
    with pytest.raises(NotSignedIn):
        auth.identify(db, token)
    auth.sign_in(db, "ann", "another word")

    assert run.invoke(command_line.app, ["users", "disable", "ann"]).exit_code == 0
    assert users.get(db, "ann").disabled
    listed = run.invoke(command_line.app, ["users", "list"])
    assert listed.stdout == "ann\tannotator\tdisabled\n"
    db.close()


def test_without_a_password_one_is_made_up_and_told(run: CliRunner, data_dir: Path) -> None:
    result = run.invoke(command_line.app, ["users", "add", "bob", "--role", "analyst"], input="")
    assert result.exit_code == 0
    password = result.stdout.rpartition("Password: ")[2].strip()
    settings = Settings(_env_file=None)
    db = Database.open(settings.sqlalchemy_url, settings.data_dir)
    assert auth.sign_in(db, "bob", password).role is Role.ANALYST
    db.close()


@pytest.mark.parametrize(
    "arguments",
    [
        ["users", "passwd", "nobody"],
        ["users", "disable", "nobody"],
        ["users", "add", "", "--role", "analyst"],
    ],
)
def test_what_cannot_be_done_is_one_line(
    data_dir: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["xray_app", *arguments])
    monkeypatch.setattr("sys.stdin", io.StringIO("a long word\n"))
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    assert ended.value.code == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_labels_go_out_and_come_in(run: CliRunner, data_dir: Path, tmp_path: Path) -> None:
    run.invoke(command_line.app, ["users", "add", "ann", "--role", "admin"], input="a long word\n")
    root = yolo(tmp_path / "set", {"a": (png(1), "0 0.5 0.5 0.5 0.5\n"), "bad": (b"no picture", "")})
    done = run.invoke(command_line.app, ["import", str(root), "--author", "ann"])
    assert done.exit_code == 1
    assert done.stdout == "yolo: 1 added, 0 here already, 1 left out.\nknife: 1 boxes taken, 0 left out\n"
    assert done.stderr.startswith("images/train/bad.png: not a readable picture")
    assert done.stderr.count("not a readable picture") == 1
    out = tmp_path / "out.zip"
    result = run.invoke(command_line.app, ["export", "--format", "coco", "--out", str(out), "--analyst", "ann"])
    assert (result.exit_code, result.stdout) == (0, f"{out}: 1 scans, 0 left out.\n")
    again = run.invoke(command_line.app, ["import", str(out), "--author", "ann"])
    assert (again.exit_code, again.stdout) == (
        0,
        "coco: 0 added, 1 here already, 0 left out.\nknife: 0 boxes taken, 1 here already, 0 left out\n",
    )
    assert isinstance(run.invoke(command_line.app, ["import", str(out), "--author", "nobody"]).exception, NotFound)
    nowhere = run.invoke(command_line.app, ["export", "--out", str(tmp_path / "none" / "x.zip")])
    assert isinstance(nowhere.exception, StorageFailed)


def test_what_is_wrong_with_labels_is_said_before_a_model_is_loaded(
    run: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.invoke(command_line.app, ["users", "add", "ann", "--role", "admin"], input="a long word\n")

    def refuse(settings: Settings) -> Analyser:
        raise ModelUnavailable("loaded")

    monkeypatch.setattr(command_line, "_load_analyser", refuse)
    rows = "0 0.5 0.5 0.5 0.5\n1 0.2 0.2 0.2 0.2\n"
    root = yolo(tmp_path / "set", {"a": (png(1), rows), "bad": (png(2), "7 .5 .5 .5 .5")}, "[knife, Bat, Dart]")
    asked = ["import", str(root), "--author", "ann"]
    unknown = run.invoke(command_line.app, asked).exception
    assert isinstance(unknown, UnknownLabel)
    assert "Offered: Bat=baton; Dart=ignore" in unknown.message
    said = ["--map", "Bat=baton", "--map", "dart=ignore", "--looked-for", "gun"]
    stopped = run.invoke(command_line.app, [*asked, *said])
    assert isinstance(stopped.exception, ModelUnavailable)
    assert "labels/train/bad.txt:1: class 7 is not in `names`" in stopped.stderr
    # What was said is kept, and labels alone need no model.
    done = run.invoke(command_line.app, [*asked, "--labels-only"], color=True)
    assert done.exit_code == 1
    assert done.stdout.splitlines()[0] == "yolo: 1 added, 0 here already, 1 left out."
    assert "baton: 1 boxes taken, 0 left out" in done.stdout
    assert "unknown: 0 boxes taken, 1 left out (class outside names 1)" in done.stdout
    assert "\x1b[31m1 boxes were left out." in done.stderr
    (root / "labels/train/bad.txt").unlink()
    (root / "images/train/bad.png").unlink()
    assert run.invoke(command_line.app, [*asked, "--labels-only"]).exit_code == 0


def test_a_first_import_says_which_user_to_make(run: CliRunner, tmp_path: Path) -> None:
    root = yolo(tmp_path / "set", {"a": (png(1), "")})
    refused = run.invoke(command_line.app, ["import", str(root)]).exception
    assert isinstance(refused, NotFound)
    assert "python -m xray_app users add admin --role admin" in refused.message


def test_the_set_and_the_pattern_name_the_bags(run: CliRunner, tmp_path: Path) -> None:
    run.invoke(command_line.app, ["users", "add", "ann", "--role", "admin"], input="a long word\n")
    root = yolo(tmp_path / "gate", {"s7-v1": (png(1), ""), "s7-v2": (png(2), ""), "s9-v1": (png(3), "")}, "[knife]")
    asked = ["import", str(root), "--author", "ann", "--labels-only", "--looked-for", "knife"]
    refused = run.invoke(command_line.app, [*asked, "--bag", "(s7)"])
    assert "finds no bag in 'images/train/s9-v1.png'" in str(refused.exception)
    assert run.invoke(command_line.app, [*asked, "--bag", r"(s\d)-(?P<view>v\d)"]).exit_code == 0
    with closing(Database.open(Settings().sqlalchemy_url, Settings().data_dir)) as db:
        found = {(one.scan.bag_id, one.scan.view) for one in analyses.page(db, 10)[0]}
    assert found == {("gate:s7", "v1"), ("gate:s7", "v2"), ("gate:s9", "v1")}


def test_a_class_is_added_and_listed_beside_those_of_the_file(run: CliRunner) -> None:
    added = run.invoke(command_line.app, ["classes", "add", "katana"])
    assert (added.exit_code, added.stdout) == (0, f"Added katana (prohibited). {MEASURED_ANEW}\n")
    added = run.invoke(command_line.app, ["classes", "add", "vape", "--status", "restricted", "--by", "ann"])
    assert (added.exit_code, added.stdout) == (0, f"Added vape (restricted). {MEASURED_ANEW}\n")
    assert isinstance(run.invoke(command_line.app, ["classes", "add", "Katana"]).exception, BadInput)
    assert run.invoke(command_line.app, ["classes", "add", "sabre", "--status", "harmless"]).exit_code == 2
    listed = run.invoke(command_line.app, ["classes", "list"]).stdout.splitlines()
    assert len(listed) == len(load_taxonomy().names) + 2
    assert listed[0] == "knife\tprohibited"
    today = datetime.now(UTC).date().isoformat()
    assert f"katana\tprohibited\tadded {today} by command line" in listed
    assert f"vape\trestricted\tadded {today} by ann" in listed


def test_an_import_makes_a_class_of_an_unknown_label(run: CliRunner, data_dir: Path, tmp_path: Path) -> None:
    for name, role in (("ann", "admin"), ("nora", "annotator")):
        run.invoke(command_line.app, ["users", "add", name, "--role", role], input="a long word\n")
    root = yolo(tmp_path / "set", {"a": (png(1), "0 0.5 0.5 0.5 0.5\n1 0.2 0.2 0.2 0.2\n")}, "[knife, Katana]")
    asked = ["import", str(root), "--labels-only", "--map", "Katana=new:katana"]
    refused = run.invoke(command_line.app, [*asked, "--author", "nora"])
    assert isinstance(refused.exception, Forbidden)
    assert "katana" not in run.invoke(command_line.app, ["classes", "list"]).stdout
    done = run.invoke(command_line.app, [*asked, "--author", "ann"])
    assert done.exit_code == 0, done.stderr
    assert "katana: 1 boxes taken, 0 left out" in done.stdout
    assert "katana\tprohibited\tadded" in run.invoke(command_line.app, ["classes", "list"]).stdout
    settings = Settings(_env_file=None)
    with closing(Database.open(settings.sqlalchemy_url, settings.data_dir)) as db:
        ((analysis, correction),) = standing.accepted(db)
        assert correction.labelled_classes == ("knife", "katana")
        risk = standing.of_bag(db, analysis.scan.bag_id).risk
        assert (risk.level, risk.by) == ("HIGH", "ann")
    # The same options serve the next import; so does no option at all, by whoever, since it was kept.
    again = run.invoke(command_line.app, [*asked, "--author", "nora"])
    assert (again.exit_code, again.stdout.splitlines()[0]) == (0, "yolo: 0 added, 1 here already, 0 left out.")
    out = tmp_path / "out.zip"
    assert run.invoke(command_line.app, ["export", "--format", "coco", "--out", str(out)]).exit_code == 0
    with zipfile.ZipFile(out) as opened:
        listed = json.loads(opened.read(next(name for name in opened.namelist() if name.endswith(".json"))))
    assert {one["name"]: one["id"] for one in listed["categories"]}["katana"] == len(load_taxonomy().names) + 1
