"""Small files that hold far more than they should are refused before they burst, with little memory."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from tests.scan.dicom_files import COLUMNS, ROWS, deflated, make, ramp
from tests.scan.test_tiff import ONE, tiff

ROOM = 96
"""Megabytes that reading any of them may take; it is a hard limit on the reading process."""


def encoded(picture_format: str, size: tuple[int, int], **options: object) -> bytes:
    out = io.BytesIO()
    Image.new("L", size).save(out, picture_format, **options)
    return out.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<L", len(data)) + data + b"\0" * (len(data) % 2)


def webp(canvas: tuple[int, int], flags: int = 0, more: bytes = b"") -> bytes:
    """A WebP that says it is so large, around a picture of 32×32."""
    inner = encoded("WEBP", (32, 32), lossless=True)[12:]
    sizes = b"".join((side - 1).to_bytes(3, "little") for side in canvas)
    body = b"WEBP" + chunk(b"VP8X", bytes([flags, 0, 0, 0]) + sizes) + inner + more
    return b"RIFF" + struct.pack("<L", len(body)) + body


def lossless_webp(width: int, height: int) -> bytes:
    content = bytearray(encoded("WEBP", (32, 32), lossless=True))
    content[21:25] = ((width - 1) | (height - 1) << 14).to_bytes(4, "little")
    return bytes(content)


def rle(data: bytes, *starts: int) -> bytes:
    head = struct.pack("<16L", len(starts) or 1, *(starts or (64,)), *[0] * (15 - len(starts or (64,))))
    return make(ramp(9, np.uint8), RLELossless, encapsulate([head + data]))


def jpeg_2000(width: int, height: int, tile: int, components: int) -> bytes:
    """The head of a codestream and nothing else."""
    size = struct.pack(">HLLLLLLLLH", 0, width, height, 0, 0, tile, tile, 0, 0, components) + b"\7\1\1" * components
    return b"\xff\x4f\xff\x51" + struct.pack(">H", len(size) + 2) + size + bytes(40)


def many_items() -> bytes:
    """A sequence of half a million empty items, before the pixels."""
    content = make(ramp(9))
    items = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\0\0\0\0" * 500_000
    place = content.index(struct.pack("<HH2s", 0x0008, 0x0060, b"CS"))
    return content[:place] + items + content[place:]


def deflated_bomb(pixels: tuple[int, int], held: tuple[int, int]) -> bytes:
    """A deflated file that says it has so many pixels, and holds so many."""
    return deflated(make(np.zeros(held, np.uint16), Rows=pixels[0], Columns=pixels[1]))


def png_with(kind: bytes, data: bytes) -> bytes:
    plain = encoded("PNG", (32, 32))
    body = struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))
    return plain[:33] + body + plain[33:]


def orientations(count: int) -> bytes:
    """Camera data whose orientation is a list of so many numbers."""
    return b"II*\0" + struct.pack("<LHHHLLL", 8, 1, 0x0112, 3, count, 26, 0) + b"\1\0" * count


def pages(count: int) -> bytes:
    """A TIFF of one picture and so many directories after it, each of one tag."""
    content = tiff(ONE)
    place = struct.unpack_from("<L", content, 4)[0]
    following = place + 2 + 12 * struct.unpack_from("<H", content, place)[0]
    chain = b"".join(
        struct.pack("<HHHLLL", 1, 256, 4, 1, 1, len(content) + 18 * (number + 1)) for number in range(count)
    )
    return content[:following] + struct.pack("<L", len(content)) + content[following + 4 :] + chain


END = 64 + 2 * (ROWS * COLUMNS // 2)
BOMBS: dict[str, tuple[bytes, str]] = {
    "webp canvas": (webp((16000, 16000)), "at most 4,000,000"),
    "webp canvas, animated": (webp((16383, 16383), flags=2), "several pictures"),
    "webp lossless": (lossless_webp(16383, 16383), "at most 4,000,000"),
    "webp camera data": (webp((32, 32), 8, chunk(b"EXIF", orientations(3_000_000))), "camera data"),
    "png camera data": (png_with(b"eXIf", orientations(3_000_000)), "camera data"),
    "tiff size": (tiff(ONE, t256=[30000], t257=[30000]), "at most 4,000,000"),
    "tiff size, measured": (tiff(ONE.astype(np.uint16), t256=[30000], t257=[30000]), "at most 4,000,000"),
    "tiff tile": (tiff(ONE, t322=[32000], t323=[32000], t324=[8], t325=[1600]), "tiles are far larger"),
    "tiff tile, measured": (
        tiff(ONE.astype(np.uint16), t322=[32000], t323=[32000], t324=[8], t325=[1600]),
        "tiles are far larger",
    ),
    "tiff tags": (tiff(ONE, t273=[8] * 1_900_000), "far more fields"),
    "tiff pages": (pages(300_000), "several pictures"),
    "dicom size": (make(ramp(9), Rows=60000, Columns=60000), "at most 4,000,000"),
    "dicom deflated, size": (deflated_bomb((60000, 60000), (8000, 8000)), "at most 4,000,000"),
    "dicom deflated, held": (deflated_bomb((60, 80), (12000, 12000)), "unpacks to far more"),
    # Runs of zeros: two bytes for 128 pixels.
    "dicom runs": (rle(b"\x81\x00" * 2_000_000), "more pixels than the file says"),
    # Codes that stand for nothing, and the same runs said to be several parts.
    "dicom idle": (rle(b"\x80" * 2_000_000), "more pixels than the file says"),
    "dicom overlap": (rle(b"\xff\x00" * (ROWS * COLUMNS // 2), *[64, END] * 7, 64), "overlap"),
    "dicom jpeg size": (
        make(ramp(9, np.uint8), JPEGBaseline8Bit, encapsulate([encoded("JPEG", (9000, 9000))])),
        "another size",
    ),
    "dicom jpeg 2000 tiles": (
        make(np.zeros((250, 250), np.uint8), JPEG2000Lossless, encapsulate([jpeg_2000(250, 250, 1, 1)])),
        "more parts than its picture",
    ),
    "dicom jpeg 2000 components": (
        make(np.zeros((2000, 2000), np.uint8), JPEG2000Lossless, encapsulate([jpeg_2000(2000, 2000, 2000, 4000)])),
        "more parts than its picture",
    ),
    "dicom items": (many_items(), "far more fields"),
}  # fmt: skip

READER = """
import json, resource, sys
from pathlib import Path
from xray_app.errors import BadScan
from xray_app.scan.read import Limits, read_scans
import PIL.Image, PIL.PngImagePlugin, PIL.TiffImagePlugin, PIL.WebPImagePlugin, PIL.Jpeg2KImagePlugin
PIL.Image.init()
limits = Limits(8 * 2**20, 4_000_000)
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
most = taken + int(sys.argv[2]) * 2**20
resource.setrlimit(resource.RLIMIT_AS, (most, most))
said = {}
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        said[path.name] = f"read {len(read_scans(path.read_bytes(), path.name, limits))}"
    except BadScan as error:
        said[path.name] = error.message
    except MemoryError:
        said[path.name] = "out of memory"
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a reader that may take so much memory and no more says to each."""
    folder = tmp_path_factory.mktemp("bombs")
    for name, (content, _) in BOMBS.items():
        assert len(content) < 8 * 2**20, name
        (folder / name).write_bytes(content)
    run = subprocess.run(
        [sys.executable, "-c", READER, str(folder), str(ROOM)], capture_output=True, text=True, check=False, timeout=120
    )
    assert run.returncode == 0, run.stderr
    answers: dict[str, str] = json.loads(run.stdout)
    return answers


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is limited as Linux does it")
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_before_they_burst(name: str, said: dict[str, str]) -> None:
    wanted = BOMBS[name][1]
    assert any(part in said[name] for part in wanted.split("|")), said[name]
