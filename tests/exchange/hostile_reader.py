"""The reading child with a data set that holds it up: where, says the ZIP's name. Started by tests in its place."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from xray_app.exchange import incoming, reader_process

opened, read_scan, calls = reader_process.opened, incoming.read_scan, count(1)


def never_ends() -> None:
    """Holds the interpreter in one call of C code that looks for no signal's handler and lets no other thread in."""
    re.fullmatch("(a+)+", "a" * 60 + "b")


@contextmanager
def hostile_opened(file: Path, scratch: Path) -> Iterator[Path]:
    with opened(file, scratch) as root:
        if file.stem == "endless":
            never_ends()
        if file.stem == "fault":
            raise ZeroDivisionError("a fault of ours")
        if file.stem == "third":
            incoming.read_scan = until_the_third  # type: ignore[assignment]
        yield root


def until_the_third(*said: Any, **more: Any) -> Any:
    if next(calls) == 3:
        never_ends()
    return read_scan(*said, **more)


reader_process.opened = hostile_opened  # type: ignore[assignment]

if __name__ == "__main__":
    reader_process.main(Connection(int(sys.argv[1])), int(sys.argv[2]))
