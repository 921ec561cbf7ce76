"""What the labels of somebody's data set mean here: which class each is, which to ignore, what was looked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from xray_app.errors import BadInput, UnknownLabel
from xray_app.exchange.bounded_text import read_text, read_yaml
from xray_app.exchange.known_sets import offered
from xray_app.site_classes import ALL, IGNORE, new_class
from xray_app.taxonomy import ItemClass, Taxonomy, normalise
from xray_app.types import Status

NEW = "new"
MAX_MAPPING = 2**20
MAX_SHOWN = 100

UNKNOWN, IGNORED = "unknown label", "ignored by the mapping"


@dataclass(frozen=True)
class LabelMap:
    """Turns a data set's labels into classes.

    Attributes:
        taxonomy: the classes of this site.
        said: by normalised label, the class somebody said it is, or None where its boxes are to be ignored.
        skip_unknown: leave out boxes of labels that neither of these knows.
        looked_for: what the person says was looked for; None: what the data set shows.
    """

    taxonomy: Taxonomy
    said: Mapping[str, str | None] = field(default_factory=dict)
    skip_unknown: bool = False
    looked_for: tuple[str, ...] | None = None

    def find(self, label: str) -> str | None:
        """The class; None where its boxes are ignored, or nobody knows it."""
        key = normalise(label[:200])
        if key in self.said:
            said = self.said[key]
            return None if said is None else self.taxonomy.resolve(said).name
        item = self.taxonomy.find(label)
        return item.name if item else None

    def why_not(self, label: str) -> str:
        """Why `find` gives no class for a label."""
        return IGNORED if normalise(label[:200]) in self.said else UNKNOWN

    def refuse_unknown(self, labels: Iterable[str], where: Path) -> None:
        """Refuses labels that nobody knows, all at once, unless they are to be skipped.

        Raises:
            UnknownLabel: with `details` {"labels", "offered": {label: class or "ignore"}}.
        """
        unknown = [
            label for label in dict.fromkeys(labels) if self.find(label) is None and self.why_not(label) == UNKNOWN
        ]
        if not unknown or self.skip_unknown:
            return
        offers = {label: offer for label in unknown[:MAX_SHOWN] if (offer := offered(label, self.taxonomy)) is not None}
        listed = ", ".join(repr(label[:60]) for label in unknown[:20])
        guess = "; ".join(f"{label[:60]}={offer}" for label, offer in list(offers.items())[:20])
        raise UnknownLabel(
            f"{where}: the taxonomy does not know {listed}{' and others' if len(unknown) > 20 else ''}. "
            "Say what each is (--map LABEL=CLASS, LABEL=ignore, or LABEL=new:NAME for a class of its own), or leave "
            f"the boxes of all of them out (--skip-unknown).{f' Offered: {guess}.' if guess else ''}",
            details={"labels": [label[:200] for label in unknown[:MAX_SHOWN]], "offered": offers},
        )

    def scope(self, annotated: Iterable[str], listed: Iterable[str] = ()) -> tuple[str, ...] | None:
        """What was looked for, as `labelled_classes`; () where nobody can tell.

        Args:
            annotated: canonical names that have a box: these were looked for.
            listed: those the set says it labels, where its word is taken for it.
        """
        names = {*annotated, *(listed if self.looked_for is None else self.looked_for)}
        return self.taxonomy.scope(names) if names else ()


def read_looked_for(text: str | None, taxonomy: Taxonomy) -> tuple[str, ...] | None:
    """Canonical names of "knife, gun" or of "all"; None for None and "".

    Raises:
        UnknownLabel: a label that is neither a class nor an alias.
    """
    if text is None or not text.strip():
        return None
    if normalise(text) == ALL:
        return taxonomy.names
    return tuple(dict.fromkeys(taxonomy.resolve(label.strip()).name for label in text.split(",") if label.strip()))


def meaning_new(name: str, status: str) -> str:
    """The meaning of a label that is to be a class of its own, as `read_new_classes` takes it."""
    return f"{NEW}:{name}:{status}"


def _as_new(meaning: str) -> tuple[str, str] | None:
    """Name and status of "new:NAME" or "new:NAME:STATUS"; None of any other meaning. No class has a colon."""
    word, sign, rest = meaning.partition(":")
    if not sign or normalise(word) != NEW:
        return None
    name, sign, status = rest.rpartition(":")
    if not sign:  # who says nothing of a class means one that must not be missed
        name, status = status, Status.PROHIBITED.value
    return " ".join(name.split()), status.strip().lower()


def read_new_classes(pairs: Iterable[tuple[str, str]], taxonomy: Taxonomy) -> tuple[ItemClass, ...]:
    """The classes that a mapping makes, "new:NAME:STATUS", those left out that the desk added before just so.

    Raises:
        BadInput: as `new_class`.
    """
    made: list[ItemClass] = []
    for _, meaning in pairs:
        if (new := _as_new(meaning)) is None:
            continue
        known = taxonomy.with_classes(made)
        found = known.find(new[0])
        if found is None or not found.added or found.status != new[1]:
            made.append(new_class(*new, known))
    return tuple(made)


def read_mapping(pairs: Iterable[tuple[str, str]], taxonomy: Taxonomy) -> dict[str, str | None]:
    """A mapping as `LabelMap` takes it, of labels and what each is: a class, an alias, "ignore", or "new:NAME:STATUS".

    Args:
        pairs: labels, and what each is.
        taxonomy: the site's classes, with those that the mapping makes (`read_new_classes`).

    Raises:
        UnknownLabel: something is to be what is no class.
        BadInput: an empty label, or one said twice and differently.
    """
    said: dict[str, str | None] = {}
    for label, meaning in pairs:
        key = normalise(label[:200])
        if not key:
            raise BadInput(f"The mapping names no label for {meaning!r}.")
        name, _ = _as_new(meaning) or (meaning.strip(), "")
        value = None if normalise(meaning) == IGNORE else taxonomy.resolve(name).name
        if said.setdefault(key, value) != value:
            raise BadInput(f"The mapping says twice what {label[:60]!r} is: {said[key] or IGNORE} and {meaning}.")
    return said


def mapping_file(path: Path) -> list[tuple[str, str]]:
    """The pairs of a mapping file: YAML (`Bat: baton`) or CSV (`Bat,baton`), a pair a line.

    Raises:
        BadDataset: it cannot be read.
        BadInput: something in it is no pair of texts.
    """
    if path.suffix.lower() == ".csv":
        rows = [line.rpartition(",") for line in read_text(path, MAX_MAPPING).splitlines() if line.strip()]
        pairs = [(label.strip().strip('"'), meaning.strip().strip('"')) for label, _, meaning in rows]
        return [pair for pair in pairs if pair != ("label", "class")]
    document = read_yaml(path, MAX_MAPPING)
    if not isinstance(document, dict) or not all(isinstance(value, str) for value in document.values()):
        raise BadInput(
            f"{path}: a mapping file has a line `label: class` for each label, `label: ignore` or `label: new:NAME`."
        )
    return [(str(label), meaning) for label, meaning in document.items()]


def mapping_option(text: str) -> tuple[str, str]:
    """The pair of "Bat=baton".

    Raises:
        BadInput: it is no pair.
    """
    label, sign, meaning = text.rpartition("=")
    if not sign or not label.strip() or not meaning.strip():
        raise BadInput(f"--map takes LABEL=CLASS, LABEL=ignore or LABEL=new:NAME, not {text!r}.")
    return label.strip(), meaning.strip()
