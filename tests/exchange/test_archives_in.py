"""ZIPs that somebody hands over: what leaves the set, lies, bursts or is damaged is one clear refusal."""

from __future__ import annotations

import random
import stat
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from tests.exchange.conftest import Export, zipped
from xray_app.errors import BadDataset
from xray_app.exchange import source
from xray_app.types import Correction


def make_zip(path: Path, entries: list[tuple[zipfile.ZipInfo | str, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def link(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


@pytest.mark.parametrize(
    "name", ["../out.txt", "/etc/out.txt", "a/../../out.txt", "a\\..\\out.txt", "C:/out.txt", "x\n.txt"]
)
def test_a_zip_whose_paths_leave_it_is_refused(tmp_path: Path, name: str) -> None:
    path = make_zip(tmp_path / "bad.zip", [("data.yaml", b"x"), (name, b"evil")])
    with pytest.raises(BadDataset, match="path leaves the data set"), source.opened(path, tmp_path):
        pass
    assert not list(tmp_path.rglob("out.txt"))


def test_links_lies_and_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = {
        "a link or device": make_zip(tmp_path / "link.zip", [(link("labels"), b"/etc")]),
        "far more than it should": make_zip(tmp_path / "bomb.zip", [("zeros.txt", bytes(80 * 2**20))]),
        "at most 3": make_zip(tmp_path / "many.zip", [(f"{n}.txt", b"") for n in range(4)]),
        "not a ZIP file": tmp_path / "none.zip",
        "no such folder": tmp_path / "absent.zip",
    }
    (tmp_path / "none.zip").write_bytes(b"PK\x03\x04 and then nothing")
    monkeypatch.setattr(source, "MAX_FILES", 3)
    for told, path in bad.items():
        with (
            pytest.raises(BadDataset, match=told.replace("at most 3 files", "at most 3")),
            source.opened(path, tmp_path),
        ):
            pass
    assert not list(tmp_path.glob("*xray-scratch-*"))


def test_a_damaged_zip_is_one_clear_error(tmp_path: Path, export: Export, filled: list[Correction]) -> None:
    whole = zipped(export("yolo")).read_bytes()
    for cut in (len(whole) // 2, len(whole) - 30):
        (tmp_path / "cut.zip").write_bytes(whole[:cut])
        with pytest.raises(BadDataset, match=r"cut\.zip"), source.opened(tmp_path / "cut.zip"):
            pass
    flipped = bytearray(whole)
    for place in range(200, len(whole) // 2, 97):
        flipped[place] ^= 0xFF
    (tmp_path / "flipped.zip").write_bytes(bytes(flipped))
    with pytest.raises(BadDataset, match=r"flipped\.zip"), source.opened(tmp_path / "flipped.zip"):
        pass


@pytest.mark.parametrize("seed", range(4))
def test_a_zip_with_bytes_of_it_changed_is_read_or_refused_and_never_a_fault(tmp_path: Path, seed: int) -> None:
    path, dice = tmp_path / "changed.zip", random.Random(seed)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ä/é.txt", b"x" * 500)
        archive.writestr("b.txt", b"y" * 300, zipfile.ZIP_LZMA)
        archive.writestr("c.txt", b"z" * 300, zipfile.ZIP_BZIP2)
    whole = path.read_bytes()
    for _ in range(150):
        changed = bytearray(whole)
        for _ in range(dice.choice([1, 1, 3])):
            changed[dice.randrange(len(whole))] = dice.randrange(256)
        path.write_bytes(changed)
        with suppress(BadDataset), source.opened(path, tmp_path):
            pass
    place = whole.index("é".encode()) + 1
    path.write_bytes(whole[:place] + b"\xc7" + whole[place + 1 :])
    with (
        pytest.raises(BadDataset, match=r"changed\.zip: not a ZIP file that can be read"),
        source.opened(path, tmp_path),
    ):
        pass
