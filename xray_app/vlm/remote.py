"""A vision-language model on another server: OpenAI's, vLLM, or any other that speaks the same HTTP interface."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from PIL.Image import Image
from pydantic import SecretStr
from transformers import AutoProcessor

from xray_app.adapter import Adapter
from xray_app.errors import BadModel, Conflict
from xray_app.settings import Settings
from xray_app.taxonomy import Taxonomy
from xray_app.vlm.answer_form import AnswerForm, answer_form
from xray_app.vlm.base import Answer, Draft
from xray_app.vlm.completion import read_completion
from xray_app.vlm.coordinates import coordinate_frame
from xray_app.vlm.kept_answers import difference, open_kept_scan, read_kept_answers
from xray_app.vlm.lora_server import LoraServer, adapter_name, hint
from xray_app.vlm.openai_server import CallFailed, OpenAiServer
from xray_app.vlm.pictures import QWEN2_5_VL, ShownSize, limits_of_adapter, picture_limits
from xray_app.vlm.request_options import (
    REFUSALS,
    SIZES,
    Options,
    first_options,
    holds_to_schema,
    without_refused,
)
from xray_app.vlm.sent_picture import data_url, sent_picture
from xray_app.vlm.weights import weights_hash

logger = logging.getLogger(__name__)

PREFIX = "openai:"
MAX_TOKENS = 512
"""Of an answer, unless XRAY_VLM_MAX_TOKENS says otherwise."""
AT_ONCE = 8
"""Scans asked about at the same time, unless XRAY_VLM_AT_ONCE says otherwise: what a vLLM server is fast with."""
MOST_RELOADS = 8
"""Times that one answer's adapter is loaded again: each of several servers behind one address may have forgotten it."""
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


class Base(NamedTuple):
    """The base model that a server serves, where that is known.

    Attributes:
        name: as a recipe names it.
        folder: with its weights and configuration.
    """

    name: str
    folder: Path


class _Adapter(NamedTuple):
    """An adapter on the server.

    Attributes:
        folder: with its weights.
        name: there.
        shown: how large it is shown pictures; None where its family sizes in another way.
    """

    folder: Path
    name: str
    shown: ShownSize | None


class RemoteVlm:
    """A model that another server answers with.

    Attributes:
        name: the setting, `openai:MODEL@BASE_URL`.
        weights_sha256: the hash of the base model's weights where that is known, so that adapters trained on it
            are found; else a hash of the name, which no adapter belongs to.
    """

    def __init__(
        self,
        address: Address,
        server: OpenAiServer,
        base: Base | None = None,
        form: AnswerForm | None = None,
        family: str | None = None,
        tokens: int = MAX_TOKENS,
        at_once: int = AT_ONCE,
    ):
        """
        Args:
            address: model and URL.
            server: at that URL.
            base: the base model, where the server is one that loads adapters.
            form: what the model is told of the report, since it was not trained on it; None where it was.
            family: says how it writes boxes; None where that is not known.
            tokens: that an answer may have.
            at_once: scans asked about at the same time.
        """
        self.name = f"{PREFIX}{address.model}@{address.base_url}"
        self.weights_sha256 = weights_hash(base.folder) if base else hashlib.sha256(self.name.encode()).hexdigest()
        self._model = address.model
        self._server = server
        self._base = base
        self._form = form
        self._family = family
        self._processor = _processor_of(base) if base else None
        self._shown = ShownSize.of(self._processor) if base else None
        self._lora = LoraServer(server, address.model)
        self._adapter: _Adapter | None = None
        self._takes_sizes = True
        self._loading = Lock()
        self._unfit: dict[str, str] = {}
        self._tokens = tokens
        self._at_once = at_once
        self._told = first_options(tokens, base is not None, form)
        self._trained = first_options(tokens, base is not None, None)

    def answer(
        self, images: Sequence[Image], instructions: Sequence[str], drafts: Sequence[Draft] | None = None
    ) -> list[Answer]:
        """Answers each (picture, instruction) pair, as many at the same time as the server is asked at once.

        A server takes no drafts.

        Raises:
            ModelUnavailable: one of them got no answer.
            BadModel: the server lost the adapter and does not load it again.
        """
        return self._together(images, instructions, self._adapter)

    def _together(
        self,
        images: Sequence[Image],
        instructions: Sequence[str],
        adapter: _Adapter | None,
        repeating: bool = False,
    ) -> list[Answer]:
        if len(images) < 2:
            return [self._ask(*pair, adapter, repeating) for pair in zip(images, instructions, strict=True)]
        pool = ThreadPoolExecutor(min(self._at_once, len(images)))
        try:
            return list(pool.map(self._ask, images, instructions, repeat(adapter), repeat(repeating)))
        finally:
            pool.shutdown(cancel_futures=True)

    def _ask(self, image: Image, instruction: str, adapter: _Adapter | None, repeating: bool = False) -> Answer:
        if adapter is not None and adapter.name in self._unfit and not repeating:
            self._load(adapter)
        form = self._form if adapter is None else None
        size = self._shown if adapter is None else adapter.shown
        picture = sent_picture(image, size.shown(image.size) if size else None)
        options = self._trained if form is None else self._told
        if self._takes_sizes and adapter is not None and size is not None and size != self._shown:
            options = {**options, SIZES: {"min_pixels": size.least, "max_pixels": size.most}}
        reloads = 0
        while True:
            words = instruction
            if form is not None:
                words = form.told(instruction, as_json=form.boxes or holds_to_schema(options))
            model = self._model if adapter is None else self._lora.model_name(adapter.name)
            try:
                text = self._server.post("chat/completions", {"model": model, **_messages(picture, words), **options})
                answer = read_completion(text)
            except CallFailed as failed:
                fewer = without_refused(options, failed.reply) if failed.status in REFUSALS else None
                if fewer is not None:
                    self._takes_sizes &= SIZES not in options or SIZES in fewer
                    options = fewer
                elif failed.status == 404 and adapter is not None and reloads < MOST_RELOADS:
                    reloads += 1  # a server that was restarted has forgotten it
                    if repeating:
                        self._lora.load_again(adapter.name, adapter.folder, reloads)
                    else:
                        self._load(adapter, reloads)
                else:
                    raise
            else:
                self._keep(options, form)
                shown = picture.size if size else QWEN2_5_VL.shown(picture.size)
                return replace(answer, frame=coordinate_frame(self._family, shown))

    def _keep(self, options: Options, form: AnswerForm | None) -> None:
        """Goes on with the options that the server took, and says what it did not take."""
        before = self._trained if form is None else self._told
        options = {name: value for name, value in options.items() if name != SIZES}
        if options.keys() == before.keys():
            return
        left_out = ", ".join(name for name in before if name not in options)
        logger.warning("%s does not take %s; it is asked without that from now on.", self.name, left_out)
        if form is None:
            self._trained = options
        else:
            self._told = options

    def use_adapter(self, folder: Path | None) -> None:
        """Answers with this adapter from now on; None is the model that XRAY_VLM names.

        The server keeps adapters it no longer answers with until it needs their place.

        Raises:
            BadModel: the server does not load it, or answers otherwise than the gate heard; the one in use before
                stays in use.
            ModelUnavailable: the server does not answer.
        """
        adapter = None if folder is None else self._opened(folder)
        if adapter is not None:
            self._load(adapter)
        self._adapter = adapter

    def use_taxonomy(self, taxonomy: Taxonomy) -> None:
        """Is told the names of these classes from now on, where it was told any."""
        if self._form is not None:
            form = answer_form(taxonomy, self._form.boxes)
            # What the server refused of the options before, it refuses again, and is not asked for any more then.
            self._form, self._told = form, first_options(self._tokens, self._base is not None, form)

    def receive(self, adapter: Adapter, folder: Path) -> None:
        """Has the server load an adapter that is about to be promoted, and repeat the answers that the gate passed it
        with; other kinds are none of its business.

        Raises:
            Conflict: the server cannot be told to, serves another base model, or answers otherwise; the message says
                what to do.
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
            raise Conflict(f"This adapter belongs to another base model ({adapter.base}); served is {self._base.name}.")
        received = self._opened(folder)
        if not read_kept_answers(folder):
            raise Conflict(
                "This adapter was examined before answers were kept with it, so nobody can tell whether the server "
                f"answers as it did then. Examine it again: python -m training register {folder}"
            )
        with self._loading:
            self._lora.load(received.name, folder)
            self._lora.spread(received.name, folder)
            self._repeats(received)

    def _load(self, adapter: _Adapter, time: int = 1) -> None:
        """Loads an adapter that was promoted before. A server that finds it new was started since, perhaps otherwise:
        it has to repeat the gate's answers again.

        Raises:
            BadModel: it does not load it, or answers otherwise, now or when it last found it new.
        """
        with self._loading:
            new = self._lora.load_again(adapter.name, adapter.folder, time)
            try:
                if new:
                    self._repeats(adapter)
            except Conflict as otherwise:
                raise BadModel(otherwise.message) from otherwise
            if adapter.name in self._unfit:
                raise BadModel(self._unfit[adapter.name])

    def _opened(self, folder: Path) -> _Adapter:
        if self._processor is None:
            raise BadModel(f"{self.name} takes no adapters. Set XRAY_VLM_BASE if it is a vLLM server that does.")
        limits = limits_of_adapter(folder, picture_limits(self._processor))
        return _Adapter(folder, adapter_name(folder), ShownSize.of(self._processor, limits))

    def _repeats(self, adapter: _Adapter) -> None:
        """Asks the server for the answers that the gate passed this adapter with.

        An adapter that was promoted before answers were kept has none to ask for.

        Raises:
            Conflict: it answers otherwise.
        """
        kept = read_kept_answers(adapter.folder)
        images = [open_kept_scan(adapter.folder, one) for one in kept]
        answers = self._together(images, [one.instruction for one in kept], adapter, repeating=True)
        differ = [found for one, answer in zip(kept, answers, strict=True) if (found := difference(one, answer))]
        self._unfit.pop(adapter.name, None)
        if differ:
            refusal = Conflict(
                f"The server does not answer with what the gate passed: {len(differ)} of {len(kept)} scans are "
                f"answered otherwise, as {differ[0]}. {hint(adapter.folder)}",
                details={"differences": differ},
            )
            self._unfit[adapter.name] = refusal.message
            raise refusal


def _processor_of(base: Base) -> Any:
    try:
        return AutoProcessor.from_pretrained(base.folder)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise BadModel(f"The processor of XRAY_VLM_BASE, {base.name}, does not load: {error}") from error


def _messages(picture: Image, words: str) -> Mapping[str, Any]:
    """One user turn, in the order of the prompts here: the picture first, then the words."""
    content = [{"type": "image_url", "image_url": {"url": data_url(picture)}}, {"type": "text", "text": words}]
    return {"messages": [{"role": "user", "content": content}]}


def load_remote(settings: Settings, base: Base | None, form: AnswerForm | None, family: str | None) -> RemoteVlm:
    """The model that `openai:MODEL@BASE_URL` names. Nothing is sent yet.

    Args:
        settings: name it, its key, and how long an answer may take and be.
        base: the base model, where the server loads adapters.
        form: what the model is told of the report; None where it was trained on it.
        family: says how it writes boxes.

    Raises:
        BadModel: the address does not have the form, or the key is missing or cannot be sent.
    """
    address = read_address(settings.vlm)
    url = urlsplit(address.base_url)
    key = (settings.vlm_api_key.get_secret_value() if settings.vlm_api_key else "").strip()
    if not key and url.hostname in _NEED_A_KEY:
        raise BadModel(f"{address.base_url} wants an API key. Set XRAY_VLM_API_KEY.")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise BadModel("XRAY_VLM_API_KEY holds blanks or letters that no key has. Copy it again.")
    if key and url.scheme == "http" and url.hostname not in _THIS_MACHINE:
        logger.warning("%s is not encrypted: the API key and the scans can be read on the way.", address.base_url)
    tokens = settings.vlm_max_tokens or MAX_TOKENS
    server = OpenAiServer(address.base_url, SecretStr(key) if key else None, settings.vlm_timeout, tokens=tokens)
    return RemoteVlm(address, server, base, form, family, tokens, settings.vlm_at_once)
