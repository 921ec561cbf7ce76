"""Dependencies of the routes: the desk's services, the signed-in user's role, pages of a list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Query, Request, Security
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field

from xray_app import auth
from xray_app.errors import BadInput, NotSignedIn
from xray_app.services import Services
from xray_app.store import idempotency
from xray_app.types import Role, Value

Listed = TypeVar("Listed")

BEARER = HTTPBearer(scheme_name="bearer", description="The token of POST /v1/login.", auto_error=False)
"""Only described by this; the door has read the token before."""


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


def _requires(role: Role) -> Callable[..., auth.Identity]:
    def check(request: Request, _: object = Security(BEARER, scopes=[role.value])) -> auth.Identity:
        identity: auth.Identity | None = getattr(request.state, "identity", None)
        if identity is None:
            raise NotSignedIn("Sign in first.")
        auth.require(identity, role)
        if keyed := idempotency.CURRENT.get():
            keyed.status = request.scope["route"].status_code or 200
        return identity

    return check


Desk = Annotated[Services, Depends(_services)]
Analyst = Annotated[auth.Identity, Depends(_requires(Role.ANALYST))]
Annotator = Annotated[auth.Identity, Depends(_requires(Role.ANNOTATOR))]
Admin = Annotated[auth.Identity, Depends(_requires(Role.ADMIN))]

Limit = Annotated[int, Query(ge=1, le=500)]
After = Annotated[str | None, Query(min_length=1, max_length=200)]


class Reasoned(BaseModel):
    """What an act needs that is kept with its reason."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=2000)

    @property
    def said(self) -> str:
        """Raises: BadInput: nothing but blanks."""
        if not (text := self.reason.strip()):
            raise BadInput("Say why: 'reason' is empty.")
        return text


class Page(Value, Generic[Listed]):
    """One page of a list. `next` is the `after` of the page that follows; None at the end."""

    items: tuple[Listed, ...]
    next: str | None


def page(items: Sequence[Listed], next_cursor: str | None) -> Page[Listed]:
    """One page of a list, in the contract's form."""
    return Page(items=tuple(items), next=next_cursor)


def page_of(items: Sequence[Any], limit: int, after: str | None) -> Page[Any]:
    """One page of a list that is held whole; `after` is the id of the last one seen.

    Raises:
        BadInput: no item of the list has that id.
    """
    start = 0
    if after is not None:
        ids = [item.id for item in items]
        if after not in ids:
            raise BadInput("after: no such place in this list.")
        start = ids.index(after) + 1
    shown = items[start : start + limit]
    return page(shown, shown[-1].id if shown and start + limit < len(items) else None)
