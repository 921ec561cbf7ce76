"""What people said of a view of a bag, what of it counts, and what the bag stands at by it. Pure.

Counted are every hand search that found something and, of the revisions of a view in the order of time, each that
nobody rejected and no later one replaced. A later revision replaces an earlier one

- of anybody, where a second person accepted the later one;
- of its own author, where the earlier one was never accepted, or was accepted as it was saved and so is the later.

So what one person said is lowered by another only with the acceptance of a second one, whether reviews are required
or not. A revision for which only some classes were looked for replaces nothing that was said of the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from xray_app.risk import Finding, by_people, severity, standing, worst
from xray_app.types import POLICY, Analysis, Box, Correction, Item, StandingRisk, Status

Kind = Literal["pending", "saved", "accepted", "rejected", "search"]
"""Of a revision: not reviewed, accepted as it was saved, accepted by a second person, rejected. Or a hand search."""


@dataclass(frozen=True)
class Statement:
    """What one person said at one time.

    Attributes:
        by: who.
        at: when.
        kind: a hand search, or what became of a revision.
        labels: what they say is there, each with its status by the taxonomy.
        looked_for: the classes they looked for; None: all.
    """

    by: str
    at: datetime
    kind: Kind
    labels: Mapping[str, Status]
    looked_for: frozenset[str] | None = None

    def speaks_of(self, label: str) -> bool:
        """Whether they would have said it if it were there."""
        return self.looked_for is None or label in self.looked_for

    def replaces(self, earlier: Statement) -> bool:
        """Whether this takes the place of what was said before, as far as it speaks of the same classes."""
        if "search" in (self.kind, earlier.kind) or self.kind == "rejected":
            return False
        if self.kind == "accepted":
            return True
        own = self.by == earlier.by
        return own and (earlier.kind == "pending" or (earlier.kind, self.kind) == ("saved", "saved"))


def of_correction(correction: Correction, *, second: bool) -> Statement:
    """A revision as a statement: what its list names and what its boxes name.

    Args:
        correction: with its present status.
        second: whether somebody other than its author accepted it.
    """
    kind: Kind = "saved" if correction.status == "accepted" and not second else correction.status
    both: tuple[Item | Box, ...] = (*correction.items, *correction.boxes)
    labels = {one.label: one.status for one in both}
    scope = correction.labelled_classes
    looked_for = None if scope is None else frozenset(scope)
    return Statement(_name(correction.author), correction.created_at, kind, labels, looked_for)


def of_search(author: str, at: datetime, found: Mapping[str, Status]) -> Statement:
    """What a hand search found, as a statement."""
    return Statement(_name(author), at, "search", found)


def _name(author: str) -> str:
    # An old database may have a user of this name, and whoever reads `by` must tell the two apart.
    return f"{author} (user)" if author.casefold() == POLICY else author


def counting(statements: Sequence[Statement]) -> list[Statement]:
    """What counts of what was said of one view, with the labels that still count.

    Args:
        statements: in the order of time.
    """
    found = []
    for place, one in enumerate(statements):
        if one.kind == "rejected":
            continue
        later = [other for other in statements[place + 1 :] if other.replaces(one)]
        left = {
            label: status for label, status in one.labels.items() if not any(other.speaks_of(label) for other in later)
        }
        found.append(replace(one, labels=left))
    return found


def risk_of(statements: Sequence[Statement]) -> StandingRisk | None:
    """The risk of what people found in one view; None where they found nothing that is forbidden.

    Args:
        statements: in the order of time.
    """
    return by_people(
        [
            Finding(label, status, _how(one), one.by)
            for one in counting(statements)
            for label, status in one.labels.items()
        ]
    )


def _how(one: Statement) -> str:
    return f"found in a hand search by {one.by}" if one.kind == "search" else f"marked by {one.by}"


def lowers(statements: Sequence[Statement], new: Statement) -> str | None:
    """Whose word a new revision would lower if it were accepted; None where nobody else's.

    A hand search is a fact, which nobody lowers: it is no reason to have a revision reviewed.

    Args:
        statements: of the view so far, in the order of time.
        new: the revision to be saved.
    """
    others = [one for one in counting(statements) if one.by != new.by and one.kind != "search"]
    before, after = risk_of(others), risk_of([*others, replace(new, kind="accepted")])
    if before is None or (after is not None and severity(after) >= severity(before)):
        return None
    return before.by


@dataclass(frozen=True)
class BagStanding:
    """What one bag stands at.

    Attributes:
        risk: of the bag: the worst of its views, each by its newest analysis and what people found in it.
        worst_scan: id of the scan that is the worst of them.
        people: what people found in each scan, by its id, where it was something forbidden.
    """

    risk: StandingRisk
    worst_scan: str
    people: Mapping[str, StandingRisk]

    @property
    def by_people(self) -> StandingRisk | None:
        """The worst that people found in the bag; None: nothing."""
        return worst(self.people.values(), lambda one: one) if self.people else None

    def of_view(self, analysis: Analysis) -> StandingRisk:
        """What one view stands at, by an analysis of it and by what people found in it."""
        return standing(analysis.risk, self.people.get(analysis.scan.id))

    def over(self, analysis: Analysis) -> StandingRisk:
        """The one verdict over an analysis: the worst of its view's and its bag's."""
        return worst((self.of_view(analysis), self.risk), lambda one: one)
