"""What a stranger's labels mean: known, offered, said by a person, and kept for the next time."""

from __future__ import annotations

from pathlib import Path

import pytest

from xray_app.errors import BadInput, UnknownLabel
from xray_app.exchange.known_sets import OFFERED, offered
from xray_app.exchange.label_map import LabelMap, mapping_file, mapping_option, read_looked_for, read_mapping
from xray_app.exchange.meanings import Meanings
from xray_app.settings import ASSETS
from xray_app.store import label_meanings, site_taxonomy
from xray_app.store.database import Database
from xray_app.taxonomy import Taxonomy
from xray_app.types import Status

# As the sets' own label files write them.
SETS = {
    "SIXray": "Gun Knife Wrench Pliers Scissors Hammer",
    "OPIXray": "Folding_Knife Straight_Knife Scissor Utility_Knife Multi-tool_Knife",
    "PIDray": "Baton Pliers Hammer Powerbank Scissors Wrench Gun Bullet Sprayer HandCuffs Knife Lighter",
    "HiXray": "Portable_Charger_1 Portable_Charger_2 Mobile_Phone Laptop Tablet Cosmetic Water Nonmetallic_Lighter",
    "CLCXray": "blade dagger knife scissors SwissArmyKnife Cans CartonDrinks GlassBottle PlasticBottle VacuumCup "
    "SprayCans Tin",
    "PIXray": "Gun Knife Lighter Battery Pliers Scissors Wrench Hammer Screwdriver Dart Bat Fireworks Saw_blade "
    "Razor_blade Pressure_vessel",
    "STCray": "Explosive Gun 3D_Gun Knife Dagger Flammable Blade Lighter Injection Battery Nail_Cutter "
    "Other_Sharp_Item Powerbank Scissors Hammer Pliers Wrench Screwdriver Handcuffs Bullet",
    "CargoXray": "textiles auto_parts shoes toys tires clothes spare_parts fabrics",
}
SETS["DvXray"] = SETS["PIXray"]


@pytest.mark.parametrize("name", sorted(SETS))
def test_every_class_of_the_public_sets_is_known_or_offered(taxonomy: Taxonomy, name: str) -> None:
    labels = SETS[name].split()
    assert [one for one in labels if taxonomy.find(one) is None and offered(one, taxonomy) is None] == []


def test_what_is_offered_is_a_class_or_to_be_ignored(taxonomy: Taxonomy) -> None:
    assert {offered(label, taxonomy) for label in OFFERED} <= {*taxonomy.names, "ignore"}
    assert offered("unicorn", taxonomy) is None


def test_an_offer_is_made_and_taken_by_nobody_but_a_person(taxonomy: Taxonomy, tmp_path: Path) -> None:
    with pytest.raises(UnknownLabel, match="Offered: Bat=baton; Dart=ignore") as caught:
        LabelMap(taxonomy).refuse_unknown(["Bat", "Gun", "Dart", "unicorn"], tmp_path)
    details = caught.value.details or {}
    assert details == {"labels": ["Bat", "Dart", "unicorn"], "offered": {"Bat": "baton", "Dart": "ignore"}}
    assert LabelMap(taxonomy).find("Bat") is None
    said = read_mapping([("Bat", "nightstick"), ("unicorn", "Ignore"), ("Dart", "ignore"), ("gun", "phone")], taxonomy)
    labels = LabelMap(taxonomy, said)
    labels.refuse_unknown(["bat", "Unicorn", "dart"], tmp_path)
    assert [labels.find(one) for one in ("BAT", "dart", "Gun", "knife")] == ["baton", None, "phone", "knife"]
    assert labels.why_not("dart") == "ignored by the mapping"
    assert LabelMap(taxonomy).why_not("dart") == "unknown label"


@pytest.mark.parametrize("pairs", [[("Bat", "club")], [("Bat", "baton"), ("bat", "gun")], [(" ", "gun")]])
def test_a_mapping_that_makes_no_sense_is_refused(taxonomy: Taxonomy, pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(BadInput):
        read_mapping(pairs, taxonomy)


def test_mappings_come_by_option_and_file(tmp_path: Path) -> None:
    assert mapping_option("a=b = baton") == ("a=b", "baton")
    for text in ("baton", "=baton", "Bat=", ""):
        with pytest.raises(BadInput, match="LABEL=CLASS"):
            mapping_option(text)
    (tmp_path / "m.yaml").write_text("Bat: baton\n7: gun\n'no': ignore\n")
    assert mapping_file(tmp_path / "m.yaml") == [("Bat", "baton"), ("7", "gun"), ("no", "ignore")]
    (tmp_path / "m.csv").write_bytes('label,class\n"Other, sharp",blade\n刀,knife\n'.encode("gbk"))
    assert mapping_file(tmp_path / "m.csv") == [("Other, sharp", "blade"), ("刀", "knife")]
    (tmp_path / "m.yaml").write_text("Bat: [baton]\n")
    with pytest.raises(BadInput, match="label: class"):
        mapping_file(tmp_path / "m.yaml")


def test_what_was_looked_for(taxonomy: Taxonomy) -> None:
    assert read_looked_for(None, taxonomy) is None
    assert read_looked_for("  ", taxonomy) is None
    assert read_looked_for("pistols, Knife,gun", taxonomy) == ("gun", "knife")
    assert read_looked_for("All", taxonomy) == taxonomy.names
    assert LabelMap(taxonomy, looked_for=taxonomy.names).scope(()) is None
    with pytest.raises(UnknownLabel):
        read_looked_for("knife, unicorn", taxonomy)


def test_meanings_are_kept_and_the_last_word_counts(db: Database, taxonomy: Taxonomy) -> None:
    label_meanings.keep(db, {"bat": "baton", "dart": None}, "ann")
    label_meanings.keep(db, {"bat": "saw"}, "bob")
    assert label_meanings.said(db, taxonomy) == {"bat": "saw", "dart": None}
    label_meanings.keep(db, {"bat": "a class of old"}, "bob")
    assert label_meanings.said(db, taxonomy) == {"dart": None}


def test_a_label_may_be_a_new_class(taxonomy: Taxonomy, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(
        "Katana: new:katana\nVape: 'NEW: vape : Restricted'\nSword: new:katana\nBat: baton\n"
    )
    pairs = mapping_file(tmp_path / "m.yaml")
    assert mapping_option("Katana=new:katana") == pairs[0]
    said = Meanings.read(pairs, taxonomy)
    assert [(one.name, one.status.value) for one in said.new] == [("katana", "prohibited"), ("vape", "restricted")]
    assert said.said == {"katana": "katana", "vape": "vape", "sword": "katana", "bat": "baton"}
    assert said.taxonomy.resolve("KATANA").status is Status.PROHIBITED
    assert taxonomy.find("katana") is None, "nothing is kept by reading"
    again = Meanings.read(pairs, said.taxonomy)
    assert (again.new, again.said) == ((), said.said), "the same file serves the next import"


@pytest.mark.parametrize(
    ("pairs", "why"),
    [
        ([("Sword", "new:")], "cannot be used"),
        ([("Sword", "new:a:b:allowed")], "cannot be used"),
        ([("Sword", "new:sword:harmless")], "not 'harmless'"),
        ([("Gun", "new:pistol")], "known here already: gun"),
        ([("Gun", "new:gun")], "known here already: gun"),
        ([("A", "new:sword"), ("B", "new:sword:allowed")], "known here already: sword, which is prohibited"),
        ([("Sword", "new:sword"), ("sword", "knife")], "says twice"),
        ([("Sword", "new")], "'new' is not a class"),
    ],
)
def test_a_class_that_cannot_be_made_is_refused(taxonomy: Taxonomy, pairs: list[tuple[str, str]], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        Meanings.read(pairs, taxonomy)


def test_a_new_class_is_kept_with_what_was_said(db: Database, taxonomy: Taxonomy) -> None:
    said = Meanings.read([("Katana", "new:katana"), ("Dart", "ignore")], taxonomy)
    said.keep(db, "ann")
    said.keep(db, "ann")
    known = site_taxonomy.site_taxonomy(db, ASSETS / "taxonomy.yaml")
    assert known.sha256 == said.taxonomy.sha256
    labels = Meanings.read([("Bat", "baton")], known).label_map(db, False, "katana, gun")
    assert [labels.find(one) for one in ("Katana", "Dart", "bat")] == ["katana", None, "baton"]
    assert labels.looked_for == ("katana", "gun")
