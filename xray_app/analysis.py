"""The Analyser: a scan in, an analysis by both models out. No web, no database."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from PIL.Image import Image

from xray_app import metrics
from xray_app.detector.base import Detection, Detector
from xray_app.detector.onnx import OnnxDetector
from xray_app.dynamic_batch import DynamicBatch
from xray_app.errors import Busy, OutOfMemory, is_out_of_memory
from xray_app.overlap import iou
from xray_app.report import instruction
from xray_app.report_draft import DetectorDraft
from xray_app.risk import agree, assess
from xray_app.scan.read import Scan
from xray_app.taxonomy import SiteRules, Taxonomy, prohibited_labels
from xray_app.threat_score import (
    DETECTOR_FLOOR,
    Thresholds,
    detector_evidence,
    pair_key,
    rests_on,
    threat_score,
    vlm_evidence,
)
from xray_app.types import (
    Analysis,
    Box,
    DetectorFacts,
    ModelFacts,
    Report,
    ScanFacts,
    Status,
    Timings,
    VlmFacts,
)
from xray_app.vlm.base import Answer, Vlm
from xray_app.vlm.reading import read_answer, read_boxes

logger = logging.getLogger(__name__)

# Boxes of allowed classes below this are noise on the screen; others are kept down to the policy's lower
# threshold, from which on they count, because a missed knife costs more than a spare box.
DISPLAY_CONFIDENCE = 0.25
SAME_PLACE = 0.5
"""Intersection over union from which two boxes of one class are of one thing."""
BATCH = 32
"""Scans worth answering together: past it a CPU gains little, and a GPU runs out of memory."""
WAITING_BATCH = 8
"""Scans of different people that are answered together, once the models come free: each waits for the slowest."""
TOGETHER_PIXELS = 16_000_000
"""Of the pictures of one batch of waiting scans: what the models make of a large one is held for all at a time."""
DETECTING = 2
"""Scans of a batch that the detector looks at at the same time."""
DETECTOR_FILE = "detector.onnx"
"""In the folder of a registered detector."""


@dataclass(frozen=True)
class ActiveAdapter:
    """The adapter (or detector) the next answer is to be given with, perhaps on trial."""

    id: str
    folder: Path
    trial: bool = field(default=False, compare=False)  # a trial that ends needs no switching


_UNKNOWN = ActiveAdapter("", Path())
"""In use while switching, and after a switch that failed: no adapter is this one, so the next answer switches again."""


class Validated(Protocol):
    """Says whether what an answer rests on (`threat_score.rests_on`) is on record as validated on a scanner."""

    def __call__(self, scanner_id: str | None, rests_on: str) -> bool: ...


def never_validated(scanner_id: str | None, rests_on: str) -> bool:
    """The bundled models' answer: they are a demonstration, on every scanner."""
    return False


class OperatingPoints(Protocol):
    """Gives the thresholds of the threat score in force on a scanner for a pair of models (`pair_key`), if any are."""

    def __call__(self, scanner_id: str | None, pair: str) -> Thresholds | None: ...


def no_operating_point(scanner_id: str | None, pair: str) -> Thresholds | None:
    """Nobody has measured what a score means here."""
    return None


def facts_of(scan: Scan) -> ScanFacts:
    """What travels of a scan besides its pixels; its id is its SHA-256."""
    return ScanFacts(
        id=scan.sha256,
        sha256=scan.sha256,
        width=scan.width,
        height=scan.height,
        filename=scan.filename,
        bag_id=scan.bag_id,
        view=scan.view,
        scanner_id=scan.scanner_id,
        acquisition=dict(scan.acquisition),
    )


class Analyser:
    """Both models over a scan, or over what waits, a batch at a time, with a bounded queue before them.

    Attributes:
        vlm, detector: the base models; loaded once, shared by all threads.
        rules: what the words mean and where the thresholds lie.
    """

    def __init__(
        self,
        vlm: Vlm,
        detector: Detector,
        rules: SiteRules,
        active_adapter: Callable[[], ActiveAdapter | None] = lambda: None,
        max_queue: int = 64,
        validated: Validated = never_validated,
        active_detector: Callable[[], ActiveAdapter | None] = lambda: None,
        operating_point: OperatingPoints = no_operating_point,
        current_rules: Callable[[], SiteRules] | None = None,
        together: int = WAITING_BATCH,
    ) -> None:
        """
        Args:
            vlm, detector: the base models, loaded with the classes of `rules`.
            rules: what the words mean now.
            active_adapter, active_detector: what is promoted, asked before each batch.
            max_queue: scans that may wait.
            validated, operating_point: what is on record of the models in use.
            current_rules: asked before each batch; classes may be added meanwhile. None: `rules` stay as they are.
            together: of the scans that wait, as many are answered in one batch.
        """
        self.vlm = vlm
        self.detector = detector
        self.rules = rules
        self._active_adapter = active_adapter
        self._active_detector = active_detector
        self._validated = validated
        self._operating_point = operating_point
        self._current_rules = current_rules or (lambda: rules)
        self._slots = threading.BoundedSemaphore(max_queue + 1)
        self._batches = DynamicBatch(self._read, together, _pixels, TOGETHER_PIXELS)
        self._adapter: ActiveAdapter | None = None
        self._promoted: tuple[ActiveAdapter, OnnxDetector] | None = None

    @contextmanager
    def _queued(self) -> Iterator[None]:
        if not self._slots.acquire(blocking=False):
            raise Busy("Too many scans are waiting. Try again in a few seconds.")
        try:
            with metrics.WAITING.track_inprogress():
                yield
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemory(
                "There was not enough memory to read this scan, and nothing was stored. Try again; if it happens "
                "again, an admin has to free memory, or to choose smaller weights (XRAY_VLM, XRAY_VLM_DTYPE=nf4)."
            ) from error
        finally:
            self._slots.release()

    def pair_in_use(self) -> str:
        """`pair_key` of the models that the next answer is given with."""
        wanted, promoted = self._active_adapter(), self._active_detector()
        detector = self.detector.sha256
        if promoted is not None:
            detector = hashlib.sha256((promoted.folder / DETECTOR_FILE).read_bytes()).hexdigest()
        classes = self._current_rules().taxonomy.classes_sha256
        return pair_key(self.vlm.weights_sha256, wanted.id if wanted else None, detector, classes)

    def _follow_classes(self) -> SiteRules:
        """The rules as they are now; the VLM is told of classes that were added."""
        wanted = self._current_rules()
        if wanted != self.rules:
            self.vlm.use_taxonomy(wanted.taxonomy)
            self.rules = wanted
            logger.info("now reading with %d classes", len(wanted.taxonomy.names))
        return wanted

    def rests_on_in_use(self, scanner_id: str | None) -> str:
        """`threat_score.rests_on` of the next answer about a scan of this scanner."""
        pair = self.pair_in_use()
        thresholds = self._operating_point(scanner_id, pair)
        return rests_on(pair, self._current_rules().measured_sha256, thresholds.id if thresholds else None)

    def _follow_promotion(self) -> ActiveAdapter | None:
        """Makes the VLM answer with the active adapter, and returns it."""
        wanted = self._active_adapter()
        if wanted != self._adapter:
            self._adapter = _UNKNOWN
            self.vlm.use_adapter(wanted.folder if wanted else None)
            self._adapter = wanted
            logger.info("now answering with adapter %s", wanted.id if wanted else "none (base)")
        return wanted

    def _detector_in_use(self) -> tuple[Detector, bool]:
        """The promoted detector, opened when it was promoted, or the base one; and whether it is on trial."""
        wanted = self._active_detector()
        if wanted is None:
            self._promoted = None
            return self.detector, False
        if self._promoted is None or self._promoted[0] != wanted:
            self._promoted = (wanted, OnnxDetector.load(wanted.folder / DETECTOR_FILE, self.rules.taxonomy))
            logger.info("now drawing boxes with detector %s", wanted.id)
        return self._promoted[1], wanted.trial

    def analyse(self, scan: Scan) -> Analysis:
        """Reads a scan with both models. Blocks until it is this scan's turn; what waits then is read together.

        Raises:
            Busy: too many scans are waiting already.
            BadModel: the active adapter or detector does not load; nothing is answered with another in its place.
            OutOfMemory: a model needed more than there is.
        """
        with self._queued():
            return self._batches(scan)

    def analyse_together(self, scans: Sequence[Scan]) -> list[Analysis]:
        """Reads scans in one batch, in less time than one by one; the answers are the same.

        They take one place in the queue. `timings_ms.vlm` and `.total` are each one's share of the batch.

        Args:
            scans: as many as fit into memory together, see `BATCH`.

        Raises:
            Busy: too many scans are waiting already.
            BadModel: the active adapter or detector does not load; nothing is answered with another in its place.
            OutOfMemory: a model needed more than there is.
            ModelUnavailable: a model on another server gave no answer to one of them.
        """
        if not scans:
            return []
        with self._queued(), self._batches.alone():
            return self._read(scans)

    def _read(self, scans: Sequence[Scan]) -> list[Analysis]:
        rules = self._follow_classes()
        adapter = self._follow_promotion()
        detector, detector_trial = self._detector_in_use()
        started = time.perf_counter()
        with ThreadPoolExecutor(DETECTING) as pool:
            detecting = [pool.submit(self._timed, detector, scan.image) for scan in scans]
            # A local VLM looks at the pictures first, a remote one is waited for: the detector has that long.
            if sum(map(_pixels, scans)) > TOGETHER_PIXELS:  # one after the other: each needs memory of its own
                wait(detecting)
            drafts = [DetectorDraft(one, rules.taxonomy) for one in detecting]
            answers = self.vlm.answer([scan.image for scan in scans], [instruction()] * len(scans), drafts)
            answering = (time.perf_counter() - started) / len(scans)
            detected = [one.result() for one in detecting]
        total = (time.perf_counter() - started) / len(scans)
        analyses = [
            self._analysis(
                scan, answer, found, _timings(answering, seconds, total), rules, adapter, detector, detector_trial
            )
            for scan, answer, (found, seconds) in zip(scans, answers, detected, strict=True)
        ]
        local = [one for one in answers if one.passes is not None]
        metrics.batch_done(analyses, sum(len(one.leads) for one in local), sum(one.passes or 0 for one in local))
        return analyses

    def _timed(self, detector: Detector, image: Image) -> tuple[list[Detection], float]:
        started = time.perf_counter()
        return self._detections(detector, image), time.perf_counter() - started

    def _analysis(
        self,
        scan: Scan,
        answer: Answer,
        found: Sequence[Detection],
        timings: Timings,
        rules: SiteRules,
        active: ActiveAdapter | None,
        detector: Detector,
        detector_trial: bool,
    ) -> Analysis:
        taxonomy = rules.taxonomy
        report, boxes = read_answer(answer, taxonomy), boxes_of(found, rules)
        adapter, trial = (active.id, active.trial) if active else (None, False)
        pair = pair_key(self.vlm.weights_sha256, adapter, detector.sha256, taxonomy.classes_sha256)
        thresholds = self._operating_point(scan.scanner_id, pair)
        score = threat_score(
            vlm_evidence(answer, report, taxonomy),
            detector_evidence(found, prohibited_labels(taxonomy)),
            pair,
            rules.measured_sha256,
            thresholds,
        )
        validated = self._validated(scan.scanner_id, score.evidence.rests_on)
        return Analysis(
            id=uuid.uuid4().hex,
            created_at=datetime.now(UTC),
            scan=facts_of(scan),
            report=report,
            risk=assess(report, boxes, scan.opaque_fraction, validated, rules.policy, score.value, thresholds),
            boxes=(*boxes, *_placed(answer, report, scan, boxes, taxonomy)),
            agreement=agree(report, boxes, rules.policy),
            opaque_fraction=scan.opaque_fraction,
            models=ModelFacts(
                vlm=VlmFacts(name=self.vlm.name, adapter=adapter, trial=trial, validated=validated),
                detector=DetectorFacts(
                    name=detector.name, sha256=detector.sha256, trial=detector_trial, validated=validated
                ),
            ),
            taxonomy_sha256=taxonomy.sha256,
            timings_ms=timings,
            threat_score=score.value,
            calibrated=score.calibrated,
            score_evidence=score.evidence,
        )

    def detect(self, scan: Scan) -> list[Box]:
        """The detector alone: the boxes an analysis of this scan would hold.

        Raises:
            Busy: too many scans are waiting already.
            BadModel: the active detector does not load.
            OutOfMemory: it needed more than there is.
        """
        with self._queued(), self._batches.alone():
            rules = self._follow_classes()
            return boxes_of(self._detections(self._detector_in_use()[0], scan.image), rules)

    def _detections(self, detector: Detector, image: Image) -> list[Detection]:
        """More than is shown: the threat score asks for what the detector hardly believes."""
        return detector.detect(image, min(self.rules.policy.lower_threshold, DISPLAY_CONFIDENCE, DETECTOR_FLOOR))


def _pixels(scan: Scan) -> int:
    return scan.width * scan.height


def _timings(vlm: float, detector: float, total: float) -> Timings:
    return Timings(vlm=vlm * 1000, detector=detector * 1000, total=total * 1000)


def _placed(answer: Answer, report: Report, scan: Scan, detected: Sequence[Box], taxonomy: Taxonomy) -> Iterator[Box]:
    """The VLM's boxes, but for those that the detector plainly shows in the same place: nothing is drawn twice."""
    shown = [box for box in detected if (box.confidence or 0.0) >= DISPLAY_CONFIDENCE]
    for box in read_boxes(answer, report, (scan.width, scan.height), taxonomy):
        if not any(one.label == box.label and iou(one.xyxy, box.xyxy)[0, 0] >= SAME_PLACE for one in shown):
            yield box


def boxes_of(detections: Sequence[Detection], rules: SiteRules) -> list[Box]:
    """Detections worth showing as boxes, the surest first, with ids `m1`, `m2`, …"""
    least = {
        Status.PROHIBITED: rules.policy.lower_threshold,
        Status.RESTRICTED: min(rules.policy.lower_threshold, DISPLAY_CONFIDENCE),
        Status.ALLOWED: DISPLAY_CONFIDENCE,
    }
    shown: list[Box] = []
    for found in sorted(detections, key=lambda one: -one.confidence):
        box = rules.taxonomy.box(f"m{len(shown) + 1}", "model", found.label, found.xyxy, found.confidence)
        if found.confidence >= least[box.status]:
            shown.append(box)
    return shown
