"""`/openapi.json` against the public contract: calls, roles, statuses and forms, written down here once more."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import png
from tests.api.test_roles import ROUTES
from xray_app.services import Services
from xray_app.session import COOKIE

# Call, least role ("-": no token), answer, refusals. "[X]" is a list of X, "X?" may be null.
CONTRACT = """
GET /health                                      | -         | 200 Health               |
GET /ready                                       | -         | 200 Health               | 503
POST /v1/login                                   | -         | 200 Session              | 401 413 422 429 503
POST /v1/logout                                  | analyst   | 200 null                 | 401 409 413 422 503
POST /v1/analyze                                 | analyst   | 200 Analysis             | 401 409 413 422 503
POST /v1/detect                                  | analyst   | 200 Boxes                | 401 409 413 422 503
GET /v1/analyses                                 | analyst   | 200 [Analysis]           | 401 422 503
GET /v1/analyses/{analysis_id}                   | analyst   | 200 Analysis             | 401 404 409 503
GET /v1/scans/{scan_id}/image                    | analyst   | 200 image/png            | 401 404 503
GET /v1/bags/{bag_id}                            | analyst   | 200 Bag                  | 401 404 503
POST /v1/analyses/{analysis_id}/decision         | analyst   | 201 Decision             | 401 404 409 413 422 503
POST /v1/analyses/{analysis_id}/outcome          | analyst   | 201 Outcome              | 401 404 409 413 422 503
POST /v1/analyses/{analysis_id}/corrections      | analyst   | 201 Correction           | 401 404 409 413 422 503
GET /v1/analyses/{analysis_id}/corrections       | analyst   | 200 [Correction]         | 401 404 409 422 503
POST /v1/corrections/{correction_id}/review      | annotator | 200 Correction           | 401 403 404 409 413 422 503
DELETE /v1/corrections/{correction_id}/review    | annotator | 200 Correction           | 401 403 404 409 503
POST /v1/training/runs                           | admin     | 202 Run                  | 401 403 409 413 422 503
GET /v1/training/runs                            | admin     | 200 [Run]                | 401 403 422 503
GET /v1/training/runs/{run_id}                   | admin     | 200 Run                  | 401 403 404 503
POST /v1/training/runs/{run_id}/cancel           | admin     | 202 Run                  | 401 403 404 409 413 422 503
GET /v1/adapters                                 | admin     | 200 [Adapter]            | 401 403 422 503
POST /v1/adapters/{adapter_id}/promote           | admin     | 200 Adapter              | 401 403 404 409 413 422 503
POST /v1/adapters/rollback                       | admin     | 200 Adapter?             | 401 403 409 413 422 503
GET /v1/operating-points                         | admin     | 200 array                | 401 403 503
GET /v1/operating-points/held-out                | admin     | 200 HeldOutBags          | 401 403 422 503
GET /v1/operating-points/proposed                | admin     | 200 OperatingPointFigures | 401 403 422 503
POST /v1/operating-points                        | admin     | 201 OperatingPoint       | 401 403 409 413 422 503
POST /v1/operating-points/measure                | admin     | 200 Measured             | 401 403 409 413 422 503
POST /v1/operating-points/{point_id}/withdraw    | admin     | 200 null                 | 401 403 404 409 413 422 503
GET /v1/campaigns                                | admin     | 200 array                | 401 403 503
POST /v1/campaigns                               | admin     | 201 Campaign             | 401 403 409 413 422 503
GET /v1/campaigns/{campaign_id}                  | admin     | 200 CampaignStatus       | 401 403 404 503
POST /v1/campaigns/{campaign_id}/cancel          | admin     | 200 Campaign             | 401 403 404 409 413 422 503
POST /v1/campaigns/{campaign_id}/sign            | admin     | 201 Validation           | 401 403 404 409 413 422 503
GET /v1/validations                              | admin     | 200 Validations          | 401 403 503
POST /v1/validations/{validation_id}/withdraw    | admin     | 200 null                 | 401 403 404 409 413 422 503
GET /v1/analyses/{analysis_id}/report            | analyst   | 200 text/html            | 401 404 409 503
GET /v1/scans/{scan_id}/thumbnail                | analyst   | 200 image/webp           | 401 404 503
GET /v1/vigilance/{name}.csv                     | analyst   | 200 text/csv             | 401 404 422 503
GET /v1/insights/{name}.csv                      | annotator | 200 text/csv             | 401 403 404 422 503
GET /v1/export                                   | annotator | 200 application/zip      | 401 403 422 503
GET /v1/queue                                    | annotator | 200 [Entry]              | 401 403 422 503
POST /v1/queue/next                              | annotator | 200 Claim?               | 401 403 409 413 422 503
POST /v1/queue/{analysis_id}/claim               | annotator | 200 Claim                | 401 403 404 409 413 422 503
POST /v1/queue/{analysis_id}/release             | annotator | 200 null                 | 401 403 404 409 413 422 503
POST /v1/queue/{analysis_id}/skip                | annotator | 200 null                 | 401 403 404 409 413 422 503
"""
TABLE = [[part.strip() for part in line.split("|")] for line in CONTRACT.strip().splitlines()]

# The fields of the contract's forms; those marked "?" may be left out.
FIELDS = {
    "Session": "token expires_at role",
    "Analysis": (
        "id created_at scan report risk standing boxes agreement opaque_fraction models taxonomy_sha256 timings_ms "
        "threat_score? calibrated? score_evidence? control_search?"
    ),
    "Item": "label count status threat confidence?",
    "Box": "id source label confidence? status threat xyxy polygon? polygons?",
    "Risk": "level reason action policy",
    "Bag": "bag_id risk standing analyses",
    "Boxes": "boxes",
    "CorrectionIn": "items boxes labelled_classes? comment? base_revision?",
    "Correction": "id analysis_id revision status author created_at items boxes labelled_classes comment diff split",
    "Gate": "answer passed checks",
    "GateCheck": "name answer passed detail needs?",
    "DecisionIn": "decision seconds? note?",
    "OutcomeIn": "found note?",
    "ReviewIn": "status comment?",
    "RunIn": "kind? recipe? method? epochs?",
    "PromoteIn": "force? trial? reason?",
    "RollbackIn": "kind?",
    "ErrorEnvelope": "error",
    "ErrorFacts": "code message details?",
}


@pytest.fixture(scope="module")
def described(client: TestClient, as_user: Callable[[str], dict[str, str]]) -> dict[str, Any]:
    answer = client.get("/openapi.json", headers=as_user("analyst"))
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    return body


def name_of(schema: dict[str, Any]) -> str:
    """A schema in the table's words."""
    if "anyOf" in schema:
        [one] = [name_of(part) for part in schema["anyOf"] if part != {"type": "null"}]
        return f"{one}?"
    if "$ref" not in schema:
        return str(schema["type"])
    name = str(schema["$ref"].rsplit("/", 1)[1])
    return f"[{name.removeprefix('Page_').rstrip('_')}]" if name.startswith("Page_") else name


def test_only_who_is_signed_in_reads_it(client: TestClient, analyst: dict[str, str]) -> None:
    refused = client.get("/openapi.json")
    assert refused.status_code == 401
    assert refused.json()["error"]["code"] == "not_signed_in"
    cookie = {"cookie": f"{COOKIE}={analyst['Authorization'].split()[1]}"}
    assert client.get("/openapi.json", headers=cookie).status_code == 200


def test_it_names_every_call_and_no_other(described: dict[str, Any]) -> None:
    calls = {f"{method.upper()} {path}" for path, methods in described["paths"].items() for method in methods}
    assert calls == {call for call, *_ in TABLE}


@pytest.mark.parametrize(("call", "role", "answer", "refusals"), TABLE)
def test_a_call_is_described_as_agreed(
    described: dict[str, Any], call: str, role: str, answer: str, refusals: str
) -> None:
    method, path = call.lower().split(" ", 1)[0], call.split(" ", 1)[1]
    operation = described["paths"][path][method]
    bearer = [] if role == "-" else [{"bearer": [role]}]
    assert operation["security"] == bearer + ([{"cookie": [role]}] if bearer and method == "get" else [])
    status, form = answer.split()
    errors = {status: one for status, one in operation["responses"].items() if int(status) >= 400}
    assert sorted(errors) == refusals.split()
    for refusal in errors.values():
        assert refusal["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/ErrorEnvelope"}
    content = operation["responses"][status]["content"]
    if "/" in form:
        assert form in content
    else:
        assert name_of(content["application/json"]["schema"]) == form
    keyed = {"$ref": "#/components/parameters/IdempotencyKey"} in operation.get("parameters", [])
    assert keyed == (method == "post" and role != "-")


@pytest.mark.parametrize(("name", "fields"), FIELDS.items())
def test_a_form_has_the_fields_agreed_on(described: dict[str, Any], name: str, fields: str) -> None:
    schema = described["components"]["schemas"][name]
    required = schema.get("required", [])
    assert {field if field in required else f"{field}?" for field in schema["properties"]} == set(fields.split())


def test_a_wrong_method_is_told_every_right_one(
    client: TestClient, admin: dict[str, str], described: dict[str, Any]
) -> None:
    for path, operations in described["paths"].items():
        right = sorted(method.upper() for method in operations)
        for wrong in {"GET", "POST", "PUT", "PATCH", "DELETE"} - set(right):
            answer = client.request(wrong, re.sub(r"\{\w+\}", "x", path), headers=admin)
            assert (answer.status_code, answer.headers.get("allow")) == (405, ", ".join(right)), (wrong, path)


def test_lists_have_items_and_where_they_go_on(described: dict[str, Any]) -> None:
    listed = described["components"]["schemas"]["Page_Run_"]
    assert listed["required"] == ["items", "next"]
    assert listed["properties"]["items"]["items"] == {"$ref": "#/components/schemas/Run"}
    parameters = {one["name"]: one for one in described["paths"]["/v1/training/runs"]["get"]["parameters"]}
    assert set(parameters) == {"limit", "after"}


def test_uploads_are_multipart_forms_of_one_file(described: dict[str, Any]) -> None:
    for path, more in (("/v1/analyze", {"bag_id", "view", "scanner_id"}), ("/v1/detect", set())):
        form = described["paths"][path]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
        assert set(form["properties"]) == {"file"} | more
        assert form["required"] == ["file"]
        assert form["properties"]["file"]["format"] == "binary"


def test_the_frameworks_own_form_of_a_422_is_nowhere(described: dict[str, Any]) -> None:
    assert "ValidationError" not in str(described)


def test_every_reference_leads_somewhere(described: dict[str, Any]) -> None:
    def references(part: Any) -> set[str]:
        if isinstance(part, list):
            return set().union(*map(references, part))
        if not isinstance(part, dict):
            return set()
        here = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
        return here.union(*map(references, part.values()))

    for reference in references(described):
        target: Any = described
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]


@pytest.mark.parametrize("user", ["anonymous", "analyst", "annotator", "admin"])
def test_what_is_answered_is_among_what_is_described(
    client: TestClient,
    as_user: Callable[[str], dict[str, str]],
    services: Services,
    described: dict[str, Any],
    user: str,
) -> None:
    headers = as_user(user)
    for method, path, _, body in ROUTES:
        if path == "/v1/logout" and headers:
            continue
        sent: dict[str, Any] = {"files": {"file": ("bag.png", png())}} if body == "scan" else {"json": body}
        address = path.replace("{", "").replace("}", "")
        answer = client.request(method, address, headers=headers, **(sent if body is not None else {}))
        assert str(answer.status_code) in described["paths"][path][method.lower()]["responses"], (path, answer.text)
