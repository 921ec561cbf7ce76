"""The frozen hold-out: simulated bags of a fixed seed, and the site's own held-out bags."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from training.data.samples import Sample
from training.data.snapshot import samples_sha256
from training.data.yolo import read_yolo
from training.evaluation.bag_table import BagTable
from training.evaluation.evaluate import BATCH, Progress, evaluate_detector, evaluate_vlm
from training.evaluation.map_interval import MapDraws
from training.evaluation.mean_average_precision import ignore_unboxed_classes, in_labelled_classes
from training.promotion.gate import HoldoutResult
from xray_app import simulate
from xray_app.detector.base import Detection, Detector
from xray_app.simulate.dataset import write_dataset
from xray_app.store import holdout_figures
from xray_app.store.database import Database
from xray_app.taxonomy import SiteRules, Taxonomy
from xray_app.vlm.base import Answer, Vlm
from xray_app.vlm.local import LocalVlm

SIMULATED_SEED = 770_001
SIMULATED_ITEMS = (0, 6)
MEASURED_AS = 3
"""Raised when the way of measuring changes, so that kept figures of the old way are not compared."""
PROBE = 32
"""Scans whose answers are compared with the base model's."""
SAME_PROBABILITY = 1e-4
"""Probabilities nearer than this are rounding, not learning."""
SAME_PIXELS = 0.1
Figures = TypeVar("Figures")


@dataclass(frozen=True)
class Holdout:
    """Held-out samples and the hashes their figures are kept under.

    Attributes:
        simulated, site: the samples of both halves.
        simulated_sha256, site_sha256: of the samples and what their figures rest on.
        simulated_old, site_old: the same by the whole taxonomy file, under which figures were kept before.
    """

    simulated: tuple[Sample, ...]
    site: tuple[Sample, ...]
    simulated_sha256: str
    site_sha256: str
    simulated_old: str = ""
    site_old: str = ""

    @classmethod
    def of(cls, simulated: Sequence[Sample], site: Sequence[Sample], rules: SiteRules) -> Holdout:
        """The hashes cover pictures, labels, and what decides whether a bag counts as flagged."""
        now, before = [rules.measured_sha256], [rules.taxonomy.sha256, rules.policy.name]
        held_out = [samples_sha256(simulated), samples_sha256(site)]
        keys = [
            hashlib.sha256("\n".join([samples, *rests_on, str(MEASURED_AS)]).encode()).hexdigest()
            for rests_on in (now, before)
            for samples in held_out
        ]
        return cls(tuple(simulated), tuple(site), *keys)


def simulated_holdout(
    data_dir: Path,
    taxonomy: Taxonomy,
    count: int,
    seed: int = SIMULATED_SEED,
    workers: int | None = 1,
    progress: Progress = lambda done, total: None,
) -> list[Sample]:
    """The simulated half, every other bag with a threat, written once under `data_dir/holdout/` and read back after.

    The folder is named by everything its bytes follow from, the simulator's own code included; a new
    simulator makes a new hold-out instead of silently mixing two. One named by today's whole taxonomy file, as was
    done before, is taken as it is. `progress` is called as bags are drawn; it raises to stop.
    """

    def named(taxonomy_sha256: str) -> Path:
        facts = [count, seed, SIMULATED_ITEMS, "half", taxonomy_sha256, _simulator_sha256()]
        return data_dir / "holdout" / hashlib.sha256("\n".join(map(str, facts)).encode()).hexdigest()[:32]

    folder, before = named(taxonomy.classes_sha256), named(taxonomy.sha256)
    if not (folder / "data.yaml").is_file() and (before / "data.yaml").is_file():
        folder = before
    if not (folder / "data.yaml").is_file():
        part = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}.part")
        try:
            write_dataset(
                part, count, seed, taxonomy, None, SIMULATED_ITEMS, workers, lambda done: progress(done, count)
            )
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        try:
            part.rename(folder)
        except OSError:  # somebody else finished the same one first
            shutil.rmtree(part, ignore_errors=True)
    return list(read_yolo(folder, taxonomy).splits["train"])


def _simulator_sha256() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(next(iter(simulate.__path__))).glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def measure_vlm(
    vlm: Vlm,
    holdout: Holdout,
    model_key: str,
    db: Database,
    rules: SiteRules,
    progress: Progress,
    batch: int = BATCH,
) -> HoldoutResult:
    """Measures the model as it answers now, or gives the figures kept from the last time.

    Args:
        vlm: already answering with the adapter that `model_key` names.
        holdout: both halves.
        model_key: base weights, precision and adapter.
        db: where figures are kept, per hold-out hash and model.
        rules: read the answers; the policy's threshold flags a bag.
        progress: called after every batch; raises to stop.
        batch: scans answered at a time.
    """

    def evaluate(samples: Sequence[Sample], on_batch: Progress) -> BagTable:
        return BagTable.of(evaluate_vlm(vlm, samples, rules.taxonomy, batch, on_batch).outcomes, rules)

    kept = _Kept(db, model_key, BagTable.to_json, BagTable.from_json)
    return HoldoutResult(*_both_halves(holdout, kept, evaluate, progress))


def measure_detector(
    detector: Detector,
    holdout: Holdout,
    db: Database,
    rules: SiteRules,
    progress: Progress,
) -> HoldoutResult:
    """Measures a detector on the same bags, or gives the figures kept for its file from the last time.

    An item listed without a box is not scored as one the detector should have found; as an item it counts.
    """

    def evaluate(samples: Sequence[Sample], on_batch: Progress) -> tuple[BagTable, MapDraws]:
        seen = evaluate_detector(detector, samples, rules.taxonomy, on_batch)
        drawn = in_labelled_classes(ignore_unboxed_classes(samples, rules.taxonomy), seen.detections)
        return BagTable.of(seen.outcomes, rules), MapDraws.of(*drawn, [sample.bag_id for sample in samples])

    kept = _Kept(db, f"detector:{detector.sha256}", _boxes_to_json, _boxes_from_json)
    (simulated, simulated_map), (site, site_map) = _both_halves(holdout, kept, evaluate, progress)
    return HoldoutResult(simulated, site, simulated_map, site_map)


def _boxes_to_json(figures: tuple[BagTable, MapDraws]) -> dict[str, Any]:
    table, boxes = figures
    return {"table": table.to_json(), "boxes": boxes.boxes, "map50": boxes.map50, "draws": boxes.draws.tolist()}


def _boxes_from_json(values: Mapping[str, Any]) -> tuple[BagTable, MapDraws]:
    boxes = MapDraws(int(values["boxes"]), values["map50"], np.asarray(values["draws"], np.float64))
    return BagTable.from_json(values["table"]), boxes


@dataclass(frozen=True)
class _Kept(Generic[Figures]):
    """Figures of one model in the database, by the hash of the bags they are of.

    Attributes:
        db: holds them.
        model_key: names the model.
        to_json, from_json: their stored form, both ways.
    """

    db: Database
    model_key: str
    to_json: Callable[[Figures], Mapping[str, Any]]
    from_json: Callable[[Mapping[str, Any]], Figures]

    def read(self, sha256: str) -> Figures | None:
        document = holdout_figures.get(self.db, sha256, self.model_key)
        if document is None:
            return None
        try:
            return self.from_json(json.loads(document))
        except (KeyError, TypeError, ValueError):
            return None  # kept by another version: measured again

    def write(self, sha256: str, figures: Figures) -> None:
        holdout_figures.put(self.db, sha256, self.model_key, json.dumps(self.to_json(figures)))


def _both_halves(
    holdout: Holdout,
    kept: _Kept[Figures],
    evaluate: Callable[[Sequence[Sample], Progress], Figures],
    progress: Progress,
) -> tuple[Figures, Figures]:
    """Figures of the simulated and of the site's bags, kept ones where there are any; `progress` counts both."""
    total = len(holdout.simulated) + len(holdout.site)

    def half(samples: Sequence[Sample], sha256: str, old: str, before: int) -> Figures:
        figures = kept.read(sha256)
        if figures is None and (figures := kept.read(old)) is not None:
            kept.write(sha256, figures)  # so that they outlast the next new alias
        if figures is None:
            figures = evaluate(samples, lambda finished, _: progress(before + finished, total))
            if samples:
                kept.write(sha256, figures)
        progress(before + len(samples), total)
        return figures

    simulated = half(holdout.simulated, holdout.simulated_sha256, holdout.simulated_old, 0)
    return simulated, half(holdout.site, holdout.site_sha256, holdout.site_old, len(holdout.simulated))


def detections_differ(one: Detector, other: Detector, samples: Sequence[Sample]) -> bool:
    """Whether two detectors draw any box differently, or with another confidence, on a few scans."""
    images = [sample.open() for sample in samples[:PROBE]]
    return any(
        len(first := one.detect(image)) != len(second := other.detect(image))
        or any(_box_differs(a, b) for a, b in zip(first, second, strict=True))
        for image in images
    )


def _box_differs(one: Detection, other: Detection) -> bool:
    if one.label != other.label or abs(one.confidence - other.confidence) > SAME_PROBABILITY:
        return True
    return any(abs(a - b) > SAME_PIXELS for a, b in zip(one.xyxy, other.xyxy, strict=True))


def answers_differ(vlm: LocalVlm, adapter: Path, samples: Sequence[Sample], batch: int = BATCH) -> bool:
    """Whether the adapter changes any answer, or any token's probability, on a few scans.

    Leaves the model answering with the adapter.

    Raises:
        BadModel: the adapter does not load cleanly.
    """
    few = samples[:PROBE]
    images, instructions = [sample.open() for sample in few], [sample.instruction for sample in few]

    def ask() -> list[Answer]:
        answers = []
        for start in range(0, len(few), batch):
            answers += vlm.answer(images[start : start + batch], instructions[start : start + batch])
        return answers

    vlm.use_adapter(None)
    # In the adapter's words: told the form, the base would answer otherwise than an adapter that changes nothing.
    form, vlm.form = vlm.form, None
    try:
        base = ask()
    finally:
        vlm.form = form
    vlm.use_adapter(adapter)
    return any(_differ(one, other) for one, other in zip(base, ask(), strict=True))


def _differ(one: Answer, other: Answer) -> bool:
    if one.text != other.text or len(one.spans) != len(other.spans):
        return True
    return any(abs(p - q) > SAME_PROBABILITY for (_, _, p), (_, _, q) in zip(one.spans, other.spans, strict=True))
