"""How much of its probability a local model puts on each prohibited class, whether or not it goes on to name it.

Item confidences exist only for what an answer named, and thresholding them can only lose threats. Here every
prohibited class is put to the model as the first entry of its answer. Since targets list prohibited items first,
the sum over the classes is the model's own probability that the bag holds any of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from PIL.Image import Image

from xray_app.taxonomy import Taxonomy
from xray_app.vlm.local import LocalVlm
from xray_app.vlm.prompt import batch, encode

OPENING = "Items detected:"
COUNTS = (1, 2)
"""Three or more of one prohibited thing as the first entry: under 0.01 of the probability on simulated scans."""
ROWS = 96
"""Continuations in one batch: each repeats the picture's keys and values in memory."""


def threat_masses(
    vlm: LocalVlm, image: Image, instruction: str, labels: Sequence[str], taxonomy: Taxonomy
) -> dict[str, float]:
    """Probability that the answer's first entry is each of these classes, 0 to 1, adding up to at most 1.

    One forward pass over picture, instruction and `Items detected:`; its keys and values then serve every
    continuation (`1 knife`, `2 knives`, …), which go through together. The probability of a continuation is
    the product of its tokens', and a class's is the sum over its counts. Where one name begins another
    (`gun`, `gun magazine`), the shorter one's mass holds the longer one's, which then gets none of its own.

    Args:
        vlm: answers with whatever adapter it has now.
        image: the scan.
        instruction: as it would be asked for an answer.
        labels: canonical names, usually `prohibited_labels`.
        taxonomy: gives the plurals.
    """
    if not labels:
        return {}
    said = [
        (label, f"{OPENING} {count} {taxonomy.resolve(label).name if count == 1 else taxonomy.resolve(label).plural}")
        for label in labels
        for count in COUNTS
    ]
    tokens = vlm.processor.tokenizer([OPENING, *(text for _, text in said)], add_special_tokens=False)["input_ids"]
    opening, rows = tokens[0], tokens[1:]
    # Where the tokenizer joins the opening's last characters to what follows, those are scored with it.
    shared = next((at for at, token in enumerate(opening) if any(row[at] != token for row in rows)), len(opening))
    tails = [row[shared:] for row in rows]
    masses = dict.fromkeys(labels, 0.0)
    for (label, _), tail, probability in zip(
        said, tails, _probabilities(vlm, image, instruction, opening[:shared], tails), strict=True
    ):
        if not any(other != tail and tail[: len(other)] == other for other in tails):
            masses[label] += probability
    return masses


def prohibited_labels(taxonomy: Taxonomy, labelled_classes: Iterable[str] | None = None) -> tuple[str, ...]:
    """Prohibited classes that were looked for, in rank order; None means all were."""
    scope = None if labelled_classes is None else set(labelled_classes)
    return tuple(
        name
        for name in taxonomy.names
        if taxonomy.resolve(name).status == "prohibited" and (scope is None or name in scope)
    )


def _probabilities(
    vlm: LocalVlm, image: Image, instruction: str, opening: list[int], tails: list[list[int]]
) -> list[float]:
    """Probability of each tail (token ids) after prompt and opening."""
    pad = vlm.processor.tokenizer.pad_token_id or 0
    inputs = batch(
        encode(vlm.processor, [image], [vlm.asked(instruction, as_json=False)]), pad, side="right", responses=[opening]
    )
    inputs.pop("labels")
    found: list[float] = []
    for start in range(0, len(tails), ROWS):
        some = tails[start : start + ROWS]
        width = max(map(len, some))
        ids = torch.tensor([tail + [pad] * (width - len(tail)) for tail in some])
        with vlm.lock, torch.inference_mode():
            device = vlm.model.device
            prefill = vlm.model(**{key: value.to(device) for key, value in inputs.items()}, use_cache=True)
            first = prefill.logits[:, -1:].expand(len(some), 1, -1)
            ids = ids.to(device)
            if width > 1:
                cache = prefill.past_key_values
                cache.batch_repeat_interleave(len(some))
                # No attention mask: nothing before is padding, and what follows a shorter tail is not read.
                later = vlm.model(input_ids=ids[:, :-1], past_key_values=cache, use_cache=True).logits
                first = torch.cat([first, later], dim=1)
            logs = torch.log_softmax(first.float(), dim=-1).gather(-1, ids.unsqueeze(-1)).squeeze(-1)
        kept = torch.arange(width, device=device) < torch.tensor([[len(tail)] for tail in some], device=device)
        found += logs.masked_fill(~kept, 0.0).sum(1).exp().tolist()
    return found
