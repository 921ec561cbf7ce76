"""The faults that `faults` makes, and what an honest desk does about each."""

from __future__ import annotations

import resource
import socket
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import psutil

from tests.benchmarks.promises import FaultHidden, Promises
from xray_app.errors import ModelUnavailable
from xray_app.store import adapters

RUN_SECONDS = 60.0
"""A killed run may take so long to be told dead."""
FULL = range(0, 65_536)
"""Bytes no file may grow beyond where the disk is to be full: less than a scan, and somewhere in SQLite's log."""
NONSENSE: tuple[dict[str, Any], ...] = (
    {"items": [{"label": "unicorn", "count": 1}], "boxes": []},
    {"items": [{"label": "knife", "count": 0}], "boxes": []},
    {"items": [{"label": "knife", "count": 10**30}], "boxes": []},
    {"items": [], "boxes": [{"label": "knife", "xyxy": [0, 0, 10**7, 10]}]},
    {"items": [], "boxes": [{"label": "knife", "xyxy": [9, 9, 3, 3]}]},
    {"items": [{"label": "knife\0", "count": 1}], "boxes": []},
    {"items": [{"label": "knife", "count": 1}], "boxes": [], "comment": "\ud800"},
    {"items": [{"label": "knife", "count": 1}], "boxes": [], "base_revision": -1},
    {"items": "knife", "boxes": {}},
)


def broken_picture(desk: Promises) -> None:
    """Cut, overwritten, empty, no picture at all, or one that says it is larger than any."""
    draws, whole = desk.draws, bytearray(desk.picture())
    kind = draws.choice(("cut", "overwritten", "empty", "text", "huge"))
    if kind == "cut":
        del whole[draws.randrange(1, len(whole) - 2) :]
    elif kind == "overwritten":
        for _ in range(draws.randrange(1, 200)):
            whole[draws.randrange(len(whole))] = draws.randrange(256)
    elif kind == "huge":
        at = next(at for at in range(len(whole)) if whole[at] == 0xFF and whole[at + 1] in (0xC0, 0xC2))
        whole[at + 5 : at + 9] = b"\xff\xff\xff\xff"  # height and width
    else:
        whole = bytearray(b"" if kind == "empty" else b"<html>no scan</html>")
    answer = desk.analyse(bytes(whole))
    if answer.status_code == 200 and kind in ("cut", "empty", "text", "huge"):
        raise FaultHidden(f"a picture ({kind}) was analysed")
    desk.took_or_said(answer, {413, 422})


def cut_upload(desk: Promises) -> None:
    """A client that says how much it sends and goes away before."""
    body = desk.picture()
    at = urlsplit(desk.address)
    head = (
        f"POST /v1/analyze HTTP/1.1\r\nHost: {at.netloc}\r\nAuthorization: {desk.client.headers['Authorization']}\r\n"
        f"Content-Type: multipart/form-data; boundary=cut\r\nContent-Length: {len(body) + 500}\r\n\r\n"
        '--cut\r\nContent-Disposition: form-data; name="file"; filename="bag.jpg"\r\n\r\n'
    ).encode()
    with socket.create_connection((at.hostname, at.port)) as line:
        line.sendall(head + body[: desk.draws.randrange(len(body))])
        time.sleep(desk.draws.uniform(0, 0.2))
    if desk.client.get("/health").status_code != 200:
        raise FaultHidden("a cut upload takes the desk down")


def cut_answer(desk: Promises) -> None:
    """The VLM reaches its token limit in the middle of a word."""
    vlm = desk.services.analyser.vlm
    answering = vlm.answer

    def cut(images: Any, instructions: Any, drafts: Any = None) -> Any:
        whole = answering(images, instructions)[0]
        return [replace(whole, text=whole.text[: desk.draws.randrange(len(whole.text))], finished=False, spans=())]

    with mock.patch.object(vlm, "answer", cut):
        answer = desk.analyse(desk.picture())
    desk.took_or_said(answer)
    analysis = answer.json()
    if analysis["report"]["complete"] or analysis["risk"]["action"] == "CLEAR":
        raise FaultHidden(f"an answer that was cut off is called whole: {analysis['report']['text']!r}")


def failing_model(desk: Promises) -> None:
    """Either model runs out of memory, or the server of a remote one does not answer."""
    problem = desk.draws.choice(
        (
            MemoryError(),
            RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
            ModelUnavailable("The model's server did not answer."),
        )
    )
    model, name = desk.draws.choice(
        ((desk.services.analyser.vlm, "answer"), (desk.services.analyser.detector, "detect"))
    )
    with mock.patch.object(model, name, side_effect=problem):
        answer = desk.analyse(desk.picture())
    desk.said_what(answer, {503})


def full_disk(desk: Promises) -> None:
    """No file can grow: the kernel itself refuses, for pictures and database alike."""
    picture = desk.picture()
    analysis, asked = desk.uncorrected(), desk.draws.choice(("analyse", "correct", "decide"))
    with _no_room(desk.draws.choice(FULL)):
        answer = desk.analyse(picture) if asked == "analyse" else getattr(desk, asked)(analysis)
    desk.took_or_said(answer, {503})


@contextmanager
def _no_room(limit: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def locked_database(desk: Promises) -> None:
    """Another program holds the write lock for a while."""
    analysis = desk.uncorrected()
    other = sqlite3.connect(desk.services.db.data_dir / "xray.db", check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    freed = threading.Timer(desk.draws.uniform(0.2, 2), other.close)  # which rolls back
    freed.start()
    try:
        answer = desk.draws.choice((desk.correct, desk.decide))(analysis)
    finally:
        freed.join()
    desk.took_or_said(answer, {503})


def nonsense_correction(desk: Promises) -> None:
    """Classes, numbers and places there are not."""
    desk.said_what(desk.correct(desk.uncorrected(), desk.draws.choice(NONSENSE)), {422})


def stale_correction(desk: Promises) -> None:
    """Somebody else corrected first."""
    analysis = desk.uncorrected()
    desk.took_or_said(desk.correct(analysis))
    late = desk.correct(analysis)
    desk.said_what(late, {409})
    if not late.json()["error"].get("details", {}).get("newest"):
        raise FaultHidden("a stale correction is not shown the newest one")


def lost_answer(desk: Promises) -> None:
    """The client never got the answer and sends the same again, with the same key."""
    key, picture = uuid.uuid4().hex, desk.picture()
    first = desk.took_or_said(desk.analyse(picture, key))
    if desk.analyse(picture, key).json() != first:
        raise FaultHidden("the same key got another answer")


def lost_picture(desk: Promises) -> None:
    """The file of a scan is gone from the data folder, or cut short."""
    analysis = desk.draws.choice(list(desk.analyses.values()))
    path = f"/v1/scans/{analysis['scan']['id']}/image"
    file = next((desk.services.db.data_dir / "scans").rglob(f"{analysis['scan']['id']}.*"))
    with _damaged(file, gone=desk.draws.random() < 0.5):
        answer = desk.client.get(path)
        if answer.content != desk.pictures[analysis["scan"]["id"]]:
            desk.said_what(answer, {404, 503})


def damaged_adapter(desk: Promises) -> None:
    """The weights of an adapter change on disk before it is promoted, or vanish after."""
    db, vlm = desk.services.db, desk.services.analyser.vlm
    weights = adapters.folder(db, desk.adapter) / "adapter_model.safetensors"
    if desk.draws.random() < 0.5:
        with _damaged(weights):
            desk.said_what(desk.client.post(f"/v1/adapters/{desk.adapter}/promote", json={}), {409, 422})
    else:
        desk.client.post(f"/v1/adapters/{desk.adapter}/promote", json={}).raise_for_status()
        try:
            with _damaged(weights, gone=desk.draws.random() < 0.5):
                desk.said_what(desk.analyse(desk.picture()), {422, 503})
            if desk.took_or_said(desk.analyse(desk.picture()))["models"]["vlm"]["adapter"] != desk.adapter:
                raise FaultHidden("the mended adapter does not answer")
        finally:
            desk.client.post("/v1/adapters/rollback", json={}).raise_for_status()
    active = adapters.active(db, "vlm-adapter", vlm.weights_sha256)
    if active is not None or desk.took_or_said(desk.analyse(desk.picture()))["models"]["vlm"]["adapter"]:
        raise FaultHidden("an adapter answers that was not promoted")


@contextmanager
def _damaged(file: Path, gone: bool = False) -> Iterator[None]:
    """The file cut to its half, or gone; afterwards it is as it was."""
    whole = file.read_bytes()
    if gone:
        file.unlink()
    else:
        file.write_bytes(whole[: len(whole) // 2])
    try:
        yield
    finally:
        file.write_bytes(whole)


def killed_run(desk: Promises) -> None:
    """The process of a training run is killed."""
    answer = desk.client.post("/v1/training/runs", json={"epochs": 1})
    if answer.status_code != 202:
        raise FaultHidden(f"no run starts: {answer.text}")
    run, until = answer.json(), time.monotonic() + RUN_SECONDS
    time.sleep(desk.draws.uniform(0, 8))
    while (process := _process_of(run["id"])) is None:
        if time.monotonic() > until:
            raise FaultHidden("a run has no process")
        time.sleep(0.1)
    process.kill()
    while time.monotonic() < until:
        run = desk.client.get(f"/v1/training/runs/{run['id']}").json()
        if run["status"] == "failed" and run["error"]:
            return
        time.sleep(0.2)
    raise FaultHidden(f"a killed run is called {run['status']}")


def _process_of(run_id: str) -> psutil.Process | None:
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it may end while it is looked at
            if run_id in " ".join(child.cmdline()):
                return child
    return None


KINDS: Mapping[str, Callable[[Promises], None]] = {
    kind.__name__.replace("_", " "): kind
    for kind in (
        broken_picture,
        cut_upload,
        cut_answer,
        failing_model,
        full_disk,
        locked_database,
        nonsense_correction,
        stale_correction,
        lost_answer,
        lost_picture,
        damaged_adapter,
        killed_run,
    )
}
