"""The log's lines: JSON that a collector can read whatever was logged, and which request each is about."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from xray_app.logs import REQUEST_ID, WELL_FORMED_ID, formatter
from xray_app.settings import ROOT


def line(message: object, *args: object, form: Any = "json", exc_info: Any = None) -> str:
    record = logging.LogRecord("xray_app.x", logging.WARNING, __file__, 1, message, args, exc_info)
    record.created = datetime(2026, 7, 31, 12, 0, 0, 250_000, UTC).timestamp()
    return formatter(form).format(record)


def test_a_line_is_one_object_and_times_are_utc() -> None:
    assert json.loads(line("scan %s was refused", 7)) == {
        "time": "2026-07-31T12:00:00.250+00:00",
        "level": "WARNING",
        "logger": "xray_app.x",
        "message": "scan 7 was refused",
    }


@pytest.mark.parametrize("hostile", ['a\nb\r\n{"level": "x"}', "\x00\x1b[31m\x85\u2028", "\ud800", '"}\\'])
def test_nothing_that_is_logged_ends_the_line(hostile: str) -> None:
    said = line("bag %s", hostile)
    assert said.isascii()
    assert said.isprintable()
    assert json.loads(said)["message"] == f"bag {hostile}"


def test_an_exception_is_in_the_same_line() -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        said = json.loads(line("failed", exc_info=sys.exc_info()))
    assert said["message"] == "failed"
    assert said["exception"].startswith("Traceback")
    assert said["exception"].endswith("ValueError: first\nsecond")


def test_a_message_that_does_not_fit_its_values_is_kept() -> None:
    said = json.loads(line("%d scans of %s", "x"))["message"]
    assert "%d scans of %s" in said
    assert "'x'" in said


def test_both_forms_name_the_request_where_there_is_one() -> None:
    assert "[" not in line("refused", form="text")
    before = REQUEST_ID.set("abc-1")
    try:
        assert json.loads(line("refused"))["request_id"] == "abc-1"
        assert line("refused", form="text").endswith("WARNING xray_app.x: refused [abc-1]")
    finally:
        REQUEST_ID.reset(before)


@pytest.mark.parametrize(
    ("sent", "taken"),
    [
        ("a", True),
        ("7f3c.A_b-9", True),
        ("a" * 64, True),
        ("a" * 65, False),
        ("", False),
        ("a b", False),
        ("a\n", False),
        ("a\r\nX-Evil: 1", False),
        ("a\x00", False),
        ("ä", False),
        ("٣", False),
        ('a"', False),
    ],
)
def test_which_ids_are_well_formed(sent: str, taken: bool) -> None:
    assert bool(WELL_FORMED_ID.fullmatch(sent)) == taken


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_python_says_to_stderr_itself_is_json_too(form: str) -> None:
    code = f"""
import logging, threading, warnings
from xray_app import logs
logs.begin({form!r})
library = logging.getLogger("library")
library.addHandler(logging.StreamHandler())
library.propagate = False
logs.adopt_libraries({form!r})
library.warning("by its own handler")
logging.getLogger("xray_app").info("begun")
logging.getLogger("somebody.else").info("of no interest")
warnings.warn("old\\nway")
thread = threading.Thread(target=lambda: 1 / 0, name="watch")
thread.start()
thread.join()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    if form == "text":
        assert done.stderr.startswith("by its own handler\n")
        assert "INFO xray_app: begun\n" in done.stderr
        assert "\nZeroDivisionError" in done.stderr
        return
    said = [json.loads(one) for one in done.stderr.splitlines()]
    assert [(one["logger"], one["level"]) for one in said] == [
        ("library", "WARNING"),
        ("xray_app", "INFO"),
        ("py.warnings", "WARNING"),
        ("xray_app.logs", "ERROR"),
    ]
    assert "old\nway" in said[2]["message"]
    assert "watch" in said[3]["message"]
    assert "ZeroDivisionError" in said[3]["exception"]
