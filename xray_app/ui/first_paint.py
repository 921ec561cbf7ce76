"""The page's first paint is in the theme somebody chose: colours stand in the page itself, not in a script's wake.

Gradio puts style sheets and scripts into the page by script, after the first paint, and knows nothing of a choice of
theme. So the HTML it sends gets all colours (`tokens.css`), the theme of the browser's cookie and the desk's own
modules on its way out: these stand before Gradio's script, and so they run before it.
"""

from __future__ import annotations

from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from xray_app.html.theme import theme_of

TOKENS = (Path(__file__).parent / "tokens.css").read_text(encoding="utf-8")


def dressed(page: bytes, theme: str, tags: str = "") -> bytes:
    """The HTML with the colours and the given tags in its head and the theme on its root element."""
    head = f"<head><style>{TOKENS} body {{ background: var(--ground); color: var(--ink); }}</style>{tags}"
    page = page.replace(b"<head>", head.encode(), 1)
    return page.replace(b"<html", f'<html data-theme="{theme}"'.encode(), 1)


class FirstPaint:
    """ASGI wrapper of the mounted desk: dresses its HTML pages, passes everything else on untouched.

    Args:
        app: the desk.
        tags: HTML for the head of its pages.
    """

    def __init__(self, app: ASGIApp, tags: str = "") -> None:
        self.app = app
        self.tags = tags

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else None
        if headers is None or scope["method"] != "GET" or "text/html" not in headers.get("accept", ""):
            await self.app(scope, receive, send)
            return
        # Uncompressed, so that there is something to dress.
        plain = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        theme = theme_of(headers.get("cookie", ""))
        start: Message | None = None
        body = b""

        async def dressing(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                if Headers(raw=message["headers"]).get("content-type", "").startswith("text/html"):
                    start = message
                    return
            elif start is not None and message["type"] == "http.response.body":
                body += message.get("body", b"")
                if message.get("more_body"):
                    return
                page, answer = dressed(body, theme, self.tags), start
                start = None
                MutableHeaders(raw=answer["headers"])["content-length"] = str(len(page))
                await send(answer)
                await send({"type": "http.response.body", "body": page})
                return
            await send(message)

        await self.app({**scope, "headers": plain}, receive, dressing)
