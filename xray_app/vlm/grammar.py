"""A grammar that holds a local model to the JSON of the report's form, token by token.

A server holds its model to that JSON by a schema; here llguidance says which tokens may follow. A model that thinks
first, because its prompt opens a thought, is left to it and held from the end of the thought on.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer
from llguidance.hf import from_tokenizer

logger = logging.getLogger(__name__)

_SPACED = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""The blanks of the form as it is told, and no others: a model may write blanks for ever."""
_LARK = "start: /[ \\n]{{0,2}}/ report\nreport: %json {}"
"""Before the report some blanks, as models write them after a thought or as the first letter of a word."""
_THOUGHT = ("<think>", "</think>")
_PROMPT_END = 4
"""Tokens at the end of a prompt among which a thought is opened."""


class Grammar:
    """The grammar of one JSON schema in the tokens of one tokenizer. Made by `grammar_of`."""

    def __init__(self, known: LLTokenizer, rules: str, ends: Iterable[int], thought: tuple[int, int] | None) -> None:
        """
        Args:
            known: the tokenizer, as llguidance knows it.
            rules: in llguidance's Lark.
            ends: ids of the tokens that end an answer.
            thought: ids of the tokens that open and close a thought; None where the tokenizer has no such.
        """
        self._known = known
        self._rules = rules
        self._ends = frozenset(ends)
        self._thought = thought

    def hold(self, prompt: Sequence[int]) -> Held:
        """Holds one answer to it, given the token ids of its prompt."""
        opened, closed = self._thought or (None, None)
        thinking = opened is not None and opened in prompt[-_PROMPT_END:]
        return Held(LLMatcher(self._known, self._rules, log_level=0), self._ends, closed if thinking else None)


class Held:
    """One answer, as far as it has come in the grammar."""

    def __init__(self, matcher: LLMatcher, ends: frozenset[int], waits: int | None) -> None:
        """
        Args:
            matcher: where it stands.
            ends: ids of the tokens that end an answer.
            waits: the token that it is free up to; None holds it from its start.
        """
        self._matcher: LLMatcher | None = matcher
        self._ends = ends
        self._waits = waits

    def say(self, token: int) -> None:
        """Takes the token that the answer goes on with."""
        if self._waits is not None:
            self._waits = None if token == self._waits else self._waits
        elif token in self._ends:
            self._matcher = None  # what follows is padding
        elif self._matcher is not None and not self._matcher.consume_token(token):
            logger.warning("An answer left its grammar and goes on without: %.200s", self._matcher.get_error())
            self._matcher = None

    def allowed(self, width: int) -> torch.Tensor:
        """Which of `width` tokens may follow: booleans (width,)."""
        if self._matcher is None or self._waits is not None:
            return torch.ones(width, dtype=torch.bool)
        row = np.zeros(width, dtype=bool)
        bits = np.unpackbits(np.frombuffer(self._matcher.compute_bitmask(), np.uint8), bitorder="little")[:width]
        row[: len(bits)] = bits
        return torch.from_numpy(row)

    def forced(self) -> list[int]:
        """The tokens that the grammar leaves no choice about, as the tokenizer would write them."""
        if self._matcher is None or self._waits is not None:
            return []
        return list(self._matcher.compute_ff_tokens())


def grammar_of(tokenizer: Any, ends: Iterable[int], schema: Mapping[str, Any]) -> Grammar | None:
    """The grammar of a JSON schema.

    Args:
        tokenizer: of transformers; its tokens are single bytes or pieces of text.
        ends: ids of the tokens that end an answer.
        schema: that the JSON follows.

    Returns:
        None, with a line in the log, where llguidance does not take the tokenizer.
    """
    rules = _LARK.format(json.dumps({"x-guidance": _SPACED, **schema}))
    try:
        known = from_tokenizer(tokenizer, eos_token=sorted(ends))
        problem = LLMatcher.validate_grammar(rules, known)
    except Exception as error:  # noqa: BLE001  # whatever it makes of a tokenizer it does not know
        problem = str(error)
    if problem:
        logger.warning("Answers are told the report's form but not held to it: %.200s", problem)
        return None
    names = tokenizer.get_vocab()
    opens, closes = (names.get(mark) for mark in _THOUGHT)
    return Grammar(known, rules, ends, None if opens is None or closes is None else (opens, closes))
