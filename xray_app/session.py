"""The token of a request, from its header or the desk's cookie, to the user it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.requests import cookie_parser

from xray_app import auth
from xray_app.errors import NotSignedIn

if TYPE_CHECKING:
    from xray_app.services import Services

COOKIE = "xray_session"


def bearer_token(headers: Mapping[str, str]) -> str | None:
    """The token of an `Authorization: Bearer` header, None where there is none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def cookie_token(headers: Mapping[str, str]) -> str | None:
    """The token of the desk's cookie, None where there is none."""
    return cookie_parser(headers.get("cookie", "")).get(COOKIE) or None


def identity_of(request: Any, services: Services) -> auth.Identity:
    """Who made this request; looked up anew each time, so that a disabled user is out at once.

    Args:
        request: a Starlette request, or the `gr.Request` a Gradio handler is given.
        services: the running desk.

    Raises:
        NotSignedIn: no token, or one that is unknown, expired or revoked.
    """
    # A gr.Request wraps the Starlette one, whose headers are case-insensitive whatever Gradio does.
    headers = (getattr(request, "request", None) or request).headers
    token = bearer_token(headers) or cookie_token(headers)
    if token is None:
        raise NotSignedIn("Sign in first.")
    return auth.identify(services.db, token)
