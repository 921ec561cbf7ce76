"""A class keeps its number in every export, whatever becomes of the taxonomy's file."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tests.exchange.conftest import LIMITS, Correct
from xray_app.exchange.export import Filter, export_zip
from xray_app.store import class_ids
from xray_app.store.database import Database
from xray_app.taxonomy import Taxonomy, load_taxonomy

HEAD = """default_policy: a
policies: {a: {prohibited_threshold: 0.5, lower_threshold: 0.2, opaque_soft: 0.1, opaque_hard: 0.2, low_confidence: 0.4,
  recall: 0.9}}
classes:
"""
Make = Callable[..., Taxonomy]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A taxonomy of rows such as "phone allowed" and "gun prohibited pistol", the last word an alias."""

    def making(*rows: str, more: str = "") -> Taxonomy:
        lines = []
        for row in rows:
            name, status, *aliases = row.split()
            given = f", aliases: [{aliases[0]}]" if aliases else ""
            lines.append(f"  - {{name: {name}, plural: {name}s, status: {status}{given}}}\n")
        path = tmp_path / "taxonomy.yaml"
        path.write_text(HEAD + "".join(lines) + more)
        return load_taxonomy(path)

    return making


def numbers(db: Database, taxonomy: Taxonomy) -> tuple[dict[str, int], dict[str, int]]:
    """Class numbers of a YOLO and a COCO export."""

    def file(format_name: str, name: str) -> str:
        content = b"".join(export_zip(db, taxonomy, LIMITS, format_name, Filter()))
        with zipfile.ZipFile(io.BytesIO(content)) as opened:
            return opened.read(name).decode()

    yolo = yaml.safe_load(file("yolo", "data.yaml"))["names"]
    coco = json.loads(file("coco", "annotations/instances_train.json"))["categories"]
    return {name: id for id, name in yolo.items()}, {one["name"]: one["id"] for one in coco}


def test_ids_stay_when_the_taxonomy_changes(db: Database, make: Make, correct: Correct) -> None:
    correct(2, {"phone": 1}, [("phone", (1, 2, 30, 40))], bag="bag 2")
    first = make("phone allowed", "gun prohibited", "knife prohibited")
    before, categories = numbers(db, first)
    assert before == {"phone": 0, "gun": 1, "knife": 2}  # the file's order, not that of the statuses
    assert categories == {"phone": 1, "gun": 2, "knife": 3}
    # Another status, another order, a new class before all others, one renamed.
    later = make("machete prohibited", "knife allowed", "firearm prohibited gun", "phone prohibited")
    after, categories = numbers(db, later)
    assert after == {"phone": 0, "firearm": 1, "knife": 2, "machete": 3}
    assert categories == {"phone": 1, "firearm": 2, "knife": 3, "machete": 4}


def test_an_id_never_comes_to_mean_another_class(db: Database, make: Make, correct: Correct) -> None:
    correct(2, {"phone": 1}, [("phone", (1, 2, 30, 40))], bag="bag 2")
    numbers(db, make("gun prohibited", "phone allowed", "knife prohibited"))
    # The gun is gone from the file, the knife has become another word for a new class's.
    after, _ = numbers(db, make("sword prohibited knife", "phone allowed"))
    assert after == {"gun": 0, "phone": 1, "sword": 2}
    again, _ = numbers(db, make("axe prohibited", "gun prohibited", "phone allowed phones-old"))
    assert again == {"gun": 0, "phone": 1, "knife": 2, "axe": 3}


def test_the_bundled_classes_have_the_ids_they_had(db: Database, taxonomy: Taxonomy) -> None:
    assert class_ids.of_classes(db, taxonomy) == taxonomy.names
    assert class_ids.of_classes(db, taxonomy) == taxonomy.names


def test_ids_are_appended_alone(db: Database, taxonomy: Taxonomy) -> None:
    class_ids.of_classes(db, taxonomy)
    for change in ("UPDATE class_ids SET name = 'x' WHERE id = 0", "DELETE FROM class_ids"):
        with pytest.raises(DBAPIError, match="append-only"), db.write() as session:
            session.execute(text(change))
