"""Every route of the contract, by everybody: who gets in, and in what form the others are told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import png
from xray_app.api import door
from xray_app.api.app import create_app
from xray_app.services import Services

USERS = ("anonymous", "analyst", "annotator", "admin")

# Method, path, least role, body. No id is known: whoever gets in is told 404, and nothing happens.
ROUTES: list[tuple[str, str, str, Any]] = [
    ("POST", "/v1/logout", "analyst", None),
    ("POST", "/v1/analyze", "analyst", "scan"),
    ("POST", "/v1/detect", "analyst", "scan"),
    ("GET", "/v1/analyses", "analyst", None),
    ("GET", "/v1/analyses/{analysis_id}", "analyst", None),
    ("GET", "/v1/analyses/{analysis_id}/report", "analyst", None),
    ("GET", "/v1/scans/{scan_id}/image", "analyst", None),
    ("GET", "/v1/scans/{scan_id}/thumbnail", "analyst", None),
    ("GET", "/v1/bags/{bag_id}", "analyst", None),
    ("POST", "/v1/analyses/{analysis_id}/decision", "analyst", {"decision": "REVIEW"}),
    ("POST", "/v1/analyses/{analysis_id}/outcome", "analyst", {"found": []}),
    ("POST", "/v1/analyses/{analysis_id}/corrections", "analyst", {"items": [], "boxes": []}),
    ("GET", "/v1/analyses/{analysis_id}/corrections", "analyst", None),
    ("POST", "/v1/corrections/{correction_id}/review", "annotator", {"status": "accepted"}),
    ("DELETE", "/v1/corrections/{correction_id}/review", "annotator", None),
    ("GET", "/v1/insights/{name}.csv", "annotator", None),
    ("GET", "/v1/vigilance/{name}.csv", "analyst", None),
    ("GET", "/v1/queue", "annotator", None),
    ("POST", "/v1/queue/next", "annotator", None),
    ("POST", "/v1/queue/{analysis_id}/claim", "annotator", None),
    ("POST", "/v1/queue/{analysis_id}/release", "annotator", None),
    ("POST", "/v1/queue/{analysis_id}/skip", "annotator", {"reason": "later"}),
    ("POST", "/v1/training/runs", "admin", {"recipe": "none such"}),
    ("GET", "/v1/training/runs", "admin", None),
    ("GET", "/v1/training/runs/{run_id}", "admin", None),
    ("POST", "/v1/training/runs/{run_id}/cancel", "admin", None),
    ("GET", "/v1/export", "annotator", None),
    ("GET", "/v1/adapters", "admin", None),
    ("POST", "/v1/adapters/{adapter_id}/promote", "admin", {}),
    ("POST", "/v1/adapters/rollback", "admin", {}),
    ("GET", "/v1/operating-points", "admin", None),
    ("GET", "/v1/operating-points/held-out", "admin", None),
    ("GET", "/v1/operating-points/proposed", "admin", None),
    ("POST", "/v1/operating-points", "admin", {"reason": "too few bags"}),
    ("POST", "/v1/operating-points/measure", "admin", None),
    ("POST", "/v1/operating-points/{point_id}/withdraw", "admin", {"reason": "none"}),
    ("GET", "/v1/campaigns", "admin", None),
    ("POST", "/v1/campaigns", "admin", {"bags": 1}),
    ("GET", "/v1/campaigns/{campaign_id}", "admin", None),
    ("POST", "/v1/campaigns/{campaign_id}/cancel", "admin", {"reason": "none"}),
    ("POST", "/v1/campaigns/{campaign_id}/sign", "admin", {"reason": "none"}),
    ("GET", "/v1/validations", "admin", None),
    ("POST", "/v1/validations/{validation_id}/withdraw", "admin", {"reason": "none"}),
]
OPEN = {("GET", "/health"), ("GET", "/ready"), ("POST", "/v1/login")}
OPEN_PAGES = {"/", "/favicon.ico", "/metrics", "/signin", "/signout"}


def test_the_table_names_every_route(services: Services) -> None:
    served = {
        (method.upper(), path)
        for path, methods in create_app(services).openapi()["paths"].items()
        for method in methods
    }
    assert served == {(method, path) for method, path, *_ in ROUTES} | OPEN
    assert {path for _, path in OPEN} | OPEN_PAGES == door.OPEN


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize(("method", "path", "role", "body"), ROUTES)
def test_only_the_role_gets_in(
    client: TestClient,
    as_user: Callable[[str], dict[str, str]],
    services: Services,
    user: str,
    method: str,
    path: str,
    role: str,
    body: Any,
) -> None:
    address = path.format_map(_Unknown())
    sent: dict[str, Any] = {"files": {"file": ("bag.png", png())}} if body == "scan" else {"json": body}
    headers = as_user(user)
    if path == "/v1/logout" and headers:
        return  # it would end the session the other tests use; tested with the sessions
    answer = client.request(method, address, headers=headers, **(sent if body is not None else {}))
    if user == "anonymous":
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "not_signed_in"
    elif USERS.index(user) < USERS.index(role):
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "forbidden"
    else:
        assert answer.status_code in (200, 404, 422), answer.text
        if answer.status_code == 404:
            assert answer.json()["error"]["code"] == "not_found"


class _Unknown(dict[str, str]):
    """Fills any id of a path with one that nothing has."""

    def __missing__(self, name: str) -> str:
        return "unknown"


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_there_are_no_pages_of_documentation(client: TestClient, admin: dict[str, str], path: str) -> None:
    assert client.get(path).status_code == 401
    assert client.get(path, headers=admin).status_code == 404


def test_unknown_addresses_and_methods_answer_in_the_envelope(client: TestClient, analyst: dict[str, str]) -> None:
    missing = client.get("/v1/nothing", headers=analyst)
    assert missing.status_code == 404
    assert set(missing.json()["error"]) == {"code", "message"}
    wrong = client.delete("/v1/analyses", headers=analyst)
    assert wrong.status_code == 405
    assert wrong.json()["error"]["code"] == "method_not_allowed"
    assert wrong.headers["allow"] == "GET"
    assert client.post("/health").status_code == 405
