"""Small JSON files that describe what lies beside them: written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xray_app.atomic_write import atomic_write
from xray_app.errors import BadDataset


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes an object, whole or not at all. A file that holds the same already is left alone.

    Args:
        path: the file, in a folder that exists.
        values: as JSON takes them.
    """
    content = (json.dumps(values, indent=1) + "\n").encode()
    if path.is_file() and path.read_bytes() == content:
        return
    with atomic_write(path) as part:
        part.write_bytes(content)


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a file; None where there is no file.

    Raises:
        BadDataset: the file cannot be read, or holds something else.
    """
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BadDataset(f"{path} cannot be read ({error}). Put it back, or use another --out.") from error
    if not isinstance(values, dict):
        raise BadDataset(f"{path} does not hold what was noted there. Put it back, or use another --out.")
    return values
