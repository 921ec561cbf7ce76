"""Operating points on a page: what a threshold of the threat score promises and costs, in words and as a curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from xray_app.html import svg
from xray_app.html.panels import when
from xray_app.html.svg import PlotArea
from xray_app.threat_score import OperatingPoint, OperatingPointFigures

WIDTH, HEIGHT = 640, 250
AREA = PlotArea(left=56, top=10, width=566, height=196)
FIRST = 0.5
"""Detection at the left end of the curve."""


def words(figures: OperatingPointFigures, budget: float) -> str:
    """The promise and its price, in a sentence each; or how many more threat bags it takes.

    Args:
        figures: of the threshold.
        budget: share of clear bags that the policy lets it stop.
    """
    if figures.threshold is None or figures.false_alarms is None:
        return (
            f'<p class="promise not-yet"><b>Not possible yet.</b> To find at least {figures.recall:.0%} of threats '
            f"(95 % sure) it takes {figures.missing} more held-out bags with a threat: there are {figures.threats}. "
            "Correct more bags, or ask for less.</p>"
        )
    search = _sentence(
        "Alarms", figures.threshold, figures.recall, "stops", figures.false_alarms, figures.false_alarms_ci
    )
    if figures.review_threshold is None or figures.reviewed is None:
        review = (
            f"<p>A threshold for reviews, at {figures.review_recall:.0%}, takes {figures.review_missing} more held-out "
            "bags with a threat.</p>"
        )
    else:
        told = _sentence(
            "Asks for a review", figures.review_threshold, figures.review_recall, "holds", figures.reviewed,
            figures.reviewed_ci,
        )  # fmt: skip
        review = f"<p>{told}</p>"
    if figures.false_alarms > budget:
        over = (
            f'<p class="not-yet"><b>Over the policy’s budget</b> of {budget:.0%} of clear bags. Ask for less, '
            "raise the budget, or wait for better models.</p>"
        )
    else:
        over = f'<p class="quiet">Within the policy’s budget of {budget:.0%} of clear bags.</p>'
    return f'<p class="promise">{search}</p>{over}{review}'


def _sentence(
    does: str, threshold: float, recall: float, stops: str, share: float, ci: tuple[float, float] | None
) -> str:
    low, high = ci or (share, share)
    return (
        f"<b>{does} at {threshold:.2f}</b>: finds at least {recall:.0%} of threats (95 % sure), {stops} {share:.0%} of "
        f"clear bags ({100 * low:.0f}–{100 * high:.0f})."
    )


def searches(figures: OperatingPointFigures, bags_an_hour: float) -> str:
    """What it means at a belt."""
    if figures.false_alarms is None or figures.false_alarms_ci is None:
        return ""
    low, high = (bags_an_hour * share for share in figures.false_alarms_ci)
    return (
        f'<p class="quiet">At {bags_an_hour:g} bags an hour, nearly all of them clear: about '
        f"{bags_an_hour * figures.false_alarms:.0f} searches an hour for nothing ({low:.0f}–{high:.0f}).</p>"
    )


def rests_on(bags: int, threats: int, unscored: int, unknown: int) -> str:
    """The evidence, and what to do where it is thin."""
    parts = [f"{bags} held-out bags, {threats} with a threat"]
    if unscored:
        parts.append(f"{unscored} scans that the models in use have not seen: measure them first")
    if unknown:
        parts.append(f"{unknown} left out because not every prohibited class was looked for")
    return f'<p class="quiet">Rests on {"; ".join(parts)}. Nothing was trained on these bags.</p>'


def impossible(why: str) -> str:
    """That nothing can be set yet, and why."""
    return f'<p class="promise not-yet"><b>Not possible yet.</b> {escape(why)}</p>'


def measuring(done: int, total: int) -> str:
    """How far the models in use are with the held-out scans."""
    return (
        f'<div class="insights thresholds"><section><p class="promise">Measuring: {done} of {total} scans.</p>'
        f'<progress max="{total}" value="{done}"></progress></section></div>'
    )


def page(parts: Sequence[str]) -> str:
    """The parts that say something, below each other."""
    return f'<div class="insights thresholds">{"".join(f"<section>{one}</section>" for one in parts if one)}</div>'


def curve(figures: OperatingPointFigures) -> str:
    """What each detection costs in clear bags stopped, with its band; the chosen one is marked."""
    points: Sequence[Mapping[str, Any]] = [one for one in figures.curve if one["false_alarms"] is not None]
    if not points:
        return ""
    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = AREA.y(tick)
        parts.append(svg.element("line", class_="rule", x1=AREA.left, x2=AREA.right, y1=y, y2=y))
        parts.append(svg.text(f"{tick:.0%}", x=AREA.left - 6, y=y + 4, text_anchor="end"))
    for recall in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        parts.append(svg.text(f"{recall:.0%}", x=_across(recall), y=AREA.bottom + 18, text_anchor="middle"))
    parts.append(
        svg.text("threats found, at least", x=(AREA.left + AREA.right) / 2, y=HEIGHT - 6, text_anchor="middle")
    )
    parts.append(svg.text("clear bags stopped", x=AREA.left + 6, y=AREA.top + 16))
    upper = [(_across(one["recall"]), AREA.y(one["false_alarms_ci"][1])) for one in points]
    lower = [(_across(one["recall"]), AREA.y(one["false_alarms_ci"][0])) for one in points]
    band = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*upper, *reversed(lower)])
    parts.append(svg.element("polygon", class_="band", points=band))
    parts.append(
        svg.polyline([(_across(one["recall"]), AREA.y(one["false_alarms"])) for one in points], class_="line0")
    )
    for one in points:
        told = f"finds at least {one['recall']:.0%}: alarms at {one['threshold']:.2f}, stops {one['false_alarms']:.0%}"
        dot = svg.element("circle", cx=_across(one["recall"]), cy=AREA.y(one["false_alarms"]), r=4)
        parts.append(svg.element("g", svg.tooltip(told) + dot, class_="line0"))
    if figures.threshold is not None:
        x = _across(figures.recall)
        parts.append(svg.element("line", class_="chosen", x1=x, x2=x, y1=AREA.top, y2=AREA.bottom))
    return svg.element(
        "svg", "".join(parts), class_="chart", viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img",
        aria_label="clear bags stopped, by the share of threats found",
    )  # fmt: skip


def _across(recall: float) -> float:
    return AREA.x((max(recall, FIRST) - FIRST) / (1 - FIRST))


def classes(figures: OperatingPointFigures) -> str:
    """How many of each class's threat bags lie at or above the threshold; the one that limits is named."""
    if figures.threshold is None or not figures.by_class:
        return ""
    rows = "".join(
        f"<tr{' class=limiting' if label == figures.limiting else ''}><th scope=row>{escape(label)}</th>"
        f"<td>{counts['found']} of {counts['bags']}</td></tr>"
        for label, counts in figures.by_class.items()
    )
    limit = f"<p>Found worst: <b>{escape(figures.limiting)}</b>.</p>" if figures.limiting else ""
    return f'{limit}<table class="plain"><caption>Held-out bags found, by class</caption><tbody>{rows}</tbody></table>'


def in_force(points: Sequence[OperatingPoint]) -> str:
    """The thresholds by which scans are read now."""
    if not points:
        return (
            '<p class="quiet">No threshold is in force: the score is shown and decides nothing. Choose what is to be '
            "found, and set one.</p>"
        )
    rows, others = [], "all scanners" if len(points) == 1 else "all others"
    for one in points:
        threshold = "–" if one.figures.threshold is None else f"{one.figures.threshold:.2f}"
        rows.append(
            f"<tr><th scope=row>{escape(one.scanner_id or others)}</th><td>{threshold}</td>"
            f"<td>{one.figures.recall:.0%}</td><td>{escape(one.by)}, {when(one.created_at)}</td>"
            f"<td>{escape(one.reason)}</td></tr>"
        )
    return (
        '<table class="plain"><caption>In force, for the models in use</caption><thead><tr><th>scanner</th>'
        "<th>alarms at</th><th>finds</th><th>set by</th><th>why</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
