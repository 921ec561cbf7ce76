"""The number of each class in exports: given once, in the order of the taxonomy file, and never moved."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from xray_app.store.database import Database
from xray_app.store.exchange_tables import ClassIdRow
from xray_app.taxonomy import Taxonomy


def of_classes(db: Database, taxonomy: Taxonomy) -> tuple[str, ...]:
    """The classes by id, as they were called when they got it; a class that is new gets the next one.

    A class that was renamed (its old name is an alias now) keeps its id. One that is gone or retired keeps it too,
    so that an id never comes to mean something else.

    Raises:
        StorageFailed: disk full or read-only, and a class has no id yet.
    """
    names = _names(db)
    if not _new(names, taxonomy):
        return names
    try:
        with db.write() as session:
            names = tuple(session.scalars(select(ClassIdRow.name).order_by(ClassIdRow.id)))
            for id, name in enumerate(_new(names, taxonomy), start=len(names)):
                session.add(ClassIdRow(id=id, name=name))
    except IntegrityError:  # another process gave them at the same moment
        pass
    return _names(db)


def _names(db: Database) -> tuple[str, ...]:
    with db.read() as session:
        return tuple(session.scalars(select(ClassIdRow.name).order_by(ClassIdRow.id)))


def _new(names: tuple[str, ...], taxonomy: Taxonomy) -> list[str]:
    known = {found.name for name in names if (found := taxonomy.find(name)) is not None}
    return [one.name for one in taxonomy.classes if not one.retired and one.name not in known]
