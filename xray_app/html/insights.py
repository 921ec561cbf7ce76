"""The insights as HTML: charts, tables, links to CSV files. Every value is escaped here or in `charts`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from html import escape
from typing import Any
from urllib.parse import urlencode

from xray_app.html import charts
from xray_app.store import search
from xray_app.store.insights import drift, reports
from xray_app.store.insights.drift import Drift
from xray_app.store.insights.reports import LEVELS, Asked, Insights, Table, tables
from xray_app.store.insights.screeners import ALARMS, RATES
from xray_app.taxonomy import Taxonomy

MOST_CONFUSED = 10
MOST_ROWS = 200

CORRECTION_NOTE = (
    "Of corrected scans in which the class was named or was there: the share in which a person changed its count. "
    "People correct what looks wrong to them, so the rate over all scans is lower."
)
DETECTION_NOTE = (
    "From hand searches alone, each bag once, with the 95 % interval. Bags that nobody searched have no known truth: "
    "threats in them are not counted, so real detection is lower than this. Bags drawn by lot stand apart: they alone "
    "show what the models miss (XRAY_CONTROL_SEARCH_SHARE). "
    "How well people find threats that are known to be there is said under Vigilance."
)
CONFUSION_NOTE = (
    "A list does not say which entry stands for which item: items missed are paired off evenly with those "
    "wrongly named, so that parts of an item occur."
)
DRIFT_NOTE = (
    f"The last {drift.RECENT_DAYS} days against the first whole days with {drift.REFERENCE_SCANS} scans or more. "
    f"Below {drift.NOTICE} is stable, above {drift.ALARM} changed; chance is taken off."
)


def page(found: Insights, taxonomy: Taxonomy, moved: Drift, of_class: str) -> str:
    """All charts, each with its table and its CSV; what drifted stands first."""
    known = {table.name: table for table in tables(found, taxonomy)}
    traffic, analysts, by_week = known["traffic"], known["analysts"], known["corrections"]
    items, boxes = known["confusion-items"], known["confusion-boxes"]

    def section(title: str, chart: str, table: Table, note: str = "", more: Table | None = None) -> str:
        return section_of(title, chart, table, found.asked, note, more)

    sections = (
        section("Scans a day, by the models’ risk", _traffic(traffic), traffic),
        section("What people decided, by the models’ risk", _decisions(known["decisions"]), known["decisions"]),
        section(
            f"Correction rate: {of_class}", _corrections(by_week, of_class), known["corrections-by-adapter"],
            CORRECTION_NOTE, by_week,
        ),
        section("Detection and false alarms", _detection(known["detection"]), known["detection"], DETECTION_NOTE),
        section("The VLM’s words against corrections", _confusion(items), items, CONFUSION_NOTE),
        section("The detector’s boxes against corrections", _confusion(boxes), boxes),
        section("Throughput", _throughput(traffic, analysts, found), analysts),
        section("Do the scans still look the same?", _drift(moved), moved.table(), DRIFT_NOTE),
    )  # fmt: skip
    return f'{_alarm(moved)}<div class="insights">{"".join(sections)}</div>'


def section_of(
    title: str,
    chart: str,
    table: Table,
    asked: Asked,
    note: str = "",
    more: Table | None = None,
    folder: str = "insights",
) -> str:
    """A chart with its note, its table to unfold, and its CSV, which the API serves below `folder`."""
    links = "".join(
        f'<a class="csv" href="{escape(_address(folder, one, asked))}" download>{label}</a>'
        for one, label in ((table, "CSV"), (more, "CSV by week"))
        if one is not None
    )
    said = f'<p class="hint">{escape(note)}</p>' if note else ""
    return (
        f'<section id="insight-{table.name}"><header><h2>{escape(title)}</h2>{links}</header>{chart}{said}'
        f"<details><summary>Table</summary>{html_table(table)}</details></section>"
    )


def _address(folder: str, table: Table, asked: Asked) -> str:
    query = {"first": asked.first, "last": asked.last, "scanner": asked.scanner, "adapter": asked.adapter}
    return f"../v1/{folder}/{table.name}.csv?" + urlencode({key: value for key, value in query.items() if value})


def html_table(table: Table) -> str:
    """The table to read, its first rows where it is long."""
    if not table.rows:
        return '<p class="quiet">Nothing to show for this period yet.</p>'
    rates = {"rate", "low", "high", "correction rate", *RATES, *ALARMS}
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.columns)
    rows = []
    for row in table.rows[:MOST_ROWS]:
        cells = [
            f"<td>{f'{value:.1%}' if name in rates and isinstance(value, float) else _plain(value)}</td>"
            for name, value in zip(table.columns, row, strict=True)
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    left_out = len(table.rows) - MOST_ROWS
    more = f'<p class="quiet">{left_out:,} more rows in the CSV.</p>' if left_out > 0 else ""
    return (
        f'<div class="wide"><table class="grid"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
        f"</div>{more}"
    )


def _plain(value: str | int | float | None) -> str:
    if value is None:
        return "–"
    return escape(value) if isinstance(value, str) else f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _empty(words: str) -> str:
    return f'<p class="nothing-yet">{escape(words)}</p>'


def _column(table: Table, name: str) -> list[Any]:
    place = table.columns.index(name)
    return [row[place] for row in table.rows]


def _traffic(table: Table) -> str:
    if not sum(_column(table, "scans")):
        return _empty("No scans in this period.")
    series = [(level, f"risk-{level.lower()}", _column(table, level)) for level in reversed(LEVELS)]
    return charts.stacked_bars(_column(table, "day"), series, "scans")


def _decisions(table: Table) -> str:
    if not any(any(row[1:]) for row in table.rows):
        return _empty("No scans in this period.")
    rows = []
    for level, *counts in table.rows:
        numbers = [int(count or 0) for count in counts]
        shares = [count / max(sum(numbers), 1) for count in numbers]
        cells = "".join(
            f'<td style="--share:{share:.2f}" class="part"><b>{count:,}</b> {share:.0%}</td>'
            for count, share in zip(numbers, shares, strict=True)
        )
        rows.append(f'<tr><th scope="row" class="level-{str(level).lower()}">{level}</th>{cells}</tr>')
    head = "".join(f'<th scope="col">{escape(name.lower())}</th>' for name in table.columns[1:])
    return (
        f'<table class="grid decisions"><thead><tr><th>risk</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _corrections(table: Table, of_class: str) -> str:
    rows = [row for row in table.rows if row[2] == of_class]
    weeks = sorted({str(row[0]) for row in rows})
    if not weeks:
        return _empty("No accepted corrections of this in this period.")
    series = []
    for adapter in dict.fromkeys(str(row[1]) for row in rows):
        points = {str(row[0]): _point(row[-3:]) for row in rows if row[1] == adapter}
        series.append((_adapter(adapter), [points.get(week) for week in weeks]))
    # The adapters used last are the ones to compare.
    return charts.rate_lines(weeks, series[-5:], "correction rate by week")


def _adapter(name: str) -> str:
    return "base model" if name == search.BASE else f"adapter {name[:8]}"


def _point(cells: Sequence[Any]) -> charts.Point:
    value, low, high = cells
    return None if value is None else (float(value), float(low), float(high))


def _detection(table: Table) -> str:
    if not sum(_column(table, "bags")):
        return _empty("No hand search is on record in this period. Record what a search found on Analyse.")
    rows = [
        (str(row[0]).removeprefix("detection: "), int(row[1] or 0), int(row[2] or 0), _point(row[3:]))
        for row in table.rows
    ]
    return charts.intervals(rows[:14], "detection and false alarms")


def _confusion(table: Table) -> str:
    if not table.rows:
        return _empty("No accepted corrections in this period.")
    wrong: dict[str, float] = {}
    times: dict[tuple[str, str], float] = {}
    for there, said, n in table.rows:
        times[str(there), str(said)] = float(n or 0)
        for name in {str(there), str(said)} if there != said else ():
            wrong[name] = wrong.get(name, 0) + float(n or 0)
    wrong.pop("nothing", None)
    worst = sorted(wrong, key=lambda name: (-wrong[name], name))[:MOST_CONFUSED]
    if not worst:
        return _empty("Every correction confirmed what the model said.")
    names = [*sorted(worst), "nothing"]
    values = [[round(times.get((there, said), 0), 1) for said in names] for there in names]
    return charts.matrix(names, names, values, "there ↓ said →")


def _throughput(traffic: Table, analysts: Table, found: reports.Insights) -> str:
    scans, decided = sum(_column(traffic, "scans")), sum(_column(traffic, "decided"))
    columns = [_column(traffic, name) for name in ("scans in that hour", "day", "busiest hour (UTC)")]
    peak, peak_day, peak_hour = max((row for row in zip(*columns, strict=True) if row[0]), default=(0, "", ""))
    seconds = reports.median_seconds(found.all)
    days = sum(1 for n in _column(traffic, "scans") if n)
    cards = [
        (f"{scans / days:,.0f}" if days else "–", "scans on a working day"),
        (f"{decided / scans:.0%}" if scans else "–", f"decided ({decided:,} of {scans:,})"),
        (f"{seconds} s" if seconds is not None else "–", "median time to decide"),
        (f"{peak:,}" if peak else "–", f"scans in the busiest hour {peak_day} {peak_hour}"),
        (str(len(analysts.rows)), "people deciding"),
    ]  # fmt: skip
    return '<div class="cards">' + "".join(
        f'<div class="card"><b>{escape(value)}</b><span>{escape(what)}</span></div>' for value, what in cards
    ) + "</div>"  # fmt: skip


MARKS = {"stable": "●", "shifting": "◆", "changed": "▲", "too few scans": "–"}


def _drift(moved: Drift) -> str:
    rows = "".join(
        f'<tr class="{one.change.replace(" ", "-")}"><th scope="row">{escape(one.name)}</th>'
        f"<td>{MARKS[one.change]} {one.change}</td><td>{escape(one.before)}</td><td>{escape(one.now)}</td></tr>"
        for one in moved.features
    )
    if not moved.recent_scans:
        words = f"Nothing to compare yet: what comes after the first {drift.REFERENCE_SCANS} scans is held to them."
        if moved.reference_until and moved.recent_from > moved.reference_until + timedelta(days=1):
            words = f"Nothing to compare: no scans since {moved.recent_from}."
        return f'<p class="nothing-yet">{words}</p>'
    until = f" (until {moved.reference_until})" if moved.reference_until else ""
    return (
        f'<table class="grid drift"><thead><tr><th></th><th></th><th>first {moved.reference_scans:,} scans{until}</th>'
        f"<th>{moved.recent_scans:,} scans since {moved.recent_from}</th></tr></thead><tbody>{rows}</tbody></table>"
    )


def _alarm(moved: Drift) -> str:
    if not moved.alarms:
        return ""
    said = "".join(
        f"<li><b>{escape(one.name)}</b>: was {escape(one.before)}; now {escape(one.now)}</li>" for one in moved.alarms
    )
    return (
        '<div class="drift-alarm" role="alert"><strong>▲ The scans that come in no longer look like those of the '
        f"beginning.</strong><ul>{said}</ul><p>What the models were measured on may no longer hold. Was a scanner "
        "serviced, replaced or set up anew, or has the traffic changed? Have some of these scans corrected, and look "
        "at the correction rate below.</p></div>"
    )
