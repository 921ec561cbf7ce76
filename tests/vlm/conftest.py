from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny import save_tiny_vlm


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_vlm(tmp_path_factory.mktemp("vlm"))
