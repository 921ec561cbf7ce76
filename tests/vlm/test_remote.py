"""A model on another server: what is sent, what is made of the answer, and adapters on vLLM."""

from __future__ import annotations

import base64
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import SecretStr

from tests.tiny import picture, taxonomy
from tests.vlm.scripted_server import Asked, Reply, Script, completion, serving
from xray_app.errors import BadModel, Conflict, ModelUnavailable
from xray_app.report import instruction
from xray_app.settings import BUNDLED_VLM, Settings
from xray_app.types import Adapter, Gate, RunMetrics
from xray_app.vlm import remote, sent_picture
from xray_app.vlm.base import Answer
from xray_app.vlm.load import base_sha256, load_local, load_vlm
from xray_app.vlm.openai_server import CallFailed
from xray_app.vlm.remote import Address, RemoteVlm, adapter_name, read_address
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


# --- adapters on vLLM -----------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"weights")
    return tmp_path


class Vllm:
    """Answers as vLLM does: knows its base model and what it was told to load."""

    def __init__(self) -> None:
        self.loaded: set[str] = set()

    def __call__(self, asked: Asked) -> Reply:
        if asked.path == "/v1/load_lora_adapter":
            name = asked.body["lora_name"]
            if name in self.loaded:
                words = f"The lora adapter '{name}' has already been loaded. If you want to load the adapter in …"
                return Reply(400, {"error": {"message": words, "type": "InvalidUserInput", "code": 400}})
            if not Path(asked.body["lora_path"], "adapter_config.json").is_file():
                return Reply(404, {"error": {"message": f"No adapter found for {asked.body['lora_path']}"}})
            self.loaded.add(name)
            return Reply(200, f"Success: LoRA adapter '{name}' added successfully.")
        if asked.body["model"] not in {"org/m", *self.loaded}:
            return Reply(404, {"error": {"message": f"The model `{asked.body['model']}` does not exist."}})
        return Reply(200, completion(asked.body["model"]))


def registered(**changes: Any) -> Adapter:
    adapter = Adapter(
        id="a", kind="vlm-adapter", base="bundled", base_sha256=base_sha256("bundled"), run_id=None, active=False,
        created_at=datetime.now(UTC), metrics=RunMetrics(), gate=Gate(passed=True, checks=()),
    )  # fmt: skip
    return adapter.model_copy(update=changes)


def test_a_vllm_server_answers_with_the_adapter_it_was_told_to_load(folder: Path) -> None:
    with serving(Vllm()) as script:
        vlm = model(script, vlm_base="bundled")
        assert vlm.weights_sha256 == base_sha256("bundled")
        assert ask(vlm).text == "org/m"
        vlm.receive(registered(), folder)
        assert ask(vlm).text == "org/m"
        vlm.use_adapter(folder)
        assert ask(vlm).text == adapter_name(folder)
        vlm.use_adapter(None)
        assert ask(vlm).text == "org/m"
    loads = [asked.body for asked in script.asked if asked.path == "/v1/load_lora_adapter"]
    assert loads == [{"lora_name": adapter_name(folder), "lora_path": str(folder.resolve())}] * 2
    assert script.asked[0].body["repetition_penalty"] == 1.0


def test_a_server_that_was_restarted_is_told_again(folder: Path) -> None:
    vllm = Vllm()
    with serving(vllm) as script:
        vlm = model(script, vlm_base=str(BUNDLED_VLM))
        vlm.use_adapter(folder)
        vllm.loaded.clear()
        assert [answer.text for answer in vlm.answer([picture()] * 9, ["x"] * 9)] == [adapter_name(folder)] * 9


def test_other_weights_have_another_name(folder: Path) -> None:
    before = adapter_name(folder)
    (folder / "adapter_model.safetensors").write_bytes(b"others")
    assert adapter_name(folder) != before
    (folder / "adapter_config.json").unlink()
    with pytest.raises(BadModel, match="cannot be read"):
        adapter_name(folder)


def test_an_adapter_the_server_refuses_leaves_the_one_in_use(folder: Path) -> None:
    vllm = Vllm()
    with serving(vllm) as script:
        vlm = model(script, vlm_base="bundled")
        vlm.use_adapter(folder)
        script.replies = [Reply(404, {"detail": "Not Found"})]
        (folder / "adapter_model.safetensors").write_bytes(b"others")
        with pytest.raises(BadModel, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"):
            vlm.use_adapter(folder)
        script.replies = [Reply(401)]
        with pytest.raises(ModelUnavailable, match="API key"):
            vlm.receive(registered(), folder)


def test_a_server_without_a_known_base_takes_no_adapter(folder: Path) -> None:
    with serving(Vllm()) as script:
        vlm = model(script)
        with pytest.raises(Conflict, match="XRAY_VLM_BASE"):
            vlm.receive(registered(), folder)
        with pytest.raises(BadModel, match="XRAY_VLM_BASE"):
            vlm.use_adapter(folder)
        vlm.receive(registered(kind="detector"), folder)
        foreign = model(script, vlm_base="bundled")
        with pytest.raises(Conflict, match="another base model"):
            foreign.receive(registered(base_sha256="0" * 64), folder)
    assert script.asked == []
