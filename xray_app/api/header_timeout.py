"""Uvicorn's protocol for a desk: headers that come drop by drop are not waited for, and a refusal has its envelope."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http import h11_impl
from uvicorn.protocols.http.h11_impl import H11Protocol

from xray_app.api.envelope import error_response
from xray_app.api.request_ids import RequestIds

HEADER_SECONDS = 20
"""From the first byte of a request, or from the connection on, until its headers are whole."""


class TimedHeaders(H11Protocol):
    """Uvicorn's protocol with a limit on how long headers take; the body's is the door's."""

    _header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # narrowed by uvicorn
        super().connection_made(transport)
        self._header_timer = self.loop.call_later(HEADER_SECONDS, self._let_go)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # h11 is idle until a request's headers are whole; a request that is answered leaves it idle again.
        if self.conn.their_state is not h11.IDLE:
            self._stop_timer()
        elif self._header_timer is None and self.conn.trailing_data[0]:
            self._header_timer = self.loop.call_later(HEADER_SECONDS, self._let_go)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def _stop_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _let_go(self) -> None:
        self._header_timer = None
        if self.conn.their_state is not h11.IDLE or self.transport.is_closing():
            return
        if self.conn.trailing_data[0]:  # a browser opens connections ahead, and asks nothing yet
            self.transport.write(_answer())
        self.transport.close()


async def _one_too_many(scope: Scope, receive: Receive, send: Send) -> None:
    words = "Too many connections are open. Try again in a few seconds."
    await error_response(503, "busy", words, headers={"Retry-After": "5", "Connection": "close"})(scope, receive, send)


# Past `limit_concurrency` uvicorn answers by itself, in plain text.
h11_impl.service_unavailable = RequestIds(_one_too_many)  # type: ignore[attr-defined, assignment]


def _answer() -> bytes:
    told: Any = error_response(408, "request_timeout", "The request's headers came too slowly. Send it again.")
    head = (
        "HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(told.body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + bytes(told.body)
