"""What became of the boxes of a data set, class by class: the closing lines of an import."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class BoxCounts:
    """Boxes by class.

    Attributes:
        taken: stored now.
        here: of pictures that were here already, labelled alike.
        left_out: by class (or the set's own label) and why.
    """

    taken: Counter[str] = field(default_factory=Counter)
    here: Counter[str] = field(default_factory=Counter)
    left_out: Counter[tuple[str, str]] = field(default_factory=Counter)

    def lose(self, labels: Iterable[str], why: str) -> None:
        """Boxes of these labels are left out."""
        for label in labels:
            self.left_out[label, why] += 1

    @property
    def lost(self) -> int:
        """How many boxes were left out."""
        return self.left_out.total()

    def lines(self) -> list[str]:
        """A line a class, as "knife: 12 boxes taken, 3 left out (missing image 2, bad box 1)"; prominent ones first."""
        by_class: dict[str, list[str]] = {}
        lost = Counter[str]()
        for (label, why), count in self.left_out.most_common():
            by_class.setdefault(label, []).append(f"{why} {count:,}")
            lost[label] += count
        labels = {*self.taken, *self.here, *by_class}
        lines = []
        for label in sorted(labels, key=lambda one: (-self.taken[one] - self.here[one], one)):
            said = [f"{self.taken[label]:,} boxes taken"]
            if self.here[label]:
                said.append(f"{self.here[label]:,} here already")
            said.append(f"{lost[label]:,} left out" + (f" ({', '.join(by_class[label])})" if lost[label] else ""))
            lines.append(f"{label}: {', '.join(said)}")
        return lines
