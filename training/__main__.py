"""The command line of the training side: `python -m training --help`."""

from __future__ import annotations

import logging
import sys

import typer
from pydantic import ValidationError

from training.commands import data, evaluate, promote, train, validate
from xray_app.errors import DeskError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Train, measure and register models.")
for group in (data, train, evaluate, promote, validate):
    app.add_typer(group.app)


def main() -> None:
    """Runs a command; an error written for a person is one line, not a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # It warns, when imported, of a kernel that only 4-bit models on CPUs would miss: a run's log began with that.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        app()
    except DeskError as error:
        print(error.message, file=sys.stderr)
        sys.exit(1)
    except ValidationError as error:
        first = error.errors()[0]
        print(
            f"A setting is wrong: {'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}",
            file=sys.stderr,
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
