"""What is in a bag, where enough people have said so for models to be judged by it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from xray_app.correction.statements import Statement, counting
from xray_app.types import Status


def prohibited_in(
    said: Mapping[str, Sequence[Statement]], scans: Collection[str], searched: bool
) -> frozenset[str] | None:
    """Prohibited labels that are in a bag; None where that is not known.

    It is known by a hand search, or where two people have labelled every view: one saved a revision that a second one
    accepted, none waits for a review, and each looked for all classes or named something prohibited.

    Args:
        said: of each view, in the order of time.
        scans: ids of the bag's views.
        searched: a hand search of the bag is on record, whatever it found.
    """
    threats: set[str] = set()
    twice = bool(scans)
    for scan in scans:
        statements = said.get(scan, ())
        counted = counting(statements)
        here = {label for one in counted for label, status in one.labels.items() if status is Status.PROHIBITED}
        threats |= here
        by_two = any(one.kind == "accepted" and (here or one.looked_for is None) for one in counted)
        waits = any(
            one.kind == "pending" and not any(later.replaces(one) for later in statements[place + 1 :])
            for place, one in enumerate(statements)
        )
        twice = twice and by_two and not waits
    return frozenset(threats) if searched or twice else None
