"""A training run as a Cloudera AI job: what *Start* on the desk's Train tab does, on the job's own machine.

It ends when the run does, and fails where that did not succeed. Promoting is left to an admin at the desk.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))  # the project's root; within IPython there is no __file__ to go by

from training.run import supervisor
from xray_app import auth
from xray_app.learning import RunIn, start_run
from xray_app.settings import Settings
from xray_app.store import runs
from xray_app.store.database import only_server
from xray_app.types import Run
from xray_app.wiring import wire

POLL_SECONDS = 5.0


def train(settings: Settings) -> Run:
    """Starts a run in the name of `admin` and stays until no run is left: this machine goes when the job ends.

    Raises:
        Conflict: there is nothing to train on, or the desk works with the same SQLite database.
        DeskError: a setting or model will not do.
        RuntimeError: the run failed or was cancelled.
    """
    ended = threading.Event()
    # The desk is on another machine, with which SQLite's files cannot be shared; PostgreSQL locks nobody out.
    with only_server(settings.sqlalchemy_url, settings.data_dir):
        services = wire(settings)
        try:
            run = start_run(services, RunIn(), auth.ADMIN)
            print(f"Run {run.id}: its log is {supervisor.run_folder(settings, run.id) / 'log.txt'}", flush=True)
            watch = supervisor.keep_watch(services.db, settings, stop=ended)
            while runs.unfinished(services.db):
                time.sleep(POLL_SECONDS)
            ended.set()
            watch.join()
            run = runs.get(services.db, run.id)
        finally:
            ended.set()
            services.db.close()
    if run.status != "succeeded":
        raise RuntimeError(f"The run is {run.status}. {run.error or ''}".strip())
    print(f"Adapter {run.adapter_id}: {run.metrics.model_dump_json()}", flush=True)
    return run


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    train(Settings())
