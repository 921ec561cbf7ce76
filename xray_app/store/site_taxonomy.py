"""The classes of this site: those of the taxonomy file, and those that people added at the desk.

Whoever has the desk's database asks here for its classes, so that server, imports and training runs know the same
ones. A class is never taken back: records name it. A site that wants it otherwise names it in its file, which has the
last word: as a class with another status, or as an alias of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from xray_app.errors import BadInput, Conflict
from xray_app.site_classes import MOST_CLASSES
from xray_app.store import audit
from xray_app.store.database import Database
from xray_app.store.exchange_tables import SiteClassRow
from xray_app.taxonomy import ItemClass, SiteRules, Taxonomy, load_taxonomy
from xray_app.types import Status


@dataclass(frozen=True)
class SiteClass:
    """A class that somebody added.

    Attributes:
        name, status: the class.
        created_at, by: when it was added, and who did.
    """

    name: str
    status: Status
    created_at: datetime
    by: str


def site_taxonomy(db: Database, path: Path) -> Taxonomy:
    """The classes of the taxonomy file at `path`, with those added at this desk.

    Raises:
        BadTaxonomy: the file is wrong.
    """
    return load_taxonomy(path).with_classes(_item_classes(added(db)))


def rules_in_force(db: Database, of_file: SiteRules) -> SiteRules:
    """The rules of the file, with the classes added by now, here or in another process; the same object until then."""
    return _with_classes(of_file, _item_classes(added(db)))


@lru_cache(maxsize=8)
def _with_classes(of_file: SiteRules, classes: tuple[ItemClass, ...]) -> SiteRules:
    taxonomy = of_file.taxonomy.with_classes(classes)
    return of_file if taxonomy is of_file.taxonomy else SiteRules(taxonomy, of_file.policy)


def added(db: Database) -> tuple[SiteClass, ...]:
    """The classes that were added, in the order in which they were."""
    with db.read() as session:
        return _added(session)


def add(db: Database, taxonomy: Taxonomy, classes: Sequence[ItemClass], by: str) -> None:
    """Adds classes, all or none; they count from now on. One that is here already with this status is left as it is.

    Args:
        db: the store.
        taxonomy: the site's classes by now.
        classes: made by `site_classes.new_class`.
        by: who adds them.

    Raises:
        Conflict: somebody has added one of them meanwhile, with another status.
        BadInput: there would be more than `MOST_CLASSES`.
        StorageFailed: disk full or read-only.
    """
    if not classes:
        return
    with db.write() as session:
        before = _added(session)
        known = taxonomy.with_classes(_item_classes(before))
        new = [one for one in classes if known.find(one.name) is None]
        for one in classes:
            found = known.find(one.name)
            if found is not None and (not found.added or found.status is not one.status):
                raise Conflict(f"{one.name!r} is a class by now: {found.name}, which is {found.status.value}.")
        if len(before) + len(new) > MOST_CLASSES:
            raise BadInput(f"A desk takes {MOST_CLASSES} classes of its own; write others into the taxonomy file.")
        for id, one in enumerate(new, start=len(before)):
            now = datetime.now(UTC)
            session.add(SiteClassRow(id=id, name=one.name, status=one.status.value, created_at=now, by=by))
            audit.write(session, by, "class added", {"name": one.name, "status": one.status.value})


def _added(session: Session) -> tuple[SiteClass, ...]:
    rows = session.scalars(select(SiteClassRow).order_by(SiteClassRow.id))
    return tuple(SiteClass(row.name, Status(row.status), row.created_at, row.by) for row in rows)


def _item_classes(classes: Sequence[SiteClass]) -> tuple[ItemClass, ...]:
    return tuple(ItemClass.of_desk(one.name, one.status) for one in classes)
