"""Options and small functions that several commands share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from xray_app.errors import BadInput
from xray_app.settings import Settings
from xray_app.store.database import Database
from xray_app.taxonomy import Taxonomy, load_taxonomy
from xray_app.types import Method

Data = Annotated[Path, typer.Option("--data", help="A folder or file of samples.")]
Out = Annotated[Path, typer.Option("--out", help="Where the result goes.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint.")]


def file_taxonomy() -> Taxonomy:
    """The classes of the taxonomy file alone, for commands that open no database."""
    return load_taxonomy(Settings().taxonomy)


def open_database(settings: Settings) -> Database:
    return Database.open(settings.sqlalchemy_url, settings.data_dir)


def print_json(**facts: object) -> None:
    print(json.dumps(facts))


def method_named(name: str) -> Method:
    if name not in get_args(Method):
        raise BadInput(f"--method is lora, qlora or full, not {name!r}.")
    return cast(Method, name)
