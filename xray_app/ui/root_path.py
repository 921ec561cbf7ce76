"""Tells the mounted desk under which path a proxy serves it; Gradio makes whole addresses of its own of it."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class UnderRootPath:
    """ASGI wrapper of the mounted desk: its requests get the path that browsers ask for.

    Args:
        app: the desk.
        root: the proxy's path, without a slash at its end; empty where there is none.
    """

    def __init__(self, app: ASGIApp, root: str) -> None:
        self.app = app
        self.root = root

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.root and scope["type"] == "http":
            below = scope.get("root_path", "")
            scope = {**scope, "path": f"{self.root}{scope['path']}", "root_path": f"{self.root}{below}"}
        await self.app(scope, receive, send)
