"""The parts of the page that only show something, as HTML. Every value is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from html import escape
from uuid import uuid4

from xray_app.correction.statements import BagStanding
from xray_app.free_text import claimed_level
from xray_app.risk import Rated, by_policy, severity
from xray_app.taxonomy import Policy, SiteRules, Taxonomy
from xray_app.types import Analysis, Correction, Decision, Item, ItemCount, Outcome, Report, StandingRisk, Status

# Shape says the level where colour cannot: octagon, triangle, circle.
_SHAPES = {
    "HIGH": '<polygon points="30,2 70,2 98,30 98,70 70,98 30,98 2,70 2,30"/><path d="M50 22v36M50 70v8"/>',
    "MEDIUM": '<polygon points="50,4 97,94 3,94"/><path d="M50 36v30M50 76v7"/>',
    "LOW": '<circle cx="50" cy="50" r="46"/><path d="M28 52l15 16 29-34"/>',
}
# Nothing was found, and yet somebody has to look: no tick.
_NOT_CLEARED = '<circle cx="50" cy="50" r="46"/><path d="M30 50h40"/>'
_ACTIONS = {"CLEAR": "clear the bag", "REVIEW": "have it reviewed", "SEARCH": "search by hand"}


NO_OPINIONS = '<p class="hint">What both models say, and the items, appear here once a scan is open.</p>'


def icon(level: str, action: str) -> str:
    """The level's shape as inline SVG; a tick only where the advice is to clear the bag."""
    shape = _NOT_CLEARED if level == "LOW" and action != "CLEAR" else _SHAPES[level]
    return f'<svg class="risk-icon" viewBox="0 0 100 100" aria-hidden="true">{shape}</svg>'


def banner(
    analysis: Analysis | None,
    decisions: Sequence[Decision] = (),
    bag: BagStanding | None = None,
    drawn: bool = False,
) -> str:
    """What the bag stands at, readable from across the room; beside it, smaller, the models' own where it differs.

    Args:
        analysis: the view on the screen; None: no scan is open.
        decisions: about it, oldest first.
        bag: what its bag stands at; None: what the models said of this view.
        drawn: its bag was drawn by lot for a hand search.
    """
    if analysis is None:
        return (
            '<div class="risk none"><div class="risk-word">–</div><div class="risk-text"><strong>No scan open</strong>'
            "<span>Add scans on the left; the risk of each appears here.</span></div></div>"
        )
    risk = bag.over(analysis) if bag else by_policy(analysis.risk)
    decided = ""
    if decisions:
        last = decisions[-1]
        seconds = f" after {last.seconds:.0f} s" if last.seconds is not None else ""
        flagged = " · cleared although HIGH" if last.flagged else ""
        decided = (
            f'<span class="decided">Decided: <b>{escape(last.decision)}</b> by {escape(last.author)}'
            f"{seconds}{flagged}</span>"
        )
    policy = f" · policy “{escape(analysis.risk.policy)}”"
    own = beside = ""
    if models_own(analysis, risk):
        own, policy = f'<span class="own">The models: {escape(analysis.risk.reason)}{policy}</span>', ""
        level = analysis.risk.level
        beside = f'<div class="risk-own {level.lower()}"><span>the models’ own</span><b>{level}</b></div>'
    lot = '<span class="by-lot">Drawn by lot: search this bag by hand, whatever the models say.</span>' if drawn else ""
    where = " (another view)" if bag and in_another_view(analysis, bag) else ""
    return (
        f'<div class="risk {risk.level.lower()}" role="status" data-level="{risk.level}" '
        f'data-by="{escape(risk.by, quote=True)}">{icon(risk.level, risk.action)}'
        f'<div class="risk-word">{risk.level}</div>{beside}'
        f'<div class="risk-text"><strong>{escape(_sentence(risk.reason))}{where}</strong>'
        f"<span>Advice: <b>{risk.action}</b>, {_ACTIONS[risk.action]}{policy}</span>"
        f"{lot}{own}{decided}</div></div>"
    )


def in_another_view(analysis: Analysis, bag: BagStanding) -> bool:
    """Whether it is another view of the bag that makes it stand where it does."""
    return severity(bag.over(analysis)) > severity(bag.of_view(analysis))


def models_own(analysis: Analysis, stands: StandingRisk) -> str:
    """What the models say of this view, in words; "" where that is what stands."""
    risk = analysis.risk
    if stands == by_policy(risk):
        return ""
    return f"The models’ own of this view: {risk.level}, {risk.reason}"


def opinions(analysis: Analysis, rules: SiteRules, stands: StandingRisk | None = None) -> str:
    """Where the two models agree and differ, and the VLM's own words.

    Args:
        analysis: what they said.
        rules: this site's classes and policy.
        stands: the one verdict on the screen; a level that the VLM states otherwise is marked as its own. None: the
            models' own risk.
    """
    agreement = analysis.agreement
    differ = bool(agreement.vlm_only or agreement.detector_only)
    heading = "The models disagree" if differ else "The models agree"
    empty = not (differ or agreement.both)
    groups = (
        _group("only", "VLM only", "the detector does not see it", agreement.vlm_only, rules.taxonomy)
        + _group("only", "Detector only", "the VLM does not name it", agreement.detector_only, rules.taxonomy)
        + _group("both", "Both", "both models name it", agreement.both, rules.taxonomy)
    )
    if empty:
        groups = '<p class="quiet">Neither names any item.</p>'
    report = analysis.report
    notes = []
    if not report.complete:
        notes.append(incomplete(report))
    if report.unrecognised:
        notes.append("Not understood: " + ", ".join(f"“{part}”" for part in report.unrecognised))
    warning = f'<p class="warn">{escape(" ".join(notes))}</p>' if notes else ""
    return (
        f'<section class="agreement {"differ" if differ else "agree"}"><h3>{heading}</h3>{groups}</section>'
        f'<section class="words"><h3>The VLM’s words</h3><blockquote>{escape(report.text) or "(no answer)"}'
        f"</blockquote>{own_level(report, stands or by_policy(analysis.risk))}{warning}</section>"
        f"{_facts(analysis, rules.policy)}"
    )


def own_level(report: Report, stands: Rated) -> str:
    """That the level in the VLM's sentence is its own, where another one stands; "" where they are the same."""
    level = report.claimed or claimed_level(report.text)  # old answers were stored without
    if level is None or level == stands.level:
        return ""
    return f'<p class="own-level">“{level}” is the VLM’s own word. What stands is <b>{stands.level}</b>.</p>'


def incomplete(report: Report) -> str:
    """That the VLM's answer is not whole, in a sentence."""
    if report.problem:
        return f"The answer is not whole: {report.problem}."
    return "The answer was cut off or not understood in full."


def _group(kind: str, title: str, meaning: str, labels: Iterable[str], taxonomy: Taxonomy) -> str:
    chips = "".join(_chip(label, taxonomy) for label in labels)
    if not chips:
        return ""
    return f'<div class="group {kind}" title="{meaning}"><h4>{title}</h4><div>{chips}</div></div>'


def _chip(label: str, taxonomy: Taxonomy) -> str:
    found = taxonomy.find(label)
    status = found.status if found else Status.ALLOWED
    mark = {Status.PROHIBITED: "▲ ", Status.RESTRICTED: "◆ "}.get(status, "")
    return f'<span class="chip {status.value}" data-hover-label="{escape(label)}">{mark}{escape(label)}</span>'


def _facts(analysis: Analysis, policy: Policy) -> str:
    opaque = analysis.opaque_fraction
    over = "hard" if opaque > policy.opaque_hard else "soft" if opaque > policy.opaque_soft else ""
    said = {"hard": "past the hard limit", "soft": "past the soft limit", "": "within limits"}[over]
    models, timings, scan = analysis.models, analysis.timings_ms, analysis.scan
    adapter = f"adapter {models.vlm.adapter[:8]}" if models.vlm.adapter else "no adapter"
    adapter, detector = (
        f"{name} on trial" if facts.trial else name
        for name, facts in ((adapter, models.vlm), (models.detector.name, models.detector))
    )
    rows = [
        *_score(analysis),
        ("Opaque", f'<b class="{"warn" if over else ""}">{opaque:.1%}</b> of the picture, {said}'),
        ("VLM", f"{escape(models.vlm.name)}, {escape(adapter)}, {timings.vlm / 1000:.1f} s"),
        ("Detector", f"{escape(detector)}, {timings.detector / 1000:.1f} s"),
        ("Bag", escape(scan.bag_id if len(scan.bag_id) <= 24 else scan.bag_id[:12] + "…")),
    ]
    rows += [(name, escape(said)) for name, said in (("View", scan.view), ("Scanner", scan.scanner_id)) if said]
    rows += [(escape(name.capitalize()), escape(value)) for name, value in scan.acquisition.items()]
    return '<dl class="facts">' + "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows) + "</dl>"


def _score(analysis: Analysis) -> Iterator[tuple[str, str]]:
    """How sure both models are of a threat, in per cent where that is what it means; nothing of older analyses."""
    if analysis.threat_score is None or analysis.score_evidence is None:
        return
    evidence = analysis.score_evidence
    rests_on = f'<span class="quiet">VLM {evidence.vlm:.2f}, detector {evidence.detector:.2f}</span>'
    if analysis.calibrated:
        yield "Threat score", f"<b>{analysis.threat_score:.0%}</b> likely to hold a threat {rests_on}"
    else:
        yield "Threat score", f"<b>{analysis.threat_score:.2f}</b>, uncalibrated: no probability {rests_on}"


def history(
    analysis: Analysis,
    revisions: Sequence[Correction],
    found: Sequence[Outcome] = (),
    decisions: Sequence[Decision] = (),
) -> str:
    """Who said what, newest first, with the prediction at the end."""
    dated = [(outcome.created_at, _outcome(outcome)) for outcome in found]
    dated += [(revision.created_at, _revision(revision)) for revision in revisions]
    dated += [(decision.created_at, _decision(decision)) for decision in decisions]
    rows = [row for _, row in sorted(dated, key=lambda one: one[0], reverse=True)]
    rows.append(
        f'<li><b>prediction</b> <span class="quiet">{when(analysis.created_at)}</span>'
        f"<div>{escape(_counts(analysis.report.items))}</div></li>"
    )
    return f'<ol class="history">{"".join(rows)}</ol>'


def _revision(revision: Correction) -> str:
    comment = f"<q>{escape(revision.comment)}</q>" if revision.comment else ""
    use = "kept for testing" if revision.split == "holdout" else "trains"
    scope = f"looked for {', '.join(revision.labelled_classes)} only" if revision.labelled_classes is not None else ""
    return (
        f'<li class="{revision.status}"><b>revision {revision.revision}</b> {escape(revision.author)} '
        f'<span class="quiet">{when(revision.created_at)} · {revision.status} · {use}</span>'
        f"<div>{escape(changes(revision))}</div>{f'<div>{escape(scope)}</div>' if scope else ''}{comment}</li>"
    )


def _decision(decision: Decision) -> str:
    note = f"<q>{escape(decision.note)}</q>" if decision.note else ""
    seconds = f" after {decision.seconds:.0f} s" if decision.seconds is not None else ""
    state = "taken back at once" if decision.withdrawn_at else "cleared although HIGH" if decision.flagged else ""
    kind = "withdrawn" if decision.withdrawn_at else "flagged" if decision.flagged else "decision"
    return (
        f'<li class="{kind}"><b>{escape(decision.decision)}</b> {escape(decision.author)} '
        f'<span class="quiet">{when(decision.created_at)}{seconds}</span> {state}{note}</li>'
    )


def flag(decision: Decision) -> str:
    """A HIGH bag that somebody cleared, to the supervisor who has not seen it yet."""
    return (
        f"<p><strong>{escape(decision.author)} cleared this bag although it stands at HIGH</strong> "
        f"({when(decision.created_at)}): <q>{escape(decision.note or 'no reason given')}</q></p>"
    )


def clear_high(stands: StandingRisk) -> str:
    """The question before a bag that stands at HIGH is cleared."""
    return (
        f"<strong>This bag stands at HIGH: {escape(stands.reason)}.</strong> Clearing it lets it go without a search. "
        "Write in the note why that is right, then press Enter. A supervisor will see it."
    )


def search_ordered(decision: Decision, outcomes: Sequence[Outcome]) -> str:
    """The question what a hand search found, or what was recorded already."""
    if outcomes:
        last = outcomes[-1]
        return (
            f"<p>The search found <b>{escape(_counts(last.found))}</b> "
            f'<span class="quiet">({escape(last.author)}, {when(last.created_at)})</span>. Was there more?</p>'
        )
    return (
        f"<p><strong>What did the hand search find?</strong> "
        f'<span class="quiet">ordered by {escape(decision.author)}, {when(decision.created_at)}</span></p>'
    )


def _outcome(outcome: Outcome) -> str:
    note = f"<q>{escape(outcome.note)}</q>" if outcome.note else ""
    return (
        f'<li class="outcome"><b>hand search</b> {escape(outcome.author)} '
        f'<span class="quiet">{when(outcome.created_at)}</span>'
        f"<div>found {escape(_counts(outcome.found))}</div>{note}</li>"
    )


def fate(saved: Correction) -> str:
    """What becomes of a correction."""
    if saved.status == "pending":
        return "it waits for a second person"
    return "its bag is kept for testing" if saved.split == "holdout" else "it will train"


def to_review(newest: Correction) -> str:
    """A correction that waits for somebody else's word."""
    return (
        f"<p><b>{escape(newest.author)}</b> saved revision {newest.revision}: {escape(changes(newest))}. "
        "Look at it, then accept or reject it.</p>"
    )


def said(words: str) -> str:
    """A routine word about what was done; it fades, and the next one is a new element, so that it shows anew."""
    return f'<span class="said" role="status" data-said="{uuid4().hex}">{escape(words)}</span>'


def decided(words: str) -> str:
    """As `said`, of a decision: the page offers to undo it for a few seconds."""
    return said(words).replace("<span ", "<span data-undo ", 1)


def changes(revision: Correction) -> str:
    """A correction's difference in words."""
    diff = revision.diff
    parts = [f"{change.label} {change.before} → {change.after}" for change in diff.items]
    for ids, word in ((diff.boxes_added, "drawn"), (diff.boxes_changed, "changed"), (diff.boxes_removed, "removed")):
        if ids:
            parts.append(f"{len(ids)} {'box' if len(ids) == 1 else 'boxes'} {word}")
    return "; ".join(parts) or "confirmed without a change"


def conflict(newest: dict[str, object]) -> str:
    """Somebody saved in between: what happened, and the two ways on."""
    revision = Correction.model_validate(newest)
    return (
        f'<div class="conflict" role="alert" data-shown="{uuid4().hex}"><strong>{escape(revision.author)} saved '
        f"revision {revision.revision} "
        "while you were editing.</strong> Nothing was overwritten, and your edits are still in the picture. "
        f"Theirs: {escape(changes(revision))}."
        "<br>Keep yours on top of theirs as a new revision, or drop yours and look at theirs.</div>"
    )


def clash(boxes: Mapping[str, int]) -> str:
    """Boxes of what the list does not name: what another press on Save does, and the other ways on."""
    named = escape(", ".join(f"{count} {label}" for label, count in boxes.items()))
    return (
        f'<div class="conflict clash" role="alert" data-said="{uuid4().hex}"><strong>The list lacks what the boxes '
        f"show: {named}.</strong> Nothing is saved yet. <b>Save again (S, or Enter)</b> saves with counts from "
        "boxes: raised where there are more boxes, never lowered. Or delete what is not there.</div>"
    )


def header(username: str, role: str, demonstration: bool, trial: bool = False, remote: bool = False) -> str:
    """Name, badge, who is signed in, and the way out.

    `trial`: a model in use was promoted as a trial. `remote`: a proxy signs the user in, so the way out is there too.
    """
    said = ("demonstration model" if demonstration else "model") + (" on trial" if trial else "")
    why = ["Small bundled models, trained on simulated scans. Never rely on them alone."] if demonstration else []
    if trial:
        why.append("Promoted before enough bags were held out to show that it is as good as the one before.")
    badge = f'<span class="demo" title="{" ".join(why)}">{said}</span>' if why else ""
    way_out = '<form method="post" action="../signout"><button type="submit">Sign out</button></form>'
    return (
        f'<header class="desk-head"><span class="desk-name">X-ray desk</span>{badge}<span class="desk-user">'
        f"<b>{escape(username)}</b> <span>{escape(role)}</span></span>"
        '<button type="button" class="theme" title="Light or dark; this browser remembers it">'
        '<span class="to-light">☀ Light</span><span class="to-dark">☾ Dark</span></button>'
        f"{'' if remote else way_out}</header>"
    )


def when(moment: datetime) -> str:
    """A time for the screen, in the machine's own zone."""
    return moment.astimezone().strftime("%d %b %H:%M")


def _counts(items: Iterable[Item | ItemCount]) -> str:
    return ", ".join(f"{item.count} {item.label}" for item in items) or "nothing"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
