"""The report text, both ways: what a model is trained to say, and what an answer said.

The grammar is the public contract's:

    report = "Items detected: " list ". Security risk: " risk "."
    list   = "none" | entry { ", " entry }
    entry  = count " " name [ " (threat)" | " (restricted)" ]
    risk   = "HIGH - " names " detected" | "MEDIUM - " names " detected" | "LOW - no threats detected"

Writing is strict. Reading is total: any string gives a result, and whatever was not understood is kept. Of answers in
other forms (lists, prose, JSON) the classes named are read too: see `free_text` and `json_answer`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from xray_app.errors import BadInput
from xray_app.free_text import Mention, claimed_level, mentions
from xray_app.json_answer import JsonAnswer, read_json
from xray_app.report_form import LEVEL_OF, LEVELS, LONGEST_PART, MAX_UNRECOGNISED, Entry, FormReader
from xray_app.taxonomy import ItemClass, Taxonomy
from xray_app.types import MAX_COUNT, XYXY, Item, Level, Report, Status

INSTRUCTION = "Analyze this X-ray baggage scan. List all items detected and identify any potential security threats."

ONLY_THOUGHT = "the model thought and gave no report; raise XRAY_VLM_MAX_TOKENS or switch its thinking off"
"""What is said of an answer that ends within its thought, or holds nothing else."""

# Only what stands after a thought is an answer.
_THOUGHT = re.compile(r"<(/?)(?:think|thinking|thought|reasoning)>", re.I)


@dataclass(frozen=True)
class Parsed:
    """What an answer said.

    Attributes:
        entries: in the order of the text, labels possibly repeated.
        complete: True where list and risk sentence were both there, understood, and the risk sentence
            claims nothing that the list does not hold.
        unrecognised: the parts that were not understood, as written.
        mentioned: canonical names that the answer says are there, outside of its list.
        claimed: the gravest risk level it states, None where it states none.
        boxes: label and place of what it placed, in the model's own coordinates.
    """

    entries: tuple[Entry, ...]
    complete: bool
    unrecognised: tuple[str, ...]
    mentioned: tuple[str, ...] = ()
    claimed: Level | None = None
    boxes: tuple[tuple[str, XYXY], ...] = ()


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
            return f"{LEVEL_OF[status]} - {', '.join(names)} detected"
    return "LOW - no threats detected"


def parse_entries(text: str, taxonomy: Taxonomy) -> Parsed:
    """Read an answer. Total: any string gives a result, in time linear in its length.

    Takes any order, either case, aliases, bullets, `a knife` and number words. Incomplete
    (`complete` False) is an answer that lacks the list or the risk sentence, breaks off, holds a part
    that was not understood (a count outside 1 to 99 is one), or whose risk sentence or markers claim
    more than the items listed amount to: `none` with `HIGH - knife detected` is not to be trusted.
    Claiming less is harmless, since the risk shown on the desk is computed from the items.
    """
    thinking = _without_thinking(text)
    reader = FormReader(thinking, taxonomy)
    complete = reader.read_form()
    if complete:
        return Parsed(tuple(reader.entries), True, (), claimed=reader.claimed)
    found = read_json(thinking)
    if found is not None:
        return _of_json(found, thinking, taxonomy)
    return _in_own_words(reader, thinking, taxonomy)


def _without_thinking(text: str) -> str:
    """The answer with what a model thought beforehand blanked out, so that offsets stay true.

    A template may have written the opening mark itself; then the answer begins within the thought. A thought that
    never ends is all there is: nothing of it is an answer.
    """
    marks = list(_THOUGHT.finditer(text))
    if not marks:
        return text
    kept, place, inside = [], 0, bool(marks[0][1])
    for mark in marks:
        part = text[place : mark.start()]
        kept.append(" " * len(part) if inside else part)
        kept.append(" " * len(mark[0]))
        place, inside = mark.end(), not mark[1]
    kept.append(" " * (len(text) - place) if inside else text[place:])
    return "".join(kept)


def _in_own_words(reader: FormReader, text: str, taxonomy: Taxonomy) -> Parsed:
    """What a form was not made of: names anywhere, each in the greatest number said of it in one place.

    Where a list of the report's form was read, a name outside of it is mentioned, not listed.
    """
    listed = reader.has_list and (bool(reader.entries) or reader.says_none)
    # Without the form's own heading, what the list reader made of it is a guess, unless it made sense of all.
    kept = reader.entries if listed or not reader.unrecognised() else []
    known = {entry.label for entry in kept}
    mentioned: dict[str, None] = {}
    heads: dict[str, list[Mention]] = {}
    others: dict[str, Mention] = {}
    for one in mentions(text, taxonomy):
        if one.denied or one.label in known:
            continue
        if listed or not one.possible:
            mentioned[one.label] = None
        elif one.head:
            heads.setdefault(one.label, []).append(one)
        elif one.label not in others or (one.count or 1) > (others[one.label].count or 1):
            others[one.label] = one
    entries = list(kept)
    for label, lines in heads.items():
        entries += [Entry(label, line.count or 1, line.start, line.end) for line in lines]
    for label, one in others.items():
        if label in heads:
            continue
        # Beside a list in the answer's own form, other words describe: `- comb, long like a knife`.
        if heads:
            mentioned[label] = None
        else:
            entries.append(Entry(label, one.count or 1, one.start, one.end))
    entries.sort(key=lambda entry: entry.start)
    return Parsed(tuple(entries), False, reader.unrecognised(), tuple(mentioned), claimed_level(text) or reader.claimed)


def _of_json(found: JsonAnswer, text: str, taxonomy: Taxonomy) -> Parsed:
    """Things of one list add up; the same thing in two lists is one."""
    counts: dict[str, int] = {}
    written: dict[str, str] = {}
    boxes: list[tuple[str, XYXY]] = []
    unknown: dict[str, None] = {}
    for things in found.lists:
        here: dict[str, int] = {}
        drawn: set[tuple[str, XYXY]] = set()
        for thing in things:
            name, count = thing.name, thing.count
            item = taxonomy.find(name)
            if item is None:
                said = [one for one in mentions(name, taxonomy) if one.possible]
                denied = any(one.denied for one in mentions(name, taxonomy))
                if len(said) != 1:
                    if not denied and name.strip().casefold() not in ("none", "no threats detected"):
                        unknown[name[:LONGEST_PART]] = None
                    continue
                item, count = taxonomy.find(said[0].label), count or said[0].count
                name = name[said[0].start : said[0].end]
            if item is None:
                continue
            if thing.xyxy is not None:  # a model that loops writes one thing again and again
                if (item.name, thing.xyxy) in drawn:
                    continue
                drawn.add((item.name, thing.xyxy))
            here[item.name] = min(here.get(item.name, 0) + (count or 1), MAX_COUNT)
            written.setdefault(item.name, name)
            if thing.xyxy is not None:
                boxes.append((item.name, thing.xyxy))
        for label, count in here.items():
            counts[label] = max(counts.get(label, 0), count)
    entries, place = [], 0
    for label, count in counts.items():
        at = max(text.find(written[label], place), text.find(written[label]))
        # A name written with escapes is nowhere in the text; its item then has no probability.
        entries.append(Entry(label, max(count, 1), max(at, 0), at + len(written[label]) if at >= 0 else 0))
        place = max(at, place)
    listed = bool(counts) or found.empty
    highest = max((LEVEL_OF[taxonomy.resolve(label).status] for label in counts), key=LEVELS.index, default="LOW")
    believed = found.level is not None and LEVELS.index(found.level) <= LEVELS.index(highest)
    complete = listed and believed and not unknown
    return Parsed(tuple(entries), complete, tuple(unknown)[:MAX_UNRECOGNISED], (), found.level, tuple(boxes))


def parse_report(
    text: str,
    taxonomy: Taxonomy,
    confidences: Mapping[int, float] | None = None,
    finished: bool = True,
    problem: str | None = None,
) -> Report:
    """Read an answer into a Report; see `parse_entries` for what counts as complete.

    Args:
        text: the model's answer. Characters no database takes (NUL, lone surrogates) are replaced.
        taxonomy: the classes.
        confidences: probability by index into `parse_entries(text, taxonomy).entries`; an entry
            without one, or with one that is no probability, gets None.
        finished: False where generation stopped before the end token: then never complete.
        problem: what is known to be wrong with the answer; of a thought without a report it is said here.

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
        mentioned=tuple(
            label
            for label in parsed.mentioned
            if label not in counts and taxonomy.resolve(label).status is not Status.ALLOWED
        ),
        claimed=parsed.claimed,
        problem=ONLY_THOUGHT if text.strip() and not _without_thinking(text).strip() else problem,
    )


def _storable(text: str) -> str:
    """The text with NUL and lone surrogates replaced one for one, so that offsets stay true."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")
