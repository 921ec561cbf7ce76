"""Webhooks: sent until taken, signed, once for each event, with nothing in them that is nobody's business."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from xray_app import webhook
from xray_app.adapter import Adapter, Gate, GateCheck
from xray_app.settings import Settings
from xray_app.store import adapters, runs, validations, webhook_events
from xray_app.store.database import Database
from xray_app.store.fact_tables import DayFiguresRow
from xray_app.store.insights.daily_sums import Figures
from xray_app.store.tables import RunRow
from xray_app.store.validation_tables import CampaignRow, ValidationRow
from xray_app.store.webhook_events import ATTEMPTS, LOOK_BACK, WAITS, Event
from xray_app.store.webhook_tables import WebhookEventRow
from xray_app.types import POLICY, RunMetrics
from xray_app.webhook import SIGNATURE, Webhook, deliver, flag_drift, keep_telling

SECRET = SecretStr("a secret of both sides")
NOW = datetime(2026, 7, 31, 12, tzinfo=UTC)


class Receiver(ThreadingHTTPServer):
    """Answers as it is told to, and keeps what it was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.taken: list[tuple[dict[str, str], bytes]] = []
        self.paths: list[str] = []
        self.answers: list[int] = []
        self.how = "at once"
        self.pulled = 0
        self.released = threading.Event()

    def handle_error(self, *_: object) -> None:
        """A client that goes away is what some tests are about."""

    @property
    def url(self) -> SecretStr:
        return SecretStr(f"http://127.0.0.1:{self.server_port}/hooks/t0ken?key=t0ken")

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.taken]


class _Answer(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        self.server.paths.append(self.path)
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.taken.append(({name.lower(): value for name, value in self.headers.items()}, body))
        if self.server.how == "never":
            self.server.released.wait(20)
            return
        if self.server.how == "drop by drop":
            while not self.server.released.wait(0.1):
                self.wfile.write(b"HTTP/1.1 200 OK\r\n"[:1])
            return
        if self.server.how == "junk":
            self.wfile.write(b"\x00\x1b[31m\nERROR forged line " * 50)
            return
        self.send_response(self.server.answers.pop(0) if self.server.answers else 200)
        self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
        self.end_headers()
        while self.server.how == "endless" and not self.server.released.is_set():
            self.wfile.write(b"t" * 65536)
            self.server.pulled += 65536

    def do_GET(self) -> None:
        self.server.paths.append(self.path)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join(20)


@pytest.fixture
def hook(receiver: Receiver) -> Webhook:
    return Webhook(receiver.url, SECRET)


def ended_run(db: Database, status: Any = "succeeded", error: str | None = None) -> str:
    run = runs.create(db, "vlm-adapter", "bundled", "lora", None, "ann.of.the.belt")
    runs.claim(db, run.id, "host", "boot", 1, 1.0, 60)
    return runs.finish(db, run.id, status, error=error).id


def candidate(db: Database, adapter_id: str, answer: Any) -> Adapter:
    check = GateCheck(name="threat recall", answer=answer, detail="0.91 and 0.90")
    return adapters.add(
        db,
        Adapter(
            id=adapter_id,
            kind="detector",
            base="/home/ann/base",
            base_sha256="0" * 64,
            run_id="r1",
            active=False,
            created_at=datetime.now(UTC),
            metrics=RunMetrics(),
            gate=Gate.of([check]),
        ),
        db.data_dir / "adapters" / adapter_id,
    )


def past_waits(db: Database) -> None:
    """As if the waits between attempts were over."""
    with db.write() as session:
        for row in session.query(WebhookEventRow):
            row.due_at = datetime.now(UTC) - timedelta(seconds=1)


def unsettled(db: Database) -> int:
    with db.read() as session:
        return session.query(WebhookEventRow).where(WebhookEventRow.settled_at.is_(None)).count()


def tell(db: Database, hook: Webhook) -> None:
    webhook_events.collect(db, datetime.now(UTC))
    deliver(db, hook)


def test_an_ended_run_and_a_candidate_are_told_once(db: Database, receiver: Receiver, hook: Webhook) -> None:
    queued = runs.create(db, "vlm-adapter", "bundled", "lora", None, "ann")
    done, failed = ended_run(db), ended_run(db, "failed", "/home/ann/x.png: the log's last lines")
    candidate(db, "a1", "not shown yet")
    for _ in range(3):
        tell(db, hook)
    told = {one["data"].get("adapter") or one["data"]["run"]: one for one in receiver.events}
    assert len(receiver.events) == len(told) == 3
    assert told[done]["type"] == told[failed]["type"] == "run.ended"
    assert (told[done]["data"]["status"], told[failed]["data"]["status"]) == ("succeeded", "failed")
    assert told["a1"]["type"] == "candidate.ready"
    assert told["a1"]["data"]["gate"] == {"answer": "not shown yet", "open_checks": ["threat recall"]}
    assert len({one["id"] for one in receiver.events}) == 3
    assert datetime.fromisoformat(told[done]["happened_at"]).utcoffset() == timedelta(0)
    sent = b"".join(body for _, body in receiver.taken)
    assert b"ann" not in sent, "nobody's name, no path, no free text"
    runs.request_cancel(db, queued.id)
    tell(db, hook)
    assert receiver.events[-1]["data"]["status"] == "cancelled"


def test_what_is_sent_is_signed_over_every_byte(db: Database, receiver: Receiver, hook: Webhook) -> None:
    ended_run(db)
    tell(db, hook)
    ((headers, body),) = receiver.taken
    expected = hmac.new(SECRET.get_secret_value().encode(), body, hashlib.sha256).hexdigest()
    assert headers[SIGNATURE.lower()] == f"sha256={expected}"
    assert headers["content-type"] == "application/json"
    # The example in GitHub's documentation of this header.
    known = webhook.signature(b"Hello, World!", SecretStr("It's a Secret to Everybody"))
    assert known == "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    ended_run(db)
    tell(db, Webhook(receiver.url, None))
    assert SIGNATURE.lower() not in receiver.taken[1][0]


def test_a_server_that_starts_again_sends_what_the_last_one_left(
    db: Database, receiver: Receiver, hook: Webhook
) -> None:
    ended_run(db)
    webhook_events.collect(db, datetime.now(UTC))
    assert receiver.events == []  # died here
    tell(db, hook)
    assert len(receiver.events) == 1
    ended_run(db)
    webhook_events.collect(db, datetime.now(UTC))
    taken = webhook_events.next_due(db, datetime.now(UTC))  # died while it sent it
    assert taken is not None
    deliver(db, hook)
    assert len(receiver.events) == 1, "the other server may still be sending it"
    past_waits(db)
    tell(db, hook)
    assert receiver.events[1]["id"] == taken.id
    past_waits(db)
    tell(db, hook)
    assert len(receiver.events) == 2


@pytest.mark.parametrize("status", [500, 404, 302, 301, 307, 399])
def test_what_is_refused_is_sent_again_later(
    db: Database, receiver: Receiver, hook: Webhook, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    ended_run(db)
    receiver.answers = [status, 204]
    tell(db, hook)
    tell(db, hook)
    assert len(receiver.events) == 1, "not before its wait is over"
    past_waits(db)
    tell(db, hook)
    assert [one["id"] for one in receiver.events] == [receiver.events[0]["id"]] * 2
    assert set(receiver.paths) == {"/hooks/t0ken?key=t0ken"}, "no redirect is followed"
    assert unsettled(db) == 0
    assert caplog.records == []


def test_waits_grow_and_their_ends_are_held(db: Database) -> None:
    webhook_events.enter(db, [Event("run.ended", "x", NOW, {})], NOW)
    moment = NOW
    for attempt, wait in enumerate((*WAITS, WAITS[-1]), 1):
        taken = webhook_events.next_due(db, moment)
        assert taken is not None
        assert taken.attempt == attempt
        assert webhook_events.next_due(db, moment + wait - timedelta(milliseconds=1)) is None
        moment += wait
    webhook_events.settle(db, taken.id, moment)
    assert webhook_events.next_due(db, moment + timedelta(days=1)) is None


def test_what_fails_for_the_last_time_is_logged_once_and_says_what_to_do(
    db: Database, receiver: Receiver, hook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    ended_run(db)
    receiver.answers = [503] * 99
    for _ in range(ATTEMPTS + 3):
        tell(db, hook)
        past_waits(db)
    assert len(receiver.events) == ATTEMPTS
    (said,) = [record.getMessage() for record in caplog.records]
    assert f"http://127.0.0.1:{receiver.server_port} was not told of run.ended" in said
    assert receiver.events[0]["id"] in said
    assert "answered 503" in said
    assert "XRAY_WEBHOOK_URL" in said
    assert "t0ken" not in said
    assert unsettled(db) == 0


@pytest.mark.parametrize(
    ("how", "problem"), [("never", "within 0.5 seconds"), ("drop by drop", "within 0.5 seconds"), ("junk", "Protocol")]
)
def test_a_receiver_that_is_no_good_holds_nothing_up(receiver: Receiver, how: str, problem: str) -> None:
    receiver.how = how
    began = time.monotonic()
    said = Webhook(receiver.url, SECRET, seconds=0.5).send("{}")
    assert time.monotonic() - began < 10
    assert said is not None
    assert problem in said
    assert said.isprintable()
    assert len(said) < 300
    assert "t0ken" not in said


def test_an_endless_answer_is_not_read(receiver: Receiver, hook: Webhook) -> None:
    receiver.how = "endless"
    assert hook.send("{}") is None
    assert receiver.pulled < 64 * 2**20


def test_nobody_there_is_a_problem_in_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    said = Webhook(SecretStr(f"http://127.0.0.1:{port}/t0ken"), SECRET).send("{}")
    assert said is not None
    assert said.split()[0] in ("ConnectError", "ReadError")  # who still listens may hang up
    assert "t0ken" not in said


def test_this_machine_is_not_asked_for_through_a_proxy(
    receiver: Receiver, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert hook.send("{}") is None
    assert len(receiver.taken) == 1


def test_an_error_nobody_thought_of_is_a_problem_too(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise KeyError("https://secret")

    monkeypatch.setattr(webhook.httpx, "AsyncClient", fails)
    assert Webhook(receiver.url, SECRET).send("{}") == "KeyError"


def test_what_is_long_past_is_not_told(db: Database, receiver: Receiver, hook: Webhook) -> None:
    old, young = ended_run(db), ended_run(db)
    with db.write() as session:
        for run_id, age in ((old, LOOK_BACK + timedelta(minutes=1)), (young, LOOK_BACK - timedelta(minutes=1))):
            row = session.get(RunRow, run_id)
            assert row is not None
            row.ended_at = datetime.now(UTC) - age
    tell(db, hook)
    assert [one["data"]["run"] for one in receiver.events] == [young]


def test_a_validation_that_the_desk_withdrew_is_told_and_a_persons_is_not(
    db: Database, receiver: Receiver, hook: Webhook
) -> None:
    with db.write() as session:
        for number, scanner in enumerate(("A", "B"), 1):
            own = {"id": f"c{number}", "number": number, "scanner_id": scanner, "rests_on": "r", "bags": 200}
            own |= {"test_share": 0.1, "created_at": NOW, "ends_at": NOW, "by": "ann", "reason": "ann says"}
            session.add(CampaignRow(**own))
            session.flush()
            signed = {"id": f"v{number}", "number": number, "scanner_id": scanner, "rests_on": "r", "kind": "signed"}
            signed |= {"campaign_id": f"c{number}", "created_at": NOW, "by": "ann", "reason": "x", "document": "{}"}
            session.add(ValidationRow(**signed))
    validations.withdraw(db, "v1", POLICY, "The scans of A do not look like those of its campaign any more: brighter.")
    validations.withdraw(db, "v2", "ann", "Ann's own reason")
    tell(db, hook)
    (told,) = receiver.events
    assert told["type"] == "drift.flagged"
    assert told["data"] == {
        "scanner": "A",
        "validation_withdrawn": True,
        "reason": "The scans of A do not look like those of its campaign any more: brighter.",
    }


def day(db: Database, when: date, scanner: str, scans: int, place: int) -> None:
    figures = Figures(scans=scans, looks={f"brightness|{place}": scans, f"brightness|{place + 1}": scans / 2})
    with db.write() as session:
        session.add(DayFiguresRow(day=when, scanner_id=scanner, adapter="", document=figures.model_dump_json()))


def test_drift_is_told_once_a_week_for_the_site_and_each_scanner_that_changed(
    db: Database, receiver: Receiver, hook: Webhook
) -> None:
    friday = NOW.date()
    for scanner in ("A", "B"):
        day(db, friday - timedelta(days=60), scanner, 300, 2)
    flag_drift(db, NOW)
    tell(db, hook)
    assert receiver.events == []
    day(db, friday - timedelta(days=1), "A", 200, 7)
    day(db, friday - timedelta(days=1), "B", 200, 2)
    for _ in range(2):
        flag_drift(db, NOW + timedelta(hours=1))
        tell(db, hook)
    assert sorted(str(one["data"]["scanner"]) for one in receiver.events) == ["A", "None"]
    assert all("brightness was half of them" in one["data"]["reason"] for one in receiver.events)
    flag_drift(db, NOW + timedelta(days=2))  # Sunday
    tell(db, hook)
    assert len(receiver.events) == 2
    flag_drift(db, NOW + timedelta(days=3))
    tell(db, hook)
    assert len(receiver.events) == 4, "it lasts into the next week"
    assert len({one["id"] for one in receiver.events}) == 4


def test_the_servers_thread_tells_and_survives_what_fails(
    db: Database, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert keep_telling(db, Settings(_env_file=None, data_dir=tmp_path)) is None
    settings = Settings(_env_file=None, data_dir=tmp_path, webhook_url=receiver.url, webhook_secret=SECRET)
    fails = True
    collect = webhook_events.collect

    def sometimes(db: Database, now: datetime) -> None:
        if fails:
            raise OSError("the disk is full")
        collect(db, now)

    monkeypatch.setattr(webhook_events, "collect", sometimes)
    stop = threading.Event()
    with caplog.at_level(logging.ERROR, "xray_app.webhook"):
        thread = keep_telling(db, settings, every=0.05, stop=stop)
        assert thread is not None
        try:
            ended_run(db)
            end = time.monotonic() + 30
            while not caplog.records and time.monotonic() < end:
                time.sleep(0.02)
            assert receiver.events == []
            fails = False
            while not receiver.events and time.monotonic() < end:
                time.sleep(0.02)
        finally:
            stop.set()
            thread.join(20)
    assert len(receiver.events) == 1
