"""Classes added at the desk: what one may be called, and what they change of the site's taxonomy."""

from __future__ import annotations

import pytest

from xray_app.detector.load import load_detector
from xray_app.errors import BadInput
from xray_app.report import format_report, parse_report
from xray_app.settings import Settings
from xray_app.site_classes import new_class, suggested_name
from xray_app.taxonomy import ItemClass, Taxonomy
from xray_app.types import Status

KATANA = ItemClass.of_desk("katana", Status.PROHIBITED)
VAPE = ItemClass.of_desk("vape", Status.RESTRICTED)


@pytest.mark.parametrize("name", ["katana", " Samurai  sword ", "刀", "x" * 40])
def test_a_name_that_the_file_could_have_is_taken(taxonomy: Taxonomy, name: str) -> None:
    made = new_class(name, "restricted", taxonomy)
    assert (made.name, made.plural, made.status) == (" ".join(name.split()), made.name, Status.RESTRICTED)


@pytest.mark.parametrize(
    ("name", "status", "why"),
    [
        ("", "prohibited", "cannot be used"),
        ("x" * 41, "prohibited", "cannot be used"),
        ("2 knives", "prohibited", "cannot be used"),
        ("knife, gun", "prohibited", "cannot be used"),
        ("knife (big)", "prohibited", "cannot be used"),
        ("<b>odd</b>", "prohibited", "cannot be used"),
        ("None", "prohibited", "cannot be used"),
        ("Threat", "prohibited", "cannot be used"),
        ("Ignore", "prohibited", "what to do with a label"),
        ("all", "prohibited", "what to do with a label"),
        ("KNIFE", "prohibited", "known here already: knife"),
        ("knives", "prohibited", "known here already: knife"),
        ("pistol", "prohibited", "known here already: gun"),
        ("Swiss_army-knife", "prohibited", "known here already: Swiss army knife"),
        ("katana", "harmless", "prohibited, restricted, allowed, not 'harmless'"),
        ("katana", "", "prohibited, restricted, allowed, not ''"),
    ],
)
def test_another_is_refused_with_the_reason(taxonomy: Taxonomy, name: str, status: str, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        new_class(name, status, taxonomy)


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("Katana", "Katana"),
        ("Saw_blade_2", "Saw blade 2"),
        ("<b>odd</b>", "b odd b"),
        ("3D_Gun", ""),
        ("", ""),
    ],
)
def test_a_label_suggests_its_name(label: str, name: str) -> None:
    assert suggested_name(label) == name


def test_an_added_class_stands_after_the_files_own_and_is_read_and_written(taxonomy: Taxonomy) -> None:
    more = taxonomy.with_classes([KATANA, VAPE])
    assert [one.name for one in more.classes] == [*(one.name for one in taxonomy.classes), "katana", "vape"]
    prohibited = [name for name in more.names if more.resolve(name).status is Status.PROHIBITED]
    assert prohibited == [*(name for name in taxonomy.names if name in prohibited), "katana"]
    text = format_report({"katana": 2, "knife": 1, "vape": 1}, more)
    assert text == (
        "Items detected: 1 knife (threat), 2 katana (threat), 1 vape (restricted). "
        "Security risk: HIGH - knife, katana detected."
    )
    report = parse_report(text, more)
    assert report.complete
    assert [(item.label, item.count, item.threat) for item in report.items] == [
        ("knife", 1, True), ("katana", 2, True), ("vape", 1, False),
    ]  # fmt: skip
    assert taxonomy.find("katana") is None, "the taxonomy it was made of stays as it is"
    assert [one.name for one in more.drawn] == [one.name for one in taxonomy.drawn]


def test_hashes_change_with_what_was_added_and_with_nothing_else(taxonomy: Taxonomy) -> None:
    assert taxonomy.with_classes([]) is taxonomy
    assert taxonomy.with_classes([ItemClass.of_desk("Pistol", Status.ALLOWED)]) is taxonomy, "the file goes first"
    once, twice = taxonomy.with_classes([KATANA, VAPE]), taxonomy.with_classes([KATANA]).with_classes([VAPE, KATANA])
    other = taxonomy.with_classes([KATANA, ItemClass.of_desk("vape", Status.ALLOWED)])
    for what in ("sha256", "classes_sha256"):
        assert getattr(once, what) == getattr(twice, what)
        assert len({getattr(one, what) for one in (taxonomy, taxonomy.with_classes([KATANA]), once, other)}) == 4
    assert once.rules().measured_sha256 != taxonomy.rules().measured_sha256


def test_who_looked_for_the_files_classes_did_not_look_for_one_added_later(taxonomy: Taxonomy) -> None:
    drawn = [one.name for one in taxonomy.drawn]
    more = taxonomy.with_classes([KATANA])
    assert taxonomy.scope(drawn) is None
    assert set(more.scope(drawn) or ()) == set(drawn)
    assert more.scope([*drawn, "katana"]) is None


def test_the_bundled_detector_loads_beside_added_classes_and_sees_what_it_saw(taxonomy: Taxonomy) -> None:
    settings, more = Settings(_env_file=None), taxonomy.with_classes([KATANA, VAPE])
    assert load_detector(settings, more).labels == load_detector(settings, taxonomy).labels
