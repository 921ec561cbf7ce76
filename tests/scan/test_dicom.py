"""DICOM and DICOS: every kind of pixel becomes the right picture, no name stays, nothing hostile fills the memory."""

from __future__ import annotations

import hashlib
import io
import struct
import tracemalloc
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.sequence import Sequence
from pydicom.uid import (
    MPEG2MPML,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    RLELossless,
)

from xray_app.errors import BadScan
from xray_app.scan.read import Limits, browser_picture, read_scan, read_scans

LIMITS = Limits(8 * 2**20, 4_000_000)
DX = "1.2.840.10008.5.1.4.1.1.501.2.1"  # DICOS DX, for presentation
ROWS, COLUMNS = 60, 80
PERSONAL = {
    "PatientName": "Doe^Jane", "PatientID": "PASSPORT-4711", "PatientBirthDate": "19700101",
    "OperatorsName": "Guard^Gus", "InstitutionName": "Secret Airport", "AccessionNumber": "FLIGHT-99",
    "StudyDescription": "Doe hand luggage", "StudyDate": "20260101", "BoardingPassID": "BOARD-1",
    "ItineraryID": "ITIN-1",
}  # fmt: skip
Values = Any


def ramp(highest: int, dtype: type = np.uint16) -> Values:
    return np.tile(np.linspace(0, highest, COLUMNS), (ROWS, 1)).astype(dtype)


def make(pixels: Values, syntax: str = ExplicitVRLittleEndian, raw: bytes | None = None, **fields: Any) -> bytes:
    """A DICOM file of these pixels: (rows, columns), (frames, rows, columns) or, in colour, (rows, columns, 3)."""
    colour = pixels.ndim == 3 and pixels.shape[-1] == 3
    rows, columns = pixels.shape[:2] if colour else pixels.shape[-2:]
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = DX
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3.4.5"
    dataset.Modality, dataset.Manufacturer, dataset.DICOSVersion = "DX", "Scanner Works", "V03"
    for name, value in PERSONAL.items():
        setattr(dataset, name, value)
    private = dataset.private_block(0x0011, "ACME", create=True)
    private.add_new(1, "LO", "Doe private")
    dataset.Rows, dataset.Columns = rows, columns
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        dataset.PlanarConfiguration = 0
    bits = pixels.dtype.itemsize * 8
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, int(pixels.dtype.kind == "i")
    if pixels.ndim == 3 and not colour:
        dataset.NumberOfFrames = len(pixels)
    for name, value in fields.items():
        setattr(dataset, name, value)
    data = pixels.astype(pixels.dtype.newbyteorder(">")) if syntax == ExplicitVRBigEndian else pixels
    dataset.PixelData = raw if raw is not None else data.tobytes()
    dataset["PixelData"].VR = "OW" if bits == 16 and raw is None else "OB"
    dataset["PixelData"].is_undefined_length = UID(syntax).is_encapsulated
    out = io.BytesIO()
    dcmwrite(out, dataset, enforce_file_format=True)
    return out.getvalue()


def grey(content: bytes) -> Values:
    picture = np.asarray(read_scan(content, "bag.dcs", LIMITS).image)
    assert (picture[..., 0] == picture[..., 2]).all()
    return picture[..., 0].astype(int)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("highest", [4095, 65535])
def test_sixteen_bits_are_windowed_from_zero(syntax: str, highest: int) -> None:
    picture = grey(make(ramp(highest), syntax))
    np.testing.assert_allclose(picture[5], np.linspace(0, 255, COLUMNS), atol=3)


def test_monochrome1_is_turned_round() -> None:
    picture = grey(make(ramp(4095), PhotometricInterpretation="MONOCHROME1", BitsStored=12, HighBit=11))
    np.testing.assert_allclose(picture[5], np.linspace(255, 0, COLUMNS), atol=3)
    picture = grey(make(ramp(255, np.uint8), PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_allclose(picture[5], np.linspace(255, 0, COLUMNS), atol=1)


def test_eight_bits_are_shown_as_they_are_and_signed_ones_from_their_lowest() -> None:
    np.testing.assert_array_equal(grey(make(ramp(120, np.uint8))), ramp(120, np.uint8))
    signed = (ramp(60000).astype(int) - 32768).astype(np.int16)
    np.testing.assert_allclose(grey(make(signed))[5], np.linspace(0, 255, COLUMNS), atol=3)


def test_palette_and_colour() -> None:
    index = np.tile(np.arange(COLUMNS) // (COLUMNS // 2), (ROWS, 1)).astype(np.uint8)
    lut = {}
    for name, (first, second) in {"Red": (65535, 0), "Green": (0, 32768), "Blue": (0, 65535)}.items():
        lut[f"{name}PaletteColorLookupTableDescriptor"] = [2, 0, 16]
        lut[f"{name}PaletteColorLookupTableData"] = struct.pack("<2H", first, second)
    scan = read_scan(make(index, PhotometricInterpretation="PALETTE COLOR", **lut), "a", LIMITS)
    assert scan.image.getpixel((0, 0)) == (255, 0, 0)
    assert scan.image.getpixel((COLUMNS - 1, 0)) == (0, 128, 255)
    colours = np.zeros((ROWS, COLUMNS, 3), np.uint8)
    colours[:, :40] = (10, 200, 30)
    np.testing.assert_array_equal(np.asarray(read_scan(make(colours), "a", LIMITS).image), colours)


def encoded(picture_format: str, size: tuple[int, int] = (COLUMNS, ROWS), **options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(ramp(200, np.uint8)).resize(size).save(out, picture_format, **options)
    return out.getvalue()


def test_compressed_frames_are_read() -> None:
    wanted = ramp(200, np.uint8)
    jpeg = make(wanted, JPEGBaseline8Bit, encapsulate([encoded("JPEG", quality=95)]))
    np.testing.assert_allclose(grey(jpeg), wanted, atol=4)
    j2k = make(wanted, JPEG2000Lossless, encapsulate([encoded("JPEG2000", irreversible=False, no_jp2=True)]))
    np.testing.assert_array_equal(grey(j2k), wanted)
    deep = ramp(4000)
    plain = dcmread(io.BytesIO(make(deep)))
    plain.compress(RLELossless, encoding_plugin="pydicom")
    out = io.BytesIO()
    dcmwrite(out, plain)
    assert RLELosslessEncoder.is_available
    np.testing.assert_array_equal(grey(out.getvalue()), grey(make(deep)))


def dual() -> Values:
    """Both energies of a bag: nothing, a bottle, steel, and lead through which nothing comes."""
    low, high = np.full((2, ROWS, COLUMNS), 60000.0)
    low[:, 20:40], high[:, 20:40] = 60000 * np.exp(-0.6 * 1.28), 60000 * np.exp(-0.6)
    low[:, 40:60], high[:, 40:60] = 60000 * np.exp(-0.8 * 2.3), 60000 * np.exp(-0.8)
    low[:, 60:], high[:, 60:] = 0, 0
    return np.stack([low, high]).astype(np.uint16)


def types_of_frames(*energies: str) -> Sequence:
    groups = []
    for energy in energies:
        group, inner = Dataset(), Dataset()
        inner.FrameType = ["ORIGINAL", "PRIMARY", "PROJECTION", energy]
        group.CTImageFrameTypeSequence = Sequence([inner])
        groups.append(group)
    return Sequence(groups)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("marked", ["ImageType", "frames"])
def test_both_energies_become_the_usual_colours(turned: bool, marked: str) -> None:
    frames = dual()[::-1] if turned else dual()
    names = ("HIGH_ENERGY", "LOW_ENERGY") if turned else ("LOW_ENERGY", "HIGH_ENERGY")
    fields: dict[str, Any] = {"ImageType": ["ORIGINAL", "PRIMARY", "PROJECTION", *names]}
    if marked == "frames":
        fields = {"PerFrameFunctionalGroupsSequence": types_of_frames(*names)}
    scan = read_scan(make(frames.copy(), **fields), "bag.dcs", LIMITS)
    air, bottle, steel, lead = (scan.image.getpixel((x, 30)) for x in (5, 30, 50, 70))
    assert min(air) > 250
    assert bottle[0] > bottle[1] > bottle[2]  # orange
    assert steel[2] > steel[1] > steel[0]  # blue
    assert lead == (0, 0, 0)
    assert scan.acquisition["energies"] == "low and high"
    assert scan.opaque_fraction == pytest.approx(0.25)
    again = read_scan(scan.content, "bag.dcs", LIMITS)
    np.testing.assert_array_equal(np.asarray(again.image), np.asarray(scan.image))


def test_energies_that_are_turned_round_or_logarithmic() -> None:
    names = {"ImageType": ["ORIGINAL", "PRIMARY", "PROJECTION", "LOW_ENERGY", "HIGH_ENERGY"]}
    plain = read_scan(make(dual(), **names), "a", LIMITS).image
    inverse = read_scan(make(65535 - dual(), PixelIntensityRelationshipSign=-1, **names), "a", LIMITS).image
    np.testing.assert_allclose(np.asarray(inverse).astype(int), np.asarray(plain).astype(int), atol=2)
    # Of values that are not proportional to intensity no material is made up: two grey views.
    views = read_scans(make(dual(), PixelIntensityRelationship="LOG", **names), "a", LIMITS)
    assert [len(set(view.image.getpixel((50, 30)))) for view in views] == [1, 1]


def test_frames_are_the_views_of_one_bag() -> None:
    content = make(np.stack([ramp(1000), ramp(1000)[:, ::-1], ramp(1000)[::-1]]))
    views = read_scans(content, "bag.dcs", LIMITS, scanner_id="s1")
    assert [view.view for view in views] == ["view 1", "view 2", "view 3"]
    assert {view.bag_id for view in views} == {hashlib.sha256(content).hexdigest()}
    assert {view.scanner_id for view in views} == {"s1"}
    assert views[1].image.getpixel((0, 0))[0] > 250 > views[0].image.getpixel((0, 0))[0]
    assert len({view.sha256 for view in views}) >= 2
    for view in views:  # each is stored as a file of its own, which reads as the same picture
        again = read_scan(view.content, "x", LIMITS)
        assert np.array_equal(np.asarray(again.image), np.asarray(view.image))
        assert again.sha256 == view.sha256
        shown, media_type = browser_picture(view.content, LIMITS)
        assert media_type == "image/png"
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(shown))), np.asarray(view.image))
    given = read_scans(content, "bag.dcs", LIMITS, bag_id="b", view="side")
    assert [(view.bag_id, view.view) for view in given] == [("b", "side 1"), ("b", "side 2"), ("b", "side 3")]
    with pytest.raises(BadScan, match="3 views"):
        read_scan(content, "bag.dcs", LIMITS)


def test_nothing_personal_is_kept_and_the_scanner_is_shown() -> None:
    scan = read_scan(make(ramp(1000)), "bag.dcs", LIMITS)
    for secret in (*PERSONAL.values(), "Doe", "ACME", "1.2.3.4.5"):
        assert secret.encode() not in scan.content, secret
    assert scan.acquisition == {"modality": "DX", "manufacturer": "Scanner Works", "DICOS version": "V03"}
    kept = dcmread(io.BytesIO(scan.content))
    assert kept.SOPClassUID == DX
    assert not [element for element in kept if element.tag.is_private]
    assert scan.media_type == "application/dicom"
    assert scan.sha256 == hashlib.sha256(scan.content).hexdigest()
    # The same scan of another passenger is the same scan.
    assert read_scan(make(ramp(1000), PatientName="Roe^Rob"), "b", LIMITS).sha256 == scan.sha256


HUGE = {"Rows": 60000, "Columns": 60000}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (make(ramp(9), **HUGE), "at most 4,000,000 pixels"),
        (make(ramp(9), NumberOfFrames=500), "a volume or a film"),
        (make(ramp(9), NumberOfFrames=3), "cut off: it holds fewer pixels"),
        (make(ramp(9), Rows=10, raw=b"\0" * 1600), "at least 16"),
        (make(ramp(9))[:-500], "damaged or cut off|fewer pixels"),
        (make(ramp(9))[:200], "damaged or cut off|no picture|transfer syntax"),
        (make(ramp(9))[:132], "damaged or cut off|transfer syntax"),
        (make(ramp(9), BitsAllocated=32), "of a kind that is not read"),
        (make(ramp(9), PhotometricInterpretation="HSV"), "of a kind that is not read"),
        (make(ramp(9, np.uint8), JPEGLosslessSV1, encapsulate([b"\xff\xd8\xff\xc3" + bytes(40)])), "codec for it"),
        (make(ramp(9, np.uint8), MPEG2MPML, encapsulate([bytes(40)])), "which is not read"),
        (make(ramp(9, np.uint8), JPEGBaseline8Bit, encapsulate([encoded("JPEG", (4000, 4000))])), "another size"),
        (make(ramp(9, np.uint8), JPEGBaseline8Bit, encapsulate([encoded("JPEG")[:-200]])), "damaged or cut off"),
        (make(ramp(9, np.uint8), JPEGBaseline8Bit, encapsulate([b"\0" * 64])), "another size"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_says_why(content: bytes, told: str) -> None:
    with pytest.raises(BadScan, match=told):
        read_scan(content, "bag.dcs", LIMITS)


def test_a_file_without_a_picture_names_its_kind() -> None:
    dataset = dcmread(io.BytesIO(make(ramp(9))))
    del dataset.PixelData
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.501.3"
    out = io.BytesIO()
    dcmwrite(out, dataset)
    with pytest.raises(BadScan, match=r"no picture .DICOS Threat Detection Report"):
        read_scan(out.getvalue(), "a", LIMITS)


def peak(content: bytes, told: str) -> float:
    """Megabytes taken while a file is refused."""
    tracemalloc.start()
    try:
        with pytest.raises(BadScan, match=told):
            read_scan(content, "bag.dcs", LIMITS)
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def test_bombs_are_refused_before_they_unfold() -> None:
    most = LIMITS.max_bytes / 2**20 * 4
    # Runs of zeros: two bytes for 128 pixels.
    rle = struct.pack("<16L", 1, 64, *[0] * 14) + b"\x81\x00" * 2_000_000
    assert peak(make(ramp(9, np.uint8), RLELossless, encapsulate([rle])), "more pixels than the file says") < most
    # Codes that stand for nothing, and the same runs said to be several parts.
    idle = struct.pack("<16L", 1, 64, *[0] * 14) + b"\x80" * 2_000_000
    assert peak(make(ramp(9, np.uint8), RLELossless, encapsulate([idle])), "more pixels than the file says") < most
    end = 64 + 2 * (ROWS * COLUMNS // 2)
    twice = struct.pack("<16L", 15, *[64, end] * 7, 64) + b"\xff\x00" * (ROWS * COLUMNS // 2)
    assert peak(make(ramp(9, np.uint8), RLELossless, encapsulate([twice])), "overlap") < most
    # A deflated data set of zeros.
    bomb = io.BytesIO()
    dataset = dcmread(io.BytesIO(make(np.zeros((2000, 2000), np.uint16))))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dcmwrite(bomb, dataset)
    assert peak(bomb.getvalue(), "deflated") < 2
    # A sequence of half a million empty items, before the pixels.
    content = make(ramp(9))
    items = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\0\0\0\0" * 500_000
    place = content.index(struct.pack("<HH2s", 0x0008, 0x0060, b"CS"))
    assert peak(content[:place] + items + content[place:], "far more fields") < 150


@pytest.mark.parametrize("seed", range(30))
def test_whatever_the_bytes_it_is_a_scan_or_a_bad_scan(seed: int) -> None:
    rng = np.random.default_rng(seed)
    content = bytearray(make(ramp(999), PerFrameFunctionalGroupsSequence=types_of_frames("LOW_ENERGY")))
    for place in rng.integers(132, 1400, 12):
        content[place] = rng.integers(256)
    with suppress(BadScan):
        assert read_scans(bytes(content), "a", LIMITS)
