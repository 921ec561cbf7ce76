"""Many clients of one desk at once: what is gained when waiting scans are answered together.

    python -m tests.benchmarks.serving [--tiny]

Starts `python app.py` on an empty data folder. By turns one, 4 and 16 clients send simulated scans, each its next when
the last is answered; `clients16_over_1` is the scans a second of 16 over those of one.
`failed` counts answers that were no analysis, and `overtaken` scans that were stored under another picture than was
sent. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from tests.benchmarks.served import desk_process, jpeg, signed_in

SEED = 20_261_130
CLIENTS = (1, 4, 16)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--tiny", action="store_true", help="a quick look: fewer scans")
    rounds, scans = (1, 16) if asked.parse_args().tiny else (4, 48)
    rates: dict[int, list[float]] = {count: [] for count in CLIENTS}
    milliseconds: dict[int, list[float]] = {count: [] for count in CLIENTS}
    failed = overtaken = sent = 0
    pictures = [jpeg(SEED + number) for number in range(scans)]
    with (
        tempfile.TemporaryDirectory(prefix="serving-") as folder,
        desk_process(Path(folder) / "data") as desk,
        signed_in(desk.address) as client,
    ):
        send(client, jpeg(SEED - 1), "warm.jpg")
        for turn in range(rounds):
            for count in CLIENTS[:: 1 if turn % 2 else -1]:
                started = time.perf_counter()
                answers = by(client, count, pictures, f"{turn}-{count}")
                rates[count].append(scans / (time.perf_counter() - started))
                milliseconds[count] += [1000 * one for _, one in answers]
                sent += len(answers)
                for (answer, _), picture in zip(answers, pictures, strict=True):
                    failed += not answer.is_success
                    if answer.is_success:
                        overtaken += answer.json()["scan"]["sha256"] != hashlib.sha256(picture).hexdigest()
    whole = {count: statistics.median(rates[count]) for count in CLIENTS}
    result = {
        **{f"clients{count}_over_1": round(whole[count] / whole[1], 3) for count in CLIENTS[:0:-1]},
        "failed": failed,
        "overtaken": overtaken,
        "scans": sent,
        **{f"scans_a_second_{count}": round(whole[count], 2) for count in CLIENTS},
        **{f"p50_ms_{count}": round(statistics.median(milliseconds[count])) for count in CLIENTS},
    }
    print(json.dumps(result))


def by(client: httpx.Client, count: int, pictures: Sequence[bytes], bag: str) -> list[tuple[httpx.Response, float]]:
    """Answers to all pictures, and the seconds each took, by so many clients at once."""

    def timed(number: int) -> tuple[httpx.Response, float]:
        started = time.perf_counter()
        answer = send(client, pictures[number], f"{bag}-{number}.jpg")
        return answer, time.perf_counter() - started

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(timed, range(len(pictures))))


def send(client: httpx.Client, picture: bytes, name: str) -> httpx.Response:
    bag = name.partition(".")[0]
    return client.post("/v1/analyze", files={"file": (name, picture, "image/jpeg")}, data={"bag_id": bag})


if __name__ == "__main__":
    main()
