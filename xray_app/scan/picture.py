"""PNG, JPEG, WebP, BMP and TIFF → the upright picture in 8-bit RGB, within limits. Or an error that says why not.

Nothing is repaired or guessed: a truncated or animated file is refused, never shown in part.
"""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from xray_app.errors import BadScan, DeskError, ScanTooLarge
from xray_app.scan import pseudo_colour, tiff
from xray_app.scan.attenuation import Relation, blocks, scale_of
from xray_app.scan.decoding import DECODING, DECODING_TWICE, Limits, Work
from xray_app.scan.pseudo_colour import Frame

MIN_SIDE = 16
MAX_ASPECT = 50
"""Past this neither model sees anything, and Qwen's resizing refuses 200:1."""
MAX_EXIF = 2**20
"""Bytes of a picture's camera data; those of a JPEG cannot pass 64 KiB."""
ORIENTATION = 0x0112

READABLE = "PNG, JPEG, WebP, BMP, TIFF or DICOM"
_NOT_READ = (
    (b"GIF8", "a GIF, which may be animated"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"PK\x05\x06", "a ZIP archive"),
    (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML document"),
    (b"<!DOCTYPE", "a web page"),
    (b"<html", "a web page"),
)
_DEEP_GREY = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
_SEVERAL = "The file holds several pictures (animation or pages). Upload each view as a file of its own."


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded file.

    Attributes:
        image: RGB, 8 bits, upright.
        format: Pillow's name of the format.
        opaque_fraction: share of it too dense to see through, 0 to 1.
        plain: browsers show the file as it is, pixel for pixel the same.
    """

    image: Image.Image
    format: str
    opaque_fraction: float
    plain: bool


def decode(content: bytes, limits: Limits) -> Picture:
    """The picture of a file that is no DICOM file. Its room is given back when its image is gone.

    Raises:
        ScanTooLarge: more bytes than allowed.
        BadScan: not a picture we read, damaged, of several frames, or of an impossible size.
        Busy: too many large pictures are being decoded already.
    """
    check_bytes(content, limits)
    _refuse_known_others(content)
    # Some training libraries switch this on for the whole process; a scan is never filled up with grey.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        if tiff.is_tiff(content):
            header = tiff.read_header(content)
            if header.is_measured:
                return _measured_tiff(content, header, limits)
        # Opening reads the header alone; the pixels follow once their number is known to be fine. Not so of a WebP:
        # opening it makes room for whatever size it says it has.
        if (size := _webp_size(content)) is not None:
            check_size(*size, limits)
            with limits.decoding(size[0] * size[1], DECODING_TWICE) as work, _open(content, "WEBP") as opened:
                return _load(opened, work, limits)
        with _open(content, "PNG", "JPEG", "BMP", "TIFF") as opened:
            check_size(opened.width, opened.height, limits)
            each = DECODING_TWICE if opened.format == "TIFF" else DECODING
            with limits.decoding(opened.width * opened.height, each) as work:
                return _load(opened, work, limits)
    except DeskError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # Pillow refuses this many before it says the size.
        most = min(limits.max_pixels, 2 * (Image.MAX_IMAGE_PIXELS or limits.max_pixels))
        raise BadScan(f"The picture has too many pixels; at most {most:,} are allowed.") from error
    except UnidentifiedImageError as error:
        raise BadScan(f"The file is not a picture we can read. Use {READABLE}.") from error
    # Hostile bytes can make a decoder raise nearly anything; all of it means the same to the person.
    except Exception as error:
        raise BadScan(f"The picture is damaged or cut off and cannot be read: {str(error)[:200]}.") from error


def check_bytes(content: bytes, limits: Limits) -> None:
    """Refuses an empty file and one of too many bytes.

    Raises:
        BadScan, ScanTooLarge: as said.
    """
    if not content:
        raise BadScan("The file is empty.")
    if len(content) > limits.max_bytes:
        size, most = len(content) / 2**20, limits.max_bytes / 2**20
        raise ScanTooLarge(f"The file has {size:.1f} MB; at most {most:g} MB are allowed.")


def check_size(width: int, height: int, limits: Limits) -> None:
    """Refuses pictures of too many or too few pixels, and strips.

    Raises:
        BadScan: as said.
    """
    if width * height > limits.max_pixels:
        raise BadScan(f"The picture has {width}×{height} pixels; at most {limits.max_pixels:,} pixels are allowed.")
    if min(width, height) < MIN_SIDE:
        raise BadScan(f"The picture has {width}×{height} pixels; each side must have at least {MIN_SIDE}.")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise BadScan(f"The picture has {width}×{height} pixels; no side may be over {MAX_ASPECT} times the other.")


def _refuse_known_others(content: bytes) -> None:
    start = content[:256].lstrip()
    for magic, what in _NOT_READ:
        if start.lower().startswith(magic.lower()):
            raise BadScan(f"The file is {what}, not a scan we can read. Use {READABLE}.")
    if content[4:8] == b"ftyp":
        raise BadScan(f"The file is a HEIC/AVIF picture or a film, which we do not read. Use {READABLE}.")


def _webp_size(content: bytes) -> tuple[int, int] | None:
    """Width and height in a WebP's header; None where there is none of the usual form."""
    if content[:4] != b"RIFF" or content[8:12] != b"WEBP" or len(content) < 30:
        return None
    kind, data = content[12:16], content[20:30]
    if kind == b"VP8X":
        if data[0] & 2:
            raise BadScan(_SEVERAL)
        return int.from_bytes(data[4:7], "little") + 1, int.from_bytes(data[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(data[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return int.from_bytes(data[6:8], "little") & 0x3FFF, int.from_bytes(data[8:10], "little") & 0x3FFF
    return None


def _open(content: bytes, *formats: str) -> ImageFile.ImageFile:
    opened = Image.open(io.BytesIO(content), formats=formats)
    if opened.format not in ("MPO", "TIFF") and getattr(opened, "is_animated", False):
        raise BadScan(_SEVERAL)
    if len(opened.info.get("exif") or b"") > MAX_EXIF:
        raise BadScan("The picture's camera data (EXIF) are far larger than any camera's. It is not read.")
    return opened


def _load(opened: ImageFile.ImageFile, work: Work, limits: Limits) -> Picture:
    """The opened file's pixels; beside those of the file itself, no more than a copy of them is held at a time."""
    picture_format = opened.format or ""
    check_size(opened.width, opened.height, limits)
    opened.load()
    if opened.mode in _DEEP_GREY:
        values = np.asarray(opened)
        # Of a TIFF of 12 bits, Pillow leaves it open whether white is zero.
        rising = getattr(opened, "tag_v2", {}).get(tiff.PHOTOMETRIC, 1) != 0
        shown = pseudo_colour.grey(Frame(values, scale_of(values, Relation(rising))))
        shown.image.info = _camera_data(opened)
        return Picture(work.keep(_upright(shown.image)), picture_format, shown.opaque_fraction, plain=False)
    plain = (
        picture_format in ("PNG", "JPEG", "MPO", "WEBP")
        and opened.mode in ("RGB", "L")
        and "transparency" not in opened.info
        and opened.getexif().get(ORIENTATION, 1) == 1
    )
    image = work.keep(_upright(_to_rgb(opened)))
    return Picture(image, picture_format, pseudo_colour.opaque_fraction(image), plain)


def _measured_tiff(content: bytes, header: tiff.Header, limits: Limits) -> Picture:
    """Of two samples the low-energy one is that through which less came: no material lets more of it through."""
    width, height = header.size
    check_size(width, height, limits)
    with limits.decoding(width * height, max(DECODING, 8 + 3 * header.bytes_per_pixel)) as work:
        # Photometric interpretation 0 means that white is zero.
        relation = Relation(rising=header.first(tiff.PHOTOMETRIC, 1) != 0)
        values = tiff.read_values(content, header)
        frames = [
            Frame(values[..., sample], scale_of(values[..., sample], relation)) for sample in range(header.samples)
        ]
        if len(frames) == 1:
            shown = pseudo_colour.grey(frames[0])
        else:
            low, high = sorted(frames, key=lambda frame: frame.mean_passed)
            shown = pseudo_colour.pseudo_colour(low, high)
        image = _turned(shown.image, header.first(tiff.ORIENTATION, 1))
        return Picture(work.keep(image), "TIFF", shown.opaque_fraction, plain=False)


def _upright(image: Image.Image) -> Image.Image:
    # Damaged metadata around sound pixels: shown as it lies, as every viewer does.
    with suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)
    return image


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    how = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }  # fmt: skip
    return image.transpose(how[orientation]) if orientation in how else image


def _to_rgb(image: Image.Image) -> Image.Image:
    """The picture in RGB, transparency laid on white; some rows at a time, because each step makes a copy."""
    out = Image.new("RGB", image.size)
    clear = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
    for rows in blocks(image.height, image.width):
        part = image.crop((0, rows.start, image.width, min(rows.stop, image.height)))
        if clear:
            part = part.convert("RGBA")
            part = Image.alpha_composite(Image.new("RGBA", part.size, "white"), part)
        out.paste(part.convert("RGB"), (0, rows.start))
    out.info = _camera_data(image)
    return out


def _camera_data(image: Image.Image) -> dict[str | tuple[int, int], Any]:
    """What says which way is up."""
    return {key: value for key, value in image.info.items() if key in ("exif", "xmp", "Raw profile type exif")}
