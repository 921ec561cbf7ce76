"""Collates samples into tensors: the serving prompt, the response after it, and labels on the response alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL.Image import Image
from torch import Tensor

from xray_app.errors import BadDataset
from xray_app.vlm.prompt import IGNORED, Encoded, batch, encode


@dataclass(frozen=True)
class Example:
    """What one training step sees of a sample."""

    image: Image
    instruction: str
    response: str


class Collator:
    """Makes a padded training batch; the prompt is masked out of the labels.

    Args:
        processor: the model family's processor, with the picture size limits of serving.
        max_tokens: a sample longer than this is refused, never truncated.
    """

    def __init__(self, processor: Any, max_tokens: int = 4096) -> None:
        self.processor = processor
        self.max_tokens = max_tokens
        tokenizer = processor.tokenizer
        self.pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        self._end = tokenizer.eos_token_id

    def response_ids(self, response: str) -> list[int]:
        """The response's token ids and the end of the turn."""
        return [*self.processor.tokenizer(response, add_special_tokens=False)["input_ids"], self._end]

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Encodes N examples.

        Returns:
            `input_ids`, `attention_mask`, `labels` (N, L) with -100 outside the response, and the
            family's picture tensors.

        Raises:
            BadDataset: an example is longer than `max_tokens`.
        """
        encoded, responses = self.encode(examples)
        return batch(encoded, self.pad, side="right", responses=responses)

    def encode(self, examples: Sequence[Example]) -> tuple[Encoded, list[list[int]]]:
        """Prompts and answers of N examples before padding.

        Raises:
            BadDataset: an example is longer than `max_tokens`.
        """
        encoded = encode(self.processor, [one.image for one in examples], [one.instruction for one in examples])
        responses = [self.response_ids(one.response) for one in examples]
        for example, prompt, tail in zip(examples, encoded.ids, responses, strict=True):
            if len(prompt) + len(tail) > self.max_tokens:
                raise BadDataset(
                    f"A sample of {len(prompt) + len(tail)} tokens is over the limit of "
                    f"{self.max_tokens}: {example.response[:80]!r}. Lower the picture size."
                )
        return encoded, responses


def keep_answer_logits(inputs: dict[str, Any]) -> dict[str, Any]:
    """Keeps labels, and so logits, only from where the first answer begins. The loss is the same.

    Nothing is learned from the prompt, and its logits take gigabytes with a large vocabulary.

    Args:
        inputs: as of `Collator`.
    """
    labels = inputs["labels"]
    first = int((labels != IGNORED).any(0).int().argmax())
    kept = labels.shape[1] - max(first - 1, 0)  # a token is predicted at the place before it
    return {**inputs, "labels": labels[:, -kept:], "logits_to_keep": kept}
