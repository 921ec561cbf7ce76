"""The examination of a candidate: measured against the model in use on both hold-outs, then judged by the gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from training.data.groups import bag_groups
from training.data.samples import Sample, with_full_instruction
from training.evaluation.evaluate import Progress
from training.promotion.gate import HoldoutResult, run_gate
from training.promotion.holdout import (
    Holdout,
    answers_differ,
    detections_differ,
    measure_detector,
    measure_vlm,
    simulated_holdout,
)
from training.promotion.registry import WEIGHTS, Manifest, new_manifest
from xray_app.detector.load import load_detector
from xray_app.detector.onnx import OnnxDetector
from xray_app.errors import BadModel
from xray_app.settings import Settings
from xray_app.store import adapters
from xray_app.store.database import Database
from xray_app.taxonomy import SiteRules
from xray_app.types import RunMetrics
from xray_app.vlm.kept_answers import KEPT, KeptAnswer, keep_answers
from xray_app.vlm.local import LocalVlm
from xray_app.vlm.pictures import picture_limits

DRAWN = 0.05
"""Share of an examination after which the simulated bags are drawn, where they have to be."""
OnShare = Callable[[float], None]
"""Called with the share done, 0 to 1; raises Stopped when the work is to stop."""


class Examined(NamedTuple):
    """What the examination of an adapter gives.

    Attributes:
        manifest: with the gate's word.
        pictures: the scans of the kept answers, PNG files by their SHA-256.
    """

    manifest: Manifest
    pictures: Mapping[str, bytes]


def examine_adapter(
    db: Database,
    settings: Settings,
    vlm: LocalVlm,
    candidate: Path,
    adapter_id: str,
    site: Sequence[Sample],
    rules: SiteRules,
    on_share: OnShare,
) -> Examined:
    """Measures an adapter against the active one on both hold-outs and asks the gate.

    One that is active itself, on trial, is measured against what was in use before it.

    Args:
        db: keeps figures, so that the active model's are not measured again.
        settings: say where the simulated hold-out lies.
        vlm: the base model the candidate belongs to.
        candidate: its PEFT folder.
        adapter_id: the id it will be registered under; its figures are kept under it.
        site: the site's held-out samples; they are asked for everything, as the desk asks, and scored on
            what was looked for.
        rules: read the answers; the policy sets threshold, margin and budget.
        on_share: called as it goes.

    Returns:
        Its manifest: figures, every check, its answers to a few scans, and the base it belongs to; and those scans.
    """
    active = adapters.active(db, "vlm-adapter", vlm.weights_sha256, besides=adapter_id)
    holdout = _holdout(settings, site, rules, on_share)

    def key(adapter: str) -> str:
        # Asked in other words, or held to a grammar, it answers otherwise.
        told = "" if vlm.knows_form or adapter != "base" else ":held" if vlm.held else ":told"
        return f"{vlm.weights_sha256}:{settings.vlm_dtype}:{adapter}{told}"

    def measure_active(progress: Progress) -> HoldoutResult:
        vlm.use_adapter(adapters.folder(db, active.id) if active else None)
        return measure_vlm(vlm, holdout, key(active.id if active else "base"), db, rules, progress)

    def measure_candidate(progress: Progress) -> tuple[bool, HoldoutResult]:
        differ = answers_differ(vlm, candidate, _probe(holdout))
        progress(0, 1)
        measured = measure_vlm(vlm, holdout, key(adapter_id), db, rules, progress)
        few = [*holdout.site[: KEPT // 2], *holdout.simulated][:KEPT]
        answers, found = keep_answers(vlm, [one.open() for one in few], [one.instruction for one in few])
        kept.extend(answers)
        pictures.update(found)
        return differ, measured

    kept: list[KeptAnswer] = []
    pictures: dict[str, bytes] = {}
    manifest = partial(
        new_manifest,
        id=adapter_id,
        kind="vlm-adapter",
        base=vlm.name,
        base_sha256=vlm.weights_sha256,
        image_size=picture_limits(vlm.processor),
    )
    examined = _examine(measure_active, measure_candidate, manifest, holdout, rules, on_share)
    return Examined(examined.model_copy(update={"probe": tuple(kept)}), pictures)


def examine_detector(
    db: Database,
    settings: Settings,
    candidate: Path,
    adapter_id: str,
    site: Sequence[Sample],
    rules: SiteRules,
    on_share: OnShare,
) -> Manifest:
    """Measures a detector against the one in use on both hold-outs and asks the gate; see `examine_adapter`.

    Args:
        db: keeps figures, so that those of the detector in use are not measured again.
        settings: name the base detector and say where the simulated hold-out lies.
        candidate: a folder with `detector.onnx`.
        adapter_id: the id it will be registered under.
        site: the site's held-out samples.
        rules: name the classes; the policy sets threshold, margin and budget.
        on_share: called as it goes.

    Returns:
        Its manifest: figures, every check, and the base it belongs to.
    """
    base = load_detector(settings, rules.taxonomy)
    active = adapters.active(db, "detector", base.sha256, besides=adapter_id)
    in_use = base if active is None else _load(adapters.folder(db, active.id), rules)
    holdout = _holdout(settings, site, rules, on_share)

    def measure_active(progress: Progress) -> HoldoutResult:
        return measure_detector(in_use, holdout, db, rules, progress)

    def measure_candidate(progress: Progress) -> tuple[bool, HoldoutResult]:
        detector = _load(candidate, rules)
        differ = detections_differ(base, detector, _probe(holdout))
        return differ, measure_detector(detector, holdout, db, rules, progress)

    manifest = partial(new_manifest, id=adapter_id, kind="detector", base=base.name, base_sha256=base.sha256)
    return _examine(measure_active, measure_candidate, manifest, holdout, rules, on_share)


def _examine(
    measure_active: Callable[[Progress], HoldoutResult],
    measure_candidate: Callable[[Progress], tuple[bool, HoldoutResult]],
    manifest: Callable[..., Manifest],
    holdout: Holdout,
    rules: SiteRules,
    on_share: OnShare,
) -> Manifest:
    """The examination of either kind. A candidate that does not load is refused.

    Args:
        measure_active: measures the model in use.
        measure_candidate: also says whether the candidate answers differently from its base; raises BadModel where it
            does not load.
        manifest: makes the manifest of the rest.
        holdout: both halves.
        rules: the policy sets threshold, margin and budget.
        on_share: called as it goes.
    """

    def stage(start: float, end: float) -> Progress:
        return lambda done, total: on_share(start + (end - start) * done / max(total, 1))

    active = measure_active(stage(DRAWN, 0.5))
    problem, differ, candidate = None, False, None
    try:
        differ, candidate = measure_candidate(stage(0.5, 1.0))
    except BadModel as error:
        problem = error.message
    return manifest(
        taxonomy_sha256=rules.taxonomy.sha256,
        holdouts={"simulated": holdout.simulated_sha256, "site": holdout.site_sha256},
        metrics=RunMetrics(active=active.metrics(), candidate=candidate.metrics() if candidate else None),
        gate=run_gate(active, candidate, rules.policy, differ, problem, bag_groups(holdout.site)),
    )


def _holdout(settings: Settings, site: Sequence[Sample], rules: SiteRules, on_share: OnShare) -> Holdout:
    def drawing(done: int, total: int) -> None:
        on_share(DRAWN * done / total)

    folder = settings.data_dir.resolve()
    simulated = simulated_holdout(folder, rules.taxonomy, settings.simulated_bags, progress=drawing)
    return Holdout.of(simulated, with_full_instruction(site), rules)


def _probe(holdout: Holdout) -> list[Sample]:
    """Scans to compare a candidate's answers with the base model's on."""
    return [*holdout.site[:16], *holdout.simulated]


def _load(folder: Path, rules: SiteRules) -> OnnxDetector:
    return OnnxDetector.load(folder / WEIGHTS["detector"], rules.taxonomy)
