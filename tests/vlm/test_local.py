from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from tests.tiny import picture, save_tiny_vlm, taxonomy
from xray_app.errors import BadModel
from xray_app.report import instruction
from xray_app.vlm import weights
from xray_app.vlm.base import Answer
from xray_app.vlm.local import LocalVlm
from xray_app.vlm.reading import read_answer
from xray_app.vlm.weights import resolve_folder, weights_hash


@pytest.fixture
def vlm(tiny_folder: Path) -> LocalVlm:
    return LocalVlm.load(str(tiny_folder), label="tiny", max_new_tokens=6)


@pytest.fixture
def adapter(tiny_folder: Path, tmp_path: Path) -> Path:
    torch.manual_seed(1)
    base = AutoModelForImageTextToText.from_pretrained(tiny_folder)
    config = LoraConfig(r=4, target_modules=r".*language_model.*\.(q|v)_proj", init_lora_weights=False)
    get_peft_model(base, config).save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def ask(vlm: LocalVlm) -> Answer:
    return vlm.answer([picture()], [instruction()])[0]


def test_an_answer_is_the_continuation_alone_with_a_probability_for_each_token(vlm: LocalVlm) -> None:
    answer = ask(vlm)
    assert "Analyze" not in answer.text
    assert not answer.finished, "a random model babbles on until it is cut off"
    assert answer.spans[0][0] == 0
    assert answer.spans[-1][1] == len(answer.text)
    assert all(0 <= p <= 1 for _, _, p in answer.spans)


def test_a_batch_answers_as_one_by_one_does(vlm: LocalVlm) -> None:
    pictures = [picture(40), picture(220, (90, 200)), picture(128, (300, 100))]
    together = vlm.answer(pictures, [instruction()] * 3)
    alone = [vlm.answer([one], [instruction()])[0] for one in pictures]
    assert [a.text for a in together] == [a.text for a in alone]


def test_nothing_in_nothing_out(vlm: LocalVlm) -> None:
    assert vlm.answer([], []) == []


def test_an_adapter_changes_the_answer_and_none_restores_the_base(vlm: LocalVlm, adapter: Path) -> None:
    before = ask(vlm)
    vlm.use_adapter(adapter)
    assert ask(vlm).spans != before.spans
    vlm.use_adapter(None)
    assert ask(vlm) == before


def test_an_adapter_with_foreign_keys_is_refused_and_the_base_answers_on(vlm: LocalVlm, adapter: Path) -> None:
    before = ask(vlm)
    file = adapter / "adapter_model.safetensors"
    renamed = {key.replace("language_model", "language_modal"): t for key, t in load_file(file).items()}
    save_file(renamed, file)
    with pytest.raises(BadModel, match="keys do not match"):
        vlm.use_adapter(adapter)
    assert ask(vlm) == before


def test_an_adapter_cut_short_on_disk_is_refused_and_leaves_nothing_in_the_base(vlm: LocalVlm, adapter: Path) -> None:
    before = ask(vlm)
    vlm.use_adapter(adapter)
    adapted = ask(vlm)
    vlm.use_adapter(None)
    file = adapter / "adapter_model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadModel, match="does not fit this model"):
        vlm.use_adapter(adapter)
    assert not [name for name, _ in vlm.model.named_modules() if "lora_" in name]
    assert ask(vlm) == before
    file.write_bytes(whole)
    vlm.use_adapter(adapter)
    assert ask(vlm) == adapted


def test_an_adapter_with_a_missing_key_is_refused(vlm: LocalVlm, adapter: Path) -> None:
    file = adapter / "adapter_model.safetensors"
    weights = load_file(file)
    weights.pop(sorted(weights)[0])
    save_file(weights, file)
    with pytest.raises(BadModel, match="1 keys do not match"):
        vlm.use_adapter(adapter)


def test_an_adapter_that_is_gone_is_refused(vlm: LocalVlm, tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="does not fit"):
        vlm.use_adapter(tmp_path / "nowhere")


def test_the_weights_hash_tells_bases_apart(tiny_folder: Path, tmp_path: Path) -> None:
    same = shutil.copytree(tiny_folder, tmp_path / "copy")
    other = save_tiny_vlm(tmp_path / "other", seed=1)
    assert weights_hash(tiny_folder) == weights_hash(same) != weights_hash(other)


def test_large_bases_of_one_shape_are_told_apart_too(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "_HASH_IN_FULL", 0)
    other = save_tiny_vlm(tmp_path / "other", seed=1)
    sizes = {(one / "model.safetensors").stat().st_size for one in (tiny_folder, other)}
    assert len(sizes) == 1
    assert weights_hash(tiny_folder) == weights_hash(tiny_folder) != weights_hash(other)


def test_a_model_that_is_nowhere_says_so() -> None:
    with pytest.raises(BadModel, match="neither a folder here nor"):
        resolve_folder("nobody/no-such-model")


def test_a_folder_without_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(BadModel, match=r"no \.safetensors"):
        LocalVlm.load(str(tmp_path))


def test_nf4_loads_and_answers_on_a_cpu(tiny_folder: Path) -> None:
    vlm = LocalVlm.load(str(tiny_folder), "nf4", max_new_tokens=2)
    assert ask(vlm).spans


def test_confidence_is_the_product_over_the_names_tokens() -> None:
    text = "Items detected: 1 knife (threat), 1 can. Security risk: HIGH - knife detected."
    start = text.index("1 knife")
    kn, ife = (start + 2, start + 4, 0.9), (start + 4, start + 7, 0.5)
    spans = ((0, start, 0.1), (start, start + 2, 0.2), kn, ife)
    report = read_answer(Answer(text, True, (*spans, (start + 7, len(text), 1.0))), taxonomy())
    assert {item.label: item.confidence for item in report.items} == {"knife": 0.45, "can": 1.0}


def test_an_answer_cut_off_is_incomplete() -> None:
    assert not read_answer(Answer("Items detected: 1 knife (thr", False), taxonomy()).complete
