"""How quick search, the annotators' queue and insights are over many analyses.

    python -m tests.benchmarks.gallery [--rows 100000] [--tiny]

Fills a database of its own in a temporary folder (or `--url`, an empty database) with analyses over 120 days, four
scanners and three adapters, with decisions, corrections and outcomes as a busy site has them, then asks for pages
by every filter and for pairs of them, and for the insights, each after a decision was saved, so that nothing is
answered from what was asked before. The last line is one JSON object; times are milliseconds, by the clock and,
with `cpu_`, of this process's own work, which is what SQLite takes on a machine that nobody else keeps busy.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import insert, select

from xray_app.correction.usefulness import reasons_of
from xray_app.store import decisions, queue, search
from xray_app.store.database import Database
from xray_app.store.fact_tables import AppearanceRow, FactsRow, LabelFactRow, StaleDayRow
from xray_app.store.insights import daily_sums, drift, reports
from xray_app.store.insights.reports import Asked
from xray_app.store.search import Filter
from xray_app.store.tables import AnalysisRow, CorrectionRow, DecisionRow, OutcomeRow, QueueRow, ScanRow
from xray_app.taxonomy import load_taxonomy
from xray_app.types import (
    Agreement,
    Analysis,
    Correction,
    DetectorFacts,
    Diff,
    Item,
    ItemChange,
    ModelFacts,
    Outcome,
    Report,
    Risk,
    ScanFacts,
    Timings,
    VlmFacts,
)

SEED = 20_261_101
DAYS = 120
SCANNERS = ("north 1", "north 2", "south 1", "south 2")
ADAPTERS = (None, "a" * 32, "b" * 32)
ANALYSTS = ("ana", "ben", "chi", "dee", "eve")
CHUNK = 2000


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--rows", type=int, default=100_000)
    asked.add_argument("--url", help="an empty database; a fresh SQLite file without it")
    asked.add_argument("--tiny", action="store_true", help="a quick look: 2,000 rows, fewer questions")
    told = asked.parse_args()
    rows, repeats = (2_000, 1) if told.tiny else (told.rows, 5)
    with tempfile.TemporaryDirectory() as folder:
        db = Database.open(told.url or f"sqlite:///{folder}/xray.db", Path(folder))
        now = datetime.now(UTC)
        fill(db, rows, now)
        daily_sums.bring_up_to_date(db)
        times = measure(db, now, repeats)
        db.close()
    print(json.dumps({"rows": rows, **times}))


def fill(db: Database, rows: int, now: datetime) -> None:
    """Stores this many analyses, oldest first, with what follows from them; in bulk."""
    random.seed(SEED)
    labels = [item for item in load_taxonomy().classes if not item.retired]
    items = [
        Item(label=one.name, count=1, status=one.status, threat=one.status == "prohibited", confidence=0.8)
        for one in labels
    ]
    weights = [1 / (place + 1) for place in range(len(items))]
    random.shuffle(weights)
    for start in range(0, rows, CHUNK):
        tables: dict[Any, list[dict[str, Any]]] = {
            table: []
            for table in (
                ScanRow, AnalysisRow, AppearanceRow, FactsRow, LabelFactRow, DecisionRow, CorrectionRow, OutcomeRow,
                QueueRow,
            )
        }  # fmt: skip
        for number in range(start, min(start + CHUNK, rows)):
            moment = now - timedelta(days=DAYS * (1 - number / rows), seconds=60)
            add(tables, number, moment, number / rows, items, weights)
        with db.write() as session:
            for table, new in tables.items():
                if new:
                    session.execute(insert(table), new)
    with db.write() as session:
        days = session.scalars(select(FactsRow.day).distinct()).all()
        session.execute(insert(StaleDayRow), [{"day": day} for day in days])


def add(
    tables: dict[Any, list[dict[str, Any]]],
    number: int,
    moment: datetime,
    age: float,
    items: list[Item],
    weights: list[float],
) -> None:
    """One analysis and its decision, correction and outcome, as rows of their tables."""
    key = f"{number:064x}"
    chosen = {item.label: item for item in random.choices(items, weights, k=random.randint(0, 5))}
    vlm, detector = (
        tuple(item for item in chosen.values() if random.random() < 0.8),
        {label for label in chosen if random.random() < 0.8},
    )
    level = random.choices(("HIGH", "MEDIUM", "LOW"), (12, 28, 60))[0]
    named = {item.label for item in vlm}
    analysis = Analysis(
        id=key,
        created_at=moment,
        scan=ScanFacts(
            id=key, sha256=key, width=900, height=600, filename=f"bag-{number}.png", bag_id=key,
            scanner_id=random.choice(SCANNERS),
        ),
        report=Report(items=vlm, text="Items detected: as listed.", complete=True),
        risk=Risk(level=level, reason="as listed", action="REVIEW", policy="airport"),
        boxes=(),
        agreement=Agreement(
            both=tuple(named & detector), vlm_only=tuple(named - detector), detector_only=tuple(detector - named)
        ),
        opaque_fraction=random.random() * 0.1,
        models=ModelFacts(
            vlm=VlmFacts(name="bundled", adapter=ADAPTERS[int(age * len(ADAPTERS))]),
            detector=DetectorFacts(name="bundled", sha256="d" * 64),
        ),
        taxonomy_sha256="0" * 64,
        timings_ms=Timings(vlm=400, detector=60, total=460),
    )  # fmt: skip
    analyst, decided = random.choice(ANALYSTS), random.random() < 0.95
    decision = random.choices(("CLEAR", "REVIEW", "SEARCH"), (80, 12, 8))[0] if decided else ""
    corrected = random.random() < 0.04
    outcome = random.choice(("found", "nothing")) if decision == "SEARCH" and random.random() < 0.7 else ""
    scan, adapter = analysis.scan, analysis.models.vlm.adapter
    tables[ScanRow].append(
        {"id": key, "media_type": "image/png", "width": 900, "height": 600, "size": 1, "created_at": moment}
    )
    tables[AppearanceRow].append(
        {"scan_id": key, **{name: random.random() for name in ("organic", "mixed", "metal", "brightness")}}
    )
    tables[AnalysisRow].append(
        {
            "id": key, "created_at": moment, "created_by": analyst, "scan_id": key, "bag_id": key, "view": None,
            "scanner_id": scan.scanner_id, "risk_level": level, "action": "REVIEW", "adapter": adapter,
            "taxonomy_sha256": "0" * 64, "document": analysis.model_dump_json(),
        }
    )  # fmt: skip
    tables[FactsRow].append(
        {
            "id": key, "created_at": moment, "day": moment.date(), "analyst": analyst, "scan_id": key, "bag_id": key,
            "scanner_id": scan.scanner_id, "adapter": adapter or "", "risk_level": level,
            "disagree": named != detector, "opaque_fraction": analysis.opaque_fraction, "decision": decision,
            "seconds": random.expovariate(1 / 6) if decided else None, "outcome": outcome,
            "outcome_at": moment + timedelta(minutes=3) if outcome else None,
            "correction": "accepted" if corrected else "",
            "missed": (corrected or outcome == "found") and bool(set(chosen) - named - detector),
        }
    )  # fmt: skip
    for label in chosen:
        tables[LabelFactRow].append(
            {
                "analysis_id": key, "label": label, "created_at": moment, "by_vlm": label in named,
                "by_detector": label in detector, "by_person": corrected, "by_search": outcome == "found",
            }
        )  # fmt: skip
    reasons = reasons_of(analysis)
    tables[QueueRow].append(
        {
            "analysis_id": key, "waiting": not corrected, "score": sum(points for points, _ in reasons.values()),
            "reasons": json.dumps(reasons), "rare_label": None,
        }
    )  # fmt: skip
    if decided:
        tables[DecisionRow].append(
            {
                "id": key, "analysis_id": key, "author": analyst, "created_at": moment, "decision": decision,
                "seconds": 5.0, "note": None,
            }
        )  # fmt: skip
    if corrected:
        correction = Correction(
            id=key, analysis_id=key, revision=1, status="accepted", author=analyst, created_at=moment,
            items=tuple(chosen.values()), boxes=(), labelled_classes=None, comment=None,
            diff=Diff(items=(ItemChange(label="knife", before=0, after=1),)), split="train",
        )  # fmt: skip
        tables[CorrectionRow].append(
            {
                "id": key, "analysis_id": key, "revision": 1, "base_revision": 0, "author": analyst,
                "created_at": moment, "first_status": "accepted", "split": "train", "taxonomy_sha256": "0" * 64,
                "document": correction.model_dump_json(),
            }
        )  # fmt: skip
    if outcome:
        found = Outcome(
            id=key, analysis_id=key, author=analyst, created_at=moment + timedelta(minutes=3),
            found=tuple({"label": label, "count": 1} for label in chosen) if outcome == "found" else (),
        )  # fmt: skip
        tables[OutcomeRow].append(
            {
                "id": key, "analysis_id": key, "author": analyst, "created_at": found.created_at,
                "document": found.model_dump_json(),
            }
        )  # fmt: skip


def measure(db: Database, now: datetime, repeats: int) -> dict[str, float]:
    """Milliseconds of pages, the annotators' queue, insights and saved decisions: by the clock, and of own work."""
    gallery = [timed(ask) for _ in range(repeats) for ask in pages(db, now)]
    listed = [timed(ask) for _ in range(repeats) for ask in queue_pages(db)]
    today = now.date()
    save, shown = [], []
    newest = [one.analysis.id for one in search.page(db, Filter(), 50)[0]]
    for number in range(repeats * 5):
        save.append(timed(lambda one=newest[number % 50]: decisions.add(db, one, "REVIEW", 4.0, None, "ana")))
        asked = Asked(first=today - timedelta(days=(7, 30, 90)[number % 3] - 1), last=today)
        shown.append(timed(lambda asked=asked: everything(db, asked)))
    times: dict[str, float] = {}
    for name, taken in (("gallery", gallery), ("queue", listed), ("insights", shown), ("save", save)):
        for clock, values in (("", [wall for wall, _ in taken]), ("cpu_", [own for _, own in taken])):
            times[f"{name}_{clock}p50_ms"] = round(median(values), 1)
            times[f"{name}_{clock}p95_ms"] = round(sorted(values)[int(0.95 * (len(values) - 1))], 1)
    return times


def pages(db: Database, now: datetime) -> Iterator[Callable[[], object]]:
    """What a person asks for: the page and how many there are, first and later pages, all filters and pairs of them."""
    filters: list[dict[str, Any]] = [
        {"label": "knife"}, {"label": "laptop", "named_by": "search"}, {"risk": "HIGH"}, {"decision": "SEARCH"},
        {"outcome": "found"}, {"disagree": True}, {"corrected": "yes"}, {"corrected": "pending"}, {"analyst": "ana"},
        {"scanner": "north 1"}, {"adapter": "b" * 32}, {"missed": True},
        {"first": (now - timedelta(days=60)).date(), "last": (now - timedelta(days=50)).date()},
    ]  # fmt: skip
    wanted = [Filter()] + [Filter(**one) for one in filters]
    wanted += [Filter(**{**one, **other}) for one, other in combinations(filters, 2)]
    for one in wanted:
        yield lambda one=one: (search.page(db, one), search.count(db, one))
    after = None
    for _ in range(20):
        _, after = search.page(db, Filter(), after=after)
        yield lambda after=after: search.page(db, Filter(risk="LOW"), after=after)


def queue_pages(db: Database) -> Iterator[Callable[[], object]]:
    """What an annotator asks for: pages of the queue and how it stands, and the next scan to work on."""
    after: str | None = None
    for number in range(20):
        yield lambda after=after: (queue.page(db, after=after), queue.standing(db))
        yield lambda number=number: queue.take_next(db, f"annotator {number}")
        _, after = queue.page(db, after=after)


def everything(db: Database, asked: Asked) -> None:
    """All that the Insights tab shows."""
    found = reports.read(db, asked)
    reports.traffic(found)
    reports.decisions(found)
    reports.analysts(found)
    reports.corrections(found)
    reports.corrections_by_adapter(found)
    reports.confusion(found, "items")
    reports.confusion(found, "boxes")
    reports.detection(found, lambda label: label == "knife")
    drift.read(db, asked.last)


def timed(ask: Callable[[], object]) -> tuple[float, float]:
    """By the clock, and of this process's work alone: on a machine that others keep busy the two differ."""
    start, own = time.perf_counter(), time.process_time()
    ask()
    return (time.perf_counter() - start) * 1000, (time.process_time() - own) * 1000


if __name__ == "__main__":
    main()
