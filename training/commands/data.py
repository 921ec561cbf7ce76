"""Commands that make training data: simulate scans, prepare a labelled data set."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from training.commands.common import Out, file_taxonomy, open_database, print_json
from xray_app.errors import BadDataset, BadInput, DeskError
from xray_app.settings import Settings

if TYPE_CHECKING:
    from PIL import Image

MOST_LIKE = 300
"""Scans of a site that are looked at: more tell no more about how they look."""

# Heavy modules are imported inside the commands: --help answers at once.

app = typer.Typer()


@app.command()
def simulate(
    out: Out,
    count: Annotated[int, typer.Option(min=1)],
    seed: Annotated[int, typer.Option(min=0)],
    threat_rate: Annotated[float, typer.Option(min=0, max=1)] = 0.5,
    items: Annotated[str, typer.Option(help="Fewest and most items in a bag, as 0:8.")] = "0:8",
    kind: Annotated[
        Literal["full", "tidy"], typer.Option(help="Bags as people pack them, or with few things, well to be seen.")
    ] = "full",
    like: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Unlabelled scans of a site: full bags are to look like them.")
    ] = None,
) -> None:
    """Write simulated scans with exact boxes as a YOLO data set."""
    from xray_app.simulate.dataset import write_dataset
    from xray_app.simulate.like import conditions_like

    low, _, high = items.partition(":")
    if not (low.isdecimal() and high.isdecimal() and int(low) <= int(high)):
        raise BadInput(f"--items is a range such as 0:8, not {items!r}.")
    if like and kind == "tidy":
        raise BadInput("--like goes with full bags: tidy ones are what they are. Leave --kind tidy out.")
    taxonomy = file_taxonomy()
    site = conditions_like(_pictures(like), taxonomy, seed=seed) if like else ()
    write_dataset(out, count, seed, taxonomy, threat_rate, (int(low), int(high)), kind=kind, like=site)
    print_json(scans=count, out=str(out))


def _pictures(folder: Path) -> Iterator[Image.Image]:
    """The scans below a folder, at most `MOST_LIKE` of them; what is not one is named and left out.

    Raises:
        BadInput: it is no folder.
    """
    from xray_app.exchange.dataset import IMAGE_SUFFIXES
    from xray_app.scan.decoding import Limits
    from xray_app.scan.read import read_scan

    if not folder.is_dir():
        raise BadInput(f"{folder} is no folder. --like takes one with scans in it.")
    settings = Settings()
    limits = Limits(settings.max_upload_bytes, settings.max_pixels)
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES)
    random.Random(0).shuffle(paths)
    found = 0
    for path in paths:
        if found == MOST_LIKE:
            return
        try:
            yield read_scan(path.read_bytes(), path.name, limits).image
        except (DeskError, OSError) as error:
            print(f"left out: {path}: {error}", file=sys.stderr)
            continue
        found += 1


@app.command()
def prepare(
    yolo: Annotated[Path, typer.Option(help="Holds data.yaml.")],
    out: Out,
    val: Annotated[float, typer.Option(help="Share of bags to keep for testing.")] = 0.2,
    seed: int = 0,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave bad scans out, and list them.")] = False,
    skip_unknown: Annotated[
        bool, typer.Option("--skip-unknown", help="Leave out boxes of labels the taxonomy does not know.")
    ] = False,
    dataset: Annotated[
        str | None, typer.Option(help="The set's name, with which its bags' names begin; else its folder's.")
    ] = None,
    bag: Annotated[
        str | None, typer.Option("--bag", metavar="REGEX", help="Over a picture's path in the set: its bag.")
    ] = None,
    group: Annotated[
        str | None, typer.Option("--group", metavar="REGEX", help="Over a file name: its scanner; else groups.csv.")
    ] = None,
    leave_out: Annotated[
        str | None, typer.Option("--leave-out", metavar="GROUP", help="Hold this group out, train on all others.")
    ] = None,
) -> None:
    """Turn a YOLO data set into train.jsonl and val.jsonl."""
    from training.data.yolo import prepare as write
    from xray_app.exchange.bag_names import BagNaming
    from xray_app.exchange.source import dataset_name

    naming = BagNaming(dataset or dataset_name(yolo), bag)
    try:
        done = write(yolo, out, file_taxonomy(), val, seed, skip_bad, skip_unknown, naming, group, leave_out)
    except BadDataset as error:
        # Here every one is listed, so that all can be put right in one go.
        for problem in (problems := (error.details or {}).get("problems", [])):
            print(problem, file=sys.stderr)
        print(error.message.splitlines()[-1] if problems else error.message, file=sys.stderr)
        raise typer.Exit(1) from error
    for problem in done.left_out:
        print(f"left out: {problem}", file=sys.stderr)
    if done.summary:
        print(f"left out for {done.summary}", file=sys.stderr)
    print_json(train=done.train, val=done.val, left_out=len(done.left_out), labelled_classes=done.labelled_classes)


@app.command()
def leaks(
    fix: Annotated[bool, typer.Option("--fix", help="Move the bags of all leaks to the training side.")] = False,
    author: Annotated[str, typer.Option(help="Who is named in the audit trail.")] = "admin",
) -> None:
    """List copies, views and near-equal pictures that are trained on and held out both; exit 1 if some stay so."""
    from training.data.leaks import find_leaks, fix_leaks

    db = open_database(Settings())
    found = find_leaks(db)
    for leak in found:
        print(leak, file=sys.stderr)
    moved = fix_leaks(db, author) if fix and found else {}
    if moved:
        print(
            f"{len(moved)} bags train from now on. Figures measured before on the site's hold-out are not comparable "
            "with later ones.",
            file=sys.stderr,
        )
    print_json(leaks=len(found), moved=len(moved))
    if found and not fix:
        raise typer.Exit(1)
