"""`scans.jsonl` beside an export: what its format cannot say of a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from xray_app.errors import BadDataset
from xray_app.exchange.dataset import inside
from xray_app.types import ItemCount, Value

SIDECAR = "scans.jsonl"
MAX_SIDECAR = 512 * 2**20
MAX_LINE = 2**20
MAX_LINES = 500_000


class SidecarLine(Value):
    """What `scans.jsonl` says of a picture. It comes from outside, so nothing in it is taken unchecked."""

    model_config = Value.model_config | {"extra": "ignore"}

    image: str = Field(max_length=1000)
    filename: str | None = Field(default=None, max_length=1000)
    bag_id: str | None = None
    view: str | None = None
    scanner_id: str | None = None
    source: str = "correction"
    items: tuple[ItemCount, ...] | None = None
    boxes: dict[str, int] | None = None
    labelled_classes: tuple[str, ...] | None = None
    comment: str | None = Field(default=None, max_length=2000)


def read_sidecar(root: Path) -> dict[str, SidecarLine] | None:
    """What `scans.jsonl` says, by picture; None where there is none.

    Raises:
        BadDataset: a line of it is wrong, or it is too long.
    """
    path = root / SIDECAR
    if not path.is_file():
        return None
    if inside(path, root).stat().st_size > MAX_SIDECAR:
        raise BadDataset(f"{SIDECAR}: larger than {MAX_SIDECAR // 2**20} MB.")
    told: dict[str, SidecarLine] = {}
    number = 0
    with path.open(encoding="utf-8", errors="replace") as file:
        while text := file.readline(MAX_LINE):
            number += 1
            if number > MAX_LINES or (len(text) == MAX_LINE and not text.endswith("\n")):
                raise BadDataset(f"{SIDECAR}:{number}: more than {MAX_LINES:,} lines, or a line of over a megabyte.")
            if not text.strip():
                continue
            try:
                line = SidecarLine.model_validate_json(text)
            except ValidationError as error:
                first: Any = error.errors()[0]
                where = ".".join(str(part) for part in first["loc"]) or "line"
                raise BadDataset(f"{SIDECAR}:{number}: {where}: {first['msg']}") from error
            told[line.image] = line
    return told
