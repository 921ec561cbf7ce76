"""The report that a detector's findings make, as a draft of a model's answer about the same picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future

from xray_app.detector.base import Detection
from xray_app.report import format_report, parse_entries
from xray_app.report_form import Entry
from xray_app.taxonomy import Taxonomy
from xray_app.types import MAX_COUNT

OPENING = "Items detected: "
DRAFT_CONFIDENCE = 0.4
"""From which on a box is expected in the VLM's answer."""
_SEPARATOR = ", "


class ReportDraft:
    """Goes on with a report from how it begins; what was said is never contradicted.

    Where the answer says something else than was expected, the rest is expected anew: first what the detector holds
    besides, then the other classes.
    """

    def __init__(self, counts: Mapping[str, int], taxonomy: Taxonomy, others: Sequence[str] = ()) -> None:
        """
        Args:
            counts: what is expected; canonical names to counts from 1 to 99.
            taxonomy: gives names and order.
            others: classes that come next into question, the likeliest first.
        """
        self._counts = dict(counts)
        self._taxonomy = taxonomy
        self._order = list(dict.fromkeys([*sorted(counts, key=taxonomy.rank), *others, *taxonomy.names]))

    def __call__(self, said: str) -> str | None:
        if not said.startswith(OPENING):
            return format_report(self._counts, self._taxonomy) if OPENING.startswith(said) else None
        for counts in self._expected(said):
            whole = format_report(counts, self._taxonomy)
            if whole.startswith(said):
                return whole
        return None

    def _expected(self, said: str) -> Iterator[Mapping[str, int]]:
        """Contents that such a beginning may stand for, the likeliest first."""
        before, _, last = said.rpartition(_SEPARATOR)
        if not before:
            last = said[len(OPENING) :]
        listed = _counts(parse_entries(before, self._taxonomy).entries)
        whole = _counts(parse_entries(said, self._taxonomy).entries)
        yield {**whole, **self._after(whole)}
        number, _, name = last.partition(" ")
        written = int(number) if number.isdecimal() and len(number) <= 2 else 0
        for label in self._order:
            if label in listed:
                continue
            item = self._taxonomy.resolve(label)
            count = written or self._counts.get(label, 1)
            if 1 <= count <= MAX_COUNT and (item.plural if count > 1 else item.name).startswith(name):
                here = {**listed, label: count}
                yield {**here, **self._after(here)}
        yield whole

    def _after(self, said: Mapping[str, int]) -> Mapping[str, int]:
        """What is expected behind the last of these in the report's order."""
        last = max(map(self._taxonomy.rank, said), default=-1)
        return {label: count for label, count in self._counts.items() if self._taxonomy.rank(label) > last}


def _counts(entries: Sequence[Entry]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for entry in entries:
        counts[entry.label] = min(counts[entry.label] + entry.count, MAX_COUNT)
    return dict(counts)


def draft_of(detections: Sequence[Detection], taxonomy: Taxonomy) -> ReportDraft:
    """What the VLM is expected to say of a scan, given what the detector found."""
    sure = Counter(one.label for one in detections if one.confidence >= DRAFT_CONFIDENCE)
    likely = sorted(detections, key=lambda one: -one.confidence)
    counts = {label: min(count, MAX_COUNT) for label, count in sure.items()}
    return ReportDraft(counts, taxonomy, [one.label for one in likely])


class DetectorDraft:
    """The draft of an answer, of what the detector is still looking for; waits for it when first asked."""

    def __init__(self, detecting: Future[tuple[list[Detection], float]], taxonomy: Taxonomy) -> None:
        self._detecting = detecting
        self._taxonomy = taxonomy
        self._draft: ReportDraft | None = None

    def __call__(self, said: str) -> str | None:
        if self._draft is None:
            self._draft = draft_of(self._detecting.result()[0], self._taxonomy)
        return self._draft(said)
