"""One named fault."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mutant:
    """A single change of the code that a test has to notice.

    Attributes:
        name: what goes wrong, "room: fault".
        file: the source, relative to the project's folder.
        old: what is there now; it occurs exactly once in the file.
        new: what takes its place.
        tests: the test files that mirror the source.
        reason: why no test notices it; None where one has to.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    reason: str | None = None

    def problem(self, root: Path) -> str | None:
        """Why the mutant cannot be made in this folder any more; None where it can."""
        source = root / self.file
        if not source.is_file():
            return f"there is no {self.file}"
        found = source.read_text(encoding="utf-8").count(self.old)
        if found != 1:
            return f"{self.old!r} occurs {found} times in {self.file}"
        missing = [test for test in self.tests if not (root / test).is_file()]
        return f"there is no {missing[0]}" if missing else None

    def put_into(self, root: Path) -> None:
        """Writes the fault into the source."""
        source = root / self.file
        source.write_text(source.read_text(encoding="utf-8").replace(self.old, self.new), encoding="utf-8")


Change = tuple[str, str, str] | tuple[str, str, str, str]


def of_file(file: str, tests: tuple[str, ...], changes: Iterable[Change]) -> list[Mutant]:
    """Mutants of one file; a change is a name, what is there now, what takes its place, and the reason if any."""
    return [Mutant(name, file, old, new, tests, *reason) for name, old, new, *reason in changes]
