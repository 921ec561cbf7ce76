"""The value types that travel between the rooms. Frozen; no torch, no SQL.

Their JSON form (`model_dump(mode="json")`) is the public contract's, field for field.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


class Status(StrEnum):
    """What the taxonomy says of a class."""

    PROHIBITED = "prohibited"
    RESTRICTED = "restricted"
    ALLOWED = "allowed"


class Role(StrEnum):
    """What a user may do; each role includes the ones before it."""

    ANALYST = "analyst"
    ANNOTATOR = "annotator"
    ADMIN = "admin"

    def includes(self, other: Role) -> bool:
        """Whether this role may do what `other` may do."""
        order = list(Role)
        return order.index(self) >= order.index(other)


Level = Literal["LOW", "MEDIUM", "HIGH"]  # in this order, as the next: from harmless to worst
Action = Literal["CLEAR", "REVIEW", "SEARCH"]
ReviewStatus = Literal["pending", "accepted", "rejected"]
Split = Literal["train", "holdout"]
AdapterKind = Literal["vlm-adapter", "detector"]
Method = Literal["lora", "qlora", "full"]
NOT_ANALYSED = "none"  # the model of a scan that was stored for its labels alone
RunStatus = Literal["queued", "running", "succeeded", "failed", "cancelled"]


def _number(value: object) -> object:
    """Refuses what only looks like a number: `true` is not 1, and a text is no number."""
    if isinstance(value, bool | str | bytes):
        raise ValueError("a number is needed")
    return value


Number = BeforeValidator(_number)
Finite = Annotated[float, Number, Field(allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
MAX_COUNT = 99  # of one class in one scan, whoever counts
Count = Annotated[int, Number, Field(ge=1, le=MAX_COUNT)]
XYXY = tuple[Finite, Finite, Finite, Finite]
MAX_OUTLINE = 1000  # points
Ring = Annotated[tuple[Finite, ...], Field(max_length=2 * MAX_OUTLINE)]  # x and y by turns


class Value(BaseModel):
    """Base of all value types: immutable, and strict about what it is given."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ScanFacts(Value):
    """What is known of a scan besides its pixels. `acquisition` is what a DICOM file says of the scanner."""

    id: str
    sha256: str
    width: int
    height: int
    filename: str
    bag_id: str
    view: str | None = None
    scanner_id: str | None = None
    acquisition: dict[str, str] = Field(default_factory=dict, exclude_if=lambda value: not value)


class Item(Value):
    """One line of an item list. `confidence` is None where a person said it."""

    label: str
    count: Count
    status: Status
    threat: bool
    confidence: Fraction | None = None


BoxSource = Literal["model", "vlm", "human"]
"""Who drew a box: the detector, the VLM, or a person who drew or changed it."""


class Outlined(Value):
    """What may have an outline: a `polygon`, x and y by turns, or of several parts their `polygons` instead."""

    polygon: Ring = Field(default=(), exclude_if=lambda value: not value)
    polygons: tuple[Ring, ...] = Field(default=(), max_length=MAX_OUTLINE // 3, exclude_if=lambda value: not value)

    @property
    def rings(self) -> tuple[tuple[float, ...], ...]:
        """The parts of the outline, however many; empty without one."""
        return (self.polygon,) if self.polygon else self.polygons


class Box(Outlined):
    """A box in pixels of the uploaded image, origin top left, edges included. Moved, it loses its outline."""

    id: str
    source: BoxSource
    label: str
    confidence: Fraction | None = None
    status: Status
    threat: bool
    xyxy: XYXY


class Report(Value):
    """The VLM's answer.

    Attributes:
        unrecognised: the parts that named no known class.
        mentioned: labels of prohibited and restricted classes that the answer says are there without listing them.
        claimed: the risk level of the answer's own risk sentence; None where it states none.
        problem: why there is no whole answer, as "cut off at the token limit"; None where nothing of the kind happened.
    """

    items: tuple[Item, ...]
    text: str
    complete: bool
    unrecognised: tuple[str, ...] = ()
    mentioned: tuple[str, ...] = Field(default=(), exclude_if=lambda value: not value)
    claimed: Level | None = Field(default=None, exclude_if=lambda value: value is None)
    problem: str | None = Field(default=None, exclude_if=lambda value: value is None)


class Risk(Value):
    level: Level
    reason: str
    action: Action
    policy: str


POLICY = "policy"
"""Who rated a bag where no person did. No user has this name."""


class StandingRisk(Value):
    """The worst of what the models' policy says of a bag or a view of it and of what people found there.

    `by` is "policy", or the name of the user whose word it is.
    """

    level: Level
    action: Action
    reason: str
    by: str


class Agreement(Value):
    """Labels by which model named them (detector: above the policy's lower threshold)."""

    both: tuple[str, ...]
    vlm_only: tuple[str, ...]
    detector_only: tuple[str, ...]


class VlmFacts(Value):
    """`trial`: the adapter answered on trial, without the evidence that the gate asks for."""

    name: str
    adapter: str | None = None
    trial: bool = Field(default=False, exclude_if=lambda value: not value)
    validated: bool = False


class DetectorFacts(Value):
    """`trial` as of the VLM's adapter."""

    name: str
    sha256: str
    trial: bool = Field(default=False, exclude_if=lambda value: not value)
    validated: bool = False


class ModelFacts(Value):
    vlm: VlmFacts
    detector: DetectorFacts


class Timings(Value):
    """Milliseconds of wall time. The models look at a scan at the same time: `total` is less than the sum of both."""

    vlm: Finite
    detector: Finite
    total: Finite


class ScoreEvidence(Value):
    """What a threat score rests on: what each model says most surely of anything prohibited, and which models.

    `pair` is the hash of both models, the adapter and the taxonomy's classes; `operating_point` the id of the one whose
    calibration was used; `rests_on` the hash of both and the policy, "" of an analysis made before it was kept.
    """

    vlm: Fraction
    detector: Fraction
    pair: str
    operating_point: str | None = None
    rests_on: str = ""


class Analysis(Value):
    """What both models said of a scan; `threat_score` is None of one made before there was any."""

    id: str
    created_at: datetime
    scan: ScanFacts
    report: Report
    risk: Risk
    boxes: tuple[Box, ...]
    agreement: Agreement
    opaque_fraction: Fraction
    models: ModelFacts
    taxonomy_sha256: str
    timings_ms: Timings
    threat_score: Fraction | None = None
    calibrated: bool = False
    score_evidence: ScoreEvidence | None = None

    @property
    def analysed(self) -> bool:
        """Whether a model looked at the scan; False where it was stored for its labels alone."""
        return self.models.vlm.name != NOT_ANALYSED


class AnalysisStanding(Analysis):
    """An analysis, what its view stands at by it and by people, and whether its bag was drawn for a hand search."""

    standing: StandingRisk
    control_search: bool = False


class ItemCount(Value):
    """A label and how many of it a person saw."""

    label: str
    count: Count


class CorrectionBox(Outlined):
    """A box as a person sends it; an `id` kept means moved or relabelled. An outline is a new one's."""

    id: str | None = Field(default=None, max_length=64)
    label: str = Field(max_length=100)
    xyxy: XYXY

    @model_validator(mode="after")
    def _not_inside_out(self) -> CorrectionBox:
        if any(len(ring) % 2 or len(ring) < 6 for ring in self.rings):
            raise ValueError("a polygon needs x and y of at least three points")
        if len(self.polygons) == 1 or (self.polygon and self.polygons) or sum(map(len, self.rings)) > 2 * MAX_OUTLINE:
            raise ValueError(f"polygons are two or more in place of a polygon, {MAX_OUTLINE:,} points in all")
        x0, y0, x1, y1 = self.xyxy
        if not (0 <= x0 < x1 and 0 <= y0 < y1):
            raise ValueError("a box needs 0 <= x0 < x1 and 0 <= y0 < y1")
        return self


class CorrectionIn(Value):
    """What a person saw in a scan. `labelled_classes` None: looked for all classes."""

    items: tuple[ItemCount, ...] = Field(max_length=100)
    boxes: tuple[CorrectionBox, ...] = Field(max_length=500)
    labelled_classes: tuple[str, ...] | None = None
    comment: str | None = Field(default=None, max_length=2000)
    base_revision: Annotated[int, Number] = Field(default=0, ge=0)


class ItemChange(Value):
    """`before` or `after` is 0 where the label is new or gone."""

    label: str
    before: int
    after: int


class Diff(Value):
    """How a correction differs from the revision (or prediction) it was based on."""

    items: tuple[ItemChange, ...] = ()
    boxes_added: tuple[str, ...] = ()
    boxes_removed: tuple[str, ...] = ()
    boxes_changed: tuple[str, ...] = ()


class Correction(Value):
    """What a person says is in a scan, in one revision."""

    id: str
    analysis_id: str
    revision: int
    status: ReviewStatus
    author: str
    created_at: datetime
    items: tuple[Item, ...]
    boxes: tuple[Box, ...]
    labelled_classes: tuple[str, ...] | None
    comment: str | None
    diff: Diff
    split: Split

    @property
    def counts(self) -> dict[str, int]:
        """What is in the scan by this revision. A box of what the list does not name counts too: the list was not
        brought up to date, and a knife that somebody drew is not to be taught as none.
        """
        listed = {item.label: item.count for item in self.items}
        drawn = Counter(box.label for box in self.boxes if box.label not in listed)
        return listed | drawn


class Decision(Value):
    """What was done with a bag. One taken back at once stays on record, as withdrawn.

    `flagged` is set where a bag rated HIGH was cleared: a supervisor has to see it. `blind`: made before the
    models' answer was shown; `revised`: made after that, about a bag that was decided blind before.
    """

    id: str
    analysis_id: str
    author: str
    created_at: datetime
    decision: Action
    seconds: Finite | None = None
    note: str | None = None
    flagged: bool = False
    blind: bool = Field(default=False, exclude_if=lambda value: not value)
    revised: bool = Field(default=False, exclude_if=lambda value: not value)
    withdrawn_at: datetime | None = None


class Outcome(Value):
    """What the hand search found: the only real ground truth in operation."""

    id: str
    analysis_id: str
    author: str
    created_at: datetime
    found: tuple[ItemCount, ...]
    note: str | None = None


class MetricSet(Value):
    """Figures on one hold-out; None where nothing could be measured. `map50` is of a detector's boxes."""

    n: int
    item_f1: Fraction | None = None
    exact_list: Fraction | None = None
    threat_bag_recall: Fraction | None = None
    false_alarm_rate: Fraction | None = None
    map50: Fraction | None = Field(default=None, exclude_if=lambda value: value is None)


class Metrics(Value):
    simulated: MetricSet
    site: MetricSet


class RunMetrics(Value):
    active: Metrics | None = None
    candidate: Metrics | None = None


class SampleCounts(Value):
    train: int = 0
    holdout: int = 0
    replay: int = 0


class Run(Value):
    id: str
    kind: AdapterKind
    status: RunStatus
    progress: Fraction
    recipe: str
    method: Method
    epochs: Finite | None = None
    samples: SampleCounts
    metrics: RunMetrics
    error: str | None = None
    adapter_id: str | None = None
    created_by: str
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
