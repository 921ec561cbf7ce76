"""XML of a stranger's file: bounded in bytes, and without document types, which could pull in other files."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from xml.parsers import expat

from xray_app.errors import BadDataset
from xray_app.exchange.bounded_text import decoded, read_bytes
from xray_app.exchange.dataset import Problem, Unusable

MAX_XML = 4 * 2**20
MAX_DEPTH = 100
_ENCODING = re.compile(rb"""\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")

Start = Callable[[list[str], dict[str, str], int], None]
"""Takes the path of tags, the attributes and the line."""
End = Callable[[list[str]], None]
"""Takes the path of tags."""


def parse_xml(file: Path, start: Start, end: End, text: Callable[[str], object], most: int = MAX_XML) -> None:
    """Walks through a file.

    Args:
        file: to be read.
        start: called at each opening tag.
        end: called at each closing tag.
        text: takes the text between them.
        most: bytes it may have.

    Raises:
        Unusable: it is too long or too deep, no XML, or declares a document type.
    """
    parser = expat.ParserCreate()
    path: list[str] = []

    def refuse(*_: object) -> None:
        raise _unreadable(file, "declares a document type, which is not read", parser.CurrentLineNumber)

    def starting(tag: str, attributes: dict[str, str]) -> None:
        path.append(tag)
        if len(path) > MAX_DEPTH:
            raise _unreadable(file, f"its tags are nested more than {MAX_DEPTH} deep", parser.CurrentLineNumber)
        start(path, attributes, parser.CurrentLineNumber)

    def ending(tag: str) -> None:
        end(path)
        path.pop()

    parser.StartElementHandler, parser.EndElementHandler = starting, ending
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        content = read_bytes(file, most)
    except BadDataset as error:
        raise _unreadable(file, error.message.removeprefix(f"{file}: ")) from error
    try:
        # Expat reads no GB2312 and GBK, so the text is decoded here.
        parser.Parse(_text(content), True)
    except (expat.ExpatError, ValueError) as error:
        raise _unreadable(file, f"not valid XML: {error}") from error


def _text(content: bytes) -> str:
    found = _ENCODING.match(content)
    name = found.group(1).decode("ascii").lower() if found else ""
    if name in ("", "utf-8", "utf8", "utf-16", "gb2312", "gbk", "gb18030"):
        return decoded(content)
    try:
        return content.decode(name)
    except LookupError as error:
        raise ValueError(f"the encoding {name!r} is not known") from error


def _unreadable(file: Path, reason: str, line: int | None = None) -> Unusable:
    return Unusable(Problem(file, "unreadable file", reason, line))
