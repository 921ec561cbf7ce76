"""Caches the vision features of a frozen tower, from the first epoch for all later ones.

Where no LoRA is on the tower and scans are shown as they are, a scan's features never change: later epochs open no
picture and compute no tower.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLModel
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLModel

from training.data.collate import Collator, Example
from training.recipes.recipe import Recipe
from xray_app.types import Method
from xray_app.vlm.prompt import Encoded, batch

logger = logging.getLogger(__name__)

SHARE_OF_MEMORY = 0.25
"""Of the free memory at the start, what features may take; scans past it are computed anew each epoch."""
CACHED = "rows"
"""Key of a batch under which its cached samples travel to the trainer."""


@dataclass(eq=False)
class CachedSample:
    """A sample, with what has been computed of it so far.

    Attributes:
        example: the sample with its picture, until it is encoded.
        ids, token_types: of the prompt.
        response: token ids of the answer and of the end of the turn.
        grid: (1, 3), the picture's patches in time, rows and columns.
        features: (picture tokens, text width), once computed and kept.
    """

    example: Example | None = None
    ids: Sequence[int] = ()
    token_types: Sequence[int] = ()
    response: Sequence[int] = ()
    grid: Tensor | None = None
    features: Tensor | None = None


def cacheable(model: Any, recipe: Recipe, method: Method) -> bool:
    """Whether features stay the same: a frozen tower whose features stand alone, and scans shown as they are."""
    frozen = method != "full" and recipe.lora_scope == "language"
    apart = isinstance(inner_model(model), Qwen2VLModel | Qwen2_5_VLModel)
    return frozen and recipe.shows_scans_as_they_are and apart


def inner_model(model: Any) -> Any:
    """The model below the language head, and below PEFT's wrapper."""
    return (model.get_base_model() if hasattr(model, "get_base_model") else model).model


class CachedSamples(Dataset[CachedSample]):
    """A data set whose pictures are not opened again once their features are kept."""

    def __init__(self, samples: Dataset[Example]) -> None:
        self.samples = samples
        self.cached: dict[int, CachedSample] = {}

    def __len__(self) -> int:
        return len(self.samples)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> CachedSample:
        cached = self.cached.setdefault(index, CachedSample())
        if cached.features is None:
            cached.example = self.samples[index]
        return cached


class CachedCollator:
    """A `Collator` of cached samples: only those without features are encoded.

    Args:
        collate: refuses what is too long, and knows how answers end.
    """

    def __init__(self, collate: Collator) -> None:
        self.collate = collate

    def __call__(self, rows: Sequence[CachedSample]) -> dict[str, Any]:
        """A training batch of N samples.

        Returns:
            What `Collator` gives, with `pixel_values` of the samples without features alone, and the cached samples
            themselves.

        Raises:
            BadDataset: a sample is too long.
        """
        new = [row for row in rows if row.features is None]
        pictures = self._encode(new) if new else {}
        ids, types = [list(row.ids) for row in rows], [list(row.token_types) for row in rows]
        pictures["image_grid_thw"] = torch.cat([row.grid for row in rows if row.grid is not None])
        responses = [row.response for row in rows]
        return {
            **batch(Encoded(ids, types, pictures), self.collate.pad, side="right", responses=responses),
            CACHED: rows,
        }

    def _encode(self, rows: Sequence[CachedSample]) -> dict[str, Tensor]:
        """Keeps prompt, answer and grid with each sample; returns the pixels of all."""
        examples = [row.example for row in rows if row.example is not None]
        encoded, responses = self.collate.encode(examples)
        if encoded.token_types is None:
            raise TypeError("This family marks no picture tokens.")
        grids = encoded.pictures["image_grid_thw"]
        for place, (row, ids, types, response) in enumerate(
            zip(rows, encoded.ids, encoded.token_types, responses, strict=True)
        ):
            row.ids, row.token_types, row.response = ids, types, response
            row.grid, row.example = grids[place : place + 1], None
        return {"pixel_values": encoded.pictures["pixel_values"]}


class VisionCache:
    """Turns a batch of cached samples into model input, keeping features within `budget` bytes."""

    def __init__(self, budget: int) -> None:
        self.left = budget

    @classmethod
    def within_free_memory(cls) -> VisionCache:
        return cls(int(psutil.virtual_memory().available * SHARE_OF_MEMORY))

    def with_features(
        self, model: Any, inputs: dict[str, Any], autocast: Callable[[], AbstractContextManager[Any]]
    ) -> dict[str, Any]:
        """Model input with features in place of pixels; those that are new are computed, and kept while they fit.

        Args:
            model: `cacheable`, PEFT's wrapper included.
            inputs: as of `CachedCollator`, on the model's device.
            autocast: what the model's own forward runs under.
        """
        inputs = dict(inputs)
        rows: Sequence[CachedSample] = inputs.pop(CACHED)
        fresh: Iterator[Tensor] = iter(())
        if (pixels := inputs.pop("pixel_values", None)) is not None:
            grids = torch.cat([row.grid for row in rows if row.features is None and row.grid is not None])
            with torch.no_grad(), autocast():
                fresh = iter(inner_model(model).get_image_features(pixels, grids.to(pixels.device)).pooler_output)
        features = [row.features if row.features is not None else self._keep(row, next(fresh)) for row in rows]
        device = inputs["input_ids"].device
        seen = BaseModelOutputWithPooling(pooler_output=[one.to(device) for one in features])
        return {**inputs, "mm_encoder_outputs": {"image": seen}}

    def _keep(self, row: CachedSample, features: Tensor) -> Tensor:
        size = features.numel() * features.element_size()
        if size <= self.left:
            self.left -= size
            row.features = features.detach().cpu().clone()
            if size > self.left:
                logger.info("no memory for more vision features: further scans are computed in every epoch")
        return features
