"""Every supported architecture at a few hundred thousand random parameters, built offline.

`python -m tests.tiny_families DIR` writes one model folder a family. Special tokens, chat templates and
picture preparation are those of the published models; sizes and vocabulary are not.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import (
    GotOcr2ImageProcessor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    InternVLVideoProcessor,
    LlamaTokenizer,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessor,
    LlavaNextProcessor,
    PreTrainedModel,
    ProcessorMixin,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

from tests.tiny import taxonomy
from training.vlm.bundled import CHAT_TEMPLATE, build_tokenizer
from xray_app.report import format_report, instruction

HIDDEN = 64
LAYERS = 2
TEXT = dict(
    hidden_size=HIDDEN,
    intermediate_size=128,
    num_hidden_layers=LAYERS,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=4096,
)
TILE = 56
"""Side of the square LLaVA-1.6 and InternVL cut pictures into, in pixels."""
PIXELS = 112 * 112

_SYSTEM = CHAT_TEMPLATE[CHAT_TEMPLATE.index("{% if loop.first") : CHAT_TEMPLATE.index("<|im_start|>{{")]
QWEN3_TEMPLATE = CHAT_TEMPLATE.replace(_SYSTEM, "")
LLAVA_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' }}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] }}{% endfor %}"
    "{{ ' [/INST]' }}{% endif %}{% endfor %}"
)
INTERNVL_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% for content in message['content'] %}"
    "{% if content['type'] == 'image' %}{{ '<IMG_CONTEXT>\n' }}"
    "{% elif content['type'] == 'text' %}{{ content['text'] }}{% endif %}{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

Built = tuple[PreTrainedModel, ProcessorMixin]


def _qwen_processor(kind: type, video: type, template: str, patch: int) -> Any:
    size = {"shortest_edge": PIXELS // 4, "longest_edge": PIXELS}
    return kind(
        image_processor=Qwen2VLImageProcessor(size=size, patch_size=patch, merge_size=2, temporal_patch_size=2),
        tokenizer=build_tokenizer(taxonomy()),
        video_processor=video(patch_size=patch, merge_size=2),
        chat_template=template,
    )


def _qwen_tokens(tokenizer: Any) -> tuple[dict[str, int], dict[str, int]]:
    """Special token ids of the text configuration and of the whole."""
    token = tokenizer.convert_tokens_to_ids
    ends = dict(bos_token_id=token("<|im_end|>"), eos_token_id=token("<|im_end|>"), pad_token_id=token("<|endoftext|>"))
    return ends | {"vocab_size": len(tokenizer)}, dict(
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
    )


def _rope(*section: int, **more: Any) -> dict[str, Any]:
    return dict(rope_type="default", rope_theta=10000.0, mrope_section=list(section), **more)


def qwen2_vl() -> Built:
    processor = _qwen_processor(Qwen2VLProcessor, Qwen2VLVideoProcessor, CHAT_TEMPLATE, 14)
    text, ids = _qwen_tokens(processor.tokenizer)
    config = Qwen2VLConfig(
        text_config=TEXT | text | {"rope_parameters": _rope(2, 3, 3)},
        vision_config=dict(depth=2, embed_dim=64, hidden_size=HIDDEN, mlp_ratio=2, num_heads=2, patch_size=14),
        **ids,
    )
    return Qwen2VLForConditionalGeneration(config), processor


def qwen2_5_vl() -> Built:
    processor = _qwen_processor(Qwen2_5_VLProcessor, Qwen2VLVideoProcessor, CHAT_TEMPLATE, 14)
    text, ids = _qwen_tokens(processor.tokenizer)
    config = Qwen2_5_VLConfig(
        text_config=TEXT | text | {"rope_parameters": _rope(2, 3, 3)},
        vision_config=dict(
            depth=2, hidden_size=64, intermediate_size=96, num_heads=2, patch_size=14, window_size=56,
            fullatt_block_indexes=[1], out_hidden_size=HIDDEN,
        ),
        **ids,
    )  # fmt: skip
    return Qwen2_5_VLForConditionalGeneration(config), processor


def qwen3_vl() -> Built:
    processor = _qwen_processor(Qwen3VLProcessor, Qwen3VLVideoProcessor, QWEN3_TEMPLATE, 16)
    text, ids = _qwen_tokens(processor.tokenizer)
    config = Qwen3VLConfig(
        text_config=TEXT | text | {"head_dim": 16, "rope_parameters": _rope(2, 3, 3, mrope_interleaved=True)},
        vision_config=dict(
            depth=2, hidden_size=64, intermediate_size=96, num_heads=2, patch_size=16, out_hidden_size=HIDDEN,
            num_position_embeddings=64, deepstack_visual_indexes=[0],
        ),
        **ids,
    )  # fmt: skip
    return Qwen3VLForConditionalGeneration(config), processor


def llama_tokenizer(vocab_size: int = 768) -> LlamaTokenizer:
    """Mistral's kind: words begin with ▁, unknown characters fall back to bytes, a <s> before each prompt."""
    bpe = Tokenizer(BPE(byte_fallback=True))
    bpe.pre_tokenizer = pre_tokenizers.Metaspace(split=True)
    bpe.decoder = decoders.Metaspace()
    names = taxonomy().names
    texts = [format_report({one: 2, other: 1}, taxonomy()) for one in names for other in names[:4] if one != other]
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "<image>", "<pad>"]
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=special, show_progress=False)
    bpe.train_from_iterator([*texts, instruction(), "[INST] [/INST]"], trainer)
    trained = json.loads(bpe.to_str())["model"]
    tokenizer = LlamaTokenizer(
        vocab=trained["vocab"],
        merges=[tuple(pair) for pair in trained["merges"]],
        pad_token="<pad>",
        add_bos_token=True,
        model_max_length=4096,
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    return tokenizer


def llava_next() -> Built:
    tokenizer = llama_tokenizer()
    pinpoints = [[TILE, 2 * TILE], [2 * TILE, TILE], [2 * TILE, 2 * TILE]]
    processor = LlavaNextProcessor(
        image_processor=LlavaNextImageProcessor(
            size={"shortest_edge": TILE},
            crop_size={"height": TILE, "width": TILE},
            image_grid_pinpoints=pinpoints,
        ),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=LLAVA_TEMPLATE,
    )
    token = tokenizer.convert_tokens_to_ids
    ids = dict(bos_token_id=token("<s>"), eos_token_id=token("</s>"), pad_token_id=token("<pad>"))
    config = LlavaNextConfig(
        text_config=TEXT | ids | {"model_type": "mistral", "vocab_size": len(tokenizer), "sliding_window": None},
        vision_config=dict(
            model_type="clip_vision_model", hidden_size=64, intermediate_size=96, num_hidden_layers=3,
            num_attention_heads=2, image_size=TILE, patch_size=14, projection_dim=32,
        ),
        image_token_index=token("<image>"),
        image_grid_pinpoints=pinpoints,
        image_seq_length=(TILE // 14) ** 2,
    )  # fmt: skip
    return LlavaNextForConditionalGeneration(config), processor


def internvl() -> Built:
    tokenizer = build_tokenizer(taxonomy())
    named = dict(
        start_image_token="<img>", end_image_token="</img>", context_image_token="<IMG_CONTEXT>", video_token="<video>"
    )
    tokenizer.add_special_tokens(
        {"additional_special_tokens": list(named.values())}, replace_extra_special_tokens=False
    )
    tokenizer._set_model_specific_special_tokens(special_tokens=named)
    image_tokens = (TILE // 14 // 2) ** 2
    size = {"height": TILE, "width": TILE}
    processor = InternVLProcessor(
        image_processor=GotOcr2ImageProcessor(size=size, crop_to_patches=True, min_patches=1, max_patches=6),
        tokenizer=tokenizer,
        video_processor=InternVLVideoProcessor(size=size),
        image_seq_length=image_tokens,
        chat_template=INTERNVL_TEMPLATE,
    )
    text, _ = _qwen_tokens(tokenizer)
    config = InternVLConfig(
        text_config=TEXT | text | {"model_type": "qwen2"},
        vision_config=dict(
            hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=2, image_size=[TILE, TILE],
            patch_size=[14, 14],
        ),
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=image_tokens,
        tie_word_embeddings=False,
    )  # fmt: skip
    return InternVLForConditionalGeneration(config), processor


FAMILIES: Mapping[str, Callable[[], Built]] = {
    "qwen2_vl": qwen2_vl,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
    "llava_next": llava_next,
    "internvl": internvl,
}


def save_family(name: str, folder: Path, seed: int = 0) -> Path:
    """Writes a family's tiny model with its processor; the same seed gives the same weights."""
    torch.manual_seed(seed)
    model, processor = FAMILIES[name]()
    tokenizer = processor.tokenizer
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    for family in FAMILIES:
        print(save_family(family, Path(sys.argv[1]) / family))
