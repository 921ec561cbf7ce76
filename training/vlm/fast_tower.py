"""Computes the Qwen2.5-VL vision tower for a whole batch at once: the same function in less time on a CPU.

The library's forward attends to one picture after the other; here the pictures are padded to one length. Only for
towers that attend to the whole picture in every block.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VisionTransformerPretrainedModel,
    get_vision_position_ids,
)

from training.vlm.fast_lora import linear


def _rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    wide = x.float()
    return (weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + epsilon))).to(x.dtype)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    wide = x.float()
    first, second = wide.chunk(2, -1)
    return (wide * cos + torch.cat((-second, first), -1) * sin).to(x.dtype)


def _block(block: Any, x: Tensor, mask: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """One block of the tower on (B, N, C); `mask` (B, 1, 1, N) is added to the attention scores."""
    size, length, width = x.shape
    heads = block.attn.num_heads
    h = _rms_norm(x, block.norm1.weight, block.norm1.variance_epsilon)
    joint = linear(h, block.attn.qkv).view(size, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    query, key, value = _rotate(joint[0], cos, sin), _rotate(joint[1], cos, sin), joint[2]
    # By hand: the library's fused attention is slower backwards on a CPU in bfloat16.
    scores = (query * (1 / math.sqrt(width // heads))) @ key.transpose(-1, -2) + mask
    mixed = (torch.softmax(scores, -1) @ value).transpose(1, 2).reshape(size, length, width)
    x = x + linear(mixed, block.attn.proj)
    h = _rms_norm(x, block.norm2.weight, block.norm2.variance_epsilon)
    h = block.mlp.act_fn(linear(h, block.mlp.gate_proj)) * linear(h, block.mlp.up_proj)
    return x + linear(h, block.mlp.down_proj)


class BatchedTower:
    """Calls a Qwen2.5-VL vision tower, whose weights it shares, on padded batches.

    Args:
        visual: the model's `Qwen2_5_VisionTransformerPretrainedModel`, with LoRA on its layers or without.
        patches: patches of the largest picture; every picture is padded to it. None pads to the largest of the
            batch, which a compiled tower would be compiled anew for.
        dtype: what the activations are computed in; None is autocast's where that is on, else the weights'.
        compiled: compile the blocks, which takes half a minute and a C++ compiler.

    Raises:
        ValueError: some block attends in windows; see `attends_to_all`.
    """

    def __init__(self, visual: Any, patches: int | None, dtype: torch.dtype | None, *, compiled: bool) -> None:
        if not attends_to_all(visual):
            raise ValueError("Some blocks of this tower attend in windows; this computes none.")
        self.visual = visual
        self.patches = patches
        self.dtype = dtype
        self._block: Callable[..., Tensor] = torch.compile(_block) if compiled else _block

    def __call__(self, pixel_values: Tensor, grid_thw: Tensor) -> tuple[Tensor, Tensor]:
        """The tower's output for B pictures.

        Args:
            pixel_values: (patches of all pictures, patch values), as the processor gives them.
            grid_thw: (B, 3) patches in time, rows and columns.

        Returns:
            (merged tokens of all pictures, text width) and (patches of all pictures, tower width), in the
            processor's order: 2 × 2 patches that merge lie together.
        """
        visual = self.visual
        dtype = self.dtype or _working_dtype(visual)
        lengths = grid_thw.prod(1).tolist()
        width = self.patches or max(lengths)
        x = visual.patch_embed(pixel_values)
        cos, sin = visual.rotary_pos_emb(x, get_vision_position_ids(grid_thw, visual.spatial_merge_size))
        places = torch.cat([torch.arange(n) + row * width for row, n in enumerate(lengths)]).to(x.device)
        total = len(lengths) * width

        def padded(values: Tensor) -> Tensor:
            empty = values.new_zeros(total, values.shape[1])
            return empty.index_copy(0, places, values).view(len(lengths), width, -1)

        hidden = x.new_ones(total).index_fill(0, places, 0).view(len(lengths), 1, 1, width)
        mask = (hidden * -1e4).to(dtype)
        batch = padded(x.to(dtype))
        cos, sin = padded(cos)[:, None], padded(sin)[:, None]
        for block in visual.blocks:
            batch = self._block(block, batch, mask, cos, sin)
        patches = batch.reshape(total, -1)[places]
        return visual.merger(patches), patches


def attends_to_all(visual: Any) -> bool:
    """Whether this is a Qwen2.5-VL tower all of whose blocks attend to the whole picture."""
    return isinstance(visual, Qwen2_5_VisionTransformerPretrainedModel) and set(
        visual.config.fullatt_block_indexes
    ) == set(range(visual.config.depth))


def _working_dtype(visual: Any) -> torch.dtype:
    device = visual.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else visual.dtype


def patch_tower_forward(visual: Any) -> None:
    """Makes a tower that `attends_to_all` compute its pictures together from now on, whoever calls it."""
    tower = BatchedTower(visual, None, None, compiled=False)

    def forward(hidden_states: Tensor, grid_thw: Tensor, **options: Any) -> BaseModelOutputWithPooling:
        merged, patches = tower(hidden_states, grid_thw)
        return BaseModelOutputWithPooling(last_hidden_state=patches, pooler_output=merged)

    visual.forward = forward
