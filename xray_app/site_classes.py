"""Classes that a site adds at its desk, beside those of its taxonomy file: what one may be called. No SQL."""

from __future__ import annotations

import re

from xray_app.errors import BadInput
from xray_app.taxonomy import ItemClass, Taxonomy, fault_of_name, normalise
from xray_app.types import Status

MOST_CLASSES = 200
"""That one site may add."""
IGNORE, ALL = "ignore", "all"
"""Words that a person writes where a class may stand, so that none is called like them."""
MEASURED_ANEW = "What was measured before rests on other classes: thresholds of the threat score have to be set anew."

_NO_PART_OF_A_NAME = re.compile(r"[^\w '’-]|_")


def new_class(name: str, status: str, taxonomy: Taxonomy) -> ItemClass:
    """A class to be added to a site's, checked by the rules of its file's own names.

    Args:
        name: in the singular; its plural will be the same.
        status: "prohibited", "restricted" or "allowed".
        taxonomy: the site's classes by now.

    Raises:
        BadInput: no class can be called so, or one is already; or no such status.
    """
    name = " ".join(name.split())
    if (fault := fault_of_name(name)) is not None:
        raise BadInput(f"The name of a class {fault}.")
    if normalise(name) in (IGNORE, ALL):
        raise BadInput(f"No class is called {name!r}: that says what to do with a label. Choose another name.")
    if status not in list(Status):
        raise BadInput(f"A class is {', '.join(Status)}, not {status[:40]!r}.")
    if (found := taxonomy.find(name)) is not None:
        raise BadInput(f"{name!r} is known here already: {found.name}, which is {found.status.value}. Choose that.")
    return ItemClass.of_desk(name, Status(status))


def suggested_name(label: str) -> str:
    """What a class made of a data set's label could be called; "" where no part of the label can be used."""
    name = " ".join(_NO_PART_OF_A_NAME.sub(" ", label[:200]).split())
    return name if fault_of_name(name) is None else ""
