"""Which bag a picture of a data set shows, and which view of it: one name for all copies and views of one bag."""

from __future__ import annotations

import csv
import hashlib
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import regex

from xray_app.errors import BadDataset, BadInput
from xray_app.exchange.bounded_text import read_text

COLUMN_FILE = "bags.csv"
"""Beside the data set: a line `file,bag` or `file,bag,view` for a picture, `file` relative to the data set."""
MAX_COLUMN_FILE = 64 * 2**20
MAX_NAME = 64
MAX_PATTERN = 300
PATTERN_SECONDS = 20.0
"""What matching a pattern with all paths may take: some patterns take for ever."""
_SPLIT_FOLDER = re.compile(
    r"(obj_)?(train|training|val|valid|validation|test|testing)\d*([_-](data|images?|imgs?|set))?"
    r"|(jpeg)?(images?|imgs?|pictures)|labels?|annotations?|data",
    re.IGNORECASE,
)
"""Folders that say which part of a data set or which kind of file: the same bag may have a copy in two of them. They
stay in the names of bags that each part numbers anew: where different pictures in two of them are called alike."""
_EXPORTED = re.compile(r"\.rf\.[0-9A-Za-z]{8,}$")
"""What Roboflow puts behind the name of each copy."""
_WAS_SUFFIX = re.compile(r"_(jpe?g|png|bmp|webp|tiff?)$", re.IGNORECASE)
_COPY = re.compile(r"(?: \(\d{1,3}\)| - Copy(?: \(\d{1,3}\))?| copy(?: \d{1,3})?)$", re.IGNORECASE)
"""What Windows and macOS put behind a copy's name. A folder renamed at once has "bag (1)", "bag (2)" and no "bag":
there it is the name itself, so it only counts beside its original."""
_VIEW = re.compile(r"(?<=.)[_-](ol|sd|top|side|bottom|front)$", re.IGNORECASE)
"""Names of views; they only count where a bag has two of them."""


@dataclass(frozen=True)
class BagView:
    """Which bag a picture shows, and which view of it, where that can be told."""

    bag_id: str
    view: str | None = None


@dataclass(frozen=True)
class BagNaming:
    """How the bags of one data set are named.

    Attributes:
        dataset: the data set's name, which every bag of it begins with; "" leaves it out.
        pattern: a regular expression over the path within the data set. Its groups `bag` and `view` say what they are
            called, else its first group is the bag, or all of it; None: folder and file name say it.
        said: what a column file says of single pictures, which goes before all else.
    """

    dataset: str = ""
    pattern: str | None = None
    said: Mapping[str, BagView] | None = None

    def __post_init__(self) -> None:
        """Raises: BadInput: the pattern is none, or too long."""
        if self.pattern is not None:
            _compiled(self.pattern)

    def of(self, paths: Iterable[str], file: Callable[[str], Path] | None = None) -> dict[str, BagView]:
        """The bag and view of each picture.

        Args:
            paths: of the pictures, relative to the data set, with slashes. All at once: whether a name is a copy's or
                a view's is seen by the others.
            file: where the picture of a path lies, so that two of one name can be told apart; None: they are copies.

        Raises:
            BadInput: the pattern does not fit a path, or takes too long.
        """
        wanted = list(dict.fromkeys(paths))
        said = self.said or {}
        rest = [path for path in wanted if path not in said]
        found = self._by_name(rest, file) if self.pattern is None else self._by_pattern(rest, self.pattern)
        named = {**found, **{path: said[path] for path in wanted if path in said}}
        return {path: BagView(bag_name(self.dataset, named[path].bag_id), named[path].view) for path in wanted}

    def _by_name(self, paths: list[str], file: Callable[[str], Path] | None) -> dict[str, BagView]:
        there = {_place(path) for path in paths}
        bags = {path: _original(*_place(path), there) for path in paths}
        if file is not None:
            bags |= _numbered_anew(bags, file)
        views: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
        for folder, stem in bags.values():
            if match := _VIEW.search(stem):
                views[folder, stem[: match.start()]][match[1].casefold()] = stem
        found = {}
        for path, (folder, stem) in bags.items():
            match = _VIEW.search(stem)
            view = None
            if match and len(views[folder, stem[: match.start()]]) > 1:
                stem, view = stem[: match.start()], match[1]
            found[path] = BagView(":".join(part for part in (folder, stem) if part), view)
        return found

    def _by_pattern(self, paths: list[str], pattern: str) -> dict[str, BagView]:
        found = {}
        for path, match in matches(pattern, paths, "bag").items():
            groups = match.groupdict()
            bag = groups.get("bag") or (match[1] if match.re.groups else match[0])
            found[path] = BagView(bag.replace("/", ":"), groups.get("view"))
        return found


def matches(pattern: str, texts: Iterable[str], what: str) -> dict[str, regex.Match[str]]:
    """Where a person's pattern is found in each text, within `PATTERN_SECONDS` for all.

    Args:
        pattern: a regular expression; what it is to find is its group called `what`, else its first group, else all of
            it, and must not be empty.
        texts: to search.
        what: it is to find.

    Raises:
        BadInput: the pattern is none, finds nothing in a text, or takes too long.
    """
    compiled, until = _compiled(pattern), time.monotonic() + PATTERN_SECONDS
    found, without = {}, []
    for text in texts:
        try:
            match = compiled.search(text, timeout=max(until - time.monotonic(), 0.001))
        except TimeoutError as error:
            raise BadInput(f"The pattern {pattern!r} takes too long to match. Make it simpler.") from error
        if match and (match.groupdict().get(what) or (match[1] if match.re.groups else match[0])):
            found[text] = match
        else:
            without.append(text)
    if without:
        raise BadInput(
            f"The pattern {pattern!r} finds no {what} in {without[0]!r}"
            + (f" and {len(without) - 1:,} more paths." if len(without) > 1 else ".")
        )
    return found


def bag_name(dataset: str, name: str) -> str:
    """A bag's name as it is stored: at most 64 printable characters without slashes, one of its own for each input."""
    whole = f"{dataset}:{name}" if dataset else name
    plain = "".join(char if char.isprintable() and char not in "/\\" else "_" for char in whole).strip()
    if plain == whole and len(whole) <= MAX_NAME and whole.strip("."):
        return whole
    digest = hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{digest}:{plain[-(MAX_NAME - len(digest) - 1) :]}"


def read_column_file(root: Path) -> dict[str, BagView] | None:
    """What `bags.csv` beside a data set says; None where there is none.

    Raises:
        BadDataset: it cannot be read, or a line of it is no pair.
    """
    path = root / COLUMN_FILE
    if not path.is_file():
        return None
    said: dict[str, BagView] = {}
    rows = csv.reader(read_text(path, MAX_COLUMN_FILE).splitlines())
    try:
        for number, row in enumerate(rows, 1):
            cells = [cell.strip() for cell in row]
            if not any(cells) or (number == 1 and cells[:2] == ["file", "bag"]):
                continue
            if len(cells) not in (2, 3) or not all(cells[:2]):
                raise BadDataset(f"{COLUMN_FILE}:{number}: a line is `file,bag` or `file,bag,view`.")
            view = (cells[2] or None) if len(cells) == 3 else None
            if said.setdefault(cells[0].replace("\\", "/"), BagView(cells[1], view)) != BagView(cells[1], view):
                raise BadDataset(f"{COLUMN_FILE}:{number}: {cells[0]!r} stands twice, in different bags.")
    except csv.Error as error:
        raise BadDataset(f"{COLUMN_FILE}: cannot be read: {error}.") from error
    return said


def _place(path: str) -> tuple[str, str]:
    """Folder and stem of a picture, without folders that only say a part of the data set or a kind of file."""
    pure = PurePosixPath(path)
    folders = [part for part in pure.parts[:-1] if not _SPLIT_FOLDER.fullmatch(part)]
    return ":".join(folders), pure.stem


def _original(folder: str, stem: str, there: set[tuple[str, str]]) -> tuple[str, str]:
    """Folder and stem of what a picture is a copy of; its own where it is none."""
    bare, exported = _EXPORTED.subn("", stem)
    if exported:
        while len(shorter := _WAS_SUFFIX.sub("", bare)) < len(bare):
            bare = shorter
        stem = bare or stem
    while (shorter := _COPY.sub("", stem)) != stem and shorter and (folder, shorter) in there:
        stem = shorter
    return folder, stem


def _numbered_anew(bags: Mapping[str, tuple[str, str]], file: Callable[[str], Path]) -> dict[str, tuple[str, str]]:
    """Whole folder and stem of the pictures whose names each part of the set numbers anew.

    They are known by different pictures of one file name in two folders that are otherwise one. The same picture in
    both is one bag, named by the first folder; the views and copies of a bag go by their own folder.
    """
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path, (folder, stem) in bags.items():
        groups[folder, _VIEW.sub("", stem)].append(path)
    found = {}
    for paths in groups.values():
        names: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for path in paths:
            pure = PurePosixPath(path)
            names[pure.stem][":".join(pure.parts[:-1])].append(path)
        pictures = {
            path: _picture(path, file)
            for folders in names.values()
            if len(folders) > 1
            for same in folders.values()
            for path in same
        }
        if all(
            len(folders) == 1 or set.intersection(*({pictures[path] for path in same} for same in folders.values()))
            for folders in names.values()
        ):
            continue
        first: dict[str, str] = {}
        for path in paths:
            own = ":".join(PurePosixPath(path).parts[:-1])
            found[path] = (first.setdefault(pictures.get(path, path), own), bags[path][1])
    return found


def _picture(path: str, file: Callable[[str], Path]) -> str:
    """The same text for the same picture; one that cannot be read is no other's."""
    try:
        with file(path).open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return path


def _compiled(pattern: str) -> regex.Pattern[str]:
    if not pattern or len(pattern) > MAX_PATTERN:
        raise BadInput(f"A pattern has 1 to {MAX_PATTERN} characters.")
    try:
        return regex.compile(pattern)
    except (regex.error, RecursionError, OverflowError) as error:
        raise BadInput(f"{pattern!r} is no regular expression: {error}.") from error
