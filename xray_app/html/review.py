"""The parts of Review that only show something: versions side by side, counts, agreement. All values are escaped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import Any

from xray_app.correction.agreement import PairAgreement
from xray_app.correction.draft import version_of
from xray_app.correction.merging import Version
from xray_app.correction.revision import same_box
from xray_app.html.annotate import ago
from xray_app.html.box_labels import LabelPlace, label_places
from xray_app.html.panels import changes, when
from xray_app.store.reviews import Review, Waiting
from xray_app.types import Analysis, Box, Correction

MARKS = {"added": "+ ", "changed": "~ ", "removed": "× ", "same": ""}
LEGEND = (
    '<p class="diff-legend">Against what stood before: <b class="added">+ drawn</b>'
    '<b class="changed">~ moved or relabelled</b><b class="removed">× deleted</b></p>'
)
NO_CLASSES_SHOWN = 12


def nothing_waits(required: bool, own: int) -> str:
    """Why there is nothing to review."""
    if not required:
        words = (
            "Review is off (XRAY_REVIEW=off): what somebody saves is accepted at once. What lowers another’s finding "
        )
        words += "waits here."
    elif own:
        words = f"{own} of your own {'waits' if own == 1 else 'wait'} for somebody else; nobody reviews their own."
    else:
        words = "Corrections that somebody else saves appear here."
    return f'<div class="review-empty"><strong>Nothing to review</strong>{words}</div>'


def waiting_list(waiting: Sequence[Waiting], current: str | None) -> dict[str, Any]:
    """The value of the list on the left, the longest waiting first."""
    return {
        "current": current,
        "empty": "Nothing waits for you.",
        "items": [
            {
                "id": one.correction.analysis_id,
                "title": one.analysis.scan.filename,
                "level": one.bag.over(one.analysis).level,
                "line": changes(one.correction),
                "note": f"{one.correction.author}, {ago(one.correction.created_at)}",
            }
            for one in waiting
        ],
    }


def versions(analysis: Analysis, proposed: Correction, earlier: Correction | None) -> str:
    """The prediction, the revision before where there is one, and the one to review: pictures, then counts."""
    prediction, now = version_of(analysis, None), version_of(analysis, proposed)
    before = version_of(analysis, earlier)
    shown: list[tuple[str, str, Version, Version | None]] = [
        ("Prediction", "what the models said, untouched", prediction, None)
    ]
    if earlier is not None:
        by = f"{earlier.author}, {when(earlier.created_at)}, {earlier.status}"
        shown.append((f"Revision {earlier.revision}", by, before, prediction))
    by = f"{proposed.author}, {when(proposed.created_at)}"
    shown.append((f"Revision {proposed.revision}", by, now, before))
    figures = "".join(
        _figure(analysis, title, by, version, against, proposed=version is now) for title, by, version, against in shown
    )
    return f'<div class="versions">{figures}</div>{LEGEND}{_counts([(t, v) for t, _, v, _ in shown])}'


def _figure(
    analysis: Analysis, title: str, by: str, version: Version, against: Version | None, *, proposed: bool
) -> str:
    scan = analysis.scan
    boxes = [(box, "same") for box in version.boxes]
    if against is not None:
        old = {box.id: box for box in against.boxes}
        here = {box.id for box in version.boxes}
        looked = version.looked_for
        boxes = [(box, _kind(box, old)) for box in version.boxes]
        boxes += [
            (box, "removed") for box in against.boxes if box.id not in here and (looked is None or box.label in looked)
        ]
    words = [(box, f"{MARKS[kind]}{box.label}") for box, kind in boxes]
    places = label_places(words, (0, 0, scan.width, scan.height), max(scan.width, scan.height) / 26)
    frames = "".join(_frame(box, kind) for box, kind in boxes)
    labels = "".join(_text(box, kind, place) for (box, kind), place in zip(boxes, places, strict=True))
    address = f"../v1/scans/{escape(scan.id, quote=True)}/image"
    return (
        f'<figure class="version{" proposed" if proposed else ""}"><figcaption><b>{escape(title)}</b>'
        f"<span>{escape(by)}</span></figcaption>"
        f'<svg viewBox="0 0 {scan.width} {scan.height}" role="img" aria-label="{escape(title)}: '
        f'{escape(_said(boxes))}"><image href="{address}" width="{scan.width}" height="{scan.height}" '
        f'preserveAspectRatio="none"/>{frames}{labels}</svg></figure>'
    )


def _kind(box: Box, before: dict[str, Box]) -> str:
    if box.id not in before:
        return "added"
    return "same" if same_box(before[box.id], box) else "changed"


def _frame(box: Box, kind: str) -> str:
    x0, y0, x1, y1 = box.xyxy
    frame = f'x="{x0:.1f}" y="{y0:.1f}" width="{x1 - x0:.1f}" height="{y1 - y0:.1f}"'
    return f'<g class="{kind}" data-box="{escape(box.id, quote=True)}"><rect class="halo" {frame}/><rect {frame}/></g>'


def _text(box: Box, kind: str, place: LabelPlace) -> str:
    return (
        f'<g class="{kind}"><text x="{place.left:.1f}" y="{place.baseline:.1f}" font-size="{place.size:.1f}">'
        f"{MARKS[kind]}{escape(box.label)}</text></g>"
    )


def _said(boxes: Sequence[tuple[Box, str]]) -> str:
    return ", ".join(f"{box.label} {kind}" if kind != "same" else box.label for box, kind in boxes) or "no boxes"


def _counts(shown: Sequence[tuple[str, Version]]) -> str:
    listed = [Counter({item.label: item.count for item in version.items}) for _, version in shown]
    drawn = [Counter(box.label for box in version.boxes) for _, version in shown]
    threats = {item.label for _, version in shown for item in version.items if item.threat}
    threats |= {box.label for _, version in shown for box in version.boxes if box.threat}
    labels = dict.fromkeys(label for counts in (*listed, *drawn) for label in counts)
    head = "".join(f"<th>{escape(title)}</th>" for title, _ in shown)
    rows = []
    for label in sorted(labels, key=lambda one: one not in threats):
        cells = []
        for place, (_, version) in enumerate(shown):
            known = version.looked_for is None or label in version.looked_for
            count = str(listed[place][label]) if known or listed[place][label] else "not looked for"
            differs = place > 0 and known and listed[place][label] != listed[place - 1][label]
            boxes = drawn[place][label]
            said = f' <span class="quiet">{boxes} {"box" if boxes == 1 else "boxes"}</span>' if boxes else ""
            cells.append(f'<td class="{"differs" if differs else ""}">{"→ " if differs else ""}{count}{said}</td>')
        rows.append(f'<tr class="{"threat" if label in threats else ""}"><td>{escape(label)}</td>{"".join(cells)}</tr>')
    body = "".join(rows) or f'<tr><td colspan="{len(shown) + 1}">Neither lists any item.</td></tr>'
    return f'<table class="grid counts"><thead><tr><th>item</th>{head}</tr></thead><tbody>{body}</tbody></table>'


def facts(waiting: Waiting, revisions: Sequence[Correction]) -> str:
    """Who proposes what, for which scan, and what a reviewer must know besides."""
    analysis, proposed, stands = waiting.analysis, waiting.correction, waiting.bag.over(waiting.analysis)
    scope = (
        f'<p class="review-note">Looked for {escape(", ".join(proposed.labelled_classes))} only; '
        "the rest is neither taught nor scored.</p>"
        if proposed.labelled_classes is not None
        else ""
    )
    comment = f"<q>{escape(proposed.comment)}</q>" if proposed.comment else ""
    rejected = [one for one in revisions if one.status == "rejected" and one.revision < proposed.revision]
    before = (
        f'<p class="review-note">Revision {rejected[-1].revision} by {escape(rejected[-1].author)} was rejected.</p>'
        if rejected
        else ""
    )
    use = "kept for testing, never trained on" if proposed.split == "holdout" else "trains once accepted"
    return (
        f'<div class="review-facts"><b>{escape(analysis.scan.filename)}</b> '
        f'<span class="quiet">{stands.level}: {escape(stands.reason)} · {use}</span>'
        f"<b>{escape(proposed.author)}</b>, revision {proposed.revision}: {escape(changes(proposed))}"
        f"{comment}{scope}{before}</div>"
    )


def reviews(found: Sequence[Review]) -> str:
    """What was said in earlier reviews."""
    rows = "".join(
        f'<li class="{escape(one.status)}"><b>{escape(one.reviewer)}</b> '
        f"{'took back the review of' if one.status == 'withdrawn' else escape(one.status)} revision {one.revision}"
        f"{f'<q>{escape(one.comment)}</q>' if one.comment else ''}</li>"
        for one in found
    )
    return f'<ol class="history">{rows}</ol>' if rows else ""


def agreement_table(found: Sequence[PairAgreement]) -> str:
    """How far people agree, two at a time."""
    if not found:
        return '<p class="hint">No scan has been corrected by two people yet.</p>'
    parts = []
    for pair in found:
        rows = "".join(
            f"<tr><td>{escape(one.label)}</td><td>{one.both}</td><td>{one.only_first}</td><td>{one.only_second}</td>"
            f"<td>{one.n}</td><td>{_figure_of(one.kappa)}</td></tr>"
            for one in pair.classes[:NO_CLASSES_SHOWN]
        )
        first, second = escape(pair.first), escape(pair.second)
        boxes = (
            f"boxes: {pair.boxes_matched:.0%} matched, mean overlap {_figure_of(pair.mean_iou)}"
            if pair.boxes_matched is not None
            else "no boxes"
        )
        scans = f"{pair.scans} {'scan' if pair.scans == 1 else 'scans'}"
        parts.append(
            f'<h3>{first} and {second}</h3><p class="hint">{scans} · kappa {_figure_of(pair.kappa)} · {boxes}</p>'
            f'<table class="grid"><thead><tr><th>class</th><th>both</th><th>only {first}</th>'
            f"<th>only {second}</th><th>scans</th><th>kappa</th></tr></thead><tbody>{rows}</tbody></table>"
        )
    return (
        '<p class="hint">Kappa: 1 is perfect, 0 is chance. The second person saw what the first had saved, so true '
        f"agreement is at most this; under 30 scans it says little.</p>{''.join(parts)}"
    )


def _figure_of(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
