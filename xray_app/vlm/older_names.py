"""Adapters whose keys have the names of older transformers, told in today's where they map one to one.

transformers 4.52 put language model and vision tower of every family below `model`. An adapter trained before that
names modules that are no more, and PEFT would pass over them with a warning.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

_PREFIX = "base_model.model."
_RENAMED = (
    # Qwen2-VL and Qwen2.5-VL
    (re.compile(r"^model\.(?=(layers|norm|embed_tokens)\b)"), "model.language_model."),
    (re.compile(r"^visual\."), "model.visual."),
    # LLaVA-1.6 and InternVL
    (re.compile(r"^language_model\.model\."), "model.language_model."),
    (re.compile(r"^language_model\.lm_head\b"), "lm_head"),
    (re.compile(r"^(?=(vision_tower|multi_modal_projector)\.)"), "model."),
)


def todays_names(folder: Path, base: Any) -> dict[str, str] | None:
    """An adapter's keys as stored to what they are called today; None where nothing is to be renamed, or not all can.

    Args:
        folder: of the adapter.
        base: the model it is for, not yet wrapped.
    """
    try:
        with safe_open(folder / "adapter_model.safetensors", "pt") as weights:
            keys = list(weights.keys())
    except (OSError, SafetensorError):  # attaching it says what is wrong
        return None
    modules = {name for name, _ in base.named_modules()}
    if all(module_of(key) in modules for key in keys):
        return None
    names = {key: _today(key) for key in keys}
    one_to_one = len(set(names.values())) == len(names)
    return names if one_to_one and all(module_of(name) in modules for name in names.values()) else None


def module_of(key: str) -> str:
    """The module of the base model that a key's weight belongs to."""
    return re.sub(r"\.lora_\w+(\.\w+)*$", "", key.removeprefix(_PREFIX))


def _today(key: str) -> str:
    name = key.removeprefix(_PREFIX)
    for pattern, replacement in _RENAMED:
        renamed, found = pattern.subn(replacement, name, count=1)
        if found:
            return _PREFIX + renamed
    return key
