"""The form of the desk's log, text or JSON; a line says which request it is about."""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

LogFormat = Literal["text", "json"]

TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
WELL_FORMED_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""What a client may name its request by: nothing that could end a line or a header, or fill a log."""
REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Of the request that is being answered; None outside of one. Threads that answer it have it too."""


class TextLines(logging.Formatter):
    """Lines for people; the request's id stands behind the message."""

    def __init__(self) -> None:
        super().__init__(TEXT)

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        request_id = REQUEST_ID.get()
        return f"{line} [{request_id}]" if request_id else line


class JsonLines(logging.Formatter):
    """One JSON object a line, in ASCII: line ends and control characters of a message are escaped.

    Keys: `time` (ISO 8601, UTC), `level`, `logger`, `message`, and where there is one `request_id` and `exception`.
    """

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
        }
        if request_id := REQUEST_ID.get():
            line["request_id"] = request_id
        trace = self.formatException(record.exc_info) if record.exc_info else record.exc_text
        if found := [part for part in (trace, record.stack_info) if part]:
            line["exception"] = "\n".join(found)
        return json.dumps(line)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001  # logging would print a traceback in many lines instead
        return f"{record.msg} {record.args!r}"


def formatter(form: LogFormat) -> logging.Formatter:
    return JsonLines() if form == "json" else TextLines()


def begin(form: LogFormat) -> None:
    """Says to stderr what is logged: warnings of everybody, and what the desk's own rooms report.

    As JSON, what Python itself would print there (warnings, exceptions that end a thread) is logged too, and there are
    no progress bars. Called before the libraries that draw them are imported; `adopt_libraries` is called after.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(form))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for room in ("xray_app", "training"):
        logging.getLogger(room).setLevel(logging.INFO)
    if form == "json":
        logging.captureWarnings(True)
        threading.excepthook = _log_end_of_thread
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def adopt_libraries(form: LogFormat) -> None:
    """As JSON, libraries imported by now that print by handlers of their own (transformers) log as everybody does."""
    if form != "json":
        return
    for logger in logging.root.manager.loggerDict.values():
        own = [one for one in getattr(logger, "handlers", ()) if type(one) is logging.StreamHandler]
        if isinstance(logger, logging.Logger) and own:
            for handler in own:
                logger.removeHandler(handler)
            logger.propagate = True


def _log_end_of_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is not None and not isinstance(ended.exc_value, SystemExit):
        name = ended.thread.name if ended.thread else "?"
        logging.getLogger(__name__).error("thread %s ended by an error", name, exc_info=ended.exc_value)
