"""The tiny model that fine-tuning is tried on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny import save_tiny_vlm


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_vlm(tmp_path_factory.mktemp("base"))
