"""A site whose models and truth are known: held-out bags, redder where they hold a threat, and what two models see."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from PIL import Image
from sqlalchemy import select

from tests.api.conftest import PASSWORD, FixedDetector, FixedVlm, make_services
from xray_app import auth
from xray_app.analysis import Analyser
from xray_app.api.app import create_app
from xray_app.correction.revision import split_of
from xray_app.detector.base import Detection
from xray_app.errors import Conflict
from xray_app.services import Services
from xray_app.store import operating_points, validations
from xray_app.store.database import Database
from xray_app.store.tables import AnalysisRow
from xray_app.threat_score import Thresholds, thresholds_of
from xray_app.types import Role
from xray_app.vlm.base import Answer

CLEAR = "Items detected: none. Security risk: LOW - no threats detected."


class Seeing(FixedVlm):
    """Says nothing of a knife, but thinks of one the more, the redder a picture is."""

    def answer(self, images: Sequence[Image.Image], instructions: Sequence[str], drafts: object = None) -> list[Answer]:
        return [Answer(CLEAR, True, threats={"knife": redness(image)}) for image in images]


class Hinting(FixedDetector):
    def detect(self, image: Image.Image, threshold: float = 0.05) -> list[Detection]:
        faint = Detection("knife", 0.2 * image.getpixel((5, 5))[2] / 255, (4.0, 5.0, 20.0, 30.0))
        return [faint] if faint.confidence >= threshold else []


def redness(image: Image.Image) -> float:
    return image.getpixel((5, 5))[0] / 255


def scan(red: int, number: int) -> bytes:
    blue = min(max(red + number * 37 % 101 - 50, 0), 255)  # the detector sees about as much, not the same
    image = Image.new("RGB", (64, 48), (red, 200, blue))
    image.putpixel((0, 0), (number % 256, number // 256 % 256, 7))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def _numbers(db: Database) -> list[int]:
    with db.read() as session:
        return [int(bag_id.removeprefix("bag")) for bag_id in session.scalars(select(AnalysisRow.bag_id))]


class Site:
    """A desk with an admin, and held-out bags whose truth somebody has told."""

    def __init__(self, folder: Path) -> None:
        plain = make_services(folder)

        def thresholds(scanner_id: str | None, pair: str) -> Thresholds | None:
            point = operating_points.of_scanner(plain.db, scanner_id, pair, plain.rules.measured_sha256)
            return thresholds_of(point) if point else None

        def validated(scanner_id: str | None, rests_on: str) -> bool:
            return validations.validated(plain.db, scanner_id, rests_on)

        analyser = Analyser(Seeing(), Hinting(), plain.rules, operating_point=thresholds, validated=validated)
        self.services = Services(plain.settings, plain.db, plain.rules, analyser, plain.launch)
        self.change(vlm="site/vlm", detector="site.onnx")
        for name, role in (("boss", Role.ADMIN), ("eye", Role.ANALYST), ("second", Role.ANNOTATOR)):
            with suppress(Conflict):  # a folder that was a site before
                auth.add_user(plain.db, name, PASSWORD, role)
        self.client = TestClient(create_app(self.services))
        self.boss, self.eye, self.second = (self.signed_in(name) for name in ("boss", "eye", "second"))
        self.numbers = itertools.count(1 + max(_numbers(plain.db), default=-1))

    def change(self, **settings: Any) -> None:
        """Another setting from here on; before the first request."""
        self.services = replace(self.services, settings=self.services.settings.model_copy(update=settings))

    def signed_in(self, name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {auth.sign_in(self.services.db, name, PASSWORD).token}"}

    def number(self, held_out: bool) -> int:
        """Of the next bag whose name puts it on this side."""
        wanted = "holdout" if held_out else "train"
        return next(n for n in self.numbers if split_of(f"bag{n}") == wanted)

    def bag(self, red: int, scanner: str = "A", held_out: bool = True) -> dict[str, Any]:
        number = self.number(held_out)
        answer = self.client.post(
            "/v1/analyze",
            files={"file": ("a.png", scan(red, number))},
            data={"bag_id": f"bag{number}", "scanner_id": scanner},
            headers=self.eye,
        )
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def tell(
        self, analysis: dict[str, Any], items: Sequence[str], looked_for: Sequence[str] | None = None
    ) -> dict[str, Any]:
        told: dict[str, Any] = {"items": [{"label": label, "count": 1} for label in items], "boxes": []}
        if looked_for is not None:
            told["labelled_classes"] = list(looked_for)
        path = f"/v1/analyses/{analysis['id']}/corrections"
        answer = self.client.post(path, json=told, headers=self.eye)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def fill(self, threats: int, clear: int, scanner: str = "A") -> None:
        """Threats are red from 120 on, the clear ones up to 140."""
        for n in range(threats):
            self.tell(self.bag(120 + 3 * n, scanner), ["knife"])
        for n in range(clear):
            self.tell(self.bag(4 * n, scanner), [])

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(f"/v1/operating-points{path}", params=query, headers=self.boss).json()

    def post(self, path: str = "", **sent: Any) -> Any:
        return self.client.post(f"/v1/operating-points{path}", json=sent or None, headers=self.boss)
