"""A model's own class names as the taxonomy's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from xray_app.errors import BadModel
from xray_app.taxonomy import Taxonomy


def canonical_labels(path: Path, names: Mapping[int, str], taxonomy: Taxonomy) -> tuple[str, ...]:
    """Canonical names by class index; two of a model's classes may be one of the taxonomy's.

    Args:
        path: the weights, for the message.
        names: the model's class names by class index.
        taxonomy: knows names and aliases.

    Raises:
        BadModel: the indices are not 0, 1, 2 …, or the taxonomy does not know a class, which is named.
    """
    if not names or sorted(names) != list(range(len(names))):
        raise BadModel(f"{path}: its class names are not numbered from 0.")
    found = {index: taxonomy.find(name) for index, name in names.items()}
    unknown = [names[index] for index, item in sorted(found.items()) if item is None]
    if unknown:
        raise BadModel(
            f"{path}: the taxonomy does not know its classes {', '.join(unknown)}. "
            "Add them to the taxonomy as classes or aliases.",
            details={"labels": unknown},
        )
    return tuple(item.name for _, item in sorted(found.items()) if item)
