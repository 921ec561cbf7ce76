"""The viewer and the items table: gr.HTML components, and the one value that passes through them.

The value goes out with the scan, boxes with ids and items, and comes back edited. It comes from a browser,
so `correction_from` takes nothing but labels, counts, coordinates and ids out of it, and those are checked
again by the store.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from pydantic import ValidationError

from xray_app.correction.merging import Version
from xray_app.correction.revision import standing
from xray_app.errors import BadInput
from xray_app.taxonomy import Taxonomy
from xray_app.types import Analysis, Box, Correction, CorrectionIn

HERE = Path(__file__).resolve().parent

VIEWER = (HERE / "viewer.html").read_text(encoding="utf-8")
DRAWN = "new-"
"""How the ids of boxes drawn in the browser begin, until they are saved."""

# One script in five files: each goes on where the one before ended.
SCRIPT = "\n".join(
    (HERE / name).read_text(encoding="utf-8")
    for name in ("viewer.js", "viewer_mouse.js", "viewer_labels.js", "viewer_views.js", "viewer_keys.js")
)
ITEMS = (HERE / "items.html").read_text(encoding="utf-8")


def viewer(elem_id: str = "viewer") -> gr.HTML:
    """The picture with its boxes and filters. Its value is that of `work_of`.

    A page may hold several, each under its own id; the keys go to the one on the screen. Its `select` event
    says that another view of the bag was chosen (`open_view` in the value).
    """
    return gr.HTML(
        value=None,
        html_template=VIEWER,
        js_on_load=SCRIPT,
        apply_default_css=False,
        elem_id=elem_id,
        elem_classes="viewer-frame",
    )


def items_table(elem_id: str = "items") -> gr.HTML:
    """The items beside the picture; edits the value of the viewer on the screen, has none of its own."""
    return gr.HTML(
        value=None,
        html_template=ITEMS,
        js_on_load=(HERE / "items.js").read_text(encoding="utf-8"),
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
    discard_draft: bool = False,
) -> dict[str, Any]:
    """The viewer's value: the newest revision that was not rejected, or the prediction where there is none.

    Args:
        analysis: what the models said.
        revisions: the corrections so far, oldest first.
        taxonomy: gives the labels to choose from, in rank order.
        user: whose unsaved draft the browser may bring back.
        views: the bag's other views, shown beside it.
        discard_draft: True when the browser's unsaved edits are to be thrown away.
    """
    stands = standing(revisions)
    boxes = stands.boxes if stands else analysis.boxes
    items = stands.items if stands else analysis.report.items
    return {
        "analysis_id": analysis.id,
        "base_revision": revisions[-1].revision if revisions else 0,
        "user": user,
        # Makes every showing a new value, so that the browser notices even an unchanged analysis.
        "shown": uuid.uuid4().hex,
        "discard_draft": discard_draft,
        "own": [one.revision for one in revisions if one.author == user],
        "scan": {
            "id": analysis.scan.id,
            "width": analysis.scan.width,
            "height": analysis.scan.height,
            "filename": analysis.scan.filename,
            "view": analysis.scan.view,
        },
        "boxes": [box.model_dump(mode="json") for box in boxes],
        # Kept beside a correction, so that one can always see what the models had said.
        "predicted": [box.model_dump(mode="json") for box in analysis.boxes] if stands else [],
        "items": [item.model_dump(mode="json", exclude={"threat"}) for item in items],
        "labels": labels_of(taxonomy),
        "agreement": analysis.agreement.model_dump(mode="json"),
        "views": [_view(one) for one in views],
    }


def _view(analysis: Analysis) -> dict[str, Any]:
    scan = analysis.scan
    return {
        "analysis_id": analysis.id,
        "name": scan.view or scan.filename,
        "level": analysis.risk.level,
        "scan": {"id": scan.id, "width": scan.width, "height": scan.height},
        "boxes": [box.model_dump(mode="json") for box in analysis.boxes],
    }


def labels_of(taxonomy: Taxonomy) -> list[dict[str, Any]]:
    """What a label may be, in rank order, with what one may type for it."""
    classes = [taxonomy.resolve(name) for name in taxonomy.names]
    return [{"name": c.name, "status": c.status.value, "aliases": [c.plural, *c.aliases]} for c in classes]


def analysis_id_of(value: Any) -> str:
    """Which analysis the browser shows.

    Raises:
        BadInput: none, with what to do.
    """
    found = value.get("analysis_id") if isinstance(value, Mapping) else None
    if not isinstance(found, str) or not 0 < len(found) <= 64:
        raise BadInput("No scan is open. Add one, or choose one on the left.")
    return found


def correction_from(value: Any, comment: str | None, labelled_classes: Sequence[str] | None) -> CorrectionIn:
    """What a person says is in the scan, from the viewer's value.

    Raises:
        BadInput: a part is missing or out of range; the message names it.
    """
    analysis_id_of(value)
    try:
        return CorrectionIn.model_validate(
            {
                "items": [{"label": item["label"], "count": item["count"]} for item in value["items"]],
                "boxes": [{"id": _kept(box), "label": box["label"], "xyxy": box["xyxy"]} for box in value["boxes"]],
                "labelled_classes": list(labelled_classes) if labelled_classes else None,
                "comment": (comment or "").strip() or None,
                "base_revision": value["base_revision"],
            }
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = " ".join(str(part) for part in first["loc"]) or "correction"
        raise BadInput(f"The correction cannot be saved: {where}: {first['msg']}.") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInput("The correction cannot be saved: a part of it is missing. Reload the page.") from error


def _kept(box: Mapping[str, Any]) -> str | None:
    """A box's id, None for one drawn here: the store names it."""
    found = box.get("id")
    return None if isinstance(found, str) and found.startswith(DRAWN) else found


def edits_of(draft: Version, analysis: Analysis, base: Correction | None) -> dict[str, Any]:
    """A draft as the viewer takes it back: unsaved edits of the base."""
    known = {box.id for box in analysis.boxes} | {box.id for box in (base.boxes if base else ())}
    before = {(item.label, item.count): item for item in (base.items if base else analysis.report.items)}
    items = [before.get((item.label, item.count), item) for item in draft.items]
    return {
        "boxes": [_shown(box, known) for box in draft.boxes],
        "items": [item.model_dump(mode="json", exclude={"threat"}) for item in items],
    }


def _shown(box: Box, known: set[str]) -> dict[str, Any]:
    return box.model_dump(mode="json") | {"id": box.id if box.id in known else DRAWN + box.id}
