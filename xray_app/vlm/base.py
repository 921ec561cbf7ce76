"""The VLM seam: what the Analyser and the evaluation need of any vision-language model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from PIL.Image import Image

from xray_app.taxonomy import Taxonomy

CUT_OFF = "cut off at the token limit; raise XRAY_VLM_MAX_TOKENS"
"""The problem of an answer that was longer than it may be."""

Draft = Callable[[str], str | None]
"""The whole answer that is expected, given how it begins (at first with nothing); None where nothing is expected."""


@dataclass(frozen=True)
class Answer:
    """What a model said, untouched.

    Attributes:
        text: the answer without the prompt and without special tokens.
        finished: False where the answer was cut off at the token limit.
        spans: (start, end, probability) of each token, in characters of `text`; empty where the
            model gives no probabilities.
        leads: by how much each token's probability leads the second likeliest, then that of the answer's end; empty
            where the model gives no probabilities of other tokens.
        frame: width and height in which the model writes boxes; None where that is not known.
        problem: why it is no whole answer, for a person to read; None where nothing is known to be wrong.
        threats: of each prohibited class the model's probability of naming it first (`xray_app.vlm.scoring`); None
            where it gives none.
        passes: forward passes it took; None where that is not known.
    """

    text: str
    finished: bool
    spans: tuple[tuple[int, int, float], ...] = ()
    problem: str | None = None
    frame: tuple[int, int] | None = None
    leads: tuple[float, ...] = ()
    threats: Mapping[str, float] | None = None
    passes: int | None = field(default=None, compare=False)


class Vlm(Protocol):
    """A vision-language model that answers an instruction about a picture in words."""

    name: str
    weights_sha256: str

    def answer(
        self, images: Sequence[Image], instructions: Sequence[str], drafts: Sequence[Draft] | None = None
    ) -> list[Answer]:
        """Answers each (picture, instruction) pair, greedily and in one batch.

        Args:
            images: what is asked about.
            instructions: one a picture.
            drafts: one a picture; the answer is the same with them and without, where it comes sooner at all.
        """
        ...

    def use_adapter(self, folder: Path | None) -> None:
        """Answers with this adapter from now on; None is the base model.

        Raises:
            BadModel: the adapter does not fit; the one in use before stays in use.
        """
        ...

    def use_taxonomy(self, taxonomy: Taxonomy) -> None:
        """Is told the names of these classes from now on, where it is told any, and gives their probability."""
        ...
