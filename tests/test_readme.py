"""The README's commands, run as a reader would type them, but for pytest itself and the GPU's."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.readme_tree import entries, with_tree

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
FENCED = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
BLOCKS = [block.strip().splitlines() for language, block in FENCED if not language]
COMMANDS = [re.sub(r"\s+#.*$", "", line) for block in BLOCKS for line in block]
BENCHMARKS = "python -m tests.benchmarks"
"""These take minutes, and are run by hand."""
BACKUP_AND_RESTORE = [one for one in COMMANDS if re.search(r"python -m xray_app (backup|restore)", one)]
PASSWORD = "a-reader's-password"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like the checkout, so that what the commands write lands elsewhere."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in (
        "app.py",
        "assets",
        "training",
        "xray_app",
        "constraints.txt",
        "requirements.txt",
        "requirements-dev.txt",
    ):
        (folder / name).symlink_to(ROOT / name)
    return folder


def environment(port: int) -> dict[str, str]:
    tools = Path(sys.executable).parent
    return {
        **os.environ,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
        "XRAY_PORT": str(port),
        "XRAY_ADMIN_PASSWORD": PASSWORD,
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(command: str, here: Path, port: int = 7860) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, shell=True, cwd=here, env=environment(port), capture_output=True, text=True, timeout=500
    )


@pytest.fixture(scope="module")
def desk(here: Path) -> Iterator[int]:
    """The README's first command; gives the port it serves on."""
    command = next(one for one in COMMANDS if one.endswith("python app.py") and one.startswith("pip"))
    port = free_port()
    log = (here / "log.txt").open("w")
    server = subprocess.Popen(
        command, shell=True, cwd=here, env=environment(port), stdout=log, stderr=log, start_new_session=True
    )
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=2)
            break
        except OSError:
            assert server.poll() is None, (here / "log.txt").read_text()
            time.sleep(0.5)
    else:
        pytest.fail((here / "log.txt").read_text())
    yield port
    os.killpg(server.pid, 15)
    server.wait(30)


def test_the_tree_is_that_of_the_code() -> None:
    assert with_tree(README) == README, "run: python -m tests.readme_tree --write"


def test_a_newcomers_questions_lead_to_paths_of_the_tree() -> None:
    table = README.partition("| where | |")[2].partition("\n\n")[0]
    paths = re.findall(r"`([^`]+)`", table)
    assert len(paths) == 8  # seven questions; a new model family has two
    shown = entries()
    absent = [path for path in paths if path not in shown]
    assert absent == ([] if (ROOT / "xray_app" / "ui" / "browser").is_dir() else ["xray_app/ui/browser/keys.js"])


def test_every_file_the_readme_and_the_log_link_to_is_there() -> None:
    for page in (ROOT / "README.md", ROOT / "training" / "LOG.md"):
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), link


def test_no_command_is_left_untried() -> None:
    tried = ("pip install", "curl", "python -m xray_app analyze", "python -m training", "XRAY_VLM=", BENCHMARKS)
    assert [one for one in COMMANDS if not one.startswith(tried) and one not in BACKUP_AND_RESTORE] == []


def test_the_first_command_serves_the_desk(desk: int, here: Path) -> None:
    page = urllib.request.urlopen(f"http://127.0.0.1:{desk}/").read().decode()
    assert "password" in page
    assert (here / "data" / "xray.db").is_file()


def test_the_curl_lines_sign_in_and_analyse(desk: int, here: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    sign_in, analyse = (
        one.replace("localhost:7860", f"localhost:{desk}") for one in COMMANDS if one.startswith("curl")
    )
    answer = run(sign_in.replace("…", PASSWORD.replace("'", "'\\''")), here)
    token = re.search(r'"token":\s*"([^"]+)"', answer.stdout)
    assert token, answer.stdout + answer.stderr
    analysis = run(f"TOKEN={token[1]}; {analyse}", here)
    assert '"risk"' in analysis.stdout, analysis.stdout + analysis.stderr


def test_the_command_line_reads_a_scan(here: Path) -> None:
    command = next(one for one in COMMANDS if one.startswith("python -m xray_app analyze"))
    done = run(command, here)
    assert done.returncode == 0, done.stderr
    assert '"risk"' in done.stdout


def test_a_backup_is_taken_while_the_desk_works_and_restored(desk: int, here: Path) -> None:
    taken, restored = (run(command, here) for command in BACKUP_AND_RESTORE)
    assert taken.returncode == 0, taken.stderr
    assert restored.returncode == 0, restored.stderr
    assert (here / "restored" / "xray.db").is_file()


@pytest.mark.slow
def test_training_away_from_the_desk(here: Path) -> None:
    for command in COMMANDS:
        if command.startswith("python -m training"):
            done = run(command, here)
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert (here / "run" / "adapter" / "adapter_config.json").is_file()
    assert '"item_f1"' in (here / "report.json").read_text()


def test_a_model_from_the_hub_says_plainly_that_there_is_no_hub(here: Path) -> None:
    command = next(one for one in COMMANDS if one.startswith("XRAY_VLM="))
    done = run(f"XRAY_DATA_DIR=other {command}", here, free_port())  # the first one's is in use
    assert done.returncode == 1
    assert "could it be fetched" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout
