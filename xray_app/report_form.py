"""The report's own form, read: a list of items and a risk sentence, with the slips that models make in it.

Reading takes time linear in the text's length, and keeps whatever it does not understand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

from xray_app.taxonomy import ItemClass, Taxonomy, normalise
from xray_app.types import MAX_COUNT, Level, Status

# A looping model can answer with a megabyte of nonsense. The text is kept whole; of the parts, this many.
MAX_UNRECOGNISED = 100
LONGEST_PART = 200

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
_COUNT_AFTER = re.compile(r"(?:\s*\(\s*[x×]?\s*|\s*:\s*|\s+[x×]\s?)(\d{1,9})\s*\)?$", re.I)
_NO_ADJECTIVE = re.compile(r"no|not|non|without|and|or|with|of|in|on|&|like|for", re.I)
_ADJECTIVES = 4
_WORD = re.compile(r"\S+")
_DETECTED = re.compile(r"\bdetected\b", re.I)
_TRIM = " \t\r\n\f\v*_`\"'"

_NUMBER_WORDS = {
    **{"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7},
    **{"eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12},
}
LEVEL_OF: dict[Status, Level] = {
    Status.PROHIBITED: "HIGH",
    Status.RESTRICTED: "MEDIUM",
    Status.ALLOWED: "LOW",
}
LEVELS: tuple[Level, ...] = get_args(Level)
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


class FormReader:
    """Reads the sections of one answer and gathers what they said."""

    def __init__(self, text: str, taxonomy: Taxonomy) -> None:
        self.text = text
        self.taxonomy = taxonomy
        self.entries: list[Entry] = []
        self.understood = True
        self._unrecognised: list[str] = []
        self._dropped = 0
        self.has_list = False
        self._none_at: tuple[int, int] | None = None
        self._claims: list[tuple[Level, int, int]] = []
        self._stated: list[Level] = []
        self._risk_labels: list[tuple[str, int, int]] = []

    @property
    def says_none(self) -> bool:
        """Whether the list is `none`."""
        return self._none_at is not None

    @property
    def claimed(self) -> Level | None:
        """The gravest level that the risk sentence states."""
        return max(self._stated, key=LEVELS.index, default=None)

    def read_form(self) -> bool:
        """Reads the report's own form; whether the answer is complete in it."""
        text = self.text
        headers = list(_HEADER.finditer(text))
        items_sections = risk_sections = 0
        preamble_end = headers[0].start() if headers else len(text)
        if any(header["items"] for header in headers):
            self.keep(0, preamble_end)
        else:
            self.read_list(0, preamble_end)
        ends = [header.start() for header in headers[1:]] + [len(text)]
        for header, end in zip(headers, ends, strict=False):
            start = header.end()
            if header["items"]:
                items_sections += 1
                self.has_list = True
                self.read_list(start, end)
            else:
                risk_sections += 1
                self.read_risk(start, end)
        self.check_claims()
        return self.understood and items_sections == 1 and risk_sections == 1

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
        part = self.text[start : min(end, start + LONGEST_PART)]
        self._unrecognised.append(part + ("…" if end - start > LONGEST_PART else ""))

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
        if end - start > LONGEST_PART:
            return False
        if text[start:end].casefold() == "none":
            if self._none_at is not None:
                return False
            self._none_at = (start, end)
            return True
        marker = _MARKER.search(text, start, end)
        name_end = marker.start() if marker else end
        name_start, name_end = self._trim(start, name_end)
        after = _COUNT_AFTER.search(text, name_start, name_end)
        if after is not None:
            name_end = self._trim(name_start, after.start())[1]
        found = self.taxonomy.find(text[name_start:name_end])
        # A bare name counts as one; a bare plural says that there are several but not how many.
        count = 1
        if after is not None:
            count = int(after[1])
            found, name_start = self._named_last(name_start, name_end)
            if not 1 <= count <= MAX_COUNT:
                return False
        elif found is not None:
            if normalise(text[name_start:name_end]) == normalise(found.plural) != normalise(found.name):
                self.keep(start, end)
        elif given := _COUNT.match(text, name_start, name_end):
            number = given["number"]
            counted = int(number) if number else _NUMBER_WORDS.get(given["word"].casefold())
            name_start, name_end = self._trim(given.end(), name_end)
            found, name_start = self._named_last(name_start, name_end)
            if counted is None or not 1 <= counted <= MAX_COUNT:
                return False
            count = counted
        if found is None:
            return False
        self.entries.append(Entry(found.name, count, name_start, name_end))
        if marker:
            self._claims.append((_MARKER_LEVEL[marker[1].casefold()], start, end))
        return True

    def _named_last(self, start: int, end: int) -> tuple[ItemClass | None, int]:
        """The class named here, if need be after adjectives (`small folding knife`), and where its name begins."""
        found = self.taxonomy.find(self.text[start:end])
        words = list(_WORD.finditer(self.text, start, end))
        if found is not None or any(not word[0].isalpha() or _NO_ADJECTIVE.fullmatch(word[0]) for word in words):
            return found, start
        for word in words[1 : _ADJECTIVES + 1]:
            found = self.taxonomy.find(self.text[word.start() : end])
            if found is not None:
                return found, word.start()
        return None, start

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
        claimed: Level = next(one for one in LEVELS if one == level[1].upper())
        self._claims.append((claimed, start, closing.end()))
        self._stated.append(claimed)
        names_start, names_end = self._trim(level.end(), closing.start())
        if normalise(text[names_start : min(names_end, names_start + LONGEST_PART)]) != "nothreats":
            for part in _split(text, names_start, names_end, _SEPARATOR):
                self._read_risk_name(*self._trim(*part))
        rest_start, rest_end = self._trim(closing.end(), end)
        if rest_start < rest_end and text[rest_start] == ".":
            rest_start += 1
        self.keep(rest_start, rest_end)

    def _read_risk_name(self, start: int, end: int) -> None:
        found = self.taxonomy.find(self.text[start:end]) if end - start <= LONGEST_PART else None
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
        levels = [LEVELS.index(LEVEL_OF[self.taxonomy.resolve(label).status]) for label in listed]
        highest = max(levels, default=0)
        for level, start, end in self._claims:
            if LEVELS.index(level) > highest:
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
