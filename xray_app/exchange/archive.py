"""A ZIP written piece by piece, and the texts that are gathered meanwhile."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

IN_MEMORY = 4 * 2**20
PIECE = 1 << 16


class Gathered:
    """Text that grows while scans pass by and is written at the end; on disk once it is long."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY, "w+", encoding="utf-8", newline="")  # noqa: SIM115
        self.count = 0

    def add(self, text: str) -> None:
        """Appends; counted, so that a comma can be put between."""
        self._file.write(text)
        self.count += 1

    def pieces(self) -> Iterator[str]:
        """All of it, from the start; it is closed afterwards."""
        self._file.seek(0)
        with self._file:
            while piece := self._file.read(PIECE):
                yield piece


class _Pipe(io.RawIOBase):
    """Takes what zipfile writes; it cannot seek, so zipfile writes straight on."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        taken = bytes(piece)
        self._pieces.append(taken)
        return len(taken)

    def take(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


class ZipStream:
    """A ZIP whose bytes are handed on as they come. Pictures are stored as they are, texts are deflated."""

    def __init__(self) -> None:
        self._pipe = _Pipe()
        self._zip = zipfile.ZipFile(self._pipe, "w", zipfile.ZIP_DEFLATED, allowZip64=True)

    def picture(self, name: str, content: bytes, at: datetime) -> bytes:
        """Adds a picture; returns what of the ZIP is ready."""
        self._zip.writestr(_entry(name, at), content, zipfile.ZIP_STORED)
        return self._pipe.take()

    def text(self, name: str, pieces: Iterable[str], at: datetime) -> Iterator[bytes]:
        """Adds a text file; yields what of the ZIP is ready."""
        entry = _entry(name, at)
        entry.compress_type = zipfile.ZIP_DEFLATED
        with self._zip.open(entry, "w", force_zip64=True) as out:
            for piece in pieces:
                out.write(piece.encode())
                if ready := self._pipe.take():
                    yield ready
        yield self._pipe.take()

    def end(self) -> bytes:
        """The ZIP's table of contents; nothing may be added after it."""
        self._zip.close()
        return self._pipe.take()


def _entry(name: str, at: datetime) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, (max(at.year, 1980), *at.timetuple()[1:6]))
    entry.external_attr = 0o100644 << 16
    return entry
