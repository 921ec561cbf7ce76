"""The Users tab, for admins: who may sign in."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from xray_app import auth
from xray_app.auth import Identity
from xray_app.errors import BadInput
from xray_app.html import training as panels
from xray_app.store import users
from xray_app.types import Role
from xray_app.ui import presses
from xray_app.ui.guard import Guard, beside


class UsersTab:
    """Builds the tab inside the current Blocks and attaches its handlers."""

    def __init__(self, guard: Guard, tab: gr.Tab) -> None:
        self.services = guard.services
        with gr.Row(elem_id="users"):
            with gr.Column(scale=5):
                self.table = gr.HTML("", elem_id="user-table", apply_default_css=False)
            with gr.Column(scale=4, min_width=360):
                with gr.Group():
                    self.name = gr.Textbox(label="New user’s name", max_length=auth.MAX_USERNAME, elem_id="new-name")
                    self.role = gr.Radio([role.value for role in Role], value=Role.ANALYST.value, label="Role")
                    self.password = gr.Textbox(
                        label=f"First password (at least {auth.MIN_PASSWORD} characters)", type="password",
                        max_length=auth.MAX_PASSWORD, elem_id="new-password",
                    )  # fmt: skip
                    self.add = gr.Button("Add user", variant="primary", elem_id="add-user")
                with gr.Group():
                    self.chosen = gr.Dropdown(choices=[], label="User", interactive=True, elem_id="chosen-user")
                    self.reset_to = gr.Textbox(
                        label="New password; ends their sessions at once", type="password",
                        max_length=auth.MAX_PASSWORD, elem_id="reset-password",
                    )  # fmt: skip
                    with gr.Row():
                        self.reset = gr.Button("Set password", elem_id="set-password", elem_classes=[presses.ASKS])
                        self.disable = gr.Button(
                            "Disable user", variant="stop", elem_id="disable-user", elem_classes=[presses.ASKS]
                        )
        lists = [self.table, self.chosen]
        guard.on(tab.select, Role.ADMIN, self.refresh, None, lists)
        guard.on(
            self.add.click, Role.ADMIN, self.add_user, [self.name, self.role, self.password],
            [*lists, self.name, self.password], refused_at=self.name,
        )  # fmt: skip
        guard.on(
            self.reset.click, Role.ADMIN, self.set_password, [self.chosen, self.reset_to], [*lists, self.reset_to],
            refused_at=self.reset_to,
        )  # fmt: skip
        guard.on(self.disable.click, Role.ADMIN, self.disable_user, self.chosen, lists)

    def refresh(self, who: Identity) -> dict[Any, Any]:
        """All users, and those one may choose."""
        found = users.all_users(self.services.db)
        names = [user.username for user in found if not user.disabled]
        return {self.table: panels.user_table(found), self.chosen: gr.update(choices=names)}

    def add_user(self, who: Identity, name: Any, role: Any, password: Any) -> dict[Any, Any]:
        """Adds a user; they may sign in at once."""
        try:
            chosen = Role(role)
        except ValueError as error:
            raise BadInput("Choose a role.") from error
        with beside(self.password):
            auth.check_new_password(str(password or ""))
        user = auth.add_user(self.services.db, str(name or ""), str(password or ""), chosen, by=who.username)
        gr.Info(f"{escape(user.username)} may sign in as {chosen.value}.", duration=5)
        return self.refresh(who) | {self.name: "", self.password: ""}

    def set_password(self, who: Identity, name: Any, password: Any) -> dict[Any, Any]:
        """Gives a user another password."""
        with beside(self.chosen):
            chosen = _chosen(name)
        user = auth.set_password(self.services.db, chosen, str(password or ""), by=who.username)
        gr.Info(f"New password set for {escape(user.username)}.", duration=5)
        return self.refresh(who) | {self.reset_to: ""}

    def disable_user(self, who: Identity, name: Any) -> dict[Any, Any]:
        """Keeps a user out."""
        with beside(self.chosen):
            chosen = _chosen(name)
        if chosen == who.username:
            raise BadInput("You cannot disable yourself; let another admin do it.")
        user = auth.disable_user(self.services.db, chosen, by=who.username)
        gr.Info(f"{escape(user.username)} can no longer sign in.", duration=5)
        return self.refresh(who) | {self.chosen: gr.update(value=None)}


def _chosen(name: Any) -> str:
    if not isinstance(name, str) or not name:
        raise BadInput("Choose a user first.")
    return name
