"""Writing simulated scans as a YOLO data set."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from xray_app.errors import BadInput
from xray_app.simulate.belt import Conditions
from xray_app.simulate.scene import Kind, simulate_scan
from xray_app.taxonomy import Taxonomy


def scan_seed(seed: int, index: int) -> int:
    """The seed of one scan of a set: independent of how the work is shared out."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0])


def write_dataset(
    out: Path,
    count: int,
    seed: int,
    taxonomy: Taxonomy,
    threat_rate: float | None = 0.5,
    items: tuple[int, int] = (0, 8),
    workers: int | None = None,
    on_progress: Callable[[int], None] | None = None,
    *,
    kind: Kind = "tidy",
    like: Sequence[Conditions] = (),
) -> None:
    """Write `count` scans as images/train, labels/train and data.yaml under `out`.

    The same arguments give the same bytes whatever the number of `workers` (default: one a core). Files are named
    by seed and number: a scan's bag is its file's stem, and two sets are to share none. A `threat_rate` of None is
    exactly half: every other bag holds a threat. `kind` and `like` are those of `simulate_scan`.

    Raises:
        ValueError: a negative count, or `items` is not an ascending pair of counts.
        BadInput: there are scans in `out` already.
    """
    if count < 0:
        raise ValueError(f"count must not be negative, not {count}")
    if (out / "images/train").is_dir() and any((out / "images/train").iterdir()):
        raise BadInput(f"{out / 'images/train'} holds scans already, and two sets must not mix. Use another --out.")
    for folder in ("images/train", "labels/train"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    names = [c.name for c in taxonomy.drawn]
    lines = [f"path: {json.dumps(str(out.resolve()))}", "train: images/train", "names:"]
    lines += [f"  {i}: {json.dumps(name)}" for i, name in enumerate(names)]
    (out / "data.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write = partial(_write_scan, out, seed, taxonomy, threat_rate, items, kind, tuple(like))
    workers = min(workers or os.cpu_count() or 1, max(1, count // 8))
    if workers == 1:
        for done, index in enumerate(range(count), 1):
            write(index)
            if on_progress:
                on_progress(done)
        return
    # Spawned, not forked: the caller may hold threads (torch, the web server).
    with get_context("spawn").Pool(workers) as pool:
        for done, _ in enumerate(pool.imap_unordered(write, range(count), chunksize=8), 1):
            if on_progress:
                on_progress(done)


def _write_scan(
    out: Path,
    seed: int,
    taxonomy: Taxonomy,
    threat_rate: float | None,
    items: tuple[int, int],
    kind: Kind,
    like: tuple[Conditions, ...],
    index: int,
) -> None:
    rate = float(index % 2) if threat_rate is None else threat_rate
    scan = simulate_scan(scan_seed(seed, index), taxonomy, items=items, threat_rate=rate, kind=kind, like=like)
    width, height = scan.image.size
    numbers = {c.name: i for i, c in enumerate(taxonomy.drawn)}
    lines = []
    for label, (x0, y0, x1, y1) in scan.boxes:
        values = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height)
        lines.append(f"{numbers[label]} " + " ".join(f"{v:.6f}" for v in values))
    name = f"{seed}-{index:06d}"
    scan.image.save(out / "images" / "train" / f"{name}.jpg", quality=scan.quality)
    text = "".join(line + "\n" for line in lines)
    (out / "labels" / "train" / f"{name}.txt").write_text(text, encoding="utf-8")
