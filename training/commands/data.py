"""Commands that make training data: simulate scans, prepare a labelled data set."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from training.commands.common import Out, file_taxonomy, open_database, print_json
from xray_app.errors import BadDataset, BadInput

# Heavy modules are imported inside the commands: --help answers at once.

app = typer.Typer()


@app.command()
def simulate(
    out: Out,
    count: Annotated[int, typer.Option(min=1)],
    seed: Annotated[int, typer.Option(min=0)],
    threat_rate: Annotated[float, typer.Option(min=0, max=1)] = 0.5,
    items: Annotated[str, typer.Option(help="Fewest and most items in a bag, as 0:8.")] = "0:8",
) -> None:
    """Write simulated scans with exact boxes as a YOLO data set."""
    from xray_app.simulate.dataset import write_dataset

    low, _, high = items.partition(":")
    if not (low.isdecimal() and high.isdecimal() and int(low) <= int(high)):
        raise BadInput(f"--items is a range such as 0:8, not {items!r}.")
    write_dataset(out, count, seed, file_taxonomy(), threat_rate, (int(low), int(high)))
    print_json(scans=count, out=str(out))


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
    from xray_app.settings import Settings

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
