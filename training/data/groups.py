"""Which group each picture of a data set is of: its scanner, or whatever else gives content away before it is seen."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from training.data.samples import Sample
from xray_app.errors import BadDataset, BadInput
from xray_app.exchange.bag_names import MAX_COLUMN_FILE, matches
from xray_app.exchange.bounded_text import read_text

GROUP_FILE = "groups.csv"
"""Beside `data.yaml`: a heading with the columns `file` and `group`, `file` relative to it; others are not read."""


def groups_of(paths: Iterable[str], folder: Path, pattern: str | None, dataset: str) -> dict[str, str]:
    """The group of each picture: by the pattern, else by `groups.csv`, else the data set.

    Args:
        paths: of the pictures, relative to `folder`, with slashes.
        folder: the data set's.
        pattern: a regular expression over the file name, whose first capture (or all it matches) is the group.
        dataset: the data set's name.

    Raises:
        BadInput: the pattern does not fit a file name, or takes too long.
        BadDataset: `groups.csv` cannot be read, or does not say a picture's group.
    """
    wanted = list(dict.fromkeys(paths))
    if pattern is not None:
        names = {path: PurePosixPath(path).name for path in wanted}
        found = matches(pattern, names.values(), "group")
        return {path: found[name][1] if found[name].re.groups else found[name][0] for path, name in names.items()}
    said = _read(folder / GROUP_FILE)
    if said is None:
        return dict.fromkeys(wanted, dataset)
    if without := [path for path in wanted if path not in said]:
        raise BadDataset(
            f"{folder / GROUP_FILE}: names no group of {without[0]!r}"
            + (f" and {len(without) - 1:,} more pictures." if len(without) > 1 else ".")
        )
    return {path: said[path] for path in wanted}


def _read(path: Path) -> dict[str, str] | None:
    if not path.is_file():
        return None
    rows = csv.DictReader(read_text(path, MAX_COLUMN_FILE).splitlines())
    said: dict[str, str] = {}
    try:
        if not {"file", "group"} <= set(rows.fieldnames or ()):
            raise BadDataset(f"{path}: its first line has to name the columns `file` and `group`.")
        for row in rows:
            file, group = ((row[name] or "").strip() for name in ("file", "group"))
            if not file or not group:
                raise BadDataset(f"{path}:{rows.line_num}: a line has a file and its group.")
            if said.setdefault(file.replace("\\", "/"), group) != group:
                raise BadDataset(f"{path}:{rows.line_num}: {file!r} stands twice, in different groups.")
    except csv.Error as error:
        raise BadDataset(f"{path}: cannot be read: {error}.") from error
    return said


def leave_out(samples: Iterable[Sample], group: str) -> tuple[list[Sample], list[Sample]]:
    """(all other groups' samples, this group's): what a model makes of a scanner it has never seen.

    Raises:
        BadInput: no sample is of this group, or all are, or a bag is in and out of it.
    """
    everything = list(samples)
    left = [sample for sample in everything if sample.group == group]
    rest = [sample for sample in everything if sample.group != group]
    if not left or not rest:
        names = ", ".join(sorted({str(sample.group) for sample in everything}))
        raise BadInput(f"{group!r} cannot be left out: the groups are {names}.")
    if both := {sample.bag_id for sample in left} & {sample.bag_id for sample in rest}:
        raise BadInput(f"The bag {min(both)} is of {group!r} and of another group: it would be on both sides.")
    return rest, left


def bag_groups(samples: Iterable[Sample]) -> Mapping[str, str]:
    """The group of each bag, by bag id; "" where it is unknown. Of a bag whose views differ, all of them, joined."""
    found: dict[str, set[str]] = {}
    for sample in samples:
        found.setdefault(sample.bag_id, set()).add(sample.group or "")
    return {bag: " + ".join(sorted(groups)) for bag, groups in found.items()}
