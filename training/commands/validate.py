"""The command by which a validation is looked at and signed; campaigns are opened at the desk."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from training.commands.common import open_database
from xray_app import validating
from xray_app.errors import BadInput, NotFound
from xray_app.settings import Settings
from xray_app.store import campaigns
from xray_app.taxonomy import load_taxonomy

app = typer.Typer()


@app.command()
def validate(
    scanner: Annotated[str, typer.Option(help="The scanner whose newest campaign is meant.")],
    sign: Annotated[bool, typer.Option("--sign", help="Sign it; needs --reason.")] = False,
    by: Annotated[str, typer.Option(help="Who signs; goes into the audit log.")] = "command line",
    reason: Annotated[str | None, typer.Option()] = None,
) -> None:
    """Say how the newest campaign of a scanner stands, as JSON; exit 1 while it cannot be signed."""
    settings = Settings()
    db = open_database(settings)
    wanted = load_taxonomy(settings.taxonomy).rules(settings.policy).policy.recall
    campaign = next((one for one in campaigns.newest(db, limit=1000) if one.scanner_id == scanner), None)
    if campaign is None:
        raise NotFound(
            f"No campaign was opened for scanner {scanner!r}. An admin opens one at the desk, in Thresholds."
        )
    if sign:
        if not (why := (reason or "").strip()):
            raise BadInput("A validation is signed with a reason: --reason TEXT.")
        print(validating.sign_for(db, campaign.id, wanted, by, why).model_dump_json())
        return
    status = validating.status_of(db, campaign.id, wanted)
    print(status.model_dump_json())
    if status.objections:
        print(" ".join(status.objections), file=sys.stderr)
        raise typer.Exit(1)
