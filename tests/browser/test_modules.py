"""The browser's code without a browser: formatted, typed, and its logic tested under Node."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.browser.conftest import absent
from xray_app.ui.browser_code import FOLDER


@pytest.fixture(scope="module")
def npm() -> str:
    found = shutil.which("npm")
    if found is None or shutil.which("node") is None:
        absent("no Node here: apt-get install nodejs npm")
    if not (FOLDER / "node_modules").is_dir():
        absent(f"the tools of the browser's code are not installed: npm ci --prefix {FOLDER}")
    return str(found)


@pytest.mark.parametrize("script", ["format:check", "types", "test"])
def test_the_modules(npm: str, script: str) -> None:
    """Prettier, the type checker, and the unit tests."""
    done = subprocess.run([npm, "run", "--silent", script], cwd=FOLDER, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
