"""Text is readable on its ground in both themes, and every colour comes from the one list of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from xray_app.ui.desk import FOLDER

# What is written on what, as the style sheets do it.
TEXT_ON = {
    "ground": ("ink", "quiet", "strong", "accent", "high", "medium", "low", "error", "hint"),
    "panel": ("ink", "quiet", "strong", "accent", "high", "medium", "low", "error"),
    "raised": ("ink", "quiet", "strong", "high", "medium", "low"),
    "field": ("ink", "quiet", "strong", "hint", "medium"),
    "stage": ("ink", "quiet"),
    "button": ("ink", "strong"),
    "button-hover": ("ink", "strong"),
    "stripe": ("ink", "quiet"),
    "high-ground": ("high", "ink", "strong", "error"),
    "medium-ground": ("medium", "ink", "strong"),
    "low-ground": ("low", "ink", "strong"),
    "chosen": ("strong", "ink"),
    "lit": ("ink", "high", "medium"),
    "told-ground": ("ink", "quiet"),
    "differ-ground": ("differ-ink", "ink", "quiet"),
    "threat": ("on-threat",),
    "save": ("on-save",),
    "save-hover": ("on-save",),
    "accent": ("on-accent",),
    "alarm": ("on-alarm",),
    "scan-ground": ("scan-ink",),
    "mark-prohibited": ("mark-ink",),
    "mark-restricted": ("mark-ink",),
    "plate-allowed": ("mark-ink",),
}
# Lines, frames and shapes that say something by themselves (WCAG 1.4.11).
SHAPES_ON = {
    "panel": ("series-1", "series-2", "series-3", "series-4", "series-5", "accent", "allowed", "differ"),
    "ground": ("accent", "high", "medium", "low"),
    "high": ("on-risk",),
    "medium": ("on-risk",),
    "low": ("on-risk",),
}
SHEETS = sorted(path for path in FOLDER.glob("*.css") if path.name not in ("tokens.css", "scan_report.css"))
COLOUR = re.compile(r"#[0-9a-fA-F]{3,8}\b|\b(?:rgba?|hsla?)\(|:\s*(?:white|black|red|grey|gray)\b")


def tokens(theme: str) -> dict[str, str]:
    text = (FOLDER / "tokens.css").read_text(encoding="utf-8")
    dark, light = re.findall(r":root(?:\[data-theme=light\])? \{(.*?)\}", text, re.DOTALL)
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]+)", dark))
    return found | (dict(re.findall(r"--([\w-]+): (#[0-9a-f]+)", light)) if theme == "light" else {})


def luminance(colour: str) -> float:
    """Relative luminance of an opaque `#rrggbb` (WCAG 2)."""
    values = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_measure_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize(("least", "pairs"), [(4.5, TEXT_ON), (3.0, SHAPES_ON)], ids=["text", "shapes"])
def test_contrast(theme: str, least: float, pairs: dict[str, tuple[str, ...]]) -> None:
    known = tokens(theme)
    poor = {
        f"{ink} on {ground}": round(contrast(known[ink], known[ground]), 2)
        for ground, inks in pairs.items()
        for ink in inks
        if contrast(known[ink], known[ground]) < least
    }
    assert poor == {}


def test_both_themes_name_the_same_colours() -> None:
    dark, light = tokens("dark"), tokens("light")
    same = {name for name in dark if dark[name] == light[name]}
    on_scans = {name for name in dark if name.split("-")[0] in ("mark", "plate", "text", "scan")}
    assert same - on_scans <= {"alarm", "on-alarm", "on-threat", "on-save"}


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda path: path.name)
def test_a_style_sheet_names_no_colour_of_its_own(sheet: Path) -> None:
    blocks = re.findall(r"\{([^{}]*)\}", sheet.read_text(encoding="utf-8"))
    assert [found for block in blocks for found in COLOUR.findall(block)] == []


def test_every_colour_that_is_used_exists() -> None:
    lengths = {"head", "foot", "between"}
    known = set(tokens("dark")) | lengths | {"when-dark", "when-light", "share"}  # the last is set by a chart's cell
    used = {name for sheet in SHEETS for name in re.findall(r"var\(--([\w-]+)\)", sheet.read_text(encoding="utf-8"))}
    assert used <= known


def test_still_where_stillness_was_asked_for() -> None:
    text = (FOLDER / "desk.css").read_text(encoding="utf-8")
    assert re.search(r"prefers-reduced-motion: reduce\) \{[^}]*animation: none !important", text)
