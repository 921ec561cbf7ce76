"""The desk: one page of tabs. `THEME`, `CSS` and `HEAD` go with it where it is mounted."""

from __future__ import annotations

from typing import Any

import gradio as gr

from xray_app.api.services import Services
from xray_app.auth import Identity
from xray_app.settings import Settings
from xray_app.types import Role
from xray_app.ui import gallery, insights, panels
from xray_app.ui.analyse import AnalyseTab
from xray_app.ui.annotate import AnnotateTab
from xray_app.ui.exchange import ExchangeTab
from xray_app.ui.gallery import GalleryTab
from xray_app.ui.guard import Guard
from xray_app.ui.help import HELP
from xray_app.ui.insights import InsightsTab
from xray_app.ui.review import ReviewTab
from xray_app.ui.train import TrainTab
from xray_app.ui.users import UsersTab
from xray_app.ui.viewer import HERE

CSS = "\n".join((HERE / name).read_text(encoding="utf-8") for name in ("desk.css", "console.css", "exchange.css"))
CSS += gallery.CSS + insights.CSS
HEAD = f"<script>{(HERE / 'desk.js').read_text(encoding='utf-8')}</script>"
CSS += (HERE / "annotate.css").read_text(encoding="utf-8")
HEAD += f"<script>{(HERE / 'annotate.js').read_text(encoding='utf-8')}</script>"
CSS += (HERE / "vigilance.css").read_text(encoding="utf-8")
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
                TrainTab(guard, train_tab)
            with gr.Tab("Users", id="users", visible=False) as users_tab:
                UsersTab(guard, users_tab)
            with gr.Tab("Help", id="help"):
                gr.Markdown(HELP, elem_id="help-text")

        def start(who: Identity) -> dict[Any, Any]:
            admin = who.role.includes(Role.ADMIN)
            annotator = who.role.includes(Role.ANNOTATOR)
            return {
                head: panels.header(who.username, who.role.value, demonstration(services.settings)),
                annotate_tab: gr.update(visible=annotator),
                review_tab: gr.update(visible=annotator),
                insights_tab: gr.update(visible=annotator or vigilant(services.settings)),
                train_tab: gr.update(visible=admin),
                users_tab: gr.update(visible=admin),
                exchange_tab: gr.update(visible=annotator),
                exchange.imports: gr.update(visible=admin),
                **analyse.start(who),
            }

        shown = [annotate_tab, review_tab, insights_tab, exchange_tab, exchange.imports, train_tab, users_tab]
        guard.on(desk.load, Role.ANALYST, start, None, [head, *shown, analyse.strip])
    return desk


def vigilant(settings: Settings) -> bool:
    """Whether people are tested here, so that everybody may see their own figures."""
    return settings.test_image_share > 0 or settings.blind_share > 0


def demonstration(settings: Settings) -> bool:
    """Whether a bundled model is serving, which is for trying things out and nothing else."""
    return "bundled" in (settings.vlm, settings.detector)


def _theme() -> gr.themes.Base:
    """Dark by day and by night, in the system's own fonts: nothing is fetched from elsewhere."""
    base = gr.themes.Base(
        primary_hue="sky", neutral_hue="slate", radius_size="sm", spacing_size="sm", text_size="md",
        font=_SYSTEM_FONTS, font_mono=("ui-monospace", "Consolas", "monospace"),
    )  # fmt: skip
    ground, panel, line, text, quiet = "#0b1016", "#121a23", "#26333f", "#dbe5ee", "#93a5b6"
    values = {
        "body_background_fill": ground, "background_fill_primary": panel, "background_fill_secondary": ground,
        "block_background_fill": panel, "block_border_color": line, "border_color_primary": line,
        "body_text_color": text, "body_text_color_subdued": quiet, "block_label_text_color": quiet,
        "block_title_text_color": quiet, "input_background_fill": "#0d141c", "input_border_color": line,
        "button_secondary_background_fill": "#1b2733", "button_secondary_background_fill_hover": "#253545",
        "button_secondary_text_color": text, "button_secondary_border_color": line,
        "button_primary_background_fill": "#1f6feb", "button_primary_background_fill_hover": "#3b82f6",
        "button_primary_text_color": "#ffffff", "table_even_background_fill": panel,
        "table_odd_background_fill": "#0f1720",
    }  # fmt: skip
    return base.set(**values, **{f"{name}_dark": value for name, value in values.items()})


THEME = _theme()
