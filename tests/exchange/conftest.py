"""A store with scans of every kind of knowledge: corrected, confirmed, half looked at, and only predicted."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeAnalysis
from tests.exchange.datasets import Read
from xray_app.exchange.dataset import Dataset
from xray_app.exchange.export import Filter, Progress, export_zip
from xray_app.exchange.label_map import LabelMap
from xray_app.exchange.readers import read_dataset
from xray_app.scan.read import Limits
from xray_app.store import corrections
from xray_app.store.database import Database
from xray_app.store.standing import documents, of_scans
from xray_app.taxonomy import Taxonomy
from xray_app.types import Correction, CorrectionIn

LIMITS = Limits(50 * 2**20, 50_000_000)
Export = Callable[..., Path]
Correct = Callable[..., Correction]


@pytest.fixture
def correct(db: Database, stored: MakeAnalysis, taxonomy: Taxonomy) -> Correct:
    """Stores a scan and corrects it: `correct(7, items={"gun": 1}, boxes=[("gun", (1, 2, 30, 40))])`."""

    def make(
        shade: int,
        items: dict[str, int],
        boxes: list[tuple[str, tuple[float, float, float, float]]],
        author: str = "bob",
        bag: str | None = None,
        **said: Any,
    ) -> Correction:
        analysis = stored(shade, bag_id=bag)
        correction = CorrectionIn(
            items=[{"label": label, "count": count} for label, count in items.items()],
            boxes=[{"label": label, "xyxy": xyxy} for label, xyxy in boxes],
            **said,
        )
        return corrections.add(db, analysis.id, correction, author, taxonomy, review_required=False)

    return make


@pytest.fixture
def filled(correct: Correct, stored: MakeAnalysis) -> list[Correction]:
    """Six corrected scans, two of them in the hold-out (bags 1 and 5), and a prediction."""
    made = [
        correct(1, {"knife": 1}, [("knife", (10, 20, 110, 90))], bag="bag 1"),
        correct(2, {"gun": 1, "phone": 2}, [("gun", (0, 0, 33.25, 44.5)), ("phone", (9, 2, 320, 240))], bag="bag 2"),
        correct(3, {}, [], bag="bag 3", comment="empty 😀 =1+1"),
        correct(4, {"knife": 3}, [("knife", (5.125, 6.06, 7.5, 9))], bag="bag 4", labelled_classes=["knife", "gun"]),
        correct(5, {"phone": 1}, [("phone", (1, 2, 3, 4)), ("phone", (2, 2, 9, 9))], bag="bag 5", author="carl"),
        correct(7, {"scissors": 1}, [("scissors", (100, 100, 180, 160))], bag="bag 7"),
    ]  # fmt: skip
    stored(8, bag_id="bag 8")
    return made


@pytest.fixture
def export(db: Database, taxonomy: Taxonomy, tmp_path: Path) -> Export:
    """Exports, unpacks and gives the folder."""

    def make(format_name: str, progress: Progress | None = None, **chosen: Any) -> Path:
        content = b"".join(export_zip(db, taxonomy, LIMITS, format_name, Filter(**chosen), progress))
        folder = tmp_path / f"{format_name}-{len(list(tmp_path.iterdir()))}"
        with zipfile.ZipFile(io.BytesIO(content)) as opened:
            assert opened.testzip() is None
            opened.extractall(folder)
        return folder

    return make


def said(db: Database) -> dict[str, tuple[Any, ...]]:
    """What is known by now of each bag, without who said it and when; boxes to a hundredth of a pixel."""
    return {
        analysis.scan.bag_id: (
            {item.label: item.count for item in correction.items},
            sorted((box.label, tuple(round(x, 2) for x in box.xyxy)) for box in correction.boxes),
            correction.labelled_classes,
            correction.split,
            analysis.scan.filename,
        )
        for analysis, correction in documents(db, of_scans(db))
        if correction is not None
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    folder.mkdir()
    return folder


@pytest.fixture
def read(root: Path, taxonomy: Taxonomy) -> Read:
    def reading(format_name: str | None = None, **said: Any) -> Dataset:
        return read_dataset(root, LabelMap(taxonomy, **said), format_name)

    return reading


def zipped(folder: Path) -> Path:
    target = folder.with_suffix(".zip")
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, Path("wrapping") / path.relative_to(folder))
    return target
