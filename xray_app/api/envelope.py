"""The one form of every error: `{"error": {"code", "message", "details"?}}`."""

from __future__ import annotations

import json
import logging
import math
import re
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from xray_app.errors import DeskError, InProgress

logger = logging.getLogger(__name__)

# Seconds after which trying again makes sense, where the error itself does not say.
RETRY_AFTER = {429: 60, 503: 5}
IN_PROGRESS_RETRY = 2

# Messages may repeat what was sent, which may be a megabyte.
LONGEST_MESSAGE = 500

# Errors the framework raises by itself, in our words.
FRAMEWORK_ERRORS = {
    400: (422, "bad_input", "The request's body cannot be read."),
    404: (404, "not_found", "There is nothing at this address."),
    405: (405, "method_not_allowed", "This address does not take this method."),
}


def error_response(
    status: int,
    code: str,
    message: str,
    details: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """An error in the envelope."""
    error: dict[str, Any] = {"code": code, "message": message[:LONGEST_MESSAGE]}
    if details:
        error["details"] = details
    # ASCII, because what was sent may hold half a surrogate, which UTF-8 cannot say.
    return Response(json.dumps({"error": error}), status, headers, "application/json")


def desk_error(error: DeskError) -> Response:
    """The answer to an error written for a person; 429, 503 and what is in progress say when to try again."""
    headers = {}
    if isinstance(error, InProgress) or error.http_status in RETRY_AFTER:
        seconds = (error.details or {}).get("retry_after", RETRY_AFTER.get(error.http_status, IN_PROGRESS_RETRY))
        headers["Retry-After"] = str(max(1, math.ceil(seconds)))
    if error.http_status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.http_status >= 500:
        logger.warning("%s: %s", error.code, error.message)
    return error_response(error.http_status, error.code, error.message, error.details, headers)


def internal_error() -> Response:
    """The answer to a bug: says nothing of its inside, which is in the log."""
    return error_response(500, "internal", "Something went wrong on our side. It was logged.")


def _where(location: tuple[int | str, ...]) -> str:
    """`("body", "items", 0, "count")` as `items[0].count`."""
    words = ""
    for part in location[1:] if location and location[0] in ("body", "query", "path") else location:
        words += f"[{part}]" if isinstance(part, int) else f".{part}" if words else str(part)
    return words or "body"


def validation_error(error: RequestValidationError) -> Response:
    """A request that does not have the agreed form. What was sent is not repeated."""
    problems = [
        {"where": _where(problem["loc"])[:200], "message": problem["msg"].removeprefix("Value error, ")}
        for problem in error.errors()
    ]
    first = problems[0]
    return error_response(422, "bad_input", f"{first['where']}: {first['message']}", {"problems": problems[:20]})


def http_error(error: HTTPException) -> Response:
    """An error raised by the framework: no such route, wrong method, unreadable body."""
    headers = dict(error.headers) if error.headers else None
    if error.status_code in FRAMEWORK_ERRORS:
        status, code, message = FRAMEWORK_ERRORS[error.status_code]
        return error_response(status, code, message, headers=headers)
    phrase = HTTPStatus(error.status_code).phrase
    return error_response(
        error.status_code, phrase.lower().replace(" ", "_"), str(error.detail or phrase), headers=headers
    )


def _methods_of(app: FastAPI, path: str) -> list[str]:
    """Every method an address takes; the framework names those of one of its routes alone."""
    found = set()
    for template, operations in app.openapi()["paths"].items():
        pattern = re.sub(r"\\\{.*?\\\}", "[^/]+", re.escape(template))
        if re.fullmatch(pattern, path):
            found |= {method.upper() for method in operations}
    return sorted(found)


def install(app: FastAPI) -> None:
    """Gives every error of the app its envelope. Bugs are caught further out, by the door."""

    @app.exception_handler(DeskError)
    async def _desk_error(request: Request, error: DeskError) -> Response:
        return desk_error(error)

    @app.exception_handler(RequestValidationError)
    async def _validation_error(request: Request, error: RequestValidationError) -> Response:
        return validation_error(error)

    @app.exception_handler(HTTPException)
    async def _http_error(request: Request, error: HTTPException) -> Response:
        answer = http_error(error)
        if error.status_code == 405 and (allowed := _methods_of(app, request.url.path)):
            answer.headers["Allow"] = ", ".join(allowed)
        return answer
