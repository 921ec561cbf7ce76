"""A chat completion as a server sends it: the answer, its token probabilities, and what is wrong with it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from xray_app.errors import ModelUnavailable
from xray_app.report import ONLY_THOUGHT
from xray_app.vlm.base import CUT_OFF, Answer

_ENDS = {
    "length": CUT_OFF,
    "content_filter": "stopped by the server's content filter",
    "tool_calls": "the model called a tool instead of answering",
}
"""What `finish_reason` says of an answer that is not whole."""


class _Part(BaseModel):
    """Content may come in parts; those of other types, such as a thought, are no answer."""

    type: str
    text: str | None = None


class _Message(BaseModel):
    content: str | list[_Part] | None = None
    refusal: str | None = None
    reasoning: Any = None
    reasoning_content: Any = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join(part.text or "" for part in self.content if part.type in ("text", "output_text"))
        return self.content or ""

    @property
    def thought(self) -> bool:
        """Whether the server set the model's thoughts apart."""
        parts = self.content if isinstance(self.content, list) else []
        return bool(self.reasoning or self.reasoning_content or any(part.type == "thinking" for part in parts))


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
    """The answer in a chat completion. One that was refused, left empty or cut off says so in `problem`.

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
    message, said = choice.message, choice.message.text
    if message.refusal and not said.strip():
        return Answer(message.refusal, finished=False, problem="the model refused to answer")
    if not said.strip():
        ended = _ENDS.get(choice.finish_reason or "", "the model's answer is empty")
        return Answer(said, finished=False, problem=ONLY_THOUGHT if message.thought else ended)
    problem = None if choice.finish_reason == "stop" else _ENDS.get(choice.finish_reason or "", "not ended properly")
    try:
        tokens = _Logprobs.model_validate(choice.logprobs).content
    except ValidationError:  # not every server gives them
        tokens = []
    return Answer(said, problem is None, token_spans(said, tokens), problem)


def token_spans(said: str, tokens: Sequence[_Token]) -> tuple[tuple[int, int, float], ...]:
    """(start, end, probability) of each token in characters of `said`; empty where they do not spell it.

    A character may take several tokens: bytes are counted, and each of them covers it.
    """
    pieces = [bytes(one.bytes) if one.bytes is not None else one.token.encode() for one in tokens]
    # Around the answer there may be tokens that are not shown: blanks, a thought, an end mark.
    offset = b"".join(pieces).rfind(said.encode()) if said else -1
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


class ServerError(BaseModel):
    """What a server says of a request that it does not fulfil.

    Attributes:
        status: the HTTP status that it names, None where it names none.
        words: its own, never shown without taking out what nobody may see.
    """

    status: int | None = None
    words: str


def error_within(text: str) -> ServerError | None:
    """The error in a body that came with status 200; None where it holds an answer, or no error.

    OpenRouter and other gateways pass an upstream's error on like this, in place of the choices or within the first.
    """
    document = _parsed(text)
    if not isinstance(document, dict):
        return None
    choices = document.get("choices")
    first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    for holder in (document, first):
        if error := holder.get("error"):
            return ServerError(status=_status(error), words=words_of(json.dumps(holder)))
    failed = document.get("object") == "error" or document.get("success") is False
    if failed or (choices is None and isinstance(document.get("detail"), str)):
        return ServerError(status=_status(document), words=words_of(text))
    return None


def words_of(text: str) -> str:
    """The message in an error's body: OpenAI's and vLLM's form, Google's, FastAPI's, or the text itself."""
    document = _parsed(text)
    if isinstance(document, list) and document:
        document = document[0]
    if not isinstance(document, dict):
        return text
    error = document.get("error") or document
    if not isinstance(error, dict):
        return str(error)
    detail, metadata = error.get("detail"), error.get("metadata")
    if isinstance(detail, list):  # FastAPI names each field that is wrong
        wrong = [one for one in detail if isinstance(one, dict)]
        error = {**error, "detail": "; ".join(f"{one.get('msg')}: {one.get('loc')}" for one in wrong)}
    if isinstance(metadata, dict):  # OpenRouter: what the provider behind it said
        error = {**error, "raw": metadata.get("raw")}
    parts = [error.get(name) for name in ("message", "error_message", "detail", "raw", "param", "code")]
    return " ".join(part for part in parts if isinstance(part, str) and part) or text


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _status(error: Any) -> int | None:
    if not isinstance(error, dict):
        return None
    codes = [error.get(name) for name in ("code", "status", "status_code")]
    numbers = [int(code) for code in codes if isinstance(code, int | str) and str(code).isdecimal()]
    return next((number for number in numbers if 400 <= number < 600), None)
