"""A forecast from a few steps: its arithmetic, and a real one of a tiny model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny import save_tiny_vlm, taxonomy
from training.plan.rehearsal import (
    STEPS,
    Course,
    Rehearsal,
    RehearsalFailed,
    follow,
    forecast,
    measured_here,
    peak_after,
    rehearse,
)
from training.recipes.recipe import Recipe, load_recipe
from xray_app.errors import BadDataset


def course(first: float = 2.0, later: float = 1.0, start: float = 10.0, evaluating: float = 3.0) -> Course:
    """Two epochs of four steps: loading, steps, the stopping loss, a second of saving, and two seconds at the end."""
    steps = [start + first * (n + 1) for n in range(STEPS)]
    evaluations = [steps[-1] + evaluating]
    again = evaluations[0] + 1.0
    steps += [again + later * (n + 1) for n in range(STEPS)]
    evaluations.append(steps[-1] + evaluating)
    return Course(tuple(steps), tuple(evaluations), evaluations[-1] + 2.0, (10**9,) * 8, 10**9)


def test_a_forecast_adds_up_loading_steps_evaluations_and_saving() -> None:
    recipe = load_recipe("bundled").model_copy(update={"batch": 8, "accumulation": 2})
    told = forecast(Rehearsal(course(), stopping=6), recipe, trained=160, stopping=12, epochs=3)
    # 10 to load; 10 steps of 2 s and twice 10 of 1 s; thrice 6 s for twice the stopping samples and 1 s to save; 2 s.
    assert told.seconds == pytest.approx(10 + 10 * 2 + 20 * 1 + 3 * (6 + 1) + 2)
    assert told.peak_bytes == 10**9


def test_without_stopping_samples_nothing_is_added_for_them() -> None:
    recipe = load_recipe("bundled").model_copy(update={"batch": 8, "accumulation": 2})
    whole = course(evaluating=0.0)
    bare = Course(whole.steps, (), whole.ended, whole.peaks, whole.peak_bytes)
    told = forecast(Rehearsal(bare, stopping=0), recipe, trained=160, stopping=0, epochs=3)
    assert told.seconds == pytest.approx(10 + 10 * 2 + 20 * 1 + 3 * 1 + 2)
    assert forecast(Rehearsal(bare, stopping=0), recipe, 160, 32, 3).seconds > told.seconds


def test_the_peak_goes_on_rising_with_every_doubling_of_the_steps() -> None:
    rising = Course((), (), 0.0, (1_000, 2_000, 2_000, 2_100, 2_100, 2_150, 2_150, 2_200), 2_250)
    assert peak_after(rising, 8) == 2_250
    assert peak_after(rising, 32) == pytest.approx(2_250 + 2 * 100)  # 200 in the two doublings after the second step
    assert peak_after(rising, 4) == 2_250
    assert peak_after(Course((), (), 0.0, (1_000, 2_000, 2_100), 2_250), 32) == 2_250


def test_too_few_samples_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadDataset, match="needs 64 samples"):
        rehearse([], load_recipe("bundled"), "lora", tmp_path)


def test_a_training_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(RehearsalFailed, match=r"train\.jsonl"):
        follow(tmp_path / "train.jsonl", load_recipe("bundled"), "lora", tmp_path / "out", 1)


@pytest.mark.slow
def test_a_tiny_model_is_rehearsed_in_a_process_of_its_own(tmp_path: Path) -> None:
    base = save_tiny_vlm(tmp_path / "base")
    recipe = Recipe(**{**load_recipe("bundled").model_dump(), "base": str(base), "batch": 2, "lora_rank": 4})
    row = measured_here(recipe, "lora", 100, 2, taxonomy())
    assert 0.05 < row.memory_gb < 8
    assert 5 < row.hours * 3600 < 3600
    assert "measured over 8 steps" in row.note
