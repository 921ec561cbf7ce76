"""How much of its probability a local model puts on each prohibited class, whether or not it goes on to name it.

Item confidences exist only for what an answer named, and thresholding them can only lose threats. Here every
prohibited class is put to the model as the first entry of its answer. Since targets list prohibited items first,
the sum over the classes is the model's own probability that the bag holds any of them.

An answer has read the picture already: its keys and values serve every continuation (`1 knife`, `2 knives`, …).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from PIL.Image import Image
from transformers import DynamicCache

from xray_app.taxonomy import Taxonomy
from xray_app.vlm.prompt import batch, encode
from xray_app.vlm.speculative_decoding import CannotDraft, read_on

if TYPE_CHECKING:
    from xray_app.vlm.local import LocalVlm

OPENING = "Items detected:"
COUNTS = (1, 2)
"""Three or more of one prohibited thing as the first entry: under 0.01 of the probability on simulated scans."""
NEGLIGIBLE = math.log(1e-4)
"""Log-probability of a first token from which on it is not gone on with."""


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

    def probabilities(self, model: Any, cache: DynamicCache, first: torch.Tensor, start: torch.Tensor) -> list[float]:
        """Probability of each continuation, to within 1e-4.

        They are one tree, read in one pass in which each token sees the prompt and those it continues (tree attention,
        Miao et al. 2024, arXiv:2305.09781).

        Args:
            model: what `cache` is of.
            cache: keys and values of one row: prompt and opening, nothing else. It is read on.
            first: (V,) log-probabilities of the token after them.
            start: (…, 1, 1) position of that token.
        """
        tails = {tail for _, tail in self.tails if float(first[tail[0]]) > NEGLIGIBLE or len(tail) == 1}
        stems = sorted(
            {tail[:depth] for tail in tails for depth in range(1, len(tail))}, key=lambda one: (len(one), one)
        )
        after: dict[tuple[int, ...], torch.Tensor] = {(): first}
        if stems:
            place = {stem: number for number, stem in enumerate(stems)}
            seen = torch.zeros(len(stems), len(stems), dtype=torch.bool)
            for stem, number in place.items():
                seen[number, [place[stem[:depth]] for depth in range(1, len(stem) + 1)]] = True
            given = cache.get_seq_length()
            dtype, device = next(model.parameters()).dtype, first.device
            mask = torch.zeros(1, 1, len(stems), given + len(stems), dtype=dtype)
            mask[0, 0, :, given:].masked_fill_(~seen, torch.finfo(dtype).min)
            logits = model(
                input_ids=torch.tensor([[stem[-1] for stem in stems]], device=device),
                attention_mask=mask.to(device),
                position_ids=start + torch.tensor([len(stem) - 1 for stem in stems], device=device),
                past_key_values=cache,
                use_cache=True,
            ).logits[0]
            after |= dict(zip(stems, torch.log_softmax(logits.float(), -1), strict=True))
        found = []
        for _, tail in self.tails:
            steps = (
                [float(after[tail[:depth]][tail[depth]]) for depth in range(len(tail))]
                if tail in tails
                else [-math.inf]
            )
            found.append(math.exp(sum(steps)))
        return found


def row_of(cache: Any, row: int, places: torch.Tensor) -> DynamicCache | None:
    """Keys and values of one row of a batch at some places (n,), in order; None where the cache has no such."""
    one = DynamicCache()
    for place, layer in enumerate(getattr(cache, "layers", ())):
        keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
        if keys is None or values is None or keys.shape[-2] <= int(places[-1]):
            return None
        chosen = places.to(keys.device)
        one.update(keys[row : row + 1, :, chosen], values[row : row + 1, :, chosen], place)
    return one if one.get_seq_length() == len(places) else None


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
    pad = vlm.processor.tokenizer.pad_token_id or 0
    inputs = {key: value.to(vlm.model.device) for key, value in batch(encoded, pad, side="left").items()}
    with vlm.lock, torch.inference_mode():
        try:
            logits, cache, start = read_on(vlm.model, inputs, pad, entries.opening)
        except CannotDraft as error:
            raise TypeError(f"{vlm.name}: the keys and values of this kind of model cannot be shared") from error
        first = torch.log_softmax(logits[-1].float(), -1)
        return entries.masses(entries.probabilities(vlm.model, cache, first, start + len(entries.opening)))
