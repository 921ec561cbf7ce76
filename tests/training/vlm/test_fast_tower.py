"""The tower in batches is the library's tower: with LoRA and without, forwards and backwards."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel

from tests.tiny import PIXELS, picture, taxonomy
from training.data.collate import Collator, Example, keep_answer_logits
from training.recipes.recipe import load_recipe
from training.vlm.bundled import build_model, build_processor
from training.vlm.fast_lora import linear, patch_lora_forward
from training.vlm.fast_tower import BatchedTower, attends_to_all, patch_tower_forward
from training.vlm.finetune import add_lora
from xray_app.report import format_report, instruction


@pytest.fixture(scope="module")
def inputs() -> dict[str, Any]:
    examples = [
        Example(picture(20 * n, size), instruction(), format_report({"knife": n + 1}, taxonomy()))
        for n, size in enumerate(((160, 120), (90, 300), (112, 112)))
    ]
    return Collator(build_processor(taxonomy(), PIXELS))(examples)


def model(**changes: Any) -> Any:
    built: Qwen2_5_VLForConditionalGeneration = build_model(build_processor(taxonomy(), PIXELS))
    recipe = load_recipe("bundled").model_copy(update={"lora_dropout": 0.0, "lora_rank": 4, **changes})
    torch.manual_seed(0)
    wrapped = add_lora(built, recipe, "lora")
    for name, weight in wrapped.named_parameters():
        if "lora_B" in name:  # they begin at zero, and a LoRA that does nothing would prove nothing
            torch.nn.init.normal_(weight, std=0.02)
    return wrapped


def learned(wrapped: Any, inputs: dict[str, Any]) -> tuple[float, dict[str, torch.Tensor]]:
    loss = wrapped(**inputs).loss
    loss.backward()
    return loss.item(), {name: one.grad for name, one in wrapped.named_parameters() if one.grad is not None}


def test_loss_and_gradients_with_lora_on_the_tower_are_the_librarys(inputs: dict[str, Any]) -> None:
    wrapped = model()
    theirs, their_gradients = learned(wrapped, inputs)
    wrapped.zero_grad()
    patch_tower_forward(wrapped.get_base_model().model.visual)
    ours, our_gradients = learned(wrapped, inputs)
    assert ours == pytest.approx(theirs, rel=1e-5)
    assert our_gradients.keys() == their_gradients.keys()
    assert any("visual" in name for name in our_gradients)
    for name, gradient in our_gradients.items():
        torch.testing.assert_close(gradient, their_gradients[name], atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize(("bf16", "near"), [(True, 0.02), (False, 1e-4)])
def test_lora_computed_here_is_pefts(inputs: dict[str, Any], bf16: bool, near: float) -> None:
    wrapped = model()

    def seen() -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            adapted = wrapped(**inputs).logits
            with wrapped.disable_adapter():
                return adapted, wrapped(**inputs).logits

    theirs, their_base = seen()
    patch_lora_forward(wrapped)
    ours, base = seen()
    torch.testing.assert_close(ours, theirs, atol=near, rtol=near)
    assert torch.equal(base, their_base)
    assert (theirs - their_base).abs().max() > 0.2, "the adapter must matter for this to prove anything"


def test_dropout_zeroes_its_share_of_the_input_and_makes_up_for_it() -> None:
    base = torch.nn.Linear(400, 400, bias=False)
    torch.nn.init.zeros_(base.weight)
    wrapped = get_peft_model(
        torch.nn.Sequential(base), LoraConfig(r=400, lora_alpha=400, lora_dropout=0.25, target_modules=["0"])
    )
    layer = wrapped.base_model.model[0]
    with torch.no_grad():
        layer.lora_A["default"].weight.copy_(torch.eye(400))
        layer.lora_B["default"].weight.copy_(torch.eye(400))
        torch.manual_seed(0)
        out = linear(torch.ones(500, 400), layer.train())
        assert (out == 0).float().mean().item() == pytest.approx(0.25, abs=0.005)
        assert out[out != 0].unique().tolist() == pytest.approx([1 / 0.75])
        assert not torch.equal(out, linear(torch.ones(500, 400), layer))
        assert torch.equal(linear(torch.ones(5, 400), layer.eval()), torch.ones(5, 400))


def test_a_switched_off_adapter_is_respected(inputs: dict[str, Any]) -> None:
    wrapped = model()
    visual = wrapped.get_base_model().model.visual
    pixels, grids = inputs["pixel_values"], inputs["image_grid_thw"]
    with torch.no_grad():
        adapted = visual(pixels, grids).pooler_output
        with wrapped.disable_adapter():
            base = visual(pixels, grids).pooler_output
        patch_tower_forward(visual)
        torch.testing.assert_close(visual(pixels, grids).pooler_output, adapted, atol=1e-5, rtol=1e-4)
        with wrapped.disable_adapter():
            torch.testing.assert_close(visual(pixels, grids).pooler_output, base, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(adapted, base, atol=1e-4)


def test_a_tower_that_attends_in_windows_is_left_alone() -> None:
    config = Qwen2_5_VLVisionConfig(
        depth=2, hidden_size=32, num_heads=2, intermediate_size=32, out_hidden_size=32, fullatt_block_indexes=[1]
    )
    visual = Qwen2_5_VisionTransformerPretrainedModel(config)
    assert not attends_to_all(visual)
    assert not attends_to_all(None)
    with pytest.raises(ValueError, match="windows"):
        BatchedTower(visual, None, None, compiled=False)


def test_logits_of_the_answers_alone_give_the_same_loss(inputs: dict[str, Any]) -> None:
    wrapped = model()
    kept = keep_answer_logits(inputs)
    assert kept["labels"].shape[1] < inputs["labels"].shape[1]
    whole, part = wrapped(**inputs), wrapped(**kept)
    assert part.logits.shape[1] == kept["labels"].shape[1]
    assert part.loss.item() == pytest.approx(whole.loss.item(), rel=1e-6)
