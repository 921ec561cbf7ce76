"""`Idempotency-Key`: a POST sent twice is done once, and answered the same both times."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from xray_app import auth
from xray_app.api.envelope import desk_error
from xray_app.errors import DeskError
from xray_app.services import Services
from xray_app.store import idempotency

# Refusals that lie in the request itself. Others pass (busy, disk full, signed out): a retry may succeed.
LASTING = frozenset({404, 409, 422})


class IdempotencyMiddleware:
    """ASGI middleware behind the door: the first answer to a key is kept and given again.

    Of two requests with one key at the same time the second waits for the first one's answer.
    """

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self.app = app
        self.services = services
        self._at_work: dict[tuple[str, str], tuple[asyncio.Lock, list[None]]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        identity: auth.Identity | None = scope.get("state", {}).get("identity")
        key = Headers(scope=scope).get("idempotency-key") if scope["type"] == "http" else None
        if key is None or identity is None or scope["method"] != "POST" or scope["path"][:4] != "/v1/":
            await self.app(scope, receive, send)
            return
        async with self._alone(identity.username, key):
            # Not of the body: a form sent again has another boundary between its parts.
            asked = hashlib.sha256(f"POST {scope['path']}".encode()).hexdigest()
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
            await self._first_time(scope, receive, send, identity.username, key)

    async def _first_time(self, scope: Scope, receive: Receive, send: Send, username: str, key: str) -> None:
        """Answers only when the answer is kept: whoever has seen it gets the same one again."""
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        db = self.services.db
        kept = False
        try:
            await self.app(scope, receive, keep)
            status = next((m["status"] for m in messages if m["type"] == "http.response.start"), 500)
            if (status < 400 or status in LASTING) and not scope["state"].get("cut_off"):
                body = b"".join(message.get("body", b"") for message in messages).decode()
                await anyio.to_thread.run_sync(idempotency.put, db, username, key, status, body)
                kept = True
        finally:
            if not kept:
                await anyio.to_thread.run_sync(idempotency.forget, db, username, key)
        for message in messages:
            await send(message)

    @asynccontextmanager
    async def _alone(self, username: str, key: str) -> AsyncIterator[None]:
        """One request of a user and key at a time, in this process; the row guards across processes."""
        lock, waiting = self._at_work.setdefault((username, key), (asyncio.Lock(), []))
        waiting.append(None)
        try:
            async with lock:
                yield
        finally:
            waiting.pop()
            if not waiting:
                self._at_work.pop((username, key), None)
