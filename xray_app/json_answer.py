"""Answers that are JSON: items with counts, boxes as the Qwen models write them, a risk level.

No schema is asked of the answer: whatever of it names a class, counts, places or rates is taken; the rest is passed
over. What is read is bounded in depth and in number.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xray_app.types import XYXY, Level

MOST_READ = 100_000
"""Characters of an answer; the JSON decoder is given no more."""
MOST_VALUES = 2_000
_DEEPEST = 8
_MOST_STARTS = 20
_NAMES = ("label", "name", "item", "object", "class", "category", "type", "class_name", "item_name", "object_name")
_COUNTS = ("count", "quantity", "number", "amount", "qty", "num")
_BOXES = ("bbox_2d", "bbox", "box_2d", "box", "bounding_box", "boundingbox", "bounding_box_2d")
_LEVELS = ("risk", "risk_level", "security_risk", "security_risk_level", "threat_level", "overall_risk", "level")
_PRESENCE = ("present", "detected", "found", "visible", "is_present")
_LISTS = ("items", "objects", "detections", "threats", "detected_items", "items_detected", "prohibited_items", "counts")
_START = re.compile(r"[\[{]")
_LEVEL = re.compile(r"\W*(high|severe|critical|medium|moderate|low|none)\b", re.I)


@dataclass(frozen=True)
class Named:
    """A thing that a JSON answer names.

    Attributes:
        name: as written.
        count: None where none is given.
        xyxy: in the model's own coordinates, None without a box.
    """

    name: str
    count: int | None = None
    xyxy: XYXY | None = None


@dataclass
class JsonAnswer:
    """What a JSON answer holds.

    Attributes:
        lists: the things named, list by list: those of one list add up, those of two lists are the same things.
        level: the risk level stated.
        empty: a list of items is there and holds nothing.
    """

    lists: list[list[Named]] = field(default_factory=list)
    level: Level | None = None
    empty: bool = False


def read_json(text: str) -> JsonAnswer | None:
    """The JSON within an answer, fenced or bare; None where there is none that names or rates anything."""
    decoder = json.JSONDecoder(parse_constant=lambda _: None)
    answer = JsonAnswer()
    text, position = text[:MOST_READ], 0
    for _ in range(_MOST_STARTS):
        start = _START.search(text, position)
        if start is None:
            break
        try:
            value, position = decoder.raw_decode(text, start.start())
        except (ValueError, RecursionError):
            position = start.end()
            continue
        _Walk(answer).value(value, 0)
    return answer if answer.lists or answer.level or answer.empty else None


class _Walk:
    """Goes through one JSON value, so many parts deep and so many in all."""

    def __init__(self, answer: JsonAnswer) -> None:
        self.answer = answer
        self.left = MOST_VALUES

    def value(self, value: Any, depth: int) -> None:
        self.left -= 1
        if depth > _DEEPEST or self.left < 0:
            return
        if isinstance(value, list):
            self._list(value, depth)
        elif isinstance(value, dict):
            self._object(value, depth)

    def _list(self, values: Sequence[Any], depth: int) -> None:
        named = [found for one in values[:MOST_VALUES] for found in self._named(one)]
        if named:
            self.answer.lists.append(named)
        for one in values[:MOST_VALUES]:
            if isinstance(one, list | dict) and not list(self._named(one)):
                self.value(one, depth + 1)

    def _object(self, values: Mapping[str, Any], depth: int) -> None:
        alone = list(self._named(values))
        if alone:
            self.answer.lists.append(alone)
        for key, value in values.items():
            word = _key(key)
            if word in _LEVELS and isinstance(value, str) and (level := _LEVEL.match(value)):
                self._rated(level[1])
            elif word in _LISTS and isinstance(value, dict) and value and all(map(_is_count, value.values())):
                self.answer.lists.append([Named(name, int(count)) for name, count in value.items() if count > 0])
                self.answer.empty |= not any(value.values())
            elif word in _LISTS and value == []:
                self.answer.empty = True
            elif word in _LISTS or isinstance(value, dict | list):
                self.value(value, depth + 1)

    def _named(self, value: Any) -> Iterator[Named]:
        """The thing that a string or an object names, if any."""
        if isinstance(value, str) and value.strip():
            yield Named(value)
        if not isinstance(value, dict):
            return
        known = {_key(key): one for key, one in value.items()}
        name = next((known[key] for key in _NAMES if isinstance(known.get(key), str)), None)
        if name is None or any(known.get(key) in (False, "false", "no", "none") for key in _PRESENCE):
            return
        count = next((known[key] for key in _COUNTS if _is_count(known.get(key))), None)
        if count == 0:
            return
        box = next((known[key] for key in _BOXES if key in known), None)
        yield Named(name, None if count is None else int(count), _box(box))

    def _rated(self, word: str) -> None:
        levels: dict[str, Level] = {"medium": "MEDIUM", "moderate": "MEDIUM", "low": "LOW", "none": "LOW"}
        level = levels.get(word.casefold(), "HIGH")
        order = ("LOW", "MEDIUM", "HIGH")
        if self.answer.level is None or order.index(level) > order.index(self.answer.level):
            self.answer.level = level


def _key(key: str) -> str:
    return re.sub(r"[\s\-]+", "_", key.strip().casefold())


def _is_count(value: Any) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value == int(value)
    )


def _box(value: Any) -> XYXY | None:
    """Four finite numbers in order, None for anything else."""
    if not isinstance(value, list) or len(value) != 4:
        return None
    if not all(isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one) for one in value):
        return None
    x0, y0, x1, y1 = map(float, value)
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None
