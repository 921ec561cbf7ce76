"""Rehearses a few steps of a training on this machine and forecasts the whole training from them.

A child process trains on a few of the samples, as the real training would, and reports when each step ended and its
peak memory: `python -m training.plan.rehearsal`.
"""

from __future__ import annotations

import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from training.data.samples import Sample, write_jsonl
from training.data.yolo import read_yolo
from training.plan.estimate import GB, Estimate
from training.recipes.recipe import Recipe
from xray_app.errors import BadDataset, DeskError
from xray_app.simulate.dataset import write_dataset
from xray_app.taxonomy import Taxonomy
from xray_app.types import Method

STEPS = 4
"""Steps an epoch of a rehearsal; its first is slower and is not counted."""


class RehearsalFailed(DeskError):
    """The child process ended without an answer."""

    code = "rehearsal_failed"


@dataclass(frozen=True)
class Course:
    """How a training went: seconds since the process began.

    Attributes:
        steps: when each step ended.
        evaluations: when the loss on the stopping samples was known, of each epoch; empty without such samples.
        ended: when everything was saved.
        peaks: the most bytes that had been resident by each step's end.
        peak_bytes: the same by the very end.
    """

    steps: tuple[float, ...]
    evaluations: tuple[float, ...]
    ended: float
    peaks: tuple[int, ...]
    peak_bytes: int


@dataclass(frozen=True)
class Rehearsal:
    """The course of two epochs of `STEPS` steps, and how many samples were kept for stopping besides."""

    course: Course
    stopping: int


@dataclass(frozen=True)
class Forecast:
    """Wall seconds and peak resident bytes of a training."""

    seconds: float
    peak_bytes: float


def follow(data: Path, recipe: Recipe, method: Method, out: Path, epochs: float) -> Course:
    """Trains in a child process, to the end.

    Raises:
        RehearsalFailed: it did not get there; the message is the child's last line.
    """
    recipe = recipe.model_copy(update={"report_to": "none"})  # figures of a rehearsal are nobody's
    arguments = json.dumps([str(data), recipe.model_dump(mode="json"), method, str(out), epochs])
    environment = {**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    started = time.time()
    child = subprocess.run(
        [sys.executable, "-m", "training.plan.rehearsal", arguments, str(started)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if child.returncode:
        raise RehearsalFailed(f"The rehearsal failed: {(child.stderr.strip().splitlines() or ['no message'])[-1]}")
    course = json.loads(child.stdout.splitlines()[-1])
    return Course(
        tuple(course["steps"]),
        tuple(course["evaluations"]),
        course["ended"],
        tuple(course["peaks"]),
        course["peak_bytes"],
    )


def rehearse(samples: Sequence[Sample], recipe: Recipe, method: Method, folder: Path) -> Rehearsal:
    """Trains two epochs of `STEPS` steps on the first of the samples.

    Raises:
        BadDataset: there are too few samples.
        RehearsalFailed: see `follow`.
    """
    from training.vlm.finetune import split_for_stopping

    wanted = STEPS * recipe.batch * recipe.accumulation
    taken: list[Sample] = []
    for sample in samples:
        taken.append(sample)
        if len(split_for_stopping(taken)[0]) == wanted:
            break
    else:
        raise BadDataset(f"A rehearsal of {STEPS} steps needs {wanted} samples to train on; there are {len(samples)}.")
    write_jsonl(taken, folder / "train.jsonl")
    course = follow(folder / "train.jsonl", recipe, method, folder / "rehearsal", 2)
    return Rehearsal(course, len(taken) - wanted)


def forecast(rehearsal: Rehearsal, recipe: Recipe, trained: int, stopping: int, epochs: float) -> Forecast:
    """What a training takes.

    Args:
        rehearsal: of the same recipe and method.
        recipe: says how many samples a step has.
        trained, stopping: samples of the training: those trained on, and those kept to choose the checkpoint.
        epochs: of the training.
    """
    course = rehearsal.course
    spans = [after - before for before, after in zip(course.steps, course.steps[1:], strict=False)]
    # Later epochs are quicker where features are kept.
    first, later = statistics.fmean(spans[: STEPS - 1]), statistics.fmean(spans[STEPS:])
    a_step = recipe.batch * recipe.accumulation
    between = max(0.0, spans[STEPS - 1] - later)  # the end of an epoch: evaluation and a checkpoint
    if course.evaluations:
        evaluating = course.evaluations[0] - course.steps[STEPS - 1]
        between = max(0.0, between - evaluating)
        evaluating *= stopping / rehearsal.stopping
    else:
        evaluating = stopping * later / a_step / 3  # forward without backward
    start = course.steps[0] - first
    end = course.ended - max(course.steps[-1], *course.evaluations, 0.0)
    steps = -(-trained // a_step)
    seconds = start + steps * (first + (epochs - 1) * later) + epochs * (evaluating + between) + end
    return Forecast(seconds, peak_after(course, max(1, int(epochs * steps))))


def peak_after(course: Course, steps: int) -> float:
    """Bytes resident at most in so many steps, from the peaks of fewer.

    The C library's heap frays where batches are of many sizes: the peak goes on rising, about as much with every
    doubling of the steps (measured up to 39 of them). A fixed MALLOC_MMAP_THRESHOLD_ would lower it, LoRA's by an
    eighth, QLoRA's by a quarter, for a fifth more time. The first step is left out: the optimiser's moments only come
    with it.
    """
    last = len(course.peaks)
    if last < 4:
        return course.peak_bytes
    a_doubling = (course.peaks[-1] - course.peaks[1]) / math.log2(last / 2)
    return course.peak_bytes + a_doubling * max(0.0, math.log2(steps / last))


def measured_here(
    recipe: Recipe, method: Method, images: int, epochs: float, taxonomy: Taxonomy, samples: Sequence[Sample] = ()
) -> Estimate:
    """This machine's row of the plan, by a rehearsal.

    Args:
        recipe: base and settings.
        method: lora, qlora or full.
        images: labelled scans; the recipe's replay comes on top.
        epochs: of the training.
        taxonomy: names the classes of simulated scans.
        samples: to rehearse with; without them, simulated scans.

    Raises:
        BadDataset: there are too few samples.
        RehearsalFailed: see `follow`.
    """
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as name:
        folder = Path(name)
        if not samples:
            count = STEPS * recipe.batch * recipe.accumulation * 5 // 4 + 10
            write_dataset(folder / "scans", count, 0, taxonomy, 0.5, (0, 8), 1)
            samples = read_yolo(folder / "scans", taxonomy).splits["train"]
        rehearsal = rehearse(samples, recipe, method, folder)
    shown = images + recipe.replayed(images)
    expected = forecast(rehearsal, recipe, shown - shown // 10, shown // 10, epochs)
    free = psutil.virtual_memory().available
    note = f"measured over {2 * STEPS} steps; {free / GB:.0f} GB free"
    return Estimate(
        "this machine", expected.peak_bytes / GB, expected.seconds / 3600, None, expected.peak_bytes <= free, note
    )


def main() -> None:
    """The child: trains, and prints its course as one line of JSON."""
    from training.vlm.finetune import finetune

    data, recipe, method, out, epochs = json.loads(sys.argv[1])
    began = float(sys.argv[2])
    steps: list[float] = []
    evaluations: list[float] = []
    peaks: list[int] = []

    def on_progress(done: float, figures: dict[str, float]) -> bool:
        if figures["step"] > len(steps):
            steps.append(time.time() - began)
            peaks.append(peak_bytes())
        if "stopping_loss" in figures:
            evaluations.append(time.time() - began)
        return False

    finetune(Path(data), Recipe(**recipe), method, Path(out), epochs=epochs, on_progress=on_progress)
    course = Course(tuple(steps), tuple(evaluations), time.time() - began, tuple(peaks), peak_bytes())
    print(json.dumps(asdict(course)))


def peak_bytes() -> int:
    """The most of this process that was ever resident."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
