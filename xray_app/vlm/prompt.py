"""The one prompt builder, for training, evaluation and serving alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

IGNORED = -100


@dataclass(frozen=True)
class Encoded:
    """A batch before padding.

    Attributes:
        ids: prompt token ids, one list a sample, image placeholders expanded.
        token_types: 1 where the token is a picture's placeholder, else 0; same lengths as `ids`;
            None where the family has no such input.
        pictures: what the processor makes of the pictures (`pixel_values`, `image_grid_thw`, ...).
    """

    ids: list[list[int]]
    token_types: list[list[int]] | None
    pictures: dict[str, Tensor]


def build_messages(instruction: str) -> list[dict[str, Any]]:
    """One user turn: the picture first, then the instruction."""
    content = [{"type": "image"}, {"type": "text", "text": instruction}]
    return [{"role": "user", "content": content}]


def encode(processor: Any, images: Sequence[Image], instructions: Sequence[str]) -> Encoded:
    """Encodes prompts up to the point where the assistant begins to speak. Nothing is truncated."""
    texts = [
        processor.apply_chat_template(build_messages(text), tokenize=False, add_generation_prompt=True)
        for text in instructions
    ]
    # A template that writes the beginning-of-text token itself must not be given a second one.
    bos = processor.tokenizer.bos_token
    written = bos is not None and any(text.startswith(bos) for text in texts)
    inputs = dict(processor(images=list(images), text=texts, padding=False, add_special_tokens=not written))
    ids = [list(map(int, row)) for row in inputs.pop("input_ids")]
    inputs.pop("attention_mask", None)
    types = inputs.pop("mm_token_type_ids", None)
    token_types = None if types is None else [list(map(int, row)) for row in types]
    return Encoded(ids, token_types, {key: _tensor(value) for key, value in inputs.items()})


def _tensor(value: Any) -> Tensor:
    """One tensor of what a processor answers: a tensor, a list of equal ones, or nested numbers."""
    if isinstance(value, Tensor):
        return value
    if len(value) and isinstance(value[0], Tensor):
        return torch.stack(list(value))
    return torch.as_tensor(value)


def batch(
    encoded: Encoded, pad_id: int, *, side: str, responses: Sequence[Sequence[int]] | None = None
) -> dict[str, Tensor]:
    """Pads prompts (and responses, when training) to a rectangle.

    Args:
        encoded: prompts of N samples.
        pad_id: token id to pad with.
        side: "left" for generation, "right" for training.
        responses: token ids after each prompt; the labels are these alone, the prompt is masked.

    Returns:
        `input_ids`, `attention_mask` (N, L), `mm_token_type_ids` where the family has them,
        `labels` (N, L) when `responses` are given, and the pictures' tensors.
    """
    tails = [list(tail) for tail in responses] if responses is not None else [[] for _ in encoded.ids]
    rows = [prompt + tail for prompt, tail in zip(encoded.ids, tails, strict=True)]
    width = max(map(len, rows))

    def rectangle(values: Sequence[Sequence[int]], fill: int) -> Tensor:
        table = torch.full((len(rows), width), fill, dtype=torch.long)
        for row, value in zip(table, values, strict=True):
            if value:
                place = slice(width - len(value), width) if side == "left" else slice(0, len(value))
                row[place] = torch.tensor(value)
        return table

    out = dict(encoded.pictures)
    out["input_ids"] = rectangle(rows, pad_id)
    out["attention_mask"] = rectangle([[1] * len(row) for row in rows], 0)
    if encoded.token_types is not None:
        types = [kind + [0] * len(tail) for kind, tail in zip(encoded.token_types, tails, strict=True)]
        out["mm_token_type_ids"] = rectangle(types, 0)
    if responses is not None:
        labels = [[IGNORED] * len(p) + tail for p, tail in zip(encoded.ids, tails, strict=True)]
        out["labels"] = rectangle(labels, IGNORED)
    return out
