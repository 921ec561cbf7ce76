"""`Idempotency-Key`: a POST sent twice is done once, and answered the same both times."""

from __future__ import annotations

import hashlib
import json
import tempfile
from typing import IO, BinaryIO

import anyio.to_thread
from starlette.datastructures import Headers, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from xray_app import auth
from xray_app.api.envelope import desk_error
from xray_app.api.one_at_a_time import OneAtATime
from xray_app.errors import DeskError
from xray_app.services import Services
from xray_app.store import idempotency

# Refusals that lie in the request itself. Others pass (busy, disk full, signed out): a retry may succeed.
LASTING = frozenset({404, 409, 422})


IN_MEMORY = 1 << 20
PIECE = 1 << 16


class IdempotencyMiddleware:
    """ASGI middleware behind the door: the first answer to a key is kept and given again.

    Of two requests with one key at the same time the second waits for the first one's answer.
    """

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self.app = app
        self.services = services
        self._turns = OneAtATime()  # in this process; the row guards across processes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        identity: auth.Identity | None = scope.get("state", {}).get("identity")
        key = Headers(scope=scope).get("idempotency-key") if scope["type"] == "http" else None
        if key is None or identity is None or scope["method"] != "POST" or scope["path"][:4] != "/v1/":
            await self.app(scope, receive, send)
            return
        async with self._turns.turn((identity.username, key)):
            with tempfile.SpooledTemporaryFile(IN_MEMORY) as body:
                await _read_body(receive, body)
                asked = await _fingerprint(scope, body)
                db = self.services.db
                try:
                    first = await anyio.to_thread.run_sync(idempotency.begin, db, identity.username, key, asked)
                except DeskError as error:
                    await desk_error(error)(scope, receive, send)
                    return
                if first is not None:
                    again = Response(first.body, first.status, {"Idempotency-Replayed": "true"}, "application/json")
                    await again(scope, receive, send)
                    return
                await self._first_time(scope, _sender_of(body, receive), send, identity.username, key)

    async def _first_time(self, scope: Scope, receive: Receive, send: Send, username: str, key: str) -> None:
        """Answers only when the answer is kept: whoever has seen it gets the same one again."""
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        db = self.services.db
        kept = False
        at_work = idempotency.CURRENT.set(idempotency.Keyed(username, key))  # seen by this request's threads alone
        try:
            await self.app(scope, receive, keep)
            status = next((m["status"] for m in messages if m["type"] == "http.response.start"), 500)
            if status < 400 or status in LASTING:
                body = b"".join(message.get("body", b"") for message in messages).decode()
                await anyio.to_thread.run_sync(idempotency.put, db, username, key, status, body)
                kept = True
        finally:
            idempotency.CURRENT.reset(at_work)
            if not kept:
                await anyio.to_thread.run_sync(idempotency.forget, db, username, key)
        for message in messages:
            await send(message)


async def _read_body(receive: Receive, body: IO[bytes]) -> None:
    """Reads all of a request's body.

    Raises:
        ClientDisconnect: the client went away, or the door cut a body off that is too long.
    """
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnect
        await anyio.to_thread.run_sync(body.write, message.get("body", b""))
        more = message.get("more_body", False)


def _sender_of(body: IO[bytes], receive: Receive) -> Receive:
    """Gives a body that was read once more; what comes after it is the client's own."""
    body.seek(0)
    sent = False

    async def send_again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        piece = await anyio.to_thread.run_sync(body.read, PIECE)
        sent = len(piece) < PIECE
        return {"type": "http.request", "body": piece, "more_body": not sent}

    return send_again


async def _fingerprint(scope: Scope, body: IO[bytes]) -> str:
    """SHA-256 of what was asked: method, path and parsed fields, a file by its content, never the form's boundary."""
    digest = hashlib.sha256(f"{scope['method']} {scope['path']}\n".encode())
    media_type = Headers(scope=scope).get("content-type", "").partition(";")[0].strip().lower()
    body.seek(0)
    try:
        if media_type == "multipart/form-data":
            digest.update(json.dumps(await _fields(scope, body)).encode())
        else:
            content = body.read()
            digest.update(json.dumps(json.loads(content), sort_keys=True).encode() if content else b"")
    except (ValueError, RecursionError, HTTPException):  # what cannot be read is its own bytes
        body.seek(0)
        digest.update(body.read())
    return digest.hexdigest()


async def _fields(scope: Scope, body: IO[bytes]) -> list[tuple[str, str, str]]:
    """Name, file name and value of each field of a form, sorted; of a file the hash of its content."""
    fields = []
    async with Request(dict(scope), _sender_of(body, _nothing)).form(max_files=8, max_part_size=IN_MEMORY) as form:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                fields.append((name, value.filename or "", await anyio.to_thread.run_sync(_sha256, value.file)))
            else:
                fields.append((name, "", value))
    return sorted(fields)


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while piece := file.read(PIECE):
        digest.update(piece)
    return digest.hexdigest()


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
