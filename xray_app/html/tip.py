"""Test images and blind scans as HTML. Every value is escaped here."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from xray_app.html import charts
from xray_app.html.insights import section_of
from xray_app.settings import Settings
from xray_app.store.insights.reports import Asked, Table
from xray_app.store.insights.screeners import EVERYBODY, ScreenerPerformance, tables
from xray_app.store.tip import Result, Tested
from xray_app.types import Analysis, Decision

MOST_SHOWN = 14
HIDDEN_OPINIONS = (
    '<p class="hint">What both models say appears here once you have decided. '
    "You may list and draw what you see first.</p>"
)
NOTE = (
    "From test images alone: a threat projected into a clear bag, or a clear bag as it is. A hit is a threat bag sent "
    "to review or search, a false alarm a clear bag sent there. 95 % intervals (Wilson). d′ is z(hit rate) − z(false-"
    "alarm rate) with the log-linear correction (Hautus 1995), its interval by Gourevitch and Galanter (1967). "
    "Test images never train and count nowhere else."
)
CLASS_NOTE = "d′ of a class is against the false alarms of all of that person’s clear test images."
BLIND_NOTE = (
    "Real bags that were decided before the models’ answer was shown, and the share decided anew once it was; of "
    "those sent to search, in how many the hand search found something. The first decision stays on record."
)
_WORDS: dict[Result, tuple[str, str, str]] = {
    "hit": ("HIT", "good", "This was a test image. You found the threat"),
    "miss": ("MISS", "bad", "This was a test image. There was a threat in this bag"),
    "false alarm": ("FALSE ALARM", "bad", "This was a test image. There was no threat in this bag"),
    "rightly cleared": ("RIGHT", "good", "This was a test image. The bag was clear"),
}
# Shape says it where colour cannot: a ring with a tick, or with a cross.
_TICK, _CROSS = '<path d="M28 52l15 16 29-34"/>', '<path d="M32 32l36 36M68 32l-36 36"/>'


def hidden_banner() -> str:
    """In the place of the risk, before a blind scan is decided."""
    return (
        '<div class="risk blind" role="status" data-level="BLIND"><div class="risk-word">BLIND</div>'
        '<div class="risk-text"><strong>Decide before you see what the models say</strong>'
        "<span>Risk, boxes and items are shown once you have decided. Your first decision stays on record.</span>"
        "</div></div>"
    )


def result_banner(test: Tested, decisions: Sequence[Decision]) -> str:
    """In the place of the risk, once a test image is answered."""
    word, kind, words = _WORDS[test.result]
    what = f": {test.truth.label}, framed in the picture." if test.truth.label else "."
    decided = f"Decided: <b>{escape(decisions[-1].decision)}</b> by {escape(decisions[-1].author)}" if decisions else ""
    shape = f'<circle cx="50" cy="50" r="46"/>{_TICK if kind == "good" else _CROSS}'
    return (
        f'<div class="risk test {kind}" role="status" data-result="{test.result}">'
        f'<svg class="risk-icon" viewBox="0 0 100 100" aria-hidden="true">{shape}</svg>'
        f'<div class="risk-word">{word}</div>'
        f'<div class="risk-text"><strong>{escape(words + what)}</strong><span>{decided}</span></div></div>'
    )


def explained(test: Tested, was_blind: bool, advice: str, decisions: Sequence[Decision]) -> str:
    """An answered test image, beside the way on; whoever went wrong by the desk's own advice is told so."""
    models = ""
    if was_blind:
        models = " The models’ answer was hidden."
    elif test.result in ("miss", "false alarm") and decisions and decisions[-1].decision == advice:
        models = f" The desk advised {escape(advice)} too: a test asks what you see, not what it says."
    return f"<p><strong>Test image: {test.result}.</strong> It counts for nothing else.{models}</p>"


def compared(analysis: Analysis, decision: Decision) -> str:
    """A blind decision beside what the models say, now that it may be seen."""
    same = "as you decided" if decision.decision == analysis.risk.action else f"you decided {decision.decision}"
    return (
        f"<p><strong>The models say {analysis.risk.level}, advice {analysis.risk.action}; {escape(same)}.</strong> "
        f"{escape(analysis.risk.reason)}. Decide anew if the bag is to go another way: both stay on record.</p>"
    )


def page(found: ScreenerPerformance, asked: Asked, settings: Settings) -> str:
    """The section of the insights, with its three tables."""
    by_analyst, by_class, blind = tables(found)
    parts = (
        ("Test images: hits and false alarms", _rates(by_analyst, settings), by_analyst, NOTE),
        ("Test images by threat", _classes(by_class), by_class, CLASS_NOTE),
        ("Decided blind", _blind(blind, settings), blind, BLIND_NOTE),
    )
    drawn = "".join(
        section_of(title, chart, table, asked, note, folder="vigilance") for title, chart, table, note in parts
    )
    return f'<div class="insights" id="vigilance"><h1>Vigilance</h1>{drawn}</div>'


def _rows(table: Table) -> list[dict[str, Any]]:
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def _point(row: dict[str, Any], name: str) -> charts.Point:
    value = row[name]
    return None if value is None else (value, row[f"{name} from"], row[f"{name} to"])


def _rates(table: Table, settings: Settings) -> str:
    rows = _rows(table)
    if not rows:
        share = settings.test_image_share
        return _nothing(
            f"No test image was answered in this period; {share:.0%} of the scans are to be some."
            if share
            else "There are no test images. Set XRAY_TEST_IMAGE_SHARE, to 0.05 say, and now and then one comes up."
        )
    lines: list[tuple[str, int, int, charts.Point]] = []
    cards = []
    one_person = len({row["analyst"] for row in rows}) == 1
    for row in rows:
        if row["seen"] != "all" and row["analyst"] != EVERYBODY and not one_person:
            continue  # the table has them
        name = row["analyst"] if row["seen"] == "all" else f"{row['analyst']}, {row['seen']}"
        lines.append((f"{name}: hits", row["hits"], row["threat bags"], _point(row, "hit rate")))
        lines.append((f"{name}: false alarms", row["false alarms"], row["clear bags"], _point(row, "false-alarm rate")))
        if row["seen"] == "all" and row["d′"] is not None:
            interval = f"{row['d′ from']:.1f} to {row['d′ to']:.1f}"
            n = row["threat bags"] + row["clear bags"]
            cards.append(
                f'<div class="card"><b>{row["d′"]:.1f}</b><span>d′ of {escape(row["analyst"])} ({interval}, n = {n})'
                "</span></div>"
            )
    drawn = charts.intervals(lines[:MOST_SHOWN], "hits and false alarms")
    return drawn + (f'<div class="cards">{"".join(cards[: MOST_SHOWN // 2])}</div>' if cards else "")


def _classes(table: Table) -> str:
    rows = _rows(table)
    if not rows:
        return _nothing("No test image with a threat was answered in this period.")
    several = {row["analyst"] for row in rows} != {rows[0]["analyst"]}
    some = [row for row in rows if row["analyst"] == EVERYBODY] if several else rows
    return charts.intervals(
        [(row["class"], row["hits"], row["threat bags"], _point(row, "hit rate")) for row in some[:MOST_SHOWN]],
        "hits by threat",
    )


def _blind(table: Table, settings: Settings) -> str:
    rows = _rows(table)
    if not rows:
        return _nothing(
            "No bag was decided blind in this period."
            if settings.blind_share
            else "No bags are blind. Set XRAY_BLIND_SHARE, to 0.05 say, to learn what people see without the models."
        )
    lines: list[tuple[str, int, int, charts.Point]] = []
    for row in rows[: MOST_SHOWN // 2]:
        name, anew = row["analyst"], (row["rate"], row["low"], row["high"])
        lines.append((f"{name}: decided anew", row["decided anew"], row["blind decisions"], anew))
        if row["searched by hand"]:
            interval = (row["found rate"], row["found from"], row["found to"])
            lines.append((f"{name}: searched, found", row["something found"], row["searched by hand"], interval))
    return charts.intervals(lines, "blind decisions")


def _nothing(words: str) -> str:
    return f'<p class="nothing-yet">{escape(words)}</p>'
