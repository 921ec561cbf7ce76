"""Small JSON files that describe what lies beside them: written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xray_app.errors import BadDataset


def note(path: Path, facts: Mapping[str, Any]) -> None:
    """Writes them whole or not at all, and only where they are new: a full disk or a kill leaves what was there."""
    content = (json.dumps(facts, indent=1) + "\n").encode()
    if path.is_file() and path.read_bytes() == content:
        return
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.replace(path)


def noted(path: Path) -> dict[str, Any] | None:
    """What was noted; None where nothing was.

    Raises:
        BadDataset: the file cannot be read, or holds something else.
    """
    try:
        facts = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BadDataset(f"{path} cannot be read ({error}). Put it back, or use another --out.") from error
    if not isinstance(facts, dict):
        raise BadDataset(f"{path} does not hold what was noted there. Put it back, or use another --out.")
    return facts
