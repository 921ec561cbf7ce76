"""TIFFs of two samples are the two energies, however they are laid out; 32 bits, deflate and hostile headers."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.scan.dicom_files import COLUMNS, ROWS, Values, dual
from xray_app.errors import BadScan
from xray_app.scan.read import Limits, browser_picture, read_scan

LIMITS = Limits(8 * 2**20, 4_000_000)
DEFLATE = 8
HORIZONTAL = 2


def tiff(
    samples: Values,
    order: str = "<",
    compression: int = 1,
    planar: bool = False,
    predictor: int = 1,
    rows: int = 16,
    tile: int = 0,
    **tags: Any,
) -> bytes:
    """A TIFF of (rows, columns, samples), in strips of so many rows, or square tiles of so many pixels."""
    height, width, count = samples.shape
    kind = {"u": 1, "i": 2, "f": 3}[samples.dtype.kind]
    parts = [samples[..., n : n + 1] for n in range(count)] if planar else [samples]
    pieces = []
    for part in parts:
        for top in range(0, height, tile or rows):
            for left in range(0, width, tile or width):
                piece = part[top : top + (tile or rows), left : left + (tile or width)]
                if tile:
                    piece = np.pad(piece, [(0, tile - piece.shape[0]), (0, tile - piece.shape[1]), (0, 0)])
                if predictor == HORIZONTAL:
                    piece = np.diff(piece, axis=1, prepend=np.zeros_like(piece[:, :1]))
                data = piece.astype(piece.dtype.newbyteorder(order)).tobytes()
                pieces.append(zlib.compress(data) if compression == DEFLATE else data)
    body, offsets = b"", []
    for data in pieces:
        offsets.append(8 + len(body))
        body += data + b"\0" * (len(data) % 2)
    places, lengths = (324, 325) if tile else (273, 279)
    values: dict[int, list[int]] = {
        256: [width], 257: [height], 258: [samples.dtype.itemsize * 8] * count, 259: [compression], 262: [1],
        places: offsets, 277: [count], lengths: [len(data) for data in pieces], 284: [2 if planar else 1],
        317: [predictor], 339: [kind] * count,
    } | ({322: [tile], 323: [tile]} if tile else {278: [rows]})  # fmt: skip
    values |= {int(tag[1:]): value for tag, value in tags.items()}
    return (
        (b"II" if order == "<" else b"MM")
        + struct.pack(order + "HL", 42, 8 + len(body))
        + body
        + directory(values, order, 8 + len(body))
    )


def directory(values: dict[int, list[int]], order: str, place: int, following: int = 0) -> bytes:
    entries, behind = b"", b""
    after = place + 2 + 12 * len(values) + 4
    for tag, numbers in sorted(values.items()):
        packed = struct.pack(f"{order}{len(numbers)}L", *numbers)
        if len(numbers) > 1:
            behind, packed = behind + packed, struct.pack(order + "L", after + len(behind))
        entries += struct.pack(order + "HHL", tag, 4, len(numbers)) + packed
    return struct.pack(order + "H", len(values)) + entries + struct.pack(order + "L", following) + behind


def energies(dtype: type = np.uint16) -> Values:
    """Low and high energy as samples of a pixel."""
    both = np.moveaxis(dual(), 0, 2)
    if dtype is np.uint8:
        return (both >> 8).astype(np.uint8)
    return (
        (both / 60000).astype(dtype) if dtype is np.float32 else both.astype(dtype) * (4 if dtype is np.uint32 else 1)
    )


LAYOUTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "big-endian": {"order": ">"},
    "deflated": {"compression": DEFLATE},
    "deflated big-endian": {"compression": DEFLATE, "order": ">"},
    "one plane after the other": {"planar": True},
    "planes, deflated, differences": {"planar": True, "compression": DEFLATE, "predictor": HORIZONTAL},
    "differences": {"compression": DEFLATE, "predictor": HORIZONTAL},
    "tiles": {"tile": 32},
    "tiles, deflated, differences": {"tile": 32, "compression": DEFLATE, "predictor": HORIZONTAL},
    "one strip": {"rows": ROWS},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_two_samples_are_low_and_high_energy(layout: str) -> None:
    content = tiff(energies(), **LAYOUTS[layout])
    scan = read_scan(content, "bag.tif", LIMITS)
    air, bottle, steel, lead = (scan.image.getpixel((x, 30)) for x in (5, 30, 50, 70))
    assert air == (255, 255, 255)
    assert bottle[0] > bottle[1] > bottle[2]  # orange
    assert steel[2] > steel[1] > steel[0]  # blue
    assert lead == (0, 0, 0)
    assert scan.opaque_fraction == pytest.approx(0.25)
    assert (scan.width, scan.height, scan.media_type) == (COLUMNS, ROWS, "image/tiff")
    shown, media_type = browser_picture(content, LIMITS)
    assert media_type == "image/png"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(shown))), np.asarray(scan.image))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.float32])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [1, DEFLATE])
def test_two_samples_of_other_depths_look_alike(dtype: type, order: str, compression: int) -> None:
    wanted = np.asarray(read_scan(tiff(energies()), "a", LIMITS).image).astype(int)
    samples = energies(dtype) if dtype is not np.int16 else (energies() // 2).astype(np.int16)
    scan = read_scan(tiff(samples, order, compression), "a", LIMITS)
    np.testing.assert_allclose(np.asarray(scan.image).astype(int), wanted, atol=4 if dtype is np.uint8 else 1)
    assert scan.opaque_fraction == pytest.approx(0.25)


def test_the_energy_that_lets_less_through_is_the_low_one() -> None:
    plain, turned = (read_scan(tiff(samples), "a", LIMITS) for samples in (energies(), energies()[..., ::-1]))
    np.testing.assert_array_equal(np.asarray(turned.image), np.asarray(plain.image))


def test_two_samples_where_white_is_zero_and_the_scan_is_turned() -> None:
    plain = read_scan(tiff(energies()), "a", LIMITS)
    white = read_scan(tiff(65535 - energies(), t262=[0]), "a", LIMITS)
    np.testing.assert_allclose(np.asarray(white.image).astype(int), np.asarray(plain.image).astype(int), atol=2)
    turned = read_scan(tiff(energies(), t274=[6]), "a", LIMITS)
    assert (turned.width, turned.height) == (ROWS, COLUMNS)
    np.testing.assert_array_equal(np.rot90(np.asarray(turned.image)), np.asarray(plain.image))


def test_transparency_is_no_energy() -> None:
    grey = np.full((40, 40, 2), (90, 255), np.uint8)
    assert read_scan(tiff(grey, t338=[2]), "a", LIMITS).image.getpixel((5, 5)) == (90, 90, 90)
    grey[..., 1] = 0
    assert read_scan(tiff(grey, t338=[2]), "a", LIMITS).image.getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [1, DEFLATE])
@pytest.mark.parametrize("white", [0, 1])
def test_thirty_two_bits_use_all_of_them(order: str, compression: int, white: int) -> None:
    values = np.tile(np.linspace(0, 4e9, 80), (60, 1)).astype(np.uint32)
    content = tiff(values[..., None], order, compression, t262=[white])
    seen = np.asarray(read_scan(content, "a", LIMITS).image)[5, :, 0]
    wanted = np.linspace(0, 255, 80) if white else (2**32 - np.linspace(0, 4e9, 80)) * 255 / 2**32
    np.testing.assert_allclose(seen, wanted, atol=1)


def test_a_big_tiff_is_read() -> None:
    values = np.tile(np.linspace(0, 5000, 80), (60, 1)).astype(np.uint16)
    out = io.BytesIO()
    Image.fromarray(values).save(out, "TIFF", big_tiff=True)
    assert out.getvalue()[2] == 43
    np.testing.assert_allclose(
        np.asarray(read_scan(out.getvalue(), "a", LIMITS).image)[5, :, 0], np.linspace(0, 255, 80), atol=1
    )


def test_signed_values_are_not_washed_out() -> None:
    values = np.full((60, 80, 1), 2600, np.int16)
    values[:20] = 90
    for samples in (values, values - np.int16(2048)):
        seen = np.asarray(read_scan(tiff(samples), "a", LIMITS).image)
        assert seen[5, 5, 0] == pytest.approx(255 * 90 / 2600, abs=1)
        assert seen[50, 5, 0] == 255


ONE = np.zeros((40, 40, 1), np.uint8)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (tiff(energies(), t258=[16, 8]), "samples of 16 and 8 bits"),
        (tiff(energies(), t258=[64, 64]), "samples of 64 and 64 bits"),
        (tiff(energies(), t259=[7]), "compression that is not read"),
        (tiff(energies(np.float32), t317=[3]), "predictor"),
        (tiff(energies())[:3000], "damaged or cut off"),
        (tiff(ONE, t322=[30000], t323=[30000], t324=[8], t325=[1600]), "tiles are far larger"),
        (tiff(ONE, tile=1040), "tiles are far larger"),
        (tiff(ONE, t700=[0] * 600_001), "far more fields"),
        (tiff(ONE, **{f"t{tag}": [1] for tag in range(1000, 1500)}), "far more fields"),
        (tiff(ONE)[:20], "damaged or cut off"),
        (tiff(np.zeros((10, 40, 2), np.uint16)), "at least 16"),
        (tiff(energies(), t256=[4000], t257=[4000]), "at most 4,000,000"),
    ],
)
def test_what_cannot_be_read_says_why(content: bytes, says: str) -> None:
    with pytest.raises(BadScan, match=says):
        read_scan(content, "a.tif", LIMITS)


def test_a_tile_a_little_larger_than_the_picture_is_read() -> None:
    assert read_scan(tiff(ONE, tile=1024), "a", LIMITS).image.getpixel((39, 39)) == (0, 0, 0)


def test_pages_are_refused_without_walking_through_them() -> None:
    one = tiff(ONE)
    place = struct.unpack_from("<L", one, 4)[0]
    count = struct.unpack_from("<H", one, place)[0]
    following = place + 2 + 12 * count
    with pytest.raises(BadScan, match="several pictures"):
        read_scan(one[:following] + struct.pack("<L", place) + one[following + 4 :], "a", LIMITS)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_the_bytes_it_is_a_scan_or_a_bad_scan(seed: int) -> None:
    rng = np.random.default_rng(seed)
    content = bytearray(tiff(energies(), compression=DEFLATE if seed % 2 else 1, tile=32 if seed % 3 else 0))
    place = struct.unpack_from("<L", content, 4)[0]
    for at in rng.integers(place, len(content), 6):
        content[at] = rng.integers(256)
    try:
        scan = read_scan(bytes(content), "a", LIMITS)
    except BadScan:
        return
    assert scan.image.size == (scan.width, scan.height)
