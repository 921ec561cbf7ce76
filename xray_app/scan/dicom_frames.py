"""Frames of a DICOM file: taken apart within bounds, and decoded to the values that were stored."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from pydicom import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, RLELossless

from xray_app.errors import BadScan
from xray_app.scan.attenuation import Values

MAX_VIEWS = 16
"""More frames than this are a volume or a film, not the views of a bag."""
MAX_IDLE = 1024
"""Codes of a compressed segment that stand for nothing: no encoder writes them, and each takes time to read."""
LEAST_TILE = 64 * 64
"""Pixels of a JPEG 2000 tile; for each tile the decoder makes room before it reads one."""
CODECS = "pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"
"""The packages that decode what Pillow and pydicom by themselves do not."""

KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_KINDS = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_BY_PILLOW = (8, 16)
"""Bits of a sample that Pillow decodes of JPEG, and of JPEG 2000 in grey."""


@dataclass(frozen=True)
class Shape:
    """The size of a file's pixels, checked.

    Attributes:
        frames: 1 to `MAX_VIEWS`.
        rows, columns: of each frame, in pixels.
        samples: of each pixel, 1 or 3.
        bits: of each sample, as stored: 8, 16, 32 or, of fractions, 64.
    """

    frames: int
    rows: int
    columns: int
    samples: int
    bits: int

    @property
    def pixels(self) -> int:
        """Of all frames."""
        return self.frames * self.rows * self.columns

    @property
    def bytes_per_pixel(self) -> int:
        """What a pixel takes at most while it is decoded: twice as stored, and as a picture."""
        return 8 + 2 * self.samples * self.bits // 8


def check(dataset: Dataset, syntax: UID, max_pixels: int) -> Shape:
    """The size of the pixels, once sizes and encoding are known to be fine. Needs the header alone.

    Raises:
        BadScan: no picture, a volume, too large, or stored in a way that is not read; says which.
    """
    if not dataset.get("Rows") and not dataset.get("Columns"):
        raise no_picture(dataset)
    rows, columns, frames = (int(dataset.get(name) or 0) for name in ("Rows", "Columns", "NumberOfFrames"))
    frames = max(frames, 1)
    if rows < 1 or columns < 1:
        raise BadScan("The DICOM file does not say how large its picture is.")
    if frames > MAX_VIEWS:
        raise BadScan(
            f"The DICOM file holds {frames} frames: a volume or a film. The desk reads projections of up to "
            f"{MAX_VIEWS} views; export the views."
        )
    if rows * columns * frames > max_pixels:
        raise BadScan(
            f"The DICOM file has {frames} × {columns}×{rows} pixels; at most {max_pixels:,} pixels are allowed."
        )
    bits, samples = int(dataset.get("BitsAllocated") or 0), int(dataset.get("SamplesPerPixel") or 1)
    stored = int(dataset.get("BitsStored") or bits)
    high = int(dataset.get("HighBit") or stored - 1)
    kind = str(dataset.get("PhotometricInterpretation") or "")
    grey = kind.startswith("MONOCHROME")
    if bits not in ((8, 16, 32, 64) if grey else (8, 16, 32)) or samples != (1 if grey or kind[0] == "P" else 3):
        raise BadScan(f"The DICOM file has pixels of a kind that is not read ({kind or '?'}, {samples} × {bits} bits).")
    if kind not in _KINDS or not 1 <= stored <= high + 1 <= bits:
        raise BadScan(
            f"The DICOM file has pixels of a kind that is not read ({kind}, {stored} of {bits} bits up to bit {high})."
        )
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise BadScan(
            f"The DICOM file is encoded as {syntax.name}, which is not read. Save it uncompressed."
        ) from error
    if not decoder.is_available:
        raise _no_codec(syntax)
    return Shape(frames, rows, columns, samples, bits)


def no_picture(dataset: Dataset) -> BadScan:
    """The error of a file without pixels."""
    kind = dataset.get("SOPClassUID")
    return BadScan(f"The DICOM file holds no picture ({UID(kind).name if kind else 'unknown kind'}).")


def _no_codec(syntax: UID) -> BadScan:
    return BadScan(
        f"The DICOM file is compressed as {syntax.name}, and the codec for it is missing: an admin can install it with "
        f"pip install {CODECS}. Or save the file uncompressed."
    )


def keyword_of(dataset: Dataset) -> str:
    """Under which of `KEYWORDS` the pixels are.

    Raises:
        BadScan: under none.
    """
    for keyword in KEYWORDS:
        if keyword in dataset:
            return keyword
    raise no_picture(dataset)


def frame_bytes(dataset: Dataset, syntax: UID, shape: Shape) -> Iterator[bytes]:
    """Each frame as it is encoded, native ones little-endian; of compressed ones the size is checked first.

    Raises:
        BadScan: cut off, damaged, or compressed in a way for which no codec is installed.
    """
    data = dataset[keyword_of(dataset)].value
    width = shape.bits // 8
    length = shape.rows * shape.columns * shape.samples * width
    if not syntax.is_encapsulated:
        if dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
            length = length // 3 * 2
        if len(data) < length * shape.frames:
            raise BadScan("The DICOM file is cut off: it holds fewer pixels than it says.")
        for number in range(shape.frames):
            frame = data[number * length : (number + 1) * length]
            swap = width > 1 and not syntax.is_little_endian
            yield np.frombuffer(frame, f"u{width}").byteswap().tobytes() if swap else frame
        return
    found = 0
    for frame in generate_frames(data, number_of_frames=shape.frames):
        if syntax == RLELossless:
            _check_rle(frame, shape.rows * shape.columns)
        else:
            _check_coded(frame, syntax, shape)
        found += 1
        yield frame
    if found != shape.frames:
        raise BadScan(f"The DICOM file is cut off: it says it has {shape.frames} frames and holds {found}.")


def stored_values(dataset: Dataset, number: int) -> Values:
    """The values of a frame as they were stored, sign and high bit observed; colour in RGB.

    Returns:
        (rows, columns) or (rows, columns, 3), integers, or floats where the file holds such.
    """
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    bits, stored = int(dataset.BitsAllocated), int(dataset.get("BitsStored") or dataset.BitsAllocated)
    high = int(dataset.get("HighBit") or stored - 1)
    plain = not syntax.is_encapsulated or syntax == RLELossless
    if high == stored - 1 or not plain or bits > 32 or keyword_of(dataset) != "PixelData":
        return np.asarray(pixel_array(dataset, index=number))
    values = np.array(pixel_array(dataset, index=number, correct_unused_bits=False))
    np.left_shift(values, bits - 1 - high, out=values)
    return np.right_shift(values, bits - stored, out=values)


def _check_rle(frame: bytes, pixels: int) -> None:
    """Refuses what unpacks to more than the picture, or takes far longer: a small file can hold gigabytes of runs."""
    segments = struct.unpack_from("<16L", frame)
    starts = [*segments[1 : 1 + min(segments[0], 15)], len(frame)]
    if any(start >= end for start, end in pairwise((63, *starts))):
        raise BadScan("The DICOM file is damaged: the parts of a compressed frame overlap or lie outside it.")
    for start, end in pairwise(starts):
        place, made, idle = start, 0, 0
        while place < end - 1:
            code = frame[place]
            if code == 128:
                place, idle = place + 1, idle + 1
            else:
                made += 257 - code if code > 128 else code + 1
                place += 2 if code > 128 else code + 2
            if made > pixels + 128 or idle > MAX_IDLE:
                raise BadScan("The DICOM file is damaged: a compressed frame holds more pixels than the file says.")


@dataclass(frozen=True)
class _Coded:
    """What a compressed frame announces."""

    width: int
    height: int
    components: int
    precision: int
    tiles: int = 1


def _check_coded(frame: bytes, syntax: UID, shape: Shape) -> None:
    """Refuses a frame of another size than the file says, and one that the codecs at hand cannot decode."""
    coded = _jpeg_2000(frame) or _jpeg(frame)
    if coded is None or (coded.width, coded.height) != (shape.columns, shape.rows):
        raise BadScan("The DICOM file is damaged: a compressed frame is of another size than the file says.")
    if coded.components > shape.samples or coded.tiles > max(64, shape.rows * shape.columns // LEAST_TILE):
        raise BadScan("The DICOM file is damaged: a compressed frame has more parts than its picture.")
    most = _BY_PILLOW[1] if frame[:2] != b"\xff\xd8" and coded.components == 1 else _BY_PILLOW[0]
    if coded.precision > most and get_decoder(syntax).available_plugins == ("pillow",):
        raise _no_codec(syntax)


def _jpeg_2000(frame: bytes) -> _Coded | None:
    """As the codestream says, which lies bare or in a box of a JP2 file; None where there is none."""
    start = 0
    if frame[4:8] == b"jP  ":
        while frame[start + 4 : start + 8] not in (b"jp2c", b""):
            (length,) = struct.unpack_from(">L", frame, start)
            start += max(length, 8)
        start += 8
    if frame[start : start + 4] != b"\xff\x4f\xff\x51":
        return None
    right, bottom, left, top, wide, tall, first, upper = struct.unpack_from(">8L", frame, start + 8)
    (components,) = struct.unpack_from(">H", frame, start + 40)
    tiles = -(-(right - first) // max(wide, 1)) * -(-(bottom - upper) // max(tall, 1))
    return _Coded(right - left, bottom - top, components, (frame[start + 42] & 0x7F) + 1, tiles)


def _jpeg(frame: bytes) -> _Coded | None:
    """As the first frame header of a JPEG or JPEG-LS stream says; None where there is none."""
    place = 2
    while frame[:2] == b"\xff\xd8" and place + 9 < len(frame) and frame[place] == 0xFF:
        marker = frame[place + 1]
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            precision, height, width, components = struct.unpack_from(">BHHB", frame, place + 4)
            return _Coded(width, height, components, precision)
        place += 2 + struct.unpack_from(">H", frame, place + 2)[0]
    return None
