"""Whole or not at all, and nothing left over."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from xray_app.atomic_write import atomic_write


def test_the_target_keeps_its_old_content_until_the_new_one_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "facts.json"
    target.write_text("old")
    with atomic_write(target) as part:
        part.write_text("ne")
        assert target.read_text() == "old"
        part.write_text("new")
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("there", [True, False])
def test_after_an_error_in_the_block_everything_is_as_before(tmp_path: Path, there: bool) -> None:
    target = tmp_path / "facts.json"
    if there:
        target.write_text("old")

    def write_half(part: Path) -> None:
        part.write_text("half")
        raise KeyboardInterrupt  # Ctrl-C is no Exception, and cleaned up after all the same

    with pytest.raises(KeyboardInterrupt), atomic_write(target) as part:
        write_half(part)
    assert [path.read_text() for path in tmp_path.iterdir()] == (["old"] if there else [])


def test_a_full_disk_found_out_last_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "facts.json"
    target.write_text("old")

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"), atomic_write(target) as part:
        part.write_text("new")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_two_writers_of_one_file_do_not_mix(tmp_path: Path) -> None:
    target = tmp_path / "facts.json"
    with atomic_write(target) as first, atomic_write(target) as second:
        first.write_text("first")
        second.write_text("second")
    assert target.read_text() == "first"  # the block that ended last
    assert list(tmp_path.iterdir()) == [target]


def test_the_temporary_file_can_lie_elsewhere(tmp_path: Path) -> None:
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    with atomic_write(tmp_path / "scan.png", incoming) as part:
        part.write_bytes(b"pixels")
        assert part.parent == incoming
    assert (tmp_path / "scan.png").read_bytes() == b"pixels"
    assert list(incoming.iterdir()) == []


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "facts.json"):
        pass
    assert list(tmp_path.iterdir()) == []
