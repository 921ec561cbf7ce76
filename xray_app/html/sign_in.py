"""The sign-in page: one plain page, no script, nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from html import escape

from xray_app.html.theme import Theme
from xray_app.settings import Settings

STYLE = """
:root { color-scheme: dark; --ground: #0c1116; --panel: #141b22; --line: #2a3541; --text: #e3e9ef;
  --quiet: #93a1af; --accent: #4da3d9; --alarm: #f0a39b; --edge: #4a5a6a; --on-accent: #06121b;
  --accent-hover: #6cb6e4; --alarm-edge: #6b3a36; --alarm-ground: #241817; }
:root[data-theme=light] { color-scheme: light; --ground: #eef2f5; --panel: #fff; --line: #c3ccd5; --text: #16202a;
  --quiet: #4a5866; --accent: #0a59a8; --alarm: #8f0d1a; --edge: #8795a3; --on-accent: #fff;
  --accent-hover: #084a8c; --alarm-edge: #a90f1d; --alarm-ground: #fde3e5; }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 24px;
  background: var(--ground); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { width: 100%; max-width: 360px; }
svg { display: block; margin-bottom: 20px; }
h1 { margin: 0 0 4px; font-size: 22px; font-weight: 600; letter-spacing: -0.01em; }
p { margin: 0; color: var(--quiet); }
form { margin-top: 24px; padding: 24px; background: var(--panel); border: 1px solid var(--line);
  border-radius: 10px; }
label { display: block; margin-bottom: 6px; font-size: 14px; color: var(--quiet); }
input { width: 100%; margin-bottom: 18px; padding: 10px 12px; font: inherit; color: var(--text);
  background: var(--ground); border: 1px solid var(--edge); border-radius: 6px; }
button { width: 100%; padding: 11px; font: inherit; font-weight: 600; color: var(--on-accent);
  background: var(--accent); border: 0; border-radius: 6px; cursor: pointer; }
button:hover { background: var(--accent-hover); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.alarm { margin-bottom: 18px; padding: 10px 12px; color: var(--alarm); border: 1px solid var(--alarm-edge);
  border-radius: 6px; background: var(--alarm-ground); font-size: 14px; }
.note { margin-top: 20px; font-size: 14px; }
"""

STYLE_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
PAGE_POLICY = (
    f"default-src 'none'; img-src 'self'; style-src 'sha256-{STYLE_DIGEST}'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

MARK = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="44" height="32" viewBox="0 0 44 32" fill="none" aria-hidden="true">'
    '<rect x="1" y="7" width="42" height="24" rx="5" stroke="#4da3d9" stroke-width="2"/>'
    '<path d="M15 7V4a3 3 0 0 1 3-3h8a3 3 0 0 1 3 3v3" stroke="#4da3d9" stroke-width="2"/>'
    '<rect x="8" y="14" width="12" height="10" rx="2" fill="#e08a3c" fill-opacity=".75"/>'
    '<rect x="17" y="17" width="18" height="5" rx="1" fill="#3f86d0" fill-opacity=".85"/></svg>'
)

DEMONSTRATION = '<p class="note">Demonstration model: trained on simulated scans, not validated on any scanner.</p>'


STARTING = '<p class="note" role="status">The desk is starting: signing in takes a few seconds longer now.</p>'


def sign_in_html(
    settings: Settings, username: str = "", problem: str = "", theme: Theme = "dark", *, starting: bool = False
) -> str:
    """The page; `problem` is said above the fields, `username` is kept from the last attempt."""
    alarm = f'<p class="alarm" role="alert">{escape(problem)}</p>' if problem else ""
    notes = (STARTING if starting else "") + (DEMONSTRATION if settings.demonstration else "")
    name_focus, password_focus = ("", " autofocus") if username else (" autofocus", "")
    return (
        f'<!doctype html><html lang="en" data-theme="{theme}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="{theme}"><link rel="icon" href="{settings.address("/favicon.ico")}">'
        f"<title>Sign in · X-ray screening desk</title><style>{STYLE}</style></head><body><main>"
        f"{MARK}<h1>X-ray screening desk</h1><p>Sign in to analyse scans.</p>"
        f'<form method="post" action="{settings.address("/signin")}">{alarm}'
        '<label for="username">User name</label>'
        f'<input id="username" name="username" value="{escape(username)}" autocomplete="username" '
        f'autocapitalize="none" spellcheck="false" maxlength="200" required{name_focus}>'
        '<label for="password">Password</label>'
        '<input id="password" name="password" type="password" autocomplete="current-password" '
        f'maxlength="1000" required{password_focus}>'
        f'<button type="submit">Sign in</button></form>{notes}'
        "</main></body></html>"
    )
