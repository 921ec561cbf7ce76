"""Charts as inline SVG, each with its numbers in a table beside it: no script, nothing fetched.

The desk's charts take their colours from its CSS. A series is told apart by pattern of line and by name as well as by
colour. The charts of an evaluation are SVG files of their own, with their colours in them. Text is escaped here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from math import ceil, log10
from typing import Any

from xray_app.html import svg
from xray_app.html.svg import PlotArea

WIDTH, HEIGHT = 640, 210
AREA = PlotArea(left=46, top=10, width=582, height=174)
"""Of the desk's charts over days."""
RATES = PlotArea(left=330, top=4, width=220, height=0)
"""Of rates from left to right, one a line."""
ROW = 30

# What tells stacked series apart besides colour, from below: plain, lines, dots.
_TEXTURES = ("", "bar-lines", "bar-dots")
_PATTERNS = svg.element(
    "defs",
    svg.element(
        "pattern",
        svg.element("line", class_="texture", x1=0, x2=0, y1=0, y2=5),
        id="bar-lines", width=5, height=5, patternUnits="userSpaceOnUse", patternTransform="rotate(45)",
    )
    + svg.element(
        "pattern",
        svg.element("circle", class_="texture", cx=3, cy=3, r=1.3),
        id="bar-dots", width=6, height=6, patternUnits="userSpaceOnUse",
    ),
)  # fmt: skip

Point = tuple[float, float, float] | None
"""A rate with the ends of its interval; None where there is none."""


def stacked_bars(days: Sequence[str], series: Sequence[tuple[str, str, Sequence[float]]], what: str) -> str:
    """Bars a day, stacked from below. Each of at most three series has a name, a CSS class and a value a day."""
    sums = [sum(values[n] for _, _, values in series) for n in range(len(days))]
    most = _ceiling(max(sums, default=0))
    step = AREA.width / max(len(days), 1)
    parts = [_PATTERNS, _grid(most, "{:g}".format), _days(days, step)]
    for n, day in enumerate(days):
        x, y = AREA.left + n * step, AREA.bottom
        listed = ", ".join(f"{name} {values[n]:g}" for name, _, values in series)
        bars = [svg.tooltip(f"{day}: {sums[n]:g} {what} ({listed})")]
        for texture, (_, style, values) in zip(_TEXTURES, series, strict=False):
            tall = values[n] / most * AREA.height
            y -= tall
            if tall:
                bars.append(_bar(style, texture, x=x + step * 0.1, y=float(y), width=step * 0.8, height=tall))
        bars.append(svg.element("rect", class_="sense", x=x, y=AREA.top, width=step, height=HEIGHT - AREA.top))
        parts.append(svg.element("g", "".join(bars)))
    marks = [
        (name, _bar(style, texture, x=4, width=14, height=12))
        for texture, (name, style, _) in zip(_TEXTURES, series, strict=False)
    ]
    return _chart("".join(parts), what) + _legend(marks)


def rate_lines(days: Sequence[str], series: Sequence[tuple[str, Sequence[Point]]], what: str) -> str:
    """Rates over time, each point with its interval. At most five series can be told apart."""
    step = AREA.width / max(len(days), 1)
    parts = [_grid(1.0, "{:.0%}".format), _days(days, step)]
    for place, (name, points) in enumerate(series[:5]):
        style = f"line{place}"
        shift = (place - (min(len(series), 5) - 1) / 2) * min(6.0, step / 8)
        path: list[tuple[float, float]] = []
        for n, point in enumerate(points):
            if point is None:
                continue
            x, (value, low, high) = AREA.left + (n + 0.5) * step + shift, point
            path.append((x, AREA.y(value)))
            parts.append(
                svg.element(
                    "g",
                    svg.tooltip(f"{name}, {days[n]}: {value:.0%} ({low:.0%} to {high:.0%})")
                    + svg.element("line", class_="whisker", x1=x, x2=x, y1=AREA.y(low), y2=AREA.y(high))
                    + svg.element("circle", cx=x, cy=AREA.y(value), r=4),
                    class_=style,
                )
            )
        parts.append(svg.polyline(path, class_=style))
    return _chart("".join(parts), what) + _legend(
        [(name, _line_mark(f"line{place}")) for place, (name, _) in enumerate(series[:5])]
    )


def intervals(rows: Sequence[tuple[str, int, int, Point]], what: str) -> str:
    """One rate a line: a dot, its interval, and how many of how many."""
    bottom = ROW * len(rows) + 4
    parts = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        x = RATES.x(tick)
        parts.append(svg.element("line", class_="rule", x1=x, x2=x, y1=4, y2=bottom))
        parts.append(svg.text(f"{tick:.0%}", x=x, y=bottom + 16, text_anchor="middle"))
    for n, (name, hits, of, point) in enumerate(rows):
        y = n * ROW + 19
        parts.append(svg.text(name, class_="name", x=4, y=y + 4))
        if point is None:
            parts.append(svg.text("no such bag yet", x=RATES.x(0), y=y + 4))
            continue
        value, low, high = point
        parts.append(
            svg.element(
                "g",
                svg.tooltip(f"{name}: {value:.1%} ({low:.1%} to {high:.1%}), {hits} of {of}")
                + svg.element("line", class_="whisker", x1=RATES.x(low), x2=RATES.x(high), y1=y, y2=y)
                + svg.element("circle", cx=RATES.x(value), cy=y, r=5)
                + svg.text(f"{hits} of {of}", class_="n", x=WIDTH - 4, y=y + 4, text_anchor="end"),
            )
        )
    return _chart("".join(parts), what, height=bottom + 22)


def matrix(rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[float]], corner: str) -> str:
    """A table whose cells are the darker the larger their share of the row; what agrees is framed."""
    head = "".join(f'<th scope="col"><span>{escape(name)}</span></th>' for name in columns)
    body = []
    for name, row in zip(rows, values, strict=True):
        most = sum(row) or 1
        cells = "".join(
            f'<td class="{"agree" if name == column else "mistake"}" style="--share:{value / most:.2f}">'
            f"{f'{value:g}' if value else ''}</td>"
            for column, value in zip(columns, row, strict=True)
        )
        body.append(f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>')
    return (
        f'<div class="matrix"><table><thead><tr><th>{escape(corner)}</th>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _chart(inside: str, what: str, height: int = HEIGHT) -> str:
    """A chart of a page of the desk."""
    box = f"0 0 {WIDTH} {height}"
    return svg.element("svg", inside, class_="chart", viewBox=box, role="img", aria_label=what)


def _bar(style: str, texture: str, **box: float) -> str:
    plain = svg.element("rect", class_=style, **box)
    return plain + svg.element("rect", fill=f"url(#{texture})", **box) if texture else plain


def _line_mark(style: str) -> str:
    line = svg.polyline([(0, 6), (24, 6)], class_=style) + svg.element("circle", cx=12, cy=6, r=4)
    return svg.element("g", line, class_=style)


def _legend(entries: Sequence[tuple[str, str]]) -> str:
    marks = "".join(
        f"<li>{svg.element('svg', mark, viewBox='0 0 24 12', aria_hidden='true')}{escape(name)}</li>"
        for name, mark in entries
    )
    return f'<ul class="legend">{marks}</ul>'


def _grid(most: float, label: Callable[[float], str]) -> str:
    parts = []
    for part in range(5):
        y = AREA.y(part / 4)
        parts.append(svg.element("line", class_="rule", x1=AREA.left, x2=AREA.right, y1=y, y2=y))
        parts.append(svg.text(label(most * part / 4), x=AREA.left - 6, y=y + 4, text_anchor="end"))
    return "".join(parts)


def _days(days: Sequence[str], step: float) -> str:
    every = max(1, ceil(len(days) / 7))
    return "".join(
        svg.text(day[5:], x=AREA.left + (n + 0.5) * step, y=HEIGHT - 8, text_anchor="middle")
        for n, day in enumerate(days)
        if n % every == 0
    )


def _ceiling(value: float) -> float:
    """The next number at or above that is 1, 2, 4 or 8 times a power of ten: its quarters are round too."""
    if value <= 4:
        return 4.0
    power = 10 ** int(log10(value))
    return float(next(times * power for times in (1, 2, 4, 8, 10) if times * power >= value))


# Charts of an evaluation: files of their own.

SQUARE = PlotArea(left=56, top=34, width=300, height=300)
MODEL_NAMES = {"vlm": "VLM", "detector": "detector", "together": "both together"}
MODEL_COLOURS = {"vlm": "#b3541e", "detector": "#1f6f8b", "together": "#3a3a3a"}
RIGHT, WRONG = "#1f6f8b", "#b3541e"
INK, RULE = "#222222", "#d9d9d9"


def reliability_diagram(
    series: Mapping[str, Sequence[Mapping[str, Any]]], title: str, confidence: str, frequency: str
) -> str:
    """Confidence against how often it came true, a line a model, with the interval of each point.

    Args:
        series: by model (`vlm`, `detector`, `together`), rows with `promised`, `rate`, `rate_ci`, `count`.
        title: above the picture.
        confidence, frequency: names of the axes.
    """
    parts = [*_square(title, confidence, frequency), _path([(0, 0), (1, 1)], RULE, stroke_dasharray="4 4")]
    for name, rows in series.items():
        colour = MODEL_COLOURS[name]
        for row in rows:
            low, high = row["rate_ci"]
            parts.append(_whisker(row["promised"], low, high, colour, stroke_opacity=".35"))
            # The area of a dot says how much lies behind it.
            radius = float(min(2 + row["count"] ** 0.5 / 3, 9))
            words = f"{row['count']}: {row['promised']:.2f} promised, {row['rate']:.2f} true"
            parts.append(_dot(row["promised"], row["rate"], radius, colour, words, fill_opacity=".8"))
        parts.append(_path([(row["promised"], row["rate"]) for row in rows], colour))
    return _square_file([*parts, *_model_legend(series)])


def roc_curve(scores: Mapping[str, Mapping[str, Any]], title: str) -> str:
    """Threat-bag recall against false alarms, with the point each threshold was chosen to give."""
    parts = _square(title, "false-alarm rate", "threat-bag recall")
    for name, figures in scores.items():
        parts.append(_path(figures["curve"], MODEL_COLOURS[name]))
        x, y = figures.get("false_alarm_rate"), figures.get("threat_bag_recall")
        if x is not None and y is not None:
            parts.append(_dot(x, y, 5, MODEL_COLOURS[name], f"{x:.2f}, {y:.2f}"))
    return _square_file([*parts, *_model_legend(scores)])


def learning_curve(series: Mapping[str, Sequence[tuple[int, Point]]], title: str, amount: str, rate: str) -> str:
    """A rate with its interval against an amount, a line a model.

    Args:
        series: by model (`vlm`, `detector`), points (amount, rate) in ascending order.
        title: above the picture.
        amount, rate: names of the axes.
    """
    most = max((count for points in series.values() for count, _ in points), default=0) or 1
    parts = _square(title, amount, rate, lambda share: f"{share * most:.0f}")
    for name, points in series.items():
        colour = MODEL_COLOURS[name]
        known = [(count / most, *point) for count, point in points if point is not None]
        for x, y, low, high in known:
            parts += [_whisker(x, low, high, colour, stroke_opacity=".4"), _dot(x, y, 3, colour)]
        parts.append(_path([(x, y) for x, y, _, _ in known], colour))
    return _square_file([*parts, *_model_legend(series, top=True)])


def confusion_matrix(matrix: Mapping[str, Any], title: str) -> str:
    """Rows are what is there, columns what it was called, shaded by the share of the row."""
    labels: Sequence[str] = matrix["labels"]
    cell, margin = 16, 128
    top, side = margin + 22, len(labels) * cell
    parts = [_title(title), svg.element("rect", x=margin, y=top, width=side, height=side, fill="#f4f1ee")]
    for row, (label, counts) in enumerate(zip(labels, matrix["rows"], strict=True)):
        y, total = top + row * cell, sum(counts)
        parts.append(svg.text(label, x=margin - 6, y=y + 12, text_anchor="end"))
        parts.append(svg.text(label, transform=f"translate({margin + row * cell + 12} {top - 6}) rotate(-60)"))
        for column, count in enumerate(counts):
            if count:
                parts.append(
                    svg.element(
                        "rect",
                        svg.tooltip(f"{label} called {labels[column]}: {count:g} of {total:g}"),
                        x=margin + column * cell,
                        y=y,
                        width=cell - 1,
                        height=cell - 1,
                        fill=RIGHT if row == column else WRONG,
                        fill_opacity=f"{max(count / total, 0.08):.3f}",
                    )
                )
    return _file(margin + side + 90, top + side + 12, parts)


def class_recall(per_class: Mapping[str, Mapping[str, Any]], title: str) -> str:
    """Recall of each class with its interval, precision as a tick, and how many there were."""
    rows = [(label, figures) for label, figures in per_class.items() if figures["support"]]
    row = 18
    area = PlotArea(left=150, top=34, width=320, height=row * len(rows))
    parts = [_title(title)]
    for tick in range(0, 11, 2):
        x = area.x(tick / 10)
        parts.append(svg.element("path", d=f"M{x:.1f} {area.top}V{area.bottom}", stroke=RULE))
        parts.append(svg.text(f"{tick / 10:g}", x=x, y=area.bottom + 16, text_anchor="middle"))
    for place, (label, figures) in enumerate(rows):
        y = area.top + row * place
        parts.append(svg.text(label, x=area.left - 8, y=y + 13, text_anchor="end"))
        size = {"width": area.width * figures["recall"], "height": row - 8}
        parts.append(svg.element("rect", x=area.left, y=y + 4, **size, fill=RIGHT, fill_opacity=".75"))
        low, high = (area.x(end) for end in figures["recall_ci"])
        parts.append(svg.element("path", d=f"M{low:.1f} {y + row / 2}H{high:.1f}", stroke=INK))
        if figures["precision"] is not None:
            tick_at = f"M{area.x(figures['precision']):.1f} {y + 2}V{y + row - 2}"
            parts.append(svg.element("path", d=tick_at, stroke=WRONG, stroke_width=3))
        parts.append(svg.text(str(figures["support"]), x=area.right + 10, y=y + 13))
    words = "bar: recall with interval · tick: precision · right: items there"
    parts.append(svg.text(words, x=area.left, y=area.bottom + 34))
    return _file(area.right + 60, area.bottom + 44, parts)


def _square(title: str, below: str, beside: str, label: Callable[[float], str] = "{:g}".format) -> list[str]:
    """Axes from 0 to 1 both ways; `label` says what stands below the lower one."""
    parts = [_title(title)]
    for tick in range(0, 11, 2):
        share = tick / 10
        parts += [
            _path([(share, 0), (share, 1)], RULE),
            _path([(0, share), (1, share)], RULE),
            svg.text(label(share), x=SQUARE.x(share), y=SQUARE.bottom + 16, text_anchor="middle"),
            svg.text(f"{share:g}", x=SQUARE.left - 6, y=SQUARE.y(share) + 4, text_anchor="end"),
        ]
    turned = f"translate(16 {SQUARE.y(0.5)}) rotate(-90)"
    return [
        *parts,
        svg.text(below, x=SQUARE.x(0.5), y=SQUARE.bottom + 36, text_anchor="middle"),
        svg.text(beside, transform=turned, text_anchor="middle"),
    ]


def _title(words: str) -> str:
    return svg.text(words, x=8, y=20, font_weight="bold")


def _path(shares: Iterable[Sequence[float]], colour: str, **more: str) -> str:
    points = [SQUARE.point(x, y) for x, y in shares]
    return svg.polyline(points, fill="none", stroke=colour, stroke_width="1.5", **more)


def _whisker(x: float, low: float, high: float, colour: str, **more: str) -> str:
    path = f"M{SQUARE.x(x):.1f} {SQUARE.y(low):.1f}V{SQUARE.y(high):.1f}"
    return svg.element("path", d=path, stroke=colour, **more)


def _dot(x: float, y: float, radius: float, colour: str, words: str = "", **more: str) -> str:
    inside = svg.tooltip(words) if words else ""
    return svg.element("circle", inside, cx=SQUARE.x(x), cy=SQUARE.y(y), r=radius, fill=colour, **more)


def _model_legend(names: Iterable[str], top: bool = False) -> list[str]:
    """In the right corner that is likely to be empty."""
    parts = []
    for place, name in enumerate(names):
        y = SQUARE.top + 18 + 16 * place if top else SQUARE.bottom - 14 - 16 * place
        box = {"x": SQUARE.right - 112, "y": y - 8, "width": 10, "height": 10}
        parts.append(svg.element("rect", **box, fill=MODEL_COLOURS[name]))
        parts.append(svg.text(MODEL_NAMES[name], x=SQUARE.right - 97, y=y + 1))
    return parts


def _square_file(parts: Sequence[str]) -> str:
    return _file(SQUARE.right + 16, SQUARE.bottom + 46, parts)


def _file(width: float, height: float, parts: Sequence[str]) -> str:
    """A whole SVG file on white."""
    white = svg.element("rect", width="100%", height="100%", fill="white")
    return (
        svg.element(
            "svg",
            "\n".join(["", white, *parts, ""]),
            xmlns="http://www.w3.org/2000/svg",
            width=f"{width:g}",
            height=f"{height:g}",
            viewBox=f"0 0 {width:g} {height:g}",
            font_family="sans-serif",
            font_size=11,
            fill=INK,
        )
        + "\n"
    )
