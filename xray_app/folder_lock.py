"""A lock on a folder, which the kernel frees however the process that holds it ends."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def folder_lock(folder: Path, name: str = ".lock") -> Iterator[bool]:
    """Holds the lock while the block runs; False where another process, or another block of this one, has it.

    Args:
        folder: made if it is not there.
        name: of the lock's file in it, which stays there.

    Raises:
        OSError: the file cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
