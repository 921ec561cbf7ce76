"""The browser's way in and out: signing in on a page, with a cookie."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from xray_app import auth
from xray_app.api.deps import Desk
from xray_app.api.sessions import check_password
from xray_app.errors import DeskError, NotSignedIn, RemoteUserRefused
from xray_app.html.sign_in import MARK, PAGE_POLICY, sign_in_html
from xray_app.html.theme import theme_of
from xray_app.session import COOKIE, cookie_token, identity_of

router = APIRouter(include_in_schema=False)


@router.get("/")
def root(desk: Desk) -> Response:
    """The desk is the front page."""
    return RedirectResponse(desk.settings.address("/desk"), 307)


@router.get("/favicon.ico")
def icon() -> Response:
    """The desk's mark, for the browser's tab."""
    return Response(MARK, media_type="image/svg+xml", headers={"Cache-Control": "public, max-age=86400"})


@router.get("/signin")
def sign_in_page(request: Request, desk: Desk) -> Response:
    """The page, or the desk for who is signed in already."""
    try:
        identity_of(request, desk)
    except RemoteUserRefused as error:
        page = _page(request, desk, problem=error.message)
        page.status_code = error.http_status
        return page
    except NotSignedIn:
        return _page(request, desk)
    return RedirectResponse(desk.settings.address("/desk"), 303)


@router.post("/signin")
async def sign_in(request: Request, desk: Desk) -> Response:
    """Checks name and password; sets the cookie or shows the page again with what was wrong."""
    async with request.form(max_files=0, max_fields=8, max_part_size=4096) as form:
        username, password = str(form.get("username", ""))[:200], str(form.get("password", ""))[:1000]
    try:
        signed_in = await check_password(desk, request, username, password)
    except DeskError as error:
        page = _page(request, desk, username, error.message)
        page.status_code = error.http_status
        return page
    answer = RedirectResponse(desk.settings.address("/desk"), 303)
    answer.set_cookie(
        COOKIE,
        signed_in.token,
        max_age=max(0, int((signed_in.expires_at - datetime.now(UTC)).total_seconds())),
        path=desk.settings.address("") or "/",
        secure=_over_tls(request),
        httponly=True,
        samesite="strict",
    )
    return answer


@router.get("/desk/logout")
@router.post("/signout")
def sign_out(request: Request, desk: Desk) -> Response:
    """Ends the session of the cookie and goes back to the page."""
    token = cookie_token(request.headers)
    if token is not None:
        auth.sign_out(desk.db, token)
    answer = RedirectResponse(desk.settings.address("/signin"), 303)
    answer.delete_cookie(
        COOKIE, path=desk.settings.address("") or "/", secure=_over_tls(request), httponly=True, samesite="strict"
    )
    return answer


def _page(request: Request, desk: Desk, username: str = "", problem: str = "") -> HTMLResponse:
    theme = theme_of(request.headers.get("cookie", ""))
    return HTMLResponse(
        sign_in_html(desk.settings, username, problem, theme), headers={"Content-Security-Policy": PAGE_POLICY}
    )


def _over_tls(request: Request) -> bool:
    return "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", ""))
