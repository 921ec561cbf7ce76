"""SVG elements as text. Every chart is drawn with these."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape


def element(name: str, inside: str = "", /, **attributes: str | float) -> str:
    """One element.

    Args:
        name: as `circle`.
        inside: markup that is escaped already; "" closes the element at once.
        attributes: `stroke_width` is written stroke-width and `class_` class. Text is escaped, a float has one
            decimal.
    """
    written = "".join(f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"' for key, value in attributes.items())
    return f"<{name}{written}>{inside}</{name}>" if inside else f"<{name}{written}/>"


def _value(value: str | float) -> str:
    return f"{value:.1f}" if isinstance(value, float) else escape(str(value))


def text(words: str, /, **attributes: str | float) -> str:
    """A text element; `words` are escaped."""
    return element("text", escape(words), **attributes)


def tooltip(words: str) -> str:
    """What a browser shows when the pointer rests on the element that holds this; `words` are escaped."""
    return element("title", escape(words))


def polyline(points: Iterable[tuple[float, float]], /, **attributes: str | float) -> str:
    """A line through points (x, y)."""
    return element("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points), **attributes)


@dataclass(frozen=True)
class PlotArea:
    """The rectangle a chart is drawn in, in its own units; shares from 0 to 1 fill it from the lower left corner."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def bottom(self) -> float:
        return self.top + self.height

    def x(self, share: float) -> float:
        return self.left + share * self.width

    def y(self, share: float) -> float:
        return self.bottom - share * self.height

    def point(self, across: float, up: float) -> tuple[float, float]:
        return self.x(across), self.y(up)
