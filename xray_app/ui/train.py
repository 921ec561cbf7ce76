"""The Train tab, for admins: corrections become an adapter or a detector, the gate judges it, an admin promotes it.

Nothing is trained in here. A run is a process of its own; this page starts it, polls the database and shows.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any, NamedTuple, cast

import gradio as gr
import pandas as pd

from training.promotion import registry
from training.recipes.recipe import available, recipe_of_base
from training.run.supervisor import progress
from xray_app.adapter import Adapter
from xray_app.auth import Identity
from xray_app.errors import BadInput, NotFound
from xray_app.html import training as panels
from xray_app.learning import RunIn, base_sha256, promote_adapter, start_run
from xray_app.store import adapters, corrections, runs, standing
from xray_app.types import AdapterKind, Role, Run
from xray_app.ui import presses
from xray_app.ui.guard import Guard, beside

KIND: AdapterKind = "vlm-adapter"
KINDS = [("Language model (adapter)", "vlm-adapter"), ("Box detector", "detector")]
POLL_SECONDS = 2.0
METHODS = [("LoRA", "lora"), ("QLoRA (4-bit)", "qlora")]
CURVE = ("step", "loss")
# Where nobody looks, nothing is asked; to open the tab is to ask again.
SLEEP = "() => ({__type__: 'update', active: false})"


class Seen(NamedTuple):
    """What the page shows, so that a tick sends what has changed alone."""

    curve: tuple[str | None, int, bool]  # the run, the rows of its log, whether it has a candidate
    at_work: bool
    candidates: tuple[tuple[str, bool, str], ...]


class TrainTab:
    """Builds the tab inside the current Blocks and attaches its handlers."""

    def __init__(self, guard: Guard, tab: gr.Tab) -> None:
        self.services = guard.services
        self._build()
        self._attach(guard, tab)

    # --- layout -------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.timer = gr.Timer(POLL_SECONDS, active=False)
        self.seen = gr.State(None)
        with gr.Row(elem_id="train"):
            with gr.Column(scale=5, min_width=440):
                gr.HTML("<h2>Corrections</h2>", apply_default_css=False)
                self.counts = gr.HTML("", elem_id="counts", apply_default_css=False)
                self.kind = gr.Radio(choices=KINDS, value=KIND, label="What to train", elem_id="train-kind")
                with gr.Row(elem_id="start-row"):
                    self.recipe = gr.Dropdown(
                        choices=available(), label="Recipe", min_width=120, elem_id="train-recipe"
                    )
                    self.method = gr.Dropdown(
                        choices=METHODS, value="lora", label="Method", min_width=110, elem_id="train-method"
                    )
                    self.epochs = gr.Number(
                        value=0, label="Epochs (0: recipe’s)", minimum=0, maximum=1000, min_width=120,
                        elem_id="train-epochs",
                    )  # fmt: skip
                    self.start = gr.Button(
                        "Start run",
                        variant="primary",
                        elem_id="start-run",
                        elem_classes=[presses.ONCE],
                        min_width=120,
                        scale=0,
                    )
                gr.HTML("<h2>Run</h2>", apply_default_css=False)
                self.status = gr.HTML("", elem_id="run-status", apply_default_css=False)
                self.curve = gr.LinePlot(
                    _curve([]), x="step", y="loss", height=220, show_label=False, visible=False,
                    x_title="step", y_title="loss", elem_id="loss-curve", buttons=[],
                )  # fmt: skip
                self.cancel = gr.Button(
                    "Cancel this run", elem_id="cancel-run", elem_classes=[presses.ASKS], visible=False, size="sm"
                )
            with gr.Column(scale=6, min_width=520):
                gr.HTML("<h2>Candidate</h2>", apply_default_css=False)
                self.adapter = gr.Dropdown(choices=[], label="Adapter", elem_id="adapter", interactive=True)
                self.comparison = gr.HTML("", elem_id="comparison", apply_default_css=False)
                with gr.Row(elem_id="promote-row"):
                    self.promote = gr.Button(
                        "Promote",
                        variant="primary",
                        elem_id="promote",
                        elem_classes=[presses.ASKS],
                        min_width=110,
                        interactive=False,
                    )
                    self.rollback = gr.Button(
                        "Roll back", elem_id="rollback", elem_classes=[presses.ASKS], min_width=110, interactive=False
                    )
                self.unpromoted = gr.HTML("", elem_id="unpromoted", apply_default_css=False)
                with gr.Group(visible=False, elem_id="trial") as self.trial_form:
                    self.trial_reason = gr.Textbox(
                        label="Why a trial (kept in the audit log)", max_length=2000, lines=2, elem_id="trial-reason"
                    )
                    self.trial = gr.Button(
                        "Promote as a trial", variant="primary", elem_id="trial-promote", elem_classes=[presses.ONCE]
                    )
                with gr.Accordion("Promote against the gate", open=False, elem_id="force") as self.force_form:
                    self.reason = gr.Textbox(
                        label="Why (kept in the audit log)", max_length=2000, lines=2, elem_id="force-reason"
                    )
                    self.force = gr.Button(
                        "Promote although the gate refuses",
                        variant="stop",
                        elem_id="force-promote",
                        elem_classes=[presses.ONCE],
                    )
        gr.HTML("<h2>Runs</h2>", apply_default_css=False)
        self.table = gr.HTML("", elem_id="runs", apply_default_css=False)

    def _attach(self, guard: Guard, tab: gr.Tab) -> None:
        everything = [
            self.timer, self.counts, self.recipe, self.method, self.status, self.curve, self.seen, self.cancel,
            self.adapter, self.comparison, self.table, self.promote, self.unpromoted, self.rollback,
            self.trial_form, self.force_form,
        ]  # fmt: skip
        seen = [self.adapter, self.seen, self.kind]
        guard.on(tab.select, Role.ADMIN, self.open, seen, everything)
        guard.on(self.kind.input, Role.ADMIN, self.choose_kind, self.kind, everything)
        guard.on(self.timer.tick, Role.ADMIN, self.tick, seen, everything)
        asked = [self.recipe, self.method, self.epochs, *seen]
        guard.on(self.start.click, Role.ADMIN, self.start_run, asked, everything)
        guard.on(self.cancel.click, Role.ADMIN, self.cancel_run, seen, everything)
        candidate = [self.comparison, self.promote, self.unpromoted, self.trial_form, self.force_form]
        guard.on(self.adapter.input, Role.ADMIN, self.choose, self.adapter, candidate)
        guard.on(
            self.promote.click, Role.ADMIN, self.promote_adapter, seen, everything, show_progress_on=self.comparison
        )
        guard.on(
            self.force.click, Role.ADMIN, self.force_adapter, [self.reason, *seen], [*everything, self.reason],
            show_progress_on=self.comparison,
        )  # fmt: skip
        guard.on(
            self.trial.click, Role.ADMIN, self.try_adapter, [self.trial_reason, *seen],
            [*everything, self.trial_reason], show_progress_on=self.comparison,
        )  # fmt: skip
        guard.on(self.rollback.click, Role.ADMIN, self.roll_back, seen, everything)

    def sleep_behind(self, others: Iterable[gr.Tab]) -> None:
        """Stops asking for news while another tab is on the screen."""
        for tab in others:
            tab.select(None, None, self.timer, js=SLEEP)

    # --- showing ------------------------------------------------------------------------------------------

    def open(self, who: Identity, chosen: Any, seen: Any, kind: Any = KIND) -> dict[Any, Any]:
        """The tab as it is now, with the served base's recipe chosen."""
        recipe = recipe_of_base(self.services.settings.served_base)
        shown = self.refresh(who, chosen, None, kind)
        return shown | self._asking(kind) | {self.recipe: self._recipes(kind, recipe)}

    def choose_kind(self, who: Identity, kind: Any) -> dict[Any, Any]:
        """The other models' candidates; a detector has one recipe and one method, so neither is asked for."""
        return self.open(who, None, None, kind)

    def _asking(self, kind: Any) -> dict[Any, Any]:
        return {self.method: gr.update(visible=_kind(kind) == KIND)}

    def _recipes(self, kind: Any, recipe: str | None) -> Any:
        return gr.update(choices=available(), value=recipe, visible=_kind(kind) == KIND)

    def refresh(self, who: Identity, chosen: Any, seen: Any, kind: Any = KIND) -> dict[Any, Any]:
        """All of the tab: counts, the run in hand, its curve, the candidates of this kind."""
        return self._page(chosen, seen, _kind(kind), whole=True)

    def tick(self, who: Identity, chosen: Any, seen: Any, kind: Any = KIND) -> dict[Any, Any]:
        """What a run changes while it is at work; all of the tab when it has ended.

        To count the corrections is to read every one of them, so that is not for every two seconds.
        """
        return self._page(chosen, seen, _kind(kind), whole=False)

    def _page(self, chosen: Any, seen: Any, kind: AdapterKind, *, whole: bool) -> dict[Any, Any]:
        db = self.services.db
        all_runs, _ = runs.page(db, 20)
        run = self._in_hand(all_runs)
        at_work = run is not None and run.status in ("queued", "running")
        found, _ = adapters.page(db, 50)
        candidates = [adapter for adapter in found if adapter.kind == kind]
        rows = progress(self.services.settings, run.id) if run else []
        mark = Seen(
            (run.id if run else None, len(rows), bool(run and run.adapter_id)),
            at_work,
            tuple((adapter.id, adapter.active, adapter.gate.answer) for adapter in candidates),
        )
        ended = seen is not None and seen.at_work and (not at_work or mark.curve[0] != seen.curve[0])
        shown: dict[Any, Any] = {
            self.status: panels.run_status(run),
            self.cancel: gr.update(visible=at_work),
            self.table: panels.run_table(all_runs),
        }
        if whole or not at_work:  # an answer on its way must not wake a timer that was put to sleep meanwhile
            shown[self.timer] = gr.update(active=at_work)
        if whole or ended:
            shown[self.counts] = self._counted(all_runs, kind)
        if whole or ended or seen is None or mark.candidates != seen.candidates:
            shown |= self._candidates(candidates, chosen, run, seen, kind)
        if seen is None or mark.curve != seen.curve:
            points = _curve(rows)
            shown[self.curve] = gr.update(value=points, visible=len(points) > 1)
        return shown | {self.seen: mark}

    def _candidates(
        self, candidates: list[Adapter], chosen: Any, run: Run | None, seen: Any, kind: AdapterKind
    ) -> dict[Any, Any]:
        known = {adapter.id: adapter for adapter in candidates}
        # A run that has just ended puts its candidate in front.
        if chosen not in known or (run and run.adapter_id in known and seen and not seen.curve[2]):
            chosen = run.adapter_id if run and run.adapter_id in known else next(iter(known), None)
        active = adapters.active(self.services.db, kind, base_sha256(self.services, kind))
        return {
            self.adapter: gr.update(choices=[(panels.adapter_name(one), one.id) for one in candidates], value=chosen),
            **self._candidate(known.get(chosen) if isinstance(chosen, str) else None),
            self.rollback: gr.update(interactive=active is not None),
        }

    def _candidate(self, adapter: Adapter | None) -> dict[Any, Any]:
        answer = adapter.gate.answer if adapter and not adapter.active else None
        return {
            self.comparison: panels.comparison(adapter),
            self.promote: gr.update(interactive=answer == "passed"),
            self.trial_form: gr.update(visible=answer == "not shown yet"),
            self.force_form: gr.update(visible=answer == "refused"),
            self.unpromoted: panels.unpromoted(adapter),
        }

    def _counted(self, all_runs: list[Run], kind: AdapterKind) -> str:
        analyser = self.services.analyser
        active = adapters.active(self.services.db, kind, base_sha256(self.services, kind))
        base = analyser.vlm.name if kind == KIND else analyser.detector.name
        return panels.counts(self._counts(all_runs, kind), active, base)

    def _in_hand(self, all_runs: list[Run]) -> Run | None:
        """The run at work, else the newest."""
        at_work = [run for run in all_runs if run.status == "running"] or [
            run for run in all_runs if run.status == "queued"
        ]
        return at_work[0] if at_work else next(iter(all_runs), None)

    def _counts(self, all_runs: list[Run], kind: AdapterKind) -> panels.CorrectionCounts:
        # A detector learns from boxes alone.
        accepted = [
            correction
            for _, correction in standing.accepted(self.services.db)
            if kind == KIND or correction.boxes or correction.split == "holdout"
        ]
        # A run at work has taken what was there when it began; one that failed or was cancelled teaches nothing.
        taught = ("succeeded", "running", "queued")
        last = next((run for run in all_runs if run.status in taught and run.kind == kind), None)
        since = last.started_at or last.created_at if last else None
        pending, _ = corrections.pending(self.services.db, 500)
        return panels.CorrectionCounts(
            new=sum(since is None or correction.created_at > since for correction in accepted),
            train=sum(correction.split == "train" for correction in accepted),
            holdout=sum(correction.split == "holdout" for correction in accepted),
            pending=len(pending),
        )

    def choose(self, who: Identity, chosen: Any) -> dict[Any, Any]:
        """The figures of another adapter."""
        return self._candidate(self._adapter(chosen))

    # --- doing --------------------------------------------------------------------------------------------

    def start_run(
        self, who: Identity, recipe: Any, method: Any, epochs: Any, chosen: Any, seen: Any, kind: Any = KIND
    ) -> dict[Any, Any]:
        """Queues a run and launches it as a process of its own."""
        kind = _kind(kind)
        how = {"recipe": recipe or None, "method": method} if kind == KIND else {}
        with beside(self.epochs):
            try:
                asked = RunIn(kind=kind, epochs=epochs or None, **how)
            except ValueError as error:
                raise BadInput("Epochs are a number up to 1000; method and recipe come from the lists.") from error
        start_run(self.services, asked, who.username)
        gr.Info("The run has started. It goes on when you close this page.", duration=5)
        return self.refresh(who, chosen, None, kind)

    def cancel_run(self, who: Identity, chosen: Any, seen: Any, kind: Any = KIND) -> dict[Any, Any]:
        """Asks the run in hand to stop."""
        all_runs, _ = runs.page(self.services.db, 20)
        run = self._in_hand(all_runs)
        if run is None:
            raise NotFound("There is no run to cancel.")
        runs.request_cancel(self.services.db, run.id)
        gr.Info("It stops after the step it is at.", duration=5)
        return self.refresh(who, chosen, seen, kind)

    def promote_adapter(self, who: Identity, chosen: Any, seen: Any, kind: Any = KIND) -> dict[Any, Any]:
        """Lets the chosen candidate answer from the next scan on, if the gate agrees."""
        adapter = promote_adapter(self.services, self._adapter(chosen).id, who.username)
        return self._promoted(who, adapter, seen, kind)

    def force_adapter(self, who: Identity, reason: Any, chosen: Any, seen: Any, kind: Any = KIND) -> dict[Any, Any]:
        """The same against the gate, with a reason that is kept."""
        words = str(reason or "").strip()
        if not words:
            with beside(self.reason):
                raise BadInput("To promote against the gate, say why.")
        adapter = promote_adapter(self.services, self._adapter(chosen).id, who.username, force=True, reason=words)
        return self._promoted(who, adapter, seen, kind) | {self.reason: ""}

    def try_adapter(self, who: Identity, reason: Any, chosen: Any, seen: Any, kind: Any = KIND) -> dict[Any, Any]:
        """The same as a trial, where the gate cannot tell yet, with a reason that is kept."""
        words = str(reason or "").strip()
        if not words:
            with beside(self.trial_reason):
                raise BadInput("To promote as a trial, say why.")
        adapter = promote_adapter(self.services, self._adapter(chosen).id, who.username, trial=True, reason=words)
        return self._promoted(who, adapter, seen, kind) | {self.trial_reason: ""}

    def _promoted(self, who: Identity, adapter: Adapter, seen: Any, kind: Any) -> dict[Any, Any]:
        gr.Info(f"{_noun(adapter.kind)} {escape(adapter.id[:8])} answers from the next scan on.", duration=5)
        return self.refresh(who, adapter.id, seen, kind)

    def roll_back(self, who: Identity, chosen: Any, seen: Any, kind: Any = KIND) -> dict[Any, Any]:
        """Back to the one before, or the base model."""
        kind = _kind(kind)
        adapter = registry.rollback(self.services.db, kind, base_sha256(self.services, kind), who.username)
        name = f"{_noun(kind).lower()} {escape(adapter.id[:8])}" if adapter else "the base model"
        gr.Info(f"From the next scan on, {name} answers.", duration=5)
        return self.refresh(who, chosen, seen, kind)

    def _adapter(self, chosen: Any) -> Adapter:
        if not isinstance(chosen, str) or not chosen:
            with beside(self.adapter):
                raise BadInput("Choose an adapter first.")
        return adapters.get(self.services.db, chosen)


def _kind(value: Any) -> AdapterKind:
    """What came from the page, checked: it may send anything."""
    for _, kind in KINDS:
        if value == kind:
            return cast(AdapterKind, kind)
    raise BadInput("Choose what to train: the language model or the detector.")


def _noun(kind: AdapterKind) -> str:
    return "Adapter" if kind == KIND else "Detector"


def _curve(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows that hold a step and a loss, for the plot."""
    points = [
        tuple(row[name] for name in CURVE)
        for row in rows
        if all(isinstance(row.get(name), (int, float)) for name in CURVE)
    ]
    return pd.DataFrame(points, columns=list(CURVE), dtype=float)
