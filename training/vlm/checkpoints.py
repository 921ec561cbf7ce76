"""Checkpoints of a training in `OUT/checkpoints`: which training they belong to, and which one to resume from."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any

from training.data.json_file import read_json, write_json
from xray_app.errors import BadRecipe

logger = logging.getLogger(__name__)

FINGERPRINT = "training.json"
"""Holds a hash of everything the checkpoints' weights follow from."""


def refuse_checkpoints(out: Path) -> None:
    """For a training that begins: nothing of an earlier one may be overwritten.

    Raises:
        BadRecipe: there are checkpoints in `out` already.
    """
    if any((out / "checkpoints").glob("checkpoint-*")):
        raise BadRecipe(
            f"{out / 'checkpoints'} holds checkpoints already. Go on from them with --resume, or use another --out."
        )


def newest_checkpoint(out: Path, resume: bool, inputs: list[Any]) -> Path | None:
    """The newest whole checkpoint to resume from; None is the start.

    A fingerprint of the training is kept in `out`/training.json: resuming with other inputs would end in weights
    that no manifest describes. A checkpoint cut off while it was written (its state comes last) is dropped.

    Args:
        out: the training's folder.
        resume: whether to resume from what is there.
        inputs: everything the weights follow from, as JSON takes it.

    Raises:
        BadRecipe: the checkpoints are of another training, or there are some and `resume` was not asked for.
        BadDataset: the fingerprint cannot be read.
    """
    folder = out / "checkpoints"
    sha256 = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
    if not resume:
        refuse_checkpoints(out)
    found = sorted(folder.glob("checkpoint-*"), key=lambda one: int(one.name.rpartition("-")[2]), reverse=True)
    before = read_json(out / FINGERPRINT) if found else None
    if before is not None and before.get("sha256") != sha256:
        raise BadRecipe(
            f"The checkpoints in {folder} are of another training: samples, recipe, method or epochs differ. "
            "Resume with the same, or use another --out."
        )
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / FINGERPRINT, {"sha256": sha256})
    for checkpoint in found:
        try:
            json.loads((checkpoint / "trainer_state.json").read_text())
            return checkpoint
        except (OSError, ValueError):
            logger.warning("%s was cut off while it was written and is dropped", checkpoint)
            shutil.rmtree(checkpoint)
    return None
