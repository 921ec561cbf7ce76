"""Faults of many kinds, one after the other, at a served desk: is each told clearly, and is anything lost?

    python -m tests.benchmarks.faults [--count N] [--tiny]

`faults` were made: broken pictures and cut uploads, answers cut off, models that fail, a full disk, a locked database,
nonsense and stale corrections, lost answers sent again, pictures and adapters damaged on disk, runs killed. `honest`
are those after which the desk said what was wrong, in the agreed form and never with a 500, or did as asked, and kept
neither more nor less than it said. `lost` are answers that the desk had given (analyses, corrections, decisions,
pictures) and that it does not give again at the end, letter by letter. Both are listed in `complaints`. The last line
is one JSON object. A server killed at work is part of `shift`.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from pathlib import Path
from typing import Any

from tests.benchmarks.fault_kinds import KINDS
from tests.benchmarks.promises import FaultHidden, Promises
from tests.benchmarks.served import PASSWORD, served, signed_in
from xray_app.settings import Settings
from xray_app.wiring import wire

SEED = 20_261_128


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--count", type=int, default=300)
    asked.add_argument("--tiny", action="store_true", help="a quick look: two of each kind")
    arguments = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        count = 2 * len(KINDS) if arguments.tiny else arguments.count
        print(json.dumps(suffer(Path(folder), count)))


def suffer(folder: Path, count: int) -> dict[str, Any]:
    """Makes so many faults, each kind in turn and in another order every round; returns the figures."""
    services = wire(Settings(data_dir=folder / "data", admin_password=PASSWORD))
    draws = random.Random(SEED)
    honest = 0
    complaints: list[str] = []
    order: list[str] = []
    with served(services) as address, signed_in(address) as client:
        desk = Promises(services, client, address, draws, folder)
        for _ in range(count):
            if not order:
                order = draws.sample(sorted(KINDS), len(KINDS))
            kind = order.pop()
            try:
                KINDS[kind](desk)
                desk.check_counts()
                honest += 1
            except FaultHidden as hidden:
                complaints.append(f"{kind}: {hidden}")
        lost = desk.lost()
    services.db.close()
    return {
        "faults": count,
        "honest": honest,
        "lost": len(lost),
        "complaints": [*complaints, *lost][:20],
    }


if __name__ == "__main__":
    main()
