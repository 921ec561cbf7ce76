"""Scans in, analyses out, through the API."""

from __future__ import annotations

import hashlib
import io
import threading
import uuid
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.api.conftest import PASSWORD, make_services, png
from xray_app import auth
from xray_app.api.app import create_app
from xray_app.risk import worst_view
from xray_app.services import Services
from xray_app.session import COOKIE
from xray_app.types import Analysis, Risk, Role


def upload(content: bytes, name: str = "bag.png") -> dict[str, Any]:
    return {"files": {"file": (name, content)}}


def test_an_analysis_is_answered_stored_and_given_again(client: TestClient, analyst: dict[str, str]) -> None:
    content = png()
    told = {"bag_id": "bag 7", "view": "top", "scanner_id": "lane-2"}
    answer = client.post("/v1/analyze", **upload(content, "..\\x/bag.png"), data=told, headers=analyst)
    assert answer.status_code == 200, answer.text
    analysis = answer.json()
    sha256 = hashlib.sha256(content).hexdigest()
    assert analysis["scan"] == {
        "id": sha256,
        "sha256": sha256,
        "width": 64,
        "height": 48,
        "filename": "bag.png",
        **told,
    }
    assert [item["label"] for item in analysis["report"]["items"]] == ["knife", "plastic bottle"]
    assert analysis["risk"]["level"] == "HIGH"
    assert analysis["risk"]["action"] == "SEARCH"
    assert analysis["boxes"][0]["xyxy"] == [4.0, 5.0, 20.0, 30.0]
    assert analysis["models"]["vlm"] == {"name": "fixed", "adapter": None, "validated": False}
    assert client.get(f"/v1/analyses/{analysis['id']}", headers=analyst).json() == analysis
    newest = client.get("/v1/analyses", params={"limit": 1}, headers=analyst).json()
    assert newest["items"] == [analysis]


def test_the_bag_of_a_scan_alone_is_its_hash(analysed: dict[str, Any]) -> None:
    assert analysed["scan"]["bag_id"] == analysed["scan"]["sha256"]


def test_detect_answers_boxes_and_stores_nothing(
    client: TestClient, services: Services, analyst: dict[str, str]
) -> None:
    before = left(services)
    answer = client.post("/v1/detect", **upload(png()), headers=analyst)
    assert answer.status_code == 200
    assert [box["label"] for box in answer.json()["boxes"]] == ["knife"]
    assert left(services) == before


def left(services: Services) -> tuple[int, int, list[Path]]:
    """Rows and files of scans there are."""
    with services.db.read() as session:
        connection = session.connection()
        scans = connection.exec_driver_sql("select count(*) from scans").scalar_one()
        analyses = connection.exec_driver_sql("select count(*) from analyses").scalar_one()
    files = sorted(path for path in (services.db.data_dir / "scans").rglob("*") if path.is_file())
    return scans, analyses, files


def picture(form: str = "PNG", size: tuple[int, int] = (64, 48), mode: str = "RGB", **options: Any) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, 7).save(out, form, **options)
    return out.getvalue()


def bomb() -> bytes:
    """A PNG that says it is 30,000 x 30,000."""
    content = bytearray(picture(size=(30, 30), mode="L"))
    content[16:24] = (30_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


BAD_SCANS: list[tuple[str, bytes, int]] = [
    ("not an image", b"hello, I am a text", 422),
    ("an empty file", b"", 422),
    ("a truncated JPEG", picture("JPEG", size=(640, 480))[:-400], 422),
    ("1 x 1", picture(size=(1, 1)), 422),
    ("30,000 x 30,000", bomb(), 422),
    ("a ZIP named .png", b"PK\x03\x04" + bytes(500), 422),
    (
        "an animated GIF",
        picture("GIF", mode="L", save_all=True, append_images=[Image.new("L", (64, 48), 9)]),
        422,
    ),
    ("more than the limit", picture("BMP", size=(640, 600)), 413),
    ("200 MB", bytes(200 * 1024 * 1024), 413),
]


@pytest.mark.parametrize("route", ["/v1/analyze", "/v1/detect"])
@pytest.mark.parametrize(("content", "status"), [case[1:] for case in BAD_SCANS], ids=[c[0] for c in BAD_SCANS])
def test_a_bad_scan_is_refused_and_leaves_nothing(
    client: TestClient, services: Services, analyst: dict[str, str], route: str, content: bytes, status: int
) -> None:
    before = left(services)
    answer = client.post(route, **upload(content), headers=analyst)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == ("too_large" if status == 413 else "bad_scan")
    assert len(error["message"]) > 10
    assert left(services) == before


@pytest.mark.parametrize(
    "content",
    [
        picture("JPEG", mode="CMYK"),
        picture(mode="RGBA"),
        picture(mode="LA"),
        picture("TIFF", mode="I;16"),
        picture("WEBP"),
        picture("BMP"),
    ],
    ids=["CMYK", "alpha", "grey alpha", "16 bit TIFF", "WebP", "BMP"],
)
def test_other_kinds_of_picture_work(client: TestClient, analyst: dict[str, str], content: bytes) -> None:
    assert client.post("/v1/analyze", **upload(content), headers=analyst).status_code == 200


FORMS: list[dict[str, Any]] = [
    {},
    {"data": {"file": "text"}},
    {"files": {"scan": ("a.png", png())}},
    {"files": [("file", ("a.png", png())), ("file", ("b.png", png()))]},
    {"files": [("file", ("a.png", png())), ("extra", ("b.png", png()))]},
    {"files": {"file": ("a.png", png())}, "data": {"colour": "red"}},
    {"files": {"file": ("a.png", png())}, "data": {"view": ["top", "side"]}},
    {"files": {"file": ("a.png", png()), "view": ("v.txt", b"top")}},
    {"files": {"file": ("a.png", png())}, "data": {"bag_id": "x" * 3000}},
    {"files": {"file": ("a.png", png())}, "data": {"bag_id": "x" * 9000}},
    {"files": {"file": ("a.png", png())}, "data": {"scanner_id": "line\nbreak"}},
    {"content": b"--x\r\nnonsense", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
    {"content": b"nonsense", "headers": {"Content-Type": "multipart/form-data"}},
    {"json": {"file": "a.png"}},
]


@pytest.mark.parametrize("form", FORMS)
def test_a_form_that_is_not_one_scan_is_refused(
    client: TestClient, services: Services, analyst: dict[str, str], form: dict[str, Any]
) -> None:
    before = left(services)
    sent = dict(form)
    headers = {**analyst, **sent.pop("headers", {})}
    answer = client.post("/v1/analyze", **sent, headers=headers)
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["message"]
    assert left(services) == before


def test_lists_go_on_where_they_stopped(client: TestClient, analyst: dict[str, str]) -> None:
    made = [client.post("/v1/analyze", **upload(png()), headers=analyst).json()["id"] for _ in range(5)]
    seen: list[str] = []
    after: dict[str, str] = {}
    while len(seen) < 5:
        page = client.get("/v1/analyses", params={"limit": 2, **after}, headers=analyst).json()
        assert len(page["items"]) == 2
        seen += [analysis["id"] for analysis in page["items"]]
        after = {"after": page["next"]}
    assert seen[:5] == made[::-1]


@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "limit=1000000", "limit=x", "after=nonsense", "after="])
def test_a_list_refuses_nonsense(client: TestClient, analyst: dict[str, str], query: str) -> None:
    answer = client.get(f"/v1/analyses?{query}", headers=analyst)
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "bad_input"


def test_a_program_gets_the_picture_as_it_was_sent(client: TestClient, analyst: dict[str, str]) -> None:
    content = picture("TIFF", size=(50, 40))
    scan_id = client.post("/v1/analyze", **upload(content), headers=analyst).json()["scan"]["id"]
    answer = client.get(f"/v1/scans/{scan_id}/image", headers=analyst)
    assert answer.content == content
    assert answer.headers["content-type"] == "image/tiff"
    assert answer.headers["cache-control"].startswith("private")
    assert answer.headers["content-disposition"].startswith("inline")
    assert answer.headers["x-content-type-options"] == "nosniff"
    again = client.get(f"/v1/scans/{scan_id}/image", headers={**analyst, "If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_browser_gets_a_picture_it_can_show(client: TestClient, services: Services, analyst: dict[str, str]) -> None:
    content = picture("TIFF", size=(50, 41))
    scan_id = client.post("/v1/analyze", **upload(content), headers=analyst).json()["scan"]["id"]
    token = auth.sign_in(services.db, "analyst", PASSWORD).token
    answer = client.get(f"/v1/scans/{scan_id}/image", headers={"Cookie": f"{COOKIE}={token}"})
    assert answer.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(answer.content)).size == (50, 41)


def test_a_bag_is_as_bad_as_its_worst_view(client: TestClient, analyst: dict[str, str]) -> None:
    bag_id = "bag of two"
    for view in ("top", "side"):
        told = {"bag_id": bag_id, "view": view}
        client.post("/v1/analyze", **upload(png()), data=told, headers=analyst)
    answer = client.get(f"/v1/bags/{bag_id}", headers=analyst)
    assert answer.status_code == 200
    bag = answer.json()
    assert set(bag) == {"bag_id", "risk", "standing", "analyses"}
    assert (bag["risk"]["level"], bag["standing"]["by"]) == ("HIGH", "policy")
    assert [analysis["scan"]["view"] for analysis in bag["analyses"]] == ["top", "side"]


def test_a_view_is_judged_by_its_newest_analysis(client: TestClient, analysed: dict[str, Any]) -> None:
    def one(view: str, minute: int, level: str, action: str) -> Analysis:
        analysis = Analysis.model_validate(
            {name: value for name, value in analysed.items() if name not in ("standing", "control_search")}
        )
        return analysis.model_copy(
            update={
                "id": uuid.uuid4().hex,
                "created_at": datetime.now(UTC) + timedelta(minutes=minute),
                "scan": analysis.scan.model_copy(update={"id": view}),
                "risk": Risk(level=level, reason=view, action=action, policy="airport"),  # type: ignore[arg-type]
            }
        )

    top, side = one("top", 0, "LOW", "REVIEW"), one("side", 1, "MEDIUM", "REVIEW")
    assert worst_view([top, side]).reason == "side"
    assert worst_view([side, top]).reason == "side"
    better_side = one("side", 2, "LOW", "CLEAR")
    assert worst_view([better_side, side, top]).action == "REVIEW"
    assert worst_view([better_side, side, top]).reason == "top"


def test_past_the_queue_it_says_busy_and_when_to_try_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    services = make_services(tmp_path, max_queue=1)
    auth.add_user(services.db, "analyst", PASSWORD, Role.ANALYST)
    headers = {"Authorization": f"Bearer {auth.sign_in(services.db, 'analyst', PASSWORD).token}"}
    working, go_on = threading.Event(), threading.Event()
    answer = services.analyser.vlm.answer

    def slowly(*given: Any) -> Any:
        working.set()
        assert go_on.wait(10)
        return answer(*given)

    monkeypatch.setattr(services.analyser.vlm, "answer", slowly)
    statuses: list[int] = []
    with TestClient(create_app(services)) as client:

        def send() -> None:
            statuses.append(client.post("/v1/analyze", **upload(png()), headers=headers).status_code)

        senders = [threading.Thread(target=send) for _ in range(2)]
        senders[0].start()
        assert working.wait(10)
        senders[1].start()
        wait_until(lambda: services.analyser._slots._value == 0)
        refused = client.post("/v1/analyze", **upload(png()), headers=headers)
        assert client.get("/health").status_code == 200
        go_on.set()
        for sender in senders:
            sender.join()
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "busy"
    assert int(refused.headers["retry-after"]) > 0
    assert statuses == [200, 200]
    services.db.close()


def wait_until(true: Callable[[], bool]) -> None:
    for _ in range(500):
        if true():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never came")
