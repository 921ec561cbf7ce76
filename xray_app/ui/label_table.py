"""The table in which a person says what unknown labels of a data set are."""

from __future__ import annotations

from typing import Any

import gradio as gr

from xray_app.errors import BadInput
from xray_app.exchange.label_map import IGNORE, MAX_SHOWN


def label_table() -> gr.Dataframe:
    """A row an unknown label: its name in the data set, and the class it is here. Hidden until there is one."""
    return gr.Dataframe(
        headers=["label in the data set", f"class here, or {IGNORE}"], datatype="str", type="array",
        column_count=2, static_columns=[0], interactive=True, visible=False, elem_id="import-meanings",
        label="Unknown labels: say what each is, then press Import again",
    )  # fmt: skip


def pairs(rows: Any) -> list[tuple[str, str]]:
    """The rows of the table in which something is said.

    Raises:
        BadInput: a row that is no pair of texts: the page may send anything.
    """
    rows = rows if isinstance(rows, list) else []
    if not all(isinstance(row, list) and len(row) == 2 and all(isinstance(one, str) for one in row) for row in rows):
        raise BadInput("The table of labels holds something that is no text.")
    return [(label, meaning) for label, meaning in rows[:MAX_SHOWN] if label.strip() and meaning.strip()]
