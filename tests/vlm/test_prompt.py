from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoProcessor

from tests.tiny import picture, taxonomy
from training.data.collate import Collator, Example
from xray_app.errors import BadDataset
from xray_app.report import format_report, instruction
from xray_app.vlm.prompt import batch, encode

RESPONSE = format_report({"knife": 1, "plastic bottle": 2}, taxonomy())


@pytest.fixture(scope="module")
def processor(tiny_folder: Path):
    return AutoProcessor.from_pretrained(tiny_folder)


def examples() -> list[Example]:
    wide, tall = picture(size=(300, 100)), picture(size=(90, 200))
    scoped = instruction(["scissors"], taxonomy())
    return [
        Example(wide, instruction(), RESPONSE),
        Example(tall, scoped, format_report({}, taxonomy())),
    ]


def test_training_and_serving_see_identical_prompt_ids(processor) -> None:
    for example in examples():
        served = batch(encode(processor, [example.image], [example.instruction]), 0, side="left")
        trained = Collator(processor)([example])
        prompt = trained["labels"][0] == -100
        assert trained["input_ids"][0][prompt].tolist() == served["input_ids"][0].tolist()
        assert trained["pixel_values"].equal(served["pixel_values"])
        assert trained["image_grid_thw"].equal(served["image_grid_thw"])


def test_a_prompt_ends_where_the_assistant_begins_to_speak(processor) -> None:
    for example in examples():
        (ids,) = encode(processor, [example.image], [example.instruction]).ids
        prompt = processor.tokenizer.decode(ids)
        assert prompt.endswith(f"{example.instruction}<|im_end|>\n<|im_start|>assistant\n")


def test_the_unmasked_labels_are_the_response_and_the_end_of_turn(processor) -> None:
    out = Collator(processor)(examples())
    for labels, example in zip(out["labels"], examples(), strict=True):
        said = processor.tokenizer.decode(labels[labels != -100])
        assert said == example.response + "<|im_end|>"


def test_padding_is_never_attended_to_nor_learnt(processor) -> None:
    out = Collator(processor)(examples())
    padding = out["attention_mask"] == 0
    assert padding.any()
    assert (out["labels"][padding] == -100).all()
    left = batch(
        encode(processor, [e.image for e in examples()], [e.instruction for e in examples()]),
        processor.tokenizer.pad_token_id,
        side="left",
    )
    assert left["attention_mask"][:, -1].all()


def test_the_picture_keeps_its_aspect_ratio_and_is_not_truncated(processor) -> None:
    out = Collator(processor)(examples())
    for (_, rows, columns), example in zip(out["image_grid_thw"].tolist(), examples(), strict=True):
        assert (columns > rows) == (example.image.width > example.image.height)
    image_tokens = (out["input_ids"] == processor.image_token_id).sum().item()
    assert image_tokens == sum(r * c // 4 for _, r, c in out["image_grid_thw"].tolist())


def test_a_sample_that_does_not_fit_is_refused_by_name(processor) -> None:
    with pytest.raises(BadDataset, match="Items detected: 1 knife"):
        Collator(processor, max_tokens=40)(examples()[:1])


def test_any_word_survives_the_tokenizer(processor) -> None:
    for text in ("zebra crossing", "œuvre 日本 🔪", *taxonomy().names):
        ids = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
        assert processor.tokenizer.decode(ids) == text
