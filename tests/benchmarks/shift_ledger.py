"""What three people were told on their screens, and whether the database says the same."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import select

from xray_app.store import analyses, corrections, decisions
from xray_app.store.database import Database
from xray_app.store.tables import AnalysisRow, CorrectionReviewRow, CorrectionRow, DecisionRow, QueueSkipRow

Kind = Literal["upload", "decision", "undo", "correction", "skip", "review"]
Fate = Literal["stored", "refused", "unknown"]
"""What the screen said: it is stored, it is not (with the reason), or nothing, as the desk was away."""

Content = tuple[tuple[tuple[str, int], ...], tuple[tuple[str, tuple[float, ...]], ...]]
"""Items with counts, and boxes by label and coordinates: what a correction says."""


@dataclass
class Act:
    """One thing somebody did, and what they were told of it."""

    who: str
    kind: Kind
    about: str  # the analysis's id; an upload's file name
    what: Any = None  # a decision's word, a correction's content, a review's word
    fate: Fate = "unknown"
    revision: int | None = None


@dataclass
class Hold:
    """A time in which somebody surely held a claim."""

    who: str
    about: str
    since: float
    until: float


@dataclass
class Ledger:
    """All of it. `faults` are what the screen alone gives away: an edit that was gone, an act without an answer."""

    acts: list[Act] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)

    def did(self, who: str, kind: Kind, about: str, what: Any = None) -> Act:
        """A new act, of which nothing is known yet."""
        act = Act(who, kind, about, what)
        self.acts.append(act)
        return act

    def held(self, who: str, about: str, since: float) -> None:
        """Somebody held a claim from `since` until now."""
        self.holds.append(Hold(who, about, since, time.monotonic()))


def content(items: Iterable[Any], boxes: Iterable[Any]) -> Content:
    """Of items and boxes as dicts, in an order of its own."""
    drawn = ((box["label"], tuple(round(float(side), 2) for side in box["xyxy"])) for box in boxes)
    return tuple(sorted((item["label"], item["count"]) for item in items)), tuple(sorted(drawn))


def compare(ledger: Ledger, db: Database) -> dict[str, list[str]]:
    """What is lost, what is doubled (or was never done), and where two people held one scan; all empty where right."""
    lost: list[str] = []
    doubled: list[str] = []
    stored = _stored(db)
    for kind, rows in stored.items():
        told = [act for act in ledger.acts if act.kind == kind]
        sure = Counter(_key(act) for act in told if act.fate == "stored")
        if kind == "skip":
            sure = Counter(set(sure))  # skipped again, the newer reason takes the place of the older
        # The desk went away before it answered: once, or not at all.
        perhaps = Counter(_key(act) for act in told if act.fate == "unknown")
        for key in {*sure, *rows}:
            found = rows[key]
            lost += [f"{kind} {key}: {sure[key]} told, {found} stored"] * max(0, sure[key] - found)
            doubled += [f"{kind} {key}: {sure[key]} told, {found} stored"] * max(0, found - sure[key] - perhaps[key])
    lost += [
        f"correction of {act.about}: revision {act.revision} is another"
        for act in ledger.acts
        if act.kind == "correction" and act.fate == "stored" and not _is_revision(db, act)
    ]
    shared = [
        f"{one.who} and {other.who} both held {one.about}"
        for place, one in enumerate(ledger.holds)
        for other in ledger.holds[place + 1 :]
        if one.about == other.about and one.who != other.who and one.since < other.until and other.since < one.until
    ]
    return {"lost": lost, "doubled": doubled, "held_by_two": shared}


def _key(act: Act) -> tuple[Any, ...]:
    return (act.who, act.about, act.what)


def _is_revision(db: Database, act: Act) -> bool:
    of_it = {one.revision: one for one in corrections.history(db, act.about)}
    found = of_it.get(act.revision or 0)
    return found is not None and found.author == act.who and _said(found) == act.what


def _said(correction: Any) -> Content:
    shown = correction.model_dump(mode="json")
    return content(shown["items"], shown["boxes"])


def _stored(db: Database) -> dict[Kind, Counter[tuple[Any, ...]]]:
    """Everything in the database, by kind, as an act would name it."""
    found: dict[Kind, Counter[tuple[Any, ...]]] = {
        kind: Counter() for kind in ("upload", "decision", "undo", "correction", "skip", "review")
    }
    with db.read() as session:
        analysed = session.execute(select(AnalysisRow.id, AnalysisRow.created_by)).all()
        decided = set(session.scalars(select(DecisionRow.analysis_id)))
        corrected = set(session.scalars(select(CorrectionRow.analysis_id)))
        for skip in session.scalars(select(QueueSkipRow)):
            found["skip"][skip.username, skip.analysis_id, None] += 1
        query = select(CorrectionReviewRow, CorrectionRow).join(
            CorrectionRow, CorrectionRow.id == CorrectionReviewRow.correction_id
        )
        for review, correction in session.execute(query):
            if review.status != "withdrawn":
                found["review"][review.reviewer, correction.analysis_id, (correction.revision, review.status)] += 1
    for id, author in analysed:
        found["upload"][author, analyses.get(db, id).scan.filename, None] += 1
    for id in decided:
        for decision in decisions.history(db, id):
            found["decision"][decision.author, id, decision.decision] += 1
            if decision.withdrawn_at is not None:
                found["undo"][decision.author, id, decision.decision] += 1
    for id in corrected:
        for correction in corrections.history(db, id):
            found["correction"][correction.author, id, _said(correction)] += 1
    return found
