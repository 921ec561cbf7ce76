"""The viewer and the items table: gr.HTML components, and the `Work` that passes through them.

It goes out with the scan, boxes with ids and items, and comes back edited. `correction_from` takes nothing but labels,
counts, coordinates and ids out of it, and those are checked again by the store.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from pydantic import ValidationError

from xray_app.correction.merging import Version
from xray_app.correction.revision import standing
from xray_app.correction.statements import BagStanding
from xray_app.errors import BadInput
from xray_app.taxonomy import Taxonomy
from xray_app.types import Analysis, Box, Correction, CorrectionIn, Item
from xray_app.ui import browser_code
from xray_app.ui.viewer.work import (
    DRAWN,
    Work,
    WorkAgreement,
    WorkBox,
    WorkDraft,
    WorkItem,
    WorkLabel,
    WorkScan,
    WorkView,
    read_work,
)

HERE = Path(__file__).resolve().parent

VIEWER = (HERE / "viewer.html").read_text(encoding="utf-8")
ITEMS = (HERE / "items.html").read_text(encoding="utf-8")


def viewer(elem_id: str = "viewer") -> gr.HTML:
    """The picture with its boxes and filters. Its value is a `Work`, sent.

    A page may hold several, each under its own id; the keys go to the one on the screen. Its `select` event
    says that another view of the bag was chosen (`open_view` in the value).
    """
    return gr.HTML(
        value=None,
        html_template=VIEWER,
        js_on_load=browser_code.mounting("viewer/viewer.js"),
        apply_default_css=False,
        elem_id=elem_id,
        elem_classes="viewer-frame",
    )


def items_table(elem_id: str = "items") -> gr.HTML:
    """The items beside the picture; edits the value of the viewer on the screen, has none of its own."""
    return gr.HTML(
        value=None,
        html_template=ITEMS,
        js_on_load=browser_code.mounting("items.js"),
        apply_default_css=False,
        elem_id=elem_id,
    )


def work_of(
    analysis: Analysis,
    revisions: Sequence[Correction],
    taxonomy: Taxonomy,
    user: str,
    views: Sequence[Analysis] = (),
    *,
    bag: BagStanding | None = None,
    discard_draft: bool = False,
) -> Work:
    """The scan in hand: the newest revision that was not rejected, or the prediction where there is none.

    Args:
        analysis: what the models said.
        revisions: the corrections so far, oldest first.
        taxonomy: gives the labels to choose from, in rank order.
        user: whose unsaved draft the browser may bring back.
        views: the bag's other views, shown beside it.
        bag: what the bag stands at; None: each view what the models said of it.
        discard_draft: True when the browser's unsaved edits are to be thrown away.
    """
    stands = standing(revisions)
    boxes = stands.boxes if stands else analysis.boxes
    items = stands.items if stands else analysis.report.items
    return Work(
        analysis_id=analysis.id,
        base_revision=revisions[-1].revision if revisions else 0,
        user=user,
        shown=uuid.uuid4().hex,
        discard_draft=discard_draft,
        own=tuple(one.revision for one in revisions if one.author == user),
        scan=_scan(analysis),
        boxes=boxes_of(boxes),
        predicted=boxes_of(analysis.boxes) if stands else (),
        items=items_of(items),
        labels=labels_of(taxonomy),
        agreement=WorkAgreement.model_validate(analysis.agreement.model_dump()),
        views=tuple(_view(one, bag) for one in views),
    )


def boxes_of(boxes: Sequence[Box]) -> tuple[WorkBox, ...]:
    """Boxes as the viewer takes them."""
    return tuple(WorkBox.model_validate(box.model_dump(exclude={"polygon", "polygons"})) for box in boxes)


def items_of(items: Sequence[Item]) -> tuple[WorkItem, ...]:
    """Items as the table takes them."""
    return tuple(WorkItem.model_validate(item.model_dump()) for item in items)


def _scan(analysis: Analysis) -> WorkScan:
    return WorkScan.model_validate(analysis.scan.model_dump())


def _view(analysis: Analysis, bag: BagStanding | None) -> WorkView:
    return WorkView(
        analysis_id=analysis.id,
        name=analysis.scan.view or analysis.scan.filename,
        level=(bag.of_view(analysis) if bag else analysis.risk).level,
        scan=_scan(analysis),
        boxes=boxes_of(analysis.boxes),
    )


def labels_of(taxonomy: Taxonomy) -> tuple[WorkLabel, ...]:
    """What a label may be, in rank order, with what one may type for it."""
    classes = [taxonomy.resolve(name) for name in taxonomy.names]
    return tuple(WorkLabel(name=c.name, status=c.status, aliases=(c.plural, *c.aliases)) for c in classes)


def analysis_id_of(value: Any) -> str:
    """Which analysis the browser shows.

    Raises:
        BadInput: none, with what to do.
    """
    return read_work(value).analysis_id


def correction_from(work: Work, comment: str | None, labelled_classes: Sequence[str] | None) -> CorrectionIn:
    """What a person says is in the scan.

    Raises:
        BadInput: a part is out of range; the message names it.
    """
    try:
        return CorrectionIn.model_validate(
            {
                "items": [{"label": item.label, "count": item.count} for item in work.items],
                "boxes": [{"id": _kept(box), "label": box.label, "xyxy": box.xyxy} for box in work.boxes],
                "labelled_classes": list(labelled_classes) if labelled_classes else None,
                "comment": (comment or "").strip() or None,
                "base_revision": work.base_revision,
            }
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = " ".join(str(part) for part in first["loc"]) or "correction"
        raise BadInput(f"The correction cannot be saved: {where}: {first['msg']}.") from error
    except (TypeError, AttributeError) as error:
        raise BadInput("The correction cannot be saved: a part of it is missing. Reload the page.") from error


def _kept(box: WorkBox) -> str | None:
    """A box's id, None for one drawn here: the store names it."""
    return None if box.id.startswith(DRAWN) else box.id


def edits_of(draft: Version, analysis: Analysis, base: Correction | None) -> WorkDraft:
    """A draft as the viewer takes it back: unsaved edits of the base."""
    known = {box.id for box in analysis.boxes} | {box.id for box in (base.boxes if base else ())}
    before = {(item.label, item.count): item for item in (base.items if base else analysis.report.items)}
    items = [before.get((item.label, item.count), item) for item in draft.items]
    named = [box if box.id in known else box.model_copy(update={"id": DRAWN + box.id}) for box in draft.boxes]
    return WorkDraft(boxes=boxes_of(named), items=items_of(items))
