"""Temporary folders that are known for abandoned when their process is dead, however it died."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from xray_app.folder_lock import folder_lock

PREFIX = "xray-scratch-"


@contextmanager
def scratch_folder(parent: Path | None = None) -> Iterator[Path]:
    """Gives an empty folder, which goes when the block ends, or else at the next `remove_abandoned`.

    Args:
        parent: where it is made; None: the system's temporary folder.

    Raises:
        OSError: it cannot be made.
    """
    # It gets its name once it is locked: nobody finds it before that.
    made = Path(tempfile.mkdtemp(prefix="new-", dir=parent))
    named = made.with_name(f"{PREFIX}{made.name}")
    try:
        with folder_lock(made):
            made.rename(named)
            (named / "files").mkdir()
            yield named / "files"
    finally:
        shutil.rmtree(made, ignore_errors=True)
        shutil.rmtree(named, ignore_errors=True)


def remove_abandoned(parent: Path | None = None) -> int:
    """Removes what processes that are dead have left; returns how many folders. Those of others stay."""
    removed = 0
    for folder in Path(parent or tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # another user's, or gone meanwhile
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            with folder_lock(folder) as abandoned:
                if abandoned:
                    shutil.rmtree(folder)
                    removed += 1
    return removed
