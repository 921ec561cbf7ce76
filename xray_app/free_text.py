"""Names of classes in words that follow no form: lists, prose, with counts and negations.

A model that was not trained on the report text answers as it likes. What it says of a class is read from the words
around the name, sentence by sentence. In doubt a name counts as said: a missed knife is worse than a bag stopped.
"""

from __future__ import annotations

import re
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from xray_app.taxonomy import Taxonomy, normalise
from xray_app.types import MAX_COUNT, Level

MOST_READ = 20_000
"""Characters read; an answer of 1,024 tokens has about 5,000."""
NUMBER_WORDS = {
    **{"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7},
    **{"eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "both": 2, "couple": 2},
}

_LONGEST_NAME = 5
"""Words a name may have, as `pair of needle nose pliers`."""
_ADJECTIVES = 4
"""Words between a count and its name, as `2 small black folding knives`."""
_SENTENCE = re.compile(r"[^.;!?\n]*(?:[.](?!\s|$)[^.;!?\n]*)*(?:[.;!?\n]|$)")
_WORD = re.compile(r"[^\W_]+(?:[_'’][^\W_]+)*")
_JOINED = re.compile(r"[\s_\-]{1,3}")
_LIST_HEAD = re.compile(r"\s*(?:[-*•–+]+|\(?\d{1,3}[.):](?!\d))?[\s*_`\"']*")
_COUNT_AFTER = re.compile(
    r"[*_`\"']*\s*(?:\(\s*(?:x|×)?\s*|[:=]\s*(?:x|×)?\s*|(?:x|×)\s*)(\d{1,9})(?![\d%.]|\s*%)", re.I
)
_DENIED_AFTER = re.compile(
    r"[*_`\"')\]]*\s*[:=–—(\-]+\s*[*_`\"'(]*(?:no\b|none\b|not\b|absent\b|false\b|n/a|nil\b|0(?![\d.])|negative\b)",
    re.I,
)
_NOT = r"(?:not|never)\s+(?:\w+\s+)?"
_SEEN = r"(?:detected|found|visible|seen|present|identified|observed|evident|apparent|recogni[sz]ed|there)\b"
_DENIED_LATER = re.compile(
    rf"\b(?:(?:is|are|was|were|be|been|can be|could be)\s+{_NOT}"
    rf"|(?:isn|aren|wasn|weren|couldn|can)['’]?t\s+(?:be\s+)?|not\s+){_SEEN}"
    r"|\b(?:found|saw|see|detected|identified)\s+none\b"
    r"|\bnone\s+(?:of\s+\w+\s+)?(?:is|are|was|were|found|detected|seen|visible|present)\b"
    r"|\b(?:is|are|was|were)\s+absent\b",
    re.I,
)
_DENIAL = re.compile(
    r"\b(?:no|not|without|none|never|neither|nor|cannot|absence of|free of|free from|lack of|lacks|rules? out"
    r"|ruled out|unlikely)\b|n['’]t\b",
    re.I,
)
# They hold a word of denial and deny nothing.
_NO_DENIAL = re.compile(
    r"\b(?:no doubt|without (?:a |any )?doubt|no question|no less than|not (?:be )?ruled? out"
    r"|not (?:only|just|certain|sure|clear|entirely|excluded|unlikely)"
    r"|(?:cannot|can['’]?t) (?:be )?(?:exclude|rule)d?(?: out)?)\b",
    re.I,
)
_TURN = re.compile(
    r"\b(?:but|however|though|although|except|instead|rather|yet|there is|there are|there['’]s"
    r"|(?:i|we) (?:can |do )?see)\b",
    re.I,
)
# Words of this field that are something else without an article or a number before them: "can be seen", "I saw".
_ALSO_ANOTHER_WORD = frozenset({"can", "saw", "lighter", "tin", "mobile", "pressure"})
_PART_ENDS = re.compile(r"[*_`\"']*\s*(?:[,;.:()\n–—]|$)")
_ARTICLES = frozenset({"a", "an", "the", "this", "that", "another", "some", "single", "drink", "soda", "spray"})
_STOPS = frozenset({"of", "and", "or", "with", "in", "on", "to", "by", "is", "are", "the", "be", "as", "like"})

_LEVELS: dict[str, Level] = {
    **dict.fromkeys(("high", "severe", "critical", "extreme"), "HIGH"),
    **dict.fromkeys(("medium", "moderate", "elevated"), "MEDIUM"),
    **dict.fromkeys(("low", "minimal", "none"), "LOW"),
}
_WORDS_OF_LEVEL = "high|severe|critical|extreme|medium|moderate|elevated|low|minimal"
_CLAIM = re.compile(
    rf"\b(?:risk|threat)(?:[\s_]+(?:level|rating|assessment|score))?[\s*_`\"':=\-–—]{{1,12}}"
    rf"(?:(?:is|of|remains|considered|rated)\s+)?(?:very\s+)?[*_`\"']*({_WORDS_OF_LEVEL})\b"
    rf"|\b({_WORDS_OF_LEVEL})[\s\-]+(?:(?:security|safety|potential)[\s\-]+)?(?:risk|threat|alert)\b",
    re.I,
)


@dataclass(frozen=True)
class Mention:
    """A class named somewhere in an answer.

    Attributes:
        label: canonical name.
        start, end: of the name, in characters of the text.
        count: as said, None where no number stands with it; 0 and numbers over 99 as they are.
        denied: the words around it say that there is none.
        head: it opens a line of a list, so that each such line is one more of its kind.
    """

    label: str
    start: int
    end: int
    count: int | None
    denied: bool
    head: bool

    @property
    def possible(self) -> bool:
        """Whether it says that such a thing is there, in a number that can be."""
        return not self.denied and (self.count is None or 1 <= self.count <= MAX_COUNT)


def mentions(text: str, taxonomy: Taxonomy) -> Iterator[Mention]:
    """Every class named in the text, in its order; in time linear in its length, `MOST_READ` characters at most."""
    for sentence in _SENTENCE.finditer(text[:MOST_READ]):
        if sentence.end() > sentence.start():
            yield from _in_sentence(sentence[0], sentence.start(), taxonomy)


def claimed_level(text: str) -> Level | None:
    """The gravest risk level that the answer states affirmatively in its own words; None where it states none."""
    found: list[Level] = []
    for sentence in _SENTENCE.finditer(text[:MOST_READ]):
        denials = _Denials(sentence[0])
        for claim in _CLAIM.finditer(sentence[0]):
            if not denials.before(claim.start()):
                found.append(_LEVELS[(claim[1] or claim[2]).casefold()])
    return max(found, key=("LOW", "MEDIUM", "HIGH").index, default=None)


class _Denials:
    """Where a sentence says that something is not there, and where it turns to say what is."""

    def __init__(self, sentence: str) -> None:
        masked = _NO_DENIAL.sub(lambda found: " " * len(found[0]), sentence)
        self._words = [found.start() for found in _DENIAL.finditer(masked)]
        self._later = [found.start() for found in _DENIED_LATER.finditer(masked)]
        turns = list(_TURN.finditer(sentence))
        self._turns = [found.start() for found in turns]
        self._turned = [found.end() for found in turns]

    def before(self, at: int) -> bool:
        """Whether the words before this place, from the last turn on, deny what follows."""
        place = bisect_right(self._turned, at)
        return _any_between(self._words, self._turned[place - 1] if place else 0, at)

    def after(self, at: int) -> bool:
        """Whether the words after this place, up to the next turn, deny what went before."""
        place = bisect_right(self._turns, at)
        return _any_between(self._later, at, self._turns[place] if place < len(self._turns) else sys.maxsize)


def _any_between(places: list[int], start: int, end: int) -> bool:
    return bisect_left(places, start) < bisect_left(places, end)


def _in_sentence(sentence: str, offset: int, taxonomy: Taxonomy) -> Iterator[Mention]:
    words = list(_WORD.finditer(sentence))
    opening = _LIST_HEAD.match(sentence)
    head_at = opening.end() if opening else 0
    denials = _Denials(sentence)
    place = 0
    while place < len(words):
        last, label = _name_at(words, place, sentence, taxonomy)
        if label is None or _another_word(words, place, last, sentence):
            place += 1
            continue
        start, end = words[place].start(), words[last].end()
        count, counted_from = _count_before(words, place, sentence)
        after = _COUNT_AFTER.match(sentence, end)
        if count is None and after is not None:
            count = int(after[1])
        denied = (
            count == 0
            or denials.before(counted_from)
            or _DENIED_AFTER.match(sentence, end) is not None
            or denials.after(end)
        )
        yield Mention(label, offset + start, offset + end, count, denied, head=counted_from <= head_at)
        place = last + 1


def _name_at(words: list[re.Match[str]], place: int, sentence: str, taxonomy: Taxonomy) -> tuple[int, str | None]:
    """The longest name that begins with this word: the index of its last word, and its class."""
    last = place
    while (
        last + 1 < len(words)
        and last - place + 1 < _LONGEST_NAME
        and _JOINED.fullmatch(sentence, words[last].end(), words[last + 1].start())
    ):
        last += 1
    for end in range(last, place - 1, -1):
        found = taxonomy.find(sentence[words[place].start() : words[end].end()])
        if found is not None:
            return end, found.name
    return place, None


def _another_word(words: list[re.Match[str]], place: int, last: int, sentence: str) -> bool:
    """Whether `can`, `saw` or the like is no thing here."""
    if last != place or normalise(words[place][0]) not in _ALSO_ANOTHER_WORD:
        return False
    before = words[place - 1] if place else None
    if before is None or not _JOINED.fullmatch(sentence, before.end(), words[place].start()):
        # First of a part: a thing where the part ends with it, as in `laptop, can, knife` or `- Can`.
        return _PART_ENDS.match(sentence, words[last].end()) is None
    word = before[0].casefold()
    return not (word.isdigit() or word in NUMBER_WORDS or word in _ARTICLES or word in ("and", "or", "no", "metal"))


def _count_before(words: list[re.Match[str]], place: int, sentence: str) -> tuple[int | None, int]:
    """The number before a name, over its adjectives, and where it begins; None and the name's own begin without."""
    start = words[place].start()
    for back in range(place - 1, max(place - 2 - _ADJECTIVES, -1), -1):
        word = words[back]
        between = sentence[word.end() : words[back + 1].start()]
        if not re.fullmatch(r"[\s_\-*`\"'’]{1,4}|\s*[x×]\s*", between, re.I):
            return None, start
        said = word[0].casefold()
        if said.isdecimal() and said.isascii():
            if sentence[max(word.start() - 1, 0) : word.start()] == "-":
                return 0, max(word.start() - 1, 0)
            return int(said[:10]), word.start()
        if said == "of" or said == "x":
            continue
        if said in NUMBER_WORDS:
            return NUMBER_WORDS[said], word.start()
        if said in _STOPS or _DENIAL.fullmatch(said) or _TURN.fullmatch(said):
            return None, start
    return None, start
