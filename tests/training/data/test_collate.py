"""A training batch: the end of the turn is learnt, what is too long is refused, logits begin at the answer."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.tiny import PIXELS, picture, taxonomy
from training.data.collate import Collator, Example, keep_answer_logits
from training.vlm.bundled import build_processor
from xray_app.errors import BadDataset
from xray_app.report import format_report, instruction

RESPONSE = format_report({"knife": 1}, taxonomy())


@pytest.fixture(scope="module")
def processor() -> Any:
    return build_processor(taxonomy(), PIXELS)


def example(response: str = RESPONSE) -> Example:
    return Example(picture(), instruction(), response)


def test_a_response_ends_with_the_one_end_of_turn_at_which_serving_stops(processor: Any) -> None:
    ids = Collator(processor).response_ids(RESPONSE)
    end = processor.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert ids[-1] == end == processor.tokenizer.eos_token_id
    assert ids.count(end) == 1
    assert processor.tokenizer.decode(ids[:-1]) == RESPONSE


def test_the_end_of_turn_is_learnt_from_the_last_place_of_the_answer(processor: Any) -> None:
    labels = Collator(processor)([example()])["labels"][0]
    learnt = (labels != -100).nonzero().flatten()
    assert labels[-1] == processor.tokenizer.eos_token_id
    assert learnt.tolist() == list(range(int(learnt[0]), len(labels))), "the answer is one piece, and nothing follows"


def test_a_sample_as_long_as_the_limit_is_taken_and_a_token_more_is_refused(processor: Any) -> None:
    length = Collator(processor)([example()])["input_ids"].shape[1]
    assert Collator(processor, max_tokens=length)([example()])["input_ids"].shape == (1, length)
    with pytest.raises(BadDataset, match=f"A sample of {length} tokens is over the limit of {length - 1}"):
        Collator(processor, max_tokens=length - 1)([example()])


def test_4096_tokens_are_the_limit_unless_another_is_given(processor: Any) -> None:
    assert Collator(processor).max_tokens == 4096


def test_the_keep_answer_logits_begin_one_place_before_the_first_token_that_is_learnt(processor: Any) -> None:
    whole = Collator(processor)([example(), example(format_report({}, taxonomy()))])
    first = int((whole["labels"] != -100).any(0).int().argmax())
    alone = keep_answer_logits(whole)
    assert alone["logits_to_keep"] == whole["labels"].shape[1] - first + 1
    assert torch.equal(alone["labels"], whole["labels"][:, first - 1 :])
    assert (alone["labels"][:, 0] == -100).all()
