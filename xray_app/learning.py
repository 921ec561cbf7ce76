"""Learning, for API and desk alike: which corrections train, starting a run, promoting an adapter."""

from __future__ import annotations

import logging
import re
from importlib.util import find_spec
from typing import get_args

from pydantic import BaseModel, ConfigDict, Field

from training.data.samples import usable
from training.promotion import registry
from training.recipes.recipe import FULL_AT_THE_DESK, available, desk_recipe, recipe_of_base
from xray_app.adapter import Adapter
from xray_app.errors import BadInput, BadModel, BadRecipe, Conflict
from xray_app.services import Services
from xray_app.store import adapters, runs
from xray_app.types import AdapterKind, Finite, Method, Run
from xray_app.vlm.remote import RemoteVlm

logger = logging.getLogger(__name__)

DETECTOR_RECIPE = "bundled"
RECIPE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class RunIn(BaseModel):
    """What to train; everything may be left out. The method is then LoRA, and full training for a detector."""

    model_config = ConfigDict(extra="forbid")

    kind: AdapterKind = "vlm-adapter"
    recipe: str | None = None
    method: Method | None = None
    epochs: Finite | None = Field(default=None, gt=0, le=1000)


def trainable(desk: Services, kind: AdapterKind = "vlm-adapter") -> int:
    """How many accepted corrections a run may train on: no picture of the hold-out is ever trained on.

    A detector learns from boxes alone.
    """
    return sum(
        correction.split == "train" and (kind == "vlm-adapter" or bool(correction.boxes))
        for _, correction in usable(desk.db)
    )


def start_run(desk: Services, asked: RunIn, username: str) -> Run:
    """Queues a run and launches it.

    Raises:
        BadInput: a method this kind of model is not trained with.
        BadModel: the served detector cannot be trained on.
        BadRecipe: no such recipe, none for the served base model, or its figures cannot go where they should.
        Conflict: there is nothing to train on yet.
    """
    method = asked.method or ("lora" if asked.kind == "vlm-adapter" else "full")
    recipe = _detector_recipe(desk, asked) if asked.kind == "detector" else _vlm_recipe(desk, asked)
    if trainable(desk, asked.kind) == 0:
        what = "correction" if asked.kind == "vlm-adapter" else "correction with a box"
        raise Conflict(f"No accepted {what} can be trained on yet. Correct some scans first.")
    run = runs.create(desk.db, asked.kind, recipe, method, asked.epochs, username)
    try:
        desk.launch(run)
    except OSError as error:
        # The run is queued, and so it was answered; whoever watches over runs starts it.
        logger.warning("run %s could not be launched yet: %s", run.id, error)
    return runs.get(desk.db, run.id)


def _vlm_recipe(desk: Services, asked: RunIn) -> str:
    if asked.method == "full":
        raise BadRecipe(FULL_AT_THE_DESK)
    recipe = asked.recipe if asked.recipe is not None else recipe_of_base(desk.settings.served_base)
    if recipe is None:
        raise BadRecipe(
            f"No recipe has the served model {desk.settings.served_base!r} as its base. "
            f"Name one as 'recipe': {', '.join(available())}."
        )
    if not RECIPE_NAME.fullmatch(recipe):
        raise BadRecipe(f"There is no recipe {recipe[:64]!r}.")
    desk_recipe(recipe, desk.settings.report_to)
    return recipe


def _detector_recipe(desk: Services, asked: RunIn) -> str:
    """The one there is, whatever detector of the kind that can be trained is served."""
    if asked.recipe not in (None, DETECTOR_RECIPE):
        raise BadRecipe(f"A detector has one recipe, {DETECTOR_RECIPE!r}; leave it out.")
    if asked.method not in (None, "full"):
        raise BadInput("A detector is small and trained in full; leave the method out.")
    if not desk.analyser.detector.trainable:
        raise BadModel(
            f"The served detector {desk.analyser.detector.name} cannot be trained on here: only YOLOX weights written "
            "by `python -m training finetune-detector` can. Train it with its own library and name the new file."
        )
    missing = [name for name in ("libreyolo", "onnx") if find_spec(name) is None]
    if missing:
        raise BadModel(
            f"Training a detector needs {' and '.join(missing)}: pip install libreyolo onnx, and on a slim image "
            "apt-get install libgl1 libglib2.0-0."
        )
    return DETECTOR_RECIPE


def base_sha256(desk: Services, kind: AdapterKind) -> str:
    """The weights' hash of the served base model that adapters of this kind belong to."""
    return desk.analyser.vlm.weights_sha256 if kind == "vlm-adapter" else desk.analyser.detector.sha256


def on_trial(desk: Services) -> bool:
    """Whether a model in use was promoted as a trial."""
    kinds: tuple[AdapterKind, ...] = get_args(AdapterKind)
    return any(found.trial for kind in kinds if (found := adapters.active(desk.db, kind, base_sha256(desk, kind))))


def promote_adapter(
    desk: Services, adapter_id: str, username: str, force: bool = False, reason: str | None = None, trial: bool = False
) -> Adapter:
    """Makes an adapter the active one; where another server answers, that is told to load it first.

    Raises:
        DeskError: as `registry.promote` and `RemoteVlm.receive` say; nothing is promoted then.
    """
    vlm = desk.analyser.vlm
    hand_over = vlm.receive if isinstance(vlm, RemoteVlm) else None
    return registry.promote(desk.db, adapter_id, username, force, reason, hand_over, trial)
