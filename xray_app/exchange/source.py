"""A data set as somebody hands it over: a folder, or a ZIP that is unpacked with suspicion."""

from __future__ import annotations

import lzma
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from xray_app.errors import BadDataset
from xray_app.exchange.bounded_text import decoded
from xray_app.scratch_folder import scratch_folder

MAX_FILES = 200_000
MAX_FOLDERS = 20_000
MAX_DEPTH = 30
MAX_DIRECTORY = 64 * 2**20
"""Bytes of a ZIP's own table of contents, which is read whole before anything can be judged."""
MAX_UNPACKED = 32 * 2**30
MAX_FILE = 1 << 30
MAX_RATIO = 200
"""Unpacked over packed bytes of the whole: pictures hardly shrink, label texts by about ten."""
SMALL = 64 * 2**20
"""Below this the ratio is not looked at."""
PIECE = 1 << 20
FREE = 1 << 30
"""Bytes of the disk that are left alone."""
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, UnicodeError)
"""What Python's own reading of a damaged ZIP raises, besides the errors of the disk."""


@contextmanager
def opened(path: Path, scratch: Path | None = None) -> Iterator[Path]:
    """The folder of a data set; of a ZIP a temporary one. A single folder within is gone into.

    Args:
        path: a folder or a ZIP file.
        scratch: where a ZIP is unpacked; the system's temporary folder without it.

    Raises:
        BadDataset: neither, damaged, or not to be trusted: paths that leave it, links, too many files or bytes.
    """
    if path.is_dir():
        yield _without_wrapping(path)
        return
    if not path.is_file():
        raise BadDataset(f"{path.name}: there is no such folder or ZIP file.")
    with scratch_folder(scratch) as folder:
        try:
            _refuse_long_directory(path)
            with zipfile.ZipFile(path) as archive:
                _unpack(archive, path.name, folder)
        except _DAMAGED as error:
            raise BadDataset(f"{path.name}: not a ZIP file that can be read: {error}.") from error
        except OSError as error:
            raise BadDataset(f"{path.name}: cannot be unpacked: {error.strerror or error}.") from error
        yield _without_wrapping(folder)


def dataset_name(path: Path) -> str:
    """The name of a data set that is not given one: its folder's or its ZIP's, never that of where it is unpacked."""
    whole = path.resolve()
    return whole.name if whole.is_dir() else whole.stem


def _unpack(archive: zipfile.ZipFile, name: str, folder: Path) -> None:
    entries = archive.infolist()
    if len(entries) > MAX_FILES:
        raise BadDataset(f"{name}: holds {len(entries):,} files; at most {MAX_FILES:,} are taken.")
    folders: set[PurePosixPath] = set()
    for entry in entries:
        entry.filename = _name(entry)
        _refuse_hostile(entry, name)
        folders.update(PurePosixPath(entry.filename).parents)
        if len(folders) > MAX_FOLDERS:
            raise BadDataset(f"{name}: holds more than {MAX_FOLDERS:,} folders. It is not read.")
    packed = sum(entry.compress_size for entry in entries)
    room = min(MAX_UNPACKED, max(shutil.disk_usage(folder).free - FREE, 0))
    # The sizes a ZIP announces may be lies: what comes out is counted.
    most = min(room, max(SMALL, MAX_RATIO * packed))
    total = 0
    for entry in entries:
        if entry.is_dir() or entry.filename.startswith("__MACOSX/"):
            continue
        target = folder / entry.filename
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as source, target.open("xb") as out:
                of_file = 0
                while piece := source.read(PIECE):
                    total, of_file = total + len(piece), of_file + len(piece)
                    if total > most or of_file > MAX_FILE:
                        raise BadDataset(
                            f"{name}: unpacks to far more than it should (over {min(most, MAX_FILE) // 2**20:,} MB "
                            f"at {entry.filename!r}). It is not read."
                        )
                    out.write(piece)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise BadDataset(f"{name}: holds {entry.filename!r} twice.") from error


def _refuse_long_directory(path: Path) -> None:
    """Refuses a ZIP whose table of contents would fill the memory, by what its last record says of it."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 65_557))  # the record, and the longest comment
        end = file.read()
    place = end.rfind(b"PK\x05\x06")
    if place < 0 or len(end) < place + 22:
        return  # no ZIP; zipfile says so
    entries, directory = struct.unpack("<HI", end[place + 10 : place + 16])
    wide = place - 76  # where zipfile looks for the record of a ZIP64
    if wide >= 0 and end[wide : wide + 4] == b"PK\x06\x06":
        entries, directory = map(max, (entries, directory), struct.unpack("<QQ", end[wide + 32 : wide + 48]))
    if entries > MAX_FILES:
        raise BadDataset(f"{path.name}: holds {entries:,} files; at most {MAX_FILES:,} are taken.")
    if directory > MAX_DIRECTORY:
        raise BadDataset(f"{path.name}: its table of contents has {directory:,} bytes. It is not read.")


def _name(entry: zipfile.ZipInfo) -> str:
    """A file's name with plain slashes, in the encoding it was written in.

    Old Windows tools write backslashes, and Chinese ones GBK, which the ZIP does not say.
    """
    name = entry.filename
    if not entry.flag_bits & 0x800:
        with suppress(UnicodeError):
            name = decoded(name.encode("cp437"))
    return name.replace("\\", "/")


def _refuse_hostile(entry: zipfile.ZipInfo, name: str) -> None:
    path = PurePosixPath(entry.filename)
    shown = entry.filename[:200]
    if (
        path.is_absolute()
        or ".." in path.parts
        or not path.parts
        or len(path.parts) > MAX_DEPTH
        or ":" in path.parts[0]
        or len(entry.filename) > 1000
        or any(len(part.encode()) > 255 for part in path.parts)
        or not entry.filename.isprintable()
    ):
        raise BadDataset(f"{name}: holds a file whose path leaves the data set or is no plain path: {shown!r}.")
    mode = entry.external_attr >> 16
    if mode and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_IFMT(mode) == 0):
        raise BadDataset(f"{name}: holds a link or device, {shown!r}. Pack the files themselves.")
    if entry.flag_bits & 1:
        raise BadDataset(f"{name}: is encrypted. Pack it without a password.")


def _without_wrapping(folder: Path) -> Path:
    while True:
        inner = [path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX"))]
        if len(inner) != 1 or not inner[0].is_dir() or inner[0].is_symlink():
            return folder
        folder = inner[0]
