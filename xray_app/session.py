"""Who made a request: by a token in its header, the desk's cookie, or the name a proxy vouches for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.requests import cookie_parser

from xray_app import auth
from xray_app.errors import NotSignedIn
from xray_app.remote_user import remote_user

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


def identity_of(request: Any, services: Services, *, ambient: bool = True) -> auth.Identity:
    """Who made this request; looked up anew each time, so that a disabled user is out at once.

    A token in the header is told on purpose and goes before all else. The cookie stands for a password, and so goes
    before the name that a proxy vouches for with every request; that name opens no session, so that at a shared browser
    nobody goes on as who was there before.

    Args:
        request: a Starlette request, or the `gr.Request` a Gradio handler is given.
        services: the running desk.
        ambient: whether what comes with a request without its sender's doing counts: the cookie and the name.

    Raises:
        NotSignedIn: no token, or one that is unknown, expired or revoked.
        RemoteUserRefused: the name is not let in.
    """
    # A gr.Request wraps the Starlette one, whose headers are case-insensitive whatever Gradio does.
    request = getattr(request, "request", None) or request
    token = bearer_token(request.headers)
    if token is not None:
        return auth.identify(services.db, token)
    nobody = NotSignedIn("Sign in first: this address needs a token (Authorization: Bearer …).")
    if not ambient:
        raise nobody
    token = cookie_token(request.headers)
    if token is not None:
        try:
            return auth.identify(services.db, token)
        except NotSignedIn as ended:
            nobody = ended
    if services.settings.trust_remote_user and (name := remote_user(request.scope, services.settings)):
        return auth.vouched_for(services.db, name)
    raise nobody
