"""What the values of a DICOM frame mean: the standard's transforms, from stored values to a picture."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi

from xray_app.errors import BadScan
from xray_app.scan import pseudo_colour
from xray_app.scan.attenuation import Relation, Values, blocks, scale_of
from xray_app.scan.dicom_frames import stored_values
from xray_app.scan.pseudo_colour import Frame, Shown

DICOS = "1.2.840.10008.5.1.4.1.1.501."
"""Where the names of DICOS's kinds of files begin: baggage, measured by what came through."""
PER_FRAME = ("RescaleSlope", "RescaleIntercept", "RescaleType", "WindowCenter", "WindowWidth", "VOILUTFunction")
"""Fields that enhanced files give for each frame or for all, in a group of their own."""
GROUPS = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
_OPTICAL_DENSITY = math.log(10) / 1000


def value_of(dataset: Dataset, keyword: str, number: int) -> Any:
    """A field of a frame: of the file, of the frame's own group, or of the group of all; None where none has it."""
    if dataset.get(keyword) not in (None, ""):
        return dataset.get(keyword)
    for name, at in zip(GROUPS, (number, 0), strict=True):
        groups = dataset.get(name) or []
        for element in groups[at] if at < len(groups) else ():
            for item in (element.value or ()) if element.VR == "SQ" else ():
                if item.get(keyword) not in (None, ""):
                    return item.get(keyword)
    return None


def is_measured(dataset: Dataset) -> bool:
    """Whether the values are what came through: said so, or baggage and digital X-ray that do not say otherwise."""
    if not str(dataset.get("PhotometricInterpretation")).startswith("MONOCHROME"):
        return False
    relation = str(dataset.get("PixelIntensityRelationship") or "")
    if relation:
        return relation in ("LIN", "LOG")
    projection = str(dataset.get("SOPClassUID") or "").startswith(DICOS) or dataset.get("Modality") == "DX"
    return projection and value_of(dataset, "RescaleType", 0) != "HU"


def relation_of(dataset: Dataset, number: int) -> Relation:
    """How the stored values of a grey frame stand for the beam.

    The sign of the pixel intensity relationship is about the stored values; the photometric interpretation, about
    the rescaled ones, and decides where the sign is not said. A look-up table of the modality makes logarithms linear.

    Raises:
        BadScan: a slope of zero, or a table for values of 32 bits.
    """
    bits, stored = int(dataset.BitsAllocated), int(dataset.get("BitsStored") or dataset.BitsAllocated)
    signed = bool(dataset.get("PixelRepresentation"))
    slope = _number(value_of(dataset, "RescaleSlope", number), 1.0)
    intercept = _number(value_of(dataset, "RescaleIntercept", number), 0.0)
    if not slope or not math.isfinite(slope) or not math.isfinite(intercept):
        raise BadScan("The DICOM file rescales its values by no number.")
    table = _modality_table(dataset, stored, signed) if dataset.get("ModalityLUTSequence") else None
    turned = table[1][-1] < table[1][0] if table is not None else slope < 0
    sign = dataset.get("PixelIntensityRelationshipSign") if is_measured(dataset) else None
    rising = (int(sign) < 0) == bool(turned) if sign in (1, -1) else dataset.PhotometricInterpretation != "MONOCHROME1"
    logarithmic = is_measured(dataset) and dataset.get("PixelIntensityRelationship") == "LOG" and table is None
    density = str(value_of(dataset, "RescaleType", number) or "") == "OD"
    return Relation(
        rising=rising,
        logarithmic=logarithmic,
        slope=slope,
        intercept=intercept,
        table=table,
        top=(1 << (stored - signed)) - 1 if stored < bits or stored <= 8 else None,
        unit=_OPTICAL_DENSITY if density else 0.0,
        ready=stored <= 8 and slope == 1 and intercept == 0 and table is None and not logarithmic,
        padding=_padding(dataset),
    )


def grey_frame(dataset: Dataset, number: int) -> Frame:
    """A grey frame and its scale."""
    values, relation = stored_values(dataset, number), relation_of(dataset, number)
    return Frame(values, scale_of(values, relation))


def picture(dataset: Dataset, number: int) -> Shown:
    """A frame as a picture.

    What was measured goes by attenuation alone: a window is what one screen was to show, and hides what lies outside
    it. Other grey is shown through the file's window or table, or else over the range of its values.
    """
    kind = str(dataset.PhotometricInterpretation)
    if not kind.startswith("MONOCHROME"):
        return _colour(dataset, number)
    if is_measured(dataset) or not _has_window(dataset, number):
        return pseudo_colour.grey(grey_frame(dataset, number))
    values, relation = stored_values(dataset, number), relation_of(dataset, number)
    out = np.empty(values.shape, np.uint8)
    for rows in blocks(*values.shape):
        shown = _windowed(relation.rescaled(values[rows]), dataset, number)
        out[rows] = (255 * (1 - shown if kind == "MONOCHROME1" else shown)).round()
    return pseudo_colour.shown(Image.fromarray(out).convert("RGB"))


def _colour(dataset: Dataset, number: int) -> Shown:
    values = stored_values(dataset, number)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        values = np.asarray(apply_color_lut(values, dataset))
        bits = values.dtype.itemsize * 8
    else:
        bits = int(dataset.get("BitsStored") or dataset.BitsAllocated)
    eight = values if bits <= 8 else values >> (bits - 8)
    return pseudo_colour.shown(Image.fromarray(np.ascontiguousarray(eight[..., :3].astype(np.uint8))))


def _number(value: Any, default: float) -> float:
    return default if value is None else float(value)


def _modality_table(dataset: Dataset, stored: int, signed: bool) -> tuple[int, NDArray[Any]]:
    if stored > 16:
        raise BadScan(f"The DICOM file has a table for values of {stored} bits, which is not read.")
    first = -(1 << (stored - 1)) if signed else 0
    return first, np.asarray(apply_modality_lut(np.arange(first, first + (1 << stored)), dataset))


def _padding(dataset: Dataset) -> tuple[float, float] | None:
    value, limit = dataset.get("PixelPaddingValue"), dataset.get("PixelPaddingRangeLimit")
    if value is None:
        return None
    ends = sorted((float(value), float(value if limit is None else limit)))
    return ends[0], ends[1]


def _has_window(dataset: Dataset, number: int) -> bool:
    if dataset.get("VOILUTSequence"):
        return True
    centre, width = _window(dataset, number)
    least = 1 if _function(dataset, number) == "LINEAR" else 0
    return math.isfinite(centre) and math.isfinite(width) and width > least


def _window(dataset: Dataset, number: int) -> tuple[float, float]:
    """Centre and width of the first window; not a number where there is none."""
    found = []
    for keyword in ("WindowCenter", "WindowWidth"):
        value = value_of(dataset, keyword, number)
        several = isinstance(value, (list, tuple)) or hasattr(value, "append")
        found.append(_number(value[0] if several else value, math.nan))
    return found[0], found[1]


def _function(dataset: Dataset, number: int) -> str:
    return str(value_of(dataset, "VOILUTFunction", number) or "LINEAR")


def _windowed(values: Values, dataset: Dataset, number: int) -> Values:
    """Rescaled values through the file's table or window, 0 to 1 (PS3.3 C.11.2.1.2)."""
    if dataset.get("VOILUTSequence"):
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        through = np.asarray(apply_voi(values.round().astype(np.int64), dataset), np.float64)
        return np.clip(through / (2**bits - 1), 0, 1)
    centre, width = _window(dataset, number)
    function = _function(dataset, number)
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0, 1)
    return np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)
