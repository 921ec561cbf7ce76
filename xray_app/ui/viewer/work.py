"""The scan in hand, as it goes to the viewer and comes back edited: one type on both sides.

`browser/types.js` names the same fields; a test holds the two together. What comes back comes from a browser, so it is
read by the model that made it, within bounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from xray_app.errors import BadInput
from xray_app.types import XYXY, BoxSource, Count, Fraction, Level, Status

A_DAY = 86_400
DRAWN = "new-"
"""How the ids of boxes drawn in the browser begin, until they are saved."""

Id = Annotated[str, Field(min_length=1, max_length=64)]
Name = Annotated[str, Field(max_length=1000)]
Revision = Annotated[int, Field(ge=0)]


class Part(BaseModel):
    """Base of the parts: immutable; a field that this version does not know is left out."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class WorkBox(Part):
    """A box on the picture. Status and threat are the taxonomy's, which asks no browser for them."""

    id: Id
    source: BoxSource = "human"
    label: Name
    confidence: Fraction | None = None
    status: Status | None = None
    threat: bool = False
    xyxy: XYXY


class WorkItem(Part):
    """A row of the items table."""

    label: Name
    count: Count
    confidence: Fraction | None = None
    status: Status | None = None


class WorkLabel(Part):
    """A class of the taxonomy, with what one may type for it."""

    name: Name
    status: Status
    aliases: tuple[Name, ...] = Field(max_length=1000)


class WorkScan(Part):
    """What the viewer needs of a scan."""

    id: Id
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    filename: Name
    view: Name | None = None


class WorkAgreement(Part):
    """Labels by who named them."""

    both: tuple[Name, ...] = Field(max_length=1000)
    vlm_only: tuple[Name, ...] = Field(max_length=1000)
    detector_only: tuple[Name, ...] = Field(max_length=1000)


Boxes = Annotated[tuple[WorkBox, ...], Field(max_length=2000)]
Items = Annotated[tuple[WorkItem, ...], Field(max_length=1000)]


class WorkView(Part):
    """Another view of the bag. `level` is a risk, or says that it is hidden."""

    analysis_id: Id
    name: Name
    level: Level | Annotated[str, Field(max_length=20)]
    scan: WorkScan
    boxes: Boxes


class WorkDraft(Part):
    """Unsaved edits that the server kept."""

    boxes: Boxes
    items: Items


def _seconds(value: Any) -> float | None:
    """A clock that stands wrong, or a page left open over night, keeps nobody from deciding."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < A_DAY
    return float(value) if good else None


class Work(Part):
    """The scan in hand.

    Attributes:
        base_revision: the newest revision when it was shown; what is saved is based on it.
        user: whose unsaved edits the browser may bring back.
        shown: another one at each showing, so that the browser notices even an unchanged analysis.
        discard_draft: whether the browser's unsaved edits are to be thrown away.
        own: this user's revisions.
        predicted: what the models had said, where a correction stands.
        labels: the classes, in rank order.
        draft: unsaved edits of the base that the server kept.
        readonly: nothing can be edited.
        answered: a test image is explained.
        decided: the newest decision that is on the screen; nothing newer is overruled unseen.
        open_view: of the browser: the view that was chosen beside the picture.
        seconds: of the browser: how long the scan has been looked at.
        dirty: of the browser: whether there are unsaved edits.
    """

    analysis_id: Id
    base_revision: Revision
    user: Name = ""
    shown: Name = ""
    discard_draft: bool = False
    own: tuple[Revision, ...] = Field(default=(), max_length=10_000)
    scan: WorkScan | None = None
    boxes: Boxes
    predicted: Boxes = ()
    items: Items
    labels: tuple[WorkLabel, ...] = Field(default=(), max_length=10_000)
    agreement: WorkAgreement | None = None
    views: tuple[WorkView, ...] = Field(default=(), max_length=1000)
    draft: WorkDraft | None = None
    readonly: bool = False
    answered: bool = False
    decided: Id | None = None
    open_view: Id | None = None
    seconds: Annotated[float | None, BeforeValidator(_seconds)] = None
    dirty: bool = False

    def sent(self) -> dict[str, Any]:
        """The value Gradio hands to the viewer."""
        return self.model_dump(mode="json")


def read_work(value: Any) -> Work:
    """The scan in hand, from the browser.

    Raises:
        BadInput: none is open, or a part is missing or out of range; the message names it.
    """
    if not isinstance(value, Mapping) or not value.get("analysis_id"):
        raise BadInput("No scan is open. Add one, or choose one on the left.")
    try:
        return Work.model_validate(dict(value))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = " ".join(str(part) for part in first["loc"])
        raise BadInput(f"What the page sent cannot be read: {where}: {first['msg']}. Reload the page.") from error
