"""Computes LoRA's linear layer as PEFT does with fewer passes over memory, which cost most on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor
from torch.nn import functional


def linear(x: Tensor, layer: Any) -> Tensor:
    """A linear layer, with LoRA on it or without, in the precision of `x`."""
    if type(layer) is torch.nn.Linear:
        return _times(x, layer)
    if not is_plain_lora(layer):
        return layer(x).to(x.dtype)
    out = _times(x, layer.base_layer)
    for name in layer.active_adapters:
        if name in layer.lora_A:
            kept, scale = _dropped(x, layer.lora_dropout[name])
            low = _times(kept, layer.lora_A[name])
            out = torch.add(out, _times(low, layer.lora_B[name]), alpha=layer.scaling[name] * scale)
    return out


def is_plain_lora(layer: Any) -> bool:
    """Neither on a layer in 4 bits nor DoRA, and at work."""
    if type(layer) is not LoraLinear or type(layer.base_layer) is not torch.nn.Linear:
        return False
    return not (layer.disable_adapters or layer.merged or layer.lora_variant)


def _times(x: Tensor, layer: Any) -> Tensor:
    bias = None if layer.bias is None else layer.bias.to(x.dtype)
    return functional.linear(x, layer.weight.to(x.dtype), bias)


def _dropped(x: Tensor, dropout: Any) -> tuple[Tensor, float]:
    """`x` with each value zeroed by chance, and the factor that makes up for it.

    torch draws one random number for each value; here each gives four. The chance is right to 1 in 65,536.
    """
    chance = getattr(dropout, "p", 0.0) if dropout.training else 0.0
    if chance == 0:
        return x, 1.0
    bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device).random_(-(2**63), None)
    zeroed = bits.view(torch.int16)[: x.numel()].view(x.shape) < round(chance * 2**16) - 2**15
    return x.masked_fill(zeroed, 0), 1 / (1 - chance)


def patch_lora_forward(model: Any) -> None:
    """Makes the LoRA layers of a model compute by `linear` from now on."""
    for layer in model.modules():
        if is_plain_lora(layer):
            layer.forward = _forward_of(layer)


def _forward_of(layer: Any) -> Any:
    theirs = layer.forward

    def forward(x: Tensor, *args: Any, **options: Any) -> Tensor:
        device = x.device.type
        if args or options or not is_plain_lora(layer):
            out: Tensor = theirs(x, *args, **options)
            return out
        return linear(x.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else x, layer)

    return forward
