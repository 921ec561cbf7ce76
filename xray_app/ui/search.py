"""The Search tab: all analyses as thumbnails, found by filter; a click opens one on Analyse."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from html import escape
from typing import Any

import gradio as gr

from xray_app.auth import Identity
from xray_app.errors import BadInput, NotFound
from xray_app.html import panels
from xray_app.store import search
from xray_app.store.search import Filter, Found
from xray_app.taxonomy import ItemClass, Taxonomy
from xray_app.types import POLICY, Role, Status
from xray_app.ui import browser_code
from xray_app.ui.guard import Guard, beside

PAGE = 48
MOST_PAGES = 10_000
GRID = '<div class="found"><ol></ol></div>'

Choice = tuple[str, str]
ANY = ""
FIELDS: dict[str, tuple[str, list[Choice]]] = {
    "label": ("Label", []),
    "named_by": (
        "Named by",
        [("the VLM", "vlm"), ("the detector", "detector"), ("a correction", "person"), ("a hand search", "search")],
    ),
    "risk": ("Stands at", [("HIGH", "HIGH"), ("MEDIUM", "MEDIUM"), ("LOW", "LOW")]),
    "decision": (
        "Decision",
        [("clear", "CLEAR"), ("review", "REVIEW"), ("search", "SEARCH"), ("not decided", "none")],
    ),
    "outcome": ("Hand search", [("found something", "found"), ("found nothing", "nothing"), ("not recorded", "none")]),
    "models": ("Models", [("disagree", "differ"), ("agree", "agree"), ("both missed it", "missed")]),
    "corrected": ("Corrected", [("yes", "yes"), ("no", "no"), ("waits for review", "pending")]),
    "analyst": ("Analyst", []),
    "scanner": ("Scanner", []),
    "adapter": ("Adapter", []),
}
"""Name, label and choices of each filter; the empty ones are filled when the tab is opened."""

_NAMERS = {"vlm": "VLM", "detector": "detector", "person": "person", "search": "hand search"}
_DISAGREE = {"differ": True, "agree": False}


class GalleryTab:
    """Builds the tab inside the current Blocks and attaches its handlers.

    Args:
        guard: attaches them.
        tab: the tab itself.
        tabs: all tabs, to go to Analyse when a scan is opened.
        show: gives the Analyse tab's values for an analysis.
        shown: the components of these values.
    """

    def __init__(
        self, guard: Guard, tab: gr.Tab, tabs: gr.Tabs, show: Callable[..., dict[Any, Any]], shown: list[Any]
    ) -> None:
        self.services = guard.services
        self.tabs = tabs
        self._show = show
        self._build()
        fields = [*self.fields.values(), self.first, self.last]
        results = [self.grid, self.status, self.cursors, self.newer, self.older]
        guard.on(tab.select, Role.ANALYST, self.open_tab, [*fields, self.cursors], [*self._lists(), *results])
        for field in self.fields.values():
            guard.on(field.input, Role.ANALYST, self.find, fields, results)
        for day in (self.first, self.last):
            guard.on(day.submit, Role.ANALYST, self.find, fields, results)
            guard.on(day.blur, Role.ANALYST, self.find, fields, results)
        guard.on(self.older.click, Role.ANALYST, self.go_older, [*fields, self.cursors], results)
        guard.on(self.newer.click, Role.ANALYST, self.go_newer, [*fields, self.cursors], results)
        guard.on(self.clear.click, Role.ANALYST, self.clear_filter, None, [*fields, self.saved, *results])
        guard.on(self.saved.input, Role.ANALYST, self.use_saved, self.saved, [*fields, self.name, *results])
        guard.on(
            self.save.click, Role.ANALYST, self.save_filter, [self.name, *fields], [self.saved, self.name],
            refused_at=self.name,
        )  # fmt: skip
        guard.on(self.forget.click, Role.ANALYST, self.forget_filter, self.saved, [self.saved], refused_at=self.saved)
        guard.on(self.grid.select, Role.ANALYST, self.open, self.grid, [tabs, *shown])

    # --- layout -------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.cursors = gr.State([])  # of the pages before this one and of this one; none: the first page
        with gr.Row(elem_id="find"):
            self.fields = {
                name: gr.Dropdown(
                    choices=_with_any(choices), value=ANY, label=label, min_width=100, elem_id=f"find-{name}",
                    filterable=name in ("label", "analyst", "scanner"),
                )
                for name, (label, choices) in FIELDS.items()
            }  # fmt: skip
            days: dict[str, Any] = {"max_length": 10, "min_width": 100, "placeholder": "YYYY-MM-DD"}
            self.first = gr.Textbox(label="From day", elem_id="find-first", **days)
            self.last = gr.Textbox(label="To day", elem_id="find-last", **days)
        with gr.Row(elem_id="find-bar"):
            self.status = gr.HTML("", elem_id="find-status", apply_default_css=False)
            self.newer = gr.Button("‹ Newer", size="sm", elem_id="find-newer", interactive=False, min_width=80)
            self.older = gr.Button("Older ›", size="sm", elem_id="find-older", interactive=False, min_width=80)
            self.clear = gr.Button("Clear filter", size="sm", elem_id="find-clear", min_width=96)
            plain: dict[str, Any] = {"show_label": False, "container": False}
            self.saved = gr.Dropdown(choices=[], value=None, elem_id="find-saved", min_width=170, **plain)
            self.forget = gr.Button("Delete", size="sm", elem_id="find-forget", min_width=64)
            self.name = gr.Textbox(
                placeholder="name this filter", max_length=search.MAX_NAME, elem_id="find-name", min_width=130, **plain
            )
            self.save = gr.Button("Save filter", size="sm", elem_id="find-save", min_width=90)
        self.grid = gr.HTML(
            value=None,
            html_template=GRID,
            js_on_load=browser_code.mounting("found.js"),
            apply_default_css=False,
            elem_id="found",
        )

    def _lists(self) -> list[Any]:
        return [self.fields[name] for name in ("label", "analyst", "scanner", "adapter")] + [self.saved]

    # --- finding ------------------------------------------------------------------------------------------

    def open_tab(self, who: Identity, *values: Any) -> dict[Any, Any]:
        """The lists as they are now, and the page that was open."""
        known = search.choices(self.services.db)
        lists = {
            "label": [(name, name) for name in self.services.taxonomy.names],
            "analyst": [(name, name) for name in known.analysts],
            "scanner": [(name, name) for name in known.scanners],
            "adapter": [("base model" if one == search.BASE else one[:8], one) for one in known.adapters],
        }
        shown: dict[Any, Any] = {
            self.fields[name]: gr.update(choices=_with_any(choices)) for name, choices in lists.items()
        }
        *fields, cursors = values
        return shown | {self.saved: self._saved(who)} | self._page(self._filter(fields), _cursors(cursors))

    def find(self, who: Identity, *values: Any) -> dict[Any, Any]:
        """The newest that fit."""
        return self._page(self._filter(values), [])

    def go_older(self, who: Identity, *values: Any) -> dict[Any, Any]:
        """The next page."""
        *fields, cursors = values
        wanted, before = self._filter(fields), _cursors(cursors)
        _, following = search.page(self.services.db, wanted, PAGE, before[-1] if before else None)
        return self._page(wanted, [*before, following] if following else before)

    def go_newer(self, who: Identity, *values: Any) -> dict[Any, Any]:
        """The page before."""
        *fields, cursors = values
        return self._page(self._filter(fields), _cursors(cursors)[:-1])

    def clear_filter(self, who: Identity) -> dict[Any, Any]:
        """Everything again."""
        empty: dict[Any, Any] = dict.fromkeys((*self.fields.values(), self.first, self.last), ANY)
        return empty | {self.saved: None} | self._page(Filter(), [])

    def _filter(self, values: Any) -> Filter:
        """The filter row's values, checked: a browser may send anything.

        Raises:
            BadInput: a value that no filter has.
        """
        given = dict(zip((*FIELDS, "first", "last"), values, strict=True))
        given = {name: value.strip() if isinstance(value, str) else value for name, value in given.items()}
        models = given.pop("models")
        wanted: dict[str, object] = {name: value for name, value in given.items() if value not in (ANY, None)}
        for name, field in (("first", self.first), ("last", self.last)):
            if name in wanted:
                with beside(field):
                    wanted[name] = _day(wanted[name])
        if models == "missed":
            wanted["missed"] = True
        elif models not in (ANY, None):
            wanted["disagree"] = _DISAGREE.get(models, models) if isinstance(models, str) else models
        return search.read_filter(wanted)

    def _page(self, wanted: Filter, cursors: list[str]) -> dict[Any, Any]:
        db = self.services.db
        found, following = search.page(db, wanted, PAGE, cursors[-1] if cursors else None)
        return {
            self.grid: {"items": [_tile(one, self.services.taxonomy) for one in found], "page": len(cursors)},
            self.status: _status(search.count(db, wanted), len(cursors), wanted == Filter()),
            self.cursors: cursors,
            self.newer: gr.update(interactive=bool(cursors)),
            self.older: gr.update(interactive=following is not None and len(cursors) < MOST_PAGES),
        }

    # --- filters kept -------------------------------------------------------------------------------------

    def _saved(self, who: Identity, chosen: str | None = None) -> Any:
        names = list(search.saved(self.services.db, who.username))
        return gr.update(choices=[("saved filters …", ANY), *((name, name) for name in names)], value=chosen or ANY)

    def use_saved(self, who: Identity, name: Any) -> dict[Any, Any]:
        """A kept filter, at once."""
        if not name:
            return {}
        wanted = search.saved(self.services.db, who.username).get(str(name))
        if wanted is None:
            raise NotFound("There is no saved filter of this name.")
        values = _values(wanted)
        shown: dict[Any, Any] = {field: values[key] for key, field in self.fields.items()}
        return (
            shown
            | {self.first: values["first"], self.last: values["last"], self.name: str(name)}
            | self._page(wanted, [])
        )

    def save_filter(self, who: Identity, name: Any, *values: Any) -> dict[Any, Any]:
        """Keeps what the filter row says under a name, for this user alone."""
        search.save(self.services.db, who.username, str(name or ""), self._filter(values))
        chosen = str(name).strip()
        gr.Info(f"Filter “{escape(chosen)}” saved.", duration=4)
        return {self.saved: self._saved(who, chosen), self.name: ""}

    def forget_filter(self, who: Identity, name: Any) -> dict[Any, Any]:
        """Deletes the chosen kept filter."""
        if not name:
            raise BadInput("Choose a saved filter first.")
        search.forget(self.services.db, who.username, str(name))
        return {self.saved: self._saved(who)}

    # --- opening ------------------------------------------------------------------------------------------

    def open(self, who: Identity, grid: Any) -> dict[Any, Any]:
        """Shows the chosen analysis on Analyse."""
        chosen = grid.get("chosen") if isinstance(grid, Mapping) else None
        if not isinstance(chosen, str) or len(chosen) > 64 or "\0" in chosen:
            raise BadInput("Choose a scan of the list.")
        return {self.tabs: gr.update(selected="analyse"), **self._show(who, chosen)}


def _with_any(choices: list[Choice]) -> list[Choice]:
    return [("any", ANY), *choices]


def _values(wanted: Filter) -> dict[str, str]:
    """What the filter row shows for a filter."""
    values = {name: value if isinstance(value, str) else ANY for name, value in wanted.model_dump(mode="json").items()}
    models = "missed" if wanted.missed else {True: "differ", False: "agree", None: ANY}[wanted.disagree]
    return values | {"models": models}


def _day(value: object) -> date:
    try:
        return datetime.strptime(str(value), "%Y-%m-%d").date()
    except ValueError as error:
        raise BadInput("Write a day as YYYY-MM-DD, such as 2026-11-24, or leave it empty.") from error


def _cursors(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)][:MOST_PAGES] if isinstance(value, list) else []


def _tile(found: Found, taxonomy: Taxonomy) -> dict[str, Any]:
    analysis = found.analysis
    # The worst first: a tile has room for two lines.
    known = {label: taxonomy.find(label) for label, _ in found.labels}
    ranked = sorted(known, key=lambda label: (known[label] is None, taxonomy.rank(label) if known[label] else 0))
    agreement, by = analysis.agreement, {label: _named_by(named_by.split()) for label, named_by in found.labels}
    return {
        "id": analysis.id,
        "scan_id": analysis.scan.id,
        "filename": analysis.scan.filename,
        "level": found.standing.level,
        "reason": found.standing.reason,
        "by": None if found.standing.by == POLICY else found.standing.by,
        "models": analysis.risk.level,
        "when": panels.when(analysis.created_at),
        "analyst": found.analyst,
        "scanner": analysis.scan.scanner_id or "",
        "decision": found.decision,
        "outcome": found.outcome,
        "correction": found.correction,
        "differ": bool(agreement.vlm_only or agreement.detector_only),
        "labels": [{"label": label, "threat": _is_threat(known[label]), "by": by[label]} for label in ranked],
        "found": [label for label, named_by in found.labels if "search" in named_by.split()],
    }


def _named_by(who: Sequence[str]) -> str:
    """Who named a thing, models before people."""
    said = [_NAMERS[one] for one in _NAMERS if one in who]
    return " + ".join(["both models", *said[2:]] if said[:2] == ["VLM", "detector"] else said)


def _is_threat(known: ItemClass | None) -> bool:
    return known is not None and known.status is Status.PROHIBITED


def _status(n: int, page: int, everything: bool) -> str:
    if not n:
        words = (
            "No scan was analysed yet. Add some on <b>Analyse</b>."
            if everything
            else "Nothing fits this filter. Take something out of it, or clear it."
        )
        return f'<p class="none-found" role="status">{words}</p>'
    many = f"more than {search.MOST_COUNTED:,}" if n > search.MOST_COUNTED else f"{n:,}"
    start = page * PAGE + 1
    end = min(n, start + PAGE - 1) if n <= search.MOST_COUNTED else start + PAGE - 1
    return f'<p role="status"><b>{many}</b> {"scan" if n == 1 else "scans"} · {start:,} to {end:,}, newest first</p>'
