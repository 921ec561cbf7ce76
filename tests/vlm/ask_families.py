"""What each family's tiny model answers with its adapter: called in the test's process and, as a program, in another.

`python -m tests.vlm.ask_families ROOT THREADS` writes ROOT/FAMILY.json and ROOT/FAMILY.safetensors.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.tiny import picture
from tests.tiny_families import FAMILIES
from xray_app.report import instruction
from xray_app.vlm.base import Answer
from xray_app.vlm.local import LocalVlm
from xray_app.vlm.prompt import batch, encode

PICTURES = [picture(60, (150, 90)), picture(200, (70, 160))]


def ask(base: Path, adapter: Path | None) -> tuple[Tensor, list[Answer]]:
    """Logits (2, L, vocabulary) of two prompts, and the answers to them."""
    vlm = LocalVlm.load(str(base), max_new_tokens=6)
    vlm.use_adapter(adapter)
    encoded = encode(vlm.processor, PICTURES, [instruction()] * 2)
    with torch.inference_mode():
        logits = vlm.model(**batch(encoded, vlm.processor.tokenizer.pad_token_id, side="left")).logits
    return logits, vlm.answer(PICTURES, [instruction()] * 2)


if __name__ == "__main__":
    root = Path(sys.argv[1])
    torch.set_num_threads(int(sys.argv[2]))
    for family in FAMILIES:
        logits, answers = ask(root / family / "base", root / family / "out" / "adapter")
        save_file({"logits": logits}, root / f"{family}.safetensors")
        (root / f"{family}.json").write_text(json.dumps([answer.text for answer in answers]))
