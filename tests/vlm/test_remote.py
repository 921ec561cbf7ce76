"""A model on another server: what is sent, what is made of the answer, and adapters on vLLM."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from PIL import Image
from pydantic import SecretStr

from tests.tiny import picture, taxonomy
from tests.vlm.scripted_server import Asked, Reply, Script, completion, serving
from xray_app.errors import BadModel
from xray_app.report import instruction
from xray_app.settings import Settings
from xray_app.vlm import remote, sent_picture
from xray_app.vlm.base import Answer
from xray_app.vlm.load import base_sha256, load_local, load_vlm
from xray_app.vlm.openai_server import CallFailed
from xray_app.vlm.remote import Address, RemoteVlm, read_address
from xray_app.vlm.sent_picture import data_url

TEXT = "Items detected: 1 knife (threat), 2 plastic bottles. Security risk: HIGH - knife detected."
KEY = "sk-secret-0123456789"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def settings(vlm: str, **others: Any) -> Settings:
    return Settings(_env_file=None, vlm=vlm, **others)


def model(script: Script, **others: Any) -> RemoteVlm:
    loaded = load_vlm(settings(f"openai:org/m@{script.url}", **others), taxonomy())
    assert isinstance(loaded, RemoteVlm)
    return loaded


def ask(vlm: RemoteVlm) -> Answer:
    return vlm.answer([picture()], [instruction()])[0]


def instruction_in(asked: Asked) -> str:
    """The instruction, without the form that is told after it."""
    return str(asked.body["messages"][0]["content"][1]["text"]).partition("\n\n")[0]


# --- the setting ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "address"),
    [
        ("openai:gpt-4o@https://api.openai.com/v1", Address("gpt-4o", "https://api.openai.com/v1")),
        ("openai:a/b@http://h:8000", Address("a/b", "http://h:8000/v1")),
        ("openai:a/b@main@http://h:8000/", Address("a/b@main", "http://h:8000/v1")),
        ("openai:/models/my vlm@http://[::1]:8/x/v2/", Address("/models/my vlm", "http://[::1]:8/x/v2")),
    ],
)
def test_model_and_address_are_told_apart(setting: str, address: Address) -> None:
    assert read_address(setting) == address


@pytest.mark.parametrize(
    "setting",
    [
        *("openai:", "openai:gpt-4o", "openai:@http://h/v1", "openai:m@h:8000/v1", "openai:m@ftp://h/v1"),
        *("openai:m@http://", "openai:m@http://h:99999/v1", "openai:m@http://h:x/v1", "openai:m@http://[::1/v1"),
        *("openai:m@http://joe:hunter2@h/v1", "openai:m@http://h/v1?key=hunter2", "openai:m@http://h/v1#hunter2"),
        *("openai:m@ftp://joe:hunter2@h/v1", "openai:m@http://a b/v1"),
    ],
)
def test_another_form_is_refused_without_repeating_a_password(setting: str) -> None:
    with pytest.raises(BadModel) as raised:
        load_vlm(settings(setting), taxonomy())
    assert "XRAY_VLM" in raised.value.message
    assert "hunter2" not in raised.value.message


@pytest.mark.parametrize("key", [None, "", "  "])
def test_openai_without_a_key_is_known_at_the_start(key: str | None) -> None:
    with pytest.raises(BadModel, match="Set XRAY_VLM_API_KEY"):
        load_vlm(settings("openai:gpt-4o@https://api.openai.com/v1", vlm_api_key=key), taxonomy())


@pytest.mark.parametrize("key", ["sk two", "sk\nX-Evil: 1", "schlüssel", "sk\0"])
def test_a_key_that_is_none_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(BadModel, match="Copy it again") as raised:
        load_vlm(settings("openai:m@http://h/v1", vlm_api_key=key), taxonomy())
    assert key not in raised.value.message


@pytest.mark.parametrize(("host", "warned"), [("http://h:1", True), ("https://h:1", False), ("http://[::1]:1", False)])
def test_a_key_that_would_travel_in_the_open_is_warned_of(
    host: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    load_vlm(settings(f"openai:m@{host}", vlm_api_key=KEY), taxonomy())
    assert ("not encrypted" in caplog.text) is warned
    assert KEY not in caplog.text


def test_the_key_comes_from_the_environment_and_shows_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XRAY_VLM_API_KEY", f" {KEY}\n")
    with serving([Reply(200, completion(TEXT))]) as script:
        chosen = settings(f"openai:org/m@{script.url}")
        vlm = load_vlm(chosen, taxonomy())
        vlm.answer([picture()], [instruction()])
    assert script.asked[0].headers["Authorization"] == f"Bearer {KEY}"
    assert KEY not in repr(chosen) + chosen.model_dump_json() + repr(vars(vlm)) + vlm.name
    assert chosen.vlm_api_key == SecretStr(f" {KEY}\n")


def test_weights_that_are_not_here_cannot_be_trained_on_or_hashed() -> None:
    for use in (load_local, base_sha256):
        with pytest.raises(BadModel, match="served elsewhere"):
            use("openai:m@http://h/v1")


# --- what is sent ---------------------------------------------------------------------------------------------


def test_picture_and_instruction_are_sent_as_they_are_at_home() -> None:
    image = picture(120, (90, 70))
    with serving([Reply(200, completion(TEXT))]) as script:
        answers = model(script).answer([image], ["Report only: knife."])
    assert answers == [Answer(TEXT, finished=True)]
    (asked,) = script.asked
    assert asked.path == "/v1/chat/completions"
    assert asked.body["model"] == "org/m"
    assert asked.body["temperature"] == 0
    (message,) = asked.body["messages"]
    assert message["role"] == "user"
    sent, words = message["content"]
    assert (words["type"], words["text"].partition("\n\n")[0]) == ("text", "Report only: knife.")
    kind, _, content = sent["image_url"]["url"].partition(",")
    assert kind == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as back:
        assert back.format == "PNG"
        assert back.convert("RGB").tobytes() == image.tobytes()


def test_a_huge_picture_is_scaled_down_and_keeps_its_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sent_picture, "MAX_PIXELS", 5000)
    for size in ((400, 200), (2000, 10), (71, 70)):
        content = base64.b64decode(data_url(sent_picture.sent_picture(Image.new("L", size), None)).partition(",")[2])
        with Image.open(io.BytesIO(content)) as sent:
            assert sent.width * sent.height <= 5000
            assert sent.mode == "RGB"
            assert sent.width / sent.height == pytest.approx(size[0] / size[1], rel=0.1)
            if size == (71, 70):
                assert sent.size == size


def test_a_batch_keeps_its_order_and_is_asked_at_the_same_time() -> None:
    def echo(asked: Asked) -> Reply:
        words = instruction_in(asked)
        return Reply(200, completion(words), after=0.3 if words == "0" else 0)

    with serving(echo) as script:
        answers = model(script).answer([picture()] * 20, [str(n) for n in range(20)])
        assert [answer.text for answer in answers] == [str(n) for n in range(20)]
        assert instruction_in(script.asked[-1]) != "0"
        assert model(script).answer([], []) == []


def test_one_failure_fails_the_batch() -> None:
    def one_bad(asked: Asked) -> Reply:
        words = instruction_in(asked)
        return Reply(400, {"error": {"message": "no"}}) if words == "3" else Reply(200, completion(words))

    with serving(one_bad) as script, pytest.raises(CallFailed, match="no"):
        model(script).answer([picture()] * 10, [str(n) for n in range(10)])


@pytest.mark.parametrize("status", [400, 403, 422])
def test_an_option_the_model_does_not_take_is_left_out_from_then_on(status: int) -> None:
    def picky(asked: Asked) -> Reply:
        if "max_tokens" in asked.body:
            words = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
            return Reply(status, {"error": {"message": words, "param": "max_tokens"}})
        for name in ("logprobs", "temperature"):
            if name in asked.body:
                return Reply(status, {"error": {"message": "You are not allowed this", "param": name}})
        return Reply(200, completion(TEXT))

    with serving(picky) as script:
        vlm = model(script)
        assert ask(vlm).text == TEXT
        assert len(script.asked) == 4
        assert script.asked[-1].body["max_completion_tokens"] == remote.MAX_TOKENS
        assert ask(vlm).text == TEXT
        assert len(script.asked) == 5


def test_a_refusal_of_all_options_ends() -> None:
    words = "temperature, logprobs, max_tokens and max_completion_tokens are wrong"
    with serving([Reply(400, {"error": {"message": words}})]) as script, pytest.raises(CallFailed, match="are wrong"):
        ask(model(script))
