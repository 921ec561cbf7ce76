"""DICOM and DICOS (NEMA IIC 1) files → pictures, without whatever names a person.

DICOS is read as far as its DICOM structure goes: pixels, both energies, the device. What comes out is one view for
each frame, or one in pseudo-colour where two frames are the two energies of a view. Of the header a short list is
kept; the rest, all private fields, overlays and sequences included, never reaches the disk.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import _read_file_meta_info, read_preamble
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from xray_app.errors import BadScan, DeskError
from xray_app.scan import pseudo_colour
from xray_app.scan.decoding import DECODING, Limits
from xray_app.scan.dicom_frames import KEYWORDS, Shape, check, frame_bytes, keyword_of
from xray_app.scan.dicom_values import GROUPS, PER_FRAME, grey_frame, is_measured, picture, value_of

MAX_READS = 50_000
"""How often the header may make the reader read: some ten thousand fields and items."""
MAX_HEADER = 4 * 2**20
"""Bytes of a deflated file before and after its pixels."""
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
    "PixelIntensityRelationshipSign", "PixelPaddingValue", "PixelPaddingRangeLimit",
    "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
)  # fmt: skip
_TABLES = ("ModalityLUTSequence", "VOILUTSequence")
_READ = ("SOPClassUID", *SHOWN, *_PIXEL, *PER_FRAME, *_TABLES, *GROUPS, *KEYWORDS)
_ENERGIES = ("LOW_ENERGY", "HIGH_ENERGY")
_BEGINNINGS = re.compile(
    # Group 2 or 8 first, little-endian with a kind of value or, in group 8, with a short length; or big-endian.
    rb"\x02\x00[\x00-\x16]\x00(UL|OB|UI)|\x08\x00.\x00([A-Z]{2}|[\x00-\x7e]\x00\x00\x00)|\x00\x08\x00.[A-Z]{2}",
    re.DOTALL,
)


@dataclass(frozen=True, eq=False)
class View:
    """One view of what was scanned.

    Attributes:
        image: RGB, 8 bits.
        content: a DICOM file of this view alone, with nothing in it but pixels and the fields of `SHOWN`.
        facts: those fields by name, as text for the screen.
        opaque_fraction: share of it too dense to see through, 0 to 1; by attenuation where the file has it.
    """

    image: Image.Image
    content: bytes
    facts: Mapping[str, str]
    opaque_fraction: float


def is_dicom(content: bytes) -> bool:
    """Whether the bytes are a DICOM file, with its usual preamble or beginning as one without it does."""
    return content[128:132] == b"DICM" or content[:4] == b"DICM" or _BEGINNINGS.match(content) is not None


def read_views(content: bytes, limits: Limits) -> list[View]:
    """Every view of a file, in its order; never more pixels of all views together are decoded than allowed.

    Raises:
        BadScan: no picture, a volume, too large, damaged, or compressed in a way that is not read; says which.
        Busy: there was no room in time.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what pydicom finds odd but can read
        try:
            return _read_views(content, limits)
        except DeskError:
            raise
        # Hostile bytes can make the reader raise nearly anything; all of it means the same to the person.
        except Exception as error:
            raise BadScan(f"The DICOM file is damaged or cut off and cannot be read: {str(error)[:200]}.") from error


def _read_views(content: bytes, limits: Limits) -> list[View]:
    if content[:4] == b"DICM":
        content = bytes(128) + content
    start = io.BytesIO(content)
    read_preamble(start, True)
    deflated = (
        _read_file_meta_info(_Metered(content, start.tell())).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian
    )
    packed = _Deflated(content) if deflated else None
    header = _read(packed.start if packed else content, header_only=True)
    shape = check(header, _syntax(header), limits.max_pixels)
    with limits.decoding(shape.pixels, max(DECODING, shape.bytes_per_pixel)) as work:
        dataset = _read(packed.whole(shape) if packed else content)
        views = list(_views(dataset, _syntax(dataset), shape))
        for view in views:
            work.keep(view.image)
        return views


class _Metered(io.BytesIO):
    """Bytes that can be read so often: a header of millions of empty fields would fill the memory."""

    left = MAX_READS

    def __init__(self, content: bytes, place: int = 0) -> None:
        super().__init__(content)
        self.seek(place)

    def read(self, size: int | None = -1, /) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise BadScan("The DICOM file's header has far more fields than a scan's. It is not read.")
        return super().read(size)


class _Deflated:
    """A file that is compressed as a whole, inflated no further than its picture is large."""

    def __init__(self, content: bytes) -> None:
        file = _Metered(content)
        read_preamble(file, True)
        meta = _read_file_meta_info(file)
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        plain = DicomBytesIO()
        plain.write(bytes(128) + b"DICM")
        write_file_meta_info(plain, meta, enforce_standard=False)
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self.start = plain.getvalue() + self._inflater.decompress(content[file.tell() :], MAX_HEADER)

    def whole(self, shape: Shape) -> bytes:
        """The file, not compressed."""
        most = shape.pixels * shape.samples * shape.bits // 8 + MAX_HEADER
        rest = self._inflater.decompress(self._inflater.unconsumed_tail, most)
        if self._inflater.unconsumed_tail:
            raise BadScan("The DICOM file is damaged: it unpacks to far more than its picture.")
        return self.start + rest


def _read(content: bytes, header_only: bool = False) -> Dataset:
    tags = [tag for keyword in _READ if (tag := tag_for_keyword(keyword)) is not None]
    return dcmread(_Metered(content), force=True, stop_before_pixels=header_only, specific_tags=list(tags))


def _syntax(dataset: Dataset) -> UID:
    """How the file is encoded; of a file that does not say, as it was found to be."""
    named = dataset.file_meta.get("TransferSyntaxUID")
    if named:
        return UID(named)
    implicit, little = dataset.original_encoding
    if not little:
        return ExplicitVRBigEndian
    return ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian


def _views(dataset: Dataset, syntax: UID, shape: Shape) -> Iterator[View]:
    keyword = keyword_of(dataset)
    if dataset[keyword].is_undefined_length and not syntax.is_encapsulated:
        raise BadScan("The DICOM file does not say how it is encoded (no transfer syntax).")
    facts = _facts(dataset)
    energies = _energies(dataset, shape.frames)
    raw = list(frame_bytes(dataset, syntax, shape))
    if energies is not None and is_measured(dataset):
        for first in range(0, shape.frames, 2):
            clean = _clean(dataset, syntax, raw[first : first + 2], first, facts, energies[first : first + 2])
            yield _view(clean, facts | {"energies": "low and high"})
        return
    for number, frame in enumerate(raw):
        clean = _clean(dataset, syntax, [frame], number, facts, energies[number : number + 1] if energies else ())
        yield _view(clean, facts)


def _energies(dataset: Dataset, frames: int) -> tuple[str, ...] | None:
    """The energy of each frame, where the file names one for each and they come in pairs."""
    named: list[str] = []
    for group in dataset.get(GROUPS[0]) or ():
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
    dataset: Dataset,
    syntax: UID,
    frames: Sequence[bytes],
    first: int,
    facts: Mapping[str, str],
    energies: Sequence[str],
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
    _copy_transforms(dataset, clean, first)
    clean.SOPClassUID = UID(str(dataset.get("SOPClassUID") or "1.2.840.10008.5.1.4.1.1.7"))
    # Its own name, from its own bytes: the original's would lead back to other records.
    number = int.from_bytes(hashlib.sha256(b"".join(frames)).digest()[:16], "big")
    clean.SOPInstanceUID = UID(f"2.25.{number}")
    clean.file_meta = FileMetaDataset()
    clean.file_meta.TransferSyntaxUID = syntax if syntax.is_encapsulated else ExplicitVRLittleEndian
    clean.file_meta.MediaStorageSOPClassUID = clean.SOPClassUID
    clean.file_meta.MediaStorageSOPInstanceUID = clean.SOPInstanceUID
    keyword = keyword_of(dataset)
    if syntax.is_encapsulated:
        clean.PixelData = encapsulate(list(frames))
        clean["PixelData"].VR = "OB"
        clean["PixelData"].is_undefined_length = True
    else:
        data = b"".join(frames)
        setattr(clean, keyword, data + b"\0" * (len(data) % 2))
        if keyword == "PixelData":
            clean["PixelData"].VR = "OW" if int(dataset.BitsAllocated) > 8 else "OB"
    return clean


def _copy_transforms(dataset: Dataset, clean: Dataset, first: int) -> None:
    """What leads from stored values to a picture: numbers and tables, without the words beside them."""
    for keyword in _TABLES:
        tables = []
        for item in (dataset.get(keyword) or ())[:1]:
            table = Dataset()
            for name in ("LUTDescriptor", "LUTData"):
                table[name] = item[name]
            tables.append(table)
        if tables:
            setattr(clean, keyword, tables)
    frames = int(clean.NumberOfFrames)
    each = [
        {keyword: value for keyword in PER_FRAME if (value := value_of(dataset, keyword, first + number)) is not None}
        for number in range(frames)
    ]
    if all(one == each[0] for one in each):
        for keyword, value in each[0].items():
            setattr(clean, keyword, value)
        return
    groups = []
    for one in each:
        group, inner = Dataset(), Dataset()
        for keyword, value in one.items():
            setattr(inner, keyword, value)
        group.PixelValueTransformationSequence = [inner]
        groups.append(group)
    setattr(clean, GROUPS[0], groups)


def _view(clean: Dataset, facts: Mapping[str, str]) -> View:
    if int(clean.NumberOfFrames) == 2:
        low, high = (grey_frame(clean, number) for number in range(2))
        if str(_values(clean.ImageType)[-1]) == _ENERGIES[0]:
            low, high = high, low
        made = pseudo_colour.pseudo_colour(low, high)
    else:
        made = picture(clean, 0)
    out = io.BytesIO()
    dcmwrite(out, clean, enforce_file_format=True)
    return View(made.image, out.getvalue(), dict(facts), made.opaque_fraction)
