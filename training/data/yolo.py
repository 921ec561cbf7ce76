"""Reads a YOLO data set (`data.yaml`, `images/`, `labels/`) and prepares it for training.

Nothing is skipped or repaired silently: every bad line is named, and either stops the reading or, when asked
for, is listed among what was left out.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from training.data.groups import groups_of, leave_out
from training.data.near_equal_bags import like_bags, near_each_other
from training.data.samples import Sample, SampleBox, make_sample, split_by_bag, write_jsonl
from xray_app.errors import BadDataset, BadInput
from xray_app.exchange.bag_names import BagNaming, read_column_file
from xray_app.exchange.dataset import LabelledImage, Problem, Problems, Unusable
from xray_app.exchange.label_map import LabelMap
from xray_app.exchange.source import dataset_name
from xray_app.exchange.yolo_layout import config_file, label_file, list_images, load_config, read_names
from xray_app.exchange.yolo_rows import read_labels
from xray_app.taxonomy import Taxonomy

PROBLEMS_SHOWN = 20


@dataclass(frozen=True)
class YoloData:
    """What a YOLO folder holds.

    Attributes:
        splits: samples by split name, "train" and, where data.yaml names one, "val".
        labelled_classes: the canonical names of data.yaml, None when they cover every drawn class.
        left_out: with `skip_bad`, all that is wrong with the scans left out, as "file:line: reason".
        summary: what is wrong, counted by kind; empty when nothing is.
    """

    splits: Mapping[str, tuple[Sample, ...]]
    labelled_classes: tuple[str, ...] | None
    left_out: tuple[str, ...]
    summary: str


def read_yolo(
    folder: Path,
    taxonomy: Taxonomy,
    skip_bad: bool = False,
    skip_unknown: bool = False,
    naming: BagNaming | None = None,
    group: str | None = None,
) -> YoloData:
    """Reads a YOLO data set.

    An empty label file is a scan with nothing in it; a missing one is an error, since a forgotten file would
    teach the model to say "none". The same bytes under two names are an error where they are, or by a split by bag
    may come to be, on both sides of the split: what is measured would have been trained on.

    Args:
        folder: holds `data.yaml`.
        taxonomy: gives canonical names to the data set's labels.
        skip_bad: leave bad scans out and list them, instead of raising.
        skip_unknown: leave out boxes of labels the taxonomy does not know.
        naming: of the bags; None: by folder and file name alone.
        group: pattern of the group in a picture's file name; None: `groups.csv`, else the data set is the group.

    Raises:
        BadDataset: data.yaml, groups.csv or any scan is wrong; the message names file and line of each.
        BadInput: the pattern of `naming` or `group` does not fit the pictures' paths.
        UnknownLabel: data.yaml has labels the taxonomy does not know.
    """
    config_path = config_file(folder)
    config = load_config(config_path)
    if "train" not in config:
        raise BadDataset(f"{config_path}: `train` is missing")
    names = read_names(config, config_path, LabelMap(taxonomy, skip_unknown=skip_unknown))
    scope = names.scope()
    problems = Problems()
    splits: dict[str, tuple[Sample, ...]] = {}
    # val first: of a scan that is in both, the training copy is the one to lose.
    images = {
        split: list(list_images(config, config_path, split, problems)) for split in ("val", "train") if split in config
    }
    naming = replace(naming or BagNaming(), said=read_column_file(folder))
    paths = {image: _within(image, folder) for of_split in images.values() for image in of_split}
    named = naming.of(paths.values(), {path: image for image, path in paths.items()}.__getitem__)
    groups = groups_of(paths.values(), folder, group, naming.dataset or dataset_name(folder))
    seen: dict[str, Path] = {}
    bags: set[str] = set()
    for split, pictures in images.items():
        found: list[Sample] = []
        of_split: dict[str, Path] = {}
        for image in pictures:
            bag_id = named[paths[image]].bag_id
            try:
                digest = hashlib.sha256(image.read_bytes()).hexdigest()
                if digest in seen:
                    reason = f"the same picture is in val as {seen[digest].name}"
                    raise Unusable(Problem(image, "picture in both train and val", reason))
                if bag_id in bags:
                    reason = f"the bag {bag_id} is in val too"
                    raise Unusable(Problem(image, "bag in both train and val", reason))
                if "val" not in config and digest in of_split:
                    reason = (
                        f"the same picture as {of_split[digest].name}; without a val of its own, "
                        "the split by bag could put one in train and one in val"
                    )
                    raise Unusable(Problem(image, "picture twice", reason))
                labelled = read_labels(image, label_file(image), names)
                found.append(_sample(labelled, scope, bag_id, taxonomy, groups[paths[image]]))
                of_split.setdefault(digest, image)
            except Unusable as error:
                problems.add(*error.problems)
        seen |= of_split
        bags |= {sample.bag_id for sample in found}
        splits[split] = tuple(found)
    if problems and not skip_bad:
        shown = "\n".join(problems.texts()[:PROBLEMS_SHOWN])
        more = len(problems) - PROBLEMS_SHOWN
        raise BadDataset(
            f"{folder}: {len(problems)} problem{'s' if len(problems) > 1 else ''}:\n{shown}"
            + (f"\n… and {more} more" if more > 0 else "")
            + f"\n{_summary(problems)}. Put them right, or leave these scans out with --skip-bad.",
            details={"problems": problems.texts()},
        )
    if not splits["train"]:
        raise BadDataset(f"{folder}: no usable training scans")
    return YoloData(splits, scope, tuple(problems.texts()), _summary(problems))


def _summary(problems: Problems) -> str:
    """As "3 problems in 2 files: class outside names (2), coordinates over 1 (1)"; empty without any."""
    if not problems:
        return ""
    listed = ", ".join(f"{kind} ({count})" for kind, count in problems.kinds.most_common())
    return f"{_counted(len(problems), 'problem')} in {_counted(len(problems.files), 'file')}: {listed}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


@dataclass(frozen=True)
class Prepared:
    """What `prepare` wrote: scans by split, what was left out and a summary of it, and the scope of the labels."""

    train: int
    val: int
    left_out: tuple[str, ...]
    summary: str
    labelled_classes: tuple[str, ...] | None


def prepare(
    folder: Path,
    out: Path,
    taxonomy: Taxonomy,
    val: float = 0.2,
    seed: int = 0,
    skip_bad: bool = False,
    skip_unknown: bool = False,
    naming: BagNaming | None = None,
    group: str | None = None,
    left_out_group: str | None = None,
) -> Prepared:
    """Writes `train.jsonl` and `val.jsonl`; the pictures stay where they are.

    A data set with its own `val` keeps it; otherwise `val` (a share) of the bags is split off by a hash, and bags
    with near-equal pictures stay together. A training scan near one of the data set's own `val` is left out as one
    that is in both.

    Args:
        folder, taxonomy, skip_bad, skip_unknown: as `read_yolo`.
        out: where both files go.
        val: share of the bags, 0 to 1, without a split of the data set's own.
        seed: another one splits otherwise.
        naming: of the bags; None: the folder's name, folders within and file name.
        group: as `read_yolo`.
        left_out_group: its scans are the hold-out and all others are trained on, whatever split the data set has.

    Raises:
        BadDataset, BadInput, UnknownLabel: as `read_yolo`.
    """
    if not 0 <= val < 1:
        raise BadDataset(f"--val is a share between 0 and 1, not {val}")
    data = read_yolo(folder, taxonomy, skip_bad, skip_unknown, naming or BagNaming(dataset_name(folder)), group)
    left_out, summary = data.left_out, data.summary
    train = list(data.splits["train"])
    if "val" in data.splits or left_out_group is not None:
        test = list(data.splits.get("val", ()))
        if left_out_group is not None:
            train, test = leave_out([*train, *test], left_out_group)
        leaks = {id(one): other for one, other in near_each_other(train, test)}
        if leaks:
            listed = tuple(
                f"{one.image}: nearly the same picture as {leaks[id(one)].image.name}, which is in val"
                for one in train
                if id(one) in leaks
            )
            if not skip_bad:
                shown = "\n".join(listed[:PROBLEMS_SHOWN])
                raise BadDataset(
                    f"{folder}: {_counted(len(listed), 'training scan')} would give the hold-out away:\n{shown}\n"
                    "Leave them out with --skip-bad.",
                    details={"problems": list(listed)},
                )
            train = [one for one in train if id(one) not in leaks]
            left_out = (*left_out, *listed)
            near = f"near-equal picture in both train and val ({len(listed)})"
            summary = f"{summary}; {near}" if summary else near
    else:
        train, test = split_by_bag(train, val, seed, like=like_bags(train))
    write_jsonl(train, out / "train.jsonl")
    write_jsonl(test, out / "val.jsonl")
    return Prepared(len(train), len(test), left_out, summary, data.labelled_classes)


def _within(image: Path, folder: Path) -> str:
    """The picture's path within the data set; of one that lies elsewhere, its own folders and name."""
    # Not resolved: a link's own name counts, not its target's.
    path, root = (Path(os.path.abspath(one)) for one in (image, folder))  # noqa: PTH100
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else Path(*path.parts[-3:]).as_posix()


def _sample(found: LabelledImage, scope: tuple[str, ...] | None, bag_id: str, taxonomy: Taxonomy, group: str) -> Sample:
    counts = Counter(box.label for box in found.boxes)
    boxes = [SampleBox(label=box.label, xyxy=box.xyxy) for box in found.boxes]
    size = (found.width, found.height)
    try:
        return make_sample(found.image, size, counts, boxes, scope, bag_id, taxonomy, group)
    except BadInput as error:
        raise Unusable(Problem(found.labels, "impossible count", str(error))) from error
