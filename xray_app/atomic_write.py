"""Files that appear whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def atomic_write(target: Path, folder: Path | None = None) -> Iterator[Path]:
    """Gives the path of a temporary file to write, which takes the target's place when the block ends well.

    A reader sees what was there before or all of what is new. It outlasts a power cut: the content reaches the disk
    before the new name does. After an error nothing is left of it; a killed process leaves the temporary file, which
    ends in `.part`.

    Args:
        target: the file to write, in a folder that exists. One that is there is replaced.
        folder: where the temporary file lies, on the target's file system; None: beside the target.

    Raises:
        FileNotFoundError: the block wrote no file at that path.
        OSError: the disk is full or read-only.
    """
    part = (folder or target.parent) / f"{target.name}.{uuid4().hex[:8]}.part"
    try:
        yield part
        _flush(part)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _flush(target.parent)  # or a power cut may take the new name with it


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
