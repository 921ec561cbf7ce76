"""The desk: one page of tabs. `THEME` and `CSS` go with it where it is mounted; `HEAD` into the HTML it sends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from xray_app.auth import Identity
from xray_app.html import panels
from xray_app.html.help import HELP
from xray_app.learning import on_trial
from xray_app.services import Services
from xray_app.settings import Settings
from xray_app.types import Role
from xray_app.ui import browser_code
from xray_app.ui.analyse import AnalyseTab
from xray_app.ui.annotate import AnnotateTab
from xray_app.ui.event_stream import Unanswered
from xray_app.ui.exchange import ExchangeTab
from xray_app.ui.guard import Guard
from xray_app.ui.insights import InsightsTab
from xray_app.ui.operating import ThresholdsTab
from xray_app.ui.review import ReviewTab
from xray_app.ui.search import GalleryTab
from xray_app.ui.train import TrainTab
from xray_app.ui.users import UsersTab
from xray_app.ui.validation import ValidationPart

FOLDER = Path(__file__).resolve().parent

SHEETS = (
    "desk.css", "console.css", "exchange.css", "search.css", "insights.css", "annotate.css", "theme.css", "tip.css",
    "operating.css",
)  # fmt: skip
CSS = "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in SHEETS)
HEAD = browser_code.head()
_SYSTEM_FONTS = ("system-ui", "Segoe UI", "Roboto", "sans-serif")


def build_desk(services: Services) -> gr.Blocks:
    """The page with all its tabs; what a role may not use is hidden, and refused by every handler besides."""
    guard = Guard(services)
    with gr.Blocks(title="X-ray desk", analytics_enabled=False, fill_width=True, delete_cache=(3600, 3600)) as desk:
        head = gr.HTML("", elem_id="head", apply_default_css=False)
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Analyse", id="analyse"):
                analyse = AnalyseTab(guard)
            with gr.Tab("Annotate", id="annotate", visible=False) as annotate_tab:
                annotate = AnnotateTab(guard, annotate_tab)
            with gr.Tab("Review", id="review", visible=False) as review_tab:
                ReviewTab(guard, review_tab, tabs, annotate)
            with gr.Tab("Search", id="search") as search_tab:
                GalleryTab(guard, search_tab, tabs, analyse.show, analyse.everything)
            with gr.Tab("Insights", id="insights", visible=False) as insights_tab:
                InsightsTab(guard, insights_tab)
            with gr.Tab("Export", id="exchange", visible=False) as exchange_tab:
                exchange = ExchangeTab(guard, exchange_tab)
            with gr.Tab("Train", id="train", visible=False) as train_tab:
                train = TrainTab(guard, train_tab)
            with gr.Tab("Thresholds", id="thresholds", visible=False) as thresholds_tab:
                thresholds = ThresholdsTab(guard, thresholds_tab)
                ValidationPart(guard, thresholds_tab, thresholds.scanner)
            with gr.Tab("Users", id="users", visible=False) as users_tab:
                UsersTab(guard, users_tab)
            with gr.Tab("Help", id="help"):
                gr.Markdown(HELP, elem_id="help-text")
        Unanswered(guard, desk, analyse.strip, analyse.stored)
        train.sleep_behind(tab for tab in tabs.children if tab is not train_tab)

        def start(who: Identity) -> dict[Any, Any]:
            admin = who.role.includes(Role.ADMIN)
            annotator = who.role.includes(Role.ANNOTATOR)
            return {
                head: panels.header(
                    who.username,
                    who.role.value,
                    services.settings.demonstration,
                    trial=on_trial(services),
                    remote=who.remote,
                ),
                annotate_tab: gr.update(visible=annotator),
                review_tab: gr.update(visible=annotator),
                insights_tab: gr.update(visible=annotator or vigilant(services.settings)),
                train_tab: gr.update(visible=admin),
                thresholds_tab: gr.update(visible=admin),
                users_tab: gr.update(visible=admin),
                exchange_tab: gr.update(visible=annotator),
                exchange.imports: gr.update(visible=admin),
                **analyse.start(who),
            }

        for_some = [annotate_tab, review_tab, insights_tab, exchange_tab, exchange.imports]
        for_admins = [train_tab, thresholds_tab, users_tab]
        opened = [analyse.strip, analyse.decision.labelled]
        guard.on(desk.load, Role.ANALYST, start, None, [head, *for_some, *for_admins, *opened])
    return desk


def vigilant(settings: Settings) -> bool:
    """Whether people are tested here, so that everybody may see their own figures."""
    return settings.test_image_share > 0 or settings.blind_share > 0


def _theme() -> gr.themes.Base:
    """Gradio's own parts in the desk's colours, which change with the theme; in the system's fonts."""
    base = gr.themes.Base(
        primary_hue="sky", neutral_hue="slate", radius_size="sm", spacing_size="sm", text_size="md",
        font=_SYSTEM_FONTS, font_mono=("ui-monospace", "Consolas", "monospace"),
    )  # fmt: skip
    tokens = {
        "ground": ("body_background_fill", "background_fill_secondary"),
        "panel": (
            "background_fill_primary", "block_background_fill", "table_even_background_fill", "panel_background_fill",
            "checkbox_background_color", "checkbox_background_color_hover", "checkbox_background_color_focus",
        ),
        "rule": (
            "block_border_color", "border_color_primary", "input_border_color", "table_border_color",
            "checkbox_label_border_color", "input_border_color_hover",
        ),
        "edge": (
            "button_secondary_border_color", "button_secondary_border_color_hover", "checkbox_border_color",
            "checkbox_border_color_hover",
        ),
        "ink": ("body_text_color", "button_secondary_text_color", "table_text_color", "accordion_text_color"),
        "quiet": (
            "body_text_color_subdued", "block_label_text_color", "block_title_text_color", "block_info_text_color",
        ),
        "hint": ("input_placeholder_color",),
        "field": ("input_background_fill", "input_background_fill_focus", "input_background_fill_hover"),
        "stripe": ("table_odd_background_fill",),
        "button": ("button_secondary_background_fill", "checkbox_label_background_fill"),
        "button-hover": ("button_secondary_background_fill_hover", "checkbox_label_background_fill_hover"),
        "chosen": ("color_accent_soft",),
        "accent": (
            "color_accent", "link_text_color", "link_text_color_hover", "link_text_color_active",
            "link_text_color_visited", "border_color_accent", "input_border_color_focus",
            "checkbox_background_color_selected", "checkbox_border_color_selected", "checkbox_border_color_focus",
        ),
        "save": ("button_primary_background_fill", "button_primary_border_color"),
        "save-hover": ("button_primary_background_fill_hover", "button_primary_border_color_hover"),
        "on-save": ("button_primary_text_color", "button_primary_text_color_hover"),
        "high-ground": ("error_background_fill",),
        "high": ("error_border_color", "error_icon_color"),
        "error": ("error_text_color",),
    }  # fmt: skip
    values = {name: f"var(--{token})" for token, names in tokens.items() for name in names}
    dark = {f"{name}_dark": value for name, value in values.items() if hasattr(base, f"{name}_dark")}
    return base.set(**values, **dark, button_border_width="1px", input_border_width="1px")


THEME = _theme()
