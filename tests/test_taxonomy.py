"""The taxonomy file: what is in it, how labels are found, and how a wrong line is refused."""

from __future__ import annotations

import hashlib
import pickle
import re
from pathlib import Path

import pytest

from xray_app.errors import BadInput, BadTaxonomy, UnknownLabel
from xray_app.settings import ASSETS
from xray_app.taxonomy import Taxonomy, load_taxonomy, normalise
from xray_app.types import Status

SMALL = """\
default_policy: airport
policies:
  airport:
    prohibited_threshold: 0.5
    lower_threshold: 0.25
    opaque_soft: 0.1
    opaque_hard: 0.2
    low_confidence: 0.4
    recall: 0.9
classes:
  - name: laptop
    plural: laptops
    status: allowed
  - name: knife
    plural: knives
    status: prohibited
    aliases: [Penknife, pocket_knife]
  - name: lighter
    plural: lighters
    status: restricted
    drawn: false
  - name: flick knife
    plural: flick knives
    status: prohibited
    retired: true
    replaced_by: knife
  - name: cap gun
    plural: cap guns
    status: restricted
    retired: true
"""


@pytest.fixture(scope="module")
def taxonomy() -> Taxonomy:
    return load_taxonomy()


def load(tmp_path: Path, text: str | bytes) -> Taxonomy:
    path = tmp_path / "site.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_taxonomy(path)


def test_the_forty_classes_of_the_site_have_their_status(taxonomy: Taxonomy) -> None:
    assert len(taxonomy.classes) == 40
    by_status = {status: [c.name for c in taxonomy.classes if c.status is status] for status in Status}
    assert by_status[Status.PROHIBITED][:6] == [
        "knife",
        "dagger",
        "blade",
        "scissors",
        "Swiss army knife",
        "razor blade",
    ]
    assert by_status[Status.RESTRICTED] == ["lighter", "pressurised can", "loose battery"]
    assert by_status[Status.ALLOWED][:2] == ["power bank", "nail polish"]
    assert taxonomy.default_policy == "airport"
    assert set(taxonomy.policies) == {"airport", "court", "prison"}


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("SwissArmyKnife", "Swiss army knife"),
        ("Swiss army knives", "Swiss army knife"),
        ("PlasticBottle", "plastic bottle"),
        ("plastic_bottles", "plastic bottle"),
        ("GlassBottle", "glass bottle"),
        ("zippooil", "lighter fuel"),
        ("pressure", "pressurised can"),
        ("SprayCans", "pressurised can"),
        ("pressurized can", "pressurised can"),
        ("Cans", "can"),
        ("CartonDrinks", "carton drink"),
        ("Tin", "tin"),
        ("VacuumCup", "vacuum cup"),
        ("powerbank", "power bank"),
        ("nailpolish", "nail polish"),
        ("firecrackers", "firecracker"),
        ("KNIVES", "knife"),
        ("  blade ", "blade"),
        ("mobile phone", "phone"),
        ("pistol", "gun"),
        ("loose batteries", "loose battery"),
    ],
)
def test_data_set_spellings_are_understood(taxonomy: Taxonomy, spelling: str, name: str) -> None:
    assert taxonomy.resolve(spelling).name == name


def test_an_unknown_label_is_named(taxonomy: Taxonomy) -> None:
    assert taxonomy.find("teapot") is None
    assert taxonomy.find("") is None
    with pytest.raises(UnknownLabel, match="'teapot'"):
        taxonomy.resolve("teapot")
    with pytest.raises(UnknownLabel) as caught:
        taxonomy.resolve("x" * 1_000_000)
    assert len(caught.value.message) < 200


def test_rank_puts_prohibited_first_then_restricted_then_allowed(tmp_path: Path) -> None:
    taxonomy = load(tmp_path, SMALL)
    assert taxonomy.names == ("knife", "lighter", "laptop")
    assert taxonomy.rank("penknife") == taxonomy.rank("knife") < taxonomy.rank("lighter") < taxonomy.rank("laptop")
    assert [c.name for c in taxonomy.drawn] == ["knife", "laptop"]


def test_retired_classes_still_resolve(tmp_path: Path) -> None:
    taxonomy = load(tmp_path, SMALL)
    assert taxonomy.resolve("flick knives").name == "knife"
    assert taxonomy.resolve("cap gun").retired
    assert "cap gun" not in taxonomy.names
    assert len(taxonomy.classes) == 5


def test_the_hash_is_the_files(taxonomy: Taxonomy) -> None:
    content = (ASSETS / "taxonomy.yaml").read_bytes()
    assert taxonomy.sha256 == hashlib.sha256(content).hexdigest()


def test_a_taxonomy_goes_to_worker_processes(taxonomy: Taxonomy) -> None:
    assert taxonomy.names
    copy = pickle.loads(pickle.dumps(taxonomy))  # noqa: S301
    assert copy.names == taxonomy.names
    assert copy.policies == taxonomy.policies


def test_items_and_boxes_are_filled_in(taxonomy: Taxonomy) -> None:
    item = taxonomy.item("pistols", 2, 0.5)
    assert (item.label, item.count, item.status, item.threat) == ("gun", 2, Status.PROHIBITED, True)
    box = taxonomy.box("b1", "human", "SprayCans", (0, 0, 5, 5))
    assert (box.label, box.status, box.threat, box.confidence) == (
        "pressurised can",
        Status.RESTRICTED,
        False,
        None,
    )


def test_policies_by_name(taxonomy: Taxonomy) -> None:
    assert taxonomy.policy() == taxonomy.policy("airport")
    assert taxonomy.policy("prison").prohibited_threshold < taxonomy.policy("airport").prohibited_threshold
    with pytest.raises(BadInput, match="'harbour'"):
        taxonomy.policy("harbour")


def wrong(old: str, new: str) -> str:
    assert SMALL.count(old) >= 1
    return SMALL.replace(old, new, 1)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (wrong("default_policy: airport", "default_policy: harbour"), 1, "harbour"),
        (wrong("recall: 0.9", "recal: 0.9"), 9, "unknown key 'recal'"),
        (wrong("    recall: 0.9\n", ""), 4, "lacks 'recall'"),
        (wrong("recall: 0.9", "recall: 1.5"), 9, "from 0 to 1"),
        (wrong("recall: 0.9", "recall: .nan"), 9, "from 0 to 1"),
        (wrong("recall: 0.9", "recall: high"), 9, "from 0 to 1"),
        (wrong("lower_threshold: 0.25", "lower_threshold: 0.75"), 5, "above prohibited_threshold"),
        (wrong("opaque_soft: 0.1", "opaque_soft: 0.3"), 6, "above opaque_hard"),
        (wrong("status: allowed", "status: forbidden"), 13, "'forbidden'"),
        (wrong("    plural: knives\n", ""), 14, "lacks 'plural'"),
        (wrong("plural: knives", "plural: lap tops"), 15, "already belongs to 'laptop' (line 12)"),
        (wrong("Penknife, pocket_knife", "Penknife, LAPTOP"), 17, "already belongs to 'laptop' (line 11)"),
        (wrong("Penknife, pocket_knife", "Penknife, Penknife"), 17, "listed twice"),
        (wrong("[Penknife, pocket_knife]", "Penknife"), 17, "must be a list"),
        (wrong("name: lighter", "name: knife"), 18, "already belongs to 'knife' (line 14)"),
        (wrong("name: lighter", "name: none"), 18, "'none'"),
        (wrong("name: lighter", "name: 'lighter, big'"), 18, "cannot be used"),
        (wrong("name: lighter", "name: [lighter]"), 18, "must be text"),
        (wrong("drawn: false", "drawn: no"), 21, "true or false"),
        (wrong("drawn: false", "draw: false"), 21, "unknown key 'draw'"),
        (wrong("drawn: false", "replaced_by: knife"), 21, "not retired"),
        (wrong("replaced_by: knife", "replaced_by: sword"), 26, "'sword'"),
        (wrong("replaced_by: knife", "replaced_by: flick knife"), 26, "circle"),
        (wrong("replaced_by: knife", "replaced_by: cap gun"), 26, "retired too"),
        (
            wrong("    status: restricted\n", "    status: restricted\n    status: allowed\n"),
            21,
            "given twice",
        ),
        (wrong("classes:", "classes: ]"), 10, "not valid YAML"),
        (SMALL + "extra: 1\n", 31, "unknown key 'extra'"),
        ("", 1, "empty"),
        ("- a\n- b\n", 1, "must be a mapping"),
        ("a: 1\n\x00b: 2\n", 2, "not valid YAML"),
        (b"a: 1\n\xff\xfe: 2\n", 2, "not UTF-8"),
        ("[" * 100_000, 1, "not valid YAML"),
    ],
)
def test_a_wrong_line_is_refused_with_its_number(tmp_path: Path, text: str | bytes, line: int, says: str) -> None:
    with pytest.raises(BadTaxonomy, match=re.escape(says)) as caught:
        load(tmp_path, text)
    assert f"site.yaml, line {line}:" in caught.value.message


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(BadTaxonomy, match="cannot be read"):
        load_taxonomy(tmp_path / "nowhere.yaml")


def test_normalising_forgets_case_and_separators_only() -> None:
    assert normalise("Swiss_Army-knife ") == normalise("swissarmyknife")
    assert normalise("can") != normalise("cans")
