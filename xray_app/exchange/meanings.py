"""What a person says of a data set's labels, by command line and tab alike: read, joined with what was said before,
kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xray_app.exchange.label_map import LabelMap, read_looked_for, read_mapping, read_new_classes
from xray_app.store import label_meanings, site_taxonomy
from xray_app.store.database import Database
from xray_app.taxonomy import ItemClass, Taxonomy


@dataclass(frozen=True)
class Meanings:
    """What was said now; nothing of it is kept yet.

    Attributes:
        known: the site's classes by now.
        new: the classes that are to be added.
        said: by normalised label a class, or None to ignore its boxes.
    """

    known: Taxonomy
    new: tuple[ItemClass, ...]
    said: Mapping[str, str | None]

    @classmethod
    def read(cls, pairs: Sequence[tuple[str, str]], taxonomy: Taxonomy) -> Meanings:
        """Of labels and what each is, at a site of these classes.

        Raises:
            BadInput: as `read_new_classes` and `read_mapping`.
        """
        new = read_new_classes(pairs, taxonomy)
        return cls(taxonomy, new, read_mapping(pairs, taxonomy.with_classes(new)))

    @property
    def taxonomy(self) -> Taxonomy:
        """The site's classes, with those that are to be added."""
        return self.known.with_classes(self.new)

    def label_map(self, db: Database, skip_unknown: bool, looked_for: str | None) -> LabelMap:
        """What was said before counts too, where nobody says otherwise now.

        Raises:
            UnknownLabel: what was looked for is no class.
        """
        taxonomy = self.taxonomy
        said = {**label_meanings.said(db, taxonomy), **self.said}
        return LabelMap(taxonomy, said, skip_unknown, read_looked_for(looked_for, taxonomy))

    def keep(self, db: Database, by: str) -> None:
        """Adds the new classes and keeps what was said for the next import.

        Raises:
            Conflict, BadInput, StorageFailed: as `site_taxonomy.add`.
        """
        site_taxonomy.add(db, self.known, self.new, by)
        label_meanings.keep(db, self.said, by)
