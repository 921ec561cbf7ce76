"""The outline of an imported box: kept, exported again, gone when the box is moved, and bounded."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import select

from tests.exchange.conftest import LIMITS
from tests.exchange.test_import import BringIn, analysed, bring_in
from xray_app.correction.draft import merge_onto
from xray_app.exchange.export import Filter, export_zip
from xray_app.exchange.outline import polygon_area
from xray_app.store import analyses, corrections
from xray_app.store.database import Database
from xray_app.store.tables import AnalysisRow
from xray_app.taxonomy import Taxonomy
from xray_app.types import MAX_OUTLINE, Correction, CorrectionBox, CorrectionIn, ItemCount
from xray_app.ui.viewer.component import boxes_of

__all__ = ["analysed", "bring_in"]  # fixtures

TRIANGLE = (10.0, 5.0, 30.0, 5.0, 20.0, 25.0)


def coco(root: Path, outline: list[float]) -> Path:
    root.mkdir(parents=True)
    Image.new("RGB", (64, 48), (7, 8, 9)).save(root / "one.png")
    xs, ys = outline[0::2], outline[1::2]
    box: dict[str, Any] = {
        "id": 1, "image_id": 1, "category_id": 3, "segmentation": [outline],
        "bbox": [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)],
    }  # fmt: skip
    plain = {"id": 2, "image_id": 1, "category_id": 3, "bbox": [40, 30, 5, 5], "segmentation": []}
    document = {
        "images": [{"id": 1, "file_name": "one.png", "width": 64, "height": 48}],
        "annotations": [box, plain], "categories": [{"id": 3, "name": "knife"}],
    }  # fmt: skip
    (root / "_annotations.coco.json").write_text(json.dumps(document))
    return root


def stored_correction(db: Database) -> Correction:
    with db.read() as session:
        (id,) = session.scalars(select(AnalysisRow.id))
    return corrections.history(db, id)[-1]


def exported(db: Database, taxonomy: Taxonomy) -> list[dict[str, Any]]:
    content = b"".join(export_zip(db, taxonomy, LIMITS, "coco", Filter()))
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        (name,) = (one for one in opened.namelist() if "instances_" in one and json.loads(opened.read(one))["images"])
        found: list[dict[str, Any]] = json.loads(opened.read(name))["annotations"]
    return found


def test_an_outline_comes_in_goes_out_and_survives_a_new_label_but_no_move(
    db: Database, bring_in: BringIn, taxonomy: Taxonomy, tmp_path: Path
) -> None:
    assert bring_in(db, coco(tmp_path / "set", list(TRIANGLE))).whole
    first = stored_correction(db)
    assert [box.polygon for box in first.boxes] == [TRIANGLE, ()]
    assert "polygon" not in first.boxes[1].model_dump()
    assert [(one["segmentation"], one["area"]) for one in exported(db, taxonomy)] == [([list(TRIANGLE)], 200), ([], 25)]
    assert len(boxes_of(first.boxes)) == 2, "the page needs no outline"

    def saved(label: str, xyxy: tuple[float, float, float, float]) -> tuple[float, ...]:
        newest = stored_correction(db)
        sent = CorrectionIn(
            items=(ItemCount(label=label, count=1),),
            boxes=(CorrectionBox(id=first.boxes[0].id, label=label, xyxy=xyxy),),
            base_revision=newest.revision,
        )
        made = corrections.add(db, first.analysis_id, sent, "root", taxonomy, review_required=False)
        return made.boxes[0].polygon

    assert saved("gun", first.boxes[0].xyxy) == TRIANGLE
    assert saved("gun", (10, 5, 30, 26)) == ()


def test_a_draft_brought_onto_a_newer_revision_keeps_the_outline(
    db: Database, bring_in: BringIn, taxonomy: Taxonomy, tmp_path: Path
) -> None:
    bring_in(db, coco(tmp_path / "set", list(TRIANGLE)))
    first = stored_correction(db)
    box = first.boxes[0]
    draft = CorrectionIn(
        items=(ItemCount(label="knife", count=2),),
        boxes=tuple(CorrectionBox(id=one.id, label=one.label, xyxy=one.xyxy) for one in first.boxes),
        base_revision=1,
    )
    analysis = analyses.get(db, first.analysis_id)
    merged = merge_onto(draft, analysis, [first], taxonomy).draft.boxes
    assert [one.polygon for one in merged if one.id == box.id] == [TRIANGLE]


@pytest.mark.parametrize(("points", "kept"), [(MAX_OUTLINE, True), (MAX_OUTLINE + 1, False)])
def test_an_outline_of_too_many_points_is_left_out_and_said(
    db: Database, bring_in: BringIn, tmp_path: Path, points: int, kept: bool
) -> None:
    outline = [value for place in range(points) for value in (10 + place % 40, 5 + place // 40)]
    done = bring_in(db, coco(tmp_path / "set", outline))
    assert (done.added, done.boxes.lost) == (1, 0)
    assert bool(stored_correction(db).boxes[0].polygon) is kept
    assert any("outlines of 1 boxes" in note for note in done.notes) is not kept


@pytest.mark.parametrize("polygon", [(1.0,) * 5, (1.0,) * 4, (1.0,) * (2 * MAX_OUTLINE + 2), (float("nan"),) * 6])
def test_what_is_no_outline_is_refused(polygon: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="polygon"):
        CorrectionBox(label="knife", xyxy=(1, 1, 2, 2), polygon=polygon)


def test_the_area_of_a_square_is_its_sides_whichever_way_round() -> None:
    assert polygon_area((0, 0, 4, 0, 4, 3, 0, 3)) == polygon_area((0, 3, 4, 3, 4, 0, 0, 0)) == 12
