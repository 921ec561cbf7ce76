"""What is served while the models load: the sign-in page at once, everything else as soon as the desk is there."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

from fastapi import FastAPI
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Receive, Scope, Send

from xray_app.api.envelope import RETRY_AFTER, error_response
from xray_app.api.security_headers import API_POLICY, SECURITY_HEADERS
from xray_app.errors import RemoteUserRefused
from xray_app.html.sign_in import MARK, PAGE_POLICY, sign_in_html
from xray_app.html.theme import theme_of
from xray_app.remote_user import remote_user
from xray_app.session import COOKIE
from xray_app.settings import Settings

PATIENCE = 60.0
"""Seconds that a request waits for the desk before it is told to come again."""
SAID = "The desk is starting: the models are being loaded. Try again in a few seconds."
HEADERS = {**SECURITY_HEADERS, "Cache-Control": "no-store", "Content-Security-Policy": API_POLICY}


class StartingDesk:
    """The ASGI application of a process whose desk is made in another thread, and then is all that answers.

    Until then `/health` says "starting", `/ready` is 503, and who is not signed in sees the sign-in page. What is sent
    meanwhile waits, `PATIENCE` at most, and is answered by the desk: signing in, analyses, pages of who is signed in.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._desk: FastAPI | None = None
        self._serving = threading.Event()
        self._opened = asyncio.Event()
        self._closing = asyncio.Event()
        self._living: asyncio.Task[None] | None = None

    def open(self, desk: FastAPI) -> None:
        """Lets the desk answer from now on. Called from another thread; waits until the server serves."""
        self._serving.wait()
        asyncio.run_coroutine_threadsafe(self._open(desk), self._loop).result()

    async def _open(self, desk: FastAPI) -> None:
        begun: asyncio.Future[None] = self._loop.create_future()
        self._living = asyncio.create_task(self._live(desk, begun))
        await begun
        self._desk = desk
        self._opened.set()

    async def _live(self, desk: FastAPI, begun: asyncio.Future[None]) -> None:
        """The desk's own lifespan, begun and ended in one task."""
        try:
            async with desk.router.lifespan_context(desk):
                begun.set_result(None)
                await self._closing.wait()
        except BaseException as error:
            if not begun.done():
                begun.set_exception(error)
                return
            raise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if self._desk is None:
            early = self._early(scope) if scope["type"] == "http" else None
            if early is not None:
                await early(scope, receive, send)
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._opened.wait(), PATIENCE)
        await (self._desk or _come_again())(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._loop = asyncio.get_running_loop()
        await send({"type": "lifespan.startup.complete"})
        self._serving.set()
        await receive()
        self._closing.set()
        if self._living is not None:
            await self._living
        await send({"type": "lifespan.shutdown.complete"})

    def _early(self, scope: Scope) -> Response | None:
        """What is answered before the desk is there; None waits for it."""
        if scope["method"] not in ("GET", "HEAD"):
            return None
        path = scope["path"].removeprefix(self._settings.root_path.rstrip("/")) or "/"
        cookies = _header(scope, b"cookie")
        if path == "/health":
            return JSONResponse({"status": "starting"}, headers=HEADERS)
        if path == "/ready":
            return _come_again()
        if path == "/favicon.ico":
            return Response(MARK, media_type="image/svg+xml", headers=HEADERS)
        pages = path in ("/", "/signin", "/desk", "/desk/")
        if pages and COOKIE not in cookie_parser(cookies) and not self._named(scope):
            page = sign_in_html(self._settings, theme=theme_of(cookies), starting=True)
            return HTMLResponse(page, headers={**HEADERS, "Content-Security-Policy": PAGE_POLICY})
        return None

    def _named(self, scope: Scope) -> bool:
        """Whether a proxy says who asks; the desk says whether they are let in."""
        try:
            return remote_user(scope, self._settings) is not None
        except RemoteUserRefused:
            return True


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def _come_again() -> Response:
    return error_response(503, "starting", SAID, headers={**HEADERS, "Retry-After": str(RETRY_AFTER[503])})
