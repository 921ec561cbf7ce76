"""Two people's changes of one revision, put together."""

from __future__ import annotations

from xray_app.correction.merging import Version, merge
from xray_app.taxonomy import Taxonomy
from xray_app.types import XYXY, Box


def box(taxonomy: Taxonomy, id: str, label: str, xyxy: XYXY) -> Box:
    return taxonomy.box(id, "human", label, xyxy)


def version(
    taxonomy: Taxonomy, counts: dict[str, int], *boxes: Box, looked_for: tuple[str, ...] | None = None
) -> Version:
    return Version(tuple(taxonomy.item(label, count) for label, count in counts.items()), boxes, looked_for)


def test_what_only_one_changed_is_theirs(taxonomy: Taxonomy) -> None:
    knife, gun = box(taxonomy, "k", "knife", (0, 0, 10, 10)), box(taxonomy, "g", "gun", (50, 50, 80, 80))
    moved = box(taxonomy, "k", "knife", (1, 0, 11, 10))
    axe, saw = box(taxonomy, "a", "axe", (20, 20, 30, 30)), box(taxonomy, "s", "saw", (90, 0, 99, 9))
    base = version(taxonomy, {"knife": 1, "gun": 1, "laptop": 1}, knife, gun)
    mine = version(taxonomy, {"knife": 1, "gun": 1, "laptop": 2, "axe": 1}, moved, gun, axe)
    theirs = version(taxonomy, {"knife": 1, "saw": 1}, knife, saw)  # no gun, no laptop; a saw
    merged = merge(base, mine, theirs)
    assert {one.id: one.xyxy for one in merged.boxes} == {"k": moved.xyxy, "a": axe.xyxy, "s": saw.xyxy}
    assert merged.counts == {"knife": 1, "axe": 1, "saw": 1, "laptop": 2}
    assert merged.clashes == ("You count 2 of laptop, they count 0: the higher is shown.",)


def test_what_both_changed_is_kept_and_said(taxonomy: Taxonomy) -> None:
    boxes = [box(taxonomy, id, "knife", (0, 0, 10, 10)) for id in "abcd"]
    base = version(taxonomy, {"knife": 4}, *boxes)
    relabelled = box(taxonomy, "a", "dagger", (0, 0, 10, 10))
    other_label = box(taxonomy, "a", "scissors", (0, 0, 10, 10))
    my_b, their_b = box(taxonomy, "b", "knife", (1, 1, 11, 11)), box(taxonomy, "b", "knife", (2, 2, 12, 12))
    my_c = box(taxonomy, "c", "knife", (3, 3, 13, 13))
    their_d = box(taxonomy, "d", "knife", (4, 4, 14, 14))
    merged = merge(
        base,
        version(taxonomy, {"dagger": 1, "knife": 2}, relabelled, my_b, my_c),
        version(taxonomy, {"scissors": 1, "knife": 2}, other_label, their_b, their_d),
    )
    assert {one.id: (one.label, one.xyxy[0]) for one in merged.boxes} == {
        "a": ("dagger", 0), "b": ("knife", 1), "c": ("knife", 3), "d": ("knife", 4),
    }  # fmt: skip
    assert merged.counts == {"dagger": 1, "knife": 3}, "counts that were the boxes' stay so"
    assert merged.clashes == (
        "A box is dagger to you and scissors to them: yours is shown.",
        "Both of you moved the box of knife: yours is shown.",
        "They deleted a box of knife that you changed: it is shown as you have it.",
        "You deleted a box of knife that they changed: it is shown as they have it.",
    )


def test_the_same_thing_drawn_by_both_is_one_box(taxonomy: Taxonomy) -> None:
    base = version(taxonomy, {})
    mine = version(taxonomy, {"knife": 1}, box(taxonomy, "m", "knife", (0, 0, 10, 10)))
    theirs = version(taxonomy, {"knife": 1}, box(taxonomy, "t", "knife", (1, 0, 11, 10)))
    assert [one.id for one in merge(base, mine, theirs).boxes] == ["t"]
    apart = version(taxonomy, {"knife": 1}, box(taxonomy, "t", "knife", (8, 0, 18, 10)))
    both = merge(base, mine, apart)
    assert len(both.boxes) == 2
    assert both.counts == {"knife": 2}


def test_two_boxes_that_share_half_are_one_and_less_are_two(taxonomy: Taxonomy) -> None:
    base = version(taxonomy, {})
    mine = version(taxonomy, {"knife": 1}, box(taxonomy, "m", "knife", (0, 0, 10, 10)))
    for width, boxes in ((5.0, 1), (4.9, 2)):
        theirs = version(taxonomy, {"knife": 1}, box(taxonomy, "t", "knife", (0, 0, width, 10)))
        assert len(merge(base, mine, theirs).boxes) == boxes
    gun = version(taxonomy, {"gun": 1}, box(taxonomy, "t", "gun", (0, 0, 10, 10)))
    assert len(merge(base, mine, gun).boxes) == 2, "at the same place, but another thing"


def test_a_merged_count_stays_countable(taxonomy: Taxonomy) -> None:
    places = [(float(x), float(y), x + 1.0, y + 1.0) for x in range(0, 20, 2) for y in range(0, 20, 2)]
    drawn = [[box(taxonomy, f"{who}{n}", "knife", xyxy) for n, xyxy in enumerate(places)] for who in "mt"]
    mine, theirs = (
        version(taxonomy, {"knife": count}, *boxes) for count, boxes in ((60, drawn[0][:60]), (40, drawn[1][60:]))
    )
    merged = merge(version(taxonomy, {}), mine, theirs)
    assert len(merged.boxes) == 100
    assert merged.counts == {"knife": 99}


def test_the_same_change_by_both_is_no_clash(taxonomy: Taxonomy) -> None:
    base = version(taxonomy, {"knife": 1, "laptop": 1}, box(taxonomy, "k", "knife", (0, 0, 10, 10)))
    changed = version(taxonomy, {"laptop": 3})
    assert merge(base, changed, changed).clashes == ()
    assert merge(base, changed, changed).counts == {"laptop": 3}
    assert merge(base, base, base).boxes == base.boxes


def test_what_somebody_did_not_look_for_they_did_not_change(taxonomy: Taxonomy) -> None:
    knife, gun = box(taxonomy, "k", "knife", (0, 0, 10, 10)), box(taxonomy, "g", "gun", (50, 50, 80, 80))
    base = version(taxonomy, {"knife": 1, "gun": 1, "laptop": 1}, knife, gun)
    theirs = version(taxonomy, {}, looked_for=("knife",))  # no knife there; the rest they left out
    merged = merge(base, base, theirs)
    assert [one.id for one in merged.boxes] == ["g"]
    assert merged.counts == {"gun": 1, "laptop": 1}
    assert merged.clashes == ()
