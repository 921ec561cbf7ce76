"""Scoring prohibited classes as continuations: the same as asking for each in full, whatever else is scored."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.tiny import picture, taxonomy
from xray_app.report import instruction
from xray_app.taxonomy import ItemClass, prohibited_labels
from xray_app.types import Status
from xray_app.vlm import scoring
from xray_app.vlm.local import LocalVlm
from xray_app.vlm.prompt import IGNORED, batch, encode
from xray_app.vlm.scoring import FirstEntries, threat_masses


@pytest.fixture(autouse=True)
def everything_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """With random weights all is improbable."""
    monkeypatch.setattr(scoring, "NEGLIGIBLE", -math.inf)


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


def test_the_shared_keys_and_values_give_what_a_full_pass_gives(vlm: LocalVlm) -> None:
    labels = ("knife", "Swiss army knife", "gun")
    wanted = {
        "knife": in_full(vlm, "Items detected: 1 knife") + in_full(vlm, "Items detected: 2 knives"),
        "Swiss army knife": in_full(vlm, "Items detected: 1 Swiss army knife")
        + in_full(vlm, "Items detected: 2 Swiss army knives"),
        "gun": in_full(vlm, "Items detected: 1 gun") + in_full(vlm, "Items detected: 2 guns"),
    }
    assert threat_masses(vlm, picture(), instruction(), labels, taxonomy()) == pytest.approx(wanted, rel=1e-3)


def test_the_masses_are_shares_of_one_whole_and_leave_answers_as_they_were(vlm: LocalVlm) -> None:
    before = vlm.answer([picture()], [instruction()])
    masses = threat_masses(vlm, picture(), instruction(), prohibited_labels(taxonomy()), taxonomy())
    assert set(masses) == set(prohibited_labels(taxonomy()))
    assert sum(masses.values()) <= 1
    assert vlm.answer([picture()], [instruction()]) == before


def test_what_begins_improbably_is_left_out_and_nothing_else(vlm: LocalVlm, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = prohibited_labels(taxonomy())
    whole = threat_masses(vlm, picture(), instruction(), labels, taxonomy())
    entries = FirstEntries.of(vlm.processor.tokenizer, labels, taxonomy())
    least = sorted(whole.values())[len(whole) // 2]
    monkeypatch.setattr(scoring, "NEGLIGIBLE", math.log(least))
    some = threat_masses(vlm, picture(), instruction(), labels, taxonomy())
    for label, mass in whole.items():
        rows = sum(name == label for name, _ in entries.tails)
        assert mass - rows * least - 1e-12 <= some[label] <= mass * 1.001


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


def test_an_answer_gives_them_by_the_way_in_any_place_of_a_batch(tiny_folder: Path) -> None:
    """The picture is read once: what the answer read is gone on from, whatever padding its row has."""
    vlm = LocalVlm.load(str(tiny_folder), max_new_tokens=6, taxonomy=taxonomy())
    vlm.form = None
    wide = picture().resize((picture().width * 3, picture().height))
    pictures, asked = (
        [picture(), wide, picture(60)],
        [instruction(), instruction(("knife",), taxonomy()), instruction()],
    )
    with opened(vlm):
        alone = [vlm.answer([one], [text])[0] for one, text in zip(pictures, asked, strict=True)]
        together = vlm.answer(pictures, asked)
    for one, other, seen, text in zip(alone, together, pictures, asked, strict=True):
        wanted = threat_masses(vlm, seen, text, prohibited_labels(taxonomy()), taxonomy())
        assert one.threats == pytest.approx(wanted, rel=1e-3)
        assert other.threats == pytest.approx(wanted, rel=1e-3)
        assert one.text == other.text


def test_an_answer_that_does_not_begin_as_a_report_gives_none(tiny_folder: Path) -> None:
    vlm = LocalVlm.load(str(tiny_folder), max_new_tokens=6, taxonomy=taxonomy())
    (answer,) = vlm.answer([picture()], [instruction()])
    assert not answer.text.startswith(scoring.OPENING)
    assert answer.threats is None


@contextmanager
def opened(vlm: LocalVlm) -> Iterator[None]:
    """A model with random weights that begins each answer as a trained one does."""
    assert vlm.threats is not None
    opening, head = vlm.threats.opening, vlm.model.lm_head

    def forced(module: torch.nn.Module, inputs: object, logits: torch.Tensor) -> torch.Tensor:
        step = forced.steps if logits.shape[1] == 1 or forced.steps == 0 else len(opening)
        if step < len(opening):
            logits = logits.clone()
            logits[:, -1, opening[step]] = 1e4
        forced.steps += 1
        return logits

    forced.steps = 0
    generate = vlm.model.generate

    def fresh(*args: object, **kwargs: object) -> object:
        forced.steps = 0
        return generate(*args, **kwargs)

    hook = head.register_forward_hook(forced)
    vlm.model.generate = fresh
    try:
        yield
    finally:
        hook.remove()
        del vlm.model.generate
