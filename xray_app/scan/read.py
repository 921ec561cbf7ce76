"""Uploaded bytes → `Scan`: decoded, upright, 8-bit RGB, hashed, within limits. Or an error that says why not.

Sizes and boxes always refer to the *upright* picture, after the EXIF orientation was applied, as any viewer shows it.
"""

from __future__ import annotations

import hashlib
import io
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from PIL import Image, ImageFile

from xray_app.errors import BadInput, BadScan
from xray_app.scan import dicom
from xray_app.scan.decoding import Limits as Limits
from xray_app.scan.picture import check_bytes, check_size, decode

MAX_FILENAME = 200

_MEDIA_TYPES = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",  # a camera's JPEG with previews after the picture
    "WEBP": "image/webp",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
}
_DICOM = "application/dicom"


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
        opaque_fraction: share of the picture too dense to see through, 0 to 1; by attenuation where the file has it.
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
        scans.append(_of_view(one, filename, bag_id, named, scanner_id))
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

    Grey pictures of more than 8 bits are brought to 8 by what came through: zero stays black, the 99.9th
    percentile becomes white (`attenuation.scale_of`). They stay grey: one energy alone holds no material, so colour
    would be made up. A TIFF of two samples is both energies, and gets the usual colours. Colour of 16 bits keeps its
    upper eight. Transparency is laid on white, like an empty tunnel.

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
        Busy: too many large pictures are being decoded already.
        BadInput: `bag_id`, `view` or `scanner_id` is too long or not printable.
    """
    bag_id, view, scanner_id = _identifiers(bag_id, view, scanner_id)
    if dicom.is_dicom(content):
        views = _dicom_views(content, limits)
        if len(views) > 1:
            raise BadScan(f"The DICOM file holds {len(views)} views, where one picture is asked for.")
        (only,) = views
        return _of_view(only, filename, bag_id, view, scanner_id)
    picture = decode(content, limits)
    scan = _scan(picture.image, content, filename, bag_id, view, scanner_id, picture.opaque_fraction)
    return replace(scan, media_type=_MEDIA_TYPES[picture.format])


def _identifiers(bag_id: str | None, view: str | None, scanner_id: str | None) -> tuple[str | None, ...]:
    bag_id = _identifier(bag_id, "bag_id", 64)
    view = _identifier(view, "view", 32)
    scanner_id = _identifier(scanner_id, "scanner_id", 64)
    if bag_id is not None and ("/" in bag_id or "\\" in bag_id or not bag_id.strip(".")):
        raise BadInput("bag_id is part of an address: it cannot hold a slash nor be dots alone.")
    return bag_id, view, scanner_id


def _of_view(one: dicom.View, filename: str, bag_id: str | None, view: str | None, scanner_id: str | None) -> Scan:
    scan = _scan(one.image, one.content, filename, bag_id, view, scanner_id, one.opaque_fraction)
    return replace(scan, acquisition=one.facts)


def _scan(
    image: Image.Image,
    content: bytes,
    filename: str,
    bag_id: str | None,
    view: str | None,
    scanner_id: str | None,
    opaque_fraction: float,
) -> Scan:
    sha256 = hashlib.sha256(content).hexdigest()
    return Scan(
        image=image,
        content=content,
        media_type=_DICOM,
        sha256=sha256,
        width=image.width,
        height=image.height,
        filename=clean_filename(filename),
        bag_id=bag_id or sha256,
        view=view,
        scanner_id=scanner_id,
        opaque_fraction=opaque_fraction,
    )


def _dicom_views(content: bytes, limits: Limits) -> list[dicom.View]:
    check_bytes(content, limits)
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # see `picture.decode`
    views = dicom.read_views(content, limits)
    for one in views:
        check_size(one.image.width, one.image.height, limits)
    return views


def upright_picture(content: bytes, limits: Limits) -> Image.Image:
    """The picture of a stored scan: RGB, 8 bits, upright.

    Args:
        content: bytes that `read_scan` took before.
        limits: as for `read_scan`.

    Raises:
        BadScan: the bytes cannot be read (any more).
        Busy: too many large pictures are being decoded already.
    """
    return _dicom_views(content, limits)[0].image if dicom.is_dicom(content) else decode(content, limits).image


def browser_picture(content: bytes, limits: Limits) -> tuple[bytes, str]:
    """The scan as every browser shows it, pixel for pixel what boxes refer to.

    8-bit PNG, JPEG and WebP go out as they came in; TIFF, BMP, DICOM, deep, rotated or transparent pictures
    as PNG.

    Returns:
        The bytes and their media type.

    Raises:
        BadScan, Busy: as `upright_picture`.
    """
    if dicom.is_dicom(content):
        image = _dicom_views(content, limits)[0].image
    else:
        picture = decode(content, limits)
        if picture.plain:
            return content, _MEDIA_TYPES[picture.format]
        image = picture.image
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1)
    return out.getvalue(), "image/png"


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
