"""Three people at once, with reloads, lost lines and a desk that falls: nothing lost, nothing doubled."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys

import pytest

from tests.browser.conftest import NAMES, absent
from xray_app.settings import ROOT


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_half_a_minute_of_three_people() -> None:
    if importlib.util.find_spec("playwright") is None or not any(map(shutil.which, NAMES)):
        absent("no playwright or no Chromium here: requirements-dev.txt, apt-get install chromium")
    # A process of its own: the other tests' Playwright has the event loop of this one.
    command = [sys.executable, "-m", "tests.benchmarks.shift", "--tiny", "--patience", "240"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr[-3000:]
    figures = json.loads(ended.stdout.splitlines()[-1])
    assert figures["kills"] == 1
    assert figures["uploads"] > 0
    assert figures["corrections"] > 0
