"""An id for every request, by which its lines in the log are found: the client's own, or one that is made."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import uuid4

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from xray_app.logs import REQUEST_ID, WELL_FORMED_ID

HEADER = "X-Request-ID"


class RequestIds:
    """ASGI middleware: stands before all else, so that no answer and no line of a request is without its id.

    The id is in the answer's header, in `scope["state"]["request_id"]` and in the context of what answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = id_of(scope["headers"])
        scope.setdefault("state", {})["request_id"] = request_id

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        before = REQUEST_ID.set(request_id)
        try:
            await self.app(scope, receive, sending)
        finally:
            REQUEST_ID.reset(before)


def id_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """What the client sent as X-Request-ID, where it is sent once and well formed; else a new one."""
    sent = [value.decode("latin-1") for name, value in headers if name.lower() == HEADER.lower().encode()]
    if len(sent) == 1 and WELL_FORMED_ID.fullmatch(sent[0]):
        return sent[0]
    return uuid4().hex
