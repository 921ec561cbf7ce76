"""What a model that was not trained on the report text is told of it, and the JSON schemas that hold it to that.

A model that was trained here knows the form; it gets the prompt it was trained with, unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xray_app.report import format_report
from xray_app.taxonomy import Taxonomy
from xray_app.types import MAX_COUNT, Status

SCHEMA_NAME = "baggage_report"
MOST_COORDINATE = 99_999
"""Of a box, in pixels or in thousandths of the picture."""
_KINDS = {
    Status.PROHIBITED: "Threats",
    Status.RESTRICTED: "Restricted items",
    Status.ALLOWED: "Harmless items",
}


@dataclass(frozen=True)
class AnswerForm:
    """The form of an answer, told in words that follow the instruction.

    Attributes:
        words: the report text, with an example.
        json_words: the same content as a JSON object.
        schema: of that object, in what every server knows.
        bounded_schema: of that object, in what the reader can read: counts of 1 to 99, boxes of four whole numbers.
        boxes: it asks for a box of each item, by a model whose coordinates are known.
    """

    words: str
    json_words: str
    schema: Mapping[str, Any]
    bounded_schema: Mapping[str, Any]
    boxes: bool

    def told(self, instruction: str, *, as_json: bool) -> str:
        """The instruction, with the form after it."""
        return f"{instruction}\n\n{self.json_words if as_json else self.words}"


def answer_form(taxonomy: Taxonomy, boxes: bool) -> AnswerForm:
    """The form in the names of this taxonomy.

    Args:
        taxonomy: its classes are the names an answer may use.
        boxes: ask for boxes, as the Qwen models write them: an entry each, with `bbox_2d`.
    """
    kinds = {status: [name for name in taxonomy.names if taxonomy.resolve(name).status is status] for status in Status}
    names = " ".join(f"{title}: {', '.join(kinds[kind])}." for kind, title in _KINDS.items() if kinds[kind])
    # Of each kind one, the last in two, so that plural and both markers are seen.
    firsts = [kinds[status][0] for status in Status if kinds[status]]
    counts = dict.fromkeys(firsts[:-1], 1) | {firsts[-1]: 2}
    words = (
        "Answer with one line in exactly this form and nothing else. Of a bag that holds "
        f"{_listed(counts, taxonomy)} it would be: {format_report(counts, taxonomy)} "
        f"Of an empty bag: {format_report({}, taxonomy)} "
        "List each kind of item once, after its number. Write (threat) after a threat and (restricted) after a "
        "restricted item. The risk is HIGH with a threat, else MEDIUM with a restricted item, else LOW. "
        f"Use these names only. {names}"
    )
    entry = '{"bbox_2d": [x1, y1, x2, y2], "label": NAME}' if boxes else '{"label": NAME, "count": NUMBER}'
    each = "an entry for every single item, with its box" if boxes else "an entry for every kind of item"
    json_words = (
        f'Answer with JSON and nothing else: {{"items": [{entry}, …], "risk": "HIGH", "MEDIUM" or "LOW"}}, with '
        f"{each}; of an empty bag the list is empty. The risk is HIGH with a threat, else MEDIUM with a restricted "
        f"item, else LOW. Use these names only. {names}"
    )
    schema, bounded = (_schema(taxonomy.names, boxes, bounded) for bounded in (False, True))
    return AnswerForm(words, json_words, schema, bounded, boxes)


def _listed(counts: Mapping[str, int], taxonomy: Taxonomy) -> str:
    numbered = [(count, taxonomy.resolve(name)) for name, count in counts.items()]
    return ", ".join(f"{count} {one.plural if count > 1 else one.name}" for count, one in numbered)


def _schema(names: tuple[str, ...], boxes: bool, bounded: bool) -> Mapping[str, Any]:
    """Objects whose properties are all required; bounds of numbers and of their lists, which not every server knows,
    where wanted.

    How many items there are is never bounded: a model that loops must be cut off, or its answer would seem whole. Nor
    is the risk bound to the items: a model that calls a bag HIGH and names nothing has said something.
    """
    count = {"type": "integer"} | ({"minimum": 1, "maximum": MAX_COUNT} if bounded else {})
    place: dict[str, Any] = {"type": "array", "items": {"type": "number"}}
    if bounded:
        number = {"type": "integer", "minimum": 0, "maximum": MOST_COORDINATE}
        place = {"type": "array", "items": number, "minItems": 4, "maxItems": 4}
    label: dict[str, Any] = {"label": {"type": "string", "enum": list(names)}}
    entry = {"bbox_2d": place} | label if boxes else label | {"count": count}
    return _object({"items": {"type": "array", "items": _object(entry)}, "risk": {"enum": ["LOW", "MEDIUM", "HIGH"]}})


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": "string", **kind} for name, kind in properties.items()},
        "required": list(properties),
        "additionalProperties": False,
    }
