"""Temporary folders go with their process, however it ends; what is in use or somebody else's stays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from xray_app.scratch_folder import PREFIX, remove_abandoned, scratch_folder

WORKER = (
    "import sys, pathlib, time\n"
    "from xray_app.scratch_folder import scratch_folder\n"
    "with scratch_folder(pathlib.Path(sys.argv[1])) as folder:\n"
    "    (folder / 'sub').mkdir(); (folder / 'sub' / 'upload.png').write_bytes(b'a bag')\n"
    "    print(folder, flush=True); time.sleep(600)\n"
)


def test_it_goes_with_its_block(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as folder:
        assert list(folder.iterdir()) == []
        (folder / "x").touch()
        assert remove_abandoned(tmp_path) == 0
        assert (folder / "x").is_file(), "one at work is not taken for abandoned"
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_what_is_in_use_is_not(tmp_path: Path) -> None:
    started = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    folders = [Path(one.stdout.readline().strip()) for one in started if one.stdout]
    try:
        started[0].kill()
        started[0].wait()
        assert folders[0].is_dir()
        assert remove_abandoned(tmp_path) == 1
        assert not folders[0].parent.exists()
        assert (folders[1] / "sub" / "upload.png").is_file()
    finally:
        for one in started:
            one.kill()
            one.communicate()
    (tmp_path / "others").mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "others")
    assert remove_abandoned(tmp_path) == 1
    assert (tmp_path / "others").is_dir()
