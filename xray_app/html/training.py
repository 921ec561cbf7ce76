"""What the Train and Users tabs show, as HTML. Every value is escaped here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from xray_app.adapter import Adapter
from xray_app.html.panels import when
from xray_app.store.users import User
from xray_app.types import MetricSet, Run, RunMetrics

SITE_BAGS_NEEDED = 50
_FIGURES = (
    ("item_f1", "Item F1", True),
    ("exact_list", "Exact list", True),
    ("threat_bag_recall", "Threat-bag recall", True),
    ("false_alarm_rate", "False-alarm rate", False),
    ("map50", "Box mAP50", True),
)
_ANSWERS = {"passed": "✓", "refused": "✗", "not shown yet": "?", "reported": "·"}
_VERDICTS = {
    "passed": "The gate lets it through.",
    "refused": "The gate refuses it.",
    "not shown yet": "Not shown yet: the bags held out do not tell whether it is as good.",
}
TRIAL = '<b class="trial">on trial</b>'
"""Beside the name of a model that is in use without the gate's evidence."""
_STATUS = {"queued": "…", "running": "▶", "succeeded": "✓", "failed": "✗", "cancelled": "■"}


@dataclass(frozen=True)
class CorrectionCounts:
    """Accepted corrections: new ones since the last run that succeeded, and how all are used."""

    new: int
    train: int
    holdout: int
    pending: int


def counts(found: CorrectionCounts, active: Adapter | None, base: str) -> str:
    """What there is to train on, and what answers now."""
    serving = "no adapter: the base model"
    if active:
        noun = "detector" if active.kind == "detector" else "adapter"
        serving = f"{noun} {escape(active.id[:8])} of {when(active.created_at)}{f', {TRIAL}' if active.trial else ''}"
    hint = ""
    if found.train == 0 and found.holdout:
        hint = '<p class="hint">All corrections so far are of bags kept for testing. Correct some more scans.</p>'
    elif found.train == 0:
        todo = (
            "accept what waits on <b>Review</b>" if found.pending else "correct and save some scans on <b>Analyse</b>"
        )
        hint = f'<p class="hint">Nothing to train on yet: {todo} first.</p>'
    elif found.new == 0:
        hint = '<p class="hint">Nothing new since the last run.</p>'
    pending = f'<div class="card"><b>{found.pending}</b><span>wait for review</span></div>' if found.pending else ""
    return (
        '<div class="cards">'
        f'<div class="card" id="count-new"><b>{found.new}</b><span>new since the last run</span></div>'
        f'<div class="card" id="count-train"><b>{found.train}</b><span>train</span></div>'
        f'<div class="card" id="count-holdout"><b>{found.holdout}</b><span>kept for testing</span></div>{pending}</div>'
        f'{hint}<p class="serving">In use: <b>{serving}</b> on {escape(base)}</p>'
    )


def run_status(run: Run | None) -> str:
    """The run in hand in one line, with its bar. One that waits is in hand only where none is at work."""
    if run is None:
        return '<p class="hint">No run yet. Start one above; it goes on when you close the browser.</p>'
    done = round(run.progress * 100)
    text = {
        "queued": "starting: the models are loaded",
        "running": f"{done} %",
        "succeeded": "finished: look at the candidate on the right, then promote it or not",
        "failed": "failed",
        "cancelled": "cancelled",
    }[run.status]
    error = f'<p class="error">{escape(run.error)}</p>' if run.error else ""
    return (
        f'<div class="run {run.status}" data-status="{run.status}"><div class="run-line">'
        f"<b>{_STATUS[run.status]} {run.status}</b>"
        f"<span>{escape(text)}</span><span class='quiet'>{escape(run.id[:8])} · {escape(_samples(run))}</span></div>"
        f'<div class="bar"><i style="width:{done}%"></i></div>{error}</div>'
    )


def _samples(run: Run) -> str:
    samples = run.samples
    if not (samples.train or samples.replay):
        return f"{run.recipe}, {run.method}"
    return (
        f"{run.recipe}, {run.method}, {samples.train} corrected + {samples.replay} replayed, {samples.holdout} held out"
    )


def run_table(found: Sequence[Run]) -> str:
    """All runs, newest first, errors in full."""
    if not found:
        return '<p class="hint">No runs yet.</p>'
    rows = []
    for run in found:
        took = ""
        if run.started_at and run.ended_at:
            took = f"{(run.ended_at - run.started_at).total_seconds():.0f} s"
        state = f"{run.status} {run.progress:.0%}" if run.status == "running" else run.status
        error = f'<tr><td colspan="7" class="error">{escape(run.error)}</td></tr>' if run.error else ""
        rows.append(
            f'<tr class="{run.status}"><td>{when(run.created_at)}</td><td>{escape(run.created_by)}</td>'
            f"<td>{escape(run.kind)}</td><td>{escape(_samples(run))}</td><td>{_STATUS[run.status]} {state}</td>"
            f"<td>{took}</td><td>{escape(run.adapter_id[:8]) if run.adapter_id else ''}</td></tr>{error}"
        )
    return (
        '<table class="grid"><thead><tr><th>started</th><th>by</th><th>kind</th><th>trained on</th><th>status</th>'
        f"<th>took</th><th>adapter</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def adapter_name(adapter: Adapter) -> str:
    """An adapter in one line, for a list to choose from."""
    gate = adapter.gate.answer if adapter.gate.answer == "not shown yet" else f"gate {adapter.gate.answer}"
    use = " · in use on trial" if adapter.trial else " · in use" if adapter.active else ""
    return f"{when(adapter.created_at)} · {adapter.id[:8]} · {gate}{use}"


def comparison(adapter: Adapter | None) -> str:
    """Candidate beside the model that was in use when it was measured, on both hold-outs, and the gate."""
    if adapter is None:
        return '<p class="hint">No adapter yet. A run that succeeds puts its candidate here.</p>'
    checks = "".join(
        f'<li class="{_css(check.answer)}"><b>{_ANSWERS[check.answer]} {check.answer}</b> '
        f"{escape(check.name)}<span>{escape(check.detail)}</span></li>"
        for check in adapter.gate.checks
    )
    answer = adapter.gate.answer
    return (
        f"{_metrics(adapter.metrics)}"
        f'<div class="gate {_css(answer)}"><h3>{_VERDICTS[answer]}</h3><ul>{checks}</ul></div>'
    )


def _css(answer: str) -> str:
    return answer.replace(" ", "-")


def unpromoted(adapter: Adapter | None) -> str:
    """Why a candidate cannot be promoted, for beside the button; empty where it can."""
    if adapter is None:
        return ""
    if adapter.active:
        again = f"<code>python -m training examine {escape(adapter.id)}</code>"
        trial = f" {TRIAL}. {again} asks the gate again, by all the bags held out since." if adapter.trial else "."
        return f'<p class="quiet">It is in use{trial}</p>'
    if adapter.gate.passed:
        return ""
    names = ", ".join(escape(check.name) for check in adapter.gate.open_checks)
    if adapter.gate.answer == "not shown yet":
        return f'<p class="quiet">Not shown yet: {names}. It can be promoted as a trial; say why below.</p>'
    return f'<p class="quiet">The gate refuses it: {names}. To promote it all the same, say why below.</p>'


def _metrics(metrics: RunMetrics) -> str:
    if metrics.candidate is None:
        return '<p class="hint">It was not measured.</p>'
    active, candidate = metrics.active, metrics.candidate
    head = ""
    for name, measured in (("Simulated", candidate.simulated), ("This site", candidate.site)):
        few = "" if name == "Simulated" or measured.n >= SITE_BAGS_NEEDED else ", not enough evidence yet"
        head += f'<th colspan="3">{name}: {measured.n} bags{few}</th>'
    rows = ""
    for field, name, more_is_better in _FIGURES:
        if field == "map50" and candidate.simulated.map50 is None:
            continue  # a language model draws no boxes
        cells = "".join(
            _three(before, after, field, more_is_better)
            for before, after in (
                (active.simulated if active else None, candidate.simulated),
                (active.site if active else None, candidate.site),
            )
        )
        rows += f"<tr><th>{name}</th>{cells}</tr>"
    half = "<td>in use</td><td>candidate</td><td>change</td>"
    return (
        f'<table class="grid metrics"><thead><tr><th></th>{head}</tr><tr class="sub"><td></td>{half}{half}</tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _three(before: MetricSet | None, after: MetricSet, field: str, more_is_better: bool) -> str:
    old = getattr(before, field) if before else None
    new = getattr(after, field)
    if old is None or new is None:
        return f"<td>{_figure(old)}</td><td>{_figure(new)}</td><td></td>"
    change = new - old
    kind = "same" if abs(change) < 0.0005 else "better" if (change > 0) == more_is_better else "worse"
    # Words of the same meaning as the colour.
    word = "=" if kind == "same" else f"{'↑' if change > 0 else '↓'} {kind}"
    return f'<td>{_figure(old)}</td><td><b>{_figure(new)}</b></td><td class="{kind}">{change:+.3f} {word}</td>'


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def user_table(found: Sequence[User]) -> str:
    """Everybody who may sign in, and who may not any more."""
    rows = "".join(
        f'<tr class="{"disabled" if user.disabled else ""}"><td>{escape(user.username)}</td>'
        f"<td>{escape(user.role.value)}</td><td>{'disabled' if user.disabled else 'active'}</td>"
        f"<td>{when(user.created_at)}</td></tr>"
        for user in found
    )
    return (
        '<table class="grid"><thead><tr><th>name</th><th>role</th><th>status</th><th>since</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )
