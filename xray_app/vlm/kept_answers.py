"""The answers that the gate passed an adapter with, kept beside it, so that a server can be shown to repeat them."""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from pydantic import TypeAdapter, ValidationError

from xray_app.errors import BadModel
from xray_app.types import Fraction, Value
from xray_app.vlm.base import Answer, Vlm

MANIFEST = "manifest.json"
PICTURES = "probe"
"""Folder within an adapter's: with the adapter the scans are kept, whatever becomes of those in the store."""
KEPT = 16
"""Scans whose answers are kept."""
NEAR_TIE = 0.05
"""Two tokens whose probabilities are this near may change places by rounding: then the texts may differ."""
SAME_PROBABILITY = 0.05
"""A text that is the same is to be as probable, within this."""


class KeptAnswer(Value):
    """What a model said of one scan.

    Attributes:
        scan: SHA-256 of the picture's file, which is its name in `PICTURES`.
        instruction: that it was asked.
        text: the answer.
        probability: of the whole text, the product over its tokens.
        tokens: of each token its first and last character (exclusive), its probability, and by how much it leads the
            second likeliest; the end of the answer is the last of them.
        cut: it was cut off at the token limit, and says nothing of how it would have gone on.
    """

    scan: str
    instruction: str
    text: str
    probability: Fraction
    tokens: tuple[tuple[int, int, Fraction, Fraction], ...]
    cut: bool = False


def keep_answers(
    vlm: Vlm, images: Sequence[Image.Image], instructions: Sequence[str]
) -> tuple[tuple[KeptAnswer, ...], dict[str, bytes]]:
    """What the model says of these scans as it answers now, and the scans as PNG files by their SHA-256."""
    pictures = [_png(image) for image in images]
    names = [hashlib.sha256(content).hexdigest() for content in pictures]
    answers = vlm.answer(images, instructions)
    kept = [_kept(*one) for one in zip(names, instructions, answers, strict=True)]
    return tuple(kept), dict(zip(names, pictures, strict=True))


def _kept(scan: str, instruction: str, answer: Answer) -> KeptAnswer:
    spans, leads = list(answer.spans), answer.leads or (1.0,) * len(answer.spans)
    if len(leads) > len(spans):  # the end of the answer has a lead, and no characters
        spans.append((len(answer.text), len(answer.text), 1.0))
    tokens = [(start, end, p, lead) for (start, end, p), lead in zip(spans, leads, strict=True)]
    return KeptAnswer(
        scan=scan,
        instruction=instruction,
        text=answer.text,
        probability=_probability(answer),
        tokens=tuple(tokens),
        cut=not answer.finished,
    )


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.convert("RGB").save(file, "PNG")
    return file.getvalue()


def _probability(answer: Answer) -> float:
    return min(1.0, math.prod(p for _, _, p in answer.spans))


def read_kept_answers(folder: Path) -> tuple[KeptAnswer, ...]:
    """The answers kept with an adapter; none for one that was examined before answers were kept.

    Raises:
        BadModel: they cannot be read.
    """
    try:
        if not (folder / MANIFEST).is_file():
            return ()
        found = json.loads((folder / MANIFEST).read_bytes()).get("probe", [])
        return TypeAdapter(tuple[KeptAnswer, ...]).validate_json(json.dumps(found))
    except (OSError, ValueError, AttributeError, ValidationError) as error:
        raise BadModel(f"The answers kept in {folder / MANIFEST} cannot be read: {error}") from error


def open_kept_scan(folder: Path, kept: KeptAnswer) -> Image.Image:
    """The picture of a kept answer.

    Raises:
        BadModel: it is not there.
    """
    try:
        with Image.open(folder / PICTURES / f"{kept.scan}.png") as image:
            return image.convert("RGB")
    except OSError as error:
        raise BadModel(f"The scan of a kept answer, {kept.scan}.png, cannot be read: {error}") from error


def difference(kept: KeptAnswer, answer: Answer) -> str | None:
    """How an answer differs from the kept one, in words; None where it does not, or only by rounding.

    Without token probabilities the texts alone are compared. Of one that was cut off, as far as it goes: a
    server's limit may lie further off.
    """
    if answer.text == kept.text:
        apart = abs(_probability(answer) - kept.probability)
        if answer.spans and apart > SAME_PROBABILITY:
            return f"the same text has a probability of {_probability(answer):.2f}, not {kept.probability:.2f}"
        return None
    if kept.cut and kept.text and answer.text.startswith(kept.text):
        return None
    if _lead_at_difference(kept, answer.text) <= NEAR_TIE:
        return None
    return f"“{_short(answer.text)}” instead of “{_short(kept.text)}”"


def _lead_at_difference(kept: KeptAnswer, text: str) -> float:
    """By how much the kept answer's token led where the texts part; 1 where that is not known."""
    pairs = zip(kept.text, text, strict=False)
    place = next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(kept.text), len(text)))
    leads = [lead for start, end, _, lead in kept.tokens if start <= place < end or start == end == place]
    return leads[0] if leads else 1.0


def _short(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:119]}…"
