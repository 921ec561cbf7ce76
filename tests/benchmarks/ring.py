"""The whole ring by hand: analyse, correct, train, promote, analyse again. What did it teach?

    python -m tests.benchmarks.ring [--data YOLO_DIR] [--tiny]

Everything goes through the HTTP API, in a data folder of its own, and the run is a process of its own, as at
the desk. The scans are asked for everything, as at the desk too, while the figures count only the classes
that were labelled. `seen` are the corrected scans (one in five of which is held out and never trained on),
`unseen` other scans. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from training.data.samples import Sample
from training.data.yolo import read_yolo
from training.evaluation.bag_table import BagTable, ScanOutcome
from training.run.supervisor import log_tail
from xray_app.api.app import create_app
from xray_app.services import Services
from xray_app.settings import Settings
from xray_app.simulate.dataset import write_dataset
from xray_app.taxonomy import Taxonomy, load_taxonomy
from xray_app.wiring import wire

CORRECTED = 30
UNSEEN = 153
SEED = 20_260_001
PASSWORD = "a benchmark's own"


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--data", type=Path, help="a YOLO folder with train and val; simulated scans without it")
    asked.add_argument("--tiny", action="store_true", help="a quick look: 8 scans, one epoch")
    arguments = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="ring-") as folder:
        print(json.dumps(turn(Path(folder), arguments.data, arguments.tiny)))


def turn(folder: Path, data: Path | None, tiny: bool) -> dict[str, Any]:
    """One turn of the ring; returns the figures."""
    settings = Settings(data_dir=folder / "data", admin_password=PASSWORD)
    services = wire(settings)
    seen, unseen = choose(folder, data, 8 if tiny else CORRECTED, 8 if tiny else UNSEEN)
    with TestClient(create_app(services)) as desk:
        token = answer_of(desk.post("/v1/login", json={"username": "admin", "password": PASSWORD}))["token"]
        desk.headers["Authorization"] = f"Bearer {token}"
        before = analyse(desk, seen, services.taxonomy)
        unseen_before = analyse(desk, unseen, services.taxonomy)
        trained_on = correct(desk, seen, before, services.taxonomy)
        run = train(desk, services, {"epochs": 1} if tiny else {})
        adapter = next(one for one in answer_of(desk.get("/v1/adapters"))["items"] if one["id"] == run["adapter_id"])
        for check in adapter["gate"]["checks"]:
            say(f"  {check['answer']:13} {check['name']}: {check['detail']}")
        answer = adapter["gate"]["answer"]
        way = {"refused": {"force": True}, "not shown yet": {"trial": True}, "passed": {}}[answer]
        body = way | {"reason": f"benchmark: measured although {answer}"}
        answer_of(desk.post(f"/v1/adapters/{adapter['id']}/promote", json=body))
        after = analyse(desk, seen, services.taxonomy, adapter["id"])
        unseen_after = analyse(desk, unseen, services.taxonomy, adapter["id"])

    def f1(samples: Sequence[Sample], answers: Sequence[dict[str, Any]]) -> float | None:
        return table(samples, answers, services).item_f1().value

    trained = [place for place, sample in enumerate(seen) if sample.bag_id in trained_on]
    figures = {
        "seen_f1_before": f1(seen, before),
        "seen_f1_after": f1(seen, after),
        "unseen_f1_before": f1(unseen, unseen_before),
        "unseen_f1_after": f1(unseen, unseen_after),
        "run_seconds": run["seconds"],
        "trained_f1_before": f1([seen[i] for i in trained], [before[i] for i in trained]),
        "trained_f1_after": f1([seen[i] for i in trained], [after[i] for i in trained]),
        "gate": answer,
        "gate_passed": answer == "passed",
        "gate_against": [
            check["detail"] for check in adapter["gate"]["checks"] if check["answer"] in ("refused", "not shown yet")
        ],
        "samples": run["samples"],
        "metrics": run["metrics"],
    }
    for name, samples, answers in (
        ("unseen_before", unseen, unseen_before),
        ("unseen_after", unseen, unseen_after),
    ):
        found = table(samples, answers, services).metric_set()
        figures[name] = found.model_dump(mode="json")
    return figures


def choose(folder: Path, data: Path | None, seen: int, unseen: int) -> tuple[list[Sample], list[Sample]]:
    """Scans to correct, from `train`, and others, from `val` (or of simulated scans the rest)."""
    taxonomy = load_taxonomy()
    if data is None:
        write_dataset(folder / "scans", seen + unseen, SEED, taxonomy, items=(1, 4))
        everything = list(read_yolo(folder / "scans", taxonomy).splits["train"])
        return everything[:seen], everything[seen:]
    splits = read_yolo(data, taxonomy, skip_bad=True).splits
    pick = random.Random(SEED)
    return (
        pick.sample(list(splits["train"]), min(seen, len(splits["train"]))),
        pick.sample(list(splits["val"]), min(unseen, len(splits["val"]))),
    )


def analyse(
    desk: TestClient, samples: Sequence[Sample], taxonomy: Taxonomy, adapter: str | None = None
) -> list[dict[str, Any]]:
    """Uploads each scan; every answer must come from the adapter that is active."""
    answers = []
    for sample in samples:
        sent = {"file": (sample.image.name, sample.image.read_bytes(), "application/octet-stream")}
        answer = answer_of(desk.post("/v1/analyze", files=sent, data={"bag_id": sample.bag_id}))
        if answer["models"]["vlm"]["adapter"] != adapter:
            raise SystemExit(f"answered by {answer['models']['vlm']['adapter']}, not by {adapter}")
        answers.append(answer)
    say(f"analysed {len(answers)} scans")
    return answers


def correct(
    desk: TestClient, samples: Sequence[Sample], answers: Iterable[dict[str, Any]], taxonomy: Taxonomy
) -> set[str]:
    """Posts the truth of each scan; returns the bags that may be trained on."""
    trained = set()
    for sample, answer in zip(samples, answers, strict=True):
        correction = {
            "items": [{"label": label, "count": count} for label, count in sample.counts(taxonomy).items()],
            "boxes": [{"label": box.label, "xyxy": list(box.xyxy)} for box in sample.boxes],
        }
        if sample.labelled_classes is not None:
            correction["labelled_classes"] = list(sample.labelled_classes)
        kept = answer_of(desk.post(f"/v1/analyses/{answer['id']}/corrections", json=correction))
        if kept["split"] == "train":
            trained.add(sample.bag_id)
    say(f"corrected {len(samples)} scans, {len(trained)} of them to train on")
    return trained


def train(desk: TestClient, services: Services, asked: dict[str, Any]) -> dict[str, Any]:
    """Starts a run and waits for its end; its answer, with the `seconds` from asking to registered."""
    started = time.monotonic()
    run = answer_of(desk.post("/v1/training/runs", json=asked))
    shown = -1
    while run["status"] in ("queued", "running"):
        time.sleep(1)
        run = answer_of(desk.get(f"/v1/training/runs/{run['id']}"))
        if (percent := int(run["progress"] * 10)) != shown:
            shown = percent
            say(f"  {time.monotonic() - started:5.0f} s  {run['status']} {run['progress']:.0%}")
    if run["status"] != "succeeded":
        raise SystemExit(f"{run['status']}: {run['error']}\n{log_tail(services.settings, run['id'], 20)}")
    return {**run, "seconds": round(time.monotonic() - started, 1)}


def table(samples: Sequence[Sample], answers: Sequence[dict[str, Any]], services: Services) -> BagTable:
    outcomes = []
    for sample, answer in zip(samples, answers, strict=True):
        items = answer["report"]["items"]
        outcomes.append(
            ScanOutcome.scoped(
                sample.bag_id,
                sample.labelled_classes,
                sample.counts(services.taxonomy),
                {item["label"]: item["count"] for item in items},
                {item["label"]: item["confidence"] or 0.0 for item in items},
            )
        )
    return BagTable.of(outcomes, services.rules)


def answer_of(response: Any) -> Any:
    """The JSON of an answer; an error of the desk's ends the benchmark with its words."""
    if response.status_code >= 400:
        raise SystemExit(f"{response.request.url}: {response.status_code} {response.text}")
    return response.json()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
