"""Every supported architecture through the one code path, at a few hundred thousand random parameters."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from tests.tiny import picture, taxonomy
from tests.tiny_families import FAMILIES, LAYERS, save_family
from tests.vlm.ask_families import ask
from training.data.collate import Collator, Example
from training.data.samples import Sample, write_jsonl
from training.recipes.recipe import Recipe, load_recipe
from training.vlm.finetune import add_lora, finetune, split_for_stopping
from xray_app.errors import BadModel, BadRecipe
from xray_app.report import format_report, instruction
from xray_app.vlm.local import BASE_FILE, LocalVlm
from xray_app.vlm.prompt import batch, encode
from xray_app.vlm.reading import read_answer

RESPONSE = format_report({"knife": 1, "plastic bottle": 2}, taxonomy())
PIXELS = 7000
"""Below every tiny family's own picture limit, so that an adapter brings another with it."""
VISION_LAYERS = {"qwen2_vl": 10, "qwen2_5_vl": 12, "qwen3_vl": 12, "llava_next": 20, "internvl": 14}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("families")
    for family in FAMILIES:
        save_family(family, root / family / "base")
    return root


@pytest.fixture(params=list(FAMILIES))
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def base(root: Path, family: str) -> Path:
    return root / family / "base"


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    # As the big models' recipes have it, but for sizes; two samples a step.
    quick = {"batch": 2, "accumulation": 1, "epochs": 1, "lora_rank": 4, "learning_rate": 0.01, "max_pixels": PIXELS}
    return load_recipe("rolmocr").model_copy(update=quick)


@pytest.fixture(scope="module")
def trained(root: Path, recipe: Recipe) -> Path:
    """`root` with an adapter of two LoRA steps beside each base, and what a new process answered with it."""
    samples = []
    for number in range(20):
        file = root / f"{number}.png"
        picture(10 * number, (150 - number, 80 + number)).save(file)
        facts = dict(width=1, height=1, boxes=(), labelled_classes=None, bag_id=f"bag{number}")
        samples.append(Sample(image=file, instruction=instruction(), response=RESPONSE, **facts))
    write_jsonl(split_for_stopping(samples)[0][:4], root / "train.jsonl")
    for family in FAMILIES:
        steps: list[float] = []

        def watch(_: float, figures: dict[str, float], steps: list[float] = steps) -> bool:
            steps.extend([figures["loss"]] if "loss" in figures else [])
            return False

        finetune(root, recipe, "lora", root / family / "out", base=str(root / family / "base"), on_progress=watch)
        assert len(steps) == 2
    command = [sys.executable, "-m", "tests.vlm.ask_families", str(root), str(torch.get_num_threads())]
    subprocess.run(command, check=True)
    return root


def adapter_of(trained: Path, family: str, copy_to: Path | None = None) -> Path:
    folder = trained / family / "out" / "adapter"
    return folder if copy_to is None else Path(shutil.copytree(folder, copy_to))


def test_two_lora_steps_saved_and_loaded_in_a_new_process_give_identical_logits_and_answers(
    trained: Path, base: Path, family: str
) -> None:
    here, answers = ask(base, adapter_of(trained, family))
    assert load_file(trained / f"{family}.safetensors")["logits"].equal(here)
    assert json.loads((trained / f"{family}.json").read_text()) == [answer.text for answer in answers]
    untrained, _ = ask(base, None)
    assert untrained.shape != here.shape or not torch.allclose(untrained, here, atol=1e-4)
    for answer in answers:
        report = read_answer(answer, taxonomy())
        assert report.text == answer.text
        assert not report.complete, "a random model babbles, and its babble is read as such"


def test_an_adapter_sees_pictures_at_the_size_it_was_trained_with(trained: Path, base: Path, family: str) -> None:
    vlm = LocalVlm.load(str(base))

    def prompt() -> list[int]:
        return encode(vlm.processor, [picture(size=(300, 300))], [instruction()]).ids[0]

    own = prompt()
    vlm.use_adapter(adapter_of(trained, family))
    assert prompt() == encode(
        AutoProcessor.from_pretrained(adapter_of(trained, family) / "processor"),
        [picture(size=(300, 300))],
        [instruction()],
    ).ids[0]  # fmt: skip
    assert len(prompt()) < len(own)
    vlm.use_adapter(None)
    assert prompt() == own


def test_training_and_serving_see_identical_prompts(base: Path) -> None:
    processor = AutoProcessor.from_pretrained(base)
    for size in ((300, 100), (90, 200)):
        example = Example(picture(size=size), instruction(["scissors"], taxonomy()), RESPONSE)
        served = batch(encode(processor, [example.image], [example.instruction]), 0, side="left")
        trained = Collator(processor)([example])
        prompt = trained.pop("labels")[0] == -100
        assert trained.keys() == served.keys()
        for name, value in served.items():
            of_prompt = trained[name][:, prompt] if value.shape == served["input_ids"].shape else trained[name]
            assert of_prompt.equal(value), name


def test_a_batch_answers_as_one_by_one_does(base: Path) -> None:
    vlm = LocalVlm.load(str(base), max_new_tokens=4)
    pictures = [picture(40), picture(220, (90, 200)), picture(128, (300, 100))]
    together = vlm.answer(pictures, [instruction()] * 3)
    assert [a.text for a in together] == [vlm.answer([one], [instruction()])[0].text for one in pictures]


def test_the_labels_are_the_response_and_the_token_generation_stops_at(base: Path) -> None:
    vlm = LocalVlm.load(str(base))
    examples = [Example(picture(size=size), instruction(), RESPONSE) for size in ((300, 100), (90, 200))]
    out = Collator(vlm.processor)(examples)
    for labels in out["labels"]:
        said = labels[labels != -100]
        assert vlm.processor.tokenizer.decode(said[:-1]) == RESPONSE
        assert said[-1].item() == vlm.model.generation_config.eos_token_id
    assert (out["labels"][out["attention_mask"] == 0] == -100).all()


@pytest.mark.parametrize("written", ["", "<s>"])
def test_the_token_a_prompt_begins_with_stands_there_once(root: Path, written: str) -> None:
    processor = AutoProcessor.from_pretrained(root / "llava_next" / "base")
    processor.chat_template = written + processor.chat_template
    (prompt,) = encode(processor, [picture()], [instruction()]).ids
    assert prompt[0] == processor.tokenizer.bos_token_id
    assert prompt.count(processor.tokenizer.bos_token_id) == 1


@pytest.mark.parametrize("scope", ["language", "language+vision"])
def test_lora_wraps_exactly_what_the_recipe_says(base: Path, family: str, recipe: Recipe, scope: str) -> None:
    model = AutoModelForImageTextToText.from_pretrained(base)
    linear = {name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)} - {"lm_head"}
    language = {name for name in linear if name.startswith("model.language_model.")}
    assert len(language) == 7 * LAYERS
    assert len(linear - language) == VISION_LAYERS[family]
    wrapped = add_lora(model, recipe.model_copy(update={"lora_scope": scope}), "lora")
    touched = {
        name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        for name in get_peft_model_state_dict(wrapped)
        if name.endswith(".lora_A.weight")
    }
    assert touched == (language if scope == "language" else linear)


def test_a_vision_tower_nobody_looked_at_is_refused(recipe: Recipe) -> None:
    with pytest.raises(BadRecipe, match=r"internvl, not for gemma3\. Use lora_scope: language"):
        recipe.model_copy(update={"lora_scope": "language+vision"}).target_modules("gemma3")


@pytest.mark.parametrize("dtype", ["bf16", "fp16", "fp32", "nf4"])
def test_every_serving_precision_answers(base: Path, dtype: str) -> None:
    vlm = LocalVlm.load(str(base), dtype, max_new_tokens=2)
    expected = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32, "nf4": torch.uint8}[dtype]
    layer = vlm.model.get_submodule("model.language_model.layers.0.mlp.down_proj")  # 4 bits are packed into bytes
    assert layer.weight.dtype == expected
    (answer,) = vlm.answer([picture()], [instruction()])
    assert all(0 <= p <= 1 for _, _, p in answer.spans)
    assert answer.spans


def test_an_adapter_of_another_base_is_refused_by_name(trained: Path, base: Path, family: str, tmp_path: Path) -> None:
    families = list(FAMILIES)
    other = families[families.index(family) - 1]
    file = Path(shutil.copytree(base, tmp_path / "same-shape")) / "model.safetensors"
    weights = load_file(file)
    next(iter(weights.values())).add_(1)
    save_file(weights, file, metadata={"format": "pt"})
    same_shape = LocalVlm.load(str(file.parent), label="same-shape")
    for vlm, adapter in (
        (LocalVlm.load(str(base), label="mine"), adapter_of(trained, other)),
        (same_shape, adapter_of(trained, family)),
    ):
        with pytest.raises(BadModel, match=rf"was trained on .*base, not on the {vlm.name} in use here"):
            vlm.use_adapter(adapter)
        assert vlm.answer([picture()], [instruction()])


def test_an_adapter_from_elsewhere_is_refused_by_its_hub_id(
    trained: Path, base: Path, family: str, tmp_path: Path
) -> None:
    adapter = adapter_of(trained, family, tmp_path / "adapter")
    (adapter / BASE_FILE).unlink()
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": "some/Other"}))
    with pytest.raises(BadModel, match="was trained on some/Other, not on the org/Mine"):
        LocalVlm.load(str(base), label="org/Mine").use_adapter(adapter)
    LocalVlm.load(str(base), label="Some/Other").use_adapter(adapter)


def test_an_adapter_with_a_missing_key_is_refused_by_name(
    trained: Path, base: Path, family: str, tmp_path: Path
) -> None:
    adapter = adapter_of(trained, family, tmp_path / "adapter")
    file = adapter / "adapter_model.safetensors"
    weights = load_file(file)
    gone = sorted(weights)[0]
    save_file({name: value for name, value in weights.items() if name != gone}, file)
    vlm = LocalVlm.load(str(base))
    with pytest.raises(BadModel, match=r"1 keys do not match, first .*layers\.0\.mlp\.down_proj\.lora_A"):
        vlm.use_adapter(adapter)
