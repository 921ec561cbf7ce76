"""Charts as inline SVG, each with its numbers in a table beside it: no script, nothing fetched.

A series is told apart by pattern of line and by name as well as by colour. Text is escaped here.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import ceil, log10

WIDTH, HEIGHT = 640, 210
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 26

# What tells stacked series apart besides colour, from below: plain, lines, dots.
_TEXTURES = ("", "bar-lines", "bar-dots")
_PATTERNS = (
    '<defs><pattern id="bar-lines" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<line class="texture" x1="0" x2="0" y1="0" y2="5"/></pattern>'
    '<pattern id="bar-dots" width="6" height="6" patternUnits="userSpaceOnUse">'
    '<circle class="texture" cx="3" cy="3" r="1.3"/></pattern></defs>'
)

Point = tuple[float, float, float] | None
"""A rate with the ends of its interval; None where there is none."""


def stacked_bars(days: Sequence[str], series: Sequence[tuple[str, str, Sequence[float]]], what: str) -> str:
    """Bars a day, stacked from below. Each of at most three series has a name, a CSS class and a value a day."""
    sums = [sum(values[n] for _, _, values in series) for n in range(len(days))]
    most = _ceiling(max(sums, default=0))
    step = (WIDTH - LEFT - RIGHT) / max(len(days), 1)
    parts = [_PATTERNS, _grid(most, lambda value: f"{value:g}"), _days(days, step)]
    for n, day in enumerate(days):
        x, y = LEFT + n * step, float(HEIGHT - BOTTOM)
        told = ", ".join(f"{name} {values[n]:g}" for name, _, values in series)
        parts.append(f"<g><title>{escape(day)}: {sums[n]:g} {escape(what)} ({escape(told)})</title>")
        for texture, (_, style, values) in zip(_TEXTURES, series, strict=False):
            tall = values[n] / most * (HEIGHT - TOP - BOTTOM)
            y -= tall
            if tall:
                where = f'x="{x + step * 0.1:.1f}" y="{y:.1f}" width="{step * 0.8:.1f}" height="{tall:.1f}"'
                parts.append(_bar(style, texture, where))
        parts.append(f'<rect class="sense" x="{x:.1f}" y="{TOP}" width="{step:.1f}" height="{HEIGHT - TOP}"/></g>')
    return _svg("".join(parts), what) + _legend(
        [
            (name, _bar(style, texture, 'x="4" width="14" height="12"'))
            for texture, (name, style, _) in zip(_TEXTURES, series, strict=False)
        ]
    )


def rate_lines(days: Sequence[str], series: Sequence[tuple[str, Sequence[Point]]], what: str) -> str:
    """Rates over time, each point with its interval. At most five series can be told apart."""
    step = (WIDTH - LEFT - RIGHT) / max(len(days), 1)
    parts = [_grid(1.0, lambda value: f"{value:.0%}"), _days(days, step)]
    for place, (name, points) in enumerate(series[:5]):
        style = f"line{place}"
        shift = (place - (min(len(series), 5) - 1) / 2) * min(6.0, step / 8)
        path: list[str] = []
        for n, point in enumerate(points):
            if point is None:
                continue
            x, (value, low, high) = LEFT + (n + 0.5) * step + shift, point
            path.append(f"{x:.1f},{_y(value):.1f}")
            parts.append(
                f'<g class="{style}"><title>{escape(name)}, {escape(days[n])}: {value:.0%} '
                f"({low:.0%} to {high:.0%})</title>"
                f'<line class="whisker" x1="{x:.1f}" x2="{x:.1f}" y1="{_y(low):.1f}" y2="{_y(high):.1f}"/>'
                f'<circle cx="{x:.1f}" cy="{_y(value):.1f}" r="4"/></g>'
            )
        parts.append(f'<polyline class="{style}" points="{" ".join(path)}"/>')
    legend = [(name, _line(f"line{place}")) for place, (name, _) in enumerate(series[:5])]
    return _svg("".join(parts), what) + _legend(legend)


def intervals(rows: Sequence[tuple[str, int, int, Point]], what: str) -> str:
    """One rate a line: a dot, its interval, and how many of how many."""
    tall = 30
    parts = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        x = _across(tick)
        parts.append(
            f'<line class="rule" x1="{x}" x2="{x}" y1="4" y2="{tall * len(rows) + 4}"/>'
            f'<text x="{x}" y="{tall * len(rows) + 20}" text-anchor="middle">{tick:.0%}</text>'
        )
    for n, (name, hits, of, point) in enumerate(rows):
        y = n * tall + 19
        parts.append(f'<text class="name" x="4" y="{y + 4}">{escape(name)}</text>')
        if point is None:
            parts.append(f'<text x="{_across(0)}" y="{y + 4}">no such bag yet</text>')
            continue
        value, low, high = point
        parts.append(
            f"<g><title>{escape(name)}: {value:.1%} ({low:.1%} to {high:.1%}), {hits} of {of}</title>"
            f'<line class="whisker" x1="{_across(low):.1f}" x2="{_across(high):.1f}" y1="{y}" y2="{y}"/>'
            f'<circle cx="{_across(value):.1f}" cy="{y}" r="5"/>'
            f'<text class="n" x="{WIDTH - 4}" y="{y + 4}" text-anchor="end">{hits} of {of}</text></g>'
        )
    return _svg("".join(parts), what, height=tall * len(rows) + 26)


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


def _svg(inside: str, what: str, height: int = HEIGHT) -> str:
    return f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(what)}">{inside}</svg>'


def _bar(style: str, texture: str, where: str) -> str:
    plain = f'<rect class="{style}" {where}/>'
    return plain + f'<rect fill="url(#{texture})" {where}/>' if texture else plain


def _line(style: str) -> str:
    return f'<g class="{style}"><polyline class="{style}" points="0,6 24,6"/><circle cx="12" cy="6" r="4"/></g>'


def _legend(entries: Sequence[tuple[str, str]]) -> str:
    marks = "".join(
        f'<li><svg viewBox="0 0 24 12" aria-hidden="true">{mark}</svg>{escape(name)}</li>' for name, mark in entries
    )
    return f'<ul class="legend">{marks}</ul>'


def _grid(most: float, written: object) -> str:
    parts = []
    for part in range(5):
        value = most * part / 4
        y = HEIGHT - BOTTOM - part / 4 * (HEIGHT - TOP - BOTTOM)
        words = written(value) if callable(written) else ""
        parts.append(
            f'<line class="rule" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
            f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{words}</text>'
        )
    return "".join(parts)


def _days(days: Sequence[str], step: float) -> str:
    every = max(1, ceil(len(days) / 7))
    return "".join(
        f'<text x="{LEFT + (n + 0.5) * step:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(day[5:])}</text>'
        for n, day in enumerate(days)
        if n % every == 0
    )


def _ceiling(value: float) -> float:
    """The next number at or above that is 1, 2, 4 or 8 times a power of ten: its quarters are round too."""
    if value <= 4:
        return 4.0
    power = 10 ** int(log10(value))
    return float(next(times * power for times in (1, 2, 4, 8, 10) if times * power >= value))


def _y(value: float) -> float:
    return HEIGHT - BOTTOM - value * (HEIGHT - TOP - BOTTOM)


def _across(value: float) -> float:
    return 330 + value * (WIDTH - 330 - 90)
