"""The taxonomy as corrections need it: a protocol, so that this room depends on the value types alone."""

from __future__ import annotations

from typing import Protocol

from xray_app.types import XYXY, Box, BoxSource, Item


class Labels(Protocol):
    """Resolves labels and aliases; `xray_app.taxonomy.Taxonomy` is one.

    Both methods give the canonical label with its status, and raise UnknownLabel for one that is neither
    a class nor an alias.
    """

    @property
    def sha256(self) -> str: ...

    def item(self, label: str, count: int, confidence: float | None = None) -> Item: ...

    def box(
        self,
        id: str,
        source: BoxSource,
        label: str,
        xyxy: XYXY,
        confidence: float | None = None,
    ) -> Box: ...
