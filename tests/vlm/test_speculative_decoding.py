"""Drafts make answers come sooner and change nothing of them: every family, any batch, right, wrong or useless."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import DynamicCache

from tests.tiny import picture, taxonomy
from tests.tiny_families import FAMILIES, save_family
from xray_app.report import instruction
from xray_app.report_draft import ReportDraft
from xray_app.settings import Settings
from xray_app.simulate.scene import simulate_scan
from xray_app.taxonomy import prohibited_labels
from xray_app.vlm import local, speculative_decoding
from xray_app.vlm.load import load_local, load_vlm
from xray_app.vlm.local import LocalVlm
from xray_app.vlm.prompt import batch, encode
from xray_app.vlm.scoring import threat_masses
from xray_app.vlm.speculative_decoding import CannotDraft, Expected, Limits, Said, drafted, plainly

PICTURES = [picture(40), picture(220, (90, 200)), picture(128, (300, 100)), picture(7, (120, 120))]
MOST = 14
Draw = Callable[[list[int], list[int]], list[int]]
"""A draft, given the whole greedy answer and what was said of it."""


@pytest.fixture(scope="module", params=list(FAMILIES))
def vlm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LocalVlm:
    return LocalVlm.load(str(save_family(request.param, tmp_path_factory.mktemp(request.param), seed=3)))


def inputs_of(vlm: LocalVlm, pictures: Sequence[Any] = PICTURES) -> dict[str, torch.Tensor]:
    asked = [instruction(("knife",), taxonomy()) if one is PICTURES[1] else instruction() for one in pictures]
    return batch(encode(vlm.processor, pictures, asked), vlm.processor.tokenizer.pad_token_id, side="left")


def limits(vlm: LocalVlm, ends: Sequence[int] = (), opening: int | None = None) -> Limits:
    return Limits(MOST, frozenset([vlm.processor.tokenizer.eos_token_id, *ends]), 0, opening)


def not_told(*_: object) -> None:
    return None


def right(answer: list[int], said: list[int]) -> list[int]:
    return answer[len(said) :]


def wrong(answer: list[int], said: list[int]) -> list[int]:
    return [token + 1 for token in answer[len(said) :]]


def half_right(answer: list[int], said: list[int]) -> list[int]:
    rest = answer[len(said) :]
    return rest[:3] + [token + 1 for token in rest[3:6]]


def too_long(answer: list[int], said: list[int]) -> list[int]:
    return answer[len(said) :] + [5] * 40


def now_and_then(answer: list[int], said: list[int]) -> list[int]:
    return answer[len(said) : len(said) + 4] if len(said) % 3 == 0 else []


DRAFTS = [right, wrong, half_right, too_long, now_and_then]


@pytest.mark.parametrize("draw", DRAFTS)
def test_an_answer_is_the_greedy_one_whatever_was_drafted(vlm: LocalVlm, draw: Draw) -> None:
    with torch.inference_mode():
        inputs = inputs_of(vlm)
        babble = plainly(vlm.model, inputs, limits(vlm), [])
        # A token that rows say at different steps, if at all, ends their answers there.
        end = babble[1].tokens[5]
        known = plainly(vlm.model, inputs, limits(vlm, [end]), [])
        told: dict[int, int] = {}

        def ended(number: int, said: Said, cache: DynamicCache, row: int, places: torch.Tensor, *_: object) -> None:
            own = int(inputs["attention_mask"][number].sum())
            assert own <= len(places) <= own + len(said.tokens)
            told[number] = row

        expected: list[Expected] = [lambda said, whole=one.tokens: draw(whole, said) for one in known]
        found = drafted(vlm.model, inputs, limits(vlm, [end]), [], expected, ended)
    assert [one.tokens for one in found] == [one.tokens for one in known]
    assert len({len(one.tokens) for one in found}) > 1, "the rows end at different steps"
    for one, other in zip(found, known, strict=True):
        assert [p for pair in one.probabilities for p in pair] == pytest.approx(
            [p for pair in other.probabilities for p in pair], abs=1e-5
        )
    assert sorted(told) == [0, 1, 2, 3]
    passes = sum(one.passes for one in found)
    tokens = sum(len(one.tokens) for one in found)
    if draw in (right, too_long):
        assert passes == len(found)
    elif draw is wrong:
        assert passes == tokens
    else:
        assert len(found) < passes < tokens


def test_one_alone_is_answered_as_in_a_batch_of_drafts_good_and_bad(vlm: LocalVlm) -> None:
    with torch.inference_mode():
        alone = [plainly(vlm.model, inputs_of(vlm, [one]), limits(vlm), [])[0] for one in PICTURES[::2]]
        expected: list[Expected] = [lambda _: [], lambda said: right(alone[1].tokens, said)]
        together = drafted(vlm.model, inputs_of(vlm, PICTURES[::2]), limits(vlm), [], expected, not_told)
        assert [one.tokens for one in together][1] == alone[1].tokens
        for draw in (right, half_right):
            (one,) = drafted(
                vlm.model,
                inputs_of(vlm, PICTURES[:1]),
                limits(vlm),
                [],
                [lambda said, draw=draw: draw(alone[0].tokens, said)],
                not_told,
            )
            assert one.tokens == alone[0].tokens


def test_what_follows_the_opening_is_kept_wherever_a_draft_brings_it(vlm: LocalVlm) -> None:
    with torch.inference_mode():
        inputs = inputs_of(vlm, PICTURES[:2])
        known = plainly(vlm.model, inputs, limits(vlm), [])
        kept = []
        for draw in (right, wrong, half_right):
            expected: list[Expected] = [lambda said, one=one, draw=draw: draw(one.tokens, said) for one in known]
            found = drafted(vlm.model, inputs, limits(vlm, opening=4), [], expected, not_told)
            kept.append([one.after_opening for one in found])
        for rows in zip(*kept, strict=True):
            for row, answer in zip(rows, [known[0], known[0], known[0]], strict=True):
                assert row is not None
                assert torch.allclose(row, rows[0], atol=1e-4)
                assert len(answer.tokens) > 4
        for row, answer in zip(kept[0], known, strict=True):
            assert row is not None
            assert int(row.argmax()) == answer.tokens[4]


def test_a_model_that_cannot_take_tokens_back_answers_plainly_and_says_so_once(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    vlm = LocalVlm.load(str(tiny_folder), label="windowed", max_new_tokens=6)
    wanted = vlm.answer(PICTURES, [instruction()] * 4)
    monkeypatch.setattr(speculative_decoding, "_can_be_cropped", lambda _: False)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            drafts = [ReportDraft({"knife": 1}, taxonomy())] * 4
            found = vlm.answer(PICTURES, [instruction()] * 4, drafts)
            assert [one.text for one in found] == [one.text for one in wanted]
    assert [record.message for record in caplog.records].count(
        "windowed: its answers cannot be drafted, and come a token at a time"
    ) == 1
    with pytest.raises(TypeError, match="windowed: the keys and values"):
        threat_masses(vlm, PICTURES[0], instruction(), ("knife",), taxonomy())


def test_attention_that_wants_its_tokens_side_by_side_is_not_drafted(tiny_folder: Path) -> None:
    vlm = LocalVlm.load(str(tiny_folder))
    vlm.model.config.get_text_config()._attn_implementation = "flash_attention_2"
    with pytest.raises(CannotDraft):
        drafted(vlm.model, inputs_of(vlm, PICTURES[:1]), limits(vlm), [], [lambda _: []], not_told)


@pytest.mark.parametrize("family", ["qwen2_vl", "llava_next"])
def test_a_grammar_drafts_what_it_leaves_no_choice_about(family: str, tmp_path: Path) -> None:
    template = save_family(family, tmp_path / family, seed=1) / "chat_template.jinja"
    template.write_text(template.read_text() + "{# another family's #}")
    vlm = load_local(str(tmp_path / family), taxonomy=taxonomy(), max_tokens=120)
    assert vlm.held
    found = vlm.answer(PICTURES, [instruction()] * 4)
    vlm.drafted = False
    plain = vlm.answer(PICTURES, [instruction()] * 4)
    assert [one.text for one in found] == [one.text for one in plain]
    assert [p for one in found for _, _, p in one.spans] == pytest.approx([p for one in plain for _, _, p in one.spans])
    assert sum(one.passes or 0 for one in found) < 0.8 * sum(len(one.leads) for one in found)


def test_the_bundled_model_takes_a_few_passes_and_says_what_it_says_without(monkeypatch: pytest.MonkeyPatch) -> None:
    vlm = load_local("bundled", taxonomy=taxonomy())
    scans = [simulate_scan(4_400 + number, taxonomy(), items=(0, 5)) for number in range(8)]
    pictures = [scan.image for scan in scans]
    contents = [{label: 1 for label, _ in scan.boxes} for scan in scans]
    drafts = [ReportDraft(counts, taxonomy()) for counts in contents]
    found = vlm.answer(pictures, [instruction()] * 8, drafts)
    with monkeypatch.context() as patched:
        patched.setattr(local, "drafted", _cannot)
        plain = load_local("bundled", taxonomy=taxonomy()).answer(pictures, [instruction()] * 8)
    assert [one.text for one in found] == [one.text for one in plain]
    assert [p for one in found for _, _, p in one.spans] == pytest.approx(
        [p for one in plain for _, _, p in one.spans], abs=1e-4
    )
    assert sum(one.passes or 0 for one in found) <= 5 * 8
    assert max(one.passes or 0 for one in plain) > 20
    for one, image in zip(found, pictures, strict=True):
        masses = threat_masses(vlm, image, instruction(), prohibited_labels(taxonomy()), taxonomy())
        assert one.threats == pytest.approx(masses, abs=1e-4)


@pytest.mark.parametrize(("setting", "drafted_at_all"), [(None, True), ("off", False), ("on", True)])
def test_a_setting_switches_drafts_off(
    setting: str | None, drafted_at_all: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if setting:
        monkeypatch.setenv("XRAY_VLM_DRAFTS", setting)
    settings = Settings(_env_file=None)
    assert settings.as_environment()["XRAY_VLM_DRAFTS"] == ("on" if drafted_at_all else "off")
    vlm = load_vlm(settings, taxonomy())
    counts = {"laptop": 1}
    (answer,) = vlm.answer(PICTURES[:1], [instruction()], [ReportDraft(counts, taxonomy())])
    assert answer.passes is not None
    assert (answer.passes == len(answer.leads)) is not drafted_at_all


def _cannot(*_: object) -> list[Said]:
    raise CannotDraft
