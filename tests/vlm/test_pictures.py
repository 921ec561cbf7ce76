from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import AutoModelForImageTextToText, AutoProcessor

from tests.tiny import picture
from tests.tiny_families import PIXELS, TILE, save_family
from xray_app.errors import BadModel
from xray_app.report import instruction
from xray_app.vlm.pictures import limits_of_adapter, lowered, picture_limits, set_picture_limits
from xray_app.vlm.prompt import batch, encode

QWEN = {"size": {"shortest_edge": PIXELS // 4, "longest_edge": PIXELS}}
LLAVA = {"image_grid_pinpoints": [[TILE, 2 * TILE], [2 * TILE, TILE], [2 * TILE, 2 * TILE]]}
INTERNVL = {"max_patches": 6}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    for family in ("qwen2_5_vl", "llava_next", "internvl"):
        save_family(family, root / family)
    return root


@pytest.mark.parametrize(
    ("family", "own", "pixels", "expected"),
    [
        ("qwen2_5_vl", QWEN, 7000, {"size": {"shortest_edge": PIXELS // 4, "longest_edge": 7000}}),
        ("qwen2_5_vl", QWEN, 2000, {"size": {"shortest_edge": 2000, "longest_edge": 2000}}),
        ("llava_next", LLAVA, 7000, {"image_grid_pinpoints": [[TILE, 2 * TILE], [2 * TILE, TILE]]}),
        ("internvl", INTERNVL, 7000, {"max_patches": 2}),
    ],
)
def test_a_limit_lowers_what_the_model_is_shown_and_travels_with_the_adapter(
    root: Path, tmp_path: Path, family: str, own: Any, pixels: int, expected: Any
) -> None:
    processor = AutoProcessor.from_pretrained(root / family)
    model = AutoModelForImageTextToText.from_pretrained(root / family)
    assert picture_limits(processor) == own == lowered(processor, 10**9)

    def tokens() -> int:
        encoded = encode(processor, [picture(size=(300, 300))], [instruction()])
        model(**batch(encoded, 0, side="left"))  # picture tokens and features must agree
        return len(encoded.ids[0])

    before = tokens()
    set_picture_limits(model, processor, lowered(processor, pixels))
    assert tokens() < before
    assert picture_limits(processor) == expected
    processor.save_pretrained(tmp_path / "processor")
    assert limits_of_adapter(tmp_path, own) == expected
    set_picture_limits(model, processor, own)
    assert tokens() == before


def test_an_adapter_without_a_processor_is_shown_what_its_base_is(tmp_path: Path) -> None:
    assert limits_of_adapter(tmp_path, QWEN) == QWEN


@pytest.mark.parametrize(("family", "least"), [("llava_next", 2 * TILE * TILE), ("internvl", TILE * TILE)])
def test_fewer_pixels_than_one_tile_are_refused(root: Path, family: str, least: int) -> None:
    processor = AutoProcessor.from_pretrained(root / family)
    with pytest.raises(BadModel, match=f"at least {least} pixels"):
        lowered(processor, least - 1)


def test_a_family_without_a_limit_says_so() -> None:
    fixed = SimpleNamespace(image_processor=SimpleNamespace(size={"height": 448, "width": 448}))
    assert picture_limits(fixed) == {}
    with pytest.raises(BadModel, match="leave max_pixels out"):
        lowered(fixed, 1000)


@pytest.mark.parametrize(
    ("saved", "base"),
    [
        ({"size": {"shortest_edge": 10**12, "longest_edge": 10**12}}, QWEN),
        ({"size": {"shortest_edge": 0, "longest_edge": 100}}, QWEN),
        ({"size": {"shortest_edge": "1", "longest_edge": 100}}, QWEN),
        ({"size": {"height": 448, "width": 448}}, QWEN),
        ({"size": 7}, QWEN),
        ({"max_patches": 1}, QWEN),
        ({"image_grid_pinpoints": []}, LLAVA),
        ({"image_grid_pinpoints": [[TILE, 9 * TILE]]}, LLAVA),
        ({"max_patches": 100}, INTERNVL),
        ("nothing", INTERNVL),
    ],
)
def test_an_adapter_never_raises_its_bases_limits(tmp_path: Path, saved: Any, base: Any) -> None:
    (tmp_path / "processor").mkdir()
    (tmp_path / "processor" / "processor_config.json").write_text(json.dumps({"image_processor": saved}))
    with pytest.raises(BadModel, match=r"processor_config\.json"):
        limits_of_adapter(tmp_path, base)


def test_a_cut_off_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "processor").mkdir()
    (tmp_path / "processor" / "processor_config.json").write_text('{"image_proc')
    with pytest.raises(BadModel, match="does not say how large"):
        limits_of_adapter(tmp_path, QWEN)
