"""Puts every mutant into a copy of the project, one at a time, and names those that no test notices.

    python -m tests.mutants                      # all, in half an hour at most on two cores
    python -m tests.mutants --only gate          # those with "gate" in their name; may be given several times
    python -m tests.mutants --list

First every test file has to pass without a fault. A mutant is killed by a failing test, or by tests that take
several times as long as they did. The last line is JSON: `{"mutants": …, "survived": …}`. It exits with 1 where a
mutant survives without a reason, or cannot be made any more.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import Queue

from tests.mutants.classes import CLASSES
from tests.mutants.decoding import DECODING
from tests.mutants.desk import DESK
from tests.mutants.evidence import EVIDENCE
from tests.mutants.mutant import Mutant
from tests.mutants.sight import SIGHT
from tests.mutants.training import TRAINING

ROOT = Path(__file__).resolve().parents[2]
MUTANTS: tuple[Mutant, ...] = (*CLASSES, *DECODING, *SIGHT, *DESK, *EVIDENCE, *TRAINING)
COPIES = 2
"""Mutants tested at a time, each in its own copy of the project."""
PATIENCE = 4
"""A fault that makes tests this many times slower counts as noticed."""
LEAST_SECONDS = 60
MOST_SECONDS = 900


def tracked_files() -> list[str]:
    """Files of the checkout, those not committed yet included, relative to its root."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


class Copies:
    """Copies of the checkout's files, each lent to one user at a time."""

    def __init__(self, folder: Path, count: int) -> None:
        self._free: Queue[Path] = Queue()
        for number in range(count):
            copy = folder / f"{number}"
            for name in tracked_files():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, copy / name)
            self._free.put(copy)

    @contextmanager
    def lent(self) -> Iterator[Path]:
        """A copy as the checkout is."""
        copy = self._free.get()
        try:
            yield copy
        finally:
            self._free.put(copy)


def passes(copy: Path, tests: Sequence[str], seconds: float) -> bool:
    """Whether these test files pass in a copy of the project, in this time."""
    # Without .pyc files: one of the same size and second as the changed source would be taken for it.
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    run = subprocess.Popen(
        command, cwd=copy, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        return run.wait(seconds) == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()


def seconds_of(copies: Copies, test: str) -> float:
    """How long a test file takes without a fault; infinite where it fails."""
    with copies.lent() as copy:
        started = time.monotonic()
        return time.monotonic() - started if passes(copy, [test], MOST_SECONDS) else float("inf")


def survives(copies: Copies, mutant: Mutant, seconds: Mapping[str, float]) -> bool:
    """Whether no test notices the fault."""
    with copies.lent() as copy:
        mutant.put_into(copy)
        try:
            patience = max(LEAST_SECONDS, PATIENCE * sum(seconds[test] for test in mutant.tests))
            return passes(copy, mutant.tests, patience)
        finally:
            shutil.copyfile(ROOT / mutant.file, copy / mutant.file)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the mutants that were asked for; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description="Finds tests that notice no fault.")
    parser.add_argument("--only", action="append", metavar="WORDS", help="those with these words in their name")
    parser.add_argument("--list", action="store_true", help="name them and stop")
    asked = parser.parse_args(arguments)
    chosen = [mutant for mutant in MUTANTS if any(words in mutant.name for words in asked.only or [""])]
    if asked.list:
        print("\n".join(f"{mutant.name}  ({mutant.file})" for mutant in chosen))
        return 0
    stale = [f"{mutant.name}: {problem}" for mutant in chosen if (problem := mutant.problem(ROOT))]
    if stale or not chosen:
        print("\n".join(stale) or "no mutant has that in its name", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, ThreadPoolExecutor(COPIES) as pool:
        copies = Copies(Path(folder), COPIES)
        tests = sorted({test for mutant in chosen for test in mutant.tests})
        seconds = dict(zip(tests, pool.map(lambda test: seconds_of(copies, test), tests), strict=True))
        failing = [test for test, taken in seconds.items() if taken == float("inf")]
        if failing:
            print(f"without a fault these fail: {', '.join(failing)}", file=sys.stderr)
            return 1
        survived = []
        for mutant, lives in zip(chosen, pool.map(lambda one: survives(copies, one, seconds), chosen), strict=True):
            print(f"{'SURVIVED' if lives else 'killed  '}  {mutant.name}", flush=True)
            if lives:
                survived.append(mutant)
    for mutant in survived:
        print(f"survived: {mutant.name} ({mutant.file}): {mutant.reason or 'no reason is given'}")
    print(json.dumps({"mutants": len(chosen), "survived": len(survived)}))
    return int(any(mutant.reason is None for mutant in survived))


if __name__ == "__main__":
    sys.exit(main())
