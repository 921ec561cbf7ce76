"""The scan in hand is one type on both sides, and what comes back from the browser is read within bounds."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.conftest import MakeAnalysis
from xray_app.errors import BadInput
from xray_app.taxonomy import Taxonomy
from xray_app.ui.browser_code import MODULES
from xray_app.ui.viewer import work as server
from xray_app.ui.viewer.component import work_of
from xray_app.ui.viewer.work import Work, read_work

PARTS = [
    value
    for value in vars(server).values()
    if isinstance(value, type) and issubclass(value, server.Part) and value is not server.Part
]
LEAST = {"analysis_id": "a", "base_revision": 0, "boxes": [], "items": []}
BOX = {"id": "new-1", "label": "knife", "xyxy": [0, 0, 5, 5]}


def typedefs() -> dict[str, set[str]]:
    """The browser's types: name and fields."""
    blocks = re.findall(r"/\*\*(.*?)\*/", MODULES["types.js"].decode(), re.DOTALL)
    found = {}
    for block in blocks:
        if name := re.search(r"@typedef \{object\} (\w+)", block):
            found[name[1]] = set(re.findall(r"@property \{.*?\} \[?(\w+)", block))
    return found


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_both_sides_name_the_same_fields(part: type[server.Part]) -> None:
    assert typedefs()[part.__name__] == set(part.model_fields)


def test_the_browser_knows_no_part_that_the_server_does_not() -> None:
    assert {name for name in typedefs() if name.startswith("Work")} == {part.__name__ for part in PARTS}


def test_what_went_out_comes_back_the_same(stored: MakeAnalysis, taxonomy: Taxonomy) -> None:
    work = work_of(stored(), [], taxonomy, "ana")
    assert read_work(work.sent()) == work
    assert work.boxes
    assert work.labels[0].aliases


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({"analysis_id": "a" * 64}, True),
        ({"analysis_id": "a" * 65}, False),
        ({"base_revision": -1}, False),
        ({"boxes": [BOX] * 2000}, True),
        ({"boxes": [BOX] * 2001}, False),
        ({"boxes": [BOX | {"xyxy": [0, 0, float("inf"), 5]}]}, False),
        ({"boxes": [BOX | {"label": "k" * 1000}]}, True),
        ({"boxes": [BOX | {"label": "k" * 1001}]}, False),
        ({"boxes": [BOX | {"status": "drawing"}]}, False),
        ({"items": [{"label": "knife", "count": 99}]}, True),
        ({"items": [{"label": "knife", "count": 100}]}, False),
        ({"items": [{"label": "knife", "count": 0}]}, False),
        ({"open_view": "v" * 64}, True),
        ({"open_view": "v" * 65}, False),
        ({"open_view": ["v"]}, False),
        ({"dirty": "perhaps"}, False),
        ({"of a newer page": 1}, True),
    ],
    ids=str,
)
def test_the_bounds(change: dict[str, Any], kept: bool) -> None:
    if kept:
        read_work(LEAST | change)
        return
    with pytest.raises(BadInput, match=next(iter(change))):
        read_work(LEAST | change)


@pytest.mark.parametrize("value", [None, "x", 3, [], {}, {"analysis_id": ""}])
def test_no_scan_is_open(value: object) -> None:
    with pytest.raises(BadInput, match="No scan is open"):
        read_work(value)


@pytest.mark.parametrize(
    ("sent", "read"), [(0, 0.0), (86_399, 86_399.0), (86_400, None), (-1, None), ("4", None), (True, None)]
)
def test_a_wrong_clock_keeps_nobody_from_deciding(sent: object, read: float | None) -> None:
    assert read_work(LEAST | {"seconds": sent}).seconds == read


def test_the_work_cannot_be_changed_in_place() -> None:
    work = Work.model_validate(LEAST)
    with pytest.raises(ValueError, match="frozen"):
        work.readonly = True  # type: ignore[misc]
