"""Scans that have changed are told from scans that differ by chance."""

from __future__ import annotations

import numpy as np
import pytest

from xray_app.store.insights.daily_sums import Figures
from xray_app.store.insights.drift import features_of
from xray_app.store.insights.validated_drift import changed, reason

SHARES = (0.1, 0.3, 0.4, 0.15, 0.05)


def figures(rng: np.random.Generator, shares: tuple[float, ...], scans: int, feature: str = "organic") -> Figures:
    counts = rng.multinomial(scans, shares)
    return Figures(scans=scans, looks={f"{feature}|{place}": float(n) for place, n in enumerate(counts)})


@pytest.mark.parametrize("feature", ["organic", "metal", "side"])
def test_another_palette_is_told_and_named(feature: str) -> None:
    rng = np.random.Generator(np.random.PCG64(7))
    before = figures(rng, SHARES, 200, feature)
    (one,) = changed(before, figures(rng, SHARES[::-1], 200, feature))
    assert feature in one.name or feature == "side"
    assert "do not look like those of its campaign any more" in reason("A", [one])
    assert one.before in reason("A", [one])


def test_scans_that_go_on_as_they_were_are_not() -> None:
    rng = np.random.Generator(np.random.PCG64(8))
    assert not any(changed(figures(rng, SHARES, 200), figures(rng, SHARES, 200)) for _ in range(2000))


def test_a_plain_move_of_a_few_scans_may_be_chance() -> None:
    before, now = (
        Figures(scans=60, looks=dict(zip(("organic|0", "organic|1", "organic|2"), counts, strict=True)))
        for counts in ((30.0, 20.0, 10.0), (14.0, 22.0, 24.0))
    )
    assert [one.change for one in features_of(before, now) if one.psi] == ["changed"]
    assert changed(before, now) == []


def test_a_slight_move_is_no_change_however_many_scans_show_it() -> None:
    rng = np.random.Generator(np.random.PCG64(9))
    slight = (0.12, 0.32, 0.38, 0.13, 0.05)
    assert changed(figures(rng, SHARES, 20_000), figures(rng, slight, 20_000)) == []


def test_what_the_models_name_is_watched_too() -> None:
    before = Figures(scans=200, labels={"laptop": 120, "bottle": 90, "knife": 4})
    now = Figures(scans=200, labels={"laptop": 10, "bottle": 20, "knife": 150})
    assert [one.name for one in changed(before, now)] == ["what the models name"]
    assert changed(before, before.model_copy(update={"labels": {"laptop": 115, "bottle": 99, "knife": 2}})) == []
