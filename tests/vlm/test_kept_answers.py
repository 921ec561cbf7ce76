"""Answers kept at the gate: where a server's may differ from them, and where not."""

from __future__ import annotations

import hashlib
import io

import pytest
from PIL import Image

from tests.tiny import picture
from tests.vlm.gated import NONE, Gated
from xray_app.report import instruction
from xray_app.vlm.base import Answer
from xray_app.vlm.kept_answers import difference, keep_answers

KNIFE = "Items detected: 1 knife (threat). Security risk: HIGH - knife detected."


@pytest.mark.parametrize(("lead", "fits"), [(0.04, True), (0.05, True), (0.06, False)])
def test_texts_may_part_at_a_near_tie(lead: float, fits: bool) -> None:
    (kept,), _ = keep_answers(Gated(lead=lead), [picture()], [instruction()])
    for text in (KNIFE, NONE + " And more", NONE[:-1], ""):
        assert (difference(kept, Answer(text, True)) is None) == fits, text
    assert difference(kept, Answer(NONE, True)) is None


def test_only_the_token_where_the_texts_part_decides() -> None:
    """The kept answer is sure of everything but its third word."""
    (kept,), _ = keep_answers(Gated(), [picture()], [instruction()])
    tokens = [(a, b, p, 0.01 if place == 2 else lead) for place, (a, b, p, lead) in enumerate(kept.tokens)]
    unsure = kept.model_copy(update={"tokens": tuple(tokens)})
    assert difference(unsure, Answer(NONE.replace("none", "1 can"), True)) is None
    assert difference(unsure, Answer(NONE.replace("LOW", "HIGH"), True)) is not None


def test_an_answer_that_was_cut_off_is_compared_as_far_as_it_goes() -> None:
    (whole,), _ = keep_answers(Gated(), [picture()], [instruction()])
    cut = whole.model_copy(update={"cut": True})
    on = Answer(NONE + " Security risk: LOW", True)
    assert difference(cut, on) is None
    assert difference(whole, on) is not None, "a whole answer has an end"
    for other in ("", NONE[:-1], KNIFE):
        assert difference(cut, Answer(other, False)) is not None, other
    assert difference(cut.model_copy(update={"text": "", "tokens": ()}), on) is not None


def test_kept_scans_are_named_by_their_content() -> None:
    answers, pictures = keep_answers(Gated(), [picture(3), picture(4)], [instruction()] * 2)
    assert [one.scan for one in answers] == list(pictures)
    assert [hashlib.sha256(content).hexdigest() for content in pictures.values()] == list(pictures)
    with Image.open(io.BytesIO(pictures[answers[0].scan])) as back:
        assert back.convert("RGB").tobytes() == picture(3).tobytes()
