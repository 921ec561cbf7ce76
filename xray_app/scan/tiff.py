"""A TIFF's header, read within bounds before Pillow sees it, and its measured values: one or both energies.

Pillow reads a header however large it says it is, and makes room for a tile however large, so that a small file can
fill the memory. Of measured values it reads some depths in some byte orders, and never two samples. So it is given
the file under another header, as a picture of plain bytes, and unpacks those.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
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
_BYTEWISE = {1: "none", 5: "LZW", 8: "deflate", 32946: "deflate", 32773: "PackBits", 34925: "LZMA", 50000: "zstd"}
"""Compressions that know nothing of pixels."""
_KINDS = {1: "u", 2: "i", 3: "f"}


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
    def is_measured(self) -> bool:
        """Whether the values are measured: grey of more than 8 bits, or two samples, neither of them transparency."""
        grey = self.first(PHOTOMETRIC, 1) in (0, 1)
        if self.samples == 2:
            return grey and self.first(EXTRA, 0) not in _ALPHA
        return grey and self.samples == 1 and self.first(BITS, 1) in (16, 32, 64)

    @property
    def samples(self) -> int:
        """Of each pixel."""
        return self.first(SAMPLES, 1)

    @property
    def bytes_per_pixel(self) -> int:
        """As stored."""
        return self.samples * self.first(BITS, 8) // 8

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


def read_values(content: bytes, header: Header) -> Values:
    """The measured values (height, width, samples), integers or floats, in the byte order of the file.

    Raises:
        BadScan: they are stored in a way that is not read; says which.
    """
    bits, kinds = header.tags.get(BITS, (1,)), header.tags.get(KIND, (1,))
    kind = _KINDS.get(kinds[0], "")
    if len({*bits}) != 1 or len({*kinds}) != 1 or not kind or bits[0] not in ((32, 64) if kind == "f" else (8, 16, 32)):
        raise BadScan(f"The TIFF has samples of {' and '.join(map(str, bits))} bits of a kind that is not read.")
    if header.first(COMPRESSION, 1) not in _BYTEWISE:
        raise BadScan("The TIFF has measured values in a compression that is not read. Save it deflated.")
    dtype = np.dtype(f"{header.order}{kind}{bits[0] // 8}")
    if header.first(PLANES, 1) == 2 and header.samples > 1:
        planes = [_values(content, _plane(header, number), header, dtype, 1) for number in range(header.samples)]
        return np.concatenate(planes, axis=2)
    return _values(content, header.tags, header, dtype, header.samples)


def _plane(header: Header, number: int) -> dict[int, Sequence[int]]:
    """The tags, with the places of one sample's strips or tiles alone."""
    tags = dict(header.tags)
    for tag in (OFFSETS, LENGTHS, TILE_OFFSETS, TILE_LENGTHS):
        if tag in tags:
            count = len(tags[tag]) // header.samples
            tags[tag] = tags[tag][number * count : (number + 1) * count]
    return tags


def _values(
    content: bytes, tags: Mapping[int, Sequence[int]], header: Header, dtype: np.dtype[Any], samples: int
) -> Values:
    width, height = header.size
    raw = _unpacked(content, tags, header.order, width, dtype.itemsize * samples)
    values = raw.view(dtype).reshape(height, width, samples)
    predictor = header.first(PREDICTOR, 1)
    if predictor == 1:
        return values
    if predictor != _HORIZONTAL or dtype.kind == "f":
        raise BadScan("The TIFF has numbers with fractions and a predictor, which are not read.")
    whole = values.astype(f"u{dtype.itemsize}")
    # Differences run within each row of a strip or tile, and within each sample.
    across = header.first(TILE_WIDTH, width)
    for first in range(0, width, across):
        part = whole[:, first : first + across]
        np.cumsum(part, axis=1, dtype=part.dtype, out=part)
    return whole.view(dtype.newbyteorder("="))


def _unpacked(
    content: bytes, tags: Mapping[int, Sequence[int]], order: str, width: int, bytes_per_pixel: int
) -> NDArray[np.uint8]:
    """The bytes of each row, unpacked by Pillow as a picture of one or, to be smaller, of four bytes a pixel."""
    each = 4 if bytes_per_pixel % 4 == 0 else 1
    wider = bytes_per_pixel // each
    kept = (HEIGHT, COMPRESSION, OFFSETS, ROWS_PER_STRIP, LENGTHS, TILE_HEIGHT, TILE_OFFSETS, TILE_LENGTHS)
    wanted = {tag: tags[tag] for tag in kept if tag in tags}
    wanted |= {WIDTH: (width * wider,), BITS: (8,) * each, SAMPLES: (each,), PLANES: (1,)}
    wanted |= {PHOTOMETRIC: (2,), EXTRA: (2,)} if each == 4 else {PHOTOMETRIC: (1,)}
    if TILE_WIDTH in tags:
        wanted[TILE_WIDTH] = (tags[TILE_WIDTH][0] * wider,)
    with Image.open(io.BytesIO(_with_header(content, wanted, order)), formats=("TIFF",)) as opened:
        return np.asarray(opened)


def _with_header(content: bytes, tags: Mapping[int, Sequence[int]], order: str) -> bytes:
    """The file as a TIFF with another directory, written behind it; the places of a BigTIFF's pixels stay the same."""
    magic = b"II*\0" if order == "<" else b"MM\0*"
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
    return magic + struct.pack(order + "L", len(body)) + body[8:] + directory
