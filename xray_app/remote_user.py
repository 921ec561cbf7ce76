"""The name that a proxy before the desk signs in, from the header REMOTE-USER, and when it is believed."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from xray_app.errors import RemoteUserRefused
from xray_app.settings import Settings, is_loopback

HEADER = b"remote-user"
"""With a hyphen: REMOTE_USER is another header, which proxies do not take out of what a browser sends."""
PERMISSION = b"remote-user-perm"
NOBODYS = b"Unauthorized"
"""What Cloudera AI sends as the permission of who reaches a public application without having signed in."""
PEER = "xray_peer"


class KeepPeer:
    """ASGI middleware outside of all others: keeps the address that a connection comes from.

    `client` of the scope is what X-Forwarded-For says, which a proxy on this machine sets to its own client's address,
    and which with FORWARDED_ALLOW_IPS anybody may set.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope.get("client"):
            scope[PEER] = scope["client"][0]
        await self.app(scope, receive, send)


def remote_user(scope: Scope, settings: Settings) -> str | None:
    """The name in the header, as it was sent; None where there is none to be believed.

    It is believed with XRAY_TRUST_REMOTE_USER alone, of a server that listens on a loopback address, over a connection
    from one. Whether the desk has such a user, `auth.vouched_for` says.

    Args:
        scope: of a request that came through `KeepPeer`; without it nothing is believed.
        settings: the desk's.

    Raises:
        RemoteUserRefused: the header came more than once, or is no text.
    """
    if not (settings.trust_remote_user and is_loopback(settings.host) and is_loopback(scope.get(PEER, ""))):
        return None
    values = [value for name, value in scope["headers"] if name == HEADER]
    if not any(values) or any(name == PERMISSION and value == NOBODYS for name, value in scope["headers"]):
        return None
    # A proxy may join what came twice with a comma.
    if len(values) > 1 or b"," in values[0]:
        raise RemoteUserRefused("The header REMOTE-USER names more than one user. The proxy has to set it once.")
    try:
        return values[0].decode()
    except UnicodeDecodeError as error:
        raise RemoteUserRefused("The header REMOTE-USER is not UTF-8. The proxy has to send it so.") from error
