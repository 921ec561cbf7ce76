"""Exports and imports at work in this process, so that the page can show and stop them."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from uuid import uuid4

from xray_app.exchange.export import Progress

KEPT = 50

JobKind = Literal["export", "import"]


@dataclass(frozen=True)
class Job:
    """One export or import of somebody's.

    Attributes:
        id, kind, who: which, and whose.
        progress: how far it is.
        result: what to say when it has ended well.
        news: what is different at this desk from now on, whatever comes of the job.
        lost: what to say in red: boxes were left out.
        unknown: labels nobody knows, and what each is offered to become ("" without an offer).
        kept: the upload that waits until somebody has said what these are.
    """

    id: str
    kind: JobKind
    who: str
    progress: Progress
    result: list[str] = field(default_factory=list)
    news: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)
    kept: list[Path] = field(default_factory=list)


class Jobs:
    """The last few jobs, by id; used from any thread."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()

    def start(self, kind: JobKind, who: str) -> Job:
        """A new job; of those that have ended the oldest are forgotten."""
        job = Job(uuid4().hex, kind, who, Progress())
        with self._lock:
            self._jobs[job.id] = job
            ended = [one.id for one in self._jobs.values() if one.progress.ended]
            for id in ended[: max(0, len(self._jobs) - KEPT)]:
                del self._jobs[id]
        return job

    def find(self, id: object, who: str) -> Job | None:
        """A job of this user's, None where there is none."""
        with self._lock:
            job = self._jobs.get(id) if isinstance(id, str) else None
        return job if job is not None and job.who == who else None

    def at_work(self, kind: JobKind, who: str | None = None) -> Job | None:
        """A job of this kind that has not ended: this user's, or with None whoever's."""
        with self._lock:
            of_kind = [one for one in self._jobs.values() if one.kind == kind and not one.progress.ended]
        return next((one for one in of_kind if who in (None, one.who)), None)

    def stop_all(self, seconds: float) -> None:
        """Stops all that is at work and waits a little for it, so that a server that ends leaves nothing unpacked."""
        with self._lock:
            at_work = [one.progress for one in self._jobs.values() if not one.progress.ended]
        for progress in at_work:
            progress.stop.set()
        until = time.monotonic() + seconds
        while time.monotonic() < until and not all(progress.ended for progress in at_work):
            time.sleep(0.05)
