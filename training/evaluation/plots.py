"""The figures of an evaluation as SVG: plain text, so that no plotting library is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from training.evaluation.bootstrap import Rate

SIDE = 300
LEFT, TOP, RIGHT, BOTTOM = 56, 34, 16, 46
COLOURS = {"vlm": "#b3541e", "detector": "#1f6f8b", "together": "#3a3a3a"}
NAMES = {"vlm": "VLM", "detector": "detector", "together": "both together"}
INK, GRID = "#222222", "#d9d9d9"


def reliability(series: Mapping[str, Sequence[Mapping[str, Any]]], title: str, promised: str, found: str) -> str:
    """What was promised against what came true, a line a model, with the interval of each point.

    Args:
        series: by model (`vlm`, `detector`, `together`), rows with `promised`, `rate`, `rate_ci`, `count`.
        title: above the picture.
        promised, found: names of the axes.
    """
    parts = [*_square(title, promised, found), _line([(0, 0), (1, 1)], GRID, dashed=True)]
    for name, rows in series.items():
        colour = COLOURS[name]
        for row in rows:
            x, low, high = _x(row["promised"]), _y(row["rate_ci"][0]), _y(row["rate_ci"][1])
            parts.append(f'<path d="M{x:.1f} {low:.1f}V{high:.1f}" stroke="{colour}" stroke-opacity=".35"/>')
            # The area of a dot says how much lies behind it.
            radius = min(2 + row["count"] ** 0.5 / 3, 9)
            dot = f'<circle cx="{x:.1f}" cy="{_y(row["rate"]):.1f}" r="{radius:.1f}" fill="{colour}" fill-opacity=".8">'
            parts.append(
                f"{dot}<title>{row['count']}: {row['promised']:.2f} promised, {row['rate']:.2f} true</title></circle>"
            )
        parts.append(_line([(row["promised"], row["rate"]) for row in rows], colour))
    return _svg(LEFT + SIDE + RIGHT, TOP + SIDE + BOTTOM, [*parts, *_legend(series)])


def trade_off(scores: Mapping[str, Mapping[str, Any]], title: str) -> str:
    """Threat-bag recall against false alarms, with the point each threshold was chosen to give."""
    parts = _square(title, "false-alarm rate", "threat-bag recall")
    for name, figures in scores.items():
        parts.append(_line([(x, y) for x, y in figures["curve"]], COLOURS[name]))
        if figures.get("threat_bag_recall") is not None and figures.get("false_alarm_rate") is not None:
            x, y = figures["false_alarm_rate"], figures["threat_bag_recall"]
            parts.append(
                f'<circle cx="{_x(x):.1f}" cy="{_y(y):.1f}" r="5" fill="{COLOURS[name]}">'
                f"<title>{x:.2f}, {y:.2f}</title></circle>"
            )
    return _svg(LEFT + SIDE + RIGHT, TOP + SIDE + BOTTOM, [*parts, *_legend(scores)])


def confusion(matrix: Mapping[str, Any], title: str) -> str:
    """Rows are what is there, columns what it was called, shaded by the share of the row."""
    labels: Sequence[str] = matrix["labels"]
    cell, margin = 16, 128
    top = margin + 22
    parts = [f'<text x="8" y="20" font-weight="bold">{escape(title)}</text>']
    side = len(labels) * cell
    parts.append(f'<rect x="{margin}" y="{top}" width="{side}" height="{side}" fill="#f4f1ee"/>')
    for row, (label, counts) in enumerate(zip(labels, matrix["rows"], strict=True)):
        y, total = top + row * cell, sum(counts)
        parts.append(f'<text x="{margin - 6}" y="{y + 12}" text-anchor="end">{escape(label)}</text>')
        at = f"{margin + row * cell + 12} {top - 6}"
        parts.append(f'<text transform="translate({at}) rotate(-60)">{escape(label)}</text>')
        for column, count in enumerate(counts):
            if not count:
                continue
            share = count / total
            colour = "#1f6f8b" if row == column else "#b3541e"
            parts.append(
                f'<rect x="{margin + column * cell}" y="{y}" width="{cell - 1}" height="{cell - 1}" fill="{colour}" '
                f'fill-opacity="{max(share, 0.08):.3f}"><title>{escape(label)} called {escape(labels[column])}: '
                f"{count:g} of {total:g}</title></rect>"
            )
    return _svg(margin + side + 90, top + side + 12, parts)


def classes(per_class: Mapping[str, Mapping[str, Any]], title: str) -> str:
    """Recall of each class with its interval, precision as a tick, and how many there were."""
    row, margin, width = 18, 150, 320
    rows = [(label, figures) for label, figures in per_class.items() if figures["support"]]
    bottom = TOP + row * len(rows)
    parts = [f'<text x="8" y="20" font-weight="bold">{escape(title)}</text>']
    for tick in range(0, 11, 2):
        x = margin + width * tick / 10
        parts.append(f'<path d="M{x:.1f} {TOP}V{bottom}" stroke="{GRID}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{tick / 10:g}</text>')
    for place, (label, figures) in enumerate(rows):
        y = TOP + row * place
        parts.append(f'<text x="{margin - 8}" y="{y + 13}" text-anchor="end">{escape(label)}</text>')
        size = f'width="{width * figures["recall"]:.1f}" height="{row - 8}"'
        parts.append(f'<rect x="{margin}" y="{y + 4}" {size} fill="#1f6f8b" fill-opacity=".75"/>')
        low, high = (margin + width * end for end in figures["recall_ci"])
        parts.append(f'<path d="M{low:.1f} {y + row / 2}H{high:.1f}" stroke="{INK}"/>')
        if figures["precision"] is not None:
            at = margin + width * figures["precision"]
            parts.append(f'<path d="M{at:.1f} {y + 2}V{y + row - 2}" stroke="#b3541e" stroke-width="3"/>')
        parts.append(f'<text x="{margin + width + 10}" y="{y + 13}">{figures["support"]}</text>')
    note = (
        f'<text x="{margin}" y="{bottom + 34}">bar: recall with interval · tick: precision · right: items there</text>'
    )
    return _svg(margin + width + 60, bottom + 44, [*parts, note])


def growth(series: Mapping[str, Sequence[tuple[int, Rate]]], title: str, amount: str, rate: str) -> str:
    """A rate with its interval against an amount, a line a model.

    Args:
        series: by model (`vlm`, `detector`), points (amount, rate) in ascending order.
        title: above the picture.
        amount, rate: names of the axes.
    """
    most = max((count for points in series.values() for count, _ in points), default=0) or 1
    parts = _square(title, amount, rate, lambda share: f"{share * most:.0f}")
    for name, points in series.items():
        known = [(count / most, one.value, one.ci) for count, one in points if one.value is not None and one.ci]
        for x, y, (low, high) in known:
            whisker = (
                f'<path d="M{_x(x):.1f} {_y(low):.1f}V{_y(high):.1f}" stroke="{COLOURS[name]}" stroke-opacity=".4"/>'
            )
            dot = f'<circle cx="{_x(x):.1f}" cy="{_y(y):.1f}" r="3" fill="{COLOURS[name]}"/>'
            parts += [whisker, dot]
        parts.append(_line([(x, y) for x, y, _ in known], COLOURS[name]))
    return _svg(LEFT + SIDE + RIGHT, TOP + SIDE + BOTTOM, [*parts, *_legend(series, top=True)])


def _square(title: str, below: str, beside: str, named: Callable[[float], str] = "{:g}".format) -> list[str]:
    """Axes from 0 to 1 both ways; `named` says what stands below the lower one."""
    parts = [f'<text x="8" y="20" font-weight="bold">{escape(title)}</text>']
    for tick in range(0, 11, 2):
        share = tick / 10
        parts += [
            _line([(share, 0), (share, 1)], GRID),
            _line([(0, share), (1, share)], GRID),
            f'<text x="{_x(share):.1f}" y="{TOP + SIDE + 16}" text-anchor="middle">{named(share)}</text>',
            f'<text x="{LEFT - 6}" y="{_y(share) + 4:.1f}" text-anchor="end">{share:g}</text>',
        ]
    middle = TOP + SIDE / 2
    return [
        *parts,
        f'<text x="{LEFT + SIDE / 2}" y="{TOP + SIDE + 36}" text-anchor="middle">{escape(below)}</text>',
        f'<text transform="translate(16 {middle}) rotate(-90)" text-anchor="middle">{escape(beside)}</text>',
    ]


def _legend(names: Iterable[str], top: bool = False) -> list[str]:
    """In the right corner that is likely to be empty."""
    parts = []
    for place, name in enumerate(names):
        y = TOP + 18 + 16 * place if top else TOP + SIDE - 14 - 16 * place
        parts.append(f'<rect x="{LEFT + SIDE - 112}" y="{y - 8}" width="10" height="10" fill="{COLOURS[name]}"/>')
        parts.append(f'<text x="{LEFT + SIDE - 97}" y="{y + 1}">{NAMES[name]}</text>')
    return parts


def _x(share: float) -> float:
    return LEFT + SIDE * share


def _y(share: float) -> float:
    return TOP + SIDE * (1 - share)


def _line(points: Sequence[tuple[float, float]], colour: str, dashed: bool = False) -> str:
    path = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in points)
    dashes = ' stroke-dasharray="4 4"' if dashed else ""
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"{dashes}/>'


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    body = "\n".join(parts)
    size = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11" fill="{INK}">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )
