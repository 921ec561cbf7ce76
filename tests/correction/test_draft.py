"""What an unsaved correction says, and two people's work put together as the next draft."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import MakeAnalysis
from xray_app.correction.draft import base_of, merge_onto, read_draft, unlisted, with_counts_from_boxes
from xray_app.errors import BadInput, UnknownLabel
from xray_app.taxonomy import Taxonomy
from xray_app.types import Analysis, Correction, CorrectionBox, CorrectionIn, Diff, ItemCount

Scope = tuple[str, ...] | None
Saved = Callable[..., Correction]
KNIFE = CorrectionBox(id="b1", label="knife", xyxy=(10, 20, 110, 90))


def draft(
    *boxes: CorrectionBox, base: int = 0, looked_for: tuple[str, ...] | None = None, **counts: int
) -> CorrectionIn:
    items = tuple(ItemCount(label=label, count=count) for label, count in counts.items())
    return CorrectionIn(items=items, boxes=boxes, base_revision=base, labelled_classes=looked_for)


@pytest.fixture
def analysis(make_analysis: MakeAnalysis) -> Analysis:
    return make_analysis()


@pytest.fixture
def saved(analysis: Analysis, taxonomy: Taxonomy) -> Saved:
    """Makes a revision of what was sent: `saved(1, sent, "rejected")`."""

    def make(number: int, sent: CorrectionIn, status: str = "accepted") -> Correction:
        version = read_draft(sent, analysis, (), taxonomy)
        return Correction(
            id=f"c{number}",
            analysis_id=analysis.id,
            revision=number,
            status=status,  # type: ignore[arg-type]
            author="ben",
            created_at=analysis.created_at,
            items=version.items,
            boxes=version.boxes,
            labelled_classes=version.looked_for,
            comment=None,
            diff=Diff(),
            split="train",
        )

    return make


def test_a_draft_is_based_on_its_revision_or_where_that_was_rejected_on_the_one_before(saved: Saved) -> None:
    first, second = saved(1, draft(gun=1)), saved(2, draft(gun=2), "rejected")
    third = saved(3, draft(gun=3))
    assert base_of(draft(base=0), [first]) is None
    assert base_of(draft(base=1), [first, second, third]) == first
    assert base_of(draft(base=2), [first, second, third]) == first
    assert base_of(draft(base=3), [first, second, third]) == third
    with pytest.raises(BadInput, match="does not exist"):
        base_of(draft(base=4), [first, second, third])


def test_a_merged_draft_goes_on_top_of_the_newest_revision(
    analysis: Analysis, saved: Saved, taxonomy: Taxonomy
) -> None:
    theirs = saved(1, draft(KNIFE, knife=1))  # no plastic bottles
    mine = draft(KNIFE, CorrectionBox(label="gun", xyxy=(0, 0, 5, 5)), knife=1, gun=1, **{"plastic bottle": 2})
    proposal = merge_onto(mine, analysis, [theirs], taxonomy)
    assert proposal.draft.base_revision == 1
    assert {item.label: item.count for item in proposal.draft.items} == {"knife": 1, "gun": 1}
    assert [(box.id, box.label) for box in proposal.draft.boxes] == [("b1", "knife"), (None, "gun")]
    assert proposal.clashes == ()


@pytest.mark.parametrize(
    ("mine", "theirs", "together"),
    [
        (("gun",), ("knife",), ("knife", "gun")),
        (None, ("knife",), None),
        (("knife",), None, None),
        (None, None, None),
    ],
)
def test_together_two_people_looked_for_what_either_did(
    analysis: Analysis, saved: Saved, taxonomy: Taxonomy, mine: Scope, theirs: Scope, together: Scope
) -> None:
    proposal = merge_onto(draft(looked_for=mine), analysis, [saved(1, draft(looked_for=theirs))], taxonomy)
    assert proposal.draft.labelled_classes == together


def test_a_box_of_what_the_list_lacks_is_named_unless_it_was_not_looked_for(taxonomy: Taxonomy) -> None:
    assert unlisted(draft(KNIFE, knife=1), taxonomy) == {}
    assert unlisted(draft(KNIFE, knives=1), taxonomy) == {}, "an alias names it too"
    assert unlisted(draft(KNIFE, looked_for=("gun",)), taxonomy) == {}
    for sent in (draft(KNIFE, gun=1), draft(KNIFE, looked_for=("gun", "knives"))):
        assert unlisted(sent, taxonomy) == {"knife": 1}
    with pytest.raises(UnknownLabel):
        unlisted(draft(KNIFE, unicorn=1), taxonomy)


def test_counts_are_raised_to_the_boxes_and_never_lowered(taxonomy: Taxonomy) -> None:
    def counts(sent: CorrectionIn) -> dict[str, int]:
        return {item.label: item.count for item in with_counts_from_boxes(sent, taxonomy).items}

    assert counts(draft(KNIFE, gun=1)) == {"gun": 1, "knife": 1}, "a threat without a box stays"
    assert counts(draft(KNIFE, KNIFE, knife=1)) == {"knife": 2}
    assert counts(draft(KNIFE, knives=3)) == {"knife": 3}
    assert counts(draft(KNIFE, gun=1, looked_for=("gun",))) == {"gun": 1}, "a knife was not looked for"
    assert counts(draft(*[KNIFE] * 100)) == {"knife": 99}
