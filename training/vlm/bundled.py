"""Builds the bundled VLM with random weights: Qwen2.5-VL at a few million parameters, with its own tokenizer.

The architecture, the special tokens and the chat template are Qwen2.5-VL's, so that the very code
that trains and serves this model also trains and serves RolmOCR.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import torch
from tokenizers import Regex, Tokenizer, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from xray_app.report import format_report, instruction
from xray_app.taxonomy import Taxonomy

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)

# Qwen2.5-VL's template for one picture and text, with its default system line.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n"
    "{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

IMAGE_PAD = "<|image_pad|>"
PATCH = 14
MERGE = 2


def _corpus(taxonomy: Taxonomy, lines: int, seed: int) -> Iterator[str]:
    """Text in the report's and the instruction's own words, every class name among it."""
    rng = random.Random(seed)
    names = taxonomy.names
    system = "system\nYou are a helpful assistant.\nuser\nassistant\n"
    for _ in range(lines):
        chosen = rng.sample(names, rng.randint(0, 6))
        yield format_report({name: rng.choice((1, 1, 1, 2, 3, 11)) for name in chosen}, taxonomy)
        scope = rng.sample(names, rng.randint(1, 8)) if rng.random() < 0.5 else None
        yield system + instruction(scope, taxonomy)


def build_tokenizer(taxonomy: Taxonomy, vocab_size: int = 768) -> Qwen2Tokenizer:
    """Trains a byte-level BPE on the report language; any other word falls back to bytes."""
    bpe = Tokenizer(BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(_corpus(taxonomy, 4000, seed=0), trainer)
    trained = json.loads(bpe.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=trained["vocab"],
        merges=[tuple(pair) for pair in trained["merges"]],
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        model_max_length=4096,
    )
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL_TOKENS)})
    return tokenizer


def build_processor(taxonomy: Taxonomy, pixels: int) -> Qwen2_5_VLProcessor:
    """The processor; every picture is scaled to about `pixels` pixels, its aspect ratio kept."""
    size = {"shortest_edge": pixels * 3 // 4, "longest_edge": pixels}
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=size, patch_size=PATCH, merge_size=MERGE, temporal_patch_size=2),
        tokenizer=build_tokenizer(taxonomy),
        video_processor=Qwen2VLVideoProcessor(patch_size=PATCH, merge_size=MERGE),
        chat_template=CHAT_TEMPLATE,
    )


def build_model(processor: Qwen2_5_VLProcessor, seed: int = 0) -> Qwen2_5_VLForConditionalGeneration:
    """A fresh model of 6.8 M parameters with random weights."""
    torch.manual_seed(seed)
    tokenizer = processor.tokenizer
    token = tokenizer.convert_tokens_to_ids
    config = Qwen2_5_VLConfig(
        text_config=dict(
            vocab_size=len(tokenizer),
            hidden_size=256,
            intermediate_size=704,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=4096,
            tie_word_embeddings=True,
            rope_parameters=dict(rope_type="default", rope_theta=10000.0, mrope_section=[8, 12, 12]),
            bos_token_id=token("<|im_end|>"),
            eos_token_id=token("<|im_end|>"),
            pad_token_id=token("<|endoftext|>"),
        ),
        vision_config=dict(
            depth=6,
            hidden_size=192,
            intermediate_size=512,
            num_heads=4,
            patch_size=PATCH,
            spatial_merge_size=MERGE,
            temporal_patch_size=2,
            window_size=112,
            fullatt_block_indexes=[0, 1, 2, 3, 4, 5],
            out_hidden_size=256,
            in_channels=3,
        ),
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = token("<|im_end|>")
    model.generation_config.pad_token_id = token("<|endoftext|>")
    model.generation_config.do_sample = False
    return model
