"""The test suite, or a part of it, on a PostgreSQL of its own.

    python -m tests.benchmarks.postgresql [PATHS …]

Makes a cluster in a temporary folder with the newest PostgreSQL of this machine (Debian's package `postgresql`; the
driver is `pip install "psycopg[binary]"`), runs pytest against it, and takes it down. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xray_app.settings import ROOT

PLACES = Path("/usr/lib/postgresql")
WITHOUT = ("browser", "benchmarks")
"""Folders of the tests that are left out unless asked for."""


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("paths", nargs="*", help="what pytest runs; all but the browser's without")
    paths = asked.parse_args().paths or [
        str(one) for one in sorted((ROOT / "tests").iterdir()) if one.name not in WITHOUT and _has_tests(one)
    ]
    began = time.monotonic()
    with cluster() as url:
        command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "worksteal", *paths]
        ran = subprocess.run(
            command, cwd=ROOT, env=os.environ | {"XRAY_TEST_DATABASE_URL": url}, stdout=subprocess.PIPE, text=True
        )
    print(ran.stdout)
    told = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|error|skipped)", ran.stdout)}
    print(json.dumps({"green": ran.returncode == 0, **told, "seconds": round(time.monotonic() - began)}))
    sys.exit(ran.returncode)


def _has_tests(path: Path) -> bool:
    return path.name.startswith("test_") or (path.is_dir() and any(path.rglob("test_*.py")))


@contextmanager
def cluster() -> Iterator[str]:
    """The URL of a fresh PostgreSQL, which goes at the end.

    Raises:
        SystemExit: there is none on this machine.
    """
    versions = sorted(PLACES.glob("*/bin"), key=lambda one: int(one.parent.name))
    if not versions:
        raise SystemExit(f"There is no PostgreSQL in {PLACES}: apt-get install postgresql.")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    # It refuses to run as root; Debian's package made a user for it.
    become = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if become:
        shutil.chown(folder, "postgres")

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [*become, str(versions[-1] / program), *arguments], check=True, cwd=folder, stdout=subprocess.DEVNULL
        )

    data, options = str(folder / "data"), f"-p {port} -k {folder} -c fsync=off -c max_connections=300"
    run("initdb", "-D", data, "-U", "xray", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")
    run("pg_ctl", "-D", data, "-w", "-o", options, "-l", str(folder / "log"), "start")
    try:
        yield f"postgresql+psycopg://xray@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
