"""The scan report: one A4 page to print, about one analysis and what people made of it.

A document of its own: the picture is inside, no script, nothing fetched. Every value is escaped here. What does not
fit on the page is left out by number, and the page says how much.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path

from xray_app.correction.revision import standing
from xray_app.correction.statements import BagStanding
from xray_app.html import panels
from xray_app.html.box_labels import label_places
from xray_app.types import Analysis, Box, BoxSource, Correction, Decision, Item, ItemCount, Outcome

# Of everything at once, what still fits on one sheet.
MOST_ITEMS = 10
MOST_EVENTS = 3
MOST_WORDS = 200
MOST_NOTE = 90
MOST_NAME = 64
MOST_LABELS = 80
MOST_LABEL = 20
MOST_REASON = 110
MOST_AUTHOR = 24

FIGURE = (100, 60)
"""Width and greatest height of the picture on paper, in millimetres, as `scan_report.css` has them."""
LABEL = 3
"""Size of the labels on it, in millimetres: 8.5 points."""

STYLE = (Path(__file__).parent / "scan_report.css").read_text(encoding="utf-8")
STYLE_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; img-src data:; style-src 'sha256-{STYLE_DIGEST}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class Reported:
    """What a report is about.

    Attributes:
        analysis: what the models said.
        bag: what the bag stands at.
        analyst: who had the scan analysed.
        picture: the scan as browsers show it, any size.
        media_type: of the picture.
        revisions: all corrections, oldest first.
        decisions: all decisions, oldest first, those taken back included.
        outcomes: what hand searches found, oldest first.
        demonstration: whether a bundled model is serving.
        printed_by: who asked for the report.
        printed_at: when.
    """

    analysis: Analysis
    bag: BagStanding
    analyst: str
    picture: bytes
    media_type: str
    revisions: Sequence[Correction]
    decisions: Sequence[Decision]
    outcomes: Sequence[Outcome]
    demonstration: bool
    printed_by: str
    printed_at: datetime


def document(reported: Reported) -> str:
    """The page, as HTML."""
    analysis = reported.analysis
    valid = standing(reported.revisions)
    items = valid.items if valid else analysis.report.items
    boxes = valid.boxes if valid else analysis.boxes
    source = f"revision {valid.revision} by {_name(valid.author)}, {valid.status}" if valid else "as the models said"
    demo = (
        '<p class="demo">▲ Demonstration model: trained on simulated scans, not validated on any scanner.</p>'
        if reported.demonstration
        else ""
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Scan report · {escape(analysis.scan.filename[:MOST_NAME])}</title><style>{STYLE}</style></head><body>"
        '<p class="how">Print this page, or save it as a PDF: <b>Ctrl P</b>. It is one sheet of A4.</p>'
        f"{_head(reported)}{demo}{_risk(analysis, reported.bag)}"
        f'<div class="main"><div>{_figure(reported, boxes, source)}</div>'
        f"<div><h2>Items</h2>{_items(items)}<p class='small quiet'>{source}</p></div></div>"
        f"{_agreement(analysis)}"
        f"<h2>The VLM’s words</h2><blockquote>{_cut(analysis.report.text, MOST_WORDS) or '(no answer)'}</blockquote>"
        f"{panels.own_level(analysis.report, reported.bag.over(analysis))}"
        f"{_incomplete(analysis)}<h2>What people said</h2>{_events(reported)}<h2>Models</h2>{_models(analysis)}"
        "<p class='small quiet'>[+n]: so many more characters, on the desk.</p>"
        '<div class="sign"><span>name</span><span>date and time</span><span>signature</span></div>'
        "</body></html>"
    )


DRAWN_BY: Mapping[BoxSource, str] = {"model": "", "vlm": " VLM", "human": " ✎"}


def _head(reported: Reported) -> str:
    scan = reported.analysis.scan
    facts = [("bag", scan.bag_id), ("view", scan.view), ("scanner", scan.scanner_id)]
    said = " · ".join(f"{name} {_name(value)}" for name, value in facts if value)
    return (
        f"<header><div><h1>Scan report</h1><p>{_name(scan.filename)}</p>"
        f"<p class='small quiet'>{said}</p></div>"
        f"<p class='small quiet'>analysed {_when(reported.analysis.created_at)} by {_name(reported.analyst)}<br>"
        f"printed {_when(reported.printed_at)} by {_name(reported.printed_by)}<br>"
        f"report {escape(reported.analysis.id)}</p></header>"
    )


def _risk(analysis: Analysis, bag: BagStanding) -> str:
    risk = bag.over(analysis)
    own = panels.models_own(analysis, risk)
    where = "in another view of this bag · " if panels.in_another_view(analysis, bag) else ""
    return (
        f'<div class="risk {risk.level.lower()}">{panels.icon(risk.level, risk.action)}'
        f'<b class="word">{risk.level}</b>'
        f"<span><strong>{_cut(risk.reason, MOST_LABELS)}</strong>Advice: <b>{risk.action}</b> · {where}"
        f"policy {_name(analysis.risk.policy)} · opaque {analysis.opaque_fraction:.1%}</span></div>"
        f"{f'<p>{_cut(own, MOST_REASON)}</p>' if own else ''}"
    )


def _figure(reported: Reported, boxes: Iterable[Box], source: str) -> str:
    width, height = reported.analysis.scan.width, reported.analysis.scan.height
    # Of a tall picture there is paper at both sides, which labels may use.
    across = max(width, height * FIGURE[0] / FIGURE[1])
    beside = (across - width) / 2
    said = [(box, _label(box)) for box in boxes]
    places = label_places(said, (-beside, 0, width + beside, height), across * LABEL / FIGURE[0])
    frames, labels = [], []  # no frame is drawn over a label
    for (box, words), place in zip(said, places, strict=True):
        x0, y0, x1, y1 = box.xyxy
        frame = f'x="{x0:.1f}" y="{y0:.1f}" width="{x1 - x0:.1f}" height="{y1 - y0:.1f}"'
        frames.append(f'<rect class="halo" {frame}/><rect class="{box.status.value}" {frame}/>')
        labels.append(
            f'<text x="{place.left:.1f}" y="{place.baseline:.1f}" font-size="{place.size:.1f}">{escape(words)}</text>'
        )
    data = base64.b64encode(reported.picture).decode()
    return (
        f'<figure><svg viewBox="0 0 {width} {height}" role="img" aria-label="scan with boxes">'
        f'<image width="{width}" height="{height}" preserveAspectRatio="none" '
        f'href="data:{escape(reported.media_type)};base64,{data}"/>{"".join([*frames, *labels])}</svg>'
        f"<figcaption>{width} × {height} pixels. Boxes: {source}. Solid: prohibited, dashed: restricted, "
        "dotted: allowed; VLM: placed by the VLM; ✎ drawn or changed by a person.</figcaption></figure>"
    )


def _label(box: Box) -> str:
    words = ("▲ " if box.threat else "") + box.label[:40]
    words += f" {box.confidence:.0%}" if box.confidence is not None else ""
    return words + DRAWN_BY[box.source]


def _items(items: Sequence[Item]) -> str:
    if not items:
        return "<p>No item.</p>"
    rows = "".join(
        f"<tr{' class=threat' if item.threat else ''}>"
        f"<td>{'▲ ' if item.threat else ''}{_name(item.label, MOST_LABEL)}</td>"
        f'<td class="number">{item.count}</td><td>{item.status.value}</td>'
        f'<td class="number">{"✎" if item.confidence is None else f"{item.confidence:.0%}"}</td></tr>'
        for item in items[:MOST_ITEMS]
    )
    head = "<tr><th>item</th><th>count</th><th>status</th><th>sure</th></tr>"
    return f"<table class='items'>{head}{rows}</table>{_left_out(len(items) - MOST_ITEMS, 'items')}"


def _agreement(analysis: Analysis) -> str:
    agreement = analysis.agreement
    groups = (("both", agreement.both), ("VLM only", agreement.vlm_only), ("detector only", agreement.detector_only))
    rows = "".join(
        f"<tr><td>{name}</td><td>{_cut(', '.join(labels), MOST_LABELS)}</td></tr>" for name, labels in groups if labels
    )
    differ = agreement.vlm_only or agreement.detector_only
    title = "≠ The models disagree" if differ else "= The models agree"
    return f"<h2>{title}</h2>" + (
        f'<table class="agreement">{rows}</table>' if rows else "<p>Neither names any item.</p>"
    )


def _incomplete(analysis: Analysis) -> str:
    if analysis.report.complete:
        return ""
    return f"<p class='small'>▲ {escape(panels.incomplete(analysis.report))}</p>"


def _events(reported: Reported) -> str:
    """Decisions, hand searches and corrections in one table, newest first."""
    dated: list[tuple[datetime, str, str]] = []
    for decision in reported.decisions:
        state = ", taken back at once" if decision.withdrawn_at else ", although HIGH" if decision.flagged else ""
        seconds = f" after {decision.seconds:.0f} s" if decision.seconds is not None else ""
        words = f"decision <b>{escape(decision.decision)}</b>{state}{seconds}{_note(decision.note)}"
        dated.append((decision.created_at, decision.author, words))
    for outcome in reported.outcomes:
        words = f"hand search found <b>{_cut(_counts(outcome.found), MOST_LABELS)}</b>{_note(outcome.note)}"
        dated.append((outcome.created_at, outcome.author, words))
    for one in reported.revisions:
        words = f"correction, revision {one.revision}, {one.status}: {_cut(panels.changes(one), MOST_LABELS)}"
        dated.append((one.created_at, one.author, words + _note(one.comment)))
    if not dated:
        return "<p>Nobody has decided about this scan or corrected it yet.</p>"
    dated.sort(key=lambda event: event[0], reverse=True)
    rows = "".join(
        f"<tr><td class='small'>{_when(moment)}</td><td><b>{_name(author, MOST_AUTHOR)}</b>: {words}</td></tr>"
        for moment, author, words in dated[:MOST_EVENTS]
    )
    return f"<table class='events'>{rows}</table>{_left_out(len(dated) - MOST_EVENTS, 'older entries')}"


def _models(analysis: Analysis) -> str:
    vlm, detector = analysis.models.vlm, analysis.models.detector
    rows = [
        ("VLM", f"{_name(vlm.name)}, {_validated(vlm.validated)}"),
        ("adapter", f"{escape(vlm.adapter)}{_trial(vlm.trial)}" if vlm.adapter else "none: the base model"),
        (
            "detector",
            f"{_name(detector.name)}{_trial(detector.trial)}, {_validated(detector.validated)}, "
            f"{escape(detector.sha256)}",
        ),
        ("taxonomy", escape(analysis.taxonomy_sha256)),
        ("scan", escape(analysis.scan.sha256)),
    ]
    return "<dl>" + "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows) + "</dl>"


def _trial(yes: bool) -> str:
    return ", on trial: not shown to be as good as the model before it" if yes else ""


def _validated(yes: bool) -> str:
    return "validated on this scanner" if yes else "not validated on this scanner"


def _counts(found: Iterable[ItemCount]) -> str:
    return ", ".join(f"{item.count} {item.label}" for item in found) or "nothing"


def _note(note: str | None) -> str:
    return f" <q>{_cut(note, MOST_NOTE)}</q>" if note else ""


def _name(text: str, most: int = MOST_NAME) -> str:
    """Somebody else's words within ours: escaped, and without a say in which way the line runs."""
    return f"<bdi>{_cut(text, most)}</bdi>"


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return escape(text)
    return f"{escape(text[:most])}… <i>[+{len(text) - most:,}]</i>"


def _left_out(n: int, what: str) -> str:
    return f"<p class='small quiet'>and {n} more {what}, on the desk</p>" if n > 0 else ""


def _when(moment: datetime) -> str:
    return moment.astimezone().strftime("%d %b %Y, %H:%M %Z")
