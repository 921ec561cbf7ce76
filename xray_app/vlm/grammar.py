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

    def hold(self, prompts: Sequence[Sequence[int]]) -> Held:
        """Holds one batch of answers to it, given the token ids of their prompts."""
        opened, closed = self._thought or (None, None)
        thinking = [opened is not None and opened in prompt[-_PROMPT_END:] for prompt in prompts]
        matchers = [LLMatcher(self._known, self._rules, log_level=0) for _ in prompts]
        return Held(matchers, self._ends, [closed if one else None for one in thinking])


class Held:
    """The answers of one batch, each as far as it has come in the grammar."""

    def __init__(self, matchers: Sequence[LLMatcher], ends: frozenset[int], waits: Sequence[int | None]) -> None:
        """
        Args:
            matchers: one an answer.
            ends: ids of the tokens that end an answer.
            waits: of each answer the token that it is free up to; None holds it from its start.
        """
        self._matchers: list[LLMatcher | None] = list(matchers)
        self._ends = ends
        self._waits = list(waits)

    def say(self, tokens: Sequence[int]) -> None:
        """Takes the token that each answer goes on with."""
        for row, (matcher, token) in enumerate(zip(self._matchers, tokens, strict=True)):
            if self._waits[row] is not None:
                self._waits[row] = None if token == self._waits[row] else self._waits[row]
            elif token in self._ends:
                self._matchers[row] = None  # what follows is padding
            elif matcher is not None and not matcher.consume_token(token):
                logger.warning("An answer left its grammar and goes on without: %.200s", matcher.get_error())
                self._matchers[row] = None

    def allowed(self, width: int) -> torch.Tensor:
        """Which of `width` tokens may follow in each answer: booleans (answers, width)."""
        rows = np.ones((len(self._matchers), width), dtype=bool)
        for row, matcher, wait in zip(rows, self._matchers, self._waits, strict=True):
            if matcher is not None and wait is None:
                bits = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), np.uint8), bitorder="little")[:width]
                row[:] = False
                row[: len(bits)] = bits
        return torch.from_numpy(rows)


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
