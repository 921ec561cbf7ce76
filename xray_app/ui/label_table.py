"""The table in which a person says what unknown labels of a data set are: a class, to be ignored, or a new class.

`browser/label_table.js` draws it and keeps the answers in its value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import gradio as gr
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from xray_app.errors import BadInput
from xray_app.exchange.label_map import MAX_SHOWN, meaning_new
from xray_app.site_classes import suggested_name
from xray_app.taxonomy import Taxonomy
from xray_app.types import Status
from xray_app.ui import browser_code

NEW = "new:"
"""The meaning of a label that is to be a class of its own; no class can be called so."""
TABLE = '<div class="label-table"><p></p><table><thead></thead><tbody></tbody></table></div>'

Words = Annotated[str, Field(max_length=1000)]


class LabelRow(BaseModel):
    """What somebody says of one label.

    Attributes:
        label: as the data set has it.
        meaning: a class, "ignore", `NEW`, or "" as long as nothing is said.
        name, status: of the new class.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    label: Words
    meaning: Words
    name: Words = ""
    status: Words = Status.PROHIBITED.value

    @property
    def pair(self) -> tuple[str, str]:
        """The label and its meaning, as a mapping has it."""
        return self.label, meaning_new(self.name, self.status) if self.meaning == NEW else self.meaning


class LabelTable(BaseModel):
    """The table as it goes to the browser, and comes back filled in.

    Attributes:
        shown: says that it is another one, so that it is drawn anew.
        classes: what a label may be.
        rows: a row each label.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    shown: Words
    classes: Annotated[tuple[Words, ...], Field(max_length=1000)] = ()
    rows: Annotated[tuple[LabelRow, ...], Field(max_length=MAX_SHOWN)]

    @classmethod
    def of(cls, shown: str, unknown: Mapping[str, str], taxonomy: Taxonomy) -> LabelTable:
        """Of labels nobody knows and what each is offered to become, "" without an offer."""
        rows = [
            LabelRow(label=label, meaning=offer, name=suggested_name(label))
            for label, offer in list(unknown.items())[:MAX_SHOWN]
        ]
        return cls(shown=shown, classes=taxonomy.names, rows=tuple(rows))


def label_table() -> gr.HTML:
    """The component; hidden until there is something to ask."""
    return gr.HTML(
        value=None,
        html_template=TABLE,
        js_on_load=browser_code.mounting("label_table.js"),
        apply_default_css=False,
        visible=False,
        elem_id="import-meanings",
    )


def pairs(value: Any) -> list[tuple[str, str]]:
    """The labels of which something is said, and what.

    Raises:
        BadInput: it is no such table: the page may send anything.
    """
    if value is None:
        return []
    try:
        table = LabelTable.model_validate(value)
    except ValidationError as error:
        raise BadInput("The table of labels cannot be read. Reload the page and import again.") from error
    return [row.pair for row in table.rows if row.label.strip() and row.meaning.strip()]
