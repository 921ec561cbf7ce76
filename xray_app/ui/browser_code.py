"""The browser's code: ES modules of the folder `browser`, served under an address that changes with them.

A new version has a new address, so that a page never mixes modules of two; what has an address of its own may be kept
by the browser for good. Only who is signed in gets them, like everything else of the desk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import Response

from xray_app.errors import NotFound

FOLDER = Path(__file__).resolve().parent / "browser"
PLACE = "desk-modules"
"""Beside `/desk`, which Gradio answers."""

MODULES = {
    path.relative_to(FOLDER).as_posix(): path.read_bytes()
    for pattern in ("*.js", "viewer/*.js")
    for path in sorted(FOLDER.glob(pattern))
}
"""What is served, by name: no test, no tool."""


def version_of(modules: Mapping[str, bytes]) -> str:
    """Sixteen digits that change with the name or the code of any module."""
    return hashlib.sha256(repr(sorted(modules.items())).encode()).hexdigest()[:16]


VERSION = version_of(MODULES)

CACHE = "private, max-age=31536000, immutable"

router = APIRouter()


@router.get(f"/{PLACE}/{{version}}/{{name:path}}", include_in_schema=False)
def module(version: str, name: str) -> Response:
    """One module.

    Raises:
        NotFound: there is none of this name, or another version is served by now.
    """
    code = MODULES.get(name) if version == VERSION else None
    if code is None:
        raise NotFound("There is no such module. Reload the page.")
    return Response(code, media_type="text/javascript", headers={"Cache-Control": CACHE})


def address(name: str) -> str:
    """Where a page under `/desk/` finds a module, whatever stands before that."""
    return f"../{PLACE}/{VERSION}/{name}"


def head() -> str:
    """The tags that fetch all modules and run `page.js` before Gradio's own script, which stands below them."""
    preloads = "".join(f'<link rel="modulepreload" href="{address(name)}">' for name in MODULES)
    return f'{preloads}<script type="module" src="{address("page.js")}"></script>'


def mounting(name: str) -> str:
    """The script of a gr.HTML: its module takes it over, with the value that has come by then and those to come."""
    return (
        f'import(new URL("{address(name)}", document.baseURI))'
        ".then(module => module.mount({ element, props, trigger, watch }));"
    )
