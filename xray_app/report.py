"""The report text, both ways: what a model is trained to say, and what an answer said.

The grammar is the public contract's:

    report = "Items detected: " list ". Security risk: " risk "."
    list   = "none" | entry { ", " entry }
    entry  = count " " name [ " (threat)" | " (restricted)" ]
    risk   = "HIGH - " names " detected" | "MEDIUM - " names " detected" | "LOW - no threats detected"

Writing is strict. Reading is total: any string gives a result, and whatever was not understood is kept.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import get_args

from xray_app.errors import BadInput
from xray_app.taxonomy import ItemClass, Taxonomy, normalise
from xray_app.types import MAX_COUNT, Item, Level, Report, Status

INSTRUCTION = "Analyze this X-ray baggage scan. List all items detected and identify any potential security threats."

# A looping model can answer with a megabyte of nonsense. The text is kept whole; of the parts, this many.
MAX_UNRECOGNISED = 100
_LONGEST_PART = 200

# Every pattern below takes linear time on hostile text: literals, and runs that only one part can match.
_HEADER = re.compile(
    r"\b(?:(?P<items>items\s+detected|detected\s+items|items)|(?:security\s+)?risk(?:\s+level)?)\s*:", re.I
)
_SEPARATOR = re.compile(r"[,;\n]|\.(?=\s|$)")
_AND = re.compile(r"\band\b|&", re.I)
_BULLET = re.compile(r"(?:[-*•–]+|\d{1,3}\))\s+")
_COUNT = re.compile(r"(?P<number>[+-]?\d+)\s*(?:[x×]\s+|\s)|(?P<word>[a-z]+)\s", re.I)
_MARKER = re.compile(r"\((threat|prohibited|restricted|allowed)\)$", re.I)
_LEVEL = re.compile(r"(HIGH|MEDIUM|LOW)\b\s*[-–—:]?", re.I)
_DETECTED = re.compile(r"\bdetected\b", re.I)
_TRIM = " \t\r\n\f\v*_`\"'"

_NUMBER_WORDS = {
    **{"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7},
    **{"eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12},
}
_LEVEL_OF: dict[Status, Level] = {
    Status.PROHIBITED: "HIGH",
    Status.RESTRICTED: "MEDIUM",
    Status.ALLOWED: "LOW",
}
_LEVELS: tuple[Level, ...] = get_args(Level)
_MARKER_LEVEL: dict[str, Level] = {
    "threat": "HIGH",
    "prohibited": "HIGH",
    "restricted": "MEDIUM",
    "allowed": "LOW",
}


@dataclass(frozen=True)
class Entry:
    """One entry of an answer.

    Attributes:
        label: canonical name.
        count: 1 to 99.
        start: offset of the name's first character in the text; `text[start:end]` is the name as
            written, without count and marker, so that its tokens' probabilities are the label's.
        end: offset after the name's last character.
    """

    label: str
    count: int
    start: int
    end: int


@dataclass(frozen=True)
class Parsed:
    """What an answer said.

    Attributes:
        entries: in the order of the text, labels possibly repeated.
        complete: True where list and risk sentence were both there, understood, and the risk sentence
            claims nothing that the list does not hold.
        unrecognised: the parts that were not understood, as written.
    """

    entries: tuple[Entry, ...]
    complete: bool
    unrecognised: tuple[str, ...]


def instruction(labelled_classes: Iterable[str] | None = None, taxonomy: Taxonomy | None = None) -> str:
    """The instruction sentence; followed by `Report only: …` where only some classes were looked for.

    Args:
        labelled_classes: labels (aliases too, given a taxonomy); None means all classes.
        taxonomy: brings the labels to their canonical names and rank order; without it they are
            taken as they come.

    Raises:
        UnknownLabel: a label the taxonomy does not have.
        BadInput: `labelled_classes` is given but empty.
    """
    if labelled_classes is None:
        return INSTRUCTION
    names = list(dict.fromkeys(labelled_classes))
    if taxonomy is not None:
        names = sorted({taxonomy.resolve(name).name for name in names}, key=taxonomy.rank)
    if not names:
        raise BadInput("labelled_classes is empty: nothing was looked for, so there is nothing to report.")
    return f"{INSTRUCTION} Report only: {', '.join(names)}."


def format_report(counts: Mapping[str, int], taxonomy: Taxonomy) -> str:
    """The report text for these items: the training target.

    Args:
        counts: label (aliases too) to count, 1 to 99 each. Empty means an empty bag.
        taxonomy: gives canonical names, plurals, statuses and the order.

    Raises:
        UnknownLabel: a label the taxonomy does not have.
        BadInput: a count outside 1 to 99.
    """
    merged: dict[str, int] = {}
    classes: dict[str, ItemClass] = {}
    for label, count in counts.items():
        found = taxonomy.resolve(label)
        classes[found.name] = found
        merged[found.name] = merged.get(found.name, 0) + count
        if not (1 <= count <= MAX_COUNT and merged[found.name] <= MAX_COUNT):
            raise BadInput(f"A count of {count} for {label!r} is not possible: counts are 1 to {MAX_COUNT}.")
    ordered = sorted(merged, key=taxonomy.rank)
    listed = ", ".join(_entry_text(classes[name], merged[name]) for name in ordered)
    return f"Items detected: {listed or 'none'}. Security risk: {_risk_text(ordered, classes)}."


def _entry_text(item_class: ItemClass, count: int) -> str:
    name = item_class.plural if count > 1 else item_class.name
    marker = {Status.PROHIBITED: " (threat)", Status.RESTRICTED: " (restricted)", Status.ALLOWED: ""}
    return f"{count} {name}{marker[item_class.status]}"


def _risk_text(ordered: list[str], classes: Mapping[str, ItemClass]) -> str:
    for status in (Status.PROHIBITED, Status.RESTRICTED):
        names = [name for name in ordered if classes[name].status is status]
        if names:
            return f"{_LEVEL_OF[status]} - {', '.join(names)} detected"
    return "LOW - no threats detected"


def parse_entries(text: str, taxonomy: Taxonomy) -> Parsed:
    """Read an answer. Total: any string gives a result, in time linear in its length.

    Takes any order, either case, aliases, bullets, `a knife` and number words. Incomplete
    (`complete` False) is an answer that lacks the list or the risk sentence, breaks off, holds a part
    that was not understood (a count outside 1 to 99 is one), or whose risk sentence or markers claim
    more than the items listed amount to: `none` with `HIGH - knife detected` is not to be trusted.
    Claiming less is harmless, since the risk shown on the desk is computed from the items.
    """
    reader = _Reader(text, taxonomy)
    headers = list(_HEADER.finditer(text))
    items_sections = risk_sections = 0
    preamble_end = headers[0].start() if headers else len(text)
    if any(header["items"] for header in headers):
        reader.keep(0, preamble_end)
    else:
        reader.read_list(0, preamble_end)
    ends = [header.start() for header in headers[1:]] + [len(text)]
    for header, end in zip(headers, ends, strict=False):
        start = header.end()
        if header["items"]:
            items_sections += 1
            reader.read_list(start, end)
        else:
            risk_sections += 1
            reader.read_risk(start, end)
    reader.check_claims()
    complete = reader.understood and items_sections == 1 and risk_sections == 1
    return Parsed(tuple(reader.entries), complete, reader.unrecognised())


def parse_report(
    text: str, taxonomy: Taxonomy, confidences: Mapping[int, float] | None = None, finished: bool = True
) -> Report:
    """Read an answer into a Report; see `parse_entries` for what counts as complete.

    Args:
        text: the model's answer. Characters no database takes (NUL, lone surrogates) are replaced.
        taxonomy: the classes.
        confidences: probability by index into `parse_entries(text, taxonomy).entries`; an entry
            without one, or with one that is no probability, gets None.
        finished: False where generation stopped before the end token: then never complete.

    Returns:
        A Report with one item a label, in rank order. Repeated labels are merged: counts add up (99
        at most); of a prohibited one the highest confidence stays, of others the lowest: the safe side.
    """
    text = _storable(text)
    parsed = parse_entries(text, taxonomy)
    counts: dict[str, int] = {}
    kept: dict[str, float] = {}
    for index, entry in enumerate(parsed.entries):
        counts[entry.label] = min(counts.get(entry.label, 0) + entry.count, MAX_COUNT)
        confidence = (confidences or {}).get(index)
        if confidence is not None and math.isfinite(confidence):
            confidence = min(max(float(confidence), 0.0), 1.0)
            safer = max if taxonomy.resolve(entry.label).status is Status.PROHIBITED else min
            kept[entry.label] = safer(kept.get(entry.label, confidence), confidence)
    items: list[Item] = [
        taxonomy.item(label, counts[label], kept.get(label)) for label in sorted(counts, key=taxonomy.rank)
    ]
    return Report(
        items=tuple(items),
        text=text,
        complete=parsed.complete and finished,
        unrecognised=parsed.unrecognised,
    )


def _storable(text: str) -> str:
    """The text with NUL and lone surrogates replaced one for one, so that offsets stay true."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")


class _Reader:
    """Reads the sections of one answer and gathers what they said."""

    def __init__(self, text: str, taxonomy: Taxonomy) -> None:
        self.text = text
        self.taxonomy = taxonomy
        self.entries: list[Entry] = []
        self.understood = True
        self._unrecognised: list[str] = []
        self._dropped = 0
        self._none_at: tuple[int, int] | None = None
        self._claims: list[tuple[Level, int, int]] = []
        self._risk_labels: list[tuple[str, int, int]] = []

    def unrecognised(self) -> tuple[str, ...]:
        more = (f"… and {self._dropped} more",) if self._dropped else ()
        return (*self._unrecognised, *more)

    def keep(self, start: int, end: int) -> None:
        """Keep a part that was not understood; blank ones are nothing to keep."""
        start, end = self._trim(start, end)
        if start == end:
            return
        self.understood = False
        if len(self._unrecognised) == MAX_UNRECOGNISED:
            self._dropped += 1
            return
        part = self.text[start : min(end, start + _LONGEST_PART)]
        self._unrecognised.append(part + ("…" if end - start > _LONGEST_PART else ""))

    def read_list(self, start: int, end: int) -> None:
        """Read entries separated by commas, semicolons, line ends, full stops or `and`."""
        start, end = self._trim(start, end)
        if end > start and self.text[end - 1] == ".":
            end -= 1
        if start == end:
            self.understood = False
            return
        for part_start, part_end in _split(self.text, start, end, _SEPARATOR):
            if self._read_entry(part_start, part_end):
                continue
            pieces = list(_split(self.text, part_start, part_end, _AND))
            if len(pieces) == 1:
                self.keep(part_start, part_end)
                continue
            for piece_start, piece_end in pieces:
                if not self._read_entry(piece_start, piece_end):
                    self.keep(piece_start, piece_end)

    def _read_entry(self, start: int, end: int) -> bool:
        """Read one entry; False where it is not one. Blank parts (`1 knife,`) leave the answer incomplete."""
        text = self.text
        start, end = self._trim(start, end)
        if bullet := _BULLET.match(text, start, end):
            start, end = self._trim(bullet.end(), end)
        if start == end:
            self.understood = False
            return True
        if end - start > _LONGEST_PART:
            return False
        if text[start:end].casefold() == "none":
            if self._none_at is not None:
                return False
            self._none_at = (start, end)
            return True
        marker = _MARKER.search(text, start, end)
        name_end = marker.start() if marker else end
        name_start, name_end = self._trim(start, name_end)
        found = self.taxonomy.find(text[name_start:name_end])
        # A bare name counts as one; a bare plural says that there are several but not how many.
        count = 1
        if found is not None:
            if normalise(text[name_start:name_end]) == normalise(found.plural) != normalise(found.name):
                self.keep(start, end)
        elif given := _COUNT.match(text, name_start, name_end):
            number = given["number"]
            counted = int(number) if number else _NUMBER_WORDS.get(given["word"].casefold())
            name_start, name_end = self._trim(given.end(), name_end)
            found = self.taxonomy.find(text[name_start:name_end])
            if counted is None or not 1 <= counted <= MAX_COUNT:
                return False
            count = counted
        if found is None:
            return False
        self.entries.append(Entry(found.name, count, name_start, name_end))
        if marker:
            self._claims.append((_MARKER_LEVEL[marker[1].casefold()], start, end))
        return True

    def read_risk(self, start: int, end: int) -> None:
        """Read a risk sentence: level, names, `detected`; without the last it broke off."""
        text = self.text
        start, end = self._trim(start, end)
        level = _LEVEL.match(text, start, end)
        closing = _DETECTED.search(text, level.end(), end) if level else None
        if level is None or closing is None:
            self.understood = False
            self.keep(start, end)
            return
        claimed: Level = next(one for one in _LEVELS if one == level[1].upper())
        self._claims.append((claimed, start, closing.end()))
        names_start, names_end = self._trim(level.end(), closing.start())
        if normalise(text[names_start : min(names_end, names_start + _LONGEST_PART)]) != "nothreats":
            for part in _split(text, names_start, names_end, _SEPARATOR):
                self._read_risk_name(*self._trim(*part))
        rest_start, rest_end = self._trim(closing.end(), end)
        if rest_start < rest_end and text[rest_start] == ".":
            rest_start += 1
        self.keep(rest_start, rest_end)

    def _read_risk_name(self, start: int, end: int) -> None:
        found = self.taxonomy.find(self.text[start:end]) if end - start <= _LONGEST_PART else None
        if found is None:
            self.understood = False
            self.keep(start, end)
        else:
            self._risk_labels.append((found.name, start, end))

    def check_claims(self) -> None:
        """Keep whatever claims more than the items listed amount to."""
        if self._none_at is not None and self.entries:
            self.keep(*self._none_at)
        listed = {entry.label for entry in self.entries}
        for label, start, end in self._risk_labels:
            if label not in listed:
                self.keep(start, end)
        levels = [_LEVELS.index(_LEVEL_OF[self.taxonomy.resolve(label).status]) for label in listed]
        highest = max(levels, default=0)
        for level, start, end in self._claims:
            if _LEVELS.index(level) > highest:
                self.keep(start, end)

    def _trim(self, start: int, end: int) -> tuple[int, int]:
        """The span without the spaces, quotes and Markdown marks around it."""
        while start < end and self.text[start] in _TRIM:
            start += 1
        while end > start and self.text[end - 1] in _TRIM:
            end -= 1
        return start, end


def _split(text: str, start: int, end: int, separator: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    """Spans between the separators of `text[start:end]`."""
    for found in separator.finditer(text, start, end):
        yield start, found.start()
        start = found.end()
    yield start, end
