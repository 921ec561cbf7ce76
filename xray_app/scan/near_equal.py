"""Which pictures are nearly the same: one scan compressed anew, resized or a little brighter, by its perceptual hash.

Two hashes of at most `MOST_DIFFERENT` different bits have one of their 16 bands of 16 bits in common, so that those
near a hash are found by its bands without comparing it with all.
"""

from __future__ import annotations

from collections import defaultdict

from xray_app.scan.appearance import HASH_SIDE

BAND_BITS = 16
BANDS = HASH_SIDE * HASH_SIDE // BAND_BITS
MOST_DIFFERENT = BANDS - 1
"""Of 256 bits. Of 1,765 scans none was taken for another, and 0.999 of their compressed, resized and brightened
variants were found (`tests.benchmarks.near_equal`)."""


def bands(perceptual_hash: str) -> tuple[int, ...]:
    """The bands of a hash, each with its place in it: what near-equal hashes have one of in common.

    Bits are dealt out to the bands by turns: neighbours in a hash are alike in many pictures.
    """
    bits = f"{int(perceptual_hash, 16):0{BANDS * BAND_BITS}b}"
    return tuple((band << BAND_BITS) | int(bits[band::BANDS], 2) for band in range(BANDS))


def near_equal(one: str, other: str) -> bool:
    """Whether two perceptual hashes are of nearly the same picture."""
    return (int(one, 16) ^ int(other, 16)).bit_count() <= MOST_DIFFERENT


class NearEquals:
    """Pictures by their perceptual hash, in memory."""

    def __init__(self) -> None:
        self._by_band: defaultdict[int, list[str]] = defaultdict(list)
        self._hashes: dict[str, str] = {}

    def add(self, name: str, perceptual_hash: str) -> None:
        """Adds a picture under a name of its own."""
        self._hashes[name] = perceptual_hash
        for band in bands(perceptual_hash):
            self._by_band[band].append(name)

    def of(self, perceptual_hash: str) -> list[str]:
        """The names of pictures near this one."""
        found = {name: None for band in bands(perceptual_hash) for name in self._by_band.get(band, ())}
        return [name for name in found if near_equal(self._hashes[name], perceptual_hash)]
