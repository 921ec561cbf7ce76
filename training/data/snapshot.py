"""Freezes what a run trains on: pictures and samples are kept under the run's folder, each with its hash."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from training.data.json_file import read_json, write_json
from training.data.samples import Sample, SampleBox, file_sha256, make_sample, read_jsonl, write_jsonl
from training.recipes.recipe import Recipe
from xray_app.atomic_write import atomic_write
from xray_app.errors import BadDataset
from xray_app.simulate.scene import simulate_scan
from xray_app.taxonomy import Taxonomy

REPLAY_SEED = 5_300_000_000
"""Far from the seeds of hold-out and bundled training data, so that replay repeats neither."""
REPLAY_ITEMS = (0, 6)
HASHES = "snapshot.json"
"""Holds the hash of the whole and of every sample."""
SCOPE_SIZES = (2, 8)
"""Classes named by a random "Report only" instruction, both ends included."""


def sample_sha256(sample: Sample) -> str:
    """Hash of picture and labels; where the picture lies and which group it is of do not matter: neither is learned."""
    line = sample.model_dump(mode="json", exclude={"image", "group"})
    line["image_sha256"] = file_sha256(sample.image)
    return hashlib.sha256(json.dumps(line, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def samples_sha256(samples: Sequence[Sample]) -> str:
    """Hash of a set of samples in their order."""
    return _joint_sha256([sample_sha256(sample) for sample in samples])


def _joint_sha256(hashes: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def snapshot(samples: Sequence[Sample], out: Path, source_sha256: str | None = None) -> str:
    """Freezes samples as `out/train.jsonl` with their pictures beside it; returns the hash of the whole.

    Pictures are hard links where the file system allows, else copies: stored scans are never written to
    again. `out/snapshot.json` lists the hash of every sample, so that any difference can be named.

    Args:
        samples: what to freeze, in this order.
        out: the snapshot's folder.
        source_sha256: kept beside it, where only a part of the samples is somebody's own (see `with_replay`).

    Raises:
        BadDataset: a picture is missing.
    """
    images = out / "images"
    images.mkdir(parents=True, exist_ok=True)
    frozen, hashes = [], []
    for sample in samples:
        try:
            target = images / f"{file_sha256(sample.image)}{sample.image.suffix.lower()}"
            if not target.exists():
                _link(sample.image, target)
            hashes.append(sample_sha256(sample))
        except FileNotFoundError as error:
            raise BadDataset(f"{sample.image}: the picture is gone, so it cannot be trained on") from error
        frozen.append(sample.model_copy(update={"image": target}))
    write_jsonl(frozen, out / "train.jsonl")
    whole = _joint_sha256(hashes)
    source = {} if source_sha256 is None else {"source_sha256": source_sha256}
    write_json(out / HASHES, {"sha256": whole, **source, "samples": hashes})
    return whole


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        with atomic_write(target) as part:
            shutil.copyfile(source, part)


def replay(count: int, out: Path, taxonomy: Taxonomy, seed: int = REPLAY_SEED) -> list[Sample]:
    """Simulated scans to train on beside corrections, so that what was learned before is not lost.

    Half are asked for everything, half for a few random classes ("Report only: …"), of which some are not
    there: both kinds of instruction stay known, and what one teaches shows in the other.

    Args:
        count: scans to simulate.
        out: folder for the pictures, made if needed.
        taxonomy: its drawn classes are simulated.
        seed: the same seed gives the same scans and scopes.
    """
    out.mkdir(parents=True, exist_ok=True)
    samples = []
    for index in range(count):
        scan = simulate_scan(seed + index, taxonomy, items=REPLAY_ITEMS)
        path = out / f"replay_{seed + index}.jpg"
        scan.image.save(path, quality=scan.quality)
        there = Counter(label for label, _ in scan.boxes)
        scope = None
        if index % 2:
            scope = random_scope(tuple(there), taxonomy, random.Random(seed + index))
        boxes = [SampleBox(label=label, xyxy=xyxy) for label, xyxy in scan.boxes]
        samples.append(make_sample(path, scan.image.size, there, boxes, scope, path.stem, taxonomy))
    return samples


def with_replay(data: Path, recipe: Recipe, out: Path, taxonomy: Taxonomy, resume: bool = False) -> None:
    """Freezes the samples of a `train.jsonl` and the recipe's replay in `out`, as a run of the desk does with
    corrections.

    Args:
        data: the file.
        recipe: says how much is replayed.
        out: the snapshot's folder.
        taxonomy: its drawn classes are simulated.
        resume: keep the snapshot that is there, which must be of these samples.

    Raises:
        BadDataset: the file is missing or wrong, or a picture is; or the snapshot is of other samples.
    """
    samples = read_jsonl(data)
    source = samples_sha256(samples)
    before = read_json(out / HASHES) if resume else None
    if before is not None:
        if before.get("source_sha256", source) != source:
            raise BadDataset(f"{out} was made from other samples than {data}. Resume with those, or use another --out.")
        return
    with tempfile.TemporaryDirectory() as folder:
        snapshot([*samples, *replay(recipe.replayed(len(samples)), Path(folder), taxonomy)], out, source)


def random_scope(there: Sequence[str], taxonomy: Taxonomy, rng: random.Random) -> tuple[str, ...]:
    """Two to eight drawn classes in rank order: a random part of those `there`, the rest absent ones.

    The part may be empty, so that "none" is a right answer too.
    """
    drawn = [item.name for item in taxonomy.drawn]
    size = min(rng.randint(*SCOPE_SIZES), len(drawn))
    present = list(dict.fromkeys(there))
    chosen = rng.sample(present, rng.randint(0, min(len(present), size - 1)))
    absent = [name for name in drawn if name not in present]
    chosen += rng.sample(absent, min(size - len(chosen), len(absent)))
    return tuple(sorted(chosen, key=taxonomy.rank))
