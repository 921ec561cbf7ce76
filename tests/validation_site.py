"""A site on its way to a validation: a threshold, a campaign whose bags two people label, test images, a signature."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.operating_site import Site, scan
from xray_app.operating import OperatingPointIn, set_operating_point
from xray_app.store import corrections
from xray_app.store.tip import Truth
from xray_app.types import Analysis, Correction, CorrectionIn, ItemCount
from xray_app.validation import LEAST_BAGS

THREAT_REDS = range(150, 250)
PLAIN_REDS = range(190, 250)
CLEAR_REDS = range(0, 90)


class ValidatingSite(Site):
    """A site whose models tell threats from clear bags, but for threats as pale as a clear one."""

    @classmethod
    def begin(cls, folder: Path) -> Path:
        """Makes such a site, with a threshold that finds 95 % of threats on scanner A; returns its folder."""
        site = cls(folder)
        for n in range(62):
            site.told(site.taken(THREAT_REDS[n % 100]), "eye", "knife")
            site.told(site.taken(CLEAR_REDS[n % 90]), "eye")
        set_operating_point(site.services, OperatingPointIn(scanner_id="A", recall=0.95), "boss", "first evidence")
        site.services.db.close()
        return folder

    def change(self, **settings: Any) -> None:
        super().change(**settings)
        if hasattr(self, "client"):
            self.client.app.state.services = self.services  # type: ignore[attr-defined]

    def send(self, path: str, **sent: Any) -> Any:
        return self.client.post(f"/v1{path}", json=sent, headers=self.boss)

    def open(self, test_share: float = 0.0) -> dict[str, Any]:
        end = datetime.now(UTC) + timedelta(days=30)
        answer = self.send(
            "/campaigns", scanner_id="A", bags=LEAST_BAGS, test_share=test_share,
            ends_at=end.isoformat(), reason="ready",
        )  # fmt: skip
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def status(self, campaign: dict[str, Any]) -> dict[str, Any]:
        return dict(self.client.get(f"/v1/campaigns/{campaign['id']}", headers=self.boss).json())

    def test_image(self, red: int, label: str | None = "knife") -> None:
        self.taken(red, truth=Truth(label=label, xyxy=(1.0, 1.0, 9.0, 9.0) if label else None))

    def taken(self, red: int, scanner: str = "A", held_out: bool = True, truth: Truth | None = None) -> Analysis:
        """As `bag`, without the web."""
        number, intake = self.number(held_out), self.services.intake
        (one,) = intake.read(scan(red, number), "a.png", bag_id=f"bag{number}", scanner_id=scanner)
        (analysis,) = intake.take_in([one], "eye", drawn=self.services.test_images.draw_control, truth=truth)
        return analysis

    def told(self, analysis: Analysis, by: str, *labels: str) -> Correction:
        """As `tell`, without the web."""
        said = CorrectionIn(items=tuple(ItemCount(label=label, count=1) for label in labels), boxes=())
        return corrections.add(self.services.db, analysis.id, said, by, self.services.taxonomy, False)

    def review(self, correction: dict[str, Any]) -> int:
        path = f"/v1/corrections/{correction['id']}/review"
        return self.client.post(path, json={"status": "accepted"}, headers=self.second).status_code

    def search(self, analysis: dict[str, Any], label: str) -> None:
        path = f"/v1/analyses/{analysis['id']}/outcome"
        found = {"found": [{"label": label, "count": 1}]}
        assert self.client.post(path, json=found, headers=self.eye).status_code == 201

    def gather(self, missed: int = 0) -> dict[str, Any]:
        """A campaign of 200 bags, 60 of them test images with a threat, of which so many look clear."""
        campaign = self.open()
        self.gather_into_open_campaign(missed)
        return campaign

    def gather_into_open_campaign(self, missed: int = 0) -> None:
        """As `gather`, where one is open."""
        for n in range(60):
            self.test_image(PLAIN_REDS[n % len(PLAIN_REDS)] if n >= missed else 0)
        for n in range(LEAST_BAGS - 60):
            one = self.told(self.taken(CLEAR_REDS[n % 90], held_out=n % 2 == 0), "eye")
            assert one.status == "pending", "one person's word is not enough in a campaign"
            corrections.review(self.services.db, one.id, "accepted", None, "second")

    def sign(self) -> dict[str, Any]:
        """Signs the newest campaign."""
        (newest, *_) = self.client.get("/v1/campaigns", headers=self.boss).json()
        answer = self.send(f"/campaigns/{newest['id']}/sign", reason="all labelled")
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def advice(self, scanner: str = "A", red: int = 5) -> tuple[str, str]:
        risk = self.bag(red, scanner)["risk"]
        return risk["action"], risk["reason"]

    def validations(self) -> dict[str, Any]:
        return dict(self.client.get("/v1/validations", headers=self.boss).json())
