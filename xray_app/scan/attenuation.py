"""Measured values → log attenuation: the one transform that DICOM, DICOS and deep pictures go through.

Attenuation is −ln(I / I₀): 0 in the empty tunnel, larger the less comes through. Files write it in many ways, and
say so only in part. Where they leave open where darkness lies, the reading that shows the bag *darker* is taken:
dense steel that turns white is missed, a light bag that turns dark is searched.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xray_app.errors import BadScan

Values = NDArray[Any]

AIR = 99.9
"""Percentile of what came through that is taken for the empty tunnel."""
MOST = 6.0
"""Log attenuation past which nothing more is told apart."""
OPAQUE_BELOW = 40
"""A pixel is opaque where the brightest channel of its picture is below this, of 255."""
OPAQUE_PAST = math.log(255 / (OPAQUE_BELOW - 0.5))
"""The same in log attenuation, by its mean over the energies."""
BLOCK = 1 << 20
"""Pixels worked on at a time, so that a large scan needs little memory besides itself."""
_DEAD = 0.1
"""Percentile that stands for the least and, from above, the greatest value: a dead detector element leaves a line."""
_NOISE = 0.05
"""Values below zero that are smaller than this share of the range are noise about zero."""
_NATURAL = 16.0
"""Rescaled logarithms that span less than this are natural ones: no detector tells more than e¹⁶ levels apart."""


@dataclass(frozen=True, eq=False)
class Relation:
    """How the stored values of a frame stand for the beam, as far as its file says.

    Attributes:
        rising: greater rescaled values mean that more came through.
        logarithmic: the rescaled values are proportional to the logarithm of what came through.
        slope: of rescaling, not 0.
        intercept: of rescaling.
        table: a look-up table in place of slope and intercept: the stored value of its first entry, and its entries.
        top: the greatest value that can be stored, where the file states it on purpose; None: nothing is known.
        unit: log attenuation of one rescaled step, where the file says so; 0: it does not.
        ready: a picture ready to be shown: `top` is the empty tunnel (its opposite end, where values fall).
        padding: stored values from the first to the second, both included, that are no part of the picture.
    """

    rising: bool = True
    logarithmic: bool = False
    slope: float = 1.0
    intercept: float = 0.0
    table: tuple[int, Values] | None = None
    top: int | None = None
    unit: float = 0.0
    ready: bool = False
    padding: tuple[float, float] | None = None

    def rescaled(self, stored: Values) -> Values:
        """The standard's modality transform: floats of the shape of `stored`."""
        if self.table is not None:
            first, entries = self.table
            return entries[np.clip(stored.astype(np.int64) - first, 0, len(entries) - 1)].astype(np.float64)
        return stored.astype(np.float64) * self.slope + self.intercept


@dataclass(frozen=True, eq=False)
class Scale:
    """Turns the stored values of one frame into log attenuation. Made by `scale_of`.

    Attributes:
        relation: how the values stand for the beam.
        air: the rescaled value of the empty tunnel.
        dark: the rescaled value where nothing comes through; of logarithms unused.
        unit: log attenuation of one rescaled step; of values that are not logarithms unused.
    """

    relation: Relation
    air: float
    dark: float = 0.0
    unit: float = 0.0

    def passed(self, stored: Values) -> NDArray[np.float32]:
        """The share of the beam that came through, 0 to 1, of the shape of `stored`."""
        values = self.relation.rescaled(stored)
        if self.relation.logarithmic:
            return np.exp(-self._depth(values)).astype(np.float32)
        if self.air == self.dark:
            return np.zeros(values.shape, np.float32)
        return np.clip((values - self.dark) / (self.air - self.dark), 0, 1).astype(np.float32)

    def attenuation(self, stored: Values) -> NDArray[np.float32]:
        """Log attenuation, 0 to `MOST`, of the shape of `stored`."""
        if self.relation.logarithmic:
            return self._depth(self.relation.rescaled(stored)).astype(np.float32)
        return np.minimum(-np.log(np.maximum(self.passed(stored), np.float32(1e-9))), np.float32(MOST))

    def _depth(self, values: Values) -> Values:
        further = self.air - values if self.relation.rising else values - self.air
        return np.clip(further * self.unit, 0, MOST)


def scale_of(stored: Values, relation: Relation) -> Scale:
    """The scale of a frame, by what its file says and by the range of its values.

    Where nothing comes through, values that rise with the beam are zero; where many lie below zero, it is the power
    of two below the lowest. Values that fall are then at the top of the range, which is the file's or else the least
    range of bits that holds them. Logarithms without a unit are taken to spread the detector's range over that range.

    Args:
        stored: values of the frame (height, width), integers or floats.
        relation: as the file says.

    Raises:
        BadScan: values that are not numbers.
    """
    if stored.dtype.kind == "f" and not all(np.isfinite(stored[rows]).all() for rows in blocks(*stored.shape)):
        raise BadScan("The picture holds values that are not numbers.")
    sample = _sample(stored, relation.padding)
    seen = relation.rescaled(sample)
    floor, top = _ends(sample, relation)
    air = float(np.percentile(seen, AIR if relation.rising else 100 - AIR))
    if relation.logarithmic:
        return Scale(relation, air, unit=relation.unit or _unit(seen, relation, top - floor))
    ends = relation.table[1] if relation.table is not None else relation.rescaled(np.array([floor, top]))
    darkest, lightest = (float(ends.min()), float(ends.max()))[:: 1 if relation.rising else -1]
    if relation.ready:
        air = lightest
    if relation.rising and np.percentile(seen, _DEAD) >= -_NOISE * max(air, 0):
        darkest = 0.0
    return Scale(relation, air, darkest)


def blocks(height: int, width: int) -> Iterator[slice]:
    """The rows of a picture, some `BLOCK` pixels at a time."""
    rows = max(1, BLOCK // max(width, 1))
    for first in range(0, height, rows):
        yield slice(first, first + rows)


def _sample(stored: Values, padding: tuple[float, float] | None) -> Values:
    """About a million values of the picture itself; all where nothing but padding is left."""
    step = max(1, int((stored.size / 1_000_000) ** 0.5))
    sample = stored[::step, ::step].ravel()
    if padding is None:
        return sample
    inside = sample[(sample < padding[0]) | (sample > padding[1])]
    return inside if inside.size else sample


def _ends(sample: Values, relation: Relation) -> tuple[float, float]:
    """The least and the greatest value of the range that the values were stored in."""
    low, high = (float(value) for value in np.percentile(sample, (_DEAD, 100 - _DEAD)))
    floor = 0.0
    if low < -_NOISE * max(high, 0.0):
        floor = -(relation.top + 1.0) if relation.ready and relation.top else -_power_of_two(-low)
    if relation.top is not None and relation.top >= high:
        return floor, float(relation.top)
    if sample.dtype.kind == "f":
        return floor, max(high, floor)
    return floor, max(_power_of_two(high + 1) - 1, 255.0) if high > 0 else 0.0


def _power_of_two(value: float) -> float:
    return 2.0 ** math.ceil(math.log2(value))


def _unit(seen: Values, relation: Relation, span: float) -> float:
    natural = relation.slope != 1 or bool((seen != np.round(seen)).any())
    if natural and float(np.ptp(seen)) <= _NATURAL:
        return 1.0
    return math.log(span + 1) / (span * abs(relation.slope)) if span > 0 else 0.0
