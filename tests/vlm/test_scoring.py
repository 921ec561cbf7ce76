"""Scoring prohibited classes as continuations: the same as asking for each in full, whatever else is scored."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.tiny import picture, taxonomy
from xray_app.report import instruction
from xray_app.taxonomy import ItemClass
from xray_app.types import Status
from xray_app.vlm import scoring
from xray_app.vlm.local import LocalVlm
from xray_app.vlm.prompt import IGNORED, batch, encode
from xray_app.vlm.scoring import prohibited_labels, threat_masses


@pytest.fixture
def vlm(tiny_folder: Path) -> LocalVlm:
    return LocalVlm.load(str(tiny_folder), label="tiny", max_new_tokens=6)


def in_full(vlm: LocalVlm, text: str, opening: str = scoring.OPENING) -> float:
    """Probability of `text` after the opening, by one forward pass over everything."""
    tokenizer = vlm.processor.tokenizer
    whole = tokenizer(text, add_special_tokens=False)["input_ids"]
    given = len(tokenizer(opening, add_special_tokens=False)["input_ids"])
    inputs = batch(encode(vlm.processor, [picture()], [instruction()]), 0, side="right", responses=[whole])
    labels = inputs.pop("labels")[0]
    with torch.inference_mode():
        logs = torch.log_softmax(vlm.model(**inputs).logits[0].float(), -1)
    first = int((labels != IGNORED).nonzero()[0]) + given
    return math.exp(sum(float(logs[at - 1, labels[at]]) for at in range(first, len(labels))))


def test_the_shared_keys_and_values_give_what_a_full_pass_gives(vlm: LocalVlm, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = ("knife", "Swiss army knife", "gun")
    wanted = {
        "knife": in_full(vlm, "Items detected: 1 knife") + in_full(vlm, "Items detected: 2 knives"),
        "Swiss army knife": in_full(vlm, "Items detected: 1 Swiss army knife")
        + in_full(vlm, "Items detected: 2 Swiss army knives"),
        "gun": in_full(vlm, "Items detected: 1 gun") + in_full(vlm, "Items detected: 2 guns"),
    }
    assert threat_masses(vlm, picture(), instruction(), labels, taxonomy()) == pytest.approx(wanted, rel=1e-3)
    monkeypatch.setattr(scoring, "ROWS", 2)  # in several batches
    assert threat_masses(vlm, picture(), instruction(), labels, taxonomy()) == pytest.approx(wanted, rel=1e-3)


def test_the_masses_are_shares_of_one_whole_and_leave_answers_as_they_were(vlm: LocalVlm) -> None:
    before = vlm.answer([picture()], [instruction()])
    masses = threat_masses(vlm, picture(), instruction(), prohibited_labels(taxonomy()), taxonomy())
    assert set(masses) == set(prohibited_labels(taxonomy()))
    assert all(mass > 0 for mass in masses.values())
    assert sum(masses.values()) <= 1
    assert vlm.answer([picture()], [instruction()]) == before


def test_a_name_that_begins_another_counts_once(vlm: LocalVlm) -> None:
    longer = ItemClass("knife gun", "knife guns", (), Status.PROHIBITED)
    shipped = taxonomy()
    site = replace(shipped, classes=(*shipped.classes, longer))
    both = threat_masses(vlm, picture(), instruction(), ("knife", "knife gun"), site)
    # `1 knife gun` is within `1 knife`; `2 knife guns` is not within `2 knives`.
    assert both["knife gun"] == pytest.approx(in_full(vlm, "Items detected: 2 knife guns"), rel=1e-3)


def test_only_what_was_looked_for_is_put_to_the_model(vlm: LocalVlm) -> None:
    assert prohibited_labels(taxonomy(), ("laptop", "scissors", "knife")) == ("knife", "scissors")
    assert threat_masses(vlm, picture(), instruction(), (), taxonomy()) == {}
