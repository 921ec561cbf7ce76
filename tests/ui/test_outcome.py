"""What a hand search found, in a person's words."""

from __future__ import annotations

import pytest

from xray_app.errors import BadInput, UnknownLabel
from xray_app.taxonomy import Taxonomy
from xray_app.ui.outcome import found_items


def test_found_items_in_words(taxonomy: Taxonomy) -> None:
    assert found_items("Nothing.", taxonomy) == []
    assert [(one.label, one.count) for one in found_items("gun; 3 x Plastic bottles", taxonomy)] == [
        ("gun", 1),
        ("plastic bottle", 3),
    ]
    for bad in ("", " , ", "0 knives", "100 knives"):
        with pytest.raises(BadInput):
            assert found_items(bad, taxonomy), "an empty list would say that nothing was found"
    with pytest.raises(UnknownLabel):
        found_items("1 flux capacitor", taxonomy)
