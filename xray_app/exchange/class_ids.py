"""Which number stands for which class in an export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xray_app.taxonomy import Taxonomy


@dataclass(frozen=True)
class ClassIds:
    """The classes by id, from 0 without gaps.

    Attributes:
        names: today's name of each; of a class that is gone, or whose id another one took over, the old name.
        of: the id of each of today's classes.
    """

    names: tuple[str, ...]
    of: Mapping[str, int]


def class_ids(taxonomy: Taxonomy, given: Sequence[str] = ()) -> ClassIds:
    """The ids of a taxonomy.

    Args:
        taxonomy: today's classes.
        given: the names by id, as they were when the ids were given (`store.class_ids`); empty: by the order of the
            taxonomy's file.
    """
    given = given or [one.name for one in taxonomy.classes if not one.retired]
    names: list[str] = []
    of: dict[str, int] = {}
    for id, name in enumerate(given):
        found = taxonomy.find(name)
        if found is None or found.name in of:
            names.append(name)
        else:
            names.append(found.name)
            of[found.name] = id
    return ClassIds(tuple(names), of)
