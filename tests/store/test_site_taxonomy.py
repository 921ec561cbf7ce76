"""The classes people added: kept for good, the same in every process, none of a person's threats lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tests.conftest import MakeAnalysis
from training.data.samples import training_samples
from xray_app.correction.revision import split_of
from xray_app.errors import BadInput, Conflict, UnknownLabel
from xray_app.exchange.class_ids import class_ids
from xray_app.settings import ASSETS
from xray_app.site_classes import MOST_CLASSES, new_class
from xray_app.store import audit, corrections, site_taxonomy, standing
from xray_app.store import class_ids as stored_ids
from xray_app.store.database import Database
from xray_app.taxonomy import ItemClass, Taxonomy
from xray_app.types import CorrectionIn, Status

FILE = ASSETS / "taxonomy.yaml"


def add(db: Database, taxonomy: Taxonomy, name: str, status: str = "prohibited") -> None:
    site_taxonomy.add(db, taxonomy, [new_class(name, status, taxonomy)], "ann")


def names_of(taxonomy: Taxonomy) -> list[str]:
    return [one.name for one in taxonomy.classes if one.added]


def test_what_was_added_is_a_class_in_every_process(
    db: Database, taxonomy: Taxonomy, tmp_path: Path, database_url: Callable[[Path], str]
) -> None:
    rules = taxonomy.rules("court")
    assert site_taxonomy.rules_in_force(db, rules) is rules
    add(db, taxonomy, "katana")
    add(db, taxonomy, "vape", "restricted")
    known = site_taxonomy.rules_in_force(db, rules)
    assert known is site_taxonomy.rules_in_force(db, rules), "nobody has to look whether it is another one"
    assert known.policy is rules.policy
    other = Database(db.engine, db.data_dir)
    seen = site_taxonomy.site_taxonomy(other, FILE)
    assert names_of(seen) == names_of(known.taxonomy) == ["katana", "vape"]
    assert (seen.sha256, seen.classes_sha256) == (known.taxonomy.sha256, known.taxonomy.classes_sha256)
    kept = site_taxonomy.added(db)
    assert [(one.name, one.status, one.by) for one in kept] == [
        ("katana", Status.PROHIBITED, "ann"), ("vape", Status.RESTRICTED, "ann"),
    ]  # fmt: skip
    assert kept[0].created_at <= kept[1].created_at
    acts = [(one.who, one.what, one.details["name"]) for one in audit.newest(db)]
    assert acts == [("ann", "class added", "vape"), ("ann", "class added", "katana")]


@pytest.mark.parametrize("statement", ["DELETE FROM site_classes", "UPDATE site_classes SET status = 'allowed'"])
def test_no_class_is_ever_taken_back_or_changed(db: Database, taxonomy: Taxonomy, statement: str) -> None:
    add(db, taxonomy, "katana")
    with pytest.raises(DBAPIError, match="append-only"), db.write() as session:
        session.execute(text(statement))
    assert site_taxonomy.site_taxonomy(db, FILE).resolve("katana").status is Status.PROHIBITED


def test_two_admins_who_add_the_same_agree_or_are_told(db: Database, taxonomy: Taxonomy) -> None:
    add(db, taxonomy, "katana")
    add(db, taxonomy, "Katana")  # made of the classes of before, which knew none
    assert [one.name for one in site_taxonomy.added(db)] == ["katana"]
    with pytest.raises(Conflict, match="'katana' is a class by now: katana, which is prohibited"):
        add(db, taxonomy, "katana", "allowed")
    both = [ItemClass.of_desk("vape", Status.ALLOWED), ItemClass.of_desk("katana", Status.ALLOWED)]
    with pytest.raises(Conflict):
        site_taxonomy.add(db, taxonomy, both, "bob")
    assert [one.name for one in site_taxonomy.added(db)] == ["katana"], "all or none"


def test_there_is_an_end_to_them(db: Database, taxonomy: Taxonomy) -> None:
    letters = "abcdefghijklmnopqrst"
    many = [ItemClass.of_desk(f"thing {a}{b}", Status.ALLOWED) for a in letters for b in letters][:MOST_CLASSES]
    site_taxonomy.add(db, taxonomy, many, "ann")
    with pytest.raises(BadInput, match=f"{MOST_CLASSES} classes of its own"):
        add(db, taxonomy, "katana")
    add(db, taxonomy, "thing aa", "allowed")  # is there
    assert len(names_of(site_taxonomy.site_taxonomy(db, FILE))) == MOST_CLASSES


def test_the_file_has_the_last_word_on_a_name(db: Database, taxonomy: Taxonomy, tmp_path: Path) -> None:
    add(db, taxonomy, "katana")
    mine = tmp_path / "mine.yaml"
    mine.write_text(FILE.read_text().replace("  - name: dagger\n", "  - name: katana\n", 1))
    assert mine.read_text() != FILE.read_text()
    known = site_taxonomy.site_taxonomy(db, mine)
    assert names_of(known) == []
    assert known.resolve("katana").plural == "daggers"


def test_ids_of_exports_go_on_after_the_ones_given(db: Database, taxonomy: Taxonomy, tmp_path: Path) -> None:
    before = stored_ids.of_classes(db, taxonomy)
    add(db, taxonomy, "katana")
    known = site_taxonomy.site_taxonomy(db, FILE)
    assert stored_ids.of_classes(db, known) == (*before, "katana")
    longer = tmp_path / "longer.yaml"
    shutil.copyfile(FILE, longer)
    with longer.open("a") as file:
        file.write("\n  - name: sabre\n    plural: sabres\n    status: prohibited\n")
    add(db, known, "vape", "restricted")
    later = site_taxonomy.site_taxonomy(db, longer)
    given = stored_ids.of_classes(db, later)
    assert given == (*before, "katana", "sabre", "vape"), "a class of the file moves no id"
    assert class_ids(later, given).of["katana"] == len(before)


def test_a_persons_threat_of_an_added_class_raises_the_bag_and_trains(
    db: Database, taxonomy: Taxonomy, stored: MakeAnalysis
) -> None:
    bag = next(f"bag {n}" for n in range(99) if split_of(f"bag {n}") == "train")
    analysis = stored(1, bag_id=bag, risk=stored(2).risk.model_copy(update={"level": "LOW", "action": "REVIEW"}))
    said = CorrectionIn(items=[{"label": "Katana", "count": 1}], boxes=[{"label": "katana", "xyxy": (1, 2, 30, 40)}])
    with pytest.raises(UnknownLabel):
        corrections.add(db, analysis.id, said, "nora", taxonomy, review_required=False)
    add(db, taxonomy, "katana")
    known = site_taxonomy.site_taxonomy(db, FILE)
    corrections.add(db, analysis.id, said, "nora", known, review_required=True)
    risk = standing.of_bag(db, bag).risk
    assert (risk.level, risk.by) == ("HIGH", "nora")
    assert "katana" in risk.reason
    corrections.review(db, corrections.history(db, analysis.id)[-1].id, "accepted", None, "bob")
    (sample,) = training_samples(db, known)
    assert sample.response == "Items detected: 1 katana (threat). Security risk: HIGH - katana detected."
    assert [box.label for box in sample.boxes] == ["katana"]
