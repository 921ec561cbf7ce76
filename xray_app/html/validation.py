"""Validation on a page: how a campaign stands, what was signed, how the watch over it stands, what was withdrawn."""

from __future__ import annotations

from html import escape

from xray_app.html.panels import when
from xray_app.validation import CampaignStatus, ValidationEvidence, Validations, ValidationStatus, WithdrawnValidation

EMPTY = (
    '<p class="quiet">No scanner is validated, so no bag is advised to be cleared anywhere. A campaign for one scanner '
    "holds its next bags apart, test images among them; two people label each; then an admin signs what it shows.</p>"
)
DEMONSTRATION = (
    '<p class="promise not-yet"><b>Demonstration models.</b> The bundled models are never validated: serve models of '
    "your own (XRAY_VLM, XRAY_DETECTOR) to open a campaign.</p>"
)


def campaign(status: CampaignStatus) -> str:
    """How the campaign of a scanner stands."""
    one, evidence = status.campaign, status.evidence
    labelled = evidence.bags
    head = f"Campaign on {escape(one.scanner_id)}, opened by {escape(one.by)} on {when(one.opened_at)}"
    if one.end is not None:
        ended = f"{one.end.kind} by {escape(one.end.by)} on {when(one.end.at)}: {escape(one.end.reason)}"
        return f'<h3>{head}</h3><p class="quiet">Ended, {ended}</p>{told(evidence)}'
    bars = (
        f"<p>{status.enrolled} of {one.bags} bags have come in, {labelled} are labelled by two people or known as test "
        f"images. Bags join until {when(one.ends_at)}.</p>"
        f'<progress max="{one.bags}" value="{status.enrolled}" aria-label="bags come in"></progress>'
        f'<progress max="{one.bags}" value="{labelled}" aria-label="bags labelled"></progress>'
    )
    if status.objections:
        items = "".join(f"<li>{escape(why)}</li>" for why in status.objections)
        verdict = f'<p class="promise not-yet"><b>Cannot be signed yet.</b></p><ul>{items}</ul>'
    else:
        verdict = '<p class="promise"><b>Can be signed.</b> Say why, and sign.</p>'
    return f"<h3>{head}</h3>{bars}{verdict}{told(evidence)}"


def told(evidence: ValidationEvidence) -> str:
    """What the labelled bags show, in sentences and by class."""
    if not evidence.bags:
        return '<p class="quiet">Nothing is known of its bags yet.</p>'
    parts = []
    if evidence.recall_low is not None:
        parts.append(
            f"Of {evidence.threats} bags with a threat ({evidence.test_threats} of them test images) {evidence.found} "
            f"were advised to be searched: at least {evidence.recall_low:.1%} (95 % sure); the policy asks for "
            f"{evidence.wanted:.0%}. In {evidence.let_through} the models saw nothing."
        )
    else:
        parts.append("No bag with a threat is labelled yet.")
    if evidence.stopped is not None and evidence.stopped_ci is not None and evidence.passed is not None:
        low, high = (100 * share for share in evidence.stopped_ci)
        parts.append(
            f"Of {evidence.bags - evidence.threats} clear bags {evidence.stopped:.0%} were advised to be searched "
            f"({low:.0f}–{high:.0f}), and in {evidence.passed:.0%} the models saw nothing."
        )
    rows = "".join(
        f"<tr><th scope=row>{escape(label)}</th><td>{one.found} of {one.bags}</td></tr>"
        for label, one in evidence.by_class.items()
    )
    table = (
        f'<table class="plain"><caption>Bags with a threat found, by class</caption><tbody>{rows}</tbody></table>'
        if rows
        else ""
    )
    return f"<p>{' '.join(parts)}</p>{table}"


def signed(found: Validations) -> str:
    """What holds, what has lapsed, and what was withdrawn and why."""
    if not found.signed and not found.withdrawn:
        return EMPTY
    parts = []
    if found.signed:
        rows = "".join(_row(one) for one in found.signed)
        parts.append(
            '<table class="plain"><caption>Validated</caption><thead><tr><th>scanner</th><th>state</th><th>finds</th>'
            f"<th>since, of known truth</th><th>signed by</th><th>why</th></tr></thead><tbody>{rows}</tbody></table>"
        )
    parts += [_withdrawn(one) for one in found.withdrawn[:5]]
    return "".join(parts)


def _row(one: ValidationStatus) -> str:
    validation, watch = one.validation, one.watch
    low = validation.evidence.recall_low
    state = "in force" if one.in_force else "lapsed: models, classes, policy or threshold changed"
    seen = f"{watch.found} of {watch.threats} threats found; watch at {watch.sum:.1f} of {watch.limit:.1f}"
    return (
        f"<tr><th scope=row>{escape(validation.scanner_id)}</th><td>{state}</td>"
        f"<td>{'–' if low is None else f'≥ {low:.1%}'}</td><td>{seen}</td>"
        f"<td>{escape(validation.by)}, {when(validation.signed_at)}</td><td>{escape(validation.reason)}</td></tr>"
    )


def _withdrawn(one: WithdrawnValidation) -> str:
    by = "by itself" if one.by == "policy" else f"by {escape(one.by)}"
    return (
        f'<p class="promise not-yet"><b>{escape(one.validation.scanner_id)}: withdrawn {by}</b> on {when(one.at)}. '
        f"{escape(one.reason)}</p>"
    )
