"""How much of its probability a local model puts on each prohibited class, whether or not it goes on to name it.

Item confidences exist only for what an answer named, and thresholding them can only lose threats. Here every
prohibited class is put to the model as the first entry of its answer. Since targets list prohibited items first,
the sum over the classes is the model's own probability that the bag holds any of them.

An answer has read the picture already: its keys and values serve every continuation (`1 knife`, `2 knives`, …).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from PIL.Image import Image
from transformers import DynamicCache

from xray_app.taxonomy import Taxonomy
from xray_app.vlm.prompt import batch, encode

if TYPE_CHECKING:
    from xray_app.vlm.local import LocalVlm

OPENING = "Items detected:"
COUNTS = (1, 2)
"""Three or more of one prohibited thing as the first entry: under 0.01 of the probability on simulated scans."""
NEGLIGIBLE = math.log(1e-4)
"""Log-probability of a beginning below which it is not gone on with."""
ROWS = 32
"""Continuations in one pass: each repeats the picture's keys and values in memory."""


@dataclass(frozen=True)
class FirstEntries:
    """Classes as the first entry of an answer, in tokens.

    Attributes:
        opening: what every answer begins with, as far as it is always the same tokens.
        tails: of each continuation, its class and its tokens after the opening.
    """

    opening: tuple[int, ...]
    tails: tuple[tuple[str, tuple[int, ...]], ...]

    @classmethod
    def of(cls, tokenizer: Any, labels: Sequence[str], taxonomy: Taxonomy) -> FirstEntries:
        """Tokenises one or two of each class; labels are canonical names."""
        said = []
        for label in labels:
            item = taxonomy.resolve(label)
            said += [(label, f"{OPENING} {count} {item.name if count == 1 else item.plural}") for count in COUNTS]
        tokens = tokenizer([OPENING, *(text for _, text in said)], add_special_tokens=False)["input_ids"]
        opening, rows = tokens[0], tokens[1:]
        # Where the tokenizer joins the opening's last characters to what follows, those are scored with it.
        shared = next((at for at, token in enumerate(opening) if any(row[at] != token for row in rows)), len(opening))
        tails = tuple((label, tuple(row[shared:])) for (label, _), row in zip(said, rows, strict=True))
        return cls(tuple(opening[:shared]), tails)

    def masses(self, probabilities: Sequence[float]) -> dict[str, float]:
        """Of each class, the sum over its continuations, given their probabilities.

        Where one name begins another (`gun`, `gun magazine`), the shorter one's mass holds the longer one's, which
        then gets none of its own.
        """
        masses = {label: 0.0 for label, _ in self.tails}
        for (label, tail), probability in zip(self.tails, probabilities, strict=True):
            if not any(other != tail and tail[: len(other)] == other for _, other in self.tails):
                masses[label] += probability
        return masses

    def probabilities(self, model: Any, cache: DynamicCache, first: torch.Tensor) -> list[float]:
        """Probability of each continuation, to within 1e-4.

        They are read as a tree, a token deeper in each pass; what begins improbably is not gone on with.

        Args:
            model: what `cache` is of; its positions go on from what it read last, which was this row.
            cache: keys and values of one row: prompt and opening, nothing else.
            first: (V,) log-probabilities of the token after them.
        """
        tails = {tail for _, tail in self.tails}
        reached: dict[tuple[int, ...], float] = {}
        after: dict[tuple[int, ...], torch.Tensor] = {(): first}
        for depth in range(max(map(len, tails), default=0)):
            for stem in {tail[: depth + 1] for tail in tails if len(tail) > depth and tail[:depth] in after}:
                reached[stem] = reached.get(stem[:-1], 0.0) + float(after[stem[:-1]][stem[-1]])
            likely = sorted(
                stem
                for stem in {tail[: depth + 1] for tail in tails if len(tail) > depth + 1}
                if reached.get(stem, -math.inf) > NEGLIGIBLE
            )
            after = {}
            for start in range(0, len(likely), ROWS):
                some = likely[start : start + ROWS]
                ids = torch.tensor(some, device=first.device)
                # No attention mask: nothing is padding.
                logits = model(input_ids=ids, past_key_values=_repeated(cache, len(some)), use_cache=True).logits
                after |= dict(zip(some, torch.log_softmax(logits[:, -1].float(), -1), strict=True))
        return [math.exp(reached.get(tail, -math.inf)) for _, tail in self.tails]


def row_of(cache: Any, row: int, start: int, end: int) -> DynamicCache | None:
    """Keys and values of one row of a batch, from position `start` up to `end`; None where the cache has no such."""
    one = DynamicCache()
    for place, layer in enumerate(getattr(cache, "layers", ())):
        keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
        if keys is None or values is None or keys.shape[-2] < end:
            return None
        one.update(keys[row : row + 1, :, start:end], values[row : row + 1, :, start:end], place)
    return one if one.get_seq_length() == end - start else None


@contextmanager
def only_row(model: Any, row: int) -> Iterator[None]:
    """Within, a model that notes of its last batch where each row's text begins goes on from this row's."""
    noted = [part for part in model.modules() if isinstance(getattr(part, "rope_deltas", None), torch.Tensor)]
    before = [part.rope_deltas for part in noted]
    try:
        for part, deltas in zip(noted, before, strict=True):
            part.rope_deltas = deltas[row : row + 1]
        yield
    finally:
        for part, deltas in zip(noted, before, strict=True):
            part.rope_deltas = deltas


def _repeated(cache: DynamicCache, count: int) -> DynamicCache:
    whole = DynamicCache()
    for place, layer in enumerate(cache.layers):
        whole.update(layer.keys.expand(count, -1, -1, -1), layer.values.expand(count, -1, -1, -1), place)
    return whole


def threat_masses(
    vlm: LocalVlm, image: Image, instruction: str, labels: Sequence[str], taxonomy: Taxonomy
) -> dict[str, float]:
    """Probability that the answer's first entry is each of these classes, 0 to 1, adding up to at most 1.

    By a forward pass of its own, for an answer that does not begin as the report does.

    Args:
        vlm: answers with whatever adapter it has now.
        image: the scan.
        instruction: as it would be asked for an answer.
        labels: canonical names, usually `prohibited_labels`.
        taxonomy: gives the plurals.
    """
    if not labels:
        return {}
    entries = FirstEntries.of(vlm.processor.tokenizer, labels, taxonomy)
    encoded = encode(vlm.processor, [image], [vlm.asked(instruction, as_json=False)])
    inputs = batch(encoded, vlm.processor.tokenizer.pad_token_id or 0, side="right", responses=[entries.opening])
    inputs.pop("labels")
    with vlm.lock, torch.inference_mode():
        prefill = vlm.model(**{key: value.to(vlm.model.device) for key, value in inputs.items()}, use_cache=True)
        first = torch.log_softmax(prefill.logits[0, -1].float(), -1)
        length = inputs["input_ids"].shape[1]
        cache = row_of(prefill.past_key_values, 0, 0, length)
        if cache is None:
            raise TypeError(f"{vlm.name}: the keys and values of this kind of model cannot be shared")
        return entries.masses(entries.probabilities(vlm.model, cache, first))
