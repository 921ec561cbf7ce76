"""What the desk counts of itself, as Prometheus asks for it; `/metrics` serves it."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from xray_app.types import Analysis, RunStatus

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 30.0, 60.0)
REQUESTS = Histogram(
    "xray_request_seconds", "Requests by route and status.", ("method", "route", "status"),
    registry=REGISTRY, buckets=_SECONDS,
)  # fmt: skip
_STAGES = Histogram(
    "xray_stage_seconds", "An analysis by stage: vlm, detector, and both, which overlap.", ("stage",),
    registry=REGISTRY, buckets=_SECONDS,
)  # fmt: skip
_BATCHES = Histogram(
    "xray_batch_scans", "Scans answered together.", registry=REGISTRY, buckets=(1, 2, 4, 8, 16, 32, 64)
)
WAITING = Gauge("xray_waiting_scans", "Scans that wait for the models or are with them.", registry=REGISTRY)
_PASSES = Counter("xray_vlm_passes", "Forward passes that local answers took.", registry=REGISTRY)
_TOKENS = Counter(
    "xray_vlm_tokens", "Tokens of local answers; those beyond the passes were drafted rightly.", registry=REGISTRY
)
_MODELS = Gauge("xray_models", "What answered last.", ("vlm", "adapter", "detector"), registry=REGISTRY)
_RUNS = Gauge("xray_training_runs", "Training runs that wait or are at work.", ("status",), registry=REGISTRY)
_DISK = Gauge("xray_disk_free_bytes", "Free on the disk of the data folder.", registry=REGISTRY)
_UNFINISHED: tuple[RunStatus, ...] = ("queued", "running")


def batch_done(analyses: Sequence[Analysis], tokens: int, passes: int) -> None:
    """Counts a batch.

    Args:
        analyses: of one or more scans, by the same models.
        tokens: of all its answers, where the VLM is local.
        passes: that they took.
    """
    _BATCHES.observe(len(analyses))
    _TOKENS.inc(tokens)
    _PASSES.inc(passes)
    for one in analyses:
        for stage in ("vlm", "detector", "total"):
            _STAGES.labels(stage).observe(getattr(one.timings_ms, stage) / 1000)
    models = analyses[-1].models
    _MODELS.clear()
    _MODELS.labels(models.vlm.name, models.vlm.adapter or "", models.detector.name).set(1)


def exposition(unfinished: Sequence[RunStatus], disk_free: int) -> bytes:
    """All of it in Prometheus' text format.

    Args:
        unfinished: status of each training run that has not ended.
        disk_free: bytes on the disk of the data folder.
    """
    for status in _UNFINISHED:
        _RUNS.labels(status).set(unfinished.count(status))
    _DISK.set(disk_free)
    return generate_latest(REGISTRY)
