"""DICOM and DICOS (NEMA IIC 1) files → pictures, without whatever names a person.

DICOS is read as far as its DICOM structure goes: pixels, both energies, the device. What comes out is one view for
each frame, or one in pseudo-colour where two frames are the two energies of a view. Of the header a short list is
kept; the rest, all private fields, overlays and sequences included, never reaches the disk.
"""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.filereader import _read_file_meta_info, read_preamble
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless

from xray_app.errors import BadScan
from xray_app.scan import pseudo_colour

MAX_VIEWS = 16
"""More frames than this are a volume or a film, not the views of a bag."""
MAX_READS = 50_000
"""How often the header may make the reader read: some ten thousand fields and items."""
MAX_IDLE = 1024
"""Codes of a compressed segment that stand for nothing: no encoder writes them, and each takes time to read."""
MAX_FACT = 64

SHOWN = {
    "Modality": "modality", "Manufacturer": "manufacturer", "ManufacturerModelName": "model",
    "DeviceSerialNumber": "serial number", "SoftwareVersions": "software", "DICOSVersion": "DICOS version",
    "ScanType": "scan type", "OOIType": "kind of object", "ImageType": "image type", "KVP": "peak voltage (kV)",
    "PresentationIntentType": "intent", "BurnedInAnnotation": "burned-in text",
}  # fmt: skip
"""The fields kept, and what they are called on the screen. None of them is about a person or a journey."""
_PIXEL = (
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelIntensityRelationship",
    "PixelIntensityRelationshipSign", "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor", "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData", "BluePaletteColorLookupTableData",
)  # fmt: skip
_FRAMES = "PerFrameFunctionalGroupsSequence"
_READ = ("SOPClassUID", *SHOWN, *_PIXEL, _FRAMES, "PixelData")
_ENERGIES = ("LOW_ENERGY", "HIGH_ENERGY")
_KINDS = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


@dataclass(frozen=True, eq=False)
class View:
    """One view of what was scanned.

    Attributes:
        image: RGB, 8 bits.
        content: a DICOM file of this view alone, with nothing in it but pixels and the fields of `SHOWN`.
        facts: those fields by name, as text for the screen.
    """

    image: Image.Image
    content: bytes
    facts: Mapping[str, str]


def is_dicom(content: bytes) -> bool:
    """Whether the bytes are a DICOM file with its usual preamble."""
    return content[128:132] == b"DICM"


def read_views(content: bytes, max_pixels: int) -> list[View]:
    """Every view of a file, in its order; never more than `max_pixels` of all views together are decoded.

    Raises:
        BadScan: no picture, a volume, too large, damaged, or compressed in a way that is not read; says which.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what pydicom finds odd but can read
        try:
            dataset = _read(content)
            return list(_views(dataset, max_pixels))
        except BadScan:
            raise
        # Hostile bytes can make the reader raise nearly anything; all of it means the same to the person.
        except Exception as error:
            raise BadScan(f"The DICOM file is damaged or cut off and cannot be read: {str(error)[:200]}.") from error


class _Metered(io.BytesIO):
    """Bytes that can be read so often: a header of millions of empty fields would fill the memory."""

    left = MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise BadScan("The DICOM file's header has far more fields than a scan's. It is not read.")
        return super().read(size)


def _read(content: bytes) -> Dataset:
    head = _Metered(content)
    read_preamble(head, False)
    syntax = _read_file_meta_info(head).get("TransferSyntaxUID")
    if syntax == DeflatedExplicitVRLittleEndian:
        raise BadScan("The DICOM file is deflated as a whole, which is not read. Save it uncompressed.")
    if syntax is None:
        raise BadScan("The DICOM file does not say how it is encoded (no transfer syntax).")
    tags = [tag for keyword in _READ if (tag := tag_for_keyword(keyword)) is not None]
    return dcmread(_Metered(content), specific_tags=list(tags))


def _views(dataset: Dataset, max_pixels: int) -> Iterator[View]:
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    if "PixelData" not in dataset:
        kind = dataset.get("SOPClassUID")
        name = UID(kind).name if kind else "unknown kind"
        raise BadScan(f"The DICOM file holds no picture ({name}).")
    frames = _check(dataset, syntax, max_pixels)
    facts = _facts(dataset)
    energies = _energies(dataset, frames)
    raw = list(_frame_bytes(dataset, syntax, frames))
    if energies is not None and _is_linear(dataset):
        for first in range(0, frames, 2):
            clean = _clean(dataset, syntax, raw[first : first + 2], facts, energies[first : first + 2])
            yield _view(clean, facts | {"energies": "low and high"})
        return
    for number, frame in enumerate(raw):
        clean = _clean(dataset, syntax, [frame], facts, energies[number : number + 1] if energies else ())
        yield _view(clean, facts)


def _check(dataset: Dataset, syntax: UID, max_pixels: int) -> int:
    """The number of frames, once sizes and encoding are known to be fine."""
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
    kind = str(dataset.get("PhotometricInterpretation") or "")
    if bits not in (8, 16) or samples not in (1, 3) or kind not in _KINDS:
        raise BadScan(f"The DICOM file has pixels of a kind that is not read ({kind or '?'}, {samples} × {bits} bits).")
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise BadScan(
            f"The DICOM file is encoded as {syntax.name}, which is not read. Save it uncompressed."
        ) from error
    if not decoder.is_available:
        raise BadScan(
            f"The DICOM file is compressed as {syntax.name}, and the codec for it is not installed. "
            "Save it uncompressed, or as RLE, JPEG or JPEG 2000."
        )
    return frames


def _frame_bytes(dataset: Dataset, syntax: UID, frames: int) -> Iterator[bytes]:
    """Each frame as it is encoded, native ones little-endian; of compressed ones the size is checked first."""
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    samples, width = int(dataset.get("SamplesPerPixel") or 1), int(dataset.BitsAllocated) // 8
    length = rows * columns * samples * width
    data = dataset.PixelData
    if not syntax.is_encapsulated:
        if dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
            length = length // 3 * 2
        if len(data) < length * frames:
            raise BadScan("The DICOM file is cut off: it holds fewer pixels than it says.")
        for number in range(frames):
            frame = data[number * length : (number + 1) * length]
            swap = width == 2 and not syntax.is_little_endian
            yield np.frombuffer(frame, np.uint16).byteswap().tobytes() if swap else frame
        return
    found = 0
    for frame in generate_frames(data, number_of_frames=frames):
        if syntax == RLELossless:
            _check_rle(frame, rows * columns)
        elif _coded_size(frame) != (columns, rows):
            raise BadScan("The DICOM file is damaged: a compressed frame is of another size than the file says.")
        found += 1
        yield frame
    if found != frames:
        raise BadScan(f"The DICOM file is cut off: it says it has {frames} frames and holds {found}.")


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


def _coded_size(frame: bytes) -> tuple[int, int] | None:
    """Width and height that a JPEG, JPEG-LS or JPEG 2000 stream announces; None where it announces none."""
    start = frame.find(b"\xff\x4f\xff\x51", 0, 4096)
    if start >= 0:
        width, height, left, top = struct.unpack_from(">4L", frame, start + 8)
        return width - left, height - top
    place = 2
    while frame[:2] == b"\xff\xd8" and place + 9 < len(frame) and frame[place] == 0xFF:
        marker = frame[place + 1]
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            height, width = struct.unpack_from(">2H", frame, place + 5)
            return width, height
        place += 2 + struct.unpack_from(">H", frame, place + 2)[0]
    return None


def _energies(dataset: Dataset, frames: int) -> tuple[str, ...] | None:
    """The energy of each frame, where the file names one for each and they come in pairs."""
    named: list[str] = []
    for group in dataset.get(_FRAMES) or ():
        types = [str(value) for item in group for inner in _items(item) for value in inner.get("FrameType") or ()]
        named += [energy for energy in _ENERGIES if energy in types]
    if not named:
        named = [str(value) for value in _values(dataset.get("ImageType")) if str(value) in _ENERGIES]
    pairs = [set(named[place : place + 2]) == set(_ENERGIES) for place in range(0, frames, 2)]
    return tuple(named) if len(named) == frames and frames % 2 == 0 and all(pairs) else None


def _items(element: object) -> Iterator[Dataset]:
    value = getattr(element, "value", None)
    if getattr(element, "VR", "") == "SQ" and value:
        yield from value


def _is_linear(dataset: Dataset) -> bool:
    """Whether values are proportional to intensity: of others no material can be told."""
    grey = str(dataset.PhotometricInterpretation).startswith("MONOCHROME")
    return grey and str(dataset.get("PixelIntensityRelationship") or "LIN") == "LIN"


def _facts(dataset: Dataset) -> dict[str, str]:
    facts = {}
    for keyword, name in SHOWN.items():
        text = "\\".join(str(value) for value in _values(dataset.get(keyword)))
        text = "".join(character for character in text if character.isprintable()).strip()[:MAX_FACT]
        if text:
            facts[name] = text
    return facts


def _values(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, (list, tuple)) or hasattr(value, "append") else [value]


def _clean(
    dataset: Dataset, syntax: UID, frames: list[bytes], facts: Mapping[str, str], energies: tuple[str, ...]
) -> Dataset:
    """A file of these frames, with the pixel module, the facts, and nothing else."""
    clean = Dataset()
    for keyword in _PIXEL:
        if keyword in dataset:
            clean[keyword] = dataset[keyword]
    for keyword, name in SHOWN.items():
        if name in facts:
            setattr(clean, keyword, facts[name].split("\\"))
    types = [value for value in _values(clean.get("ImageType")) if value not in _ENERGIES]
    if energies:
        clean.ImageType = [*types, *energies]
    clean.NumberOfFrames = len(frames)
    clean.SOPClassUID = UID(str(dataset.get("SOPClassUID") or "1.2.840.10008.5.1.4.1.1.7"))
    # Its own name, from its own bytes: the original's would lead back to other records.
    number = int.from_bytes(hashlib.sha256(b"".join(frames)).digest()[:16], "big")
    clean.SOPInstanceUID = UID(f"2.25.{number}")
    clean.file_meta = FileMetaDataset()
    clean.file_meta.TransferSyntaxUID = syntax if syntax.is_encapsulated else ExplicitVRLittleEndian
    clean.file_meta.MediaStorageSOPClassUID = clean.SOPClassUID
    clean.file_meta.MediaStorageSOPInstanceUID = clean.SOPInstanceUID
    if syntax.is_encapsulated:
        clean.PixelData = encapsulate(frames)
        clean["PixelData"].VR = "OB"
        clean["PixelData"].is_undefined_length = True
    else:
        data = b"".join(frames)
        clean.PixelData = data + b"\0" * (len(data) % 2)
        clean["PixelData"].VR = "OW" if int(dataset.BitsAllocated) == 16 else "OB"
    return clean


def _view(clean: Dataset, facts: Mapping[str, str]) -> View:
    frames = [np.asarray(pixel_array(clean, index=number)) for number in range(int(clean.NumberOfFrames))]
    if len(frames) == 2:
        low, high = (_intensity(frame, clean) for frame in frames)
        if str(_values(clean.ImageType)[-1]) == _ENERGIES[0]:
            low, high = high, low
        image = pseudo_colour.pseudo_colour(low, high)
    else:
        image = _picture(frames[0], clean)
    out = io.BytesIO()
    dcmwrite(out, clean, enforce_file_format=True)
    return View(image, out.getvalue(), dict(facts))


def _picture(frame: NDArray[np.integer[Any]], dataset: Dataset) -> Image.Image:
    kind = str(dataset.PhotometricInterpretation)
    if kind == "PALETTE COLOR":
        frame = np.asarray(apply_color_lut(frame, dataset))
        eight = frame if frame.dtype == np.uint8 else (frame >> 8).astype(np.uint8)
        return Image.fromarray(np.ascontiguousarray(eight[..., :3]))
    if frame.ndim == 3:
        bits = int(dataset.BitsStored)
        eight = frame if bits <= 8 else (frame >> (bits - 8))
        return Image.fromarray(np.ascontiguousarray(eight.astype(np.uint8)))
    values = _counted_from_zero(frame, dataset)
    if kind == "MONOCHROME1":
        values = float(2 ** int(dataset.BitsStored) - 1) - values
    if int(dataset.BitsStored) <= 8:
        return Image.fromarray((values * (255 / (2 ** int(dataset.BitsStored) - 1))).round().astype(np.uint8)).convert(
            "RGB"
        )
    return pseudo_colour.grey(values)


def _intensity(frame: NDArray[np.integer[Any]], dataset: Dataset) -> NDArray[np.float32]:
    """What came through, brightest where nothing was in the way."""
    values = _counted_from_zero(frame, dataset)
    sign = dataset.get("PixelIntensityRelationshipSign")
    turned = int(sign) < 0 if sign is not None else str(dataset.PhotometricInterpretation) == "MONOCHROME1"
    return np.float32(2 ** int(dataset.BitsStored) - 1) - values if turned else values


def _counted_from_zero(frame: NDArray[np.integer[Any]], dataset: Dataset) -> NDArray[np.float32]:
    values = frame.astype(np.float32)
    return values + np.float32(2 ** (int(dataset.BitsStored) - 1)) if int(dataset.PixelRepresentation) else values
