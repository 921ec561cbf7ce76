"""Uploaded bytes → `Scan`: decoded, upright, 8-bit RGB, hashed, within limits. Or an error that says why not.

Nothing is repaired or guessed: a truncated or animated file is refused, never shown in part. Sizes and
boxes always refer to the *upright* picture, after the EXIF orientation was applied, as any viewer shows it.
"""

from __future__ import annotations

import hashlib
import io
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image, ImageChops, ImageFile, ImageOps, UnidentifiedImageError

from xray_app.errors import BadInput, BadScan, ScanTooLarge
from xray_app.scan import dicom, pseudo_colour

MIN_SIDE = 16
# Past this neither model sees anything, and Qwen's resizing refuses 200:1.
MAX_ASPECT = 50
MAX_FILENAME = 200

# A pixel counts as opaque where its brightest channel is below this (of 255). The brightest channel and not
# luminance, because thin steel is a pure dark blue, of low luminance but plainly seen through.
OPAQUE_BELOW = 40

_MEDIA_TYPES = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",  # a camera's JPEG with previews after the picture
    "WEBP": "image/webp",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
}
_DICOM = "application/dicom"
_READABLE = "PNG, JPEG, WebP, BMP, TIFF or DICOM"
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


@dataclass(frozen=True)
class Limits:
    """What an upload may be at most: bytes of the file, pixels of the picture."""

    max_bytes: int
    max_pixels: int


@dataclass(frozen=True, eq=False)
class Scan:
    """A scan ready to be analysed.

    Attributes:
        image: RGB, 8 bits, upright.
        content: the bytes as uploaded; of a DICOM file, this view of it without whatever names a person.
        media_type: by content, not by name, e.g. "image/png".
        sha256: hash of `content`, hexadecimal.
        width: pixels of the upright picture.
        height: pixels of the upright picture.
        filename: without folders and control characters, at most 200 characters.
        bag_id: what was given, or `sha256`.
        view: which view of the bag, if given.
        scanner_id: which scanner, if given.
        opaque_fraction: share of the picture too dark to see through, 0 to 1.
        acquisition: what a DICOM file says of the scanner, as text by name; empty for other files.
    """

    image: Image.Image
    content: bytes
    media_type: str
    sha256: str
    width: int
    height: int
    filename: str
    bag_id: str
    view: str | None
    scanner_id: str | None
    opaque_fraction: float
    acquisition: Mapping[str, str] = field(default_factory=dict)


def read_scans(
    content: bytes,
    filename: str,
    limits: Limits,
    *,
    bag_id: str | None = None,
    view: str | None = None,
    scanner_id: str | None = None,
) -> list[Scan]:
    """Every view in an uploaded file: one, but for DICOM files of several frames.

    Each view is a scan of its own, named "view 1", "view 2" and so on, of one bag: the one given, or the file's
    SHA-256. Arguments and errors are those of `read_scan`.
    """
    if not dicom.is_dicom(content):
        return [read_scan(content, filename, limits, bag_id=bag_id, view=view, scanner_id=scanner_id)]
    bag_id, view, scanner_id = _identifiers(bag_id, view, scanner_id)
    views = _dicom_views(content, limits)
    scans = []
    for number, one in enumerate(views, start=1):
        named = view if len(views) == 1 else f"{view or 'view'} {number}"
        scans.append(_scan(one.image, one.content, _DICOM, filename, bag_id, named, scanner_id, one.facts))
        if len(views) > 1 and bag_id is None:
            bag_id = hashlib.sha256(content).hexdigest()
            scans[0] = replace(scans[0], bag_id=bag_id)
    return scans


def read_scan(
    content: bytes,
    filename: str,
    limits: Limits,
    *,
    bag_id: str | None = None,
    view: str | None = None,
    scanner_id: str | None = None,
) -> Scan:
    """Read an uploaded file.

    Grey pictures of more than 8 bits are brought to 8 by one linear window: zero stays black, the 99.9th
    percentile becomes white. They stay grey: one energy alone holds no material, so colour would be made up.
    Colour of 16 bits keeps its upper eight. Transparency is laid on white, like an empty tunnel.

    Args:
        content: the file's bytes.
        filename: as the browser gave it; cleaned here.
        limits: bytes and pixels allowed.
        bag_id: up to 64 printable characters without slashes; left out or blank, the scan's SHA-256.
        view: up to 32 printable characters.
        scanner_id: up to 64 printable characters.

    Raises:
        ScanTooLarge: more bytes than allowed.
        BadScan: not a picture we read, damaged, of several frames, or of an impossible size.
        BadInput: `bag_id`, `view` or `scanner_id` is too long or not printable.
    """
    bag_id, view, scanner_id = _identifiers(bag_id, view, scanner_id)
    if dicom.is_dicom(content):
        views = _dicom_views(content, limits)
        if len(views) > 1:
            raise BadScan(f"The DICOM file holds {len(views)} views, where one picture is asked for.")
        (only,) = views
        return _scan(only.image, only.content, _DICOM, filename, bag_id, view, scanner_id, only.facts)
    image, picture_format = _decode(content, limits)
    return _scan(image, content, _MEDIA_TYPES[picture_format], filename, bag_id, view, scanner_id, {})


def _identifiers(bag_id: str | None, view: str | None, scanner_id: str | None) -> tuple[str | None, ...]:
    bag_id = _identifier(bag_id, "bag_id", 64)
    view = _identifier(view, "view", 32)
    scanner_id = _identifier(scanner_id, "scanner_id", 64)
    if bag_id is not None and ("/" in bag_id or "\\" in bag_id or not bag_id.strip(".")):
        raise BadInput("bag_id is part of an address: it cannot hold a slash nor be dots alone.")
    return bag_id, view, scanner_id


def _scan(
    image: Image.Image,
    content: bytes,
    media_type: str,
    filename: str,
    bag_id: str | None,
    view: str | None,
    scanner_id: str | None,
    acquisition: Mapping[str, str],
) -> Scan:
    sha256 = hashlib.sha256(content).hexdigest()
    return Scan(
        image=image,
        content=content,
        media_type=media_type,
        sha256=sha256,
        width=image.width,
        height=image.height,
        filename=clean_filename(filename),
        bag_id=bag_id or sha256,
        view=view,
        scanner_id=scanner_id,
        opaque_fraction=opaque_fraction(image),
        acquisition=acquisition,
    )


def _dicom_views(content: bytes, limits: Limits) -> list[dicom.View]:
    _check_bytes(content, limits)
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    views = dicom.read_views(content, limits.max_pixels)
    for one in views:
        _check_size(one.image.width, one.image.height, limits)
    return views


def browser_picture(content: bytes, limits: Limits) -> tuple[bytes, str]:
    """The scan as every browser shows it, pixel for pixel what boxes refer to.

    8-bit PNG, JPEG and WebP go out as they came in; TIFF, BMP, DICOM, deep, rotated or transparent pictures
    as PNG.

    Args:
        content: bytes that `read_scan` took before.
        limits: as for `read_scan`.

    Returns:
        The bytes and their media type.

    Raises:
        BadScan: the bytes cannot be read (any more).
    """
    if dicom.is_dicom(content):
        image, picture_format = _dicom_views(content, limits)[0].image, "DICOM"
    else:
        image, picture_format = _decode(content, limits)
    if picture_format in ("PNG", "JPEG", "MPO", "WEBP"):
        with Image.open(io.BytesIO(content)) as original:
            # The size differs where the orientation turned it; 0x0112 is the orientation's EXIF tag.
            plain = original.mode in ("RGB", "L") and "transparency" not in original.info
            if plain and original.getexif().get(0x0112, 1) == 1:
                return content, _MEDIA_TYPES[picture_format]
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1)
    return out.getvalue(), "image/png"


def opaque_fraction(image: Image.Image) -> float:
    """Share of an RGB picture too dark to see through, 0 to 1 (`OPAQUE_BELOW`)."""
    red, green, blue = image.split()
    brightest = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    return sum(brightest.histogram()[:OPAQUE_BELOW]) / (image.width * image.height)


def clean_filename(filename: str) -> str:
    """A name safe to show and store: no folders, no control or direction characters, 200 at most."""
    name = filename[-4096:].replace("\\", "/").rsplit("/", 1)[-1]
    name = unicodedata.normalize("NFC", name)
    # Categories C* are controls, formats (bidi overrides among them), surrogates; Zl and Zp are line ends.
    name = "".join(c for c in name if unicodedata.category(c)[0] != "C" and unicodedata.category(c) not in ("Zl", "Zp"))
    name = " ".join(name.split()).strip(". ")
    if len(name) > MAX_FILENAME:
        stem, dot, ending = name.rpartition(".")
        ending = dot + ending if stem and len(ending) <= 10 else ""
        name = name[: MAX_FILENAME - len(ending)] + ending
    return name or "scan"


def _identifier(value: str | None, what: str, longest: int) -> str | None:
    value = unicodedata.normalize("NFC", value).strip() if value else ""
    if len(value) > longest or not value.isprintable():
        raise BadInput(f"{what} must be up to {longest} printable characters.")
    return value or None


def _decode(content: bytes, limits: Limits) -> tuple[Image.Image, str]:
    """The picture, upright and 8-bit RGB, and Pillow's name of its format."""
    _check_bytes(content, limits)
    _refuse_known_others(content)
    # Some training libraries switch this on for the whole process; a scan is never filled up with grey.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        # Opening reads the header alone; the pixels follow once their number is known to be fine.
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP", "BMP", "TIFF")) as opened:
            picture_format = opened.format or ""
            _check_size(opened.width, opened.height, limits)
            if picture_format != "MPO" and getattr(opened, "is_animated", False):
                raise BadScan(
                    "The file holds several pictures (animation or pages). Upload each view as a file of its own."
                )
            opened.load()
            if opened.mode in _DEEP_GREY:
                return _upright(_window(opened)), picture_format
            return _to_rgb(_upright(opened)), picture_format
    except BadScan:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # Pillow refuses this many before it says the size.
        most = min(limits.max_pixels, 2 * (Image.MAX_IMAGE_PIXELS or limits.max_pixels))
        raise BadScan(f"The picture has too many pixels; at most {most:,} are allowed.") from error
    except UnidentifiedImageError as error:
        raise BadScan(f"The file is not a picture we can read. Use {_READABLE}.") from error
    # Hostile bytes can make a decoder raise nearly anything; all of it means the same to the person.
    except Exception as error:
        raise BadScan(f"The picture is damaged or cut off and cannot be read: {error}.") from error


def _check_bytes(content: bytes, limits: Limits) -> None:
    if not content:
        raise BadScan("The file is empty.")
    if len(content) > limits.max_bytes:
        size, most = len(content) / 2**20, limits.max_bytes / 2**20
        raise ScanTooLarge(f"The file has {size:.1f} MB; at most {most:g} MB are allowed.")


def _refuse_known_others(content: bytes) -> None:
    start = content[:256].lstrip()
    for magic, what in _NOT_READ:
        if start.lower().startswith(magic.lower()):
            raise BadScan(f"The file is {what}, not a scan we can read. Use {_READABLE}.")
    if content[4:8] == b"ftyp":
        raise BadScan(f"The file is a HEIC/AVIF picture or a film, which we do not read. Use {_READABLE}.")


def _check_size(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.max_pixels:
        raise BadScan(f"The picture has {width}×{height} pixels; at most {limits.max_pixels:,} pixels are allowed.")
    if min(width, height) < MIN_SIDE:
        raise BadScan(f"The picture has {width}×{height} pixels; each side must have at least {MIN_SIDE}.")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise BadScan(f"The picture has {width}×{height} pixels; no side may be over {MAX_ASPECT} times the other.")


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    # Damaged metadata around sound pixels: shown as it lies, as every viewer does.
    except Exception:  # noqa: BLE001
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _window(image: Image.Image) -> Image.Image:
    """Grey of 16 bits or more to 8, as `shades.grey`."""
    values = np.asarray(image, dtype=np.float32)
    if not np.isfinite(values).all():
        raise BadScan("The picture holds values that are not numbers.")
    # Photometric interpretation 0 means that white is zero; Pillow turns only the 8-bit ones round.
    tags = getattr(image, "tag_v2", {})
    if tags.get(262) == 0:
        values = float(2 ** int(tags.get(258, (16,))[0]) - 1) - values
    grey = pseudo_colour.grey(values)
    # TIFF is turned upright by Pillow itself; what is left is the EXIF of a PNG.
    grey.info = {key: value for key, value in image.info.items() if key == "exif"}
    return grey
