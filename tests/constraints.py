"""`constraints.txt`: the exact versions the tests passed with, written and checked by `python -m tests.constraints`.

`python -m tests.constraints` writes what is installed here. `--newest` does so in a new environment with the newest
versions that the requirements allow; run the tests after it. `--check` exits 1 where the file and what is installed
here differ.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import venv
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "constraints.txt"
REQUIREMENTS = ("requirements.txt", "requirements-dev.txt")
CUDA_ONLY = re.compile(r"nvidia-|cuda-|triton$")
"""torch's CUDA wheels bring these, its CPU wheels do not; torch itself says their versions."""
HEAD = """\
# The exact versions the tests passed with. Written by `python -m tests.constraints --newest`; do not edit.
# torch without "+cpu" or "+cu130": both wheels do.
"""


def named(lines: list[str]) -> list[Requirement]:
    """The requirements of a requirements file; options (`-r`, `-c`) and comments are left out."""
    stripped = [line.split(" #")[0].strip() for line in lines]
    return [Requirement(line) for line in stripped if line and line[0] not in "#-"]


def reached(requirements: list[Requirement]) -> dict[str, str]:
    """Name to public version of every installed distribution that these need, directly or not.

    Raises:
        PackageNotFoundError: one of them is not installed.
    """
    versions: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = list(requirements)
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if CUDA_ONLY.match(name) or (name, frozenset(wanted.extras)) in seen:
            continue
        seen.add((name, frozenset(wanted.extras)))
        found = metadata.distribution(name)
        versions[name] = Version(found.version).public
        for needed in map(Requirement, found.requires or []):
            environments = [{"extra": extra} for extra in ("", *wanted.extras)]
            if needed.marker is None or any(needed.marker.evaluate(one) for one in environments):
                waiting.append(needed)
    return versions


def installed() -> str:
    """What `constraints.txt` says if the versions installed here are the ones."""
    requirements = [one for file in REQUIREMENTS for one in named((ROOT / file).read_text().splitlines())]
    return HEAD + "".join(f"{name}=={version}\n" for name, version in sorted(reached(requirements).items()))


def write_newest() -> int:
    """Installs the requirements without constraints in an environment of its own, and writes what came."""
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "venv" / "bin" / "python"
        venv.create(python.parent.parent, with_pip=True)
        free = Path(folder) / "requirements.txt"
        lines = [line for file in REQUIREMENTS for line in (ROOT / file).read_text().splitlines()]
        free.write_text("".join(f"{line}\n" for line in lines if not line.startswith("-")))
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", free], check=True)
        return subprocess.run([python, "-m", "tests.constraints"], cwd=ROOT, check=False).returncode


def differences(file: str, here: str) -> list[str]:
    """The lines that only one of the two texts has, in words."""
    said, is_so = set(file.splitlines()), set(here.splitlines())
    return [f"constraints.txt alone: {line}" for line in sorted(said - is_so)] + [
        f"installed alone: {line}" for line in sorted(is_so - said)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.constraints", description=__doc__.splitlines()[0])
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--check", action="store_true")
    way.add_argument("--newest", action="store_true")
    asked = parser.parse_args()
    if asked.newest:
        return write_newest()
    here = installed()
    if not asked.check:
        FILE.write_text(here)
        return 0
    drift = differences(FILE.read_text(), here)
    print("\n".join(drift) or "constraints.txt says what is installed.")
    return 1 if drift else 0


if __name__ == "__main__":
    sys.exit(main())
