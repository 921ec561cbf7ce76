"""`/openapi.json`: the API's description, with what the door and the idempotency keys add to every route."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from xray_app.api.deps import BEARER, Analyst
from xray_app.session import COOKIE
from xray_app.store.idempotency import MAX_KEY
from xray_app.types import Role

router = APIRouter()

VERSION = "1"

ERRORS = {
    401: "No token, or one that is unknown, expired or revoked.",
    403: "The user's role, or having a part in the matter, does not allow this.",
    404: "Nothing has this id.",
    409: "Somebody else was first, or the state does not allow it; code in_progress: the first request with this "
    "Idempotency-Key is at work, Retry-After says when to ask again.",
    413: "The body is larger than this address takes.",
    422: "What was sent does not have the agreed form, or makes no sense.",
    429: "Too many failed sign-ins; Retry-After says how long to wait.",
    503: "Busy, or storage or a model is not to be had; Retry-After says when to try again.",
}
"""What each status of an error means. A 405 is answered to any other method, a 500 is a bug."""

RETRIED = frozenset({429, 503})


class ErrorFacts(BaseModel):
    """What went wrong: a stable word, a sentence for a person, and facts that help to put it right."""

    code: str
    message: str
    details: dict[str, Any] | None = None


class ErrorEnvelope(BaseModel):
    """The one form of every error."""

    error: ErrorFacts


def refuses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """A route's `responses`: what it refuses by itself, besides what `describe` adds."""
    return {status: _refusal(status) for status in statuses}


def answers(*media_types: str) -> dict[str, Any]:
    """One of a route's `responses`: bytes of one of these types."""
    return {"content": {media_type: {} for media_type in media_types}}


def form(**fields: str) -> dict[str, Any]:
    """A route's `openapi_extra`: a multipart form of one `file`, and these optional fields with what they mean."""
    properties: dict[str, Any] = {
        "file": {"type": "string", "format": "binary", "description": "The scan: PNG, JPEG, WebP, BMP, TIFF or DICOM."}
    }
    properties |= {name: {"type": "string", "description": meaning} for name, meaning in fields.items()}
    schema = {"type": "object", "properties": properties, "required": ["file"], "additionalProperties": False}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


NOTHING: dict[int | str, dict[str, Any]] = {200: {"content": {"application/json": {"schema": {"type": "null"}}}}}
"""A route's `responses` where the answer is `null`."""


def describe(app: FastAPI, address: str = "/") -> dict[str, Any]:
    """The whole description, OpenAPI 3.1. A route's `security` names its least role.

    Args:
        app: with all its routes.
        address: where a proxy serves it.
    """
    described = get_openapi(
        title=app.title,
        version=VERSION,
        description="Errors have one form, 404 and 405 included. Lists go on at `?after=` with the `next` of the page.",
        routes=app.routes,
        servers=[{"url": address}],
    )
    parts = described["components"]
    parts["schemas"]["ErrorEnvelope"] = ErrorEnvelope.model_json_schema(ref_template="#/components/schemas/{model}")
    parts["schemas"] |= parts["schemas"]["ErrorEnvelope"].pop("$defs")
    parts["schemas"]["ErrorFacts"]["properties"]["details"] = {"type": "object"}
    parts["schemas"] = {
        name: schema for name, schema in sorted(parts["schemas"].items()) if "ValidationError" not in name
    }
    parts["securitySchemes"]["cookie"] = {"type": "apiKey", "in": "cookie", "name": COOKIE}
    parts["parameters"] = {
        "IdempotencyKey": {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "Sent again within a day with the same request, it brings the first answer again; "
            "with another request it is 422.",
            "schema": {"type": "string", "pattern": f"^[ -~]{{1,{MAX_KEY}}}$"},
        }
    }
    for path in described["paths"].values():
        for method, operation in path.items():
            _complete(method, operation)
    return described


def _complete(method: str, operation: dict[str, Any]) -> None:
    """Adds what stands before the route: who gets in, how much may be sent, whether it is a repetition."""
    parameters = operation.get("parameters", [])
    statuses = {int(status) for status in operation["responses"]}
    # FastAPI names its own 422 wherever there is a parameter; an id in a path is never of the wrong form.
    if 422 in statuses and "requestBody" not in operation and all(one["in"] == "path" for one in parameters):
        statuses.remove(422)
    if any(one["in"] == "path" for one in parameters):
        statuses.add(404)
    if "security" in operation:
        [role] = operation["security"][0][BEARER.scheme_name]
        statuses |= {401, 503} if role == Role.ANALYST else {401, 403, 503}
        if method == "get":
            operation["security"].append({"cookie": [role]})
        elif method == "post":
            operation.setdefault("parameters", []).append({"$ref": "#/components/parameters/IdempotencyKey"})
            statuses |= {409, 413, 422}
    else:
        operation["security"] = []
    kept = {status: answer for status, answer in operation["responses"].items() if int(status) < 400}
    operation["responses"] = kept | {str(status): _refusal(status) for status in sorted(statuses) if status >= 400}


def _refusal(status: int) -> dict[str, Any]:
    refusal: dict[str, Any] = {
        "description": ERRORS[status],
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorEnvelope"}}},
    }
    if status in RETRIED:
        refusal["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}}
    return refusal


@router.get("/openapi.json", include_in_schema=False)
def description(request: Request, who: Analyst) -> dict[str, Any]:
    """The description, to any signed-in user."""
    described: dict[str, Any] = request.app.openapi()
    return described
