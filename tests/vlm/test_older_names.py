"""Adapters whose keys have the names of older transformers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.tiny import picture
from tests.tiny_families import save_family
from training.recipes.recipe import load_recipe
from training.vlm.finetune import add_lora
from xray_app.errors import BadModel
from xray_app.report import instruction
from xray_app.vlm.base import Answer
from xray_app.vlm.local import LocalVlm
from xray_app.vlm.older_names import module_of, todays_names

OLDER = {
    "qwen2_vl": (("model.language_model.", "model."), ("model.visual.", "visual.")),
    "qwen2_5_vl": (("model.language_model.", "model."), ("model.visual.", "visual.")),
    "llava_next": (("model.language_model.", "language_model.model."), ("model.vision_tower.", "vision_tower.")),
    "internvl": (("model.language_model.", "language_model.model."), ("model.vision_tower.", "vision_tower.")),
}
"""Today's beginning of a module's name, and what it was before 4.52."""


@pytest.fixture(params=list(OLDER))
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def vlm(family: str, tmp_path: Path) -> LocalVlm:
    save_family(family, tmp_path / "base")
    return LocalVlm.load(str(tmp_path / "base"), max_new_tokens=4)


@pytest.fixture
def adapter(family: str, vlm: LocalVlm, tmp_path: Path) -> Path:
    """An adapter of language and vision that answers otherwise than the base."""
    scope = {"lora_scope": "language+vision", "lora_rank": 2}
    wrapped = add_lora(
        LocalVlm.load(str(tmp_path / "base")).model, load_recipe("rolmocr").model_copy(update=scope), "lora"
    )
    torch.manual_seed(1)
    for name, weight in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5)
    wrapped.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def older(adapter: Path, family: str, folder: Path) -> Path:
    """The same adapter as it would have been saved before."""
    shutil.copytree(adapter, folder)
    renamed = {}
    for key, value in load_file(adapter / "adapter_model.safetensors").items():
        name = key.removeprefix("base_model.model.")
        for today, before in OLDER[family]:
            if name.startswith(today):
                name = before + name.removeprefix(today)
                break
        renamed[f"base_model.model.{name}"] = value
    save_file(renamed, folder / "adapter_model.safetensors")
    config = json.loads((folder / "adapter_config.json").read_text())
    config["target_modules"] = r"(model|language_model\.model)\.layers\..*|visual\..*|vision_tower\..*"
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def ask(vlm: LocalVlm) -> Answer:
    return vlm.answer([picture(size=(60, 60))], [instruction()])[0]


def test_an_adapter_of_older_names_answers_as_it_does_by_todays(
    vlm: LocalVlm, adapter: Path, family: str, tmp_path: Path
) -> None:
    base = ask(vlm)
    vlm.use_adapter(adapter)
    wanted = ask(vlm)
    assert wanted.spans != base.spans
    vlm.use_adapter(older(adapter, family, tmp_path / "older"))
    assert ask(vlm) == wanted
    vlm.use_adapter(None)
    assert ask(vlm) == base


def test_todays_names_are_left_alone_and_what_maps_nowhere_is_refused(
    vlm: LocalVlm, adapter: Path, family: str, tmp_path: Path
) -> None:
    assert todays_names(adapter, vlm.model) is None
    folder = older(adapter, family, tmp_path / "older")
    weights = load_file(folder / "adapter_model.safetensors")
    key = next(iter(weights))
    weights[key.replace(".layers.0.", ".layers.99.").replace(".blocks.0.", ".blocks.99.")] = weights.pop(key)
    weights["base_model.model.elsewhere.lora_A.weight"] = torch.zeros(1)
    save_file(weights, folder / "adapter_model.safetensors")
    assert todays_names(folder, vlm.model) is None
    with pytest.raises(BadModel, match="does not fit this model"):
        vlm.use_adapter(folder)


def test_a_key_names_its_module() -> None:
    for key in ("base_model.model.a.b.lora_A.weight", "base_model.model.a.b.lora_magnitude_vector"):
        assert module_of(key) == "a.b"
