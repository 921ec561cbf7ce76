"""The table by which pictures near one that was corrected are found; it can be made anew from the scans."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from xray_app.store.tables import Base


class PictureBandRow(Base):
    """A band of the perceptual hash of a corrected scan; see `scan.near_equal`."""

    __tablename__ = "picture_bands"
    __table_args__ = (Index(None, "scan_id"),)

    band: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    scan_id: Mapped[str] = mapped_column(ForeignKey("scans.id"), primary_key=True)
