"""Greedy decoding of a batch: by transformers' `generate`, or with drafts that one forward pass checks whole.

A draft is what an answer is expected to go on with. Its tokens are read together with what was said last (the first
draft together with the prompt), and as many are kept as the model would have said itself: speculative decoding
(Leviathan et al. 2023, arXiv:2211.17192) of a greedy answer, whose text therefore is the greedy one, token for token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, LogitsProcessor, LogitsProcessorList
from transformers.cache_utils import DynamicLayer

from xray_app.vlm.grammar import Held

Expected = Callable[[list[int]], Sequence[int]]
"""Token ids that an answer is expected to go on with, given those it has said; none where nothing is expected."""
WHOLE_MASKS = ("sdpa", "eager")
"""Attention that keeps to any mask; others take for granted that an answer's tokens are side by side."""


class CannotDraft(Exception):
    """The model's keys and values cannot be taken back, or its attention not be masked token by token."""


@dataclass(frozen=True)
class Limits:
    """What all answers of a batch share.

    Attributes:
        most: tokens an answer may have.
        ends: ids of the tokens that end one.
        pad: id to pad with.
        opening: number of tokens after which the probabilities of what follows are kept; None keeps none.
    """

    most: int
    ends: frozenset[int]
    pad: int
    opening: int | None


@dataclass
class Said:
    """One answer as far as it has come.

    Attributes:
        tokens: ids, the one that ended it among them.
        probabilities: of each token its own and that of the second likeliest.
        after_opening: (V,) log-probabilities of the token after the opening; None where it did not come so far.
        passes: forward passes it took.
    """

    tokens: list[int] = field(default_factory=list)
    probabilities: list[tuple[float, float]] = field(default_factory=list)
    after_opening: Tensor | None = None
    passes: int = 0


Ended = Callable[[int, Said, DynamicCache, int, Tensor, Tensor], None]
"""Told of each answer that ends, where its keys and values are at hand: its number, what it said, keys and values, its
row in them, the places of that row that hold the prompt and the answer but for its last tokens, in order, and the
position (…, 1, 1) of its first token."""


def plainly(model: Any, inputs: dict[str, Tensor], limits: Limits, held: Sequence[Held]) -> list[Said]:
    """A token a pass, by `generate`.

    Args:
        model: answers.
        inputs: prompts, padded on the left.
        limits: of the answers.
        held: what holds each answer; empty leaves them free.
    """
    watch = _Watch(held)
    out = model.generate(
        **inputs,
        **_greedy(limits.most, limits.pad),
        eos_token_id=sorted(limits.ends),
        logits_processor=LogitsProcessorList([watch]),
    )
    probabilities = torch.stack(watch.probabilities, dim=1).tolist()
    answers = []
    for row, tokens in enumerate(out[:, inputs["input_ids"].shape[1] :].tolist()):
        end = next((place for place, token in enumerate(tokens) if token in limits.ends), len(tokens)) + 1
        pairs = [(first, second) for first, second in probabilities[row][:end]]
        answers.append(Said(tokens[:end], pairs, passes=len(watch.probabilities)))
    return answers


def drafted(
    model: Any,
    inputs: dict[str, Tensor],
    limits: Limits,
    held: Sequence[Held],
    expected: Sequence[Expected],
    ended: Ended,
) -> list[Said]:
    """As many tokens a pass as were expected rightly, and one more. Answers that are done leave the batch.

    Args:
        model: answers.
        inputs: prompts, padded on the left.
        limits: of the answers.
        held: what holds each answer; empty leaves them free.
        expected: of each answer, its draft.
        ended: told of each answer when it ends.

    Raises:
        CannotDraft: this model cannot; nothing was said.
    """
    answers = [Said() for _ in expected]

    def feed(row: int) -> list[int]:
        """What was said last, and what is expected after it."""
        said = answers[row].tokens
        return [*said[-1:], *list(expected[row](said))[: limits.most - len(said)]]

    def decode(model: Any, input_ids: Tensor, **prepared: Any) -> list[Said]:
        rows = _Rows(model, input_ids, limits.pad, **prepared)
        while rows.numbers:
            feeds = [feed(row) for row in rows.numbers]
            logits = rows.read(feeds)
            kept, going = [], []
            for place, (row, draft) in enumerate(zip(rows.numbers, feeds, strict=True)):
                said = answers[row]
                first = 1 if said.tokens else 0  # read with the draft, but no part of it
                said.passes += 1
                right = _judge(said, logits[place], draft[first:], held[row] if held else None, limits)
                kept.append(first + right)
                if said.tokens[-1] not in limits.ends and len(said.tokens) < limits.most:
                    going.append(place)
                    continue
                places = rows.places(place, kept[-1])
                ended(row, said, rows.cache, place, places, rows.first[..., row : row + 1, :])
            rows.keep(kept, going)
        return answers

    # `generate` prepares positions, mask and cache as each family wants them, and leaves the decoding to `decode`.
    model.generate(**inputs, **_greedy(limits.most, limits.pad), custom_generate=decode)
    return answers


def read_on(model: Any, inputs: dict[str, Tensor], pad: int, tokens: Sequence[int]) -> tuple[Tensor, Any, Tensor]:
    """Reads one prompt and some tokens after it.

    Returns:
        logits (1 + n, V) of the prompt's last token and of the n after it; the keys and values; and the position
        (…, 1, 1) of the first of them.

    Raises:
        CannotDraft: the model's keys and values are of no use to others.
    """
    read: list[tuple[Tensor, Any, Tensor]] = []

    def decode(model: Any, input_ids: Tensor, **prepared: Any) -> None:
        rows = _Rows(model, input_ids, pad, **prepared)
        logits = rows.read([tokens])
        read.append((logits[0], rows.cache, rows.first))

    model.generate(**inputs, **_greedy(len(tokens) + 1, pad), custom_generate=decode)
    return read[0]


class _Rows:
    """The rows of one batch that are still speaking, and their keys and values.

    All rows share the places of the keys and values. A row's own are those where its `mask` is 1: what it did not say
    of a draft is cut off behind the last place of any row, and masked before it.

    Attributes:
        numbers: of the rows that are there, in the whole batch.
        cache: their keys and values.
        first: position (…, batch, 1) of the first token after each prompt of the whole batch.
    """

    def __init__(
        self,
        model: Any,
        prompts: Tensor,
        pad: int,
        past_key_values: Any = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **others: Any,
    ) -> None:
        """
        Args:
            model: reads.
            prompts: token ids (batch, n), padded on the left.
            pad: id to pad with.
            past_key_values, position_ids, attention_mask: as `generate` prepared them.
            others: what else it hands on, to go with the first pass.

        Raises:
            CannotDraft: see there.
        """
        if position_ids is None or not _can_be_cropped(past_key_values) or not _keeps_to_masks(model):
            raise CannotDraft
        self.numbers = list(range(len(prompts)))
        self.cache = past_key_values
        self.first = position_ids[..., -1:] + 1
        self._model = model
        self._pad = pad
        self._prompts = prompts
        self._positions = position_ids
        own = {"logits_processor", "stopping_criteria", "generation_config", "synced_gpus", "streamer", "use_cache"}
        self._others = {name: value for name, value in others.items() if name not in own}
        self._mask = torch.ones_like(prompts) if attention_mask is None else attention_mask
        self._next = self.first
        self._read = 0

    def read(self, feeds: Sequence[Sequence[int]]) -> Tensor:
        """A pass over some more tokens of each row; the first takes the prompts with it.

        Returns:
            logits (rows, n, V): of the first pass those from the prompts' last token on.
        """
        device = self._prompts.device
        ids = _rectangle(feeds, self._pad).to(device)
        positions = self._next + torch.arange(ids.shape[1], device=device)
        self._mask = torch.cat([self._mask, _rectangle([[1] * len(feed) for feed in feeds], 0).to(device)], dim=-1)
        self._read = ids.shape[1]
        if self.cache.get_seq_length():
            return self._pass(ids, positions)
        others: dict[str, Any] = {"is_first_iteration": True}
        for name, value in self._others.items():
            of_tokens = isinstance(value, Tensor) and value.shape == self._prompts.shape  # which are a picture's, say
            others[name] = torch.cat([value, value.new_zeros(ids.shape)], dim=-1) if of_tokens else value
        if "logits_to_keep" in others:
            others["logits_to_keep"] = ids.shape[1] + 1
        ids = torch.cat([self._prompts, ids], dim=-1)
        positions = torch.cat([self._positions, positions], dim=-1)
        return self._pass(ids, positions, **others)[:, -self._read - 1 :]

    def _pass(self, ids: Tensor, positions: Tensor, **others: Any) -> Tensor:
        inputs = self._model.prepare_inputs_for_generation(
            ids,
            past_key_values=self.cache,
            attention_mask=None if bool(self._mask.all()) else self._mask,
            position_ids=positions,
            use_cache=True,
            **others,
        )
        logits: Tensor = self._model(**inputs, return_dict=True).logits
        return logits

    def places(self, row: int, kept: int) -> Tensor:
        """Places (n,) that are a row's own, if so many of the tokens just read are kept."""
        start = self._mask.shape[1] - self._read
        return self._mask[row, : start + kept].nonzero()[:, 0]

    def keep(self, kept: Sequence[int], going: Sequence[int]) -> None:
        """Keeps, of the tokens just read, so many of each row; then only the rows that are going on."""
        self.numbers = [self.numbers[row] for row in going]
        if not going:
            return
        start = self._mask.shape[1] - self._read
        for row in going:
            self._mask[row, start + kept[row] :] = 0
        self._next = self._next + torch.tensor(kept, device=self._next.device).unsqueeze(-1)
        if len(going) < len(kept):
            chosen = torch.tensor(going, device=self._mask.device)
            self.cache.batch_select_indices(chosen)
            self._mask, self._next = self._mask[chosen], self._next[..., chosen, :]
        spare = self._read - max(kept[row] for row in going)
        if spare:
            self.cache.crop(-spare)
            self._mask = self._mask[:, :-spare]


def _judge(said: Said, logits: Tensor, draft: Sequence[int], held: Held | None, limits: Limits) -> int:
    """Adds to an answer what the model says: the draft as far as it is right, and one more token.

    Returns:
        how much of the draft was right.
    """
    before, scores = len(said.tokens), logits[: len(draft) + 1].float()
    likely = torch.softmax(scores, dim=-1)
    if held is None:
        tokens, pairs = scores.argmax(-1).tolist(), likely.topk(2, dim=-1).values.tolist()
    else:
        tokens, pairs = [], []
        for place in range(len(draft) + 1):
            refused = ~held.allowed(scores.shape[-1]).to(scores.device)
            tokens.append(int(scores[place].masked_fill(refused, -torch.inf).argmax()))
            pairs.append(likely[place].masked_fill(refused, 0.0).topk(2).values.tolist())
            held.say(tokens[-1])
            if place < len(draft) and tokens[-1] != draft[place]:
                break
    right = next((place for place, token in enumerate(draft) if token != tokens[place]), len(draft))
    end = next((place for place in range(right) if draft[place] in limits.ends), None)
    count = min(right + 1 if end is None else end + 1, limits.most - before)
    said.tokens += tokens[:count]
    said.probabilities += [(first, second) for first, second in pairs[:count]]
    if limits.opening is not None and before <= limits.opening < before + count:
        said.after_opening = torch.log_softmax(scores[limits.opening - before], dim=-1)
    return min(right, count)


def _greedy(most: int, pad: int) -> dict[str, Any]:
    return {
        "max_new_tokens": most,
        "do_sample": False,
        # None keeps a base model's sampling defaults from warning about greedy search.
        "temperature": None,
        "top_p": None,
        "top_k": None,
        "repetition_penalty": 1.0,
        "pad_token_id": pad,
    }


def _can_be_cropped(cache: Any) -> bool:
    """Whether its layers keep every token: not a window of the last ones, nor a state they were summed up in."""
    layers = getattr(cache, "layers", None)
    kind = getattr(cache, "layer_class_to_replicate", None)
    return isinstance(cache, DynamicCache) and (
        all(type(layer) is DynamicLayer for layer in layers) if layers else kind is DynamicLayer
    )


def _keeps_to_masks(model: Any) -> bool:
    return getattr(model.config.get_text_config(), "_attn_implementation", None) in WHOLE_MASKS


def _rectangle(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
    table = torch.full((len(rows), max(map(len, rows), default=0)), fill, dtype=torch.long)
    for row, values in zip(table, rows, strict=True):
        row[: len(values)] = torch.tensor(values, dtype=torch.long)
    return table


class _Watch(LogitsProcessor):
    """Notes the probabilities of the two likeliest tokens at each step; a greedy answer says the first.

    The logits of a whole batch, which `generate` could hand back instead, are gigabytes for a large vocabulary.

    An answer held to a grammar says the likeliest token that it allows. The probabilities are the model's own all the
    same, among all its tokens: one that only the grammar made it say has a small one.
    """

    def __init__(self, held: Sequence[Held]) -> None:
        self.probabilities: list[Tensor] = []
        self.held = held

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        likely = torch.softmax(scores.float(), dim=-1)
        if self.held:
            if self.probabilities:
                for one, token in zip(self.held, input_ids[:, -1].tolist(), strict=True):
                    one.say(token)
            allowed = torch.stack([one.allowed(scores.shape[-1]) for one in self.held])
            refused = ~allowed.to(scores.device)
            likely = likely.masked_fill(refused, 0.0)
            scores = scores.masked_fill(refused, -torch.inf)
        self.probabilities.append(likely.topk(2, dim=-1).values)
        return scores
