"""What goes wrong with a server, what is tried again, and what a person gets to read. The key is in none of it."""

from __future__ import annotations

import logging
import socket
import time
from threading import Thread

import pytest
from pydantic import SecretStr

from tests.vlm.scripted_server import Reply, serving
from xray_app.vlm import openai_server
from xray_app.vlm.openai_server import CallFailed, OpenAiServer

KEY = "sk-secret-0123456789"
OK = Reply(200, '{"fine": true}')


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def call(url: str, seconds: float = 20.0, key: str | None = KEY) -> str:
    server = OpenAiServer(url, SecretStr(key) if key else None, seconds, first_wait=0.01)
    return server.post("chat/completions", {"model": "m"})


def failure(replies: list[Reply], seconds: float = 20.0, key: str | None = KEY) -> tuple[CallFailed, int]:
    """What a person reads, and how often the server was asked."""
    with serving(replies) as script:
        with pytest.raises(CallFailed) as raised:
            call(script.url, seconds, key)
        assert script.url in raised.value.message
        return raised.value, len(script.asked)


def test_a_call_carries_the_key_and_the_body() -> None:
    with serving([OK]) as script:
        assert call(f"{script.url}/") == '{"fine": true}'
        assert call(script.url, key=None) == '{"fine": true}'
    first, second = script.asked
    assert first.path == "/v1/chat/completions"
    assert first.body == {"model": "m"}
    assert first.headers["Authorization"] == f"Bearer {KEY}"
    assert "Authorization" not in second.headers


@pytest.mark.parametrize("passing", [408, 429, 500, 502, 503, 504, None])
def test_what_may_pass_is_tried_again(passing: int | None) -> None:
    with serving([Reply(passing), Reply(passing), OK]) as script:
        assert call(script.url) == '{"fine": true}'
    assert len(script.asked) == 3


def test_it_is_not_tried_for_ever() -> None:
    failed, asked = failure([Reply(503, {"error": {"message": "loading the model"}})])
    assert asked == openai_server.ATTEMPTS
    assert "loading the model" in failed.message
    assert (failed.http_status, failed.code) == (503, "model_unavailable")


@pytest.mark.parametrize("lasting", [400, 401, 402, 403, 404, 405, 413, 422, 301, 307, 204])
def test_what_will_not_pass_is_asked_once(lasting: int) -> None:
    _, asked = failure([Reply(lasting, headers={"Location": "http://127.0.0.1:1/"}), OK])
    assert asked == 1


@pytest.mark.parametrize(
    ("reply", "key", "words"),
    [
        (Reply(401, {"error": {"message": "no key"}}), None, "wants an API key. Set XRAY_VLM_API_KEY"),
        (Reply(401, {"error": {"message": f"Incorrect API key {KEY}"}}), KEY, "refuses the API key. Check XRAY_VLM"),
        (Reply(403, {"error": {"message": "not in your country"}}), KEY, "(403): not in your country."),
        (Reply(404, {"error": {"message": "no model m"}}), KEY, "(404): no model m. Check XRAY_VLM"),
        (Reply(400, {"detail": "Server is pinned to 'x'"}), KEY, "(400): Server is pinned to 'x'."),
        (Reply(400, {"message": "flat", "object": "error"}), KEY, "(400): flat."),
        (Reply(400, {"error": "a word"}), KEY, "(400): a word."),
        (Reply(502, "<html>bad\ngateway</html>"), KEY, "(502): <html>bad gateway</html>. Try again"),
        (Reply(429, headers={"Retry-After": "90"}), KEY, "too many requests (429). Try again in 90 seconds"),
        (Reply(302), KEY, "redirect (302), which is not followed"),
        (Reply(400, f"echo: Bearer {KEY} " + "x" * 5000), KEY, "echo: Bearer … xxx"),
        (Reply(400, "[" * 100_000), KEY, "(400): [[["),
        (Reply(400, "\x1b[31mred\0"), KEY, "(400): [31mred."),
    ],
)
def test_the_message_says_what_happened_and_what_to_do(
    reply: Reply, key: str | None, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    failed, _ = failure([reply], key=key)
    assert words in failed.message
    assert len(failed.message) < 500
    assert KEY not in failed.message + repr(failed) + str(failed.details)
    assert KEY not in caplog.text


def test_too_many_requests_are_waited_out_for_as_long_as_there_is_time() -> None:
    with serving([Reply(429)] * 6 + [OK]) as script:
        assert call(script.url) == '{"fine": true}'
    assert len(script.asked) == 7
    started = time.monotonic()
    failed, asked = failure([Reply(429, headers={"Retry-After": "0"})], seconds=3)
    assert time.monotonic() - started < 4.5
    assert openai_server.ATTEMPTS < asked < 12
    assert "too many requests (429)" in failed.message


def test_a_used_up_quota_does_not_come_back_by_waiting() -> None:
    body = {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}
    failed, asked = failure([Reply(429, body), OK])
    assert asked == 1
    assert "quota" in failed.message


def test_the_wait_the_server_asks_for_is_kept_where_there_is_time() -> None:
    with serving([Reply(429, headers={"Retry-After": "1"}), OK]) as script:
        started = time.monotonic()
        assert call(script.url) == '{"fine": true}'
        assert time.monotonic() - started >= 1
    failed, asked = failure([Reply(429, headers={"Retry-After": "3600"}), OK])
    assert asked == 1
    assert failed.details == {"retry_after": 3600}
    assert failure([Reply(503, headers={"Retry-After": "9" * 400}), OK])[0].details == {"retry_after": 86_400}
    for odd in ("Wed, 21 Oct 2026 07:28:00 GMT", "-5", "nan", "١", ""):
        with serving([Reply(429, headers={"Retry-After": odd.encode().decode("latin-1")}), OK]) as script:
            assert call(script.url) == '{"fine": true}'


def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        with pytest.raises(CallFailed, match=r"cannot be reached: .*refused.* Start it, or set XRAY_VLM"):
            call(url)
    with pytest.raises(CallFailed, match="cannot be reached"):
        call("http://no-such-host.invalid/v1", seconds=5)


def test_something_listens_that_is_no_web_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        listener.settimeout(5)

        def nonsense() -> None:
            for _ in range(openai_server.ATTEMPTS):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        thread = Thread(target=nonsense, daemon=True)
        thread.start()
        with pytest.raises(CallFailed, match="broke off"):
            call(url)
        thread.join(5)


@pytest.mark.parametrize("slow", [Reply(200, OK.body, after=3), Reply(200, b"x" * 1000, trickle=0.05)])
def test_a_slow_server_is_given_up_in_time(slow: Reply) -> None:
    started = time.monotonic()
    failed, asked = failure([slow], seconds=0.6)
    assert time.monotonic() - started < 2.5
    assert asked == 1
    assert "within 0.6 seconds" in failed.message
    assert "XRAY_VLM_TIMEOUT" in failed.message


def test_an_answer_of_any_length_is_not_read_to_its_end() -> None:
    failed, asked = failure([Reply(200, b"x" * (openai_server.MAX_ANSWER_BYTES + 1))])
    assert asked == 1
    assert "more than 1,048,576 bytes" in failed.message
    with serving([Reply(200, b"x" * openai_server.MAX_ANSWER_BYTES)]) as script:
        assert len(call(script.url)) == openai_server.MAX_ANSWER_BYTES
