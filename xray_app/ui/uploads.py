"""The files Gradio hands over: where they may lie, and their end."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from xray_app.errors import BadInput


def paths_of(sent: Any) -> list[str]:
    """The paths of what was uploaded; Gradio's own way there leaves an empty file beside each for good."""
    return [file.path for file in sent or ()]


def uploaded(path: str) -> Path:
    """A path Gradio handed over, which must lie where its uploads do: in a folder of its own in the upload folder.

    Raises:
        BadInput: it lies elsewhere.
    """
    file = Path(path).resolve()
    if file.parent.parent != Path(get_upload_folder()).resolve():
        raise BadInput("This file was not uploaded here.")
    return file


def discard(file: Path) -> None:
    """Removes an upload and its folder: what was read from it lives on in the store alone."""
    with suppress(OSError):
        file.unlink(missing_ok=True)
        file.parent.rmdir()
