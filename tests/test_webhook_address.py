"""Where a webhook may send to, and which secrets it takes: settled before the desk starts."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from xray_app.settings import Settings


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/services/T0/B0/x?y=1",
        "https://10.0.0.7:8443/",
        "http://localhost:9000/x",
        "http://127.0.0.1",
        "http://127.8.9.10:1/x",
        "http://[::1]:9000/x",
    ],
)
def test_addresses_that_may_be_told(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XRAY_WEBHOOK_URL", url)
    settings = Settings(_env_file=None)
    assert settings.webhook_url is not None
    assert settings.webhook_url.get_secret_value() == url
    assert "hooks.example.com" not in repr(settings)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "https://HOST"),
        ("t0ken", "https://HOST"),
        ("ftp://t0ken.example.com/", "https://HOST"),
        ("file:///etc/t0ken", "https://HOST"),
        ("https:///t0ken", "https://HOST"),
        ("https://example.com:0/t0ken", "https://HOST"),
        ("https://example.com:99999/t0ken", "https://HOST"),
        ("https://[::1/t0ken", "https://HOST"),
        ("http://example.com/t0ken", "must be https"),
        ("http://192.168.0.1/t0ken", "must be https"),
        ("http://0.0.0.0/t0ken", "must be https"),
        ("http://127.0.0.1.example.com/t0ken", "must be https"),
        ("http://localhost.example.com/t0ken", "must be https"),
        ("http://127.0.0.1\\.example.com/t0ken", "must be https"),
        ("http://2130706434/t0ken", "must be https"),
        ("https://ann:t0ken@example.com/", "user"),
        ("http://127.0.0.1@example.com/t0ken", "user"),
        ("http://127.0.0.1#@example.com/t0ken", "user"),
        ("https://example.com/#t0ken", "fragment"),
        ("https://example.com/t0ken\r\nHost: x", "line ends"),
        ("https://exa\tmple.com/t0ken", "line ends"),
        ("https://example.com/t0ken x", "blanks"),
        ("https://exämple.com/t0ken", "ASCII"),
    ],
)
def test_an_address_that_nothing_may_be_sent_to_is_refused_at_the_start(
    url: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XRAY_WEBHOOK_URL", url)
    with pytest.raises(ValidationError, match=words) as refused:
        Settings(_env_file=None)
    assert "t0ken" not in str(refused.value)


def test_a_secret_that_could_be_guessed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XRAY_WEBHOOK_SECRET", "fifteen letters")
    with pytest.raises(ValidationError, match="16"):
        Settings(_env_file=None)
