"""The door: who asks and how much they send is checked before a body is read.

FastAPI parses a body before its dependencies run, so an anonymous upload of any size would be
spooled to disk and only then refused. This ASGI middleware stands before it, and before Gradio.
"""

from __future__ import annotations

import logging
import math
import time
from functools import partial
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from xray_app import auth
from xray_app.api.envelope import desk_error, error_response, internal_error
from xray_app.api.security_headers import API_POLICY, SECURITY_HEADERS
from xray_app.errors import BadInput, DeskError, Forbidden, NotSignedIn, RemoteUserRefused, ScanTooLarge
from xray_app.metrics import REQUESTS
from xray_app.services import Services
from xray_app.session import identity_of

logger = logging.getLogger(__name__)

OPEN = frozenset({"/", "/favicon.ico", "/health", "/metrics", "/ready", "/v1/login", "/signin", "/signout"})
METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

KB = 1024
MB = 1024 * KB
OPEN_LIMIT = 16 * KB
JSON_LIMIT = 1 * MB
DESK_LIMIT = 8 * MB
FORM_OVERHEAD = 64 * KB
# The browser sends all files somebody picked in one body.
FILES_PER_UPLOAD = 8

UPLOADS = frozenset({"/v1/analyze", "/v1/detect"})
DESK_UPLOAD = "/desk/gradio_api/upload"
BODY_SECONDS = 60
SLOWEST = 8 * KB
"""A body may be waited for this many seconds, and one more for every 8 kB of it that came: drops are not waited for."""

# Gradio builds its page from inline scripts and compiles the templates of gr.HTML in the browser.
DESK_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)


class Door:
    """ASGI middleware: session, size, origin, headers; and the last resort for bugs.

    The `identity` of a signed-in request is left in `scope["state"]`.
    """

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self.app = app
        self.services = services
        # Threads of its own, so that waiting analyses never keep anybody from being let in.
        self._threads = anyio.CapacityLimiter(8)
        self._noted: dict[str, float] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope = _below(self.services.settings.address(""), scope)
        started, status, began = False, 500, time.perf_counter()

        async def sending(message: Message) -> None:
            nonlocal started, status
            if message["type"] == "http.response.start":
                started, status = True, message["status"]
                _add_headers(scope["path"], MutableHeaders(scope=message))
            await send(message)

        try:
            refusal = await self._refusal(scope)
            if refusal is None:
                await self._counted(scope, receive, sending)
            else:
                await refusal(scope, receive, sending)
        except ClientDisconnect:
            logger.info("%s %s: the client went away", scope["method"], scope["path"])
        except Exception:
            logger.exception("%s %s failed", scope["method"], scope["path"])
            if started:
                raise
            await internal_error()(scope, receive, sending)
        finally:
            labels = scope["method"] if scope["method"] in METHODS else "other", _route(scope), str(status)
            REQUESTS.labels(*labels).observe(time.perf_counter() - began)

    async def _refusal(self, scope: Scope) -> Response | None:
        """The answer to a request that may not come in; None lets it in."""
        headers = Headers(scope=scope)
        path, method = scope["path"], scope["method"]
        try:
            if path not in OPEN:
                # What a browser sends by itself changes nothing under /v1: no other site can act in the user's name.
                ambient = method == "GET" or _on_desk(path)
                who = partial(identity_of, HTTPConnection(scope), self.services, ambient=ambient)
                identity = await anyio.to_thread.run_sync(who, limiter=self._threads)
                if identity.remote:
                    _from_our_pages(method, headers)
                    self._note(identity.username)
                scope.setdefault("state", {})["identity"] = identity
            if "content-length" in headers and "transfer-encoding" in headers:
                raise BadInput("A request says its length once: Content-Length or Transfer-Encoding.")
            if method not in SAFE_METHODS and not path.startswith("/v1/"):
                _same_site(headers)
            _check_length(headers, body_limit(path, self.services.settings.max_upload_bytes))
        except NotSignedIn as error:
            if isinstance(error, RemoteUserRefused):
                logger.warning("not let in by REMOTE-USER: %s", error.message)
            if method == "GET" and _is_page(path, headers):
                return RedirectResponse(self.services.settings.address("/signin"), 303)
            return desk_error(error)
        except DeskError as error:
            return desk_error(error)
        return None

    def _note(self, username: str) -> None:
        """Logs who comes by a proxy's header, once in the time that a session would last."""
        now = time.monotonic()
        if now - self._noted.get(username, -math.inf) >= auth.SESSION.total_seconds():
            self._noted[username] = now
            logger.info("%s signed in by REMOTE-USER", username)

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on and counts its body: 413 past the limit, whatever comes, 408 where nothing comes."""
        limit = body_limit(scope["path"], self.services.settings.max_upload_bytes)
        scope.setdefault("state", {})
        read = 0
        waited = 0.0  # for the client: what the app does between two pieces is not its fault
        too_large = too_slow = whole = started = False

        async def counting() -> Message:
            nonlocal read, waited, too_large, too_slow, whole
            if too_large or too_slow:
                return {"type": "http.disconnect"}
            if whole:
                return await receive()
            since = anyio.current_time()
            with anyio.move_on_after(max(0.0, BODY_SECONDS + read / SLOWEST - waited)) as waiting:
                message = await receive()
            waited += anyio.current_time() - since
            if waiting.cancelled_caught:
                too_slow = True
                return {"type": "http.disconnect"}
            whole = not message.get("more_body", False)
            if message["type"] == "http.request":
                read += len(message.get("body", b""))
                if read > limit:
                    too_large = True
                    return {"type": "http.disconnect"}
            return message

        async def answering(message: Message) -> None:
            nonlocal started
            if (too_large or too_slow) and not started:
                return
            started = True
            await send(message)

        try:
            await self.app(scope, counting, answering)
        except Exception:
            # Reading on after the cut fails somewhere in the app, as it should.
            if not (too_large or too_slow):
                raise
        if too_large and not started:
            await desk_error(_too_large(limit))(scope, receive, send)
        elif too_slow and not started:
            message = "The request came too slowly to be waited for. Send it again over a faster connection."
            await error_response(408, "request_timeout", message, headers={"Connection": "close"})(scope, receive, send)


def body_limit(path: str, max_upload: int) -> int:
    """How many bytes a request to this path may carry."""
    if path in OPEN:
        return OPEN_LIMIT
    if path in UPLOADS:
        return max_upload + FORM_OVERHEAD
    if path == DESK_UPLOAD:
        return max_upload * FILES_PER_UPLOAD
    return DESK_LIMIT if _on_desk(path) else JSON_LIMIT


def _below(root: str, scope: Scope) -> Scope:
    """The request without the path a proxy serves the desk under: some leave it in the address, some take it off."""
    if not root or not f"{scope['path']}/".startswith(f"{root}/"):
        return scope
    raw = scope.get("raw_path") or b""
    return {
        **scope,
        "path": scope["path"].removeprefix(root) or "/",
        "raw_path": raw.removeprefix(root.encode()) or b"/",
    }


def _route(scope: Scope) -> str:
    """The route's pattern: what a stranger asks for must not become a name of its own."""
    path = getattr(scope.get("route"), "path", None)
    return str(path) if path else "/desk" if _on_desk(scope["path"]) else "other"


def _on_desk(path: str) -> bool:
    return path == "/desk" or path.startswith("/desk/")


def _is_page(path: str, headers: Headers) -> bool:
    """Whether a person waits for a page, rather than a script for data."""
    if path in ("/desk", "/desk/"):
        return True
    return _on_desk(path) and "/gradio_api/" not in path and "text/html" in headers.get("accept", "")


def _from_our_pages(method: str, headers: Headers) -> None:
    """Refuses what another site may make a browser send of a user whom a proxy's header alone signs in.

    The desk's cookie does not come with such requests (SameSite=Strict); the header comes with all. Following a link to
    the desk is no such request, and programs may read.

    Raises:
        Forbidden: the request comes from a page of another site, or changes something and does not say from where.
    """
    site = headers.get("sec-fetch-site")
    if method not in SAFE_METHODS:
        if site is None and "origin" not in headers:  # where it says something, `_same_site` judges it
            raise Forbidden("This request does not say that it comes from a page of the desk.")
        return
    opened = (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) == ("navigate", "document")
    if site not in (None, "same-origin", "none") and not opened:
        raise Forbidden("This request comes from a page of another site.")


def _same_site(headers: Headers) -> None:
    """Refuses what another site makes a browser send. Programs send neither header.

    Raises:
        Forbidden: the request comes from a page of another site.
    """
    fetch_site = headers.get("sec-fetch-site")
    if fetch_site in ("same-origin", "none"):
        return
    origin = headers.get("origin")
    if fetch_site is None and origin is None:
        return
    hosts = {headers.get("host", ""), headers.get("x-forwarded-host", "")} - {""}
    if fetch_site is None and origin is not None and urlsplit(origin).netloc in hosts:
        return
    raise Forbidden("This request comes from a page of another site.")


def _check_length(headers: Headers, limit: int) -> None:
    """Refuses a body by its announced length.

    Raises:
        ScanTooLarge: more than the limit.
    """
    announced = headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_large(limit)


def _too_large(limit: int) -> ScanTooLarge:
    size = f"{limit // MB} MB" if limit >= MB else f"{limit // KB} KB"
    return ScanTooLarge(f"The request is too large: at most {size} are taken here.")


def _add_headers(path: str, headers: MutableHeaders) -> None:
    for name, value in SECURITY_HEADERS.items():
        headers.setdefault(name, value)
    headers.setdefault("Content-Security-Policy", DESK_POLICY if _on_desk(path) else API_POLICY)
    if not _on_desk(path):
        headers.setdefault("Cache-Control", "no-store")
