"""A local model that was not trained on the report is held to its JSON; one that was answers freely."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import decoders

from tests.tiny import picture, taxonomy
from tests.tiny_families import FAMILIES, llama_tokenizer, save_family
from training.recipes.recipe import load_recipe
from training.vlm.finetune import add_lora
from xray_app.report import instruction, parse_entries
from xray_app.report_form import LEVEL_OF, LEVELS
from xray_app.taxonomy import prohibited_labels
from xray_app.vlm import grammar, scoring
from xray_app.vlm.answer_form import answer_form
from xray_app.vlm.base import CUT_OFF, Answer
from xray_app.vlm.grammar import grammar_of
from xray_app.vlm.load import load_local
from xray_app.vlm.local import LocalVlm
from xray_app.vlm.prompt import IGNORED, batch, encode
from xray_app.vlm.reading import read_answer
from xray_app.vlm.scoring import threat_masses

PICTURES = [picture(40), picture(220, (90, 200)), picture(128, (300, 100))]
ASKED = [instruction(), instruction(("knife",), taxonomy()), instruction()]
WRITES_BOXES = {"qwen2_vl", "qwen2_5_vl", "qwen3_vl"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Base models of every family with random weights, as they come from the Hub: nobody trained them here."""
    root = tmp_path_factory.mktemp("untrained")
    for family in FAMILIES:
        template = save_family(family, root / family, seed=1) / "chat_template.jinja"
        template.write_text(template.read_text() + "{# another family's #}")
    return root


def load(folder: Path, tokens: int = 250) -> LocalVlm:
    return load_local(str(folder), taxonomy=taxonomy(), max_tokens=tokens)


def ask(vlm: LocalVlm) -> list[Answer]:
    return vlm.answer(PICTURES, ASKED)


def understood(answer: Answer) -> bool:
    """Whether the reader takes a whole answer in completely: all of it, but for a risk that its items do not bear."""
    report = read_answer(answer, taxonomy())
    levels = [LEVEL_OF[item.status] for item in report.items]
    borne = max(levels, key=LEVELS.index, default="LOW")
    too_grave = report.claimed is not None and LEVELS.index(report.claimed) > LEVELS.index(borne)
    return report.complete is not too_grave and report.claimed is not None and not report.unrecognised


@pytest.mark.parametrize("family", list(FAMILIES))
def test_random_weights_answer_with_a_report_that_is_read_or_are_cut_off(root: Path, family: str) -> None:
    vlm = load(root / family)
    assert vlm.held
    for answer in ask(vlm):
        report = read_answer(answer, taxonomy())
        if answer.finished:
            assert understood(answer)
            for item in json.loads(answer.text)["items"]:
                assert set(item) == ({"bbox_2d", "label"} if family in WRITES_BOXES else {"label", "count"})
        else:
            assert answer.problem == CUT_OFF
            assert not report.complete
    vlm.form = None
    for answer in ask(vlm):
        assert not read_answer(answer, taxonomy()).complete, "without the grammar it babbles"


def test_some_of_them_are_complete(root: Path) -> None:
    read = [
        read_answer(answer, taxonomy()) for family in ("qwen2_vl", "llava_next") for answer in ask(load(root / family))
    ]
    assert sum(report.complete for report in read) >= 2
    assert any(report.items for report in read)


@pytest.mark.parametrize("family", ["qwen2_vl", "llava_next"])
def test_an_answer_cut_off_within_the_grammar_is_incomplete(root: Path, family: str) -> None:
    for answer in ask(load(root / family, tokens=9)):
        assert (answer.finished, answer.problem) == (False, CUT_OFF)
        assert not read_answer(answer, taxonomy()).complete


@pytest.mark.parametrize("family", ["qwen2_vl", "llava_next"])
def test_a_batch_is_held_as_one_by_one_is(root: Path, family: str) -> None:
    vlm = load(root / family)
    together = ask(vlm)
    alone = [vlm.answer([one], [asked])[0] for one, asked in zip(PICTURES, ASKED, strict=True)]
    assert [one.text for one in together] == [one.text for one in alone]
    assert len({len(one.spans) for one in together}) > 1, "the rows end at different tokens"


@pytest.mark.parametrize("family", ["qwen2_vl", "llava_next"])
def test_probabilities_are_the_models_own_and_not_shares_of_what_the_grammar_allows(root: Path, family: str) -> None:
    vlm = load(root / family)
    generated: list[int] = []
    generate = vlm.model.generate

    def listening(**asked: Any) -> Any:
        out = generate(**asked)
        generated.extend(out[0].tokens)
        return out

    vlm.model.generate = listening
    answer = vlm.answer(PICTURES[:1], ASKED[:1])[0]
    said = generated[: len(answer.spans)]
    inputs = batch(encode(vlm.processor, PICTURES[:1], [vlm.asked(ASKED[0])]), 0, side="right", responses=[said])
    labels = inputs.pop("labels")[0]
    with torch.inference_mode():
        shares = torch.softmax(vlm.model(**inputs).logits[0].float(), -1)
    first = int((labels != IGNORED).nonzero()[0])
    own = [float(shares[first - 1 + at, token]) for at, token in enumerate(said)]
    assert [p for _, _, p in answer.spans] == pytest.approx(own, rel=1e-3)
    assert max(own) < 0.5, "of random weights; the grammar leaves some tokens no choice"
    assert all(lead >= 0 for lead in answer.leads)


def test_the_threat_score_is_of_the_model_and_not_of_the_grammar(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "NEGLIGIBLE", -float("inf"))  # with random weights all is improbable
    vlm = load(root / "llava_next")
    labels = prohibited_labels(taxonomy())
    before = ask(vlm)
    masses = threat_masses(vlm, PICTURES[0], ASKED[0], labels, taxonomy())
    assert ask(vlm) == before
    monkeypatch.setattr(vlm, "_grammar", None)
    assert threat_masses(vlm, PICTURES[0], ASKED[0], labels, taxonomy()) == masses
    assert 0 < sum(masses.values()) <= 1


def test_a_tokenizer_that_the_grammar_cannot_take_answers_freely_with_a_line_in_the_log(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    free = load(root / "llava_next", tokens=6)
    free.processor.tokenizer.backend_tokenizer.decoder = decoders.WordPiece()
    form = answer_form(taxonomy(), boxes=False)
    vlm = LocalVlm(free.model, free.processor, "odd", "0" * 64, 6, form)
    assert caplog.text.count("told the report's form but not held to it") == 1
    assert not vlm.held
    assert vlm.asked(ASKED[0]) == form.told(ASKED[0], as_json=False), "it is told the report text, as before"
    assert len(ask(vlm)) == len(ask(vlm)) == 3
    assert len(caplog.records) == 1


def test_an_answer_that_leaves_its_grammar_goes_on_without(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Should the library ever stop on what it allowed itself."""
    vlm = load(root / "qwen2_vl", tokens=12)
    allowed = grammar.Held.allowed
    monkeypatch.setattr(grammar.Held, "allowed", lambda held, width: torch.ones_like(allowed(held, width)))
    assert [len(answer.spans) for answer in ask(vlm)] == [12, 12, 12]
    assert caplog.text.count("left its grammar") == 3


def test_with_an_adapter_it_is_free_and_without_it_held_again(root: Path, tmp_path: Path) -> None:
    recipe = load_recipe("rolmocr").model_copy(update={"lora_rank": 2})
    add_lora(LocalVlm.load(str(root / "qwen2_vl")).model, recipe, "lora").save_pretrained(tmp_path)
    vlm = load(root / "qwen2_vl")
    held = ask(vlm)
    vlm.use_adapter(tmp_path)
    assert not vlm.held
    assert not any(parse_entries(answer.text, taxonomy()).complete for answer in ask(vlm))
    vlm.use_adapter(None)
    assert ask(vlm) == held


def test_a_model_trained_here_answers_letter_for_letter_as_its_own_greedy_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("it is held to nothing")

    monkeypatch.setattr("xray_app.vlm.local.grammar_of", never)
    monkeypatch.setattr(grammar.Held, "allowed", never)
    vlm = load_local("bundled", taxonomy=taxonomy())
    answers = ask(vlm)
    inputs = batch(encode(vlm.processor, PICTURES, ASKED), vlm.processor.tokenizer.pad_token_id, side="left")
    with torch.inference_mode():
        out = vlm.model.generate(
            **inputs,
            max_new_tokens=vlm.max_new_tokens,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
        )
    for row, answer in enumerate(answers):
        ids = out.sequences[row, inputs["input_ids"].shape[1] :]
        assert answer.text == vlm.processor.tokenizer.decode(ids, skip_special_tokens=True)
        shares = [torch.softmax(step[row].float(), -1).topk(2).values.tolist() for step in out.logits]
        assert [p for _, _, p in answer.spans] == pytest.approx(
            [one for one, _ in shares][: len(answer.spans)], abs=1e-5
        )
        leads = [first - second for first, second in shares][: len(answer.leads)]
        assert list(answer.leads) == pytest.approx(leads, abs=1e-5)


def test_a_model_that_thinks_first_is_held_from_the_end_of_its_thought_on() -> None:
    tokenizer = llama_tokenizer()
    tokenizer.add_tokens(["<think>", "</think>"])
    opens, closes = tokenizer.convert_tokens_to_ids(["<think>", "</think>"])
    made = grammar_of(tokenizer, [tokenizer.eos_token_id], answer_form(taxonomy(), boxes=False).bounded_schema)
    assert made is not None
    word = tokenizer("knife", add_special_tokens=False)["input_ids"][-1]
    thinking, plain = made.hold([word, word, opens]), made.hold([word, word, word])
    width = len(tokenizer) + 3  # embeddings are often padded
    assert thinking.allowed(width).all()
    assert thinking.forced() == []
    first = plain.allowed(width)
    assert not first[word]
    assert not first[len(tokenizer) :].any()
    thinking.say(word)
    assert thinking.allowed(width).all()
    thinking.say(closes)
    assert not thinking.allowed(width)[word]
    assert thinking.allowed(width).equal(first), "it begins at the beginning"
