"""The standard's transforms: one bag looks alike however it is written, and other grey is shown as pydicom has it."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pydicom.data
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, JPEG2000Lossless

from tests.scan.dicom_files import LIMITS, Values, again, deflated, grey, item, make, run_length_encoded
from xray_app.errors import BadScan
from xray_app.scan.read import Limits, Scan, read_scan, read_scans

AIR, STEEL = 3800, 120


def bag() -> Values:
    """What came through a bag, in levels of a detector of 12 bits: plastic, cloth, water, thin and thick steel."""
    levels = np.full((60, 80), AIR, np.uint16)
    for place, level in enumerate((3000, 2210, 1400, 640, STEEL)):
        levels[10:50, 10 + 12 * place : 20 + 12 * place] = level
    return levels


BAG = bag()
LOGS = np.log(AIR / BAG)
"""Log attenuation."""


def signed(values: Values) -> Values:
    return values.astype(np.int16)


def jpeg_2000(values: Values) -> bytes:
    out = io.BytesIO()
    Image.fromarray(values).save(out, "JPEG2000", irreversible=False, no_jp2=True)
    return out.getvalue()


def table(values: Values) -> Dataset:
    """A modality table from logarithms of twelve bits to what came through."""
    return item(LUTDescriptor=[4096, 0, 16], LUTData=values.astype(np.uint16).tobytes(), ModalityLUTType="US")


TWELVE = {"BitsStored": 12, "HighBit": 11}
JUNK = np.random.default_rng(3).integers(0, 15, BAG.shape).astype(np.uint16)
FROM_LOGS = np.exp(np.arange(4096) / 4095 * np.log(4096)).round()
"""What came through, of logarithms spread over twelve bits."""

ENCODINGS: dict[str, Callable[[], bytes]] = {
    "12 bits in 16": lambda: make(BAG, **TWELVE),
    "bits above the highest": lambda: make(BAG | JUNK << 12, **TWELVE),
    "high bit at the top": lambda: make(BAG << 4 | JUNK, BitsStored=12, HighBit=15),
    "high bit in between": lambda: make(BAG << 2, BitsStored=12, HighBit=13),
    "signed from zero": lambda: make(signed(BAG)),
    "signed with noise below zero": lambda: make(signed(np.where(np.arange(80) == 0, -3, BAG))),
    "signed with intercept": lambda: make(signed(BAG) - np.int16(1000), RescaleIntercept=1000, RescaleSlope=1),
    "signed, intercept lost": lambda: make(signed(BAG) - np.int16(2048)),
    "signed 12 bits at the top": lambda: make((signed(BAG) - np.int16(2048)) << 4, BitsStored=12, HighBit=15),
    "intercept to below zero": lambda: make(BAG, RescaleIntercept=-1024, RescaleSlope=1),
    "slope": lambda: make(BAG * 8, RescaleIntercept=0, RescaleSlope=0.125),
    "slope of a frame's group": lambda: make(
        BAG * 8 + 80,
        PerFrameFunctionalGroupsSequence=[
            item(PixelValueTransformationSequence=[item(RescaleIntercept=-80, RescaleSlope=1)])
        ],
    ),
    "MONOCHROME1": lambda: make(4095 - BAG, PhotometricInterpretation="MONOCHROME1", **TWELVE),
    "MONOCHROME1 in 16 bits": lambda: make(4095 - BAG, PhotometricInterpretation="MONOCHROME1"),
    "MONOCHROME1 signed": lambda: make(signed(4095 - BAG) - np.int16(2048), PhotometricInterpretation="MONOCHROME1"),
    "MONOCHROME1 by slope": lambda: make(
        BAG, PhotometricInterpretation="MONOCHROME1", RescaleSlope=-1, RescaleIntercept=0
    ),
    "LIN": lambda: make(BAG, PixelIntensityRelationship="LIN", PixelIntensityRelationshipSign=1),
    "LIN, white metal": lambda: make(
        BAG,
        PixelIntensityRelationship="LIN",
        PixelIntensityRelationshipSign=1,
        PhotometricInterpretation="MONOCHROME1",
    ),
    "LIN, sign -1": lambda: make(
        4095 - BAG, PixelIntensityRelationship="LIN", PixelIntensityRelationshipSign=-1, **TWELVE
    ),
    "LIN, sign -1, slope -1": lambda: make(
        4095 - BAG,
        PixelIntensityRelationship="LIN",
        PixelIntensityRelationshipSign=-1,
        RescaleSlope=-1,
        RescaleIntercept=4095,
    ),
    "LOG over 16 bits": lambda: make(
        (65535 * np.log(BAG * 16.0) / np.log(65536)).round().astype(np.uint16),
        PixelIntensityRelationship="LOG",
        PixelIntensityRelationshipSign=1,
    ),
    "LOG over 12 of 16 bits, sign -1": lambda: make(
        (4095 - 4095 * np.log(BAG) / np.log(4096)).round().astype(np.uint16),
        PixelIntensityRelationship="LOG",
        PixelIntensityRelationshipSign=-1,
        **TWELVE,
    ),
    "LOG in natural units": lambda: make(
        (LOGS * 1000).round().astype(np.uint16),
        PixelIntensityRelationship="LOG",
        PixelIntensityRelationshipSign=-1,
        RescaleSlope=0.001,
        RescaleIntercept=0,
    ),
    "LOG as optical density": lambda: make(
        (LOGS / np.log(10) * 1000).round().astype(np.uint16),
        PixelIntensityRelationship="LOG",
        PixelIntensityRelationshipSign=-1,
        RescaleSlope=1,
        RescaleIntercept=0,
        RescaleType="OD",
    ),
    "LOG with a table": lambda: make(
        (4095 * np.log(BAG) / np.log(4096)).round().astype(np.uint16),
        PixelIntensityRelationship="LOG",
        PixelIntensityRelationshipSign=1,
        ModalityLUTSequence=[table(FROM_LOGS)],
        **TWELVE,
    ),
    "a narrow window": lambda: make(BAG, WindowCenter=2600, WindowWidth=500),
    "a padded line": lambda: make(
        signed(np.where(np.arange(80) == 0, -32768, BAG)), PixelPaddingValue=-32768, PixelPaddingRangeLimit=-32768
    ),
    "deflated": lambda: deflated(make(BAG)),
    "32 bits": lambda: make(BAG.astype(np.uint32) * 70_000),
    "32 bits big-endian": lambda: make(BAG.astype(np.int32) * 70_000, ExplicitVRBigEndian),
    "fractions": lambda: again(
        make(BAG.astype(np.uint32)), FloatPixelData=(BAG / AIR).astype("<f4").tobytes(), PixelData=None
    ),
    "big-endian": lambda: make(BAG, ExplicitVRBigEndian),
    "implicit": lambda: make(BAG, ImplicitVRLittleEndian),
    "RLE": lambda: run_length_encoded(make(BAG)),
    "JPEG 2000": lambda: make(BAG, JPEG2000Lossless, encapsulate([jpeg_2000(BAG)])),
    "no preamble": lambda: make(BAG)[132:],
    "no empty bytes before the prefix": lambda: make(BAG)[128:],
    "no head at all": lambda: bare(make(BAG)),
    "no head, implicit": lambda: bare(make(BAG, ImplicitVRLittleEndian)),
    "no head, big-endian": lambda: bare(make(BAG, ExplicitVRBigEndian)),
}  # fmt: skip


def bare(content: bytes) -> bytes:
    """The data set alone, which begins with group 8."""
    start = 132
    while content[start : start + 2] == b"\x02\x00":
        length = int.from_bytes(content[start + 6 : start + 8], "little")
        if content[start + 4 : start + 6] == b"OB":
            length = 4 + int.from_bytes(content[start + 8 : start + 12], "little")
        start += 8 + length
    return content[start:]


@pytest.mark.parametrize("name", ENCODINGS)
def test_one_bag_looks_alike_however_it_is_written(name: str) -> None:
    content = ENCODINGS[name]()
    (scan,) = read_scans(content, "bag.dcm", LIMITS)
    seen = np.asarray(scan.image)[:, 1:, 0].astype(int)
    np.testing.assert_allclose(seen, (BAG * (255 / AIR)).round().astype(int)[:, 1:], atol=1)
    assert seen[30, 59 + 4] == pytest.approx(255 * STEEL / AIR, abs=1)  # never white
    dense = float((BAG * (255 / AIR) < 39.5).mean())
    assert scan.opaque_fraction == pytest.approx(dense, abs=0.02)
    # What is stored reads as the same picture.
    stored = read_scan(scan.content, "bag.dcm", LIMITS)
    np.testing.assert_array_equal(np.asarray(stored.image), np.asarray(scan.image))
    assert (stored.sha256, stored.opaque_fraction) == (scan.sha256, scan.opaque_fraction)


def test_views_and_their_own_slopes() -> None:
    views = np.stack([BAG, BAG[:, ::-1] * 4, BAG])
    groups = [
        item(PixelValueTransformationSequence=[item(RescaleSlope=slope, RescaleIntercept=0)]) for slope in (1, 0.25, 2)
    ]
    scans = read_scans(make(views, PerFrameFunctionalGroupsSequence=groups), "bag.dcm", LIMITS)
    first, second, third = (np.asarray(scan.image) for scan in scans)
    np.testing.assert_allclose(second[:, ::-1].astype(int), first.astype(int), atol=1)
    np.testing.assert_array_equal(third, first)


def test_energies_with_slopes_of_their_own_keep_their_colours() -> None:
    names = {"ImageType": ["ORIGINAL", "PRIMARY", "LOW_ENERGY", "HIGH_ENERGY"]}
    low, high = BAG, (AIR * (BAG / AIR) ** 0.5).astype(np.uint16)
    plain = read_scan(make(np.stack([low, high]), **names), "a", LIMITS)
    groups = [
        item(PixelValueTransformationSequence=[item(RescaleSlope=1, RescaleIntercept=less)]) for less in (-500, -2000)
    ]
    moved = make(np.stack([low + 500, high + 2000]), PerFrameFunctionalGroupsSequence=groups, **names)
    for content in (moved, read_scan(moved, "a", LIMITS).content, make(signed(np.stack([low, high])), **names)):
        scan = read_scan(content, "a", LIMITS)
        np.testing.assert_allclose(np.asarray(scan.image).astype(int), np.asarray(plain.image).astype(int), atol=1)
        assert scan.opaque_fraction == plain.opaque_fraction


@pytest.mark.parametrize("weak_first", [True, False])
@pytest.mark.parametrize("as_signed", [True, False])
def test_metal_too_dense_for_both_energies_is_as_dark_as_at_the_weaker_alone(weak_first: bool, as_signed: bool) -> None:
    """It would be told as opaque and shown in a bright blue that one seems to see through."""
    low, high = np.full((2, 60, 80), 30_000.0)
    low[:, 40:60], high[:, 40:60] = 1_200, 5_000  # 4 and 17 % come through: 0.08 in the mean of the logarithms
    low[:, 60:], high[:, 60:] = 6_000, 13_000
    energies = np.stack([low, high] if weak_first else [high, low]).astype(np.uint16)
    names = ("LOW_ENERGY", "HIGH_ENERGY") if weak_first else ("HIGH_ENERGY", "LOW_ENERGY")
    content = make(signed(energies) if as_signed else energies, ImageType=["ORIGINAL", "PRIMARY", *names])
    scan = read_scan(content, "bag.dcm", LIMITS)
    alone = read_scan(make(low.astype(np.uint16)), "bag.dcm", LIMITS)
    assert scan.image.getpixel((50, 30)) == alone.image.getpixel((50, 30)) == (10, 10, 10)
    assert scan.opaque_fraction == alone.opaque_fraction == 0.25
    red, green, blue = scan.image.getpixel((70, 30))
    assert blue > green > red
    assert blue > 100, "thinner metal keeps its colour"


def test_colour_fades_into_the_dark_without_an_edge_and_what_is_opaque_is_never_bright() -> None:
    depth = np.tile(np.linspace(0.5, 4, 400), (32, 1))
    low, high = (60_000 * np.exp(-depth * share) for share in (1.35, 0.65))
    low[:, :9], high[:, :9] = 60_000, 60_000
    scan = read_scan(
        make(np.stack([low, high]).astype(np.uint16), ImageType=["A", "B", "LOW_ENERGY", "HIGH_ENERGY"]), "a", LIMITS
    )
    brightest = np.asarray(scan.image)[0, 9:].max(1).astype(int)
    assert (np.diff(brightest) <= 1).all(), "the denser, the darker"
    assert np.diff(brightest).min() > -8
    opaque = brightest < 40
    assert scan.opaque_fraction == pytest.approx(opaque.mean() * 391 / 400, abs=0.02)


def test_a_light_bag_of_logarithms_is_not_opaque_and_a_dense_one_is() -> None:
    def scan_of(depth: float) -> Scan:
        logs = np.zeros((40, 40))
        logs[:20] = depth
        return read_scan(
            make(
                (logs * 1000).astype(np.uint16),
                PixelIntensityRelationship="LOG",
                PixelIntensityRelationshipSign=-1,
                RescaleSlope=0.001,
                RescaleIntercept=0,
            ),
            "a",
            LIMITS,
        )

    # 255·e^-1.86 is shown as 40 of 255, 255·e^-1.88 as 39.
    assert scan_of(1.86).opaque_fraction == 0
    assert scan_of(1.88).opaque_fraction == 0.5


def test_a_computed_tomogram_has_no_attenuation_of_a_beam() -> None:
    numbers = signed(np.tile(np.linspace(0, 2000, 80), (60, 1)))
    fields = {"RescaleIntercept": -1000, "RescaleSlope": 1, "RescaleType": "HU"}
    windowed = grey(make(numbers, WindowCenter=0, WindowWidth=400, **fields))
    assert (windowed[:, numbers[0] < 790] == 0).all()
    assert (windowed[:, numbers[0] > 1210] == 255).all()
    turned = grey(make(numbers, WindowCenter=0, WindowWidth=400, PhotometricInterpretation="MONOCHROME1", **fields))
    np.testing.assert_allclose(turned, 255 - windowed, atol=1)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_are_the_standards(function: str) -> None:
    values = np.tile(np.arange(0, 4000, 50), (60, 1)).astype(np.uint16)
    content = make(
        values,
        PixelIntensityRelationship="DISP",
        WindowCenter=[1800, 10],
        WindowWidth=[900, 10],
        VOILUTFunction=function,
        **TWELVE,
    )
    np.testing.assert_allclose(grey(content), expected(dcmread(io.BytesIO(content)), values), atol=1)


def test_a_table_for_the_screen_is_followed() -> None:
    values = np.tile(np.arange(80), (60, 1)).astype(np.uint16)
    steps = item(LUTDescriptor=[40, 20, 16], LUTData=(np.arange(40) ** 2 * 43).astype(np.uint16).tobytes())
    content = make(values, PixelIntensityRelationship="DISP", VOILUTSequence=[steps])
    shown = grey(content)[5]
    np.testing.assert_allclose(shown, [(min(max(v - 20, 0), 39) ** 2 * 43) * 255 / 65535 for v in range(80)], atol=1)


# --- all files that come with pydicom ---------------------------------------------------------------------------

FILES = Path(pydicom.data.__file__).parent / "test_files"
PLENTY = Limits(2**30, 10**8)


def expected(dataset: Dataset, frame: Values) -> Values:
    """A frame as pydicom's own transforms have it, in 8 bits; grey without window or table stays as rescaled."""
    if dataset.SamplesPerPixel == 3:
        return frame >> max(dataset.BitsStored - 8, 0)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        return pydicom.pixels.apply_color_lut(frame, dataset) >> 8
    values = apply_modality_lut(frame, dataset)
    if not dataset.get("WindowWidth") and not dataset.get("VOILUTSequence"):
        return values
    least, most = apply_voi_lut(np.array([-1e7, 1e7]), dataset)
    shown = (apply_voi_lut(values, dataset) - least) * (255 / (most - least))
    return 255 - shown if dataset.PhotometricInterpretation == "MONOCHROME1" else shown


def readable() -> dict[str, tuple[Dataset, Values]]:
    """The bundled files that pydicom by itself decodes, with their frames."""
    found = {}
    for path in sorted(FILES.rglob("*")):
        if not path.is_file():
            continue
        try:
            dataset = dcmread(path, force=True)
            pixels = dataset.pixel_array
        except Exception:  # noqa: BLE001, S112
            continue
        several = int(dataset.get("NumberOfFrames") or 1) > 1
        if dataset.BitsAllocated > 1 and min(dataset.Rows, dataset.Columns) >= 16:
            found[str(path.relative_to(FILES))] = (dataset, pixels if several else pixels[None])
    return found


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    READABLE = readable()


def test_pydicom_brings_its_files() -> None:
    assert len(READABLE) >= 40


@pytest.mark.parametrize("name", READABLE)
def test_every_file_of_pydicom_is_shown_as_pydicom_has_it(name: str) -> None:
    dataset, frames = READABLE[name]
    content = (FILES / name).read_bytes()
    if len(frames) > 16:
        with pytest.raises(BadScan, match="a volume or a film"):
            read_scans(content, name, PLENTY)
        return
    scans = read_scans(content, name, PLENTY)
    assert len(scans) == len(frames)
    for scan, frame in zip(scans, frames, strict=True):
        seen, wanted = np.asarray(scan.image).astype(float), expected(dataset, frame)
        if wanted.ndim == 3:
            np.testing.assert_allclose(seen, wanted[..., :3], atol=1)
        elif dataset.get("WindowWidth") or dataset.get("VOILUTSequence"):
            np.testing.assert_allclose(seen[..., 0], wanted, atol=1)
        else:  # over the range of the values: a straight line wherever nothing is clipped
            inside = (seen[..., 0] > 0) & (seen[..., 0] < 255)
            slope, start = np.polyfit(wanted[inside], seen[..., 0][inside], 1)
            assert slope > 0
            np.testing.assert_allclose(np.clip(wanted * slope + start, 0, 255), seen[..., 0], atol=1.5)
        np.testing.assert_array_equal(np.asarray(read_scan(scan.content, name, PLENTY).image), seen)


@pytest.mark.parametrize(
    "name",
    [
        "JPEGLSNearLossless_08.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "SC_rgb_jpeg_gdcm.dcm",  # JPEG Lossless
        "JPGExtended.dcm",  # 12 bits
    ],
)
def test_a_missing_codec_is_called_so_and_named(name: str) -> None:
    if name in READABLE:
        pytest.skip("the codec is installed here")
    with pytest.raises(BadScan, match="pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg") as caught:
        read_scans((FILES / name).read_bytes(), name, PLENTY)
    assert "codec for it is missing" in caught.value.message


@pytest.mark.parametrize(
    "path", sorted(path for path in FILES.rglob("*") if path.is_file()), ids=lambda path: path.name
)
def test_every_other_file_of_pydicom_is_read_or_refused(path: Path) -> None:
    with suppress(BadScan):
        assert read_scans(path.read_bytes(), path.name, PLENTY)
