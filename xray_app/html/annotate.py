"""The parts of Annotate that only show something, as HTML or as the queue list's value. All values are escaped."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any
from uuid import uuid4

from xray_app.html import panels
from xray_app.html.panels import changes
from xray_app.store.queue import Claim, Entry, Standing
from xray_app.types import Analysis, Correction

SHOWN_WORDS = 160


def clock(moment: datetime) -> str:
    """A time of today for the screen, in the machine's own zone."""
    return moment.astimezone().strftime("%H:%M")


def nothing_open(standing: Standing, *, done: bool = False) -> str:
    """What the bar says while no scan is open."""
    if standing.waiting == 0:
        words = "Every scan has been looked at. New ones appear here as they are analysed."
    elif done:
        words = "What still waits is at work elsewhere, or you skipped it. Choose one on the left to take it anyway."
    else:
        words = "Take the next scan (T), or choose one on the left. It is yours alone while you work on it."
    return f'<div class="why none"><strong>No scan open</strong><span>{words}</span>{_waiting(standing)}</div>'


def why(entry: Entry, analysis: Analysis, standing: Standing) -> str:
    """Why this scan is worth a person's time, what the models make of it, and how long the queue is."""
    reasons = "".join(f'<span class="reason">{escape(_cut(reason))}</span>' for reason in entry.reasons)
    skipped = "".join(f'<span class="skipped">skipped by {escape(_cut(one))}</span>' for one in entry.skipped)
    level = entry.standing.level
    own = panels.models_own(analysis, entry.standing)
    models = f'<span class="reason">{escape(_cut(own))}</span>' if own else ""
    return (
        f'<div class="why"><b class="level {level.lower()}">{level}</b>'
        f"<strong>Why this scan</strong>{reasons or '<span class=reason>nothing stands out</span>'}{models}{skipped}"
        f"{_waiting(standing)}</div>"
    )


def _waiting(standing: Standing) -> str:
    return f'<span class="waiting" data-waiting="{standing.waiting}">{standing.waiting:,} waiting</span>'


def claim(held: Claim, others_drafts: Sequence[tuple[str, datetime]] = ()) -> str:
    """How long the scan is this person's, and whether somebody else left unsaved work on it."""
    drafts = "".join(
        f'<span class="claim-note">{escape(name)} left an unsaved draft of it at {clock(moment)}</span>'
        for name, moment in others_drafts
    )
    return (
        f'<div class="claim" role="status" data-claim="held">Yours until <b>{clock(held.expires_at)}</b>, '
        f"longer while you work.{drafts}</div>"
    )


def lost(words: str) -> str:
    """The claim is gone: who has it, and what that means for the work on the screen."""
    return (
        f'<div class="claim lost" role="alert" data-claim="lost"><strong>{escape(words)}</strong> Your edits are kept '
        "as a draft. You can still save: nothing is overwritten, but two of you are doing the same work.</div>"
    )


def conflict(newest: Correction, *, from_draft: bool = False) -> str:
    """Somebody saved in between: what happened, and the ways on."""
    begun = "since you began your draft" if from_draft else "while you were editing"
    return (
        f'<div class="conflict" role="alert" data-shown="{uuid4().hex}"><strong>{escape(newest.author)} saved '
        f"revision {newest.revision} "
        f"{begun}.</strong> Nothing was overwritten, and your edits are kept. Theirs: {escape(changes(newest))}."
        "<br>Merge puts both together for you to look at; nothing is saved before you press Save.</div>"
    )


def merged(newest: Correction, clashes: Sequence[str]) -> str:
    """After a merge: what to look at before saving."""
    rows = "".join(f"<li>{escape(clash)}</li>" for clash in clashes)
    where = f"<ul>{rows}</ul>" if rows else " You changed different things, so nothing clashes."
    return (
        f'<div class="conflict merged" role="status"><strong>Your edits are on top of {escape(newest.author)}’s '
        f"revision {newest.revision}.</strong>{where} Look, then save.</div>"
    )


def queue_list(entries: Sequence[Entry], standing: Standing, current: str | None, me: str) -> dict[str, Any]:
    """The value of the list on the left: what comes next, and who is at work on what."""
    return {
        "current": current,
        "empty": "Nothing waits.",
        "items": [
            {
                "id": entry.analysis_id,
                "title": entry.filename,
                "level": entry.standing.level,
                "line": _cut(entry.reasons[0]) if entry.reasons else "nothing stands out",
                "note": _note(entry, me),
            }
            for entry in entries
        ],
        "at_work": [
            f"{held.username} until {clock(held.expires_at)}" for held in standing.claims if held.username != me
        ],
    }


def _note(entry: Entry, me: str) -> str:
    if entry.claimed_by == me:
        return "yours"
    if entry.claimed_by:
        return f"{entry.claimed_by} is at work"
    return f"skipped by {_cut(entry.skipped[-1])}" if entry.skipped else ""


def _cut(words: str) -> str:
    return words if len(words) <= SHOWN_WORDS else words[: SHOWN_WORDS - 1] + "…"


def ago(moment: datetime) -> str:
    """How long ago, in the coarsest unit that says something."""
    minutes = max(0, int((datetime.now(UTC) - moment).total_seconds() // 60))
    if minutes < 60:
        return f"{minutes} min ago"
    return f"{minutes // 60} h ago" if minutes < 48 * 60 else f"{minutes // 1440} days ago"
