"""Calls to a server that speaks OpenAI's HTTP interface: bounded in time and size, tried again where that helps."""

from __future__ import annotations

import itertools
import json
import random
import re
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import httpx
from pydantic import SecretStr

from xray_app.errors import ModelUnavailable
from xray_app.vlm.completion import error_within, words_of

MAX_ANSWER_BYTES = 1024 * 1024
"""Of an answer, unless it may have more tokens than that: with its probability a token takes about 200 bytes."""
BYTES_PER_TOKEN = 1024
CONNECT_SECONDS = 10.0
ATTEMPTS = 4
"""Of a call; one that came too soon (429) is tried again for as long as there is time."""
FIRST_WAIT = 0.5
"""Seconds before the second attempt; twice as long before each further one."""
PASSING = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses that the same request may not meet again."""
_LONGEST_REPLY = 300


class CallFailed(ModelUnavailable):
    """A call that got no usable answer.

    Attributes:
        status: the HTTP status, None where no answer came.
        reply: what the server said of it, whole; never shown without `_shown`.
        passing: whether the same call may succeed a little later.
        retry_after: seconds the server asks to wait, None where it does not say.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        reply: str = "",
        passing: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, details=None if retry_after is None else {"retry_after": retry_after})
        self.status = status
        self.reply = reply
        self.passing = passing
        self.retry_after = retry_after


class OpenAiServer:
    """A server by its base URL, and the key it wants.

    The key goes into the header of each call and nowhere else: no message, no log, no redirect.
    """

    def __init__(
        self,
        base_url: str,
        api_key: SecretStr | None,
        seconds: float,
        first_wait: float = FIRST_WAIT,
        tokens: int = 0,
    ):
        """
        Args:
            base_url: with the version, as `https://api.openai.com/v1`.
            api_key: None for a server that wants none.
            seconds: a call may take, all attempts and waits included.
            first_wait: seconds before the second attempt.
            tokens: that an answer may have.
        """
        self.base_url = base_url.rstrip("/")
        self._root = re.sub(r"/v\d+$", "", self.base_url)
        self.seconds = seconds
        self._key = api_key
        self._longest = max(MAX_ANSWER_BYTES, tokens * BYTES_PER_TOKEN)
        self._first_wait = first_wait
        # Redirects are not followed: a key and a scan go to the address that was set, or nowhere.
        self._client = httpx.Client(follow_redirects=False, headers={"Accept-Encoding": "identity"})

    def post(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        attempts: int = ATTEMPTS,
        at_root: bool = False,
        fresh: bool = False,
    ) -> str:
        """Posts JSON and returns the text of the answer.

        Args:
            path: below the base URL, as `chat/completions`.
            body: the request.
            attempts: in all, where what went wrong may pass.
            at_root: the path is below the server's root, without the `/v1`.
            fresh: over a connection of its own, so that a balancer chooses anew who answers.

        Raises:
            CallFailed: no usable answer; the message says what to do.
        """
        content = json.dumps(body).encode()
        url = f"{self._root if at_root else self.base_url}/{path}"
        give_up = time.monotonic() + self.seconds
        enough = self.seconds / 10  # an attempt with less time would only hide what went wrong before
        wait = self._first_wait
        for attempt in itertools.count(1):
            try:
                return self._once(url, content, give_up, fresh)
            except CallFailed as failed:
                # Spread out, so that the calls of one batch do not come back all at once.
                pause = max(wait * random.uniform(0.75, 1.25), failed.retry_after or 0.0)
                spent = attempt >= attempts and failed.status != HTTPStatus.TOO_MANY_REQUESTS
                if spent or not failed.passing or time.monotonic() + pause >= give_up - enough:
                    raise
                time.sleep(pause)
                wait *= 2
        raise AssertionError("the loop ends by returning or raising")

    def _once(self, url: str, content: bytes, give_up: float, fresh: bool) -> str:
        left = max(give_up - time.monotonic(), 0.001)
        headers = {"Content-Type": "application/json"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key.get_secret_value()}"
        timeout = httpx.Timeout(left, connect=min(left, CONNECT_SECONDS))
        if fresh:
            headers["Connection"] = "close"
        try:
            with self._client.stream("POST", url, content=content, headers=headers, timeout=timeout) as response:
                text = self._read(response, give_up).decode("utf-8", "replace")
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise CallFailed(
                f"The model server at {self.base_url} cannot be reached: {self._shown(str(error))}. "
                "Start it, or set XRAY_VLM to where it is.",
                passing=True,
            ) from error
        except httpx.TimeoutException as error:
            raise self._too_slow() from error
        except httpx.HTTPError as error:
            raise CallFailed(
                f"The model server at {self.base_url} broke off: {self._shown(str(error))}. "
                "If it happens again, look at its log.",
                passing=True,
            ) from error
        retry_after = _seconds(response.headers.get("Retry-After"))
        if response.status_code != HTTPStatus.OK:
            raise self._refusal(response.status_code, words_of(text), retry_after)
        if (within := error_within(text)) is not None:
            raise self._refusal(within.status or HTTPStatus.OK, within.words, retry_after)
        return text

    def _read(self, response: httpx.Response, give_up: float) -> bytes:
        """The whole answer, unless it is too long or trickles in for longer than there is time."""
        content = bytearray()
        for chunk in response.iter_bytes():
            content += chunk
            if len(content) > self._longest:
                raise CallFailed(
                    f"The model server at {self.base_url} answered with more than {self._longest:,} bytes, "
                    "which is no report. Check that XRAY_VLM names a chat model."
                )
            if time.monotonic() > give_up:
                raise self._too_slow()
        return bytes(content)

    def _too_slow(self) -> CallFailed:
        return CallFailed(
            f"The model server at {self.base_url} did not answer within {self.seconds:g} seconds. "
            "Try again, or raise XRAY_VLM_TIMEOUT."
        )

    def _refusal(self, status: int, reply: str, asked_to_wait: float | None) -> CallFailed:
        """What an error means, and what to do about it.

        Args:
            status: of the answer, or named in it; 200 for an error that names none.
            reply: the server's own words, as they came.
            asked_to_wait: seconds by its `Retry-After`.
        """
        shown = f": {self._shown(reply)}" if reply.strip() else ""
        where = f"The model server at {self.base_url}"
        retry_after = None
        passing = status in PASSING
        if status == 401:  # its words may repeat the key
            message = (
                f"{where} wants an API key. Set XRAY_VLM_API_KEY and start again."
                if self._key is None
                else f"{where} refuses the API key. Check XRAY_VLM_API_KEY."
            )
        elif status == 403:
            message = f"{where} forbids this (403){shown}. Check what XRAY_VLM_API_KEY may be used for."
        elif status == 404:
            message = f"{where} knows no such model or address (404){shown}. Check XRAY_VLM; URLs often end in /v1."
        elif status == 429 and "insufficient_quota" in reply:
            passing = False
            message = f"{where} says that this API key's quota is used up (429){shown}. Check its plan and billing."
        elif status == 429:
            retry_after = asked_to_wait
            message = f"{where} gets too many requests (429){shown}. Try again in {retry_after or 60:g} seconds."
        elif 300 <= status < 400:
            message = f"{where} answers with a redirect ({status}), which is not followed. Set XRAY_VLM to the new URL."
        elif status >= 500:
            retry_after = asked_to_wait
            message = f"{where} failed ({status}){shown}. Try again; if it happens again, look at its log."
        elif status == 200:
            message = f"{where} answered with an error{shown}."
        else:
            message = f"{where} refuses the request ({status}){shown}."
        return CallFailed(message, status=status, reply=reply, passing=passing, retry_after=retry_after)

    def _shown(self, reply: str) -> str:
        """Somebody else's words on one line, short, and without the key."""
        if self._key is not None:
            reply = reply.replace(self._key.get_secret_value(), "…")
        words = "".join(char if char.isprintable() else " " for char in reply[: 10 * _LONGEST_REPLY])
        return " ".join(words.split())[:_LONGEST_REPLY].rstrip(".") or "no reason given"


def _seconds(header: str | None) -> float | None:
    """Retry-After in seconds, a day at most; its other form, a date, is taken as not given."""
    if header is None or not (header.isascii() and header.isdecimal()):
        return None
    return min(float(header), 86_400.0)
