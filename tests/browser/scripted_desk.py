"""The desk with scripted models as a process of its own, which a test may kill and start again.

    python -m tests.browser.scripted_desk FOLDER PORT [NAME:ROLE ...]

Makes the users named, all with the password of the tests' admin; corrections need a review.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import app
from tests.browser.conftest import ADMIN_PASSWORD
from tests.ui.scripted import ScriptedDetector, ScriptedVlm
from xray_app import auth
from xray_app.analysis import Analyser
from xray_app.errors import Conflict
from xray_app.services import Services
from xray_app.settings import Settings
from xray_app.store.database import Database
from xray_app.taxonomy import load_taxonomy
from xray_app.types import Role

# Both models name the same, so that a prediction may be right as it is.
AGREED = (
    "Items detected: 1 knife (threat), 1 scissors (threat), 1 plastic bottle. Security risk: HIGH - knife detected."
)


def main(folder: str, port: str, *users: str) -> None:
    settings = Settings(data_dir=Path(folder), port=int(port), vlm="bundled", detector="bundled", review="required")
    taxonomy = load_taxonomy()
    rules = taxonomy.rules()
    db = Database.open(settings.sqlalchemy_url, settings.data_dir)
    auth.ensure_admin(db, ADMIN_PASSWORD)
    for name, _, role in (user.partition(":") for user in users):
        with suppress(Conflict):
            auth.add_user(db, name, ADMIN_PASSWORD, Role(role))
    analyser = Analyser(ScriptedVlm(AGREED), ScriptedDetector(), rules)
    services = Services(settings, db, rules, analyser, lambda run: None)
    app.serve(settings, app.listen(settings.host, settings.port), lambda: services)


if __name__ == "__main__":
    main(*sys.argv[1:])
