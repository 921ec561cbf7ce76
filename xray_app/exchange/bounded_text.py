"""Text, JSON and YAML of a stranger's file: bounded in bytes and values, in the encodings people have."""

from __future__ import annotations

import codecs
import json
import math
import re
from pathlib import Path
from typing import Any

import yaml

from xray_app.errors import BadDataset

MAX_YAML = 2**20
MAX_JSON = 256 * 2**20
"""Bytes of one file: some millions of boxes."""
MAX_JSON_VALUES = 15_000_000
"""A value takes up to a hundred bytes of memory, whatever its length in the file."""
_DIGITS = re.compile(r"0|[1-9][0-9]{0,17}")
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_bytes(path: Path, most: int) -> bytes:
    """The bytes of a file.

    Raises:
        BadDataset: it is longer than `most`, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise BadDataset(f"{path}: cannot be read: {error.strerror or error}.") from error
    if len(content) > most:
        limit = f"{most // 2**20} MB" if most >= 2**20 else f"{most} bytes"
        raise BadDataset(f"{path}: larger than {limit}.")
    return content


def first_bytes(path: Path, count: int) -> bytes:
    """The start of a file, to see what it is; of UTF-16 text as UTF-8."""
    with path.open("rb") as file:
        start = file.read(count)
    return start.decode("utf-16", "ignore").encode() if start.startswith(_UTF16) else start


def decoded(content: bytes) -> str:
    """Text in UTF-8, with or without a byte order mark, in UTF-16 with one, or in GB18030 (so GBK and GB2312).

    Raises:
        UnicodeDecodeError: none of these.
    """
    if content.startswith(_UTF16):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("gb18030")


def read_text(path: Path, most: int) -> str:
    """The text of a file, as `decoded`.

    Raises:
        BadDataset: it is longer than `most` bytes, or cannot be read.
    """
    try:
        return decoded(read_bytes(path, most))
    except UnicodeDecodeError as error:
        raise BadDataset(f"{path}: cannot be read: neither UTF-8 nor GB18030 text.") from error


def read_json(path: Path) -> Any:
    """The document of a JSON file.

    Raises:
        BadDataset: it is no JSON, or too much of it.
    """
    content = read_bytes(path, MAX_JSON)
    if content.count(b",") + content.count(b"[") + content.count(b"{") > MAX_JSON_VALUES:
        raise BadDataset(f"{path}: holds more than {MAX_JSON_VALUES:,} values; split the data set.")
    try:
        return json.loads(decoded(content))
    except (ValueError, RecursionError) as error:
        raise BadDataset(f"{path}: not valid JSON: {error}") from error


class _PlainLoader(yaml.BaseLoader):
    """Lists, mappings and text alone. An alias may double the work with each line, so it is refused."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="an alias (*name), which is not read", problem_mark=mark)
        return super().compose_node(parent, index)


def read_yaml(path: Path, most: int = MAX_YAML) -> Any:
    """The document of a YAML file; every scalar is text, as it is written.

    Raises:
        BadDataset: it is no YAML, holds an alias, or is too long.
    """
    try:
        return yaml.load(read_text(path, most), Loader=_PlainLoader)  # noqa: S506 - makes lists, mappings and text alone
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        raise BadDataset(f"{path}: not valid YAML: {str(error)[:500]}") from error


def number(value: object) -> float | None:
    """A finite number, of a number or of text; None for all else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def plain_id(value: object) -> int | str | None:
    """An id in one form: 1, "1", 1.0 and "1.0" are one id. None: it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str):
        text = value.strip()
        whole, _, rest = text.partition(".")
        # "007" stays text: it may stand beside a "7".
        if not rest.strip("0") and _DIGITS.fullmatch(whole):
            return int(whole)
        return text[:1000] or None
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value.is_integer() else None
    return value


def size_in_pixels(value: object) -> int | None:
    """A side of a picture, of 96, "96" or 96.0; None: it is not told."""
    found = number(value)
    return int(found) if found is not None and found >= 1 and found.is_integer() else None
