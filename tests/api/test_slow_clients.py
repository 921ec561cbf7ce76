"""Clients on a real socket that send drop by drop, or say a body's length twice."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn

from xray_app.api import door, header_timeout
from xray_app.api.app import create_app
from xray_app.api.header_timeout import TimedHeaders
from xray_app.services import Services


@contextmanager
def served(services: Services) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        server = uvicorn.Server(uvicorn.Config(create_app(services), http=TimedHeaders, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            yield bound.getsockname()[1]
        finally:
            server.should_exit = server.force_exit = True
            thread.join(10)


@pytest.fixture
def port(services: Services, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(header_timeout, "HEADER_SECONDS", 0.3)
    monkeypatch.setattr(door, "BODY_SECONDS", 0.3)
    with served(services) as port:
        yield port


def answered(port: int, *pieces: bytes, pause: float = 0.0) -> bytes:
    """All that comes back, until the server hangs up."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        for piece in pieces:
            try:
                client.sendall(piece)
            except OSError:  # it hung up already
                break
            time.sleep(pause)
        try:
            while more := client.recv(65536):
                got += more
        except ConnectionError:
            pass
    return got


def drops(text: str, count: int = 30) -> list[bytes]:
    return [text.encode(), *[b"x"] * count]


def test_slow_clients_are_let_go_and_quick_ones_served(port: int) -> None:
    answer = answered(port, *drops("GET /health HTTP/1.1\r\nHost: a\r\nX-Long: "), pause=0.05)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"request_timeout" in answer

    assert answered(port) == b"", "who asks nothing is told nothing"

    whole = b"GET /health HTTP/1.1\r\nHost: a\r\n"
    second = answered(port, whole + b"\r\n", *drops(whole.decode() + "X-Long: "), pause=0.05)
    assert second.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 408" in second, "the second request of a connection is not waited for either"

    quick = answered(port, whole, b"Connection: close\r\n\r\n", pause=0.1)
    assert quick.startswith(b"HTTP/1.1 200")


def test_a_body_drop_by_drop_is_not_waited_for(port: int) -> None:
    head = "POST /v1/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n"
    began = time.monotonic()
    answer = answered(port, *drops(head), pause=0.05)
    assert answer.startswith(b"HTTP/1.1 408")
    assert time.monotonic() - began < 3


def test_a_body_of_two_lengths_is_refused(port: int) -> None:
    head = b"POST /v1/login HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    lengths = b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = answered(port, head + lengths + b"3\r\nabc\r\n0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 422")
