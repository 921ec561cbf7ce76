"""Uploads: what is read, and how everything else is refused."""

from __future__ import annotations

import hashlib
import io
import struct
import time
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from xray_app.errors import BadInput, BadScan, ScanTooLarge
from xray_app.scan.pseudo_colour import opaque_fraction
from xray_app.scan.read import Limits, browser_picture, clean_filename, read_scan

LIMITS = Limits(max_bytes=2 * 2**20, max_pixels=50_000_000)
ORIENTATION = 0x0112


def picture(width: int = 120, height: int = 80) -> Image.Image:
    """A white picture with a dark blue left half and a black band of a tenth of its height on top."""
    image = Image.new("RGB", (width, height), "white")
    image.paste((20, 40, 160), (0, 0, width // 2, height))
    image.paste((0, 0, 0), (0, 0, width, height // 10))
    return image


def encoded(image: Image.Image, picture_format: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, picture_format, **options)
    return out.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises this many pixels and holds none."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [head, b"IDAT"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )


@pytest.mark.parametrize(
    ("picture_format", "media_type"),
    [
        ("PNG", "image/png"),
        ("JPEG", "image/jpeg"),
        ("WEBP", "image/webp"),
        ("BMP", "image/bmp"),
        ("TIFF", "image/tiff"),
    ],
)
def test_every_format_is_read(picture_format: str, media_type: str) -> None:
    content = encoded(picture(), picture_format)
    scan = read_scan(content, "bag.bin", LIMITS)
    assert (scan.image.mode, scan.width, scan.height) == ("RGB", 120, 80)
    assert scan.image.size == (scan.width, scan.height)
    assert scan.media_type == media_type
    assert scan.content == content
    assert scan.sha256 == scan.bag_id == hashlib.sha256(content).hexdigest()
    assert scan.opaque_fraction == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("picture_format", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_the_orientation_is_applied(picture_format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    scan = read_scan(encoded(picture(), picture_format, exif=exif), "a", LIMITS)
    assert (scan.width, scan.height) == ((120, 80) if orientation == 3 else (80, 120))
    # The black band lay on top: turned by half it lies below, by a quarter at a side.
    band = {3: (60, 78), 6: (78, 60), 8: (2, 60)}[orientation]
    assert max(scan.image.getpixel(band)) < 40


@pytest.mark.parametrize(
    ("mode", "picture_format"),
    [("1", "PNG"), ("L", "PNG"), ("P", "PNG"), ("CMYK", "JPEG"), ("CMYK", "TIFF"), ("L", "JPEG")],
)
def test_other_colour_modes_become_rgb(mode: str, picture_format: str) -> None:
    scan = read_scan(encoded(picture().convert(mode), picture_format), "a", LIMITS)
    assert scan.image.mode == "RGB"
    assert min(scan.image.getpixel((110, 70))) > 240
    assert max(scan.image.getpixel((110, 3))) < 40


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(mode: str) -> None:
    image = picture().convert(mode)
    image.putalpha(0)
    scan = read_scan(encoded(image, "PNG"), "a", LIMITS)
    assert scan.image.getextrema() == ((255, 255),) * 3


def test_a_transparent_palette_is_laid_on_white() -> None:
    image = Image.new("P", (40, 40), 0)
    scan = read_scan(encoded(image, "PNG", transparency=0), "a", LIMITS)
    assert scan.image.getextrema() == ((255, 255),) * 3


@pytest.mark.parametrize("picture_format", ["PNG", "TIFF"])
@pytest.mark.parametrize("highest", [255, 4095, 65535])
def test_sixteen_bit_grey_is_windowed_from_zero(picture_format: str, highest: int) -> None:
    values = np.tile(np.linspace(0, highest, 256).astype(np.uint16), (64, 1))
    scan = read_scan(encoded(Image.fromarray(values), picture_format), "a", LIMITS)
    grey = np.asarray(scan.image)
    assert (grey[..., 0] == grey[..., 2]).all()
    np.testing.assert_allclose(grey[0, :, 0], np.arange(256), atol=2)


def test_sixteen_bit_light_bags_get_no_false_black() -> None:
    values = np.full((64, 64), 60_000, np.uint16)
    values[:8] = 40_000
    scan = read_scan(encoded(Image.fromarray(values), "TIFF"), "a", LIMITS)
    assert scan.opaque_fraction == 0


def test_a_deep_tiff_where_white_is_zero_is_turned_round() -> None:
    values = np.zeros((64, 64), np.uint16)
    values[:32] = 65535
    content = encoded(Image.fromarray(values), "TIFF", tiffinfo={262: 0})
    scan = read_scan(content, "a", LIMITS)
    assert scan.image.getpixel((5, 5)) == (0, 0, 0)
    assert scan.image.getpixel((5, 60)) == (255, 255, 255)


def test_float_pictures_are_read_unless_they_hold_no_numbers() -> None:
    values = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (64, 1))
    assert read_scan(encoded(Image.fromarray(values), "TIFF"), "a", LIMITS).image.getpixel((63, 0)) == (255,) * 3
    values[3, 3] = np.nan
    with pytest.raises(BadScan, match="not numbers"):
        read_scan(encoded(Image.fromarray(values), "TIFF"), "a", LIMITS)


@pytest.mark.parametrize("picture_format", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_file_is_refused(picture_format: str, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (80, 120, 3), np.uint8)
    content = encoded(Image.fromarray(noise), picture_format)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # as some libraries leave it
    with pytest.raises(BadScan):
        read_scan(content[: int(len(content) * share)], "a", LIMITS)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"PK\x03\x04" + bytes(100), "ZIP"),
        (b"%PDF-1.7\n", "PDF"),
        (b"<html><body>", "web page"),
        (b"hello " * 100, "not a picture"),
        (bytes(128) + b"DICM" + bytes(100), "DICOM"),
        (encoded(picture(), "GIF"), "GIF"),
        (encoded(picture(), "GIF", save_all=True, append_images=[picture().rotate(90)]), "GIF"),
        (encoded(picture(), "WEBP", save_all=True, append_images=[picture().rotate(90)]), "several pictures"),
        (encoded(picture(), "PNG", save_all=True, append_images=[picture().rotate(90)]), "several pictures"),
        (encoded(picture(), "TIFF", save_all=True, append_images=[picture()]), "several pictures"),
        (encoded(picture(1, 1), "PNG"), "1×1"),
        (encoded(picture(15, 400), "PNG"), "at least 16"),
        (encoded(picture(1000, 16), "PNG"), "50 times"),
        (png_header(30_000, 30_000), "at most 50,000,000"),
        (png_header(8_000, 8_000), "8000×8000"),
        (png_header(0, 0), "not a picture"),
        (png_header(100, 100), "damaged or cut off"),
    ],
)
def test_what_is_no_scan_is_refused_and_says_why(content: bytes, says: str) -> None:
    with pytest.raises(BadScan, match=says) as caught:
        read_scan(content, "scan.png", LIMITS)
    assert caught.value.http_status == 422


@pytest.mark.parametrize("size", [(16, 400), (800, 16), (16, 16)])
def test_the_narrowest_and_the_longest_pictures_are_read(size: tuple[int, int]) -> None:
    assert read_scan(encoded(picture(*size), "PNG"), "a", LIMITS).image.size == size


def test_a_picture_of_exactly_the_limits_is_read_and_one_past_them_is_not() -> None:
    content = encoded(picture(100, 80), "PNG")
    assert read_scan(content, "a", Limits(len(content), 8000)).width == 100
    with pytest.raises(ScanTooLarge):
        read_scan(content, "a", Limits(len(content) - 1, 8000))
    with pytest.raises(BadScan, match="at most 7,999 pixels"):
        read_scan(content, "a", Limits(len(content), 7999))


def test_too_many_bytes_are_refused_before_anything_is_read() -> None:
    with pytest.raises(ScanTooLarge, match="at most 2 MB") as caught:
        read_scan(bytes(3 * 2**20), "a.png", LIMITS)
    assert caught.value.http_status == 413


def test_a_cameras_jpeg_with_a_preview_is_one_picture() -> None:
    content = encoded(picture(), "MPO", save_all=True, append_images=[picture(60, 40)])
    scan = read_scan(content, "a.jpg", LIMITS)
    assert (scan.media_type, scan.width) == ("image/jpeg", 120)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("bag.png", "bag.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\scans\\bag 1.png", "bag 1.png"),
        ("a\x00b\r\nc\x1b[31m.png", "abc[31m.png"),
        ("bag\u202egnp.exe", "baggnp.exe"),
        ("\u2028tas\u0301ka\ud800.png", "ta\u015bka.png"),
        ("  ..bag.. ", "bag"),
        ("", "scan"),
        ("..", "scan"),
        ("a/", "scan"),
    ],
)
def test_file_names_are_cleaned(given: str, kept: str) -> None:
    assert clean_filename(given) == kept


def test_long_file_names_keep_their_ending() -> None:
    name = clean_filename("x" * 10_000 + ".tiff")
    assert len(name) == 200
    assert name.endswith("x.tiff")
    assert len(clean_filename("." + "y" * 10_000)) == 200


def test_bag_view_and_scanner() -> None:
    content = encoded(picture(), "PNG")
    scan = read_scan(content, "a", LIMITS, bag_id=" B-17 ", view="top", scanner_id="lane 3")
    assert (scan.bag_id, scan.view, scan.scanner_id) == ("B-17", "top", "lane 3")
    blank = read_scan(content, "a", LIMITS, bag_id=" ", view="", scanner_id=None)
    assert (blank.bag_id, blank.view, blank.scanner_id) == (blank.sha256, None, None)


@pytest.mark.parametrize(
    "given",
    [
        {"bag_id": "x" * 65},
        {"view": "x" * 33},
        {"scanner_id": "x" * 65},
        {"bag_id": "a\x00b"},
        {"view": "a\nb"},
        {"scanner_id": "\u202eab"},
        {"bag_id": "a/b"},
        {"bag_id": ".."},
    ],
)
def test_bad_bag_view_or_scanner_is_named(given: dict[str, str]) -> None:
    with pytest.raises(BadInput, match=next(iter(given))):
        read_scan(encoded(picture(), "PNG"), "a", LIMITS, **given)


def test_opaque_is_what_no_channel_gets_through() -> None:
    assert opaque_fraction(Image.new("RGB", (50, 50), "black")) == 1
    assert opaque_fraction(Image.new("RGB", (50, 50), (39, 39, 39))) == 1
    assert opaque_fraction(Image.new("RGB", (50, 50), (40, 0, 0))) == 0
    # Thin steel: dark, yet seen through.
    assert opaque_fraction(Image.new("RGB", (50, 50), (0, 0, 120))) == 0
    assert opaque_fraction(picture()) == pytest.approx(0.1)


def test_opaque_fraction_is_quick() -> None:
    image = picture(1000, 700)
    opaque_fraction(image)
    start = time.process_time()
    for _ in range(5):
        opaque_fraction(image)
    assert (time.process_time() - start) / 5 < 0.05


def test_browsers_get_the_upright_picture() -> None:
    plain = encoded(picture(), "JPEG")
    assert browser_picture(plain, LIMITS) == (plain, "image/jpeg")
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    deep = Image.fromarray(np.full((80, 120), 500, np.uint16))
    for content in (
        encoded(picture(), "TIFF"),
        encoded(picture(), "BMP"),
        encoded(picture(), "JPEG", exif=exif),
        encoded(picture().convert("RGBA"), "PNG"),
        encoded(deep, "PNG"),
    ):
        shown, media_type = browser_picture(content, LIMITS)
        assert media_type == "image/png"
        with Image.open(io.BytesIO(shown)) as image:
            assert image.tobytes() == read_scan(content, "a", LIMITS).image.tobytes()
