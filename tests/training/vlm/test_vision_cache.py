"""Features kept across epochs: the same losses, and no picture opened twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.tiny import picture, taxonomy
from training.data.samples import Sample, write_jsonl
from training.recipes.recipe import Recipe, load_recipe
from training.vlm.finetune import finetune
from training.vlm.vision_cache import VisionCache, cacheable
from xray_app.report import format_report, instruction


@pytest.fixture
def data(tmp_path: Path) -> Path:
    samples = []
    for number in range(6):
        file = tmp_path / f"{number}.png"
        picture(40 * number, (112, 112 + 30 * (number % 2))).save(file)
        samples.append(
            Sample(
                image=file,
                instruction=instruction(),
                response=format_report({("knife", "laptop")[number % 2]: 1 + number % 3}, taxonomy()),
                width=112,
                height=112 + 30 * (number % 2),
                boxes=(),
                labelled_classes=None,
                bag_id=f"bag{number}",
            )
        )
    write_jsonl(samples, tmp_path / "train.jsonl")
    return tmp_path


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the pictures opened, in order."""
    names: list[str] = []
    opening = Sample.open
    monkeypatch.setattr(Sample, "open", lambda sample: (names.append(sample.image.name), opening(sample))[1])
    return names


def quick(**changes: Any) -> Recipe:
    plain = {"lora_scope": "language", "turns": False, "lora_dropout": 0.0, "lora_rank": 4, "batch": 3, "epochs": 2}
    return load_recipe("bundled").model_copy(update={**plain, **changes})


def losses(data: Path, base: Path, recipe: Recipe, out: Path) -> list[float]:
    rows: list[float] = []

    def told(done: float, figures: dict[str, float]) -> bool:
        rows.extend(figures[name] for name in ("loss", "stopping_loss") if name in figures)
        return False

    finetune(data, recipe, "lora", out, base=str(base), on_progress=told)
    return rows


def test_kept_features_give_the_losses_of_computed_ones_and_no_picture_is_opened_twice(
    data: Path, base: Path, tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = losses(data, base, quick(), tmp_path / "kept")
    assert sorted(opened) == sorted(set(opened))
    with monkeypatch.context() as patch:
        patch.setattr("training.vlm.finetune.cacheable", lambda *_: False)
        computed = losses(data, base, quick(), tmp_path / "computed")
    assert kept == pytest.approx(computed, rel=2e-3)


def test_what_does_not_fit_into_memory_is_computed_anew(
    data: Path, base: Path, tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = losses(data, base, quick(), tmp_path / "whole")
    once = len(opened)
    opened.clear()
    room_for_two = 2 * 16 * 256 * 2  # of 16 tokens, 256 wide, in 16 bits
    monkeypatch.setattr(VisionCache, "within_free_memory", lambda: VisionCache(room_for_two))
    assert losses(data, base, quick(), tmp_path / "part") == pytest.approx(whole, rel=2e-3)
    assert once < len(opened) < 2 * once


def test_features_are_kept_only_where_they_stay_the_same(base: Path) -> None:
    from training.vlm.finetune import load_base

    model = load_base(quick(), "lora", str(base)).model
    assert cacheable(model, quick(), "lora")
    assert cacheable(model, quick(), "qlora")
    assert not cacheable(model, quick(), "full")
    for varied in ({"turns": True}, {"contrast": 0.1}, {"palette": 0.1}, {"threat_projection": 0.1}):
        assert not cacheable(model, quick(**varied), "lora")
    assert not cacheable(model, quick(lora_scope="language+vision"), "lora")
