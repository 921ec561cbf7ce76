"""DICOM and DICOS: every kind of pixel becomes the right picture, no name stays, nothing hostile fills the memory."""

from __future__ import annotations

import hashlib
import io
import struct
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread, dcmwrite
from pydicom.encaps import encapsulate
from pydicom.uid import (
    MPEG2MPML,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
)

from tests.scan.dicom_files import (
    COLUMNS,
    DX,
    LIMITS,
    PERSONAL,
    ROWS,
    dual,
    grey,
    make,
    ramp,
    run_length_encoded,
    types_of_frames,
)
from xray_app.errors import BadScan
from xray_app.scan.read import browser_picture, read_scan, read_scans


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
    np.testing.assert_array_equal(grey(run_length_encoded(make(deep))), grey(make(deep)))


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
    logs = (65535 * np.log(np.maximum(dual(), 1)) / np.log(65536)).round().astype(np.uint16)
    logarithmic = read_scan(make(logs, PixelIntensityRelationship="LOG", **names), "a", LIMITS)
    np.testing.assert_allclose(np.asarray(logarithmic.image).astype(int), np.asarray(plain).astype(int), atol=2)
    assert logarithmic.opaque_fraction == pytest.approx(0.25)
    # Of values that were made for a screen no material is made up: two grey views.
    views = read_scans(make(dual(), PixelIntensityRelationship="DISP", **names), "a", LIMITS)
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
        (make(ramp(9))[:132], "no picture .unknown kind"),
        (make(ramp(9), BitsAllocated=12), "of a kind that is not read"),
        (make(ramp(9), BitsStored=17), "17 of 16 bits"),
        (make(ramp(9), BitsStored=12, HighBit=10), "12 of 16 bits up to bit 10"),
        (make(ramp(9), SamplesPerPixel=3), "MONOCHROME2, 3 × 16 bits"),
        (make(ramp(9), RescaleSlope=0, RescaleIntercept=0), "rescales its values by no number"),
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


@pytest.mark.parametrize("seed", range(30))
def test_whatever_the_bytes_it_is_a_scan_or_a_bad_scan(seed: int) -> None:
    rng = np.random.default_rng(seed)
    content = bytearray(make(ramp(999), PerFrameFunctionalGroupsSequence=types_of_frames("LOW_ENERGY")))
    for place in rng.integers(132, 1400, 12):
        content[place] = rng.integers(256)
    with suppress(BadScan):
        assert read_scans(bytes(content), "a", LIMITS)
