"""What is in a bag, where enough people have said so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from xray_app.correction.bag_truth import prohibited_in
from xray_app.correction.statements import Kind, Statement
from xray_app.types import Status

_minutes = count()
KNIFE, LIGHTER = {"knife": Status.PROHIBITED}, {"lighter": Status.RESTRICTED}


def said(by: str, kind: Kind, labels: dict[str, Status], looked_for: set[str] | None = None) -> Statement:
    at = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(minutes=next(_minutes))
    return Statement(by, at, kind, labels, None if looked_for is None else frozenset(looked_for))


def truth(*statements: Statement, searched: bool = False) -> frozenset[str] | None:
    return prohibited_in({"top": list(statements)}, ["top"], searched)


@pytest.mark.parametrize("kind", ["pending", "saved"])
def test_one_persons_word_is_not_the_truth(kind: Kind) -> None:
    assert truth(said("nora", kind, KNIFE)) is None
    assert truth(said("nora", kind, {})) is None
    assert truth() is None


def test_two_peoples_word_is() -> None:
    assert truth(said("nora", "accepted", KNIFE | LIGHTER)) == {"knife"}
    assert truth(said("nora", "accepted", LIGHTER)) == frozenset()
    assert truth(said("nora", "accepted", {}), said("ben", "pending", KNIFE)) is None, "a newer word waits"
    assert truth(said("nora", "accepted", {}), said("ben", "rejected", KNIFE)) == frozenset()
    assert truth(said("nora", "pending", KNIFE), said("ben", "accepted", {})) == frozenset()


def test_who_looked_for_some_classes_alone_cannot_say_that_none_is_there() -> None:
    assert truth(said("nora", "accepted", {}, {"knife"})) is None
    assert truth(said("nora", "accepted", KNIFE, {"knife"})) == {"knife"}


def test_every_view_has_to_be_labelled() -> None:
    top = [said("nora", "accepted", {})]
    assert prohibited_in({"top": top}, ["top", "side"], False) is None
    assert prohibited_in({"top": top}, ["side", "top"], False) is None
    side = [said("nora", "accepted", KNIFE)]
    assert prohibited_in({"top": top, "side": side}, ["top", "side"], False) == {"knife"}


def test_a_hand_search_is_the_truth_whatever_it_found() -> None:
    assert truth(searched=True) == frozenset()
    assert truth(said("nora", "search", KNIFE), searched=True) == {"knife"}
    assert truth(said("nora", "pending", KNIFE), searched=True) == {"knife"}, "what a person saw is not lost by it"
