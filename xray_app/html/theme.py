"""Light or dark: what a browser's cookie asks for. The switch in the desk's header sets it; nothing secret is in it."""

from __future__ import annotations

from typing import Literal

from starlette.requests import cookie_parser

Theme = Literal["dark", "light"]
COOKIE = "xray_theme"


def theme_of(cookies: str) -> Theme:
    """The theme a request's Cookie header asks for; dark where it asks for none."""
    return "light" if cookie_parser(cookies).get(COOKIE) == "light" else "dark"
