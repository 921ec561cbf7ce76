"""Made-up requests at a served desk, by every role: does any get a 500?

    python -m tests.benchmarks.fuzz [--cases 10000] [--schemathesis PATH] [--tiny]

Schemathesis makes requests of the served OpenAPI, right ones and wrong ones, for a stranger and for each role; then
every address of Gradio's that there is gets bodies that no page sends. Schemathesis is installed into a temporary
environment of its own (its versions of the desk's libraries would be others), or `--schemathesis` names its program.
`cases` are the requests made, `server_errors` the answers of 500 and above but 503, `told` the first of them. The last
line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from tests.benchmarks.served import PASSWORD, desk_process
from xray_app import auth
from xray_app.errors import Conflict
from xray_app.store.database import Database
from xray_app.types import Role

VERSION = "4.32.5"
SEED = 20_261_130
ENDS_THE_SESSION = "/v1/logout"
BODIES = ("", "[", "[]", "null", "{}", '"x"', "[" * 5000, '{"data": NaN}', '{"fn_index": -1, "data": {}}',
          '{"fn_index": 0, "data": [], "session_hash": "x", "event_id": []}', "\ud800")  # fmt: skip
QUERIES = ("", "?session_hash=", "?session_hash=x&session_hash=y", "?x=%ff%00", "?first=0001-01-01&last=9999-12-31")
PLACES = ("x", "..%2f..%2fetc%2fpasswd", "%00", "a" * 3000)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--cases", type=int, default=10_000)
    asked.add_argument("--schemathesis", type=Path, help="its program; left out, it is installed for this run")
    asked.add_argument("--tiny", action="store_true", help="a quick look: 300 cases")
    arguments = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        program = arguments.schemathesis or install(Path(folder) / "environment")
        cases = 300 if arguments.tiny else arguments.cases
        print(json.dumps(fuzzed(Path(folder), program, cases, tiny=arguments.tiny)))


def install(environment: Path) -> Path:
    """Makes the environment; gives the program in it."""
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    program = environment / "bin" / "schemathesis"
    subprocess.run([program.with_name("pip"), "install", "-q", f"schemathesis=={VERSION}"], check=True)
    return program


def fuzzed(folder: Path, program: Path, cases: int, tiny: bool = False) -> dict[str, Any]:
    """Serves a desk and asks it so many made-up things; returns the figures."""
    data = folder / "data"
    db = Database.open(f"sqlite:///{data / 'xray.db'}", data)
    auth.ensure_admin(db, PASSWORD)
    tokens: dict[str, str | None] = {"stranger": None}
    for role in Role:
        with suppress(Conflict):  # the admin is there
            auth.add_user(db, role.value, PASSWORD, role)
        tokens[role.value] = auth.sign_in(db, role.value, PASSWORD).token
    db.close()
    made: dict[str, int] = {}
    errors: list[str] = []
    with desk_process(data) as desk:
        with httpx.Client(base_url=desk.address, timeout=120) as client:
            described = client.get("/openapi.json", headers=_bearer(tokens["admin"])).json()
            operations = sum(len(methods) for methods in described["paths"].values())
            schema = folder / "openapi.json"
            schema.write_text(json.dumps(described))
            for name, token in tokens.items():
                each = max(1, cases // (len(tokens) * operations) + 1)
                made[name], found = of_schemathesis(program, schema, desk.address, token, each, folder, tiny)
                errors += [f"{name}: {one}" for one in found]
            made["gradio"], found = of_gradio(client, [tokens["admin"]] if tiny else tokens.values(), tiny)
            errors += found
        log = desk.log.read_text()
    return {
        "cases": sum(made.values()),
        "cases_by": made,
        "server_errors": len(errors),
        "tracebacks": log.count("Traceback"),
        "told": errors[:10],
    }


def of_schemathesis(
    program: Path, schema: Path, address: str, token: str | None, each: int, folder: Path, tiny: bool
) -> tuple[int, list[str]]:
    """How many requests were made of each operation's description, and what got a server error."""
    report = folder / "report.ndjson"
    report.unlink(missing_ok=True)
    command = [
        str(program), "run", str(schema), "--url", address, "--checks", "not_a_server_error",
        "--max-examples", str(each),
        "--phases", "fuzzing" if tiny else "examples,coverage,fuzzing", "--seed", str(SEED), "--continue-on-failure",
        "--exclude-path", ENDS_THE_SESSION, "--report-ndjson-path", str(report), "--request-timeout", "120",
        "--no-color", "--suppress-health-check", "all",
    ]  # fmt: skip
    command += [part for name, value in _bearer(token).items() for part in ("--header", f"{name}: {value}")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    if not report.is_file():
        raise RuntimeError(f"schemathesis ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    statuses = [int(status) for status in re.findall(r'"status_code": ?(\d{3})', report.read_text())]
    failed = re.findall(r"(?:Server error|\[5\d\d\]).*", done.stdout)
    errors = [f"{status}" for status in statuses if status >= 500 and status != 503]
    return len(statuses), [f"{one} {failed[:3]}" for one in errors]


def of_gradio(client: httpx.Client, tokens: Iterable[str | None], tiny: bool) -> tuple[int, list[str]]:
    """Every address of Gradio's with every made-up body, by everybody."""
    made, errors = 0, []
    for token in tokens:
        for method, path in gradio_addresses(PLACES[:1] if tiny else PLACES):
            if path.startswith("/desk/logout"):
                continue
            for sent in BODIES if method == "POST" else QUERIES:
                url, content = (path, sent) if method == "POST" else (f"{path}{sent}", None)
                body = content.encode("utf-8", "surrogatepass") if content is not None else None
                headers = _bearer(token) | ({"Content-Type": "application/json"} if body is not None else {})
                made += 1
                try:
                    with client.stream(method, url, content=body, headers=headers) as answer:
                        if answer.status_code >= 500 and answer.status_code != 503:
                            errors.append(f"{method} {url[:100]} {sent[:40]!r}: {answer.status_code}")
                except httpx.HTTPError as error:
                    errors.append(f"{method} {url[:100]} {sent[:40]!r}: {error!r}")
    return made, errors


def gradio_addresses(places: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Method and address of every route that Gradio has, with values for what is in the path."""
    import gradio as gr

    with gr.Blocks(analytics_enabled=False) as page:
        gr.HTML("")
    for method, path in _routes(gr.routes.App.create_app(page).routes):
        for place in places if "{" in path else ("",):
            yield method, "/desk" + re.sub(r"\{[^}]*\}", lambda _, place=place: place, path)  # type: ignore[misc]


def _routes(routes: Sequence[Any]) -> Iterator[tuple[str, str]]:
    for route in routes:
        if hasattr(route, "effective_route_contexts"):  # a router that FastAPI keeps as it was included
            yield from _routes(list(route.effective_route_contexts()))
            continue
        route = getattr(route, "starlette_route", None) or route
        for method in sorted(set(getattr(route, "methods", None) or ()) & {"GET", "POST"}):
            yield method, route.path


def _bearer(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


if __name__ == "__main__":
    main()
