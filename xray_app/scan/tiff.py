"""A TIFF's header, read within bounds before Pillow sees it, and the two samples of a dual-energy TIFF.

Pillow reads a header however large it says it is, and makes room for a tile however large, so that a small file can
fill the memory. Of two samples of more than 8 bits it reads none.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from xray_app.errors import BadScan
from xray_app.scan.attenuation import Values

MAX_TAGS = 500
MAX_VALUES = 600_000
"""Numbers in a header: of the largest scan, the place and the length of each of its tiles."""
LONGEST_TILE = 1024
"""A tile's side may pass the picture's up to this."""

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, LENGTHS, PLANES = 273, 274, 277, 278, 279, 284
PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_LENGTHS, EXTRA, KIND = 317, 322, 323, 324, 325, 338, 339
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_CODES = {1: "B", 3: "H", 4: "L", 13: "L", 16: "Q", 18: "Q"}
_ALPHA = (1, 2)
_HORIZONTAL = 2


@dataclass(frozen=True)
class Header:
    """What the first directory of a TIFF says.

    Attributes:
        order: "<" or ">", as `struct` has it.
        tags: whole numbers by tag.
    """

    order: str
    tags: Mapping[int, Sequence[int]]

    def first(self, tag: int, default: int) -> int:
        """The first number of a tag."""
        values = self.tags.get(tag)
        return values[0] if values else default

    @property
    def is_dual_energy(self) -> bool:
        """Whether the picture has two measured samples: two, of which neither is transparency."""
        return self.first(SAMPLES, 1) == 2 and self.first(EXTRA, 0) not in _ALPHA

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.first(WIDTH, 0), self.first(HEIGHT, 0)


def is_tiff(content: bytes) -> bool:
    """Whether the bytes begin as a TIFF or BigTIFF."""
    return content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_header(content: bytes) -> Header:
    """The first directory; its numbers are bounded before any is read.

    Raises:
        BadScan: several pages, a header far larger than a scan's, tiles far larger than the picture, or damage.
    """
    try:
        header = _read(content)
    except struct.error as error:
        raise BadScan("The TIFF is damaged or cut off: its header cannot be read.") from error
    width, height = header.size
    for side, tile in ((width, TILE_WIDTH), (height, TILE_HEIGHT)):
        if header.first(tile, 0) > max(side + 16, LONGEST_TILE):
            raise BadScan("The TIFF is damaged: its tiles are far larger than its picture.")
    return header


def _read(content: bytes) -> Header:
    order = "<" if content[:2] == b"II" else ">"
    big = content[2:4] in (b"+\0", b"\0+")
    (place,) = struct.unpack_from(order + ("Q" if big else "L"), content, 8 if big else 4)
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), content, place)
    place += 8 if big else 2
    entry, inline = (20, 8) if big else (12, 4)
    if count > MAX_TAGS:
        raise BadScan("The TIFF's header has far more fields than a scan's. It is not read.")
    tags: dict[int, Sequence[int]] = {}
    numbers = 0
    for at in range(place, place + count * entry, entry):
        tag, kind, length = struct.unpack_from(order + ("HHQ" if big else "HHL"), content, at)
        if kind not in (2, 7):  # text and bytes stay as they are
            numbers += length
        if numbers > MAX_VALUES:
            raise BadScan("The TIFF's header has far more fields than a scan's. It is not read.")
        value = at + entry - inline
        if length * _SIZES.get(kind, 1) > inline:
            (value,) = struct.unpack_from(order + ("Q" if big else "L"), content, value)
        if kind in _CODES:
            tags[tag] = struct.unpack_from(f"{order}{length}{_CODES[kind]}", content, value)
    (following,) = struct.unpack_from(order + ("Q" if big else "L"), content, place + count * entry)
    if following:
        raise BadScan("The file holds several pictures (animation or pages). Upload each view as a file of its own.")
    return Header(order, tags)


def read_energies(content: bytes, header: Header) -> tuple[Values, Values]:
    """The low- and the high-energy sample of each pixel, each (height, width), in the order of the file.

    Raises:
        BadScan: samples that are stored in a way that is not read; says which.
    """
    bits, kinds = header.tags.get(BITS, (1, 1)), header.tags.get(KIND, (1, 1))
    if len(set(bits)) != 1 or bits[0] not in (8, 16, 32) or len(set(kinds)) != 1:
        raise BadScan(f"The TIFF has two samples of {' and '.join(map(str, bits))} bits, which are not read.")
    if header.first(PLANES, 1) == 2:
        return _plane(content, header, 0), _plane(content, header, 1)
    both = _open(content, _interleaved(header), header)
    if header.first(PREDICTOR, 1) == _HORIZONTAL:
        both = _summed(both, header)
    return np.ascontiguousarray(both[:, 0::2]), np.ascontiguousarray(both[:, 1::2])


def _interleaved(header: Header) -> dict[int, Sequence[int]]:
    """The same bytes, said to be a picture of one sample and twice the width."""
    tags = dict(header.tags) | {WIDTH: (header.size[0] * 2,)}
    if TILE_WIDTH in tags:
        tags[TILE_WIDTH] = (header.first(TILE_WIDTH, 0) * 2,)
    tags.pop(PREDICTOR, None)
    return tags


def _summed(both: Values, header: Header) -> Values:
    """Undoes horizontal differences, which run within each row of a strip or tile and within each sample."""
    if both.dtype.kind == "f":
        raise BadScan("The TIFF has two samples of numbers with fractions and a predictor, which are not read.")
    width = header.first(TILE_WIDTH, header.size[0]) * 2
    out = both.view(f"u{both.dtype.itemsize}").copy()
    for first in range(0, out.shape[1], width):
        for sample in (0, 1):
            part = out[:, first + sample : first + width : 2]
            np.cumsum(part, axis=1, dtype=part.dtype, out=part)
    return out.view(both.dtype)


def _plane(content: bytes, header: Header, number: int) -> Values:
    tags = dict(header.tags)
    for tag in (OFFSETS, LENGTHS, TILE_OFFSETS, TILE_LENGTHS):
        if tag in tags:
            half = len(tags[tag]) // 2
            tags[tag] = tags[tag][number * half : (number + 1) * half]
    return _open(content, tags, header)


def _open(content: bytes, tags: Mapping[int, Sequence[int]], header: Header) -> Values:
    """One sample of each pixel, decoded by Pillow from the same bytes under another header."""
    bits = header.first(BITS, 8)
    kept = {
        WIDTH, HEIGHT, COMPRESSION, OFFSETS, ROWS_PER_STRIP, LENGTHS, PREDICTOR,
        TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_LENGTHS,
    }  # fmt: skip
    wanted = {tag: values for tag, values in tags.items() if tag in kept}
    wanted |= {BITS: (bits,), SAMPLES: (1,), PHOTOMETRIC: (1,), PLANES: (1,), KIND: (header.first(KIND, 1),)}
    with Image.open(io.BytesIO(_with_header(content, wanted, header.order)), formats=("TIFF",)) as opened:
        values = np.asarray(opened)
    return values.view(np.uint32) if bits == 32 and header.first(KIND, 1) == 1 else values


def _with_header(content: bytes, tags: Mapping[int, Sequence[int]], order: str) -> bytes:
    """The file with another directory, written behind it."""
    if max(max(values) for values in tags.values()) >= 1 << 32 or content[2:4] in (b"+\0", b"\0+"):
        raise BadScan("The file is a BigTIFF of two samples, which is not read. Save it as a TIFF.")
    body = content + b"\0" * (len(content) % 2)
    entries, behind = b"", b""
    after = len(body) + 2 + 12 * len(tags) + 4
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(values)}L", *values)
        if len(values) == 1:
            entries += struct.pack(order + "HHL", tag, 4, 1) + packed
        else:
            entries += struct.pack(order + "HHLL", tag, 4, len(values), after + len(behind))
            behind += packed
    directory = struct.pack(order + "H", len(tags)) + entries + struct.pack(order + "L", 0) + behind
    return body[:4] + struct.pack(order + "L", len(body)) + body[8:] + directory
