"""The outline of an imported box, of one part or several: kept, exported again, gone when moved, and bounded."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from sqlalchemy import select

from tests.exchange.conftest import LIMITS
from tests.exchange.test_import import BringIn, analysed, bring_in, other
from xray_app.correction.draft import merge_onto
from xray_app.exchange.export import Filter, export_zip
from xray_app.exchange.outline import hull_box, mask_box, mask_outline, polygon_area
from xray_app.store import analyses, corrections
from xray_app.store.database import Database
from xray_app.store.tables import AnalysisRow
from xray_app.taxonomy import Taxonomy
from xray_app.types import MAX_OUTLINE, Box, Correction, CorrectionBox, CorrectionIn, ItemCount
from xray_app.ui.viewer.component import boxes_of

__all__ = ["analysed", "bring_in", "other"]  # fixtures

WIDTH, HEIGHT = 64, 48

TRIANGLE = (10.0, 5.0, 30.0, 5.0, 20.0, 25.0)


def coco(root: Path, segmentation: Any, bbox: list[float] | None = None) -> Path:
    root.mkdir(parents=True)
    Image.new("RGB", (WIDTH, HEIGHT), (7, 8, 9)).save(root / "one.png")
    box: dict[str, Any] = {"id": 1, "image_id": 1, "category_id": 3, "segmentation": segmentation, "bbox": bbox}
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
    assert bring_in(db, coco(tmp_path / "set", [list(TRIANGLE)])).whole
    first = stored_correction(db)
    assert [box.polygon for box in first.boxes] == [TRIANGLE, ()]
    assert not {"polygon", "polygons"} & set(first.boxes[1].model_dump())
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
    bring_in(db, coco(tmp_path / "set", [list(TRIANGLE)]))
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


@pytest.mark.parametrize("parts", [False, True])
@pytest.mark.parametrize(("points", "kept"), [(MAX_OUTLINE, True), (MAX_OUTLINE + 1, False)])
def test_an_outline_of_too_many_points_is_left_out_and_said(
    db: Database, bring_in: BringIn, tmp_path: Path, points: int, kept: bool, parts: bool
) -> None:
    outline = [value for place in range(points) for value in (10 + place % 40, 5 + place // 40)]
    done = bring_in(db, coco(tmp_path / "set", [outline[:20], outline[20:]] if parts else [outline]))
    assert (done.added, done.boxes.lost) == (1, 0)
    assert len(stored_correction(db).boxes[0].rings) == (kept and 1 + parts)
    assert any("outlines of 1 boxes" in note for note in done.notes) is not kept


@pytest.mark.parametrize("polygon", [(1.0,) * 5, (1.0,) * 4, (1.0,) * (2 * MAX_OUTLINE + 2), (float("nan"),) * 6])
def test_what_is_no_outline_is_refused(polygon: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="polygon"):
        CorrectionBox(label="knife", xyxy=(1, 1, 2, 2), polygon=polygon)
    with pytest.raises(ValueError, match="polygon"):
        CorrectionBox(label="knife", xyxy=(1, 1, 2, 2), polygons=(TRIANGLE, polygon))


def test_parts_are_two_at_least_in_place_of_one_and_bounded_together() -> None:
    def box(**said: Any) -> CorrectionBox:
        return CorrectionBox(label="knife", xyxy=(1, 1, 2, 2), **said)

    half = (1.0,) * MAX_OUTLINE
    assert box(polygons=(half, half)).rings == (half, half)
    assert box(polygon=TRIANGLE).rings == (TRIANGLE,)
    assert box().rings == ()
    for wrong in (
        {"polygons": (TRIANGLE,)}, {"polygon": TRIANGLE, "polygons": (TRIANGLE, TRIANGLE)},
        {"polygons": (half, (*half, 1.0, 1.0))}, {"polygons": ((), ())},
    ):  # fmt: skip
        with pytest.raises(ValueError, match="polygons"):
            box(**wrong)


def runs_of(mask: np.ndarray) -> list[int]:
    """COCO's uncompressed runs: off first, down the columns."""
    flat = np.concatenate([[0], mask.T.reshape(-1).astype(np.int8), [-1]])
    changes = np.flatnonzero(np.diff(flat))
    return np.diff(np.concatenate([[0], changes])).tolist()  # type: ignore[no-any-return]


def filled(rings: Any, height: int, width: int) -> np.ndarray:
    """What COCO's own code fills."""
    polygons = [list(ring) for ring in rings]
    done: np.ndarray = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, height, width)))
    return done.astype(bool)


def test_every_part_of_an_outline_comes_in_goes_out_and_comes_in_again(
    db: Database, other: Database, bring_in: BringIn, taxonomy: Taxonomy, tmp_path: Path
) -> None:
    parts = [list(TRIANGLE), [40.0, 30.0, 50.0, 30.0, 50.0, 40.0, 40.0, 41.5]]
    assert bring_in(db, coco(tmp_path / "set", parts)).whole
    first = stored_correction(db)
    assert first.boxes[0].xyxy == (10, 5, 50, 41.5), "the hull of all"
    assert [list(ring) for ring in first.boxes[0].polygons] == parts
    assert "polygon" not in first.boxes[0].model_dump()
    (sent, plain) = exported(db, taxonomy)
    assert (sent["segmentation"], sent["area"], plain["segmentation"]) == (parts, 200 + 107.5, [])
    content = b"".join(export_zip(db, taxonomy, LIMITS, "coco", Filter()))
    (tmp_path / "again.zip").write_bytes(content)
    assert bring_in(other, tmp_path / "again.zip").whole
    assert stored_correction(other).boxes[0].polygons == first.boxes[0].polygons
    assert len(boxes_of(first.boxes)) == 2, "the page needs no outline"

    def saved(xyxy: tuple[float, ...]) -> Any:
        sent = CorrectionIn(
            items=[{"label": "gun", "count": 1}],
            boxes=[{"id": first.boxes[0].id, "label": "gun", "xyxy": xyxy}],
            base_revision=stored_correction(db).revision,
        )
        return corrections.add(db, first.analysis_id, sent, "root", taxonomy, review_required=False).boxes[0].rings

    draft = CorrectionIn(items=[{"label": "knife", "count": 2}], boxes=[], base_revision=1)
    merged = merge_onto(draft.model_copy(update={"boxes": tuple(map(kept_box, first.boxes))}),
                        analyses.get(db, first.analysis_id), [first], taxonomy)  # fmt: skip
    assert merged.draft.boxes[0].polygons == first.boxes[0].polygons
    assert saved(first.boxes[0].xyxy) == first.boxes[0].polygons
    assert saved((10, 5, 50, 43)) == ()


def kept_box(box: Box) -> CorrectionBox:
    return CorrectionBox(id=box.id, label=box.label, xyxy=box.xyxy)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_mask_of_several_pieces_keeps_them_all_and_their_holes(
    db: Database, bring_in: BringIn, taxonomy: Taxonomy, tmp_path: Path, compressed: bool
) -> None:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[3:13, 5:25] = True
    mask[6:9, 8:12] = False  # two holes, the second's cut leads to the first
    mask[7:10, 15:20] = False
    mask[13:20, 25:30] = True  # touches the first at a corner alone
    mask[40:48, 60:64] = True  # to the edges of the picture
    whole = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    counts = whole["counts"].decode() if compressed else runs_of(mask)
    assert bring_in(db, coco(tmp_path / "set", {"size": [HEIGHT, WIDTH], "counts": counts})).whole
    box = stored_correction(db).boxes[0]
    assert (box.xyxy, len(box.rings)) == ((5, 3, 64, 48), 3)
    assert (filled(box.rings, HEIGHT, WIDTH) == mask).all()
    (sent, _) = exported(db, taxonomy)
    assert (sent["area"], (filled(sent["segmentation"], HEIGHT, WIDTH) == mask).all()) == (mask.sum(), True)


@pytest.mark.parametrize("seed", range(5))
def test_the_rings_of_any_mask_fill_the_very_mask(seed: int) -> None:
    dice = np.random.default_rng(seed)
    for _ in range(40):
        height, width = (int(side) for side in dice.integers(1, 16, 2))
        mask = dice.random((height, width)) < dice.uniform(0.2, 0.95)
        mask[0, 0] = True
        found = mask_outline(runs_of(mask), height, width)
        assert (filled(found.rings, height, width) == mask).all()
        assert sum(map(polygon_area, found.rings)) == mask.sum()
        assert hull_box([value for ring in found.rings for value in ring]) == mask_box(runs_of(mask), height, width)


def test_a_hole_beside_one_with_an_island_in_it_is_not_cut_to_the_island() -> None:
    mask = np.ones((12, 16), bool)
    mask[4:9, 2:7] = False
    mask[6, 4] = True
    mask[1:7, 9:12] = False
    mask[6, 8] = False  # its leftmost corner lies on the island's row, and its top above the other hole's
    found = mask_outline(runs_of(mask), 12, 16)
    assert len(found.rings) == 2
    assert (filled(found.rings, 12, 16) == mask).all()


def test_a_mask_too_fine_is_told_and_its_box_is_taken(db: Database, bring_in: BringIn, tmp_path: Path) -> None:
    noise = np.indices((HEIGHT, WIDTH)).sum(0) % 2 == 0
    done = bring_in(db, coco(tmp_path / "set", {"size": [HEIGHT, WIDTH], "counts": runs_of(noise)}))
    assert (done.added, stored_correction(db).boxes[0].rings) == (1, ())
    assert any("outlines of 1 boxes" in note for note in done.notes)


def test_a_mask_of_another_pictures_size_says_nothing_of_this_one(
    db: Database, bring_in: BringIn, tmp_path: Path
) -> None:
    mask = {"size": [HEIGHT // 2, WIDTH // 2], "counts": [5, 7, HEIGHT // 2 * WIDTH // 2 - 12]}
    done = bring_in(db, coco(tmp_path / "alone", mask))
    assert (done.added, done.whole) == (0, False)
    assert "its mask lies on a picture of another size" in done.problems[0]
    done = bring_in(db, coco(tmp_path / "boxed", mask, [1, 2, 30, 20]))
    assert (done.added, done.boxes.lost) == (1, 0)
    assert (stored_correction(db).boxes[0].xyxy, stored_correction(db).boxes[0].rings) == ((1, 2, 31, 22), ())
    assert any("of another picture's size" in note for note in done.notes)


@pytest.mark.parametrize("wrong", [[["x"] * 6], [[1, 2, 3]], {"size": [4], "counts": [16]}, {"size": [4, 4]}])
def test_an_outline_that_cannot_be_read_is_told_and_the_box_beside_it_taken(
    db: Database, bring_in: BringIn, tmp_path: Path, wrong: Any
) -> None:
    done = bring_in(db, coco(tmp_path / "set", wrong, [1, 2, 30, 20]))
    assert (done.added, stored_correction(db).boxes[0].rings) == (1, ())
    assert any("or no polygons" in note for note in done.notes)


def test_the_area_of_a_square_is_its_sides_whichever_way_round() -> None:
    assert polygon_area((0, 0, 4, 0, 4, 3, 0, 3)) == polygon_area((0, 3, 4, 3, 4, 0, 0, 0)) == 12
