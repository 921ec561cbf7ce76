"""Adapters on vLLM and SGLang: told to load, asked for what the gate passed, refused where it is answered otherwise."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.tiny import picture, taxonomy
from tests.vlm.gated import NONE, Gated
from tests.vlm.scripted_server import Asked, Reply, Script, completion, serving
from xray_app.adapter import Adapter, Gate
from xray_app.errors import BadModel, Conflict, ModelUnavailable
from xray_app.report import instruction
from xray_app.settings import BUNDLED_VLM, Settings
from xray_app.types import RunMetrics
from xray_app.vlm import lora_server
from xray_app.vlm.base import Answer
from xray_app.vlm.kept_answers import KeptAnswer, keep_answers, open_kept_scan, read_kept_answers
from xray_app.vlm.load import base_sha256, load_vlm
from xray_app.vlm.lora_server import adapter_name
from xray_app.vlm.remote import RemoteVlm

KNIFE = "Items detected: 1 knife (threat). Security risk: HIGH - knife detected."


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def keep(folder: Path, gated: Gated | None = None, count: int = 2) -> tuple[KeptAnswer, ...]:
    """Writes a manifest with answers to so many scans into an adapter's folder."""
    images = [picture(shade) for shade in range(count)]
    answers, pictures = keep_answers(gated or Gated(), images, [instruction()] * count)
    (folder / "probe").mkdir(exist_ok=True)
    for name, content in pictures.items():
        (folder / "probe" / f"{name}.png").write_bytes(content)
    (folder / "manifest.json").write_text(json.dumps({"probe": [one.model_dump() for one in answers]}))
    return answers


def write_adapter(folder: Path, key: str = "base_model.model.language_model.layers.0.lora_A.weight") -> Path:
    """An adapter with one weight and kept answers."""
    (folder / "adapter_config.json").write_text(json.dumps({"r": 48}))
    save_file({key: torch.zeros(1)}, folder / "adapter_model.safetensors")
    keep(folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_adapter(tmp_path)


class Vllm:
    """Answers as vLLM does: knows its base model and what it was told to load; adapters answer `text`."""

    def __init__(self, text: str = NONE, probability: float | None = None) -> None:
        self.loaded: set[str] = set()
        self.text, self.probability = text, probability

    def __call__(self, asked: Asked) -> Reply:
        if asked.path.endswith("/load_lora_adapter"):
            return self.load(asked)
        if asked.body["model"] not in {"org/m", *self.loaded}:
            return Reply(404, {"error": {"message": f"The model `{asked.body['model']}` does not exist."}})
        return self.complete(asked.body["model"] == "org/m")

    def load(self, asked: Asked) -> Reply:
        if asked.path != "/v1/load_lora_adapter":
            return Reply(404, {"detail": "Not Found"})
        name = asked.body["lora_name"]
        if name in self.loaded:
            words = f"The lora adapter '{name}' has already been loaded. If you want to load the adapter in …"
            return Reply(400, {"error": {"message": words, "type": "InvalidUserInput", "code": 400}})
        if not Path(asked.body["lora_path"], "adapter_config.json").is_file():
            return Reply(404, {"error": {"message": f"No adapter found for {asked.body['lora_path']}"}})
        self.loaded.add(name)
        return Reply(200, f"Success: LoRA adapter '{name}' added successfully.")

    def complete(self, base: bool) -> Reply:
        text = "base" if base else self.text
        if self.probability is None:
            return Reply(200, completion(text))
        tokens = [{"token": text, "logprob": math.log(self.probability), "top_logprobs": []}]
        return Reply(200, completion(text, logprobs={"content": tokens}))


class SgLang(Vllm):
    """Its call is at the root, and a request names `base:adapter`."""

    def load(self, asked: Asked) -> Reply:
        if asked.path != "/load_lora_adapter":
            return Reply(404, {"detail": "Not Found"})
        self.loaded.add(f"org/m:{asked.body['lora_name']}")
        return Reply(200, {"success": True, "loaded_adapters": {}})


def model(script: Script, **others: Any) -> RemoteVlm:
    loaded = load_vlm(Settings(_env_file=None, vlm=f"openai:org/m@{script.url}", **others), taxonomy())
    assert isinstance(loaded, RemoteVlm)
    return loaded


def ask(vlm: RemoteVlm) -> Answer:
    return vlm.answer([picture()], [instruction()])[0]


def registered(**changes: Any) -> Adapter:
    adapter = Adapter(
        id="a", kind="vlm-adapter", base="bundled", base_sha256=base_sha256("bundled"), run_id=None, active=False,
        created_at=datetime.now(UTC), metrics=RunMetrics(), gate=Gate.of([]),
    )  # fmt: skip
    return adapter.model_copy(update=changes)


def loads(script: Script) -> list[Asked]:
    return [asked for asked in script.asked if asked.path.endswith("load_lora_adapter")]


# --- told to load ---------------------------------------------------------------------------------------------


def test_a_vllm_server_answers_with_the_adapter_it_was_told_to_load(folder: Path) -> None:
    with serving(Vllm()) as script:
        vlm = model(script, vlm_base="bundled")
        assert vlm.weights_sha256 == base_sha256("bundled")
        assert ask(vlm).text == "base"
        vlm.receive(registered(), folder)
        assert ask(vlm).text == "base"
        vlm.use_adapter(folder)
        assert ask(vlm).text == NONE
        vlm.use_adapter(None)
        assert ask(vlm).text == "base"
    assert [one.body for one in loads(script)] == [
        {"lora_name": adapter_name(folder), "lora_path": str(folder.resolve())}
    ] * 2
    assert script.asked[0].body["repetition_penalty"] == 1.0


def test_a_server_that_was_restarted_is_told_again(folder: Path) -> None:
    vllm = Vllm()
    with serving(vllm) as script:
        vlm = model(script, vlm_base=str(BUNDLED_VLM))
        vlm.use_adapter(folder)
        vllm.loaded.clear()
        assert [answer.text for answer in vlm.answer([picture()] * 9, ["x"] * 9)] == [NONE] * 9


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
        save_file({"other": torch.zeros(1)}, folder / "adapter_model.safetensors")
        with pytest.raises(BadModel, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"):
            vlm.use_adapter(folder)
        script.replies = [Reply(401)]
        with pytest.raises(ModelUnavailable, match="API key"):
            vlm.receive(registered(), folder)
        script.replies = vllm
        assert ask(vlm).text == NONE


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


@pytest.mark.parametrize("status", [500, 503])
@pytest.mark.parametrize(
    ("key", "vision"),
    [("language_model.layers.0.lora_A.weight", False), ("visual.blocks.0.lora_A.weight", True)],
)
def test_a_server_error_on_loading_is_final_and_names_the_flags(
    tmp_path: Path, status: int, key: str, vision: bool
) -> None:
    write_adapter(tmp_path, key)
    with serving([Reply(status, {"error": {"message": "LoRA rank 48 is greater than max_lora_rank 16."}})]) as script:
        vlm = model(script, vlm_base="bundled")
        with pytest.raises(BadModel) as raised:
            vlm.receive(registered(), tmp_path)
        assert len(script.asked) == 1
    for words in ("LoRA rank 48 is greater", "--max-lora-rank 48", "--max-loras 2"):
        assert words in raised.value.message
    assert ("--enable-tower-connector-lora" in raised.value.message) == vision


def test_sglang_has_its_own_address_and_names(folder: Path) -> None:
    with serving(SgLang()) as script:
        vlm = model(script, vlm_base="bundled")
        vlm.receive(registered(), folder)
        vlm.use_adapter(folder)
        assert ask(vlm).text == NONE
        vlm.use_adapter(folder)
    assert [one.path for one in loads(script)] == ["/v1/load_lora_adapter", *["/load_lora_adapter"] * 3]
    assert script.asked[-2].body["model"] == f"org/m:{adapter_name(folder)}"


def test_sglangs_refusal_is_read_from_its_answer(folder: Path) -> None:
    def refuses(asked: Asked) -> Reply:
        if asked.path == "/load_lora_adapter":
            return Reply(200, {"success": False, "error_message": "LoRA rank 48 exceeds the memory pool"})
        return Reply(404, {"detail": "Not Found"})

    with serving(refuses) as script, pytest.raises(BadModel, match="LoRA rank 48 exceeds the memory pool"):
        model(script, vlm_base="bundled").receive(registered(), folder)


# --- several servers behind one address -----------------------------------------------------------------------


def in_turn(*servers: Callable[[Asked], Reply]) -> Callable[[Asked], Reply]:
    """A balancer: each request goes to the next server."""
    asked_before = [0]

    def answer(asked: Asked) -> Reply:
        asked_before[0] += 1
        return servers[asked_before[0] % len(servers)](asked)

    return answer


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_every_server_behind_one_address_is_told(folder: Path, count: int) -> None:
    servers = [Vllm() for _ in range(count)]
    with serving(in_turn(*servers)) as script:
        vlm = model(script, vlm_base="bundled")
        vlm.receive(registered(), folder)
        assert all(server.loaded == {adapter_name(folder)} for server in servers)
        vlm.use_adapter(folder)
        servers[0].loaded.clear()
        answers = vlm.answer([picture()] * 2 * count, ["x"] * 2 * count)
        assert [answer.text for answer in answers] == [NONE] * 2 * count


def test_one_that_never_takes_it_is_said_to_be_unsupported(folder: Path) -> None:
    class Forgetful(Vllm):
        def load(self, asked: Asked) -> Reply:
            return Reply(200, "Success, and forgotten")

    with serving(in_turn(Vllm(), Forgetful())) as script:
        with pytest.raises(BadModel, match="several servers seem to stand behind this address"):
            model(script, vlm_base="bundled").receive(registered(), folder)
        assert len(script.asked) < 3 * lora_server.MOST_PROBES


def test_probes_come_over_connections_of_their_own(folder: Path) -> None:
    with serving(Vllm()) as script:
        model(script, vlm_base="bundled").receive(registered(), folder)
    probes = [asked for asked in script.asked if asked.body.get("max_tokens") == 1]
    assert len(probes) == lora_server.IN_A_ROW
    assert {asked.headers.get("Connection") for asked in probes} == {"close"}


# --- asked for what the gate passed ---------------------------------------------------------------------------


def test_a_server_that_answers_otherwise_is_refused_with_the_flags(tmp_path: Path) -> None:
    """What vLLM does with a vision adapter: it says 200, and drops that half."""
    write_adapter(tmp_path, "base_model.model.model.visual.blocks.0.attn.qkv.lora_A.weight")
    with serving(Vllm(KNIFE)) as script:
        vlm = model(script, vlm_base="bundled")
        with pytest.raises(Conflict) as raised:
            vlm.receive(registered(), tmp_path)
    assert "2 of 2 scans are answered otherwise, as “Items detected: 1 knife" in raised.value.message
    assert "--enable-tower-connector-lora (this adapter changes the vision tower)" in raised.value.message
    asked = [one for one in script.asked if "messages" in one.body and one.body["max_tokens"] > 1]
    assert {one.body["model"] for one in asked} == {adapter_name(tmp_path)}


@pytest.mark.parametrize(("probability", "fits"), [(0.87, True), (0.81, False), (0.97, False), (None, True)])
def test_a_common_text_is_to_be_as_probable(tmp_path: Path, probability: float | None, fits: bool) -> None:
    """Kept are ten tokens of 0.99: 0.90 in all. A server that gives no probabilities is held to the text alone."""
    write_adapter(tmp_path)
    kept = keep(tmp_path)
    assert kept[0].probability == pytest.approx(0.99 ** len(NONE.split()))
    with serving(Vllm(probability=probability)) as script:
        vlm = model(script, vlm_base="bundled")
        if fits:
            vlm.receive(registered(), tmp_path)
        else:
            with pytest.raises(Conflict, match=rf"probability of {probability:.2f}, not 0\.9"):
                vlm.receive(registered(), tmp_path)


def test_an_adapter_without_kept_answers_is_examined_again_first(folder: Path) -> None:
    (folder / "manifest.json").write_text("{}")
    with serving(Vllm()) as script, pytest.raises(Conflict, match="python -m training register"):
        model(script, vlm_base="bundled").receive(registered(), folder)


def test_kept_answers_that_are_broken_are_an_error(folder: Path) -> None:
    (kept, _) = read_kept_answers(folder)
    (folder / "probe" / f"{kept.scan}.png").unlink()
    with pytest.raises(BadModel, match=kept.scan):
        open_kept_scan(folder, kept)
    for words in ("nonsense", "[]", '{"probe": [{"scan": 7}]}'):
        (folder / "manifest.json").write_text(words)
        with pytest.raises(BadModel, match="cannot be read"):
            read_kept_answers(folder)


@pytest.mark.parametrize("kept_answers", [True, False])
def test_a_server_that_was_started_otherwise_since_does_not_serve(folder: Path, kept_answers: bool) -> None:
    """It was restarted without a flag that it had: then it finds the adapter new, and answers otherwise."""
    vllm = Vllm()
    with serving(vllm) as script:
        vlm = model(script, vlm_base="bundled")
        vlm.receive(registered(), folder)
        vlm.use_adapter(folder)
        vllm.loaded.clear()
        vllm.text = KNIFE
        if not kept_answers:  # promoted by an older desk: there is nothing to ask for
            (folder / "manifest.json").write_text("{}")
            assert ask(vlm).text == KNIFE
            return
        for _ in range(2):
            with pytest.raises(BadModel, match="2 of 2 scans are answered otherwise"):
                vlm.answer([picture()] * 5, ["x"] * 5)
        vllm.loaded.clear()
        vllm.text = NONE
        assert ask(vlm).text == NONE, "started as it should be, it serves again"


# --- at the adapter's size ------------------------------------------------------------------------------------


def sent(asked: Asked) -> tuple[int, int]:
    content = asked.body["messages"][0]["content"][0]["image_url"]["url"].partition(",")[2]
    with Image.open(io.BytesIO(base64.b64decode(content))) as image:
        return image.size


@pytest.mark.parametrize("taken", [True, False])
def test_pictures_go_at_the_size_the_adapter_was_trained_with(folder: Path, taken: bool) -> None:
    smaller = {"size": {"shortest_edge": 28 * 28 * 4, "longest_edge": 28 * 28 * 16}}
    (folder / "processor").mkdir()
    (folder / "processor" / "processor_config.json").write_text(json.dumps({"image_processor": smaller}))
    vllm = Vllm()

    def answer(asked: Asked) -> Reply:
        if "mm_processor_kwargs" in asked.body and not taken:
            words = "Per-request mm_processor_kwargs are disabled by default"
            return Reply(400, {"error": {"message": words, "param": "mm_processor_kwargs"}})
        return vllm(asked)

    with serving(answer) as script:
        vlm = model(script, vlm_base="bundled")
        for adapter in (None, folder, folder):
            vlm.use_adapter(adapter)
            vlm.answer([picture(size=(400, 200))], ["x"])
    asked = [one for one in script.asked if "messages" in one.body and one.body["max_tokens"] > 1]
    asked = [one for one in asked if one.body["messages"][0]["content"][1]["text"] == "x"]
    sizes = [sent(one) for one in asked]
    assert sizes[0] == (392, 196), "the base's own size, in whole tokens"
    assert {size[0] * size[1] <= 28 * 28 * 16 and size[0] % 28 == 0 for size in sizes[1:]} == {True}
    options = [one.body.get("mm_processor_kwargs") for one in asked]
    if not taken:
        tried = [one for one in script.asked if "mm_processor_kwargs" in one.body]
        assert 1 <= len(tried) <= 2, "asked for by the answers that are repeated together, and never again"
    wanted = {"min_pixels": 28 * 28 * 4, "max_pixels": 28 * 28 * 16}
    assert options == ([None, wanted, wanted] if taken else [None] * 3)
