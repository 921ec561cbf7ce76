"""Trains the detector on a YOLO data set, from the bundled weights or from scratch.

Model and loss are LibreYOLO's, the loop is our own: LibreYOLO's trainer writes cache files beside the labels, and one
epoch of it over 400 scans did not end within 500 s on a busy two-core machine (the two were never timed side by
side). The result is the ONNX file the desk serves (`detector.onnx`) and, but for the variant
"lite0" that LibreYOLO does not know, a LibreYOLO model (`detector.pt`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field

from training.data.json_file import read_json, write_json
from training.data.samples import Sample, file_sha256, read_jsonl, split_by_bag
from training.data.snapshot import samples_sha256
from training.data.training_record import TrainingRecord
from training.data.yolo import read_yolo
from training.detector.anchor import anchor_confidence
from training.detector.frames import Frames
from training.detector.network import DetectorNetwork
from training.evaluation.mean_average_precision import ignore_unboxed_classes, in_labelled_classes, map50
from xray_app.atomic_write import atomic_write
from xray_app.detector.onnx import OnnxDetector
from xray_app.errors import BadDataset, BadModel
from xray_app.settings import BUNDLED_DETECTOR
from xray_app.taxonomy import Taxonomy
from xray_app.types import Value

logger = logging.getLogger(__name__)

VALIDATION_SHARE = 0.1
MOST_VALIDATED = 300
"""Scans looked at to pick the best checkpoint; more would only cost time."""
VALIDATION_CONFIDENCE = 0.01
SIGHT_RATE = 0.3
"""Learning rate of what was learned on photographs, over that of the rest."""
CHECKPOINT_SECONDS = 120.0
CLIPPED_NORM = 10.0
OTHER_TRAINING = (
    "Its recipe, classes, scans or first weights differ, or it is of an earlier version; use another --out."
)

OnProgress = Callable[[float, dict[str, Any]], bool]
"""Called after every step with the share done (0 to 1), the loss and seconds; returns True to stop the training."""


class DetectorRecipe(Value):
    """How a detector is trained.

    Attributes:
        variant: LibreYOLO's YOLOX size, or "lite0" (an EfficientNet-lite0 that has seen photographs, with neck and head
            of "t"); only used from scratch.
        sizes: side of the input square in pixels, one for each equal part of the training; the last is the
            one it is served with. Small first: most of what is learned does not need the detail.
        epochs: passes over the training scans.
        patience: early stopping, passes without a better checkpoint (by mAP50 on the validation scans) after which
            the training ends; 0 trains to the last.
        batch: scans a step.
        learning_rate: of AdamW, at its highest; cosine down from there.
        weight_decay: on weights, not on biases and normalisation.
        warmup: share of the steps in which the rate rises.
        box_finish: share of the steps, at the end, with LibreYOLO's additional L1 loss on boxes.
        rare: a class on a smaller share of the scans than this has its scans shown more often (by the square
            root of how much smaller), so that threats are learned though most bags hold none.
        group_balance: show scans so often that each class is as frequent on every scanner; see
            `training.data.group_balance`.
        vary: 0 to 1, how far scans are moved towards other scanners: palette, penetration, sharpness, view.
        average: decay of the running average of weights that is saved.
        seed: of weights, order and mirroring.
    """

    variant: Literal["n", "t", "s", "lite0"] = "t"
    sizes: tuple[int, ...] = (320,)
    epochs: float = Field(default=30, gt=0)
    patience: int = Field(default=0, ge=0)
    batch: int = Field(default=16, gt=0)
    learning_rate: float = Field(default=5e-4, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    warmup: float = Field(default=0.05, ge=0, le=1)
    box_finish: float = Field(default=0.2, ge=0, le=1)
    rare: float = Field(default=0.08, ge=0, le=1)
    group_balance: bool = False
    vary: float = Field(default=0.0, ge=0, le=1)
    average: float = Field(default=0.998, ge=0, lt=1)
    seed: int = 0


FROM_BUNDLED = DetectorRecipe(sizes=(320, 416), vary=0.6)
FROM_CORRECTIONS = DetectorRecipe(sizes=(320, 416), epochs=10, vary=0.6)
"""Of a run of the desk: few new scans, beside replayed ones so that nothing is forgotten."""
FROM_SCRATCH = DetectorRecipe(
    variant="lite0", sizes=(224, 224, 224, 320, 320, 416), epochs=3.5, learning_rate=2e-3, vary=0.6
)
"""The recipe of the bundled detector, second edition, with 17,000 simulated scans."""


def finetune_detector(
    data: Path,
    out: Path,
    taxonomy: Taxonomy,
    *,
    also: Sequence[Path] = (),
    weights: Path | None = BUNDLED_DETECTOR,
    recipe: DetectorRecipe | None = None,
    resume: bool = False,
    skip_bad: bool = False,
    skip_unknown: bool = False,
    name: str | None = None,
    on_progress: OnProgress | None = None,
) -> Path:
    """Trains on a YOLO folder or on samples; nothing is ever written into either.

    A `data.yaml` without `val`, and a `train.jsonl` always, has one bag in ten split off by hash, fewer of very many,
    for picking the best checkpoint. `val.jsonl` is never opened.

    Args:
        data: folder with `data.yaml`, or with `train.jsonl`: what `prepare` wrote, or a run's snapshot.
        also: more YOLO folders, trained on together with the first.
        out: gets `detector.onnx`, `detector.pt` (not of "lite0") and, until it has finished, a checkpoint and the
            scans' pixels.
        taxonomy: gives canonical names to the data set's labels.
        weights: an ONNX file written by this function; None trains from scratch, and anchors the confidence at the end
            (`training.detector.anchor`).
        recipe: FROM_BUNDLED with weights and FROM_SCRATCH without, where left out.
        resume: resume from the checkpoint in `out`, if there is one; a training that has finished is not repeated.
        skip_bad: leave unreadable scans out instead of refusing the data set.
        skip_unknown: leave out boxes of classes the taxonomy does not know instead of refusing the data set.
        name: what the desk calls the model; left out, the name of `out`.
        on_progress: called after every step; returns True to stop.

    Returns:
        The ONNX file.

    Raises:
        BadDataset: the data set is wrong; the message names file and line.
        UnknownLabel: the taxonomy does not know a class, which is named.
        BadModel: `weights` are not ours, the checkpoint to resume is of another training, or the training diverged.
    """
    splits: dict[str, list[Sample]] = {}
    if (data / "train.jsonl").is_file():
        # A language model may be asked about one scan in two ways; its boxes are the same.
        splits["train"] = list({sample.image: sample for sample in read_jsonl(data / "train.jsonl")}.values())
    for folder in also if splits else (data, *also):
        found = read_yolo(folder, taxonomy, skip_bad, skip_unknown)
        for problem in found.left_out:
            logger.warning("left out: %s", problem)
        for split, samples in found.splits.items():
            splits.setdefault(split, []).extend(samples)
    if splits.get("val"):
        train, val = splits["train"], splits["val"]
    else:
        share = min(VALIDATION_SHARE, MOST_VALIDATED / max(1, len(splits["train"])))
        train, val = split_by_bag(splits["train"], share, 0)
    recipe = recipe or (FROM_BUNDLED if weights else FROM_SCRATCH)
    return train_detector(
        train, val, out, taxonomy, weights=weights, recipe=recipe, resume=resume, name=name, on_progress=on_progress
    )


def train_detector(
    train: Sequence[Sample],
    val: Sequence[Sample],
    out: Path,
    taxonomy: Taxonomy,
    *,
    recipe: DetectorRecipe,
    weights: Path | None = None,
    resume: bool = False,
    name: str | None = None,
    on_progress: OnProgress | None = None,
) -> Path:
    """Trains on samples; see `finetune_detector`. Without `val` the last weights are the best."""
    train, val = ignore_unboxed_classes(train, taxonomy), ignore_unboxed_classes(val[:MOST_VALIDATED], taxonomy)
    if not any(sample.boxes for sample in train):
        raise BadDataset("There is no scan with a box to train the detector on.")
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    labels = _labels([*train, *val], taxonomy)
    started_from = file_sha256(weights) if weights else None
    inputs = [recipe.model_dump(mode="json"), labels, samples_sha256([*train, *val]), len(val), started_from]
    fingerprint = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
    best, onnx_path, checkpoint = out / "best.json", out / "detector.onnx", out / "checkpoint.pt"
    if resume and onnx_path.exists() and (done := (read_json(best) or {}).get("finished")):
        if done != fingerprint:
            raise BadModel(f"{out} holds another training, which has finished. {OTHER_TRAINING}")
        _remove_leftovers(out)
        return onnx_path
    network = (
        DetectorNetwork.from_onnx(weights, labels) if weights else DetectorNetwork.from_scratch(labels, recipe.variant)
    )
    run = _TrainingState(network, recipe, Frames(train, network.labels, max(recipe.sizes), out), fingerprint)
    resumed = resume and checkpoint.exists()
    if resumed:
        run.load(checkpoint)
    else:
        for earlier in (checkpoint, best):
            earlier.unlink(missing_ok=True)
    serving_size = recipe.sizes[-1]
    logger.info(
        "%d scans to train on, %d to pick the best by, %d classes, %d steps of %d scans at %d pixels",
        len(train), len(val), len(network.labels), run.steps, run.batch, serving_size,
    )  # fmt: skip

    def finished() -> bool:
        waited = (run.step - run.best_step) / run.per_epoch
        return run.step >= run.steps or bool(recipe.patience and val and waited >= recipe.patience)

    started = saved = time.monotonic()
    while not finished():
        row: dict[str, Any] = {"loss": run.train_step()}
        if not math.isfinite(row["loss"]):
            raise BadModel(f"The training diverged at step {run.step}; try a lower learning rate.")
        if run.step % run.per_epoch == 0 or run.step == run.steps:
            run.average.export(out / "last.onnx", serving_size, name or out.name)
            score, finer = validate(OnnxDetector.load(out / "last.onnx", taxonomy), val) if val else (0.0, 0.0)
            row |= {"epoch": run.step / run.per_epoch}
            row |= {"map50": score, "map50_95": finer} if val else {}
            if score >= run.best_map or not val:
                run.best_step, run.best_map = run.step, score
                (out / "last.onnx").replace(onnx_path)
                if run.average.variant != "lite0":  # which LibreYOLO does not know
                    run.average.save_for_libreyolo(out / "detector.pt", serving_size)
                write_json(best, {"step": run.step, "map50": score, "map50_95": finer})
        row = {"step": run.step, "seconds": time.monotonic() - started, **row}
        stop = bool(on_progress and on_progress(run.step / run.steps, row))
        if stop or time.monotonic() - saved > CHECKPOINT_SECONDS:
            run.save(checkpoint)
            saved = time.monotonic()
        if stop:
            break
    if run.best_step == 0:  # stopped within the first epoch
        run.average.export(onnx_path, serving_size, name or out.name)
    took = time.monotonic() - started
    passes = run.step / run.per_epoch
    TrainingRecord(method="detector", samples=len(train), epochs=passes, seconds=took, resumed=resumed).write(out)
    if finished():
        if not weights:
            _anchor(onnx_path, out, val, serving_size, name or out.name, taxonomy)
        write_json(best, {**(read_json(best) or {}), "finished": fingerprint})
        _remove_leftovers(out)
    return onnx_path


def _anchor(onnx: Path, out: Path, val: Sequence[Sample], size: int, name: str, taxonomy: Taxonomy) -> None:
    """Anchors the best weights, whichever step they are of; done again after a stop it changes nothing more."""
    network = DetectorNetwork.from_onnx(onnx)
    anchor_confidence(network, val, size, taxonomy)
    network.export(onnx, size, name)
    if network.variant != "lite0":
        network.save_for_libreyolo(out / "detector.pt", size)


def _remove_leftovers(out: Path) -> None:
    for leftover in (out / "checkpoint.pt", out / "last.onnx", *out.glob("frames-*.npy")):
        leftover.unlink(missing_ok=True)


def validate(detector: OnnxDetector, samples: Sequence[Sample]) -> tuple[float, float]:
    """(mAP50, mAP50-95) of the served detector; boxes of classes nobody looked for in a scan do not count."""
    found = [detector.detect(sample.open(), VALIDATION_CONFIDENCE) for sample in samples]
    return map50(*in_labelled_classes(samples, found))


class _TrainingState:
    """One training in progress: everything a checkpoint holds.

    `fingerprint` is a hash of everything its weights follow from.
    """

    def __init__(self, network: DetectorNetwork, recipe: DetectorRecipe, frames: Frames, fingerprint: str) -> None:
        self.network, self.recipe, self.frames, self.fingerprint = network, recipe, frames, fingerprint
        self.average = network.averaged_copy()
        self.network.model.train()
        self.batch = min(recipe.batch, len(frames))
        self.per_epoch = max(1, len(frames) // self.batch)
        self.steps = max(1, round(recipe.epochs * self.per_epoch))
        self.step = 0
        self.best_step, self.best_map = 0, -1.0
        self.repeat_factors = frames.repeat_factors(recipe.rare)
        if recipe.group_balance:
            self.repeat_factors = self.repeat_factors * frames.group_balance()
        # Two or more dimensions: a convolution's weights. Biases and normalisation are not decayed.
        sight = list(network.sight())
        known = {id(parameter) for parameter in sight}
        rest = [p for p in network.model.parameters() if id(p) not in known]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [p for p in part if (p.ndim > 1) == decayed], "rate": rate,
                 "weight_decay": recipe.weight_decay if decayed else 0.0}
                for part, rate in ((rest, 1.0), (sight, SIGHT_RATE)) if part for decayed in (True, False)
            ]
        )  # fmt: skip
        # Without hardware bfloat16 the conversion costs more than it saves.
        self.bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()

    def train_step(self) -> float:
        """Trains one step and returns its loss."""
        recipe, done = self.recipe, self.step / self.steps
        size = recipe.sizes[min(int(done * len(recipe.sizes)), len(recipe.sizes) - 1)]
        epoch, place = divmod(self.step, self.per_epoch)
        # Order and mirroring follow from seed and step alone, so that a resumed run sees what it would have seen.
        rng = np.random.default_rng((recipe.seed, epoch))
        count = len(self.repeat_factors)
        times = np.floor(self.repeat_factors + rng.random(count)).astype(np.int64)
        shown = np.repeat(np.arange(count), times)
        order = rng.permutation(np.resize(shown, max(len(shown), self.per_epoch * self.batch)))
        rows = order[place * self.batch : (place + 1) * self.batch].tolist()
        batch = self.frames.batch(rows, hash((recipe.seed, self.step)) & 0xFFFFFFFF, size, recipe.vary)
        rising = min(1.0, (self.step + 1) / max(1.0, recipe.warmup * self.steps))
        rate = recipe.learning_rate * rising * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["rate"]
        self.network.model.head.use_l1 = done >= 1 - recipe.box_finish
        self.optimizer.zero_grad()
        loss = self.network.loss(batch.images, batch.targets, batch.unlabelled, self.bf16)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.model.parameters(), CLIPPED_NORM)
        self.optimizer.step()
        self.step += 1
        self.average.average_with(self.network, self.step, recipe.average)
        return float(loss.detach())

    def save(self, path: Path) -> None:
        """Writes the checkpoint, whole or not at all."""
        state = {
            "of": self.fingerprint,
            "step": self.step,
            "best_step": self.best_step,
            "best_map": self.best_map,
            "model": self.network.model.state_dict(),
            "average": self.average.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        with atomic_write(path) as part:
            torch.save(state, part)

    def load(self, path: Path) -> None:
        """Restores what `save` wrote."""
        held = torch.load(path, weights_only=True)
        if held.get("of") != self.fingerprint:
            raise BadModel(f"{path} is of another training. {OTHER_TRAINING}")
        self.network.model.load_state_dict(held["model"])
        self.average.model.load_state_dict(held["average"])
        self.optimizer.load_state_dict(held["optimizer"])
        self.step, self.best_step, self.best_map = held["step"], held["best_step"], held["best_map"]


def _labels(samples: Sequence[Sample], taxonomy: Taxonomy) -> list[str]:
    """The classes looked for in any sample, in taxonomy order; all drawn ones where one was looked at for all."""
    names: set[str] = set()
    for sample in samples:
        scope = sample.labelled_classes
        names.update([item.name for item in taxonomy.drawn] if scope is None else scope)
        names.update(box.label for box in sample.boxes)
    return sorted(names, key=taxonomy.rank)
