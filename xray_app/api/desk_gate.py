"""What of Gradio's own addresses is open, and to whom: the page's routes alone, each stream and upload its owner's.

The handlers of the page are events of Gradio's queue and report their own faults. What fails outside of them is a
request that the page does not send: it is refused in the form of every other error, and never a 500.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections import OrderedDict, deque
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, unquote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from xray_app.api.envelope import desk_error, error_response
from xray_app.errors import BadInput, DeskError, Forbidden, NotFound, Throttled
from xray_app.services import Services

logger = logging.getLogger(__name__)

API = "/desk/gradio_api/"
READ = re.compile(
    r"/desk/?|/desk/(config/?|theme\.css|favicon\.ico|manifest\.json|robots\.txt|logout|(assets|static|svelte)/.+)"
    r"|/desk/gradio_api/(info/?|user/?|app_id/?|theme\.css|startup-events|queue/(data|status)|upload_progress"
    r"|heartbeat/[^/]+|custom_component/.+)"
)
WRITTEN = re.compile(r"/desk/gradio_api/(queue/join|upload|cancel|reset/?)")
KEPT = re.compile(r"/desk/((assets|static|svelte)/.+|favicon\.ico|theme\.css)|/desk/gradio_api/(theme\.css|custom_c.+)")
"""What a browser may keep: it holds nothing of anybody."""
UPLOAD = f"{API}upload"
WITH_SESSION = frozenset({f"{API}queue/join", f"{API}cancel", f"{API}reset", f"{API}reset/"})
MOST_SESSIONS, MOST_UPLOADS = 20_000, 100_000
UPLOAD_WINDOW = 3600
UPLOADS_OF_THE_LARGEST_SIZE = 64
"""Bytes a user may upload to the page within an hour, in uploads as large as one may be."""


def refusal_of(method: str, path: str) -> tuple[int, str, str, dict[str, str]] | None:
    """Status, code, message and headers of the answer to what the page does not use; None lets it pass."""
    allowed = ("GET", "HEAD") if READ.fullmatch(path) else ("POST",) if WRITTEN.fullmatch(path) else ()
    if method in allowed:
        return None
    if allowed:
        message = "This address does not take this method."
        return 405, "method_not_allowed", message, {"Allow": ", ".join(allowed)}
    return NotFound.http_status, NotFound.code, "There is nothing at this address.", {}


class DeskGate:
    """ASGI middleware between the door and Gradio; everything that is not under `/desk` passes untouched."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self.app = app
        self._quota = UPLOADS_OF_THE_LARGEST_SIZE * services.settings.max_upload_bytes
        self._sessions: OrderedDict[str, str] = OrderedDict()  # Gradio's name of an open page, and whose it is
        self._uploads: OrderedDict[str, set[str]] = OrderedDict()  # a file, and who has uploaded it
        self._sent: dict[str, deque[tuple[float, int]]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] != "http" or not (path == "/desk" or path.startswith("/desk/")):
            await self.app(scope, receive, send)
            return
        if refused := refusal_of(scope["method"], path):
            status, code, message, headers = refused
            await error_response(status, code, message, headers=headers)(scope, receive, send)
            return
        username = scope["state"]["identity"].username
        try:
            for session in _sessions_of(scope):
                self._claim(session, username)
            if path == UPLOAD:
                self._count(username, Headers(scope=scope).get("content-length", ""))
            if path in WITH_SESSION:
                receive = await self._checked(receive, username)
        except DeskError as error:
            await desk_error(error)(scope, receive, send)
            return
        answer = _Answer(send, path)
        try:
            await self.app(scope, receive, answer.send)
        except ClientDisconnect:
            raise
        except Exception as error:  # noqa: BLE001  # whatever Gradio makes of what the page would not send
            logger.warning("%s %s: %s: %s", scope["method"], path, type(error).__name__, str(error)[:200])
            await answer.fail()
        if path == UPLOAD and answer.status == 200:
            self._keep(answer.body, username)

    def _claim(self, session: str, username: str) -> None:
        """Whoever comes first with a session's name has it, as Gradio's pages make them up at random.

        Raises:
            Forbidden: it is another user's.
        """
        if self._sessions.setdefault(session, username) != username:
            raise Forbidden("This stream belongs to another user.")
        self._sessions.move_to_end(session)
        if len(self._sessions) > MOST_SESSIONS:
            self._sessions.popitem(last=False)

    def _count(self, username: str, announced: str) -> None:
        """Counts an upload by its announced length.

        Raises:
            BadInput: no length is announced, so that nothing can be counted.
            Throttled: the user has uploaded as much as one may within an hour.
        """
        if not announced.isdecimal():
            raise BadInput("An upload says its length beforehand.")
        now, sent = time.monotonic(), self._sent.setdefault(username, deque())
        while sent and sent[0][0] < now - UPLOAD_WINDOW:
            sent.popleft()
        if sent and sum(size for _, size in sent) + int(announced) > self._quota:
            wait = max(1, round(sent[0][0] + UPLOAD_WINDOW - now))
            raise Throttled(
                f"You have uploaded {self._quota // 2**20:,} MB within an hour, which is the most. Try again in "
                f"{wait // 60 + 1} minutes; large data sets are imported by the command line.",
                details={"retry_after": wait},
            )
        sent.append((now, int(announced)))

    async def _checked(self, receive: Receive, username: str) -> Receive:
        """Reads the body of an event, whose session and files must be the user's own.

        Raises:
            Forbidden: they are another's.
            BadInput: NaN or Infinity among its numbers.
        """
        pieces, more = [], True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                raise ClientDisconnect
            pieces.append(message.get("body", b""))
            more = message.get("more_body", False)
        body = b"".join(pieces)
        try:
            asked = json.loads(body, parse_constant=_refuse_number)
            for name, value in _strings(asked):
                if name == "session_hash":
                    self._claim(value, username)
                elif name == "path" and username not in self._uploads.get(_real(value), {username}):
                    raise Forbidden("This file was uploaded by another user.")
        except (ValueError, RecursionError):
            pass  # no JSON; Gradio refuses it
        sent = False

        async def again() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        return again

    def _keep(self, body: bytes, username: str) -> None:
        try:
            paths = json.loads(body)
        except ValueError:
            return
        for path in paths if isinstance(paths, list) else ():
            self._uploads.setdefault(_real(str(path)), set()).add(username)
        while len(self._uploads) > MOST_UPLOADS:
            self._uploads.popitem(last=False)


class _Answer:
    """Passes Gradio's answer on: an error in the one form of errors, nothing of a person's kept by a browser."""

    def __init__(self, send: Send, path: str) -> None:
        self._send = send
        self._path = path
        self._start: Message | None = None
        self._begun = self._over = False
        self.status = 0
        self.body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            if not KEPT.fullmatch(self._path):
                headers["Cache-Control"] = "no-store"
            if self.status >= 400 or self._path == UPLOAD:
                self._start = message
                return
            self._begun = True
        elif self._start is not None:
            self.body += message.get("body", b"")
            if message.get("more_body"):
                return
            if self.status >= 400:
                await self._refuse()
                return
            start, self._start, self._begun = self._start, None, True
            await self._send(start)
            message = {"type": "http.response.body", "body": self.body}
        self._over = message["type"] == "http.response.body" and not message.get("more_body")
        await self._send(message)

    async def _refuse(self) -> None:
        try:
            told = json.loads(self.body)
            detail = told.get("detail") or told.get("error")
        except (ValueError, AttributeError):
            detail = None
        status = 422 if self.status in (400, 500) else self.status
        words = detail if isinstance(detail, str) and self.status != 500 else "The page would not send this. Reload it."
        code = {404: NotFound.code, 422: BadInput.code, 403: Forbidden.code}.get(status)
        self._start = None
        self._begun = self._over = True
        code = code or HTTPStatus(status).phrase.lower().replace(" ", "_")
        refused = error_response(status, code, words, headers={"Cache-Control": "no-store"})
        await refused({"type": "http"}, _never, self._send)

    async def fail(self) -> None:
        """Ends an answer that failed: as an error where nothing has been sent, else it is simply over."""
        if not self._begun:
            self.status, self.body = 500, b""
            await self._refuse()
        elif not self._over:
            await self._send({"type": "http.response.body", "body": b""})


async def _never() -> Message:
    return {"type": "http.disconnect"}


def _sessions_of(scope: Scope) -> list[str]:
    path = scope["path"]
    if path.startswith(f"{API}heartbeat/"):
        return [unquote(path.rpartition("/")[2])]
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    return query.get("session_hash", [])[:8] if path == f"{API}queue/data" else []


def _strings(value: Any) -> Iterator[tuple[str, str]]:
    """Every text in a JSON value that has a name, however deep."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield from ((name, text) for name, text in one.items() if isinstance(text, str))
            waiting += [inner for inner in one.values() if isinstance(inner, dict | list)]
        elif isinstance(one, list):
            waiting += [inner for inner in one if isinstance(inner, dict | list)]


def _refuse_number(name: str) -> None:
    raise BadInput(f"{name} is no number that can be worked with.")


def _real(path: str) -> str:
    return os.path.realpath(path.replace("\0", ""))
