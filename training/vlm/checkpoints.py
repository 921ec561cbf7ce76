"""Checkpoints of a training in `OUT/checkpoints`: of which training they are, and where to go on."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any

from training.data.json_file import note, noted
from xray_app.errors import BadRecipe

logger = logging.getLogger(__name__)

NOTED = "training.json"


def refuse_checkpoints(out: Path) -> None:
    """For a training that begins: nothing of an earlier one may be overwritten.

    Raises:
        BadRecipe: there are checkpoints in `out` already.
    """
    if any((out / "checkpoints").glob("checkpoint-*")):
        raise BadRecipe(
            f"{out / 'checkpoints'} holds checkpoints already. Go on from them with --resume, or use another --out."
        )


def newest_checkpoint(out: Path, resume: bool, facts: list[Any]) -> Path | None:
    """The newest whole checkpoint to go on from; None is the start.

    What a training is of is kept in `out`/training.json: going on with something else would end in weights that
    no manifest describes. A checkpoint cut off while it was written (its state comes last) is dropped.

    Args:
        out: the training's folder.
        resume: whether to go on from what is there.
        facts: everything the weights follow from, as JSON takes it.

    Raises:
        BadRecipe: the checkpoints are of another training, or there are some and `resume` was not asked for.
        BadDataset: of which training they are cannot be read.
    """
    folder = out / "checkpoints"
    sha256 = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    if not resume:
        refuse_checkpoints(out)
    found = sorted(folder.glob("checkpoint-*"), key=lambda one: int(one.name.rpartition("-")[2]), reverse=True)
    before = noted(out / NOTED) if found else None
    if before is not None and before.get("sha256") != sha256:
        raise BadRecipe(
            f"The checkpoints in {folder} are of another training: samples, recipe, method or epochs differ. "
            "Resume with the same, or use another --out."
        )
    out.mkdir(parents=True, exist_ok=True)
    note(out / NOTED, {"sha256": sha256})
    for checkpoint in found:
        try:
            json.loads((checkpoint / "trainer_state.json").read_text())
            return checkpoint
        except (OSError, ValueError):
            logger.warning("%s was cut off while it was written and is dropped", checkpoint)
            shutil.rmtree(checkpoint)
    return None
