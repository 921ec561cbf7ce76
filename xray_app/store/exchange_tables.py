"""Tables of what other programs know us by, and we them: class ids of exports, meanings of other sets' labels; and
the classes that were added for these."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from xray_app.store.tables import Base, Id, Name, Word


class ClassIdRow(Base):
    """The number a class has in every export, for ever. Append-only."""

    __tablename__ = "class_ids"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # from 0, without gaps
    name: Mapped[str] = mapped_column(Name, unique=True)  # as it was called then


class LabelMeaningRow(Base):
    """What somebody said a label of other people's data sets is; the last word counts."""

    __tablename__ = "label_meanings"

    label: Mapped[str] = mapped_column(Name, primary_key=True)  # normalised
    class_name: Mapped[str | None] = mapped_column(Name)  # None: its boxes are ignored
    said_by: Mapped[str] = mapped_column(Id)
    said_at: Mapped[datetime]


class SiteClassRow(Base):
    """A class that somebody added at the desk. Append-only."""

    __tablename__ = "site_classes"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # from 0, without gaps
    name: Mapped[str] = mapped_column(Name, unique=True)
    status: Mapped[str] = mapped_column(Word)
    created_at: Mapped[datetime]
    by: Mapped[str] = mapped_column(Id)
