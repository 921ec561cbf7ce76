"""A vision-language model on another server: OpenAI's, vLLM, or any other that speaks the same HTTP interface."""

from __future__ import annotations

import base64
import hashlib
import io
import logging
import math
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlsplit

from PIL.Image import Image, Resampling
from pydantic import BaseModel, Field, SecretStr, ValidationError

from xray_app.errors import BadModel, Conflict, ModelUnavailable
from xray_app.types import Adapter
from xray_app.vlm.base import Answer
from xray_app.vlm.openai_server import CallFailed, OpenAiServer

logger = logging.getLogger(__name__)

PREFIX = "openai:"
MAX_TOKENS = 512
MAX_PIXELS = 2048 * 2048
"""Larger pictures are scaled down before they are sent: OpenAI scales to this itself, and bodies are limited."""
AT_ONCE = 8
"""Scans asked about at the same time: what a vLLM server is fast with."""
GREEDY: Mapping[str, Any] = {"temperature": 0, "logprobs": True, "max_tokens": MAX_TOKENS}
VLLM_GREEDY: Mapping[str, Any] = {**GREEDY, "repetition_penalty": 1.0}
"""vLLM otherwise takes the penalty of the model's own settings, and would answer otherwise than was measured."""
RENAMED: Mapping[str, str] = {"max_tokens": "max_completion_tokens"}
"""What some models call an option that they refuse; the others are then left out."""
_NEED_A_KEY = frozenset({"api.openai.com"})
_THIS_MACHINE = frozenset({"127.0.0.1", "::1", "localhost"})


class Address(NamedTuple):
    """`openai:MODEL@BASE_URL`, taken apart."""

    model: str
    base_url: str


def read_address(setting: str) -> Address:
    """Takes the setting apart; a URL without a path gets `/v1`.

    Raises:
        BadModel: it does not have the form, or the URL holds a password or a query.
    """
    found = re.fullmatch(r"openai:(?P<model>\S.*)@(?P<url>https?://\S+)", setting)
    if found is None:
        raise BadModel(
            f"XRAY_VLM is openai:MODEL@BASE_URL, as openai:gpt-4o@https://api.openai.com/v1, not {_bare(setting)!r}."
        )
    try:
        url = urlsplit(found["url"])
        known = bool(url.hostname) and url.port != 0
    except ValueError:
        known = False
    if not known:
        raise BadModel(f"The server's address in XRAY_VLM is not a URL: {_bare(found['url'])!r}.")
    if url.username or url.password or url.query or url.fragment:
        raise BadModel("The server's address in XRAY_VLM is host and path alone. A key goes to XRAY_VLM_API_KEY.")
    base_url = found["url"].rstrip("/")
    return Address(found["model"], base_url if url.path.strip("/") else f"{base_url}/v1")


def _bare(setting: str) -> str:
    """The setting without what may be a password."""
    return re.sub(r"//[^/@]*@", "//…@", setting)[:200]


class RemoteVlm:
    """A model that another server answers with.

    Attributes:
        name: the setting, `openai:MODEL@BASE_URL`.
        weights_sha256: the hash of the base model's weights where that is known, so that adapters trained on it
            are found; else a hash of the name, which no adapter belongs to.
    """

    def __init__(self, address: Address, server: OpenAiServer, base: str | None = None, base_sha256: str | None = None):
        """
        Args:
            address: model and URL.
            server: at that URL.
            base: the base model, where the server is a vLLM that loads adapters.
            base_sha256: hash of that base model's weights.
        """
        self.name = f"{PREFIX}{address.model}@{address.base_url}"
        self.weights_sha256 = base_sha256 or hashlib.sha256(self.name.encode()).hexdigest()
        self._model = address.model
        self._server = server
        self._base = base
        self._adapter: Path | None = None
        self._options = GREEDY if base is None else VLLM_GREEDY

    def answer(self, images: Sequence[Image], instructions: Sequence[str]) -> list[Answer]:
        """Answers each (picture, instruction) pair; `AT_ONCE` of them are asked at the same time.

        Raises:
            ModelUnavailable: one of them got no answer.
            BadModel: the server lost the adapter and does not load it again.
        """
        if len(images) < 2:
            return [self._ask(*pair) for pair in zip(images, instructions, strict=True)]
        pool = ThreadPoolExecutor(min(AT_ONCE, len(images)))
        try:
            return list(pool.map(self._ask, images, instructions))
        finally:
            pool.shutdown(cancel_futures=True)

    def _ask(self, image: Image, instruction: str) -> Answer:
        body = {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": data_url(image)}},
                        {"type": "text", "text": instruction},
                    ],
                }
            ]
        }
        reloaded = False
        while True:
            options = self._options
            model = self._model if self._adapter is None else adapter_name(self._adapter)
            try:
                return read_completion(self._server.post("chat/completions", {"model": model, **body, **options}))
            except CallFailed as failed:
                if failed.status in (400, 403, 422) and (fewer := without_refused(options, failed.reply)) is not None:
                    self._options = fewer
                elif failed.status == 404 and self._adapter is not None and not reloaded:
                    self._load(self._adapter)  # a vLLM server that was restarted has forgotten it
                    reloaded = True
                else:
                    raise

    def use_adapter(self, folder: Path | None) -> None:
        """Answers with this adapter from now on; None is the model that XRAY_VLM names.

        The server keeps adapters it no longer answers with until it needs their place.

        Raises:
            BadModel: the server does not load it; the one in use before stays in use.
            ModelUnavailable: the server does not answer.
        """
        if folder is not None:
            self._load(folder)
        self._adapter = folder

    def receive(self, adapter: Adapter, folder: Path) -> None:
        """Has the server load an adapter that is about to be promoted; other kinds are none of its business.

        Raises:
            Conflict: the server cannot be told to, or serves another base model; the message says what to do.
            BadModel: it does not load it.
            ModelUnavailable: it does not answer.
        """
        if adapter.kind != "vlm-adapter":
            return
        if self._base is None:
            raise Conflict(
                f"{self.name} cannot be told to load adapters. If it is a vLLM server, start it with --enable-lora "
                "and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, and set XRAY_VLM_BASE to the base model it serves; "
                f"else serve the base model at this desk (XRAY_VLM={adapter.base})."
            )
        if adapter.base_sha256 != self.weights_sha256:
            raise Conflict(f"This adapter belongs to another base model ({adapter.base}); served is {self._base}.")
        self._load(folder)

    def _load(self, folder: Path) -> None:
        if self._base is None:
            raise BadModel(f"{self.name} takes no adapters. Set XRAY_VLM_BASE if it is a vLLM server that does.")
        name, path = adapter_name(folder), str(folder.resolve())
        try:
            self._server.post("load_lora_adapter", {"lora_name": name, "lora_path": path})
        except CallFailed as failed:
            if failed.status == 400 and name in failed.reply and "already" in failed.reply:
                return
            if failed.status is None or failed.passing or failed.status == 401:
                raise
            raise BadModel(
                f"The server did not load the adapter. {failed.message} vLLM needs --enable-lora, a --max-lora-rank "
                f"that is high enough, VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, and to see the folder {path}."
            ) from failed


def adapter_name(folder: Path) -> str:
    """The name an adapter has on the server: by its content, so that a name never means two things.

    Raises:
        BadModel: there is no PEFT adapter in the folder.
    """
    digest = hashlib.sha256()
    try:
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            digest.update((folder / name).read_bytes())
    except OSError as error:
        raise BadModel(f"The adapter in {folder} cannot be read: {error.strerror or error}.") from error
    return f"xray-{digest.hexdigest()[:16]}"


def data_url(image: Image) -> str:
    """The picture as a PNG in a data URL; scaled down where it has more than `MAX_PIXELS`."""
    pixels = image.width * image.height
    if pixels > MAX_PIXELS:
        scale = math.sqrt(MAX_PIXELS / pixels)
        size = max(1, int(image.width * scale)), max(1, int(image.height * scale))
        image = image.resize(size, Resampling.BOX)
    file = io.BytesIO()
    image.convert("RGB").save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def without_refused(options: Mapping[str, Any], reply: str) -> Mapping[str, Any] | None:
    """The options without the one that a refusal names, or under its other name; None where it names none."""
    refused = next((name for name in options if re.search(rf"\b{name}\b", reply)), None)
    if refused is None:
        return None
    rest = {name: value for name, value in options.items() if name != refused}
    return rest | {RENAMED[refused]: options[refused]} if refused in RENAMED else rest


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None
    logprobs: Any = None


class _Completion(BaseModel):
    choices: Annotated[list[_Choice], Field(min_length=1)]


class _Token(BaseModel):
    token: str
    logprob: Annotated[float, Field(allow_inf_nan=False)]
    bytes: list[Annotated[int, Field(ge=0, le=255)]] | None = None


class _Logprobs(BaseModel):
    content: list[_Token]


def read_completion(text: str) -> Answer:
    """The answer in a chat completion. What the model declined to say is an unfinished answer.

    Raises:
        ModelUnavailable: it is not a chat completion.
    """
    try:
        choice = _Completion.model_validate_json(text).choices[0]
    except ValidationError as error:
        raise ModelUnavailable(
            f"The model server's answer is not a chat completion: {error.errors()[0]['msg'][:100]}. "
            "Check that XRAY_VLM names an OpenAI-compatible server; its URL often ends in /v1."
        ) from error
    if choice.message.content is None:
        return Answer(choice.message.refusal or "", finished=False)
    try:
        tokens = _Logprobs.model_validate(choice.logprobs).content
    except ValidationError:  # not every server gives them
        tokens = []
    said = choice.message.content
    return Answer(said, choice.finish_reason == "stop", token_spans(said, tokens))


def token_spans(said: str, tokens: Sequence[_Token]) -> tuple[tuple[int, int, float], ...]:
    """(start, end, probability) of each token in characters of `said`; empty where they do not spell it.

    A character may take several tokens: bytes are counted, and each of them covers it.
    """
    pieces = [bytes(one.bytes) if one.bytes is not None else one.token.encode() for one in tokens]
    # Around the answer there may be tokens that are not shown: blanks, an end mark.
    offset = b"".join(pieces).find(said.encode()) if said else -1
    if offset < 0:
        return ()
    character = [place for place, one in enumerate(said) for _ in one.encode()]
    spans, end = [], -offset
    for one, piece in zip(tokens, pieces, strict=True):
        start, end = end, end + len(piece)
        first, last = max(start, 0), min(end, len(character))
        if first < last:
            spans.append((character[first], character[last - 1] + 1, min(1.0, math.exp(min(one.logprob, 0.0)))))
    return tuple(spans)


def load_remote(setting: str, api_key: SecretStr | None, seconds: float, base: tuple[str, str] | None) -> RemoteVlm:
    """The model that `openai:MODEL@BASE_URL` names. Nothing is sent yet.

    Args:
        setting: of XRAY_VLM.
        api_key: of XRAY_VLM_API_KEY.
        seconds: an answer may take.
        base: name and weights' hash of the base model, where the server loads adapters.

    Raises:
        BadModel: the address does not have the form, or the key is missing or cannot be sent.
    """
    address = read_address(setting)
    url = urlsplit(address.base_url)
    key = (api_key.get_secret_value() if api_key else "").strip()
    if not key and url.hostname in _NEED_A_KEY:
        raise BadModel(f"{address.base_url} wants an API key. Set XRAY_VLM_API_KEY.")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise BadModel("XRAY_VLM_API_KEY holds blanks or letters that no key has. Copy it again.")
    if key and url.scheme == "http" and url.hostname not in _THIS_MACHINE:
        logger.warning("%s is not encrypted: the API key and the scans can be read on the way.", address.base_url)
    server = OpenAiServer(address.base_url, SecretStr(key) if key else None, seconds)
    return RemoteVlm(address, server, *(base or ()))
