"""What a desk has promised to keep, as somebody noted who asked it."""

from __future__ import annotations

import json
from collections.abc import Container
from pathlib import Path
from random import Random
from typing import Any

import httpx
from sqlalchemy import func, select

from tests.benchmarks.noisy_models import register_noisy
from tests.benchmarks.served import jpeg
from xray_app.services import Services
from xray_app.store import decisions
from xray_app.store.tables import AnalysisRow, CorrectionRow, DecisionRow, TrialRow

TRAINABLE = 6
"""Bags corrected at the start: one in five is held out, and a run needs others."""
SHORTEST = 12
"""Characters of the least that can be called a message."""


class FaultHidden(Exception):
    """The desk hid a fault, or kept something else than it said."""


class Promises:
    """A served desk and what it said.

    Attributes:
        services, client, address: of the desk.
        draws: everything random.
        adapter: the id of one that is not in use.
        analyses: by id, as answered.
        corrections: by analysis, as answered, oldest first.
        decisions: by id, as answered.
        pictures: by scan, as sent.
    """

    def __init__(self, services: Services, client: httpx.Client, address: str, draws: Random, folder: Path) -> None:
        self.services = services
        self.client = client
        self.address = address
        self.draws = draws
        self.analyses: dict[str, Any] = {}
        self.corrections: dict[str, list[Any]] = {}
        self.decisions: dict[str, Any] = {}
        self.pictures: dict[str, bytes] = {}
        self._seed = draws.randrange(10**9)
        self._sent = b""
        self._more: tuple[int, ...] = (0, 0, 0)
        self.adapter = register_noisy(services, folder, "vlm-adapter", 0.01)
        for _ in range(TRAINABLE):
            self.took_or_said(self.correct(self.uncorrected()))

    def picture(self) -> bytes:
        """A scan that nobody has seen."""
        self._seed += 1
        return jpeg(self._seed)

    def uncorrected(self) -> str:
        """The id of an analysis nobody has corrected."""
        for analysis in self.analyses:
            if analysis not in self.corrections:
                return analysis
        return str(self.took_or_said(self.analyse(self.picture()))["id"])

    def analyse(self, picture: bytes, key: str | None = None) -> httpx.Response:
        self._sent = picture
        headers = {"Idempotency-Key": key} if key else {}
        return self.client.post("/v1/analyze", files={"file": ("bag.jpg", picture)}, headers=headers)

    def correct(self, analysis: str, told: dict[str, Any] | None = None) -> httpx.Response:
        sensible = {"items": [{"label": "knife", "count": 1}], "boxes": []}
        body = json.dumps(told or sensible)  # httpx itself would refuse half a character
        headers = {"Content-Type": "application/json"}
        return self.client.post(f"/v1/analyses/{analysis}/corrections", content=body, headers=headers)

    def decide(self, analysis: str) -> httpx.Response:
        return self.client.post(f"/v1/analyses/{analysis}/decision", json={"decision": "SEARCH", "note": "benchmark"})

    def took_or_said(self, answer: httpx.Response, refusals: Container[int] = ()) -> Any:
        """What was answered, noted as promised; a refusal is looked at instead, see `said_what`."""
        if not answer.is_success:
            self.said_what(answer, refusals)
            return None
        told = answer.json()
        if "scan" in told:
            self.analyses[told["id"]] = told
            self.pictures[told["scan"]["id"]] = self._sent
        elif "decision" in told:
            self.decisions[told["id"]] = told
        else:
            self.corrections.setdefault(told["analysis_id"], []).append(told)
        return told

    def said_what(self, answer: httpx.Response, refusals: Container[int]) -> None:
        """Looks whether a refusal is one of these and in the agreed form.

        Raises:
            FaultHidden: it is not.
        """
        try:
            error = answer.json()["error"]
            told = bool(error["code"]) and len(error["message"]) >= SHORTEST
        except (ValueError, KeyError, TypeError):
            told = False
        if answer.status_code not in refusals or not told:
            raise FaultHidden(f"{answer.request.url.path} answered {answer.status_code} {answer.text[:200]!r}")

    def check_counts(self) -> None:
        """Looks whether the database holds as much as was promised, no more and no less.

        Raises:
            FaultHidden: it does not.
        """
        promised = (len(self.analyses), sum(map(len, self.corrections.values())), len(self.decisions))
        more = tuple(kept - told for kept, told in zip(self._kept(), promised, strict=True))
        if more != self._more:
            self._more = more  # told once, not with every fault that follows
            raise FaultHidden(f"more than it told of was kept, or less: {more} analyses, corrections, decisions")

    def _kept(self) -> tuple[int, ...]:
        with self.services.db.read() as session:
            tests = session.scalar(select(func.count()).select_from(TrialRow)) or 0  # test images, not asked for
            rows = (AnalysisRow, CorrectionRow, DecisionRow)
            counts = [session.scalar(select(func.count()).select_from(row)) or 0 for row in rows]
        return (counts[0] - tests, *counts[1:])

    def lost(self) -> list[str]:
        """Addresses, or decisions, of which the desk no longer says what it did."""
        gone = []
        for name, told in self.analyses.items():
            now = self.client.get(path := f"/v1/analyses/{name}").json()
            # What a bag stands at follows what people say of it: here, if anything, that there is a knife.
            stands = now.pop("standing")
            if stands["level"] != "HIGH" if name in self.corrections else stands != told["standing"]:
                gone.append(f"{path} stands at {stands}")
            if now != {key: value for key, value in told.items() if key != "standing"}:
                gone.append(path)
        for name, revisions in self.corrections.items():
            path = f"/v1/analyses/{name}/corrections"
            if self.client.get(path).json() != {"items": revisions, "next": None}:
                gone.append(path)
        pictures = {f"/v1/scans/{name}/image": sent for name, sent in self.pictures.items()}
        gone += [path for path, sent in pictures.items() if self.client.get(path).content != sent]
        for name, told in self.decisions.items():
            kept = [one.model_dump(mode="json") for one in decisions.history(self.services.db, told["analysis_id"])]
            if told not in kept:
                gone.append(f"decision {name}")
        return gone
