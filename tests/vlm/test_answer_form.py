"""Who is told the form of the report, in which words, and who is held to its JSON schema."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import picture, taxonomy
from tests.tiny_families import save_family
from tests.vlm.scripted_server import Asked, Reply, Script, completion, serving
from training.recipes.recipe import load_recipe
from training.vlm.finetune import add_lora
from xray_app.report import instruction, parse_report
from xray_app.settings import BUNDLED_VLM, Settings
from xray_app.taxonomy import ItemClass, prohibited_labels
from xray_app.types import Status
from xray_app.vlm.answer_form import answer_form
from xray_app.vlm.load import load_local, load_vlm, trained_here
from xray_app.vlm.local import MAX_NEW_TOKENS, LocalVlm
from xray_app.vlm.remote import MAX_TOKENS, RemoteVlm

TEXT = "Items detected: 1 knife (threat). Security risk: HIGH - knife detected."
SCOPED = instruction(["knife", "scissors"], taxonomy())


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model with random weights and a vocabulary that was not made for the report."""
    folder = tmp_path_factory.mktemp("untrained") / "base"
    save_family("qwen2_vl", folder)
    template = folder / "chat_template.jinja"  # the tiny families borrow the bundled model's
    template.write_text(template.read_text() + "{# another family's #}")
    return folder


def model(script: Script, name: str = "org/m", **others: Any) -> RemoteVlm:
    loaded = load_vlm(Settings(_env_file=None, vlm=f"openai:{name}@{script.url}", **others), taxonomy())
    assert isinstance(loaded, RemoteVlm)
    return loaded


def words_in(asked: Asked) -> str:
    return str(asked.body["messages"][0]["content"][1]["text"])


@pytest.mark.parametrize("boxes", [False, True])
def test_the_words_show_the_form_with_every_name_and_what_they_show_is_read(boxes: bool) -> None:
    form = answer_form(taxonomy(), boxes)
    for words in (form.words, form.json_words):
        assert all(name in words for name in taxonomy().names)
    example = form.words.partition("it would be: ")[2].partition(" Of an empty bag")[0]
    shown = parse_report(example, taxonomy())
    assert shown.complete
    assert [item.status for item in shown.items] == ["prohibited", "restricted", "allowed"]
    assert ("bbox_2d" in form.json_words, "bbox_2d" in json.dumps(form.schema)) == (boxes, boxes)
    assert form.told(SCOPED, as_json=False).startswith(SCOPED), "what is looked for is asked as ever"


def test_the_schema_allows_what_the_reader_calls_complete() -> None:
    for boxes, entry in ((False, {"label": "gun", "count": 2}), (True, {"bbox_2d": [1, 2, 3, 4], "label": "gun"})):
        schema = answer_form(taxonomy(), boxes).schema
        items = schema["properties"]["items"]["items"]
        assert set(items["required"]) == set(entry) == set(items["properties"])
        assert items["properties"]["label"]["enum"] == list(taxonomy().names)
        document = {"items": [entry], "risk": "HIGH"}
        assert set(schema["required"]) == set(document)
        assert parse_report(json.dumps(document), taxonomy()).complete
        assert parse_report(json.dumps({"items": [], "risk": "LOW"}), taxonomy()).complete


@pytest.mark.parametrize(("name", "boxes"), [("gpt-4o", False), ("Qwen/Qwen2.5-VL-7B-Instruct", True)])
def test_a_remote_model_is_told_the_form_and_held_to_its_schema(name: str, boxes: bool) -> None:
    with serving([Reply(200, completion(TEXT))]) as script:
        model(script, name).answer([picture()], [SCOPED])
    (asked,) = script.asked
    form = answer_form(taxonomy(), boxes)
    assert words_in(asked) == f"{SCOPED}\n\n{form.json_words}"
    assert asked.body["response_format"]["type"] == "json_schema"
    assert asked.body["response_format"]["json_schema"]["schema"] == form.schema


@pytest.mark.parametrize("others", [{"vlm_base": "bundled"}, {"name": str(BUNDLED_VLM)}])
def test_a_server_of_a_model_trained_here_gets_the_prompt_of_its_training(others: dict[str, str]) -> None:
    with serving([Reply(200, completion(TEXT))]) as script:
        model(script, **others).answer([picture()], [SCOPED])
    assert words_in(script.asked[0]) == SCOPED
    assert "response_format" not in script.asked[0].body


def test_with_an_adapter_it_is_asked_as_it_was_trained(untrained: Path, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"weights")
    with serving([Reply(200, completion(TEXT))]) as script:
        vlm = model(script, vlm_base=str(untrained))
        for folder in (None, tmp_path, None):
            vlm.use_adapter(folder)
            vlm.answer([picture()], [SCOPED])
    words = [words_in(asked) for asked in script.asked if asked.path.endswith("completions")]
    told = answer_form(taxonomy(), boxes=True).told(SCOPED, as_json=True)
    assert words == [told, SCOPED, told]


def refusing(*names: str, status: int = 400, words: str = "'{}' is not supported with this model.") -> Any:
    def answer(asked: Asked) -> Reply:
        for name in names:
            if name in asked.body:
                return Reply(status, {"error": {"message": words.format(name)}})
        return Reply(200, completion(TEXT))

    return answer


@pytest.mark.parametrize("status", [400, 422, 501, 200])
def test_a_schema_that_is_refused_is_asked_for_once_and_said(status: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    with serving(refusing("response_format", "structured_outputs", status=status)) as script:
        vlm = model(script)
        for _ in range(2):
            assert vlm.answer([picture()], [SCOPED])[0].text == TEXT
    assert ["response_format" in asked.body for asked in script.asked] == [True, False, False, False]
    assert ["structured_outputs" in asked.body for asked in script.asked] == [False, True, False, False]
    form = answer_form(taxonomy(), boxes=False)
    assert words_in(script.asked[1]) == form.told(SCOPED, as_json=True)
    assert words_in(script.asked[2]) == form.told(SCOPED, as_json=False), "without a schema it is told the report text"
    assert caplog.text.count("does not take response_format") == 1


def test_vllms_own_option_is_kept_where_that_is_taken() -> None:
    with serving(refusing("response_format")) as script:
        vlm = model(script)
        vlm.answer([picture()], [SCOPED])
        vlm.answer([picture()], [SCOPED])
    assert len(script.asked) == 3
    assert script.asked[-1].body["structured_outputs"] == {"json": answer_form(taxonomy(), boxes=False).schema}


def test_a_refusal_that_names_nothing_may_be_the_schemas() -> None:
    with serving(refusing("response_format", words="Bad request")) as script:
        assert model(script).answer([picture()], [SCOPED])[0].text == TEXT
    assert [sorted({"response_format", "structured_outputs"} & set(one.body)) for one in script.asked] == [
        ["response_format"],
        [],
    ]


def test_a_refusal_of_something_else_does_not_cost_the_schema() -> None:
    """A picture that is refused is an error, and the next one is asked with the schema again."""
    with serving([Reply(400, {"error": {"message": "bad picture"}})] * 2 + [Reply(200, completion(TEXT))]) as script:
        vlm = model(script)
        with pytest.raises(Exception, match="bad picture"):
            vlm.answer([picture()], [SCOPED])
        vlm.answer([picture()], [SCOPED])
    assert "response_format" in script.asked[-1].body


def test_a_local_model_is_told_unless_it_was_trained_here(untrained: Path, tmp_path: Path) -> None:
    vlm = load_local(str(untrained), taxonomy=taxonomy())
    assert vlm.asked(SCOPED) == answer_form(taxonomy(), boxes=True).told(SCOPED, as_json=True)
    assert vlm.max_new_tokens == MAX_TOKENS
    assert load_local(str(untrained)).asked(SCOPED) == SCOPED, "it is trained on, not asked"
    assert load_local("bundled", taxonomy=taxonomy()).asked(SCOPED) == SCOPED
    assert not trained_here(untrained)
    full = shutil.copytree(untrained, tmp_path / "full")
    (full / "training.json").write_text("{}")
    assert load_local(str(full), taxonomy=taxonomy()).asked(SCOPED) == SCOPED


def test_an_adapter_gets_the_prompt_of_its_training(untrained: Path, tmp_path: Path) -> None:
    recipe = load_recipe("rolmocr").model_copy(update={"lora_rank": 2})
    add_lora(LocalVlm.load(str(untrained)).model, recipe, "lora").save_pretrained(tmp_path)
    vlm = load_local(str(untrained), taxonomy=taxonomy())
    told = vlm.asked(SCOPED)
    vlm.use_adapter(tmp_path)
    assert vlm.asked(SCOPED) == SCOPED
    vlm.use_adapter(None)
    assert vlm.asked(SCOPED) == told


@pytest.mark.parametrize("tokens", [None, 2000])
def test_the_token_limit_can_be_set(tokens: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if tokens:
        monkeypatch.setenv("XRAY_VLM_MAX_TOKENS", str(tokens))
    settings = Settings(_env_file=None)
    local = load_vlm(settings, taxonomy())
    assert isinstance(local, LocalVlm)
    assert local.max_new_tokens == (tokens or MAX_NEW_TOKENS)
    assert settings.as_environment().get("XRAY_VLM_MAX_TOKENS") == (str(tokens) if tokens else None)
    with serving([Reply(200, completion(TEXT))]) as script:
        load_vlm(settings.model_copy(update={"vlm": f"openai:m@{script.url}"}), taxonomy()).answer([picture()], ["x"])
    assert script.asked[0].body["max_tokens"] == (tokens or MAX_TOKENS)


def test_a_class_that_is_added_is_told_and_asked_for_at_once(untrained: Path) -> None:
    more = taxonomy().with_classes([ItemClass.of_desk("katana", Status.PROHIBITED)])
    with serving([Reply(200, completion(TEXT))]) as script:
        remote = model(script)
        remote.use_taxonomy(more)
        remote.answer([picture()], [SCOPED])
        trained = model(script, name=str(BUNDLED_VLM))
        trained.use_taxonomy(more)
        trained.answer([picture()], [SCOPED])
    form = answer_form(more, boxes=False)
    assert words_in(script.asked[0]) == form.told(SCOPED, as_json=True)
    assert script.asked[0].body["response_format"]["json_schema"]["schema"] == form.schema
    assert words_in(script.asked[1]) == SCOPED, "one that was trained here is told nothing"
    vlm = load_local(str(untrained), taxonomy=taxonomy())
    vlm.use_taxonomy(more)
    assert vlm.asked(SCOPED) == answer_form(more, boxes=True).told(SCOPED, as_json=True)
    assert vlm.threats is not None
    assert {label for label, _ in vlm.threats.tails} == set(prohibited_labels(more))
    bundled = load_local("bundled", taxonomy=taxonomy())
    bundled.use_taxonomy(more)
    assert bundled.asked(SCOPED) == SCOPED
