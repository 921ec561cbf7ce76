"""Webhooks: another system is told by HTTP when a run has ended, a candidate is ready, or the scans have drifted.

Promised is *at least once*, to a receiver that answers with 2xx within `webhook_events.ATTEMPTS` attempts over three
quarters of an hour. Each event stands in the database from when it is found until it is delivered or given up, so a
server that ends, however it does, loses none: the next one goes on, unless that is more than a week later. What was
answered and not yet noted when a server died is sent again with the same `id`, by which a receiver drops it. Nothing is
promised about the order.

A thread of the server's own looks for events and sends them: no request and no run waits for it or fails by it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import threading
import time
from datetime import UTC, date, datetime, timedelta
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from xray_app.settings import Settings
from xray_app.store import webhook_events
from xray_app.store.database import Database
from xray_app.store.insights import daily_sums, drift
from xray_app.store.webhook_events import Event

logger = logging.getLogger(__name__)

EVERY_SECONDS = 10.0
DRIFT_EVERY_SECONDS = 3600.0
"""A look sums up the days that have changed, as the Insights tab does."""
SECONDS = 10.0
"""An attempt may take, from looking up the name to the answer's headers."""
LONGEST_PROBLEM = 200
SIGNATURE = "X-Hub-Signature-256"
"""As GitHub, and many after it, names and writes it: `sha256=` and the HMAC of the body in hexadecimal digits."""


class Webhook:
    """Where events are sent."""

    def __init__(self, url: SecretStr, secret: SecretStr | None, seconds: float = SECONDS) -> None:
        """
        Args:
            url: https, or http to this machine; secret, because many receivers are known by their path alone.
            secret: signs each body; None signs none.
            seconds: an attempt may take.
        """
        self._url = url
        self._secret = secret
        self._seconds = seconds
        parts = urlsplit(url.get_secret_value())
        self._secure = parts.scheme == "https"
        self.name = f"{parts.scheme}://{parts.netloc}"

    def send(self, body: str) -> str | None:
        """Posts a body once. Returns None where it was taken, else what went wrong, in words; never raises."""
        content = body.encode()
        headers = {"Content-Type": "application/json", "User-Agent": "xray-screening-desk"}
        if self._secret is not None:
            headers[SIGNATURE] = signature(content, self._secret)
        try:
            status = asyncio.run(self._post(content, headers))
        except TimeoutError:
            return f"it did not answer within {self._seconds:g} seconds"
        except (httpx.HTTPError, OSError) as error:
            said = "".join(letter for letter in str(error) if letter.isprintable())
            return f"{type(error).__name__} {said[:LONGEST_PROBLEM]}".strip()
        except Exception as error:  # noqa: BLE001  # or the event would be tried for ever
            return type(error).__name__  # its words may hold the address
        if 200 <= status < 300:
            return None
        return f"it answered {status}" + (", and redirects are not followed" if 300 <= status < 400 else "")

    async def _post(self, content: bytes, headers: dict[str, str]) -> int:
        # A proxy of the environment is for what leaves this machine.
        client = httpx.AsyncClient(follow_redirects=False, timeout=self._seconds, trust_env=self._secure)
        async with asyncio.timeout(self._seconds), client:
            posted = client.stream("POST", self._url.get_secret_value(), content=content, headers=headers)
            async with posted as response:  # whatever its body is, it is not read
                return response.status_code


def signature(content: bytes, secret: SecretStr) -> str:
    """What a receiver that knows the secret compares with the header, in constant time."""
    return "sha256=" + hmac.new(secret.get_secret_value().encode(), content, hashlib.sha256).hexdigest()


def keep_telling(
    db: Database, settings: Settings, every: float = EVERY_SECONDS, stop: threading.Event | None = None
) -> threading.Thread | None:
    """Tells what happens from a thread, for as long as the server lives; None where no webhook is set."""
    if settings.webhook_url is None:
        return None
    hook = Webhook(settings.webhook_url, settings.webhook_secret)
    ended = stop or threading.Event()

    def tell() -> None:
        look_again = 0.0
        while not ended.is_set():
            try:
                if time.monotonic() >= look_again:
                    look_again = time.monotonic() + DRIFT_EVERY_SECONDS
                    flag_drift(db, datetime.now(UTC))
                webhook_events.collect(db, datetime.now(UTC))
                deliver(db, hook)
            except Exception:  # a busy or full disk may recover
                logger.exception("events for the webhook")
            ended.wait(every)

    thread = threading.Thread(target=tell, name="webhook", daemon=True)
    thread.start()
    return thread


def deliver(db: Database, hook: Webhook) -> None:
    """Sends what is due; what fails for the last time is given up and logged."""
    while (delivery := webhook_events.next_due(db, datetime.now(UTC))) is not None:
        problem = hook.send(delivery.body)
        if problem is not None and delivery.attempt < webhook_events.ATTEMPTS:
            continue
        webhook_events.settle(db, delivery.id, datetime.now(UTC))
        if problem is not None:
            logger.warning(
                "The webhook at %s was not told of %s (id %s): %s. It is given up after %d attempts. See that the "
                "address in XRAY_WEBHOOK_URL is right, can be reached from here and answers a POST with 2xx.",
                hook.name,
                json.loads(delivery.body)["type"],
                delivery.id,
                problem,
                delivery.attempt,
            )


def flag_drift(db: Database, now: datetime) -> None:
    """Enters an event for the site and for each scanner whose newest scans have changed as the Insights tab says.

    Once a calendar week for each, for as long as it lasts.
    """
    today = now.date()
    recent = daily_sums.read(db, today - timedelta(days=drift.RECENT_DAYS - 1), today)
    scanners = sorted({scanner for _, scanner, _, _ in recent if scanner})
    found = [event for scanner in (None, *scanners) if (event := _drifted(db, today, scanner, now)) is not None]
    webhook_events.enter(db, found, now)


def _drifted(db: Database, today: date, scanner: str | None, now: datetime) -> Event | None:
    alarms = drift.read(db, today, scanner).alarms
    if not alarms:
        return None
    year, week, _ = today.isocalendar()
    subject = json.dumps([year, week, scanner])
    words = "; ".join(f"{one.name} was {one.before}, is {one.now}" for one in alarms[:3])
    facts = {"scanner": scanner, "validation_withdrawn": False, "reason": f"The scans do not look as before: {words}."}
    return Event("drift.flagged", subject, now, facts)
