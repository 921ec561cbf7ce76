"""A data set is read in a process that can be ended at once: by Stop, by its server's death, or by the system."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import png
from tests.exchange.conftest import LIMITS, Export
from tests.exchange.test_import import yolo, zipped
from training.run.supervisor import process_started
from xray_app.errors import BadDataset, Stopped, UnknownLabel
from xray_app.exchange import reader_process
from xray_app.exchange.bag_names import BagNaming
from xray_app.exchange.import_dataset import Imported, import_dataset, store
from xray_app.exchange.incoming import Incoming, ReadPicture, UnusablePicture, incoming
from xray_app.exchange.label_map import LabelMap
from xray_app.exchange.reader_process import read_in_own_process
from xray_app.exchange.readers import read_dataset
from xray_app.exchange.source import opened
from xray_app.intake import keep_unanalysed
from xray_app.scan.decoding import HELD, Room
from xray_app.scan.read import Scan
from xray_app.scratch_folder import PREFIX, remove_abandoned
from xray_app.store import standing
from xray_app.store.database import Database
from xray_app.taxonomy import Taxonomy
from xray_app.types import Analysis, Correction

HALF = "0 0.5 0.5 0.5 0.5\n"
SECONDS = 20.0
"""Longest wait on a busy machine; ending a process takes less than one of them."""
DYING = """
import sys, threading
from pathlib import Path
from tests.exchange.conftest import LIMITS
from xray_app.exchange import reader_process
from xray_app.exchange.bag_names import BagNaming
from xray_app.exchange.label_map import LabelMap
from xray_app.taxonomy import load_taxonomy
reader_process.MODULE = "tests.exchange.hostile_reader"
labels = LabelMap(load_taxonomy())
with reader_process.read_in_own_process(Path(sys.argv[1]), labels, BagNaming(), LIMITS, threading.Event()):
    pass
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's temporary folder."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes that were started."""
    started: list[subprocess.Popen[bytes]] = []

    class Noted(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *said: Any, **more: Any) -> None:
            super().__init__(*said, **more)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    return started


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Path]:
    """A ZIP of four pictures whose reading is held up, as `hostile_reader` does for this name."""
    monkeypatch.setattr(reader_process, "MODULE", "tests.exchange.hostile_reader")

    def make(name: str) -> Path:
        return zipped(yolo(tmp_path / name, {f"b{n}": (png(n, 32, 32), HALF) for n in range(4)}))

    return make


def until(wanted: Callable[[], Any]) -> None:
    end = time.monotonic() + SECONDS
    while not wanted():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)


def unpacked(temporary: Path) -> bool:
    return any(path.name == "b3.txt" for path in temporary.rglob("*.txt"))


def pictures_of(coming: Incoming) -> list[Any]:
    found: list[Any] = []
    for one in coming.pictures:
        if isinstance(one, UnusablePicture):
            found.append(one)
            continue
        assert isinstance(one, ReadPicture)
        scan = one.scan
        facts = (scan.content, scan.media_type, scan.sha256, scan.width, scan.height, scan.filename, scan.bag_id)
        more = (scan.view, scan.scanner_id, scan.opaque_fraction, dict(scan.acquisition), scan.image.mode)
        found.append((*facts, *more, scan.image.tobytes(), one.wanted, one.bag_said, one.where))
    return found


def assorted(root: Path) -> Path:
    """Pictures of all kinds, sound and not, in a set with a column file."""
    files = {f"b{n}": (png(n, 32, 32), HALF) for n in range(3)}
    files |= {"bad": (b"no picture", HALF), "odd": (png(9, 32, 32), "7 0.5 0.5 0.5 0.5\n")}
    files |= {"outline": (png(8, 40, 20), "2 0.1 0.1 0.9 0.1 0.5 0.8\n")}
    yolo(root, files)
    images, labels = root / "images/train", root / "labels/train"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 50), (9, 99, 199)).save(images / "turned.jpg", exif=exif)
    Image.fromarray(np.arange(40 * 30, dtype=np.uint16).reshape(30, 40) * 50).save(images / "deep.tif")
    Image.new("RGB", (30, 50), (7, 1, 3)).save(images / "cut.jpg")
    (images / "cut.jpg").write_bytes((images / "cut.jpg").read_bytes()[:-200])
    for stem in ("turned", "deep", "cut"):
        (labels / f"{stem}.txt").write_text(HALF)
    (root / "bags.csv").write_text("file,bag,view\nimages/train/b1.png,one bag,top\nimages/train/b2.png,one bag,side\n")
    return root


def test_what_comes_through_the_pipe_is_what_is_read_here(
    tmp_path: Path, taxonomy: Taxonomy, export: Export, filled: list[Correction], temporary: Path
) -> None:
    labels = LabelMap(taxonomy, {"phone": "gun"}, looked_for=("knife",))
    for folder in (assorted(tmp_path / "assorted"), export("yolo", corrected=False), export("coco")):
        room = Room()
        with opened(folder) as root:
            naming = replace(BagNaming("name"), said=reader_process.read_column_file(root))
            here = incoming(read_dataset(root, labels), root, taxonomy, LIMITS, naming)
            wanted = pictures_of(here)
        file, limits, stop = zipped(folder), replace(LIMITS, room=room), threading.Event()
        with read_in_own_process(file, labels, BagNaming("name"), limits, stop) as coming:
            assert pictures_of(coming) == wanted
            assert wanted
            assert (coming.format_name, coming.total) == (here.format_name, here.total)
            assert (coming.problems, coming.notes, coming.left_out) == (here.problems, here.notes, here.left_out)
        assert room.taken == 0
    assert not list(temporary.iterdir())


def test_the_pixels_that_come_through_count_until_nobody_holds_them(tmp_path: Path, taxonomy: Taxonomy) -> None:
    root, room = yolo(tmp_path / "set", {f"b{n}": (png(n, 32, 32), HALF) for n in range(2)}), Room()
    limits = replace(LIMITS, room=room)
    with read_in_own_process(root, LabelMap(taxonomy), BagNaming(), limits, threading.Event()) as coming:
        held = next(coming.pictures)
        assert room.taken == 32 * 32 * HELD
        held = next(coming.pictures)  # noqa: F841 - the first is gone now
        assert room.taken == 32 * 32 * HELD


@pytest.mark.timeout(90)
def test_where_there_is_room_for_one_picture_at_a_time_all_come_in(
    tmp_path: Path, taxonomy: Taxonomy, db: Database
) -> None:
    rules = taxonomy.rules()

    def take_in(scan: Scan) -> Analysis:
        return keep_unanalysed(db, scan, rules, "root")

    for name, own_process in (("one", False), ("other", True)):
        shade = 100 * own_process
        root = yolo(tmp_path / name, {f"{name} {n}": (png(shade + n, 32, 32), HALF) for n in range(3)})
        limits, labels = replace(LIMITS, room=Room(most=1)), LabelMap(taxonomy)
        if own_process:
            with read_in_own_process(root, labels, BagNaming(), limits, threading.Event()) as coming:
                done = store(coming, db, taxonomy, take_in, "root")
        else:
            done = import_dataset(read_dataset(root, labels), root, db, taxonomy, take_in, limits, "root")
        assert (done.added, done.whole) == (3, True)


def test_a_parser_that_never_ends_is_ended_at_once_and_leaves_nothing(
    hostile: Callable[[str], Path], taxonomy: Taxonomy, temporary: Path, children: list[subprocess.Popen[bytes]]
) -> None:
    file, stop = hostile("endless"), threading.Event()

    def stop_when_it_is_at_work() -> None:
        until(lambda: unpacked(temporary))
        stop.set()

    threading.Thread(target=stop_when_it_is_at_work).start()
    with pytest.raises(Stopped), read_in_own_process(file, LabelMap(taxonomy), BagNaming(), LIMITS, stop):
        pass
    assert [child.returncode for child in children] == [-signal.SIGKILL]
    assert not list(temporary.iterdir())


def test_what_was_stored_when_it_was_stopped_stays_and_a_second_time_the_rest_follows(
    hostile: Callable[[str], Path], taxonomy: Taxonomy, db: Database, monkeypatch: pytest.MonkeyPatch, temporary: Path
) -> None:
    file, rules = hostile("third"), taxonomy.rules()

    def bring_in(stop: threading.Event) -> Imported:
        with read_in_own_process(file, LabelMap(taxonomy), BagNaming(), LIMITS, stop) as coming:
            return store(coming, db, taxonomy, lambda scan: keep_unanalysed(db, scan, rules, "root"), "root")

    stop = threading.Event()

    def stop_after_two() -> None:
        until(lambda: len(list(standing.accepted(db))) == 2)
        stop.set()

    threading.Thread(target=stop_after_two).start()
    with pytest.raises(Stopped):
        bring_in(stop)
    assert [len(correction.boxes) for _, correction in standing.accepted(db)] == [1, 1]
    assert not list(temporary.iterdir())
    monkeypatch.undo()
    done = bring_in(threading.Event())
    assert (done.added, done.already, done.whole) == (2, 2, True)


def test_one_that_is_killed_is_told_in_words(
    hostile: Callable[[str], Path], taxonomy: Taxonomy, temporary: Path, children: list[subprocess.Popen[bytes]]
) -> None:
    def kill_when_it_is_at_work() -> None:
        until(lambda: unpacked(temporary))
        children[0].kill()

    threading.Thread(target=kill_when_it_is_at_work).start()
    with (
        pytest.raises(BadDataset, match=r"ended from outside or broke down \(SIGKILL\).*import it again"),
        read_in_own_process(hostile("endless"), LabelMap(taxonomy), BagNaming(), LIMITS, threading.Event()),
    ):
        pass
    assert not list(temporary.iterdir())


def test_a_fault_of_ours_and_a_refusal_come_through(hostile: Callable[[str], Path], taxonomy: Taxonomy) -> None:
    with (
        pytest.raises(RuntimeError, match="ZeroDivisionError: a fault of ours"),
        read_in_own_process(hostile("fault"), LabelMap(taxonomy), BagNaming(), LIMITS, threading.Event()),
    ):
        pass
    file = hostile("unknown")
    with (
        pytest.raises(UnknownLabel, match=r"^data\.yaml: the taxonomy does not know 'Phone'") as caught,
        read_in_own_process(file, LabelMap(replace_phone(taxonomy)), BagNaming(), LIMITS, threading.Event()),
    ):
        pass
    assert caught.value.details == {"labels": ["Phone"], "offered": {}}


def replace_phone(taxonomy: Taxonomy) -> Taxonomy:
    """The taxonomy without the phone: what the child goes by is the server's, not a file's."""
    return replace(taxonomy, classes=tuple(one for one in taxonomy.classes if one.name != "phone"))


def test_a_server_that_dies_takes_it_along(hostile: Callable[[str], Path], temporary: Path) -> None:
    file = hostile("endless")
    server = subprocess.Popen([sys.executable, "-c", DYING, str(file)], env=os.environ | {"TMPDIR": str(temporary)})
    try:
        until(lambda: unpacked(temporary))
        child = int(Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()[0])
        assert process_started(child)
        server.kill()
        server.wait()
        until(lambda: process_started(child) is None)
    finally:
        server.kill()
        server.wait()
    assert list(temporary.glob(f"{PREFIX}*"))
    remove_abandoned(temporary)
    assert not list(temporary.glob("*xray*"))
    shutil.rmtree(temporary)
