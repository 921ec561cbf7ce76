"""A box that the list lacks: shown before it is saved, and settled by saving again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xray_app.correction.draft import unlisted, with_counts_from_boxes
from xray_app.taxonomy import Taxonomy
from xray_app.types import CorrectionIn


def settled(
    analysis_id: str, sent: CorrectionIn, agreed: Any, taxonomy: Taxonomy
) -> tuple[CorrectionIn, Mapping[str, Any] | None]:
    """What is to be saved, and the clash to be shown instead; None where there is none, or it was agreed to.

    Args:
        analysis_id: what is corrected: a clash is agreed to for one scan.
        sent: as the person sees it.
        agreed: the clash that was shown when Save was pressed again.
        taxonomy: resolves the labels.

    Raises:
        BadInput: a label or a count that cannot be saved.
    """
    lacking = unlisted(sent, taxonomy)
    if not lacking:
        return sent, None
    clash = {"analysis_id": analysis_id, "boxes": lacking}
    return (with_counts_from_boxes(sent, taxonomy), None) if agreed == clash else (sent, clash)
